"""Text from every kind of source: what is read, how it is counted and divided, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.hub_double import serving
from trainer import datasource
from trainer.config import DataSettings
from trainer.engine import corpus, python_docs
from trainer.engine.corpus import Corpus
from trainer.engine.progress import Meter
from trainer.errors import DataError
from trainer.store.records import Progress

PROSE = "".join(f"Line {number} of the tale, told again.\n" for number in range(100))


def load(name: str | Path, tmp_path: Path, **settings: Any) -> Corpus:
    data = DataSettings(dataset_name=str(name), **settings)
    return corpus.load(data, tmp_path / "cache", lambda _: None)


def refusal(name: str | Path, tmp_path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as refused:
        load(name, tmp_path, **settings)
    assert refused.value.hint
    return str(refused.value)


def joined(text: Corpus) -> str:
    """Return the whole text in the order in which it was cut."""
    return "".join(d for name in corpus.SPLIT_NAMES for d in text.splits[name].documents)


# --------------------------------------------------------------------------- WikiText


def test_wikitext_has_the_published_counts(wikitext: Path, tmp_path: Path) -> None:
    text = load(wikitext, tmp_path, dataset_config="wikitext-2-v1")
    facts = json.loads((wikitext / "facts.json").read_text())
    for name, split in text.splits.items():
        assert (split.rows, split.words) == (
            facts[name]["rows"],
            facts[name]["words_with_end_of_line"],
        )
    assert text.splits["test"].words == 245_569
    assert {n: len(s.documents) for n, s in text.splits.items()} == {
        "train": 600,
        "validation": 60,
        "test": 60,
    }


def test_wikitext_is_read_byte_for_byte(wikitext: Path, tmp_path: Path) -> None:
    text = load(wikitext, tmp_path, dataset_config="wikitext-2-v1")
    fact = json.loads((wikitext / "facts.json").read_text())["test"]
    whole = "".join(text.splits["test"].documents)
    rows_as_published = whole.split("\n")[:-1]
    published = "".join(f"{row}\n" if row else "" for row in rows_as_published)
    assert hashlib.sha256(published.encode()).hexdigest() == fact["sha256_of_concatenated_rows"]
    empty_rows = rows_as_published.count("")
    assert text.splits["test"].bytes == fact["utf8_bytes_of_rows"] + empty_rows


def test_articles_begin_at_top_level_headings() -> None:
    lines = [
        "\n",
        " = One = \n",
        "\n",
        " a \n",
        " = = Part = = \n",
        "\n",
        " = Two = \n",
        "\n",
        " b \n",
    ]
    assert corpus.articles(lines) == [
        "\n = One = \n\n a \n = = Part = = \n\n",
        " = Two = \n\n b \n",
    ]


def test_a_leftover_of_a_table_is_no_heading() -> None:
    lines = [" a \n", " = Wins ; L = \n", " b \n"]
    assert corpus.articles(lines) == ["".join(lines)]


@given(st.lists(st.sampled_from(["\n", " = T = \n", " = = S = = \n", " a \n"])))
def test_articles_joined_are_the_text(lines: list[str]) -> None:
    assert "".join(corpus.articles(lines)) == "".join(lines)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (["", " a \n", ""], True),
        (["a\n", "b\n"], True),
        (["A review.", "Another."], False),
        (["A tale.\n\nIn two parts.", "", ""], False),
        (["One of very many.", *["Another."] * 200, ""], False),
    ],
)
def test_rows_are_lines_or_documents(split: list[str], expected: bool) -> None:
    assert corpus.are_lines(split) is expected


# --------------------------------------------------------------------------- text files


def test_a_text_file_is_one_document_held_out_from_its_end(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text(PROSE)
    text = load(tmp_path / "tale.txt", tmp_path, held_out_fraction=0.1)
    assert text.label == "tale.txt"
    assert joined(text) == PROSE
    assert {n: s.rows for n, s in text.splits.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert text.splits["test"].words == 10 * (7 + 1)
    assert text.notes == [
        "The data has no validation or test split: 10.0% of its text, from the end, is kept out of "
        "training for each."
    ]


def test_a_text_file_keeps_every_character(tmp_path: Path) -> None:
    odd = "naïve\x0cform\u2028separator\x85next 😀\tend\n\n"
    (tmp_path / "odd.txt").write_bytes(b"\xef\xbb\xbf" + (odd * 100).encode())
    assert joined(load(tmp_path / "odd.txt", tmp_path)) == odd * 100


def test_a_last_line_without_a_break_gets_one_and_dos_line_ends_become_one(tmp_path: Path) -> None:
    (tmp_path / "dos.txt").write_bytes(PROSE.replace("\n", "\r\n").encode() + b"The end.")
    assert joined(load(tmp_path / "dos.txt", tmp_path)) == PROSE + "The end.\n"


def test_a_glob_makes_each_file_a_document(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"tale-{number:02}[x].txt").write_text(f"{number} {PROSE[:500]}\n")
    text = load(tmp_path / "*.txt", tmp_path, held_out_fraction=0.1)
    assert {n: len(s.documents) for n, s in text.splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    assert text.splits["test"].documents[-1].startswith("19 Line 0")


def test_a_wikitext_file_is_cut_into_its_articles(tmp_path: Path) -> None:
    article = " \n = Title = \n \n A sentence of some length , as in WikiText . \n"
    (tmp_path / "wiki.train.tokens").write_text(article * 50)
    text = load(tmp_path / "wiki.train.tokens", tmp_path)
    assert sum(len(split.documents) for split in text.splits.values()) == 50
    assert joined(text) == article * 50


def test_a_folder_of_text_files_has_the_splits_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("train", "valid", "test"):
        (tmp_path / "set" / f"{name}.txt").write_text(f"This is {name}.\n{PROSE}")
    text = load(tmp_path / "set", tmp_path)
    starts = {name: split.documents[0].partition("\n")[0] for name, split in text.splits.items()}
    assert starts == {
        "train": "This is train.",
        "validation": "This is valid.",
        "test": "This is test.",
    }
    assert text.notes == []


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "tale.txt"
    path.write_text(PROSE)
    load(path, tmp_path)
    path.write_text(PROSE.replace("tale", "fable"))
    os.utime(path, (1, 1))
    assert joined(load(path, tmp_path)) == PROSE.replace("tale", "fable")


# --------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "".join(json.dumps({"body": f"Row {n}.\nMore."}) + "\n" for n in range(200))),
        ("a.csv", "body\n" + "".join(f'"Row {n}.\nMore."\n' for n in range(200))),
        ("a.tsv", "body\tid\n" + "".join(f'"Row {n}.\nMore."\t1\n' for n in range(200))),
    ],
)
def test_each_row_of_a_table_is_a_document(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    text = load(tmp_path / name, tmp_path, text_column="body")
    assert text.splits["train"].documents[1] == "Row 1.\nMore.\n"
    assert sum(len(split.documents) for split in text.splits.values()) == 200


def test_missing_and_empty_rows_are_left_out(tmp_path: Path) -> None:
    filled = json.dumps({"text": PROSE}) + "\n"
    (tmp_path / "a.jsonl").write_text('{"text": null}\n{"text": " "}\n' + filled * 10)
    text = load(tmp_path / "a.jsonl", tmp_path)
    assert joined(text) == PROSE * 10


def test_a_missing_column_is_told_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x", "stars": 5}\n' * 100)
    assert refusal(tmp_path / "a.jsonl", tmp_path) == (
        "The column 'text' of a.jsonl is not there; the columns are: body (string), stars (int64). "
        "Name the one that holds the text: --set data.text_column=NAME."
    )
    assert "holds int64, not text" in refusal(tmp_path / "a.jsonl", tmp_path, text_column="stars")


def test_a_broken_table_is_told_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": \n')
    assert "could not be read: JSON parse error" in refusal(tmp_path / "a.jsonl", tmp_path)


# --------------------------------------------------------------------------- held-out text


def test_whole_documents_are_held_out_where_they_fit() -> None:
    documents = ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n"]
    assert corpus.cut_off(documents, 10) == (documents[:2], documents[2:])


def test_one_document_is_cut_at_the_end_of_a_line() -> None:
    assert corpus.cut_off(["one\ntwo\nthree\n"], 6) == (["one\ntwo\n"], ["three\n"])


def test_a_document_too_large_to_hold_out_is_cut_too() -> None:
    kept, held_out = corpus.cut_off(["a\n" * 50, "b\n"], 20)
    assert (kept, held_out) == (["a\n" * 41], ["a\n" * 9, "b\n"])


@given(st.lists(st.text("a\n").map(lambda s: s + "\n"), min_size=1), st.integers(0, 60))
def test_what_is_cut_loses_nothing(documents: list[str], characters: int) -> None:
    kept, held_out = corpus.cut_off(documents, characters)
    assert "".join(kept + held_out) == "".join(documents)
    assert all(document.endswith("\n") for document in kept + held_out)


def test_only_the_missing_split_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.txt").write_text(PROSE)
    (tmp_path / "set" / "test.txt").write_text("The test.\n" * 100)
    text = load(tmp_path / "set", tmp_path, held_out_fraction=0.1)
    assert "".join(text.splits["test"].documents) == "The test.\n" * 100
    assert text.splits["validation"].rows == 10
    assert text.notes == [
        "The data has no validation split: 10.0% of its text, from the end, is kept out of "
        "training for it."
    ]


# --------------------------------------------------------------------------- python-docs


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small standard library of modules that explain themselves."""
    folder = tmp_path / "lib"
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "test_a.py").write_text('"""A test module."""\n')
    (folder / "broken.py").write_text("def (:\n")
    (folder / "tales.py").write_text(
        '"""Telling tales.\n\n    With care.\n"""\n'
        'def tell(tale, *, slowly=False):\n    """Tell a tale."""\n'
        'class Teller:\n    """Who tells."""\n'
        '    def tell(self):\n        """Tell a tale."""\n'
        '    def stop(self):\n        """Stop telling."""\n'
        "def silent():\n    pass\n"
    )
    monkeypatch.setattr(python_docs, "library_folder", lambda: folder)
    return folder


