"""A stop ends a run soon, saved and whole, whenever it comes, and leaves no process behind."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.faults.evidence import database_is_whole, rows
from tests.faults.trial import Trial
from tests.texts import tiny_config, write_text
from trainer.config import Config, replace
from trainer.engine import checkpoint
from trainer.errors import NotFoundError
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.records import ProcessRecord
from trainer.store.stop_request import read_stop_request
from trainer.store.workspace import RunPaths

Count = Callable[..., None]

PATIENCE_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 2.5
"""Long enough for a worker to be in the middle of its steps, saves and evaluations."""

SLACK_SECONDS = 2.0
COMPILERS = {"g++", "c++", "clang++", "cc1plus"}


@pytest.fixture
def endless(tmp_path: Path) -> Config:
    """A training with two data-loading processes that lasts until it is stopped."""
    return tiny_config(
        write_text(tmp_path / "text.txt"),
        "training.max_steps=null",
        "training.epochs=9999",
        "training.dataloader_workers=2",
        "checkpoint.every_steps=7",
        "evaluation.every_steps=20",
    )


def session_of(leader: int) -> set[int]:
    """Return the living processes of a session, whatever group they are in."""
    found = set()
    for each in psutil.process_iter(["status"]):
        try:
            if os.getsid(each.pid) == leader and each.info["status"] != psutil.STATUS_ZOMBIE:
                found.add(each.pid)
        except ProcessLookupError:
            continue
    return found


def wait_until(condition: Callable[[], bool]) -> float:
    """Wait for something and return the time at which it was so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return time.monotonic()


def step_and_save_seconds(paths: RunPaths) -> float:
    """Return the longest time from one step's end to the next one's, saves and all included."""
    if not paths.metrics.exists():
        return 0.0
    times = [row[0] for row in rows(paths, "SELECT elapsed_seconds FROM points ORDER BY step")]
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


@dataclass
class Stops:
    """Stops one run after another at random moments; ``faults`` tells what did not hold."""

    trial: Trial
    config: Config
    chance: random.Random
    faults: list[str] = field(default_factory=list)
    excesses_seconds: list[float] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    while_doing: dict[str, int] = field(default_factory=dict)
    run_id: str | None = None

    def stop_one(self) -> bool:
        """Start or resume a run, stop it at a random moment, and say whether all held."""
        run_id = self._start()
        time.sleep(self.chance.random() * LONGEST_WAIT_SECONDS)
        life = self.trial.life
        before = self.trial.store.get(run_id)
        doing = before.state.phase or before.status
        self.while_doing[doing] = self.while_doing.get(doing, 0) + 1
        asked_at = time.monotonic()
        self.trial.store.stop(run_id)
        ended_at = wait_until(lambda: not life.lives and not session_of(life.pid))
        run = self.trial.ended(run_id)
        allowed = step_and_save_seconds(run.paths)
        excess = ended_at - asked_at - allowed
        self.excesses_seconds.append(excess)
        if excess > SLACK_SECONDS:
            self.late.append(f"{excess:.2f} s beyond {allowed:.2f} s while {doing}")
        return self._look_at(run)

    def _start(self) -> str:
        """Resume the run, or make a new one where it was stopped before anything was saved."""
        if self.run_id is not None:
            try:
                self.trial.resume(self.run_id)
            except NotFoundError:
                self.run_id = None
        if self.run_id is None:
            self.run_id = self.trial.create(self.config)
        return self.run_id

    def _look_at(self, run: Run) -> bool:
        request, steps = read_stop_request(run.paths), steps_done(run)
        held = {
            "it is told as stopped": run.status == "stopped" and run.state.error is None,
            "its database is whole": database_is_whole(run.paths),
            "nobody waits for its deadline any more": request is not None
            and (not request.enforcer or process.wait_for_end(request.enforcer, PATIENCE_SECONDS)),
            "it is saved where it stands": saved_step(run) == len(steps),
            "each step has one point": steps == list(range(1, len(steps) + 1)),
        }
        self.faults += [f"not so: {what}" for what, is_so in held.items() if not is_so]
        return all(held.values())


def steps_done(run: Run) -> list[int]:
    if not run.paths.metrics.exists():
        return []
    return [row[0] for row in rows(run.paths, "SELECT step FROM points ORDER BY step")]


