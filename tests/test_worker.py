"""The managed training process: really started, stopped, killed and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.texts import tiny_config, write_text
from trainer import worker
from trainer.config import Config
from trainer.errors import ConflictError, DeviceError, UsageError
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.recorder import PEN

PATIENCE_SECONDS = 90.0


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")


@pytest.fixture
def store(store: RunStore) -> Iterator[RunStore]:
    """The store; whatever still trains at the end of a test is killed."""
    yield store
    for run in store.list().runs:
        if run.active and run.state.process is not None:
            process.kill_group(run.state.process)


def wait_for(store: RunStore, run_id: str, until: Callable[[Run], bool]) -> Run:
    run = store.wait(run_id, until, patience_seconds=PATIENCE_SECONDS)
    assert until(run), (run.status, run.state.error, store.log_tail(run_id, name="worker"))
    return run


def ended(run: Run) -> bool:
    return not run.active


def past(step: int) -> Callable[[Run], bool]:
    return lambda run: (run.state.step or 0) >= step or not run.active


def endless(text: Path) -> Config:
    return tiny_config(
        text, "training.max_steps=null", "training.epochs=9999", "checkpoint.every_steps=5"
    )


def losses(store: RunStore, run_id: str) -> list[float]:
    with store.metrics(run_id) as reader:
        series = reader.series(["train_loss"], points=20_000)["series"]["train_loss"]
    assert series["step"] == list(range(1, len(series["step"]) + 1))
    values: list[float] = series["value"]
    return values


def test_a_run_from_start_to_end(store: RunStore, text: Path) -> None:
    run_id = store.create(tiny_config(text), name="first", tags=["small"], command=["test"])
    started = store.get(run_id)
    assert started.active
    run = wait_for(store, run_id, ended)
    assert run.status == "completed"
    assert run.state.process is None
    assert (run.state.device, run.state.precision) == ("cpu", "off")
    assert run.state.dataset == "text.txt"
    assert len(losses(store, run_id)) == 12
    assert {path.name for path in run.paths.folder.iterdir()} >= {
        "meta.json",
        "config.toml",
        "state.json",
        "annotations.json",
        "metrics.sqlite3",
        "train.log",
        "worker.log",
        "run.lock",
    }
    assert not run.paths.folder.joinpath("metrics.sqlite3-wal").exists()
    assert any("12/12" in line for line in store.log_tail(run_id))


def test_stop_saves_and_resume_goes_on(store: RunStore, text: Path) -> None:
    run_id = store.create(endless(text))
    wait_for(store, run_id, past(3))
    with pytest.raises(ConflictError, match="already active"):
        store.resume(run_id)
    store.stop(run_id)
    stopped = wait_for(store, run_id, ended)
    assert stopped.status == "stopped"
    before = losses(store, run_id)
    assert len(before) == stopped.state.step
    store.resume(run_id)
    wait_for(store, run_id, past(len(before) + 3))
    store.stop(run_id)
    wait_for(store, run_id, ended)
    assert losses(store, run_id)[: len(before)] == before


def test_a_killed_run_is_interrupted_and_goes_on_from_its_checkpoint(
    store: RunStore, text: Path
) -> None:
    run_id = store.create(endless(text))
    running = wait_for(store, run_id, past(12))
    assert running.state.process is not None
    os.kill(running.state.process.pid, signal.SIGKILL)
    killed = wait_for(store, run_id, ended)
    assert killed.status == "interrupted"
    assert killed.state.error is not None
    assert killed.state.error.kind == "interrupted"
    store.resume(run_id)
    wait_for(store, run_id, past(20))
    store.stop(run_id)
    assert wait_for(store, run_id, ended).status == "stopped"
    assert len(losses(store, run_id)) >= 20


def test_stop_now_ends_the_process_at_once(store: RunStore, text: Path) -> None:
    run_id = store.create(endless(text))
    running = wait_for(store, run_id, lambda _: bool(store.checkpoints(run_id)))
    store.stop(run_id, kill=True)
    assert wait_for(store, run_id, ended).status == "interrupted"
    assert not process.is_alive(running.state.process)
    assert store.checkpoints(run_id)


def test_a_run_stopped_while_it_prepares_says_so(store: RunStore, text: Path) -> None:
    run_id = store.create(endless(text))
    store.stop(run_id)
    run = wait_for(store, run_id, ended)
    assert run.status == "stopped"
    assert run.state.error is None


def test_the_run_outlives_the_process_that_started_it(store: RunStore, text: Path) -> None:
    program = (
        "import sys; from tests.texts import tiny_config; from trainer.runs import RunStore;"
        "from pathlib import Path;"
        "print(RunStore(sys.argv[1]).create(tiny_config(Path(sys.argv[2]))), flush=True);"
        "sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(store.workspace.home), str(text)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert starter.stdout is not None
    run_id = starter.stdout.readline().strip()
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert wait_for(store, run_id, ended).status == "completed"


def test_what_cannot_train_fails_with_the_reason(store: RunStore, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a row as it should be"}\n' * 2000 + '{"text": "a row without its')
    run_id = store.create(tiny_config(rows))
    run = wait_for(store, run_id, ended)
    assert run.status == "failed"
    assert run.state.error is not None
    assert run.state.error.kind == "data"
    assert "rows.jsonl" in run.state.error.message
    assert not any("Traceback" in line for line in store.log_tail(run_id))


def test_a_gpu_that_is_not_here_falls_back_to_the_cpu_and_says_so(
    store: RunStore, text: Path
) -> None:
    config = tiny_config(text, "device.preference=NoSuchCard9000")
    run = wait_for(store, store.create(config), ended)
    assert run.status == "completed"
    assert run.state.device == "cpu"
    assert any("NoSuchCard9000" in notice for notice in run.state.notices)


def test_a_strict_device_that_is_not_here_is_refused_before_a_run_is_made(
    store: RunStore, text: Path
) -> None:
    config = tiny_config(text, "device.preference=NoSuchCard9000", "device.strict=true")
    with pytest.raises(DeviceError, match="NoSuchCard9000"):
        store.create(config)
    assert store.list().total == 0


def test_a_text_that_is_not_there_is_refused_before_a_run_is_made(store: RunStore) -> None:
    with pytest.raises(UsageError, match="no_such_file"):
        store.create(tiny_config(Path("./no_such_file.txt")))
    assert store.list().total == 0


def test_two_data_loading_processes_leave_with_the_run(store: RunStore, text: Path) -> None:
    config = tiny_config(
        text,
        "training.max_steps=null",
        "training.epochs=9999",
        "training.dataloader_workers=2",
    )
    run_id = store.create(config)
    running = wait_for(store, run_id, past(3))
    owner = running.state.process
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    assert wait_for(store, run_id, ended).status == "interrupted"
    assert time.monotonic() - killed_at < PATIENCE_SECONDS / 3


def test_a_worker_ends_when_nothing_is_written_down_any_more(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)

    def fail(name: str) -> None:
        thread = threading.Thread(name=name)
        error = RuntimeError("an ink blot")
        worker.end_without_pen(
            threading.ExceptHookArgs((RuntimeError, error, error.__traceback__, thread))
        )

    fail("telemetry")
    assert ended == []
    fail(PEN)
    assert ended == [1]
    assert capfd.readouterr().err.endswith("RuntimeError: an ink blot\n")
