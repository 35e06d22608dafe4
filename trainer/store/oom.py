"""How often the kernel has killed for lack of memory, by its own counters (Linux).

``oom_kill`` in ``memory.events`` counts the processes killed in a control group, whatever ran
out: the group's limit or the whole machine (cgroup v2, Documentation/admin-guide/cgroup-v2.rst).
``oom_kill`` in ``/proc/vmstat`` counts those of the whole machine since its start.
"""

from __future__ import annotations

from pathlib import Path

from trainer.store.records import OomKills

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def read_oom_kills(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> OomKills:
    """Read the counters that hold for this process; what the system does not have is None."""
    events = _events_file(proc, cgroups)
    return OomKills(
        cgroup_file=None if events is None else str(events),
        in_cgroup=None if events is None else _counter(events),
        on_machine=_counter(proc / "vmstat"),
    )


def oom_kills_since(before: OomKills | None, proc: Path = _PROC) -> int | None:
    """Return how many processes were killed since some counts, or None when nobody knows.

    The count of the control group is the more telling one: it leaves out what happened to other
    programs. It is gone when the group is, as at the end of a session; then the machine's counts.
    """
    if before is None:
        return None
    if before.cgroup_file is not None:
        grown = _growth(before.in_cgroup, _counter(Path(before.cgroup_file)))
        if grown is not None:
            return grown
    return _growth(before.on_machine, _counter(proc / "vmstat"))


def _growth(before: int | None, after: int | None) -> int | None:
    """Return the difference; a counter that went back began anew and tells nothing."""
    if before is None or after is None or after < before:
        return None
    return after - before


def _events_file(proc: Path, cgroups: Path) -> Path | None:
    """Return ``memory.events`` of this process's group, or of the nearest one above that has it."""
    group = _own_group(proc)
    if group is None:
        return None
    for folder in (group, *group.parents):
        events = cgroups / folder / "memory.events"
        if _counter(events) is not None:
            return events
    return None


def _own_group(proc: Path) -> Path | None:
    """Return the path of this process's group below the root of the one v2 hierarchy."""
    for line in _lines(proc / "self" / "cgroup"):
        hierarchy, _, path = line.partition("::")
        if hierarchy == "0" and path.startswith("/"):
            return Path(path.removeprefix("/"))
    return None


def _counter(path: Path) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdecimal():
            return int(value)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return []
