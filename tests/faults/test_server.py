"""Viewers are mortal: a dashboard, a follower or a terminal view that is killed loses no step."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import pty
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.evidence import Evidence
from tests.texts import tiny_config, write_text
from trainer import config as configuration
from trainer.children import environment, module_command
from trainer.config import Config, as_flat
from trainer.runs import Run, RunStore
from trainer.store import process

Count = Callable[..., None]

PATIENCE_SECONDS = 60.0
RIGHT_WITHIN_SECONDS = 2.0
TOLD_DEAD_WITHIN_SECONDS = 3.0
JSON = {"Content-Type": "application/json"}


class Viewer:
    """A process that looks at runs, in a session of its own."""

    def __init__(self, *arguments: str, terminal: int = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            module_command("trainer", *arguments),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment() | {"TERM": "xterm-256color"},
            start_new_session=True,
        )

    def kill(self) -> None:
        """SIGKILL it with its whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Dashboard(Viewer):
    """A dashboard, asked over HTTP; ``answered_after_seconds`` from its start."""

    def __init__(self, home: Path, port: int) -> None:
        self.port = port
        began = time.monotonic()
        super().__init__("--home", str(home), "web", "--port", str(port))
        wait_until(self.answers)
        self.answered_after_seconds = time.monotonic() - began

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/healthz")["home"] is not None
        return False

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body and json.dumps(body), JSON)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def start_run(self, config: Config) -> str:
        told = self.ask("POST", "/api/runs", {"config": as_flat(config)})
        run_id: str = told["run_id"]
        return run_id

    def run(self, run_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/api/runs/{run_id}")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def store(home: Path) -> Iterator[RunStore]:
    """The store; whatever still trains at the end of a test is killed."""
    store = RunStore(home)
    yield store
    for run in store.list().runs:
        if run.active and run.state.process is not None:
            process.kill_group(run.state.process)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def endless(tmp_path: Path) -> Config:
    """A training that lasts until it is stopped."""
    text = write_text(tmp_path / "text.txt")
    return tiny_config(
        text,
        "training.max_steps=null",
        "training.epochs=9999",
        "training.context_ramp=0",
        "checkpoint.every_steps=20",
        "model.dropout=0.1",
    )


def training(store: RunStore, run_id: str, after_step: int = 0) -> Run:
    """Wait until a run is past a step, and return it."""
    run = store.wait(
        run_id, lambda run: not run.active or (run.state.step or 0) > after_step, PATIENCE_SECONDS
    )
    assert run.status == "running", (run.status, store.log_tail(run_id, name="worker"))
    return run


def stopped(store: RunStore, run_id: str) -> Evidence:
    """Stop a run and return what it left behind: every step exactly once."""
    store.stop(run_id)
    run = store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
    assert run.status == "stopped"
    evidence = Evidence.of(run)
    assert [row[0] for row in evidence.points] == list(range(1, len(evidence.points) + 1))
    assert len(evidence.points) == run.state.step
    return evidence


def kill_dashboards(
    store: RunStore, port: int, config: Config, kills: int, chance: random.Random
) -> tuple[Evidence, list[float]]:
    """Kill dashboards while a run trains that the first of them has started.

    Returns what the run left behind, and after how many seconds each new dashboard told the
    truth about it.
    """
    home = store.workspace.home
    dashboard = Dashboard(home, port)
    run_id = dashboard.start_run(config)
    owner = training(store, run_id).state.process
    seconds = []
    for _ in range(kills):
        time.sleep(chance.random() * 0.5)
        before = dashboard.run(run_id)
        dashboard.kill()
        killed = training(store, run_id, before["step"])
        assert killed.state.process == owner
        dashboard = Dashboard(home, port)
        began = time.monotonic()
        told = dashboard.run(run_id)
        seconds.append(dashboard.answered_after_seconds + time.monotonic() - began)
        assert (told["status"], told["process"]["pid"]) == ("running", owner and owner.pid)
        assert told["step"] >= (killed.state.step or 0)
    dashboard.kill()
    return stopped(store, run_id), seconds


def test_a_run_goes_on_while_its_dashboard_is_killed_and_started_again(
    store: RunStore, port: int, endless: Config, tally: Count
) -> None:
    _, seconds = kill_dashboards(store, port, endless, 2, random.Random(1))
    tally("server", 2, 2, f"the truth again after {max(seconds):.1f} s at most")


@pytest.mark.soak
def test_no_killed_dashboard_costs_a_step(
    store: RunStore, port: int, endless: Config, tally: Count
) -> None:
    chance = random.Random(2)
    found = [kill_dashboards(store, port, endless, 5, chance) for _ in range(6)]
    losses = sorted((evidence.losses for evidence, _ in found), key=len)
    assert all(one == other[: len(one)] for one, other in itertools.pairwise(losses))
    seconds = [each for _, times in found for each in times]
    in_time = [each for each in seconds if each <= RIGHT_WITHIN_SECONDS]
    tally("server", 30, len(in_time), f"the truth again after {max(seconds):.1f} s at most")


@pytest.mark.soak
def test_a_new_dashboard_tells_at_once_that_the_worker_was_killed_too(
    store: RunStore, port: int, endless: Config
) -> None:
    dashboard = Dashboard(store.workspace.home, port)
    run_id = dashboard.start_run(endless)
    owner = training(store, run_id).state.process
    assert owner is not None
    dashboard.kill()
    process.send_signal(owner, signal.SIGKILL)
    dashboard = Dashboard(store.workspace.home, port)
    try:
        assert dashboard.run(run_id)["status"] == "interrupted"
        assert dashboard.answered_after_seconds <= RIGHT_WITHIN_SECONDS
    finally:
        dashboard.kill()


# ---------------------------------------------------------------------- the other viewers


@pytest.mark.soak
def test_a_killed_follower_leaves_its_run_training(store: RunStore, endless: Config) -> None:
    home = store.workspace.home
    home.mkdir()
    (home / "endless.toml").write_text(configuration.to_toml(endless))
    follower = Viewer(
        "--home", str(home), "train", "--config", str(home / "endless.toml"), "--follow"
    )
    wait_until(lambda: store.list().total == 1)
    run_id = store.resolve("latest")
    before = training(store, run_id)
    follower.kill()
    after = training(store, run_id, before.state.step or 0)
    assert after.state.process == before.state.process
    stopped(store, run_id)


@pytest.mark.soak
def test_a_killed_terminal_view_leaves_runs_training(store: RunStore, endless: Config) -> None:
    run_id = store.create(endless)
    before = training(store, run_id)
    leader, terminal = pty.openpty()
    view = Viewer("--home", str(store.workspace.home), "tui", terminal=terminal)
    os.close(terminal)
    assert os.read(leader, 1)  # It draws.
    training(store, run_id, before.state.step or 0)
    view.kill()
    os.close(leader)
    after = training(store, run_id, store.get(run_id).state.step or 0)
    assert after.state.process == before.state.process
    stopped(store, run_id)


@pytest.mark.soak
def test_all_viewers_tell_of_a_death_alike_and_soon(
    store: RunStore, port: int, endless: Config
) -> None:
    dashboard = Dashboard(store.workspace.home, port)
    run_id = dashboard.start_run(endless)
    owner = training(store, run_id).state.process
    assert owner is not None
    tell: dict[str, Callable[[], dict[str, Any]]] = {
        "web": lambda: dashboard.run(run_id),
        "command line": lambda: status_of(store.workspace.home, run_id),
        "store": lambda: store.get(run_id).as_dict(),
    }
    assert {name: each()["status"] for name, each in tell.items()} == dict.fromkeys(tell, "running")
    process.send_signal(owner, signal.SIGKILL)
    killed_at = time.monotonic()
    told = {name: told_dead(each) for name, each in tell.items()}
    took = time.monotonic() - killed_at
    dashboard.kill()
    assert told["web"] == told["command line"] == told["store"]
    assert took <= TOLD_DEAD_WITHIN_SECONDS


def told_dead(tell: Callable[[], dict[str, Any]]) -> Any:
    """Ask until a run is no longer told as alive; return what is said of its end."""
    wait_until(lambda: tell()["status"] == "interrupted")
    return tell()["error"]


def status_of(home: Path, run_id: str) -> dict[str, Any]:
    command = module_command("trainer", "--home", str(home), "status", "--json", "--run-id", run_id)
    done = subprocess.run(command, capture_output=True, check=True, env=environment())
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