def saved_step(run: Run) -> int:
    latest = run.paths.checkpoint("latest")
    return int(checkpoint.load(latest)["step"]) if latest.exists() else 0


def test_a_run_stopped_at_any_moment_is_saved_and_leaves_nobody(
    trial: Trial, endless: Config, tally: Count
) -> None:
    stops = Stops(trial, endless, random.Random(1))
    held = sum(stops.stop_one() for _ in range(3))
    tally("stops", 3, held, "; ".join(stops.faults))


@pytest.mark.soak
def test_fifty_runs_stopped_at_any_moment_end_in_time(
    trial: Trial, endless: Config, tally: Count
) -> None:
    stops = Stops(trial, endless, random.Random(2))
    held = sum(stops.stop_one() for _ in range(50))
    note = (
        f"at most {max(stops.excesses_seconds):.2f} s beyond a step and a save; while "
        f"{stops.while_doing}. {'; '.join(stops.faults + stops.late)}"
    )
    tally("stops", 50, min(held, 50 - len(stops.late)), note)


# ---------------------------------------------------------------------- ended by force


def training(trial: Trial, run_id: str, past_step: int = 8) -> tuple[Run, ProcessRecord]:
    """Wait until a run is past its first save."""
    run = trial.store.wait(
        run_id,
        lambda run: (
            not run.active
            or ((run.state.step or 0) > past_step and run.paths.checkpoint("latest").exists())
        ),
        PATIENCE_SECONDS,
    )
    assert run.state.process is not None, (run.status, trial.story(run_id))
    return run, run.state.process


def goes_on(trial: Trial, run_id: str) -> bool:
    """Resume a run and see it train past where it stood, then stop it."""
    trial.resume(run_id)
    _, owner = training(trial, run_id, (trial.store.get(run_id).state.step or 0) + 1)
    trial.store.stop(run_id)
    stopped = trial.ended(run_id)
    wait_until(lambda: not session_of(owner.pid))
    return stopped.status == "stopped"


def test_a_run_killed_on_request_leaves_nobody_and_can_go_on(trial: Trial, endless: Config) -> None:
    run_id = trial.create(endless)
    _, owner = training(trial, run_id)
    assert len(session_of(owner.pid)) >= 3  # Itself, and two that load data.
    killed = trial.store.stop(run_id, kill=True)
    assert killed.status == "interrupted"
    wait_until(lambda: not session_of(owner.pid))
    assert goes_on(trial, run_id)


def test_a_run_that_is_only_just_starting_is_killed_too(trial: Trial, endless: Config) -> None:
    run_id = trial.create(endless)
    life = trial.life
    killed = trial.store.stop(run_id, kill=True)
    assert killed.status == "interrupted"
    wait_until(lambda: not life.lives and not session_of(life.pid))


def test_a_run_held_by_sigstop_is_killed_at_its_deadline(trial: Trial, endless: Config) -> None:
    run_id = trial.create(endless)
    _, owner = training(trial, run_id)
    process.send_signal(owner, signal.SIGSTOP)
    asked = trial.store.stop(run_id, deadline_seconds=1.0)
    assert asked.status in ("stopping", "interrupted")
    ended = trial.ended(run_id)
    assert ended.status == "interrupted"
    assert ended.state.error is not None
    assert "did not end within its deadline of 1 s and was killed" in ended.state.error.message
    wait_until(lambda: not session_of(owner.pid))
    assert goes_on(trial, run_id)


@pytest.mark.soak
def test_a_run_killed_while_it_compiles_leaves_no_compiler(
    store: RunStore, endless: Config
) -> None:
    """With a worker of its own: the nursery's have one thread, and their compiler no processes."""
    run_id = store.create(replace(endless, training__compile="on"))
    run = store.wait(run_id, lambda run: run.state.phase == "compiling", PATIENCE_SECONDS)
    owner = run.state.process
    assert owner is not None
    wait_until(lambda: bool(COMPILERS & names_of(session_of(owner.pid))))
    store.stop(run_id, kill=True)
    wait_until(lambda: not session_of(owner.pid))


def names_of(pids: set[int]) -> set[str]:
    names = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            names.add(psutil.Process(pid).name())
    return names
