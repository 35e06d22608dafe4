"""What a dataset name means, what is refused before a run, and when the fallback steps in."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer import datafiles, datasource, hub
from trainer.config import DataSettings, TrainingSettings
from trainer.datasource import DatasetNameError, Source

PROSE = "The quick brown fox jumps over the lazy dog.\n" * 100


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and nothing in the environment that speaks of it."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_ENDPOINT", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf"


def identify(name: str, config: str | None = None) -> Source:
    return datasource.identify(DataSettings(dataset_name=name, dataset_config=config))


def refusal(name: str | Path, config: str | None = None) -> str:
    """Return the message with which a name is refused before a run starts."""
    data = DataSettings(dataset_name=str(name), dataset_config=config)
    with pytest.raises(DatasetNameError) as refused:
        datasource.check_at_launch(data)
    error = refused.value
    assert (error.kind, error.exit_code, error.http_status) == ("data", 2, 422)
    assert error.hint
    return str(error)


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "config", "label"),
    [
        ("wikitext-2", "wikitext-2-raw-v1", "WikiText-2 (raw)"),
        ("wikitext-2-v1", "wikitext-2-v1", "WikiText-2 (word level)"),
        ("wikitext-103", "wikitext-103-raw-v1", "WikiText-103 (raw)"),
    ],
)
def test_short_names_lead_to_the_hub(name: str, config: str, label: str) -> None:
    assert identify(name) == Source("hub", "Salesforce/wikitext", config, label)


def test_an_explicit_configuration_wins() -> None:
    source = identify("wikitext-2", "wikitext-2-v1")
    assert (source.config, source.label) == ("wikitext-2-v1", "WikiText-2 (word level)")


@pytest.mark.parametrize("name", ["owner/name", "roneneldan/TinyStories", "a/b.v1"])
def test_owner_and_name_lead_to_the_hub(name: str) -> None:
    assert identify(name) == Source("hub", name, None, name)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("notes.txt", "notes.txt"),
        ("./notes", "notes"),
        ("/data/notes", "notes"),
        ("~/notes", "notes"),
        ("texts/*.txt", "texts/*.txt"),
        ("texts/notes.txt", "notes.txt"),
        ("a/b/c", "c"),
    ],
)
def test_what_looks_like_a_path_is_one(name: str, label: str) -> None:
    assert identify(name) == Source("path", name, None, label)


def test_what_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert identify("owner/name").kind == "path"


@pytest.mark.parametrize(
    ("name", "guess"), [("wikitext2", "wikitext-2"), ("WIKITEXT-103", "wikitext-103")]
)
def test_a_near_miss_is_guessed(name: str, guess: str) -> None:
    with pytest.raises(DatasetNameError, match=f"Did you mean {guess}\\?") as refused:
        identify(name)
    assert "Accepted are wikitext-2, wikitext-2-v1, wikitext-103, python-docs" in refused.value.hint


def test_an_unknown_name_is_refused_with_what_is_accepted() -> None:
    assert refusal("shakespeare") == (
        "'shakespeare' is not a known dataset. Accepted are wikitext-2, wikitext-2-v1, "
        "wikitext-103, python-docs, a hub id owner/name, or a path to a text file, a glob or a "
        "folder."
    )


def test_python_docs_has_no_configurations() -> None:
    assert "python-docs has no configurations" in refusal("python-docs", "large")


# --------------------------------------------------------------------------- local files


def test_good_text_passes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(PROSE)
    datasource.check_at_launch(DataSettings(dataset_name=str(tmp_path / "notes.txt")))
    datasource.check_at_launch(DataSettings(dataset_name=str(tmp_path / "*.txt")))


def test_a_missing_file_is_told_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(PROSE)
    message = refusal(tmp_path / "note.txt")
    assert f"There is no file or folder '{tmp_path}/note.txt'." in message
    assert f"Did you mean '{tmp_path}/notes.txt'?" in message


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert f"Nor is there a folder '{tmp_path}/gone'" in refusal(tmp_path / "gone" / "notes.txt")


def test_a_glob_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    assert f"No file matches '{tmp_path}/*.txt'." in refusal(tmp_path / "*.txt")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty (0 bytes)"),
        (b" \n\n\t\n", "holds 5 bytes of white space and no text"),
        (b"abc\n\0def\n" * 500, "is not text in UTF-8: there is a NUL byte at offset 4"),
        (b"abc\n\xff\n" * 500, "is not text in UTF-8: there is byte 0xff at offset 4"),
        ("ab\nc\n".encode("utf-16"), "is text in UTF-16, not UTF-8"),
        (b"word " * 1000, "is one single line"),
        (b"word " * 1000 + b"\n", "is one single line"),
        (b"a\nb\n", "is too small: 4 bytes, and these settings need 1,024"),
    ],
)
def test_content_that_cannot_be_learned_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    message = refusal(tmp_path / "notes.txt")
    assert f"'{tmp_path}/notes.txt'" in message
    assert problem in message


def test_a_packed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt.gz").write_bytes(b"\x1f\x8b" + bytes(2000))
    assert "is a packed file" in refusal(tmp_path / "notes.txt.gz")


def test_a_character_cut_by_the_end_of_the_sample_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"a\n" + b"x" * (datafiles.HEAD_BYTES - 3) + "é\n".encode())
    datasource.check_at_launch(DataSettings(dataset_name=str(path)))


def test_empty_files_among_others_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text(PROSE)
    datasource.check_at_launch(DataSettings(dataset_name=str(tmp_path / "*.txt")))


def test_files_of_different_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PROSE)
    (tmp_path / "b.csv").write_text("text\nx\n")
    assert "mixes files of different kinds: csv, text" in refusal(tmp_path / "*")


def test_a_configuration_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(PROSE)
    assert "has no configurations" in refusal(tmp_path / "notes.txt", "raw")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"body": "x", "id": 1}\n' * 100),
        ("a.csv", "body,id\nx,1\n" * 100),
        ("a.tsv", "body\tid\nx\t1\n" * 100),
    ],
)
def test_a_missing_column_is_told_with_those_there_are(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    assert "has no column 'text'; it has: body, id." in refusal(tmp_path / name)
    body = DataSettings(dataset_name=str(tmp_path / name), text_column="body")
    datasource.check_at_launch(body)


def test_what_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text(PROSE)
    assert "is not a Parquet file" in refusal(tmp_path / "a.parquet")


def test_the_least_size_follows_from_the_batch(tmp_path: Path) -> None:
    data = DataSettings(dataset_name=str(tmp_path / "notes.txt"), held_out_fraction=0.05)
    training = TrainingSettings(batch_size=16, seq_length=256, grad_accum_steps=1)
    # (16 x 1 + 1) windows x 256 tokens x 2 bytes / 0.9 of the text
    assert datasource.needed_bytes(data, training) == 9672
    (tmp_path / "notes.txt").write_text("line\n" * 1934)
    with pytest.raises(DatasetNameError, match=r"9,670 bytes, and these settings need 9,672"):
        datasource.check_at_launch(data, training)
    (tmp_path / "notes.txt").write_text("line\n" * 1935)
    datasource.check_at_launch(data, training)


# --------------------------------------------------------------------------- folders


def card(*configs: str) -> str:
    entries = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
        for name in configs
    )
    return f"---\nlicense: mit\nconfigs:\n{entries}---\n# A data set\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in the hub's layout with two configurations of text."""
    for name in ("small", "large"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "train-0.txt").write_text(PROSE)
    (tmp_path / "set" / "README.md").write_text(card("small", "large"))
    return tmp_path / "set"


