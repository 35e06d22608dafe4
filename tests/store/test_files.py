"""Files are replaced as a whole, and damaged or newer records are refused in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.errors import StoreError
from trainer.store.files import read_record, replace_file, write_record
from trainer.store.records import State


def a_state() -> State:
    return State(run_id="a", created_at="x", updated_at="x")


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_record(tmp_path / "state.json", a_state())
    assert read_record(tmp_path / "state.json", State) == a_state()


def test_a_failed_replacement_keeps_the_old_file_and_leaves_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged: it is empty"),
        (b'{"run_id": "a", "status"', "damaged: it is cut short"),
        (b"garbage", "damaged: it is not JSON"),
        (b"[]", "does not hold"),
        (b'{"run_id": 3}', "does not hold"),
        (b'{"schema": 99, "run_id": "a"}', "newer version"),
    ],
)
def test_a_damaged_or_newer_record_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=words):
        read_record(path, State)
