"""The queue of runs: places that live as long as their processes, and never two on one device."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.errors import StoreError
from trainer.store import process
from trainer.store import queue as queue_module
from trainer.store.queue import Place, Queue


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def draw(queue: Queue, run_id: str, *devices: str, anyway: bool = False) -> Place:
    return queue.draw(run_id, devices or ("cpu",), "cpu", anyway=anyway)


def places(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.json"))


def test_the_first_has_the_device_at_once_and_the_others_wait_in_order(queue: Queue) -> None:
    first, second, third = (draw(queue, name) for name in "abc")
    assert (first.record.training_on, first.standing) == ("cpu", None)
    assert second.standing is not None
    assert (second.standing.position, second.standing.ahead) == (2, ["a"])
    assert third.take_turn() is not None
    first.release()
    behind = third.take_turn()
    assert behind is not None
    assert behind.ahead == ["b"]
    assert second.take_turn() is None
    assert second.record.training_on == "cpu"
    second.release()
    assert third.take_turn() is None


def test_a_turn_once_taken_is_kept(queue: Queue) -> None:
    first, second = draw(queue, "a"), draw(queue, "b")
    assert first.take_turn() is None
    assert second.take_turn() is not None


def test_who_gives_up_waiting_is_passed(queue: Queue, folder: Path) -> None:
    first, second, third = (draw(queue, name) for name in "abc")
    second.release()
    first.release()
    assert third.take_turn() is None
    assert places(folder) == ["00000003-c.json"]


def test_runs_for_other_devices_do_not_wait_for_each_other(queue: Queue) -> None:
    on_cpu, on_gpu = draw(queue, "a"), draw(queue, "b", "GPU-1")
    assert (on_cpu.record.training_on, on_gpu.record.training_on) == ("cpu", "GPU-1")
    either = draw(queue, "c", "GPU-1", "GPU-2")
    assert either.record.training_on == "GPU-2"


def test_one_that_need_not_wait_shares_the_device_and_later_ones_wait_for_both(
    queue: Queue,
) -> None:
    first, waiting = draw(queue, "a"), draw(queue, "b")
    hasty = draw(queue, "c", anyway=True)
    assert hasty.record.training_on == "cpu"
    first.release()
    behind = waiting.take_turn()
    assert behind is not None
    assert behind.ahead == ["c"]
    hasty.release()
    assert waiting.take_turn() is None


def test_a_waiting_run_may_be_told_not_to_wait(queue: Queue) -> None:
    first, second = draw(queue, "a"), draw(queue, "b")
    assert second.take_turn(anyway=True) is None
    assert second.record.training_on == first.record.training_on == "cpu"


def test_a_run_that_moves_to_another_device_keeps_its_ticket(queue: Queue) -> None:
    on_gpu, first, second = draw(queue, "a", "GPU-1"), draw(queue, "b"), draw(queue, "c")
    on_gpu.move("cpu", "cpu")
    behind = on_gpu.take_turn()
    assert behind is not None
    assert behind.ahead == ["b"]
    assert draw(queue, "d", "GPU-1").record.training_on == "GPU-1"
    first.release()
    assert second.take_turn() is not None  # It came after the one that moved.
    assert on_gpu.take_turn() is None


def test_one_that_need_not_wait_moves_at_once(queue: Queue) -> None:
    draw(queue, "a")
    hasty = draw(queue, "b", "GPU-1", anyway=True)
    hasty.move("cpu", "cpu")
    assert hasty.take_turn() is None


def test_a_run_does_not_wait_for_its_own_former_process(queue: Queue) -> None:
    former = draw(queue, "a")
    resumed = draw(queue, "a")
    assert resumed.record.training_on == "cpu"
    former.release()


def test_what_the_dead_left_behind_is_removed_and_costs_nothing_later(
    queue: Queue, folder: Path
) -> None:
    for number in range(50):
        draw(queue, f"run-{number}").release()
    living = draw(queue, "last")
    assert places(folder) == [f"{living.record.ticket:08d}-last.json"]


def test_the_worker_takes_over_the_open_place(queue: Queue, folder: Path) -> None:
    drawn = draw(queue, "a")
    taken = Place.inherited(queue, os.dup(drawn.descriptor))
    drawn.release()  # The launcher lets go; the worker's own hold remains.
    assert draw(queue, "b").standing is not None
    assert taken.record.process == process.identify(os.getpid())
    assert fcntl.fcntl(taken.descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    taken.release()
    assert draw(queue, "c").standing is not None  # "b" was drawn before it.


def test_what_is_no_place_is_refused(queue: Queue, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    with pytest.raises(StoreError, match="did not hand over a place"):
        Place.inherited(queue, descriptor)


def test_a_full_disk_leaves_a_waiting_run_waiting(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = draw(queue, "a"), draw(queue, "b")
    first.release()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            second.take_turn()
        assert second.record.waits
        with pytest.raises(OSError, match="No space"):
            draw(queue, "c")
    assert second.take_turn() is None
    assert draw(queue, "d").standing is not None


def test_a_queue_that_is_kept_locked_is_told_with_the_process_that_does(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "LOCK_PATIENCE_SECONDS", 0.0)
    with queue.locked(), pytest.raises(StoreError, match=f"kept locked by process {os.getpid()}"):
        draw(queue, "a")


# ---------------------------------------------------------------------- other processes

HOLD = """
import sys
from pathlib import Path
from trainer.store.queue import Place, Queue
queue = Queue(Path(sys.argv[1]))
place = Place.inherited(queue, queue.draw(sys.argv[2], ("cpu",), "cpu").descriptor)
place.take_turn()
print(place.record.training_on, flush=True)
for _ in sys.stdin:
    print(place.take_turn() is None, flush=True)