def test_docstrings_are_grouped_and_told_once(library: Path) -> None:
    assert python_docs.docstrings(library) == [
        "tales\n\nTelling tales.\n\nWith care.\n",
        "tales.tell(tale, *, slowly=False)\n\nTell a tale.\n",
        "tales.Teller\n\nWho tells.\n\nTeller.stop(self)\n\nStop telling.\n",
    ]


def test_topics_are_read_without_importing_them(library: Path) -> None:
    (library / "pydoc_data").mkdir()
    (library / "pydoc_data" / "topics.py").write_text("topics = {'b': 'B\\n\\n', 'a': '\\nA\\n'}\n")
    assert python_docs.topics(library) == ["A\n", "B\n"]


def test_where_a_document_goes_depends_on_nothing_but_the_document() -> None:
    # The first eight bytes of SHA-256("a\n") are 87428fc522803d31, a little over half of 2**64.
    assert python_docs.position("a\n") == 0x87428FC522803D31 / 2**64


@pytest.mark.usefixtures("library")
def test_too_little_python_is_refused(tmp_path: Path) -> None:
    message = refusal("python-docs", tmp_path)
    assert "carries too little text for python-docs: 141 characters" in message


def test_a_python_without_help_topics_is_told(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "_LEAST_EMBEDDED_CHARACTERS", 1000)
    functions = (f'def tell_{n}():\n    """Tell the tale number {n}."""\n' for n in range(200))
    (library / "more.py").write_text("".join(functions))
    assert load("python-docs", tmp_path, held_out_fraction=0.1).notes == [
        "This Python lacks pydoc_data: python-docs is the docstrings alone.",
        "python-docs: 0 help topics and the docstrings of 203 classes, functions and modules of "
        "the standard library.",
    ]


