"""A worker killed at a random moment is found again and ends as if it had never been killed."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.cases import CASES, case
from tests.faults.evidence import Evidence, database_is_whole, differences, rows
from tests.faults.trial import Trial
from tests.faults.victim import Fate
from trainer.config import Config
from trainer.engine import checkpoint
from trainer.errors import NotFoundError
from trainer.runs import Run

Count = Callable[..., None]

LONGEST_WAIT_SECONDS = 1.2
"""A little more than a worker takes to its first steps and saves."""

LOST_AT_MOST_SECONDS = 1.0


@dataclass
class Kills:
    """Kills workers of one configuration, and looks after each kill at what is left.

    ``faults`` tells what did not hold; ``counts`` how many kills there were of which kind.
    """

    trial: Trial
    config: Config
    chance: random.Random
    journals: Path
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest_loss_seconds: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def kill(self, number: int) -> None:
        """Kill so many workers, in as many runs as it takes to kill them before their end."""
        while self.counts["kills"] < number:
            evidence = self._run_to_its_end(number)
            found = differences(evidence, self.trial.uninterrupted(self.config))
            self.faults += [f"the run ended otherwise: {each}" for each in found]

    def _run_to_its_end(self, number: int) -> Evidence:
        run_id = self._start(None)
        while self.counts["kills"] < number:
            run = self._kill_one(run_id)
            if run.status == "completed":
                break
            run_id = self._start(run)
        return self.trial.completed(run_id)

    def _start(self, run: Run | None) -> str:
        """Resume a run, or make a new one where nothing was saved yet."""
        self.journal = self.journals / f"{next(self._numbers)}"
        fate = Fate(journal=str(self.journal))
        if run is None:
            return self.trial.create(self.config, fate)
        try:
            self.trial.resume(run.run_id, fate)
        except NotFoundError:
            if run.paths.checkpoint("latest").exists():
                self.faults.append("a run with a checkpoint was not resumed")
            return self.trial.create(self.config, fate)
        return run.run_id

    def _kill_one(self, run_id: str) -> Run:
        paths = self.trial.store.workspace.paths(run_id)
        before = unfinished(paths.checkpoints)
        saved_before = paths.checkpoint("latest").exists()
        in_a_save = self.chance.random() < 0.5
        if in_a_save:
            self._wait_for_a_save(paths.checkpoints, before)
        else:
            time.sleep(self.chance.random() * LONGEST_WAIT_SECONDS)
        self.trial.life.kill()
        killed_at = time.monotonic()
        run = self.trial.ended(run_id)
        if run.status == "completed":
            return run
        self.counts["kills"] += 1
        self.counts["in a save"] += unfinished(paths.checkpoints) != before
        self.counts["before the first step"] += not steps_done(self.journal)
        self._look_at(run, saved_before)
        self._weigh_loss(run, killed_at)
        return run

    def _wait_for_a_save(self, folder: Path, before: set[tuple[str, int]]) -> None:
        """Wait until a file of a save appears, and then for some milliseconds at most."""
        while unfinished(folder) <= before and self.trial.life.lives:
            time.sleep(0.0003)
        time.sleep(self.chance.random() * 0.008)

    def _look_at(self, run: Run, saved_before: bool) -> None:
        latest = run.paths.checkpoint("latest")
        held = {
            "the run is found": run.run_id in (r.run_id for r in self.trial.store.list().runs),
            "it is told as interrupted": run.status == "interrupted"
            and run.state.error is not None,
            "its database is whole": database_is_whole(run.paths),
            "its checkpoint is still there": latest.exists() or not saved_before,
        }
        self.faults += [f"not so: {what}" for what, is_so in held.items() if not is_so]
        if latest.exists():
            checkpoint.load(latest)

    def _weigh_loss(self, run: Run, killed_at: float) -> None:
        """Measure how old the oldest step was that has no point."""
        done = steps_done(self.journal)
        if not done:
            return
        kept = rows(run.paths, "SELECT max(step) FROM points")[0][0] or 0
        seconds = max((killed_at - at for step, at in done if step > kept), default=0.0)
        self.longest_loss_seconds = max(self.longest_loss_seconds, seconds)
        if seconds > LOST_AT_MOST_SECONDS:
            self.faults.append(f"points of {seconds:.2f} s were lost")


def steps_done(journal: Path) -> list[tuple[int, float]]:
    """Return the steps that a life did, each with when it was done."""
    if not journal.exists():
        return []
    lines = (line.split() for line in journal.read_text().splitlines())
    return [(int(step), float(at)) for step, at in lines]


def unfinished(folder: Path) -> set[tuple[str, int]]:
    """Return the files of checkpoints under way, each with the time of its last change."""
    found = set()
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(".part"):
                    try:
                        found.add((entry.name, entry.stat().st_mtime_ns))
                    except FileNotFoundError:
                        continue
    return found


def check_kills(trial: Trial, name: str, number: int, journals: Path, tally: Count) -> None:
    config = case(name, trial.folder)
    kills = Kills(trial, config, random.Random(f"{name} {number}"), journals)
    kills.kill(number)
    counts = kills.counts
    note = (
        f"{name}: {counts['before the first step']} before the first step, points of "
        f"{kills.longest_loss_seconds:.2f} s lost at most"
    )
    held = counts["kills"] if not kills.faults else 0
    tally("kills", counts["kills"], held, "; ".join([note, *kills.faults]))
    tally("kills in a save", counts["in a save"], counts["in a save"] if held else 0)


def test_a_run_killed_again_and_again_ends_as_the_run_that_was_not(
    trial: Trial, tmp_path: Path, tally: Count
) -> None:
    check_kills(trial, "everything", 8, tmp_path, tally)


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_runs_of_every_kind_killed_dozens_of_times_lose_nothing(
    trial: Trial, name: str, tmp_path: Path, tally: Count
) -> None:
    check_kills(trial, name, 33, tmp_path, tally)
