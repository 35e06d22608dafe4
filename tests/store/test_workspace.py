"""Where things are, and ids whose order is the order of creation."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from trainer.store import workspace
from trainer.store.workspace import Workspace, is_run_id, new_run_id


def test_ids_sort_in_the_order_of_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(
        [
            datetime(2026, 1, 2, 3, 4, 5, 100),
            datetime(2026, 1, 2, 3, 4, 5, 99_900),
            datetime(2026, 1, 2, 3, 4, 6, 0),
        ]
    )

    class Clock:
        @staticmethod
        def now(_: Any) -> datetime:
            return next(moments)

    monkeypatch.setattr(workspace, "datetime", Clock)
    ids = [new_run_id() for _ in range(3)]
    assert ids == ["20260102-030405-0001", "20260102-030405-0999", "20260102-030406-0000"]
    assert all(is_run_id(run_id) for run_id in ids)


def test_the_folder_that_was_named_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TRAINER_HOME", str(tmp_path / "environment"))
    assert Workspace().home == tmp_path / "environment"
    assert Workspace(tmp_path / "named").home == tmp_path / "named"
    monkeypatch.delenv("LLM_TRAINER_HOME")
    monkeypatch.chdir(tmp_path)
    assert Workspace().home == tmp_path


def test_only_run_folders_are_listed_newest_first(tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    assert home.run_ids() == []
    for name in ("a-1", "a-2", ".trash", ".new-a-3", "Not-An-Id"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "readme").write_text("a file")
    assert home.run_ids() == ["a-2", "a-1"]
