"""Makes the kernel give the pid of a dead process to a bystander, and aims signals at the dead one.

A process of its own with one thread, so that it may fork. The kernel is told which pid to give
next through ``/proc/sys/kernel/ns_last_pid``, which only root may write. It prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainer.store import process
from trainer.store.records import ProcessRecord

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MISSES_ALLOWED = 20
"""How often another process of the machine may be quicker to take the pid."""

AIMS: tuple[Callable[[ProcessRecord], object], ...] = (
    lambda record: process.send_signal(record, signal.SIGTERM),
    lambda record: process.send_signal(record, signal.SIGKILL),
    process.kill_group,
    process.is_alive,
)


def fork_leader() -> int:
    """Fork a process that leads a session and waits for any signal, the last thing it does."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(told, b"!")
        signal.pause()
        os._exit(0)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def dead_process() -> ProcessRecord:
    """Name a process that has lived and is gone, by a tick that will not come again."""
    pid = fork_leader()
    record = process.identify(pid)
    assert record is not None
    end(pid)
    # A pid comes again only after all others, which takes longer than a tick of the clock.
    while time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_SECOND < record.start_ticks + 1:
        continue
    return record


def bystander(pid: int) -> int | None:
    """Fork a process that gets this very pid, if nobody else is quicker."""
    LAST_PID.write_text(str(pid - 1))
    made = fork_leader()
    if made == pid:
        return made
    end(made)
    return None


def reuse_once() -> list[str] | None:
    """Aim at a dead process whose pid a bystander has; return what went wrong."""
    record = dead_process()
    pid = bystander(record.pid)
    if pid is None:
        return None
    wrong = [f"aim {number} hit" for number, aim in enumerate(AIMS) if aim(record)]
    if not process.wait_for_end(record, 0.0):
        wrong.append("the dead process was taken for the bystander")
    if os.waitpid(pid, os.WNOHANG) != (0, 0):
        wrong.append("the bystander was signalled")
    else:
        end(pid)
    return wrong


def main(tries: int) -> None:
    done, misses, wrong = 0, 0, []
    while done < tries and misses < MISSES_ALLOWED * tries:
        found = reuse_once()
        if found is None:
            misses += 1
            continue
        done += 1
        wrong += found
    sys.stdout.write(json.dumps({"tries": done, "misses": misses, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
