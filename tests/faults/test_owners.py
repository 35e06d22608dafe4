"""A run belongs to one process at a time, and a pid that is used again belongs to nobody's run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import MakeRun
from tests.faults.reuser import LAST_PID
from tests.texts import tiny_config, write_text
from trainer import deadline
from trainer.children import environment, module_command
from trainer.errors import ConflictError, StoreError
from trainer.runs import Run, RunStore
from trainer.store import lock, process
from trainer.store.records import ProcessRecord

Count = Callable[..., None]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
TOLD_WITHIN_SECONDS = 1.0


# ---------------------------------------------------------------------- two resumes racing


class Racer:
    """A process that resumes when it is told to; see :mod:`tests.faults.racer`."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.racer", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def send(self, run_id: str, at: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{run_id} {at!r}\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer | {"pid": self.process.pid}

    def end(self) -> None:
        self.process.communicate("")


@pytest.fixture
def racers(home: Path) -> Iterator[tuple[Racer, Racer]]:
    pair = Racer(home), Racer(home)
    yield pair
    for racer in pair:
        racer.end()


@dataclass
class Races:
    """What became of races: those that went as they must, and when the losers were told."""

    held: int = 0
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def judge(self, answers: list[dict[str, Any]], owner: ProcessRecord | None) -> None:
        """Take in one race: one winner, and a loser who was told who it is."""
        winners = [answer for answer in answers if answer["won"]]
        losers = [answer for answer in answers if not answer["won"]]
        self.seconds += [answer["seconds"] for answer in losers]
        if len(winners) != 1 or owner is None:
            self.faults.append(f"{len(winners)} winners, owned by {owner}")
            return
        (loser,) = losers
        # Until its worker is started, the winner itself owns the run.
        owners = {owner.pid, winners[0]["pid"]}
        named = re.search(r"already active: process (\d+) owns it", loser["told"])
        if loser["status"] != 4 or named is None or int(named[1]) not in owners:
            self.faults.append(f"the loser was told: {loser}")
            return
        self.held += 1


def race(run: Run, racers: tuple[Racer, Racer], races: Races) -> None:
    """Let two processes resume a run at the same moment, and end what the winner has started."""
    start = time.monotonic() + 0.02
    for racer in racers:
        racer.send(run.run_id, start)
    answers = [racer.answer() for racer in racers]
    owner = lock.holder(run.paths.lock)
    races.judge(answers, owner)
    if owner is not None:
        process.kill_group(owner)
        assert process.wait_for_end(owner, PATIENCE_SECONDS)


def resumable(make_run: MakeRun, **state: Any) -> Run:
    run = make_run(status="stopped", step=10, **state)
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").write_bytes(b"x")
    facts = {"step": 10, "epoch": 1, "bytes": 1}
    Path(f"{run.paths.checkpoint('latest')}.json").write_text(json.dumps(facts))
    return run


def race_often(make_run: MakeRun, racers: tuple[Racer, Racer], tries: int) -> Races:
    run, races = resumable(make_run), Races()
    for _ in range(tries):
        race(run, racers, races)
    return races


def test_of_two_resumes_one_wins_and_the_other_is_told_who(
    make_run: MakeRun, racers: tuple[Racer, Racer], tally: Count
) -> None:
    races = race_often(make_run, racers, 10)
    tally("resumes", 10, races.held, "; ".join(races.faults))


@pytest.mark.soak
def test_hundreds_of_races_have_one_winner_each(
    make_run: MakeRun, racers: tuple[Racer, Racer], tally: Count
) -> None:
    races = race_often(make_run, racers, 195)
    late = sum(seconds > TOLD_WITHIN_SECONDS for seconds in races.seconds)
    note = f"losers told after {max(races.seconds):.3f} s at most. {'; '.join(races.faults)}"
    tally("resumes", 195, races.held - late, note)


@pytest.mark.soak
def test_commands_that_race_for_a_real_worker_have_one_winner(
    store: RunStore, tmp_path: Path, tally: Count
) -> None:
    config = tiny_config(
        write_text(tmp_path / "text.txt"), "training.max_steps=null", "training.epochs=9999"
    )
    run_id, held = store.create(config), 0
    for _ in range(5):
        training = store.wait(run_id, lambda run: run.status == "running", PATIENCE_SECONDS)
        store.stop(run_id)
        store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
        command = module_command("trainer", "resume", "--run-id", run_id)
        home = {"LLM_TRAINER_HOME": str(store.workspace.home)}
        pair = [
            subprocess.Popen(
                command, env=environment() | home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        told = {one.wait(): one.communicate()[1].decode() for one in pair}
        held += told.keys() == {0, 4} and "owns it" in told[4] and training.status == "running"
    store.stop(run_id, kill=True)
    tally("resumes", 5, held, "of these, five of two commands for a real worker")


def test_a_run_on_a_folder_that_cannot_be_written_is_refused_politely(
    store: RunStore, make_run: MakeRun
) -> None:
    run = resumable(make_run)
    run.paths.lock.mkdir()  # What root may not open for writing either.
    with pytest.raises(StoreError, match="cannot be written: Is a directory"):
        store.resume(run.run_id)


# ---------------------------------------------------------------------- a pid used again

COUNTING = """
import signal, sys
taken = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, _: taken.append(number))
print("ready", flush=True)
sys.stdin.read()
print(len(taken), flush=True)
"""


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[str]]:
    """A process that leads a session and counts the signals it gets."""
    child = subprocess.Popen(
        [sys.executable, "-c", COUNTING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.communicate()


def test_no_function_hits_a_process_of_another_life(
    bystander: subprocess.Popen[str], store: RunStore, make_run: MakeRun
) -> None:
    real = process.identify(bystander.pid)
    assert real is not None
    others = (
        msgspec.structs.replace(real, start_ticks=real.start_ticks - 1),
        msgspec.structs.replace(real, start_ticks=real.start_ticks + 1),
        msgspec.structs.replace(real, boot_id="another boot"),
    )
    for number, other in enumerate(others):
        run = make_run(run_id=f"run-{number}", status="running", process=other)
        assert run.status == "interrupted"
        with pytest.raises(ConflictError):
            store.stop(run.run_id)
        with pytest.raises(ConflictError):
            store.stop(run.run_id, kill=True)
        deadline.kill_at_once(run.paths, other)
        assert not deadline.enforce(run.paths, other, time.monotonic())
        for signal_number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            assert not process.send_signal(other, signal_number)
    assert bystander.communicate("")[0] == "0\n"


def reuse(tries: int) -> dict[str, Any]:
    """Force so many reuses of a pid, in a process that may fork."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.reuser", str(tries)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


needs_root = pytest.mark.skipif(
    not os.access(LAST_PID, os.W_OK), reason="only root may tell the kernel which pid comes next"
)


def count_reuses(tries: int, tally: Count) -> None:
    found = reuse(tries)
    held = tries if found["tries"] == tries and not found["wrong"] else 0
    missed = f"{found['misses']:,} pids were taken by others first. "
    tally("pids", tries, held, missed + "; ".join(found["wrong"][:5]))


@needs_root
def test_a_pid_that_the_kernel_gives_again_is_not_signalled(tally: Count) -> None:
    count_reuses(50, tally)


@pytest.mark.soak
@needs_root
def test_a_thousand_pids_given_again_are_not_signalled(tally: Count) -> None:
    count_reuses(1000, tally)
