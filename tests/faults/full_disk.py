"""What happens on a disk that is really full: run in a mount namespace of its own.

``unshare -rm python -m tests.faults.full_disk CASE FOLDER`` mounts a small file system at the
folder, plays the case there, and prints what it saw as one JSON document.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.conftest import point_row
from tests.texts import tiny_config, write_text
from trainer import config as configuration
from trainer.config import Config
from trainer.errors import TrainerError
from trainer.logs import LineHandler
from trainer.runs import Run, RunStore, urgent_words
from trainer.store import process
from trainer.store.lock import RunLock
from trainer.store.recorder import Recorder
from trainer.store.records import State, now
from trainer.store.workspace import RunPaths
from webapp import create_app

PATIENCE_SECONDS = 120.0
CANNOT_MOUNT = 77
SIZE = "12m"


def mount(folder: Path) -> None:
    """Mount a small file system, or end with a status of its own."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        sys.exit(CANNOT_MOUNT)


def fill(home: Path) -> Path:
    """Take all the space there is, to the last byte."""
    ballast = home / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (65536, 4096, 1):
        try:
            while True:
                os.write(descriptor, b"x" * size)
        except OSError:
            continue
    os.close(descriptor)
    return ballast


def seconds_until(holds: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE_SECONDS:
            return PATIENCE_SECONDS
        time.sleep(0.02)
    return time.monotonic() - began


def figures(paths: RunPaths) -> dict[str, Any]:
    """Return what the database holds, once its writer has closed it."""
    connection = sqlite3.connect(f"{paths.metrics.as_uri()}?mode=ro", uri=True)
    steps = [row[0] for row in connection.execute("SELECT step FROM points ORDER BY step")]
    events = [row[0] for row in connection.execute("SELECT message FROM events ORDER BY id")]
    whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return {"steps": steps, "events": events, "integrity": whole}


def pen(home: Path) -> dict[str, Any]:
    """Write state, metrics and log while the disk is full, and after."""
    store = RunStore(home)
    paths = store.workspace.paths("run")
    paths.folder.mkdir(parents=True)
    log = LineHandler(os.open(paths.train_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    me = process.identify(os.getpid())
    state = State(run_id="run", status="running", process=me, created_at=now(), updated_at=now())
    recorder = Recorder(paths, state, on_tick=lambda _: log.retry())
    recorder.flush()
    ballast = fill(home)
    for step in range(1, 201):
        recorder.add("points", point_row(step) | {"tokens_per_second": 1.0})
        recorder.update(step=step)
        log.handle(_line(f"step {step} " + "." * 200))
    refused = recorder.flush()
    shown = seconds_until(lambda: store.get("run").trouble is not None)
    run = store.get("run")
    ballast.unlink()
    recorder.add("points", point_row(201))
    written = recorder.flush(PATIENCE_SECONDS)
    over = seconds_until(lambda: store.get("run").trouble is None)
    recorder.close(status="completed", process=None)
    return {
        "refused": not refused,
        "shown_seconds": shown,
        "trouble": run.trouble,
        "status": run.status,
        "written": written,
        "over_seconds": over,
        "log": paths.train_log.read_text(),
        "last": store.get("run").state.step,
        **figures(paths),
    }


def _line(words: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": words, "levelname": "INFO"})


def training(home: Path) -> dict[str, Any]:
    """Let a run train through a full disk, watched by the command line and the browser."""
    text = write_text(home.parent / "text.txt")
    store = RunStore(home)
    web = create_app(home, config={"TESTING": True, "LIVE_IN_BACKGROUND": False}).test_client()
    config = tiny_config(
        text,
        "training.max_steps=null",
        "training.epochs=9999",
        "checkpoint.every_steps=50",
    )
    run_id = store.create(config)
    try:
        return _through_a_full_disk(store, run_id, web, home)
    finally:
        run = store.get(run_id)
        if run.state.process is not None:
            process.kill_group(run.state.process)


def _through_a_full_disk(store: RunStore, run_id: str, web: Any, home: Path) -> dict[str, Any]:
    store.wait(run_id, lambda run: _past(run, 60), PATIENCE_SECONDS)
    ballast = fill(home)
    shown = {
        "store": seconds_until(lambda: store.get(run_id).trouble is not None),
        "api": seconds_until(lambda: web.get(f"/api/runs/{run_id}").json["trouble"] is not None),
        "list": seconds_until(lambda: b"cannot be written" in web.get("/").data),
        "page": seconds_until(lambda: b"no space left" in web.get(f"/runs/{run_id}").data),
    }
    during = store.get(run_id)
    time.sleep(3)  # So long it trains without any space.
    ballast.unlink()
    over = seconds_until(lambda: store.get(run_id).trouble is None)
    store.stop(run_id)
    run = store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
    saved = store.checkpoints(run_id)[0]
    return {
        "shown_seconds": shown,
        "during": during.status,
        "over_seconds": over,
        "status": run.status,
        "last": run.state.step,
        "saved_step": saved.step,
        "worker_log": run.paths.worker_log.read_text(),
        **figures(run.paths),
    }


def _past(run: Run, step: int) -> bool:
    return not run.active or (run.state.step or 0) > step


def stopping(home: Path) -> dict[str, Any]:
    """Ask a run to stop that has no space to save, and look until its deadline has killed it."""
    text = write_text(home.parent / "text.txt")
    store = RunStore(home)
    run_id = store.create(tiny_config(text, "training.max_steps=null", "training.epochs=9999"))
    try:
        store.wait(run_id, lambda run: _past(run, 10), PATIENCE_SECONDS)
        fill(home)
        before = store.get(run_id).state.step or 0
        moved = store.wait(run_id, lambda run: _past(run, before + 20), PATIENCE_SECONDS)
        asked = store.stop(run_id, deadline_seconds=3.0)
        urgent = urgent_words(asked)
        waiting = store.wait(
            run_id, lambda run: not run.active or "waits" in (run.trouble or ""), PATIENCE_SECONDS
        )
        ended = store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
    finally:
        left = store.get(run_id).state.process
        if left is not None:
            process.kill_group(left)
    return {
        "moved": (moved.state.step or 0) - before,
        "asked": asked.status,
        "deadline_seconds": asked.stop and asked.stop.deadline_seconds,
        "urgent": urgent,
        "trouble": waiting.trouble,
        "status": ended.status,
        "error": ended.state.error and ended.state.error.message,
    }


def finished(home: Path) -> dict[str, Any]:
    """Let a run do its last step while there is no space to save it."""
    text = write_text(home.parent / "text.txt")
    store = RunStore(home)
    config = tiny_config(text, "training.max_steps=200", "checkpoint.every_steps=1000")
    run_id = store.create(config)
    try:
        store.wait(run_id, lambda run: _past(run, 10), PATIENCE_SECONDS)
        ballast = fill(home)
        waiting = store.wait(
            run_id,
            lambda run: not run.active or "All steps" in (run.trouble or ""),
            PATIENCE_SECONDS,
        )
        ballast.unlink()
        ended = store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
    finally:
        left = store.get(run_id).state.process
        if left is not None:
            process.kill_group(left)
    return {
        "step": waiting.state.step,
        "eta_seconds": waiting.state.eta_seconds,
        "phase": waiting.state.phase,
        "trouble": waiting.trouble,
        "during": waiting.status,
        "status": ended.status,
        "last": ended.state.step,
    }


def preparing(home: Path) -> dict[str, Any]:
    """Let a run begin on a disk that has no room for its token files."""
    text = write_text(home.parent / "text.txt", 2_000_000)
    store = RunStore(home)
    ballast = fill(home)
    os.truncate(ballast, ballast.stat().st_size - 900_000)
    run_id = store.create(tiny_config(text))
    try:
        told = seconds_until(
            lambda: store.get(run_id).trouble is not None or not store.get(run_id).active
        )
        during = store.get(run_id)
        ballast.unlink()
        run = store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
    finally:
        left = store.get(run_id).state.process
        if left is not None:
            process.kill_group(left)
    return {
        "told_seconds": told,
        "during": during.status,
        "trouble": during.trouble,
        "status": run.status,
        **figures(run.paths),
    }


def starting(home: Path) -> dict[str, Any]:
    """Ask for a run where there is no space for its folder at all."""
    text = write_text(home.parent / "text.txt")
    store = RunStore(home)
    fill(home)
    try:
        store.create(tiny_config(text))
    except TrainerError as error:
        return {"refused": str(error), "runs": store.list().total}
    return {"refused": None, "runs": store.list().total}


def read_only(home: Path) -> dict[str, Any]:
    """Look at a run, and try to change it, in a workspace that nobody may write."""
    store = RunStore(home)
    paths = store.workspace.paths("run")
    if (child := os.fork()) == 0:
        _write_and_vanish(paths)
    os.waitpid(child, 0)
    # The write-ahead log is left, and the file beside it, without which it is not read, is not.
    paths.metrics.with_name("metrics.sqlite3-shm").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
    refusals = {}
    for name in ("annotate", "delete", "resume", "stop"):
        try:
            getattr(store, name)("run")
        except TrainerError as error:
            refusals[name] = str(error)
    with store.metrics("run") as reader:
        note, last = reader.note, reader.last_step()
    web = create_app(home, config={"TESTING": True, "LIVE_IN_BACKGROUND": False}).test_client()
    pages = {path: web.get(path).status_code for path in ("/", "/runs/run", "/api/runs/run")}
    return {"refusals": refusals, "note": note, "last": last, "pages": pages}


def _write_and_vanish(paths: RunPaths) -> NoReturn:
    """Write as a worker does that is killed."""
    for folder in (paths.folder, paths.checkpoints):
        folder.mkdir(parents=True)
    RunLock.acquire(paths.lock)
    paths.config.write_text(configuration.to_toml(Config()))
    paths.checkpoint("latest").touch()
    paths.checkpoint("latest").with_name("latest.pt.json").write_text('{"step": 1, "epoch": 1}')
    state = State(run_id="run", status="running", created_at=now(), updated_at=now())
    recorder = Recorder(paths, state)
    recorder.add("points", point_row(1))
    recorder.flush()
    os._exit(0)


CASES = {
    case.__name__: case
    for case in (pen, training, stopping, finished, preparing, starting, read_only)
}

if __name__ == "__main__":
    place = Path(sys.argv[2])
    mount(place)
    outcome = CASES[sys.argv[1]](place)
    sys.stdout.write(json.dumps(outcome))
    sys.stdout.flush()
    os._exit(0)
