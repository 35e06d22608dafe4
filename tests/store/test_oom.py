"""The kernel's counts of processes that it killed for lack of memory, on made-up counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.store.oom import oom_kills_since, read_oom_kills
from trainer.store.records import OomKills

EVENTS = "low 0\nhigh 12\nmax 3\noom 2\noom_kill {}\noom_group_kill 7\n"
VMSTAT = "nr_free_pages 1\noom_kill {}\nswap_ra 2\n"


class Machine:
    """A made-up ``/proc`` and ``/sys/fs/cgroup``."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroups.mkdir()

    def put_into(self, *lines: str) -> None:
        (self.proc / "self" / "cgroup").write_text("\n".join(lines) + "\n")

    def count_in(self, group: str, kills: int) -> Path:
        path = self.cgroups / group / "memory.events"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(EVENTS.format(kills))
        return path

    def count_all(self, kills: int) -> None:
        (self.proc / "vmstat").write_text(VMSTAT.format(kills))

    def read(self) -> OomKills:
        return read_oom_kills(self.proc, self.cgroups)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_counters_of_the_group_and_of_the_machine(machine: Machine) -> None:
    machine.put_into("4:memory:/v1", "0::/user.slice/run.scope")
    events = machine.count_in("user.slice/run.scope", 2)
    machine.count_all(9)
    assert machine.read() == OomKills(cgroup_file=str(events), in_cgroup=2, on_machine=9)


def test_the_nearest_group_above_that_counts_is_taken(machine: Machine) -> None:
    machine.put_into("0::/user.slice/user-0.slice/run.scope")
    (machine.cgroups / "user.slice/user-0.slice/run.scope").mkdir(parents=True)
    events = machine.count_in("user.slice", 5)
    assert machine.read() == OomKills(cgroup_file=str(events), in_cgroup=5, on_machine=None)


def test_a_container_that_sees_its_group_as_the_root(machine: Machine) -> None:
    machine.put_into("0::/")
    events = machine.count_in(".", 1)
    assert machine.read().cgroup_file == str(events)


@pytest.mark.parametrize("lines", [(), ("4:memory:/v1",), ("0::/gone",), ("rubbish",)])
def test_a_system_without_counters_counts_nothing(machine: Machine, lines: tuple[str, ...]) -> None:
    machine.put_into(*lines)
    assert machine.read() == OomKills(cgroup_file=None, in_cgroup=None, on_machine=None)


def test_growth_in_the_group_counts_and_other_programs_do_not(machine: Machine) -> None:
    machine.put_into("0::/run")
    machine.count_in("run", 2)
    machine.count_all(9)
    before = machine.read()
    machine.count_all(11)
    assert oom_kills_since(before, machine.proc) == 0
    machine.count_in("run", 3)
    assert oom_kills_since(before, machine.proc) == 1


def test_when_the_group_is_gone_the_machine_tells(machine: Machine) -> None:
    machine.put_into("0::/run")
    events = machine.count_in("run", 2)
    machine.count_all(9)
    before = machine.read()
    events.unlink()
    machine.count_all(11)
    assert oom_kills_since(before, machine.proc) == 2


def test_a_counter_that_went_back_or_is_not_there_tells_nothing(machine: Machine) -> None:
    machine.count_all(3)
    before = machine.read()
    machine.count_all(1)
    assert oom_kills_since(before, machine.proc) is None
    (machine.proc / "vmstat").unlink()
    assert oom_kills_since(before, machine.proc) is None
    assert oom_kills_since(None, machine.proc) is None
