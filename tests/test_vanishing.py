"""A worker whose run folder goes away ends itself, says why, and makes nothing anew."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeRun, point_row
from trainer.runs import Run, RunStore
from trainer.store.lock import RunLock
from trainer.store.recorder import Recorder
from trainer.vanishing import GONE_STATUS, Guard, vanished


class LeftError(Exception):
    """Stands for the end of the process."""


class Post:
    """A worker at its post: its lock, its recorder, and the guard that looks after its folder."""

    def __init__(self, run: Run) -> None:
        self.run = run
        lock = RunLock.acquire(run.paths.lock)
        assert lock is not None
        self.lock = lock
        self.recorder = Recorder(run.paths, run.state)
        self.recorder.add("points", point_row(1))
        self.recorder.flush()
        self.guard = Guard(run.paths, lock.descriptor, leave=self._leave)

    def _leave(self, status: int) -> None:
        assert status == GONE_STATUS
        raise LeftError

    def look(self) -> None:
        self.guard.look(self.recorder)


@pytest.fixture
def post(make_run: MakeRun) -> Iterator[Post]:
    made = Post(make_run(status="running", step=1))
    yield made
    made.lock.release()


def test_a_run_in_its_place_goes_on(post: Post) -> None:
    post.look()


def test_a_deleted_run_ends_its_worker_and_stays_deleted(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(post.run.paths.folder)
    with pytest.raises(LeftError), caplog.at_level(logging.ERROR):
        post.look()
    assert not post.run.paths.folder.exists()
    assert "was deleted while it trained" in caplog.text


def test_a_deleted_workspace_stays_deleted(post: Post, home: Path) -> None:
    shutil.rmtree(home)
    with pytest.raises(LeftError):
        post.look()
    assert not home.exists()


def test_a_moved_run_is_told_in_its_new_place(post: Post, tmp_path: Path) -> None:
    there = RunStore(tmp_path / "elsewhere")
    there.workspace.runs_dir.mkdir(parents=True)
    new = there.workspace.runs_dir / post.run.run_id
    post.run.paths.folder.rename(new)
    post.recorder.add("points", point_row(2))
    with pytest.raises(LeftError):
        post.look()
    post.lock.release()
    found = there.get(post.run.run_id)
    assert found.status == "interrupted"
    assert found.state.error == vanished(post.run.paths, new)
    assert not post.run.paths.folder.exists()
    with there.metrics(post.run.run_id) as reader:
        assert reader.series(["train_loss"])["series"]["train_loss"]["step"] == [1, 2]


def test_a_lock_that_was_replaced_ends_the_worker_and_spares_the_new_owner(post: Post) -> None:
    post.run.paths.lock.unlink()
    owner = RunLock.acquire(post.run.paths.lock)
    assert owner is not None
    with pytest.raises(LeftError):
        post.look()
    assert b"removed or replaced" not in post.run.paths.state.read_bytes()
    owner.release()


def test_what_can_be_done_depends_on_where_the_checkpoints_are(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    new = tmp_path / "there" / "runs" / run.run_id
    alone = vanished(run.paths, new)
    assert alone.hint == (
        f"To resume it, move it back to {run.paths.folder}, or bring its checkpoints along to "
        f"{tmp_path}/there/checkpoints/{run.run_id}."
    )
    no_home = vanished(run.paths, tmp_path / "attic" / run.run_id)
    assert no_home.hint == f"To resume it, move it back to {run.paths.folder}."
    checkpoint = tmp_path / "there" / "checkpoints" / run.run_id / "latest.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    together = vanished(run.paths, new)
    assert together.hint.startswith(f"Resume it there: llm-trainer resume --home {tmp_path}/there")
