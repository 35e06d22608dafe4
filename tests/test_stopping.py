"""How a run is asked to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.stopping import StopFlag, StopRequested


@pytest.fixture
def flag(tmp_path: Path) -> Iterator[StopFlag]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = StopFlag(tmp_path / "stop.json")
    made.listen()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_a_request_to_save_and_end(flag: StopFlag) -> None:
    assert not flag.requested
    os.kill(os.getpid(), signal.SIGTERM)
    assert flag.requested


def test_a_request_file_is_as_good_as_a_signal(flag: StopFlag, tmp_path: Path) -> None:
    flag.poll()
    assert not flag.requested
    (tmp_path / "stop.json").write_text("{}")
    flag.poll()
    assert flag.requested


def test_a_request_that_was_there_before_the_process_counts(tmp_path: Path) -> None:
    (tmp_path / "stop.json").write_text("{}")
    assert StopFlag(tmp_path / "stop.json").requested


def test_the_preparation_is_abandoned_at_once(flag: StopFlag) -> None:
    with pytest.raises(StopRequested), flag.abandoning():
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_preparation_does_not_begin_after_a_request(flag: StopFlag) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested), flag.abandoning():
        pass