def test_the_running_python_gives_enough_to_learn_from(tmp_path: Path) -> None:
    text = load("python-docs", tmp_path)
    sizes = {name: split.bytes for name, split in text.splits.items()}
    assert sizes["train"] > 1_000_000
    assert 0.02 < sizes["validation"] / sum(sizes.values()) < 0.1
    assert 0.02 < sizes["test"] / sum(sizes.values()) < 0.1
    assert "help topics and the docstrings of" in text.notes[-1]


# --------------------------------------------------------------------------- the hub


def test_a_silent_hub_is_told_with_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasource, "hub_answers", lambda: (False, "no route to host"))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert refusal("wikitext-2", tmp_path) == (
        "WikiText-2 (raw) is not on this computer yet, and the Hugging Face hub at "
        "https://huggingface.co cannot be reached: no route to host. Make it reachable "
        "(HF_ENDPOINT chooses a mirror), or train on text that is here, "
        "named in the form of a new run or on the command line: "
        "--set data.dataset_name=python-docs (prose that every Python carries), "
        "--set data.dataset_name=FILE.txt (a text file), or --set data.dataset_name=FOLDER "
        "--set data.dataset_config=wikitext-2-raw-v1 (a folder with a copy of the dataset)."
    )
    message = refusal("wikitext-2", tmp_path, dataset_config="wikitext-2-v1")
    assert "--set data.dataset_name=python-docs --set data.dataset_config=null" in message