def test_a_configuration_of_a_folder_passes(folder: Path) -> None:
    datasource.check_at_launch(DataSettings(dataset_name=str(folder), dataset_config="small"))


def test_an_unknown_configuration_is_told_with_those_there_are(folder: Path) -> None:
    assert "has no configuration 'tiny'; it has: small, large." in refusal(folder, "tiny")


def test_one_of_several_configurations_must_be_chosen(folder: Path) -> None:
    assert "several configurations and none was chosen: small, large." in refusal(folder)


def test_a_configuration_without_files_is_refused(folder: Path) -> None:
    (folder / "small" / "train-0.txt").unlink()
    assert "There is no data file in configuration 'small'" in refusal(folder, "small")


def test_a_folder_without_a_card_is_taken_as_a_whole(tmp_path: Path) -> None:
    assert "There is no data file in" in refusal(tmp_path)
    (tmp_path / "train.txt").write_text(PROSE)
    datasource.check_at_launch(DataSettings(dataset_name=str(tmp_path)))
    assert "declares no configurations, so there is no 'x'" in refusal(tmp_path, "x")


@pytest.mark.parametrize(
    ("data_files", "patterns"),
    [
        ("data_files: '*.csv'", ["*.csv"]),
        ("data_files: [a.csv, b.csv]", ["a.csv", "b.csv"]),
        ("data_files: {train: a.csv, test: [b.csv]}", ["a.csv", "b.csv"]),
        ("data_files: [{split: train, path: [a.csv, b.csv]}]", ["a.csv", "b.csv"]),
        ("data_files: a.csv\n  data_dir: tables", ["tables/a.csv"]),
        ("data_dir: tables", ["tables/**/*"]),
    ],
)
def test_every_way_to_name_data_files_is_understood(
    tmp_path: Path, data_files: str, patterns: list[str]
) -> None:
    front_matter = f"---\nconfigs:\n- config_name: one\n  {data_files}\n---\n"
    (tmp_path / "README.md").write_text(front_matter)
    assert datafiles.folder_configs(tmp_path) == {"one": patterns}


def test_a_default_configuration_need_not_be_chosen(folder: Path) -> None:
    front_matter = card("small", "large").replace("name: large", "name: large\n  default: true")
    (folder / "README.md").write_text(front_matter)
    datasource.check_at_launch(DataSettings(dataset_name=str(folder)))


