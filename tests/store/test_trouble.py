"""Trouble is told in one block, whatever its length, and half of a block tells of none."""

from __future__ import annotations

from pathlib import Path

from trainer.store.trouble import (
    BLOCK_BYTES,
    TroubleFile,
    encoded,
    over_words,
    read_trouble,
    unwritten_words,
)


def test_what_is_told_is_read_again_and_the_file_never_grows(tmp_path: Path) -> None:
    path = tmp_path / "trouble.json"
    file = TroubleFile(path)
    for messages in ({"folder": "No space."}, {"folder": "ü" * 900, "checkpoint": "c"}, {}):
        file.write(messages)
        told = read_trouble(path)
        assert told is not None
        assert told.messages == messages
        assert path.stat().st_size == BLOCK_BYTES
    file.remove()
    assert read_trouble(path) is None
    assert not path.exists()


def test_trouble_that_is_too_long_is_cut_to_one_block() -> None:
    assert len(encoded({"a": "x" * 9000, "b": "y"})) == BLOCK_BYTES
    assert b'"a":"first"' in encoded({"a": "first", "b": "y" * 9000})


def test_half_a_block_reads_as_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "trouble.json"
    for content in (b"", b'{"heartbeat_at": "x", "mess', b"[]", b"\xff\x00"):
        path.write_bytes(content)
        assert read_trouble(path) is None


def test_files_that_fail_alike_are_told_together() -> None:
    reasons = {"state.json": "no space left", "metrics.sqlite3": "no space left"}
    assert unwritten_words(reasons, goes_on=True) == (
        "state.json and metrics.sqlite3 cannot be written: no space left. Training goes on; what "
        "is missing is kept in memory and written later."
    )
    assert unwritten_words({"train.log": "read-only"}, goes_on=False) == (
        "train.log cannot be written: read-only. Training waits, for no more can be kept; what "
        "is missing is kept in memory and written later."
    )
    assert unwritten_words({}, goes_on=True) is None


def test_the_end_of_trouble_in_words() -> None:
    assert over_words("No space left.", {}) == "There is space again."
    assert over_words("No space left.", {"b": "c"}) == "There is space again for some of it."
    assert over_words("The disk is slow.", {}) == "Over since now: The disk is slow."
