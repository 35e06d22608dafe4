"""Byte-level BPE that loses nothing, and token files that are built once and checked."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import DataSettings
from trainer.engine import tokenization
from trainer.engine.corpus import Corpus, measure
from trainer.engine.tokenization import TokenizedCorpus, Tokenizer
from trainer.errors import StoreError, UsageError
from trainer.store.lock import RunLock
from trainer.store.records import Progress

TALE = ["the cat sat on the mat .\n", "the cat sat on the hat .\nthe end\n"] * 20
CORPUS = Corpus(
    "tale", {"train": measure(TALE), "validation": measure(TALE[:2]), "test": measure(TALE[:1])}
)
SETTINGS = DataSettings(vocab_size=270)
TOKENIZER = Tokenizer.train(TALE, 270)


def prepare(data_dir: Path, told: list[Progress] | None = None) -> TokenizedCorpus:
    report = (lambda _: None) if told is None else told.append
    return tokenization.prepare(CORPUS, SETTINGS, data_dir, report)


# --------------------------------------------------------------------------- the tokenizer


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.text(alphabet="a 's\n\t\r\u00a0\x1c\x85.1é", max_size=60))
def test_a_text_cut_into_segments_gives_the_same_tokens(text: str) -> None:
    segments = list(tokenization.segments_of(text, characters=4))
    assert "".join(segments) == text
    [whole] = TOKENIZER.encode_batch([text])
    assert [i for ids in TOKENIZER.encode_batch(segments) for i in ids] == whole


def test_segments_end_behind_line_breaks() -> None:
    text = " one \n two \nthree\nfour  \n\nfive"
    assert list(tokenization.segments_of(text, characters=4)) == [
        " one \n",
        " two \nthree\n",
        "four  \n\nfive",
    ]


def test_the_vocabulary_is_the_mark_the_bytes_and_merges() -> None:
    assert TOKENIZER.vocab_size == 270
    assert TOKENIZER.token_bytes(TOKENIZER.end_of_text) == b""
    assert sorted(TOKENIZER.token_bytes(i) for i in range(1, 257)) == [
        bytes([value]) for value in range(256)
    ]
    # The most frequent pair: two documents hold "at" six times, "th" and "he" five times each.
    assert TOKENIZER.token_bytes(257) == b"at"


def test_a_text_gives_the_same_tokenizer_each_time() -> None:
    again = Tokenizer.train(TALE, 270)
    assert again.to_json() == TOKENIZER.to_json()
    assert again.sha256 == TOKENIZER.sha256
    assert Tokenizer.train(TALE[:2], 270).sha256 != TOKENIZER.sha256


def test_short_text_yields_a_smaller_vocabulary() -> None:
    # "abab": one pair occurs twice, and the token it becomes makes no second pair.
    assert Tokenizer.train(["abab"], 300).vocab_size == 1 + 256 + 1


MARKED = [" the <unk> of <unk> , <unk>s and <unk>\n" * 30]


def test_the_mark_of_unknown_words_is_one_token() -> None:
    tokenizer = Tokenizer.train(MARKED, 300)
    mark = tokenizer.vocab_size - 1
    assert tokenizer.token_bytes(mark) == b" <unk>"
    assert tokenizer.encode(MARKED[0]).count(mark) == 4 * 30
    assert tokenizer.decode(tokenizer.encode(MARKED[0])) == MARKED[0]
    # Other programs read the same from the same file.
    assert Tokenizer.from_json(tokenizer.to_json()).encode(" a <unk>") == [
        *tokenizer.encode(" a"),
        mark,
    ]


def test_a_few_mentions_of_unk_are_no_mark() -> None:
    tokenizer = Tokenizer.train([" a <unk> b\n" * 99], 300)
    pieces = [tokenizer.token_bytes(token) for token in tokenizer.encode(" <unk>")]
    assert pieces == [b" <", b"unk", b">"]


def test_the_mark_typed_by_a_person_is_text() -> None:
    ids = TOKENIZER.encode("<|endoftext|>")
    assert TOKENIZER.end_of_text not in ids
    assert TOKENIZER.decode(ids) == "<|endoftext|>"


def test_a_character_may_span_tokens() -> None:
    ids = TOKENIZER.encode("é")
    assert [TOKENIZER.token_bytes(i) for i in ids] == [b"\xc3", b"\xa9"]
    assert TOKENIZER.decode(ids[:1]) == "\ufffd"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UsageError, match="a lone surrogate at character 1"):
        TOKENIZER.encode("a\ud800")


def test_a_tokenizer_is_rebuilt_from_its_json(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(TOKENIZER.to_json())
    for copy in (
        Tokenizer.from_json(TOKENIZER.to_json()),
        Tokenizer.from_file(tmp_path / "tokenizer.json"),
    ):
        assert copy.encode(TALE[1]) == TOKENIZER.encode(TALE[1])
        assert copy.sha256 == TOKENIZER.sha256


# --------------------------------------------------------------------------- token files


def test_the_mark_stands_before_each_document(tmp_path: Path) -> None:
    ready = prepare(tmp_path)
    tokens = ready.splits["validation"].tokens
    first, second = (ready.tokenizer.encode(document) for document in TALE[:2])
    assert tokens.tolist() == [0, *first, 0, *second]
    assert (tokens.dtype, tokens.ndim, tokens.flags.writeable) == (np.dtype("<u2"), 1, False)


def test_the_counts_of_the_text_are_kept(tmp_path: Path) -> None:
    split = prepare(tmp_path).splits["test"]
    # "the cat sat on the mat .": seven words and an end of line, 25 bytes.
    assert (split.words, split.bytes, split.documents) == (8, 25, 1)


def test_a_long_document_is_one_document(tmp_path: Path) -> None:
    document = " a line of a long tale . \n" * 4000
    text = measure([document])
    corpus = Corpus("long", {"train": text, "validation": text, "test": text})
    ready = tokenization.prepare(corpus, SETTINGS, tmp_path, lambda _: None)
    tokens = ready.splits["train"].tokens
    assert np.flatnonzero(tokens == 0).tolist() == [0]
    assert ready.tokenizer.decode(tokens) == document


def test_progress_is_told_in_bytes_of_text(tmp_path: Path) -> None:
    told: list[Progress] = []
    prepare(tmp_path, told)
    train, total = CORPUS.splits["train"].bytes, sum(s.bytes for s in CORPUS.splits.values())
    assert [(p.phase, p.done, p.total) for p in told] == [
        ("training tokenizer", 0, train),
        ("training tokenizer", train, None),
        ("tokenizing", 0, total),
        ("tokenizing", train, total),
        ("tokenizing", train + CORPUS.splits["validation"].bytes, total),
        ("tokenizing", total, total),
    ]


def test_equal_text_is_tokenized_once(tmp_path: Path) -> None:
    first = prepare(tmp_path)
    told: list[Progress] = []
    second = prepare(tmp_path, told)
    assert told == []
    assert (second.key, second.tokenizer.sha256) == (first.key, first.tokenizer.sha256)


def test_other_text_or_another_vocabulary_has_another_key() -> None:
    def with_train(documents: list[str]) -> Corpus:
        return Corpus("tale", CORPUS.splits | {"train": measure(documents)})

    keys = {
        tokenization.corpus_key(CORPUS, 270),
        tokenization.corpus_key(CORPUS, 271),
        tokenization.corpus_key(with_train([*TALE[:-1], "the end\n"]), 270),
        tokenization.corpus_key(with_train(["".join(TALE[:2]), *TALE[2:]]), 270),
    }
    assert len(keys) == 4


def test_a_smaller_vocabulary_is_told(tmp_path: Path) -> None:
    ready = tokenization.prepare(CORPUS, DataSettings(vocab_size=8192), tmp_path, lambda _: None)
    size = ready.tokenizer.vocab_size
    assert ready.notes == [
        f"The text supports a vocabulary of {size} entries, not data.vocab_size = 8,192."
    ]
    assert prepare(tmp_path).notes == []


def test_prepared_files_open_without_the_text(tmp_path: Path) -> None:
    ready = prepare(tmp_path)
    opened = tokenization.open_prepared(tmp_path, ready.key, "tale")
    assert opened is not None
    assert opened.label == "tale"
    assert opened.splits["train"].tokens.tolist() == ready.splits["train"].tokens.tolist()
    assert tokenization.open_prepared(tmp_path, "f" * 24, "tale") is None


@pytest.mark.parametrize("name", ["train.bin", "test.bin", "tokenizer.json", "manifest.json"])
def test_damaged_files_are_built_again(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    ready = prepare(tmp_path)
    expected = ready.splits["train"].tokens.tolist()
    path = tmp_path / "tokens" / ready.key / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[: -1 if name == "test.bin" else None])
    with caplog.at_level(logging.WARNING):
        assert tokenization.open_prepared(tmp_path, ready.key, "tale") is None
        again = prepare(tmp_path)
    assert again.splits["train"].tokens.tolist() == expected
    assert "are damaged" in caplog.text


def test_an_older_format_is_built_again(tmp_path: Path) -> None:
    ready = prepare(tmp_path)
    path = tmp_path / "tokens" / ready.key / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(manifest | {"version": 0}))
    assert tokenization.open_prepared(tmp_path, ready.key, "tale") is None


def test_a_build_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == "tokenizing" and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenization.prepare(CORPUS, SETTINGS, tmp_path, stop)
    assert [path.suffix for path in (tmp_path / "tokens").iterdir()] == [".lock"]
    assert prepare(tmp_path).splits["test"].documents == 1


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    key = tokenization.corpus_key(CORPUS, SETTINGS.vocab_size)
    (tmp_path / "tokens" / f".{key}.abc").mkdir(parents=True)
    prepare(tmp_path)
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == [key, f"{key}.lock"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be written") as refused:
        prepare(tmp_path)
    assert refused.value.hint


PREPARING = """
import sys
from pathlib import Path
from tests.engine.test_tokenization import prepare

class Told(list):
    def append(self, progress):
        print(progress.phase, progress.unit, flush=True)

ready = prepare(Path(sys.argv[1]), Told())
print("ready", ready.key, len(ready.splits["train"].tokens), flush=True)
"""


def test_two_processes_build_the_files_once(tmp_path: Path) -> None:
    key = tokenization.corpus_key(CORPUS, SETTINGS.vocab_size)
    (tmp_path / "tokens").mkdir()
    lock = RunLock.acquire(tmp_path / "tokens" / f"{key}.lock")
    assert lock is not None
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARING, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [run.stdout for run in runs if run.stdout]
    assert [output.readline() for output in outputs] == [
        "tokenizing s waiting for another run\n"
    ] * 2
    lock.release()
    told = [run.communicate()[0] for run in runs]
    assert sorted("training tokenizer" in text for text in told) == [False, True]
    count = len(prepare(tmp_path).splits["train"].tokens)
    assert all(text.endswith(f"ready {key} {count}\n") for text in told)