LOADING = """
import json, sys
from pathlib import Path
from trainer.config import DataSettings
from trainer.engine import corpus
from trainer.errors import TrainerError

told = []
data = DataSettings(dataset_name=sys.argv[2], dataset_config=sys.argv[3] or None)
try:
    text = corpus.load(data, Path(sys.argv[1]), told.append)
    answer = {"documents": text.splits["train"].documents}
except TrainerError as error:
    answer = {"refused": str(error)}
print(json.dumps(answer | {"told": [[p.phase, p.done, p.total, p.unit] for p in told]}))
"""


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset repository with two configurations."""
    folder = tmp_path_factory.mktemp("tales")
    card = "---\nconfigs:\n"
    for config in ("long", "short"):
        card += f"- config_name: {config}\n  data_files:\n"
        for split in ("train", "validation", "test"):
            card += f"  - split: {split}\n    path: {config}-{split}.jsonl\n"
            row = json.dumps({"text": f"A {config} tale to {split}.\n{PROSE}"})
            (folder / f"{config}-{split}.jsonl").write_text(f"{row}\n")
    (folder / "README.md").write_text(f"{card}---\n")
    return folder


def load_from_hub(address: str, home: Path, name: str, config: str) -> dict[str, Any]:
    """Load in a process of its own: the hub's client reads its environment when imported."""
    cleared = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    answer = subprocess.run(
        [sys.executable, "-c", LOADING, str(home / "local"), name, config],
        env=cleared | {"HF_HOME": str(home), "HF_ENDPOINT": address, "no_proxy": "*"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == ""
    loaded: dict[str, Any] = json.loads(answer.stdout)
    return loaded


def test_a_download_reports_bytes_and_is_not_repeated(tales: Path, tmp_path: Path) -> None:
    total = sum(path.stat().st_size for path in tales.glob("long-*"))
    with serving(tales) as address:
        first = load_from_hub(address, tmp_path, "acme/tales", "long")
    assert first["documents"] == [f"A long tale to train.\n{PROSE}"]
    assert first["told"][0] == ["downloading data", 0, total, "bytes"]
    assert first["told"][-1] == ["downloading data", total, total, "bytes"]
    done = [step[1] for step in first["told"]]
    assert done == sorted(done)
    offline = load_from_hub(address, tmp_path, "acme/tales", "long")
    assert offline == {"documents": first["documents"], "told": []}


def test_the_hub_tells_which_configurations_and_datasets_there_are(
    tales: Path, tmp_path: Path
) -> None:
    with serving(tales) as address:
        several = load_from_hub(address, tmp_path, "acme/tales", "")
        unknown = load_from_hub(address, tmp_path, "acme/nothing", "")
    assert (
        "acme/tales has several configurations; choose one of: long, short." in several["refused"]
    )
    assert "The hub has no dataset 'acme/nothing' that you may read" in unknown["refused"]


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("one line only " * 100, "The validation split of tale.txt holds no text."),
        ("a\nb\nc\n" * 30, "too small: 180 bytes of text, and the least that can be trained on"),
        ("a\0b\n" * 1000, "it holds NUL characters"),
    ],
    ids=["one line", "too small", "binary"],
)
def test_text_that_cannot_be_used_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "tale.txt").write_text(content)
    assert problem in refusal(tmp_path / "tale.txt", tmp_path)


def test_a_dataset_without_training_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    for name in ("validation", "test"):
        (tmp_path / "set" / f"{name}.txt").write_text(PROSE)
    assert "has no split 'train'; it has: validation, test" in refusal(tmp_path / "set", tmp_path)


def test_the_meter_never_passes_the_whole() -> None:
    told: list[Progress] = []
    meter = Meter(told.append, "downloading data", 10)
    meter.add(8)
    meter.add(8)
    assert [(p.done, p.total) for p in told] == [(0, 10), (8, 10), (10, 10)]
