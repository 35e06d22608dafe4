"""Who owns a run: the lock that a dying process lets go of, and names that outlive a pid."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from trainer.store import lock, process
from trainer.store.lock import RunLock

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    first = RunLock.acquire(path)
    assert first is not None
    assert lock.is_held(path)
    assert RunLock.acquire(path) is None
    first.release()
    assert not lock.is_held(path)
    second = RunLock.acquire(path)
    assert second is not None
    second.release()


def test_the_kernel_lets_go_of_a_killed_owner(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    child = holder(path)
    assert lock.is_held(path)
    child.kill()
    child.communicate()
    assert not lock.is_held(path)


def test_a_missing_lock_file_is_held_by_nobody(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path / "run.lock")


def test_the_lock_names_who_took_it_last(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    me = process.identify(os.getpid())
    held = RunLock.acquire(path)
    assert held is not None
    assert lock.holder(path) == me
    child = holder(tmp_path / "other")
    heir = process.identify(child.pid)
    held.name_holder(heir)
    assert lock.holder(path) == heir
    child.kill()
    child.communicate()
    assert lock.holder(path) is None  # It is dead: nobody known holds the lock.
    held.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": 1}'])
def test_a_lock_file_that_names_nobody_is_no_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(content)
    assert lock.holder(path) is None


def test_nobody_waits_for_a_lock_in_vain(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    child = holder(path)
    asked: list[int] = []

    def in_vain() -> bool:
        asked.append(1)
        return len(asked) == 3

    assert RunLock.acquire(path, patience_seconds=3600.0, unless=in_vain) is None
    assert len(asked) == 3
    child.kill()
    child.communicate()


def test_a_probe_of_the_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.touch()
    probe = os.open(path, os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)

    def probe_ends() -> bool:
        os.close(probe)
        return False

    taken = RunLock.acquire(path, patience_seconds=3600.0, unless=probe_ends)
    assert taken is not None
    taken.release()


def test_a_process_is_known_by_more_than_its_pid() -> None:
    me = process.identify(os.getpid())
    assert me is not None
    assert process.is_alive(me)
    assert not process.is_alive(msgspec.structs.replace(me, start_ticks=me.start_ticks + 1))
    assert not process.is_alive(msgspec.structs.replace(me, boot_id="another boot"))
    assert not process.is_alive(None)


def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock")
    try:
        real = process.identify(child.pid)
        assert real is not None
        stale = msgspec.structs.replace(real, start_ticks=real.start_ticks - 1)
        assert not process.send_signal(stale, signal.SIGKILL)
        assert not process.kill_group(stale)
        assert child.poll() is None
        assert process.kill_group(real)
        assert child.wait(10) == -signal.SIGKILL
    finally:
        child.kill()
        child.communicate()


def test_the_end_of_any_process_can_be_waited_for(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock")
    record = process.identify(child.pid)
    assert record is not None
    assert not process.wait_for_end(record, 0.0)
    child.kill()
    assert process.wait_for_end(record, 60.0)
    child.communicate()
    assert process.wait_for_end(record, 60.0)
    stale = msgspec.structs.replace(record, pid=os.getpid())
    assert process.wait_for_end(stale, 60.0)


def test_the_end_is_waited_for_where_there_is_no_pidfd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = holder(tmp_path / "lock")
    record = process.identify(child.pid)
    assert record is not None
    monkeypatch.setattr(process, "_LOOK_SECONDS", 0.0)
    assert not process._look_for_end(record, 0.0)
    child.kill()
    assert process._look_for_end(record, 60.0)
    child.communicate()


def test_who_does_not_lead_a_group_is_not_killed_with_it(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    record = process.identify(child.pid)
    assert record is not None
    try:
        assert not process.kill_group(record)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock")
    record = process.identify(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # Dead, and still not collected.
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert not process.is_alive(record)
    child.communicate()


def test_a_stopped_process_is_alive(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock")
    record = process.identify(child.pid)
    assert record is not None
    os.kill(child.pid, signal.SIGSTOP)
    try:
        assert process.is_alive(record)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("pid", [2**22 + 1, 2**30])
def test_a_pid_that_was_never_given_has_no_identity(pid: int) -> None:
    assert process.identify(pid) is None
