"""What a full disk stops before training waits, says so, and is begun again."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.engine import patience
from trainer.engine.patience import with_space
from trainer.errors import DataError, StoreError


class Telling:
    """Takes the place of the recorder."""

    def __init__(self) -> None:
        self.told: list[str | None] = []

    def trouble(self, source: str, message: str | None) -> None:
        assert source == patience.TROUBLE
        self.told.append(message)

    def update(self, **changes: Any) -> None:
        assert changes["phase"] == "waiting for space"


def no_space() -> StoreError:
    error = StoreError("The token files cannot be written.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


def test_work_begins_again_when_there_is_more_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    failures = [no_space(), OSError(errno.EDQUOT, "Disk quota exceeded")]

    def work() -> str:
        if failures:
            raise failures.pop()
        return "done"

    def sleep(_: float) -> None:
        free[0] += 1 << 19

    recorder: Any = Telling()
    assert with_space(work, tmp_path / "not" / "there", recorder, sleep) == "done"
    assert [message is None for message in recorder.told] == [False, False, True]
    assert free[0] == 4 << 19


def test_another_failure_is_not_waited_for(tmp_path: Path) -> None:
    def work() -> None:
        raise DataError("It is empty.")

    recorder: Any = Telling()
    with pytest.raises(DataError):
        with_space(work, tmp_path, recorder)
    assert recorder.told == []