def test_a_broken_card_is_told(folder: Path) -> None:
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")
    assert "do not describe a dataset" in refusal(folder, "small")


def test_the_real_wikitext_passes(wikitext: Path) -> None:
    datasource.check_at_launch(
        DataSettings(dataset_name=str(wikitext), dataset_config="wikitext-2-v1")
    )
    assert "it has: wikitext-2-v1." in refusal(wikitext, "wikitext-2-raw-v1")


# --------------------------------------------------------------------------- the hub


@pytest.fixture
def answering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that answers everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("answering", [200, 404], indirect=True)
@pytest.mark.usefixtures("answering")
def test_any_answer_of_the_hub_is_a_sign_of_life() -> None:
    assert hub.hub_answers() == (True, "")


@pytest.mark.parametrize("answering", [503], indirect=True)
@pytest.mark.usefixtures("answering")
def test_a_broken_hub_is_as_good_as_none() -> None:
    assert hub.hub_answers() == (False, "it answers 503 Service Unavailable")


@pytest.fixture
def silent_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """An address of the hub at which something accepts calls and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server


@pytest.mark.usefixtures("silent_port")
def test_a_hub_that_says_nothing_is_not_waited_for() -> None:
    assert hub.hub_answers(timeout_seconds=0.05) == (False, "no answer")


def test_a_refused_connection_is_told(silent_port: socket.socket) -> None:
    silent_port.close()
    assert hub.hub_answers() == (False, "connection refused")


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline_switches_are_respected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert hub.hub_answers() == (False, f"{name} is set")


def test_an_endpoint_that_is_no_web_address_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    assert hub.hub_answers() == (False, "HF_ENDPOINT = 'file:///etc' is not a web address")


def prepare(home: Path, config: str = "wikitext-2-raw-v1") -> Path:
    """Lay out what ``datasets`` leaves of a dataset it has prepared."""
    folder = home / "datasets" / "Salesforce___wikitext" / config / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"splits": {"train": {}, "test": {}}}')
    for name in ("wikitext-train-00000-of-00002", "wikitext-train-00001-of-00002", "wikitext-test"):
        (folder / f"{name}.arrow").touch()
    return folder


def test_what_datasets_prepared_is_found(no_cache: Path) -> None:
    source = identify("wikitext-2")
    assert not datasource.is_cached(source)
    folder = prepare(no_cache)
    assert datasource.is_cached(source)
    assert not datasource.is_cached(identify("wikitext-103"))
    found = hub.arrow_files(folder)
    assert {split: len(files) for split, files in found.items()} == {"train": 2, "test": 1}


def test_an_incomplete_preparation_does_not_count(no_cache: Path) -> None:
    (prepare(no_cache) / "wikitext-test.arrow").unlink()
    assert not datasource.is_cached(identify("wikitext-2"))


def test_a_whole_copy_of_the_repository_is_found(no_cache: Path, folder: Path) -> None:
    snapshots = no_cache / "hub" / "datasets--owner--set" / "snapshots"
    snapshots.mkdir(parents=True)
    folder.rename(snapshots / "abc")
    assert datasource.is_cached(identify("owner/set", "small"))
    assert not datasource.is_cached(identify("owner/set", "tiny"))
    (snapshots / "abc" / "large" / "train-0.txt").unlink()
    assert not datasource.is_cached(identify("owner/set", "small"))


# --------------------------------------------------------------------------- the fallback

WITH_FALLBACK = DataSettings(dataset_name="wikitext-2", fallback="python-docs")


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasource, "hub_answers", lambda _: (False, "no route to host"))


def test_the_fallback_steps_in_when_the_hub_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    choice = datasource.choose(WITH_FALLBACK)
    assert choice.settings == DataSettings(dataset_name="python-docs")
    assert (choice.requested, choice.used) == ("wikitext-2", "python-docs")
    assert choice.reason == (
        "The Hugging Face hub did not answer within 3 s (no route to host), so this run trains on "
        "python-docs instead of WikiText-2 (raw)."
    )


def test_without_a_fallback_nothing_is_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    data = DataSettings(dataset_name="wikitext-2")
    assert datasource.choose(data) == datasource.Choice(data, "wikitext-2", "wikitext-2", None)


def test_nothing_is_swapped_when_the_hub_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, no_cache: Path
) -> None:
    silence(monkeypatch)
    prepare(no_cache)
    assert datasource.choose(WITH_FALLBACK).reason is None
    local = DataSettings(dataset_name="notes.txt", fallback="python-docs")
    assert datasource.choose(local).reason is None


def test_an_offline_switch_is_the_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reason = datasource.choose(WITH_FALLBACK).reason
    assert reason is not None
    assert reason.startswith("The Hugging Face hub was not asked (HF_HUB_OFFLINE is set), so")


def test_launchers_import_nothing_heavy() -> None:
    code = (
        "import sys, trainer.datasource; "
        "print([m for m in ('torch', 'datasets', 'numpy', 'tokenizers') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr
