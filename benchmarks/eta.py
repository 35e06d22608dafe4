"""How true the time left was: runs replayed from their metrics, through the worker's arithmetic.

``python -m benchmarks.eta RUN_DIR...`` replays the runs in those folders; without one a small run
is trained first. At a tenth, a quarter, a half and three quarters of a run's steps the table sets
what was predicted against what came; its last column is the worst error from a tenth of the run
on, as long as a twentieth of its time is left.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure
from benchmarks.options import Options
from trainer.children import environment
from trainer.engine.timing import Costs, Plan, seconds_left

TITLE = "Time left"
MARKS = (0.10, 0.25, 0.50, 0.75)
_FROM_SHARE_OF_STEPS = 0.10
_UNTIL_SHARE_OF_TIME = 0.05
_SMALL_RUN = {
    "data.dataset_name": "python-docs",
    "training.max_steps": "200",
    "evaluation.every_steps": "60",
    "device.preference": "cpu",
}

_SMOKE_RUN = {"training.max_steps": "20", "evaluation.every_steps": "8", "training.compile": "off"}


@dataclass(frozen=True)
class History:
    """What a completed run has left behind; rows are those of the metrics database."""

    plan: Plan
    points: Sequence[Mapping[str, Any]]
    evaluations: Mapping[int, float]
    expected: Costs
    end_seconds: float


@dataclass(frozen=True)
class Look:
    """One prediction: after ``step`` so many seconds were expected, and so many came."""

    step: int
    predicted_seconds: float
    true_seconds: float

    @property
    def error(self) -> float:
        """The relative error: above 0 the run ended sooner than predicted."""
        return self.predicted_seconds / self.true_seconds - 1.0


def replay(history: History) -> Iterator[Look]:
    """Walk through a run as its worker did, and predict its rest after each step.

    A step's own time follows from its throughput; what else lies between two points is the pause
    after the first of them.
    """
    plan, costs = history.plan, history.expected
    before: Mapping[str, Any] | None = None
    for point in history.points:
        if before is None:
            before = point  # The first step may have compiled.
            continue
        taken = (point["tokens"] - before["tokens"]) / point["tokens_per_second"]
        pause = point["elapsed_seconds"] - before["elapsed_seconds"] - taken
        _take_in_pause(plan, costs, before["step"], pause, history.evaluations)
        costs.step.add(taken)
        predicted = seconds_left(plan, point["step"], costs)
        assert predicted is not None
        yield Look(point["step"], predicted, history.end_seconds - point["elapsed_seconds"])
        before = point


def _take_in_pause(
    plan: Plan, costs: Costs, step: int, pause: float, evaluations: Mapping[int, float]
) -> None:
    if plan.evaluates(step):
        costs.evaluation.add(evaluations[step])
        costs.keeping.add(max(0.0, pause - evaluations[step]))
    elif plan.saves(step):
        costs.save.add(max(0.0, pause))


def at_marks(looks: Sequence[Look], plan: Plan) -> list[Look]:
    """Return the looks at :data:`MARKS` of the steps."""
    return [next(look for look in looks if look.step >= m * plan.total_steps) for m in MARKS]


def worst(looks: Sequence[Look], history: History) -> Look:
    """Return the look that was furthest off from a tenth of the run on."""
    least = _UNTIL_SHARE_OF_TIME * history.end_seconds
    counted = [
        look
        for look in looks
        if look.step >= _FROM_SHARE_OF_STEPS * history.plan.total_steps
        and look.true_seconds >= least
    ]
    return max(counted, key=lambda look: abs(look.error))


# --------------------------------------------------------------------------- reading a run


def read(run: Path) -> History:
    """Read a run that was trained to its end in one go.

    Raises:
        ValueError: it was not.
    """
    state = json.loads((run / "state.json").read_text())
    if state["status"] != "completed":
        raise ValueError(f"{run.name} is {state['status']}, not completed")
    config = tomllib.loads((run / "config.toml").read_text())
    connection = sqlite3.connect(f"{(run / 'metrics.sqlite3').as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    events = connection.execute("SELECT * FROM events ORDER BY id").fetchall()
    if any(event["kind"] == "resumed" for event in events):
        raise ValueError(f"{run.name} was resumed: its time is not of one process")
    points = connection.execute("SELECT * FROM points ORDER BY step").fetchall()
    scored = connection.execute("SELECT * FROM evaluations ORDER BY step").fetchall()
    connection.close()
    plan = Plan(
        state["steps_per_epoch"],
        state["total_steps"],
        config["evaluation"].get("every_steps"),
        config["checkpoint"].get("every_steps"),
    )
    return History(
        plan=plan,
        points=points,
        evaluations={row["step"]: row["seconds"] for row in scored},
        expected=expected_costs([event["message"] for event in events]),
        end_seconds=state["elapsed_seconds"],
    )


def expected_costs(messages: Sequence[str]) -> Costs:
    """Read what the worker expected of the pauses, as it told in an event."""
    costs = Costs()
    for message in messages:
        if message.startswith("An evaluation is expected"):
            evaluation, keeping, save, writing = map(float, re.findall(r"(\d+\.\d+) s", message))
            costs.evaluation.expect(evaluation)
            costs.keeping.expect(keeping)
            costs.save.expect(save)
            costs.writing.expect(writing)
    return costs


def train(home: Path, changes: Mapping[str, str]) -> Path:
    """Train a run of the quickstart to its end and return its folder."""
    command = [sys.executable, "-m", "trainer", "--home", str(home), "train", "--follow"]
    command += ["--config", "quickstart", "--json"]
    for key, value in changes.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
    run_id: str = json.loads(done.stdout)["run_id"]
    return home / "runs" / run_id


# --------------------------------------------------------------------------- told


def row(name: str, history: History) -> str:
    """Return a run's row of the table."""
    looks = list(replay(history))
    marks = (
        f"{look.predicted_seconds:,.1f} / {look.true_seconds:,.1f} s ({look.error:+.1%})"
        for look in at_marks(looks, history.plan)
    )
    furthest = worst(looks, history)
    at = furthest.step / history.plan.total_steps
    cells = [name, f"{history.end_seconds:,.0f} s", *marks, f"{furthest.error:+.1%} at {at:.0%}"]
    return f"| {' | '.join(cells)} |"


def measure(options: Options) -> list[Figure]:
    """Train a small run and return the errors of its time left, in percent."""
    text = {} if options.text is None else {"data.dataset_name": options.text}
    size = _SMOKE_RUN if options.smoke else {}
    with tempfile.TemporaryDirectory() as home:
        history = read(train(Path(home), _SMALL_RUN | text | size))
    looks = list(replay(history))
    figures = [
        Figure.of(f"time left at {mark:.0%} of the steps", [100 * look.error], "% off")
        for mark, look in zip(MARKS, at_marks(looks, history.plan), strict=True)
    ]
    furthest = [100 * worst(looks, history).error]
    return [*figures, Figure.of("time left, worst from a tenth on", furthest, "% off")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the runs named, or of a small run trained for it."""
    parser = argparse.ArgumentParser(prog="benchmarks.eta", description=__doc__)
    parser.add_argument("runs", metavar="RUN_DIR", nargs="*", type=Path)
    runs = [run.absolute() for run in parser.parse_args(arguments).runs]
    with tempfile.TemporaryDirectory() as home:
        runs = runs or [train(Path(home), _SMALL_RUN)]
        titles = ["run", "took", *(f"left at {mark:.0%}: predicted / true" for mark in MARKS)]
        print("| " + " | ".join([*titles, "worst"]) + " |")  # noqa: T201
        print("|---" * (len(titles) + 1) + "|")  # noqa: T201
        for run in runs:
            print(row(run.name, read(run)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
