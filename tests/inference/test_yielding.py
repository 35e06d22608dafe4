"""How little the process takes of the machine beside a training run."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from trainer.inference.service import memory, priority
from trainer.inference.service.memory import MEMORY_VARIABLE, free_in_groups, limit_bytes
from trainer.inference.service.priority import MOST_THREADS, Pace
from trainer.store import process
from trainer.store.queue import Place, Queue, devices_in_use
from trainer.store.records import ProcessRecord
from trainer.store.turns import PlaceRecord
from trainer.store.workspace import Workspace


def train_on(home: Path, device: str, owner: ProcessRecord | None) -> Path:
    """Leave the place of a run that trains on a device in the queue."""
    folder = Workspace(home).queue_dir
    folder.mkdir(parents=True, exist_ok=True)
    place = PlaceRecord(
        ticket=1, run_id="a", devices=(device,), wanted=device, training_on=device, process=owner
    )
    path = folder / "00000001-a.json"
    path.write_bytes(msgspec.json.encode(place))
    return path


def test_the_devices_that_living_runs_train_on_are_known(home: Path) -> None:
    folder = Workspace(home).queue_dir
    assert devices_in_use(folder) == set()
    train_on(home, "GPU-1", process.identify(os.getpid()))
    assert devices_in_use(folder) == {"GPU-1"}
    train_on(home, "GPU-1", ProcessRecord(pid=1, boot_id="an earlier one", start_ticks=1))
    assert devices_in_use(folder) == set()


def test_a_place_that_was_never_handed_over_counts_for_a_minute(home: Path) -> None:
    path = train_on(home, "cpu", None)
    assert devices_in_use(path.parent) == {"cpu"}
    os.utime(path, (0, 0))
    assert devices_in_use(path.parent) == set()


def test_a_place_in_the_queue_is_such_a_place(home: Path) -> None:
    place = Queue(Workspace(home).queue_dir).draw("a", ["cpu"], "cpu")
    assert devices_in_use(Workspace(home).queue_dir) == {"cpu"}
    waiting = Queue(Workspace(home).queue_dir).draw("b", ["cpu"], "cpu")
    assert devices_in_use(Workspace(home).queue_dir) == {"cpu"}
    waiting.release()
    place.release()


def test_a_run_that_has_its_device_at_once_counts_for_as_long_as_it_lives(home: Path) -> None:
    queue = Queue(Workspace(home).queue_dir)
    place = queue.draw("a", ["cpu"], "cpu")
    handed_over = Place.inherited(queue, os.dup(place.descriptor))
    handed_over.take_turn()
    [path] = Workspace(home).queue_dir.glob("*.json")
    os.utime(path, (0, 0))
    assert devices_in_use(path.parent) == {"cpu"}
    handed_over.release()
    place.release()


def test_one_thread_computes_while_a_run_trains_on_the_cpu(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priority, "cores", lambda: 16)
    now, told = [0.0], list[int]()
    pace = Pace(home, told.append, clock=lambda: now[0])
    assert told == [MOST_THREADS]
    path = train_on(home, "cpu", process.identify(os.getpid()))
    pace.keep()
    assert told == [MOST_THREADS]  # It looks once a second.
    now[0] = 1.0
    pace.keep()
    path.unlink()
    now[0] = 2.0
    pace.keep()
    assert told == [MOST_THREADS, 1, MOST_THREADS]


def test_a_run_on_a_gpu_leaves_the_cpu_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "cores", lambda: 2)
    train_on(home, "GPU-1", process.identify(os.getpid()))
    assert Pace(home, lambda _: None).threads == 2


def test_models_may_take_what_is_set_or_a_share_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    monkeypatch.delenv(MEMORY_VARIABLE, raising=False)
    assert limit_bytes(0.5) == 500
    monkeypatch.setenv(MEMORY_VARIABLE, "123")
    assert limit_bytes(0.5) == 123
    monkeypatch.setenv(MEMORY_VARIABLE, "much")
    assert limit_bytes(0.5) == 500


def test_the_tightest_control_group_counts(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/user/app\n")
    for folder, most, used in (("user/app", "max", 50), ("user", "300", 100), (".", "9000", 100)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(f"{most}\n")
        (tmp_path / folder / "memory.current").write_text(f"{used}\n")
    assert free_in_groups(own, tmp_path) == 200
    assert free_in_groups(tmp_path / "none", tmp_path) is None
