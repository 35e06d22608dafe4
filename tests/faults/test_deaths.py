"""A worker that is killed is told of by every viewer, by itself, soon and in the same words."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.trial import Trial
from tests.texts import tiny_config, write_text
from tests.tui.conftest import PlayedApp, StillMachine, TuiPilot, play, screen_text, shown, until
from tests.webapp.client import LiveClient
from tests.webapp.serving import Server
from trainer.children import environment, module_command
from trainer.config import Config
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.records import ProcessRecord

PATIENCE_SECONDS = 60.0
TOLD_WITHIN_SECONDS = 3.0

Moments = dict[str, float]
"""When each viewer told of the death, on the monotonic clock."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients wait from before the terminal view is up."""
    monkeypatch.setattr("tests.webapp.client.PATIENCE_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def endless(tmp_path: Path) -> Config:
    text = write_text(tmp_path / "text.txt")
    return tiny_config(
        text, "training.max_steps=null", "training.epochs=9999", "checkpoint.every_steps=20"
    )


@pytest.fixture
def owner(trial: Trial, endless: Config) -> Iterator[ProcessRecord]:
    """A worker that really trains the newest run."""
    run_id = trial.create(endless)
    run = trial.store.wait(
        run_id, lambda run: not run.active or (run.state.step or 0) > 20, PATIENCE_SECONDS
    )
    assert run.state.process is not None, trial.story(run_id)
    yield run.state.process
    process.kill_group(run.state.process)


@pytest.fixture
def server(trial: Trial) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    started = Server(trial.folder, port)
    yield started
    started.kill()


class Watching:
    """A thread that watches one viewer until it tells of the death, and keeps what it told."""

    def __init__(self, watch: Callable[[Watching], str]) -> None:
        self.begun = threading.Event()
        self.told, self.at = "", 0.0
        self._watch = watch
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        told = self._watch(self)
        self.at = time.monotonic()
        self.told = told

    def join(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert self.told, "it never told of the death"


def page(server: Server, run_id: str) -> Callable[[Watching], str]:
    """Watch as the page of a run does; return the error that it shows."""

    def watch(watching: Watching) -> str:
        with LiveClient(server.url, headers={"Origin": server.url}) as client:
            client.emit("watch", {"run_id": run_id})
            client.wait_for(lambda client: bool(client.named("state")))
            watching.begun.set()
            return error_once_dead(client, lambda: client.named("state"))

    return watch


def run_list(server: Server, run_id: str) -> Callable[[Watching], str]:
    """Watch as the list of runs does."""

    def listed(client: LiveClient) -> list[dict[str, Any]]:
        return [
            run for each in client.named("runs") for run in each["runs"] if run["run_id"] == run_id
        ]

    def watch(watching: Watching) -> str:
        with LiveClient(server.url, headers={"Origin": server.url}) as client:
            client.emit("watch_runs", {})
            client.wait_for(lambda client: bool(listed(client)))
            watching.begun.set()
            return error_once_dead(client, lambda: listed(client))

    return watch


def error_once_dead(client: LiveClient, states: Callable[[], list[dict[str, Any]]]) -> str:
    client.wait_for(lambda _: states()[-1]["status"] == "interrupted")
    error: str = states()[-1]["error"]["message"]
    return error


def status_watch(home: Path, run_id: str) -> Callable[[Watching], str]:
    """Watch with ``status --watch``; it ends by itself with the run."""

    def watch(watching: Watching) -> str:
        command = module_command("trainer", "status", "--run-id", run_id, "--watch")
        viewer = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            env=environment()
            | {"LLM_TRAINER_HOME": str(home), "COLUMNS": "400", "PYTHONUNBUFFERED": "1"},
        )
        assert viewer.stdout is not None
        error = ""
        for line in io.TextIOWrapper(viewer.stdout, encoding="utf-8"):
            watching.begun.set()
            if line.strip().startswith("error "):
                error = line.split(maxsplit=1)[1].strip()
        viewer.wait()
        return error

    return watch


def terminal_view(store: RunStore, kill: Callable[[], None], moments: Moments) -> str:
    """Show the run in the terminal view, have its worker killed, and return the whole screen."""
    screens = []

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "─ running ─")
        kill()
        await until(pilot, lambda: "gone without a goodbye" in screen_text(pilot))
        moments["terminal view"] = time.monotonic()
        screens.append(screen_text(pilot))

    play(PlayedApp(store, machine=StillMachine()), story, size=(300, 50))
    return screens[0]


def see_a_death(trial: Trial, server: Server, owner: ProcessRecord) -> dict[str, float]:
    """Kill a worker under the eyes of all viewers; return after how many seconds each told."""
    run_id = trial.store.resolve("latest")
    watchers = {
        "run page": Watching(page(server, run_id)),
        "run list": Watching(run_list(server, run_id)),
        "status --watch": Watching(status_watch(trial.folder, run_id)),
    }
    for watching in watchers.values():
        assert watching.begun.wait(PATIENCE_SECONDS)
    moments: Moments = {}

    def kill() -> None:
        moments["death"] = time.monotonic()
        assert process.send_signal(owner, signal.SIGKILL)

    screen = terminal_view(trial.store, kill, moments)
    for watching in watchers.values():
        watching.join()
    error = trial.store.get(run_id).state.error
    assert error is not None
    assert "it was killed (kill -9, or the terminal, session or container" in error.message
    assert {name: watching.told for name, watching in watchers.items()} == dict.fromkeys(
        watchers, error.message
    )
    assert error.message in screen
    seen = {name: watching.at for name, watching in watchers.items()}
    seen["terminal view"] = moments["terminal view"]
    return {name: at - moments["death"] for name, at in seen.items()}


def test_every_viewer_tells_of_a_death_by_itself_and_in_the_same_words(
    trial: Trial, server: Server, owner: ProcessRecord
) -> None:
    see_a_death(trial, server, owner)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(5))
def test_no_viewer_takes_longer_than_three_seconds(
    trial: Trial, server: Server, owner: ProcessRecord, number: int
) -> None:
    seconds = see_a_death(trial, server, owner)
    assert max(seconds.values()) <= TOLD_WITHIN_SECONDS, (number, seconds)
