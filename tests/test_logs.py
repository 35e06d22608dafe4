"""Log lines that a full disk refuses are counted, and told when there is space again."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.logs import LineHandler


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


@pytest.fixture
def handler(path: Path) -> Iterator[LineHandler]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield LineHandler(descriptor)
    os.close(descriptor)


def say(handler: LineHandler, words: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": words, "levelname": "INFO"}))


def messages(path: Path) -> list[str]:
    return [line.partition(" ")[2] for line in path.read_text().splitlines()]


def full(_: int, __: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_is_written_with_its_time_in_utc(handler: LineHandler, path: Path) -> None:
    say(handler, "hello")
    time, level, words = path.read_text().split()
    assert (time[10], time[-1], level, words) == ("T", "Z", "INFO", "hello")


def test_lost_lines_are_counted_and_told_before_the_next(
    handler: LineHandler, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        say(handler, "one")
        say(handler, "two")
        handler.retry()
        assert handler.problem == "no space left"
    say(handler, "three")
    assert messages(path) == [
        "WARNING 2 lines of this log could not be written: no space left.",
        "INFO three",
    ]
    assert handler.problem is None


def test_losses_are_told_without_waiting_for_another_line(
    handler: LineHandler, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        say(handler, "one")
    handler.retry()
    handler.retry()
    assert messages(path) == ["WARNING 1 line of this log could not be written: no space left."]


def test_a_line_that_was_cut_off_is_ended_before_the_next(
    handler: LineHandler, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, content: real(fd, content[:30]))
        say(handler, "a line that does not fit")
    say(handler, "next")
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("1 line of this log could not be written: no space left.")
    assert lines[2].endswith("INFO next")