"""


class Holder:
    """A process that holds a place and looks at it for every line that it is sent."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), run_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.began_with = self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def look(self) -> bool:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer() == "True"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holders() -> Iterator[list[Holder]]:
    """Processes that are killed at the end."""
    made: list[Holder] = []
    yield made
    for holder in made:
        holder.kill()


def test_the_kernel_gives_up_the_place_of_a_killed_process(
    queue: Queue, folder: Path, holders: list[Holder]
) -> None:
    holders += [Holder(folder, "a"), Holder(folder, "b")]
    trainer, waiter = holders
    assert (trainer.began_with, waiter.began_with) == ("cpu", "None")
    mine = draw(queue, "c")
    assert mine.standing is not None
    assert mine.standing.ahead == ["a", "b"]
    waiter.kill()
    behind = mine.take_turn()
    assert behind is not None
    assert behind.ahead == ["a"]
    trainer.kill()
    assert mine.take_turn() is None
    assert places(folder) == ["00000003-c.json"]


def test_a_stopped_waiter_is_passed_and_keeps_its_ticket(
    queue: Queue, folder: Path, holders: list[Holder]
) -> None:
    first = draw(queue, "a")
    waiter = Holder(folder, "b")
    holders.append(waiter)
    os.kill(waiter.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, waiter.process.pid, os.WSTOPPED)
    third = draw(queue, "c")
    first.release()
    assert third.take_turn() is None
    fourth = draw(queue, "d")
    os.kill(waiter.process.pid, signal.SIGCONT)
    os.waitid(os.P_PID, waiter.process.pid, os.WCONTINUED)
    third.release()
    assert fourth.take_turn() is not None  # The one that goes on has the earlier ticket.
    assert waiter.look()


def test_a_stopped_trainer_keeps_its_device(
    queue: Queue, folder: Path, holders: list[Holder]
) -> None:
    trainer = Holder(folder, "a")
    holders.append(trainer)
    os.kill(trainer.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, trainer.process.pid, os.WSTOPPED)
    assert draw(queue, "b").standing is not None


CONTEST = """
import os, sys, time
from pathlib import Path
from trainer.store.queue import Queue

folder, contenders = Path(sys.argv[1]), int(sys.argv[2])
alone, order = folder / "alone", folder / "order"
gate = Queue(folder).draw("gate", ("cpu",), "cpu")
drawn, draws = os.pipe()

def contend(number):
    os.close(gate.descriptor)
    place = Queue(folder).draw(f"run-{number}", ("cpu",), "cpu")
    os.write(draws, b"x")
    while place.take_turn() is not None:
        time.sleep(0.002 * (number % 3))
    marker = os.open(alone, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with order.open("a") as told:
        told.write(f"{place.record.ticket}\\n")
    os.close(marker)
    alone.unlink()
    # Every third one dies without a goodbye while it has the device.
    os._exit(0) if number % 3 else os.kill(os.getpid(), 9)

children = []
for number in range(contenders):
    child = os.fork()
    if child == 0:
        try:
            contend(number)
        finally:
            os._exit(1)
    children.append(child)
for _ in children:
    os.read(drawn, 1)
gate.release()
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_of_twenty_processes_never_two_have_the_device_and_all_get_it_in_order(
    folder: Path,
) -> None:
    folder.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", CONTEST, str(folder), "20"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    assert result.stdout == f"{[-9 if number % 3 == 0 else 0 for number in range(20)]}\n"
    served = [int(line) for line in (folder / "order").read_text().split()]
    assert served == list(range(2, 22))
