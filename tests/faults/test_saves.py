"""Saves that end anywhere: a kill or a power cut after every operation, damage, a full disk."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from tests.conftest import MakeRun
from tests.engine.test_checkpoint import a_payload
from tests.faults import power_cut
from tests.faults.file_operations import (
    Operation,
    end_here,
    in_a_fork,
    operations_of,
    watching,
)
from trainer.config import CheckpointSettings
from trainer.engine import checkpoint, retention, saving
from trainer.engine.resuming import resume
from trainer.engine.saving import Saver
from trainer.engine.timing import Costs
from trainer.engine.trainee import Job
from trainer.errors import CheckpointError, TrainerError
from trainer.runs import RunStore
from trainer.stopping import StopFlag
from trainer.store.checkpoints import list_checkpoints, pin
from trainer.store.recorder import Recorder

Tally = Callable[..., None]
BLOCK_BYTES = 4096
SETTINGS = CheckpointSettings(keep_last=2)
NEW_NAMES = ("best", "epoch-3")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    """Threads do not outlive a fork."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> power_cut.Files:
    """A folder with the checkpoints of step 10 and of the epochs 1 and 2 before it."""
    folder = tmp_path_factory.mktemp("before")
    for number in (1, 2):
        path = folder / f"epoch-{number}.pt"
        checkpoint.save(path, a_payload(step=number), [folder / "best.pt"])
    checkpoint.save(folder / "latest.pt", a_payload(step=10))
    return power_cut.read(folder)


@pytest.fixture
def folder(tmp_path: Path, before: power_cut.Files) -> Path:
    made = tmp_path / "checkpoints"
    made.mkdir()
    power_cut.lay_out(made, before)
    return made


def save(folder: Path, step: int = 20) -> None:
    """Do what the saver does at the end of an epoch."""
    also = [folder / f"{name}.pt" for name in NEW_NAMES]
    checkpoint.save(folder / "latest.pt", a_payload(step=step), also)
    retention.retire(folder, SETTINGS.keep_last, SETTINGS.keep_every)


def holds(folder: Path) -> bool:
    """Say whether every checkpoint is the old one or the new one, and the next save works."""
    try:
        return _all_whole(folder) and _next_save_works(folder)
    except CheckpointError:
        return False


def _all_whole(folder: Path) -> bool:
    steps = {p.stem: checkpoint.load(p)["step"] for p in folder.glob("*.pt")}
    listed = {found.name for found in list_checkpoints(folder)}
    whole = steps["latest"] in (10, 20) and steps["best"] in (2, 20) and listed <= set(steps)
    # Whoever finds the new latest finds all that belongs to it.
    return whole and (steps["latest"] == 10 or steps["best"] == steps.get("epoch-3") == 20)


def _next_save_works(folder: Path) -> bool:
    save(folder, step=30)
    names = {path.stem for path in folder.glob("*.pt")}
    return names == {"latest", "best", "epoch-2", "epoch-3"} and all(
        checkpoint.load(folder / f"{name}.pt")["step"] == 30 for name in ("latest", *NEW_NAMES)
    )


def merged(operations: Sequence[Operation]) -> list[Operation]:
    """Take the writes to a file that follow one another as one."""
    groups = itertools.groupby(operations, key=lambda o: (o.kind, o.name))
    return [
        whole
        for (kind, name), group in groups
        for whole in (
            [Operation("write", name, content=b"".join(o.content for o in group))]
            if kind == "write"
            else group
        )
    ]


# ---------------------------------------------------------------------- kills and power cuts


def kill_after(folder: Path, before: power_cut.Files, numbers: Sequence[int]) -> int:
    """Kill a save after each of these operations, counted from 1; return how many held."""
    held = 0
    for number in numbers:
        power_cut.lay_out(folder, before)

        def work(number: int = number) -> None:
            with watching(folder, after=end_here(number)):
                save(folder)

        assert in_a_fork(work) == 0
        held += holds(folder)
    return held


def test_a_kill_after_some_of_the_operations_of_a_save(
    folder: Path, before: power_cut.Files, tally: Tally
) -> None:
    operations = operations_of(folder, lambda: save(folder))
    kinds = [operation.kind for operation in operations]
    few_writes = [n for n, kind in enumerate(kinds, 1) if kind != "write" or n % 60 == 0]
    tally("files", len(few_writes), kill_after(folder, before, few_writes))


@pytest.mark.soak
def test_a_kill_after_every_operation_of_a_save(
    folder: Path, before: power_cut.Files, tally: Tally
) -> None:
    every = range(1, len(operations_of(folder, lambda: save(folder))) + 1)
    tally("files", len(every), kill_after(folder, before, every), f"{len(every)} kills")


def check_power_cuts(
    folder: Path, before: power_cut.Files, operations: Sequence[Operation], tally: Tally
) -> None:
    tries = held = 0
    for found in power_cut.states(before, operations):
        power_cut.lay_out(folder, found)
        tries += 1
        held += holds(folder)
    tally("files", tries, held, f"{tries} folders after a power cut")


def test_a_power_cut_after_each_operation_of_a_save(
    folder: Path, before: power_cut.Files, tally: Tally
) -> None:
    operations = operations_of(folder, lambda: save(folder))
    check_power_cuts(folder, before, merged(operations), tally)


@pytest.mark.soak
def test_a_power_cut_after_every_single_write_of_a_save(
    folder: Path, before: power_cut.Files, tally: Tally
) -> None:
    check_power_cuts(folder, before, operations_of(folder, lambda: save(folder)), tally)


def test_without_an_fsync_a_power_cut_would_be_noticed(
    folder: Path, before: power_cut.Files
) -> None:
    operations = merged(operations_of(folder, lambda: save(folder)))
    careless = [o for o in operations if (o.kind, o.name) != ("fsync", ".latest.pt.part")]
    assert len(careless) == len(operations) - 1

    def held() -> Iterator[bool]:
        for found in power_cut.states(before, careless):
            power_cut.lay_out(folder, found)
            yield holds(folder)

    assert not all(held())


def test_a_pin_that_is_killed_or_cut_off_harms_nothing(
    folder: Path, before: power_cut.Files, tally: Tally
) -> None:
    def pin_best() -> None:
        assert pin(folder, "best") == "step-2"

    operations = operations_of(folder, pin_best)
    tries = held = 0
    for found in power_cut.states(before, operations):
        power_cut.lay_out(folder, found)
        tries += 1
        held += all(checkpoint.load(p)["step"] in (1, 2, 10) for p in folder.glob("*.pt"))
        pin_best()
    tally("files", tries, held, f"{tries} folders after a power cut in a pin")


# ---------------------------------------------------------------------- damage


@pytest.fixture
def job(store: RunStore, make_run: MakeRun, before: power_cut.Files) -> Iterator[Job]:
    """A run that is about to go on from its latest checkpoint, of step 10."""
    run = make_run(status="stopped", step=12)
    run.paths.checkpoints.mkdir(parents=True)
    power_cut.lay_out(run.paths.checkpoints, before)
    recorder = Recorder(run.paths, run.state)
    yield Job(
        config=store.config(run.run_id),
        paths=run.paths,
        data_dir=store.workspace.data_dir,
        recorder=recorder,
        stop=StopFlag(run.paths.stop_request),
        checkpoint="latest",
    )
    recorder.close()


def recovered_to(job: Job) -> int | None:
    """Return the step that a resume goes on from, and None when it cannot."""
    try:
        found = resume(job)
    except TrainerError:
        return None
    assert found is not None
    latest = checkpoint.load(job.paths.checkpoint("latest"))
    return int(latest["step"]) if latest["step"] == found.payload["step"] else None


def check_damage(
    job: Job, before: power_cut.Files, name: str, damaged: Sequence[bytes], steps: set[int]
) -> int:
    """Resume beside each damaged content of a file; return how often that went on as expected."""
    held = 0
    for content in damaged:
        power_cut.lay_out(job.paths.checkpoints, {**before, name: content})
        held += recovered_to(job) in steps
    return held


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def test_truncation_at_every_block_is_detected_and_recovered(
    job: Job, before: power_cut.Files, tally: Tally
) -> None:
    whole = before["latest.pt"]
    cut = [whole[:size] for size in range(0, len(whole), BLOCK_BYTES)]
    held = check_damage(job, before, "latest.pt", cut, {2})
    tally("files", len(cut), held, f"{len(cut)} truncations of latest.pt")


def test_a_flipped_byte_in_every_block_is_detected_and_recovered(
    job: Job, before: power_cut.Files, tally: Tally
) -> None:
    whole = before["latest.pt"]
    starts = range(0, len(whole), BLOCK_BYTES)
    wrong = [flipped(whole, min(at + at // BLOCK_BYTES, len(whole) - 1)) for at in starts]
    held = check_damage(job, before, "latest.pt", wrong, {2})
    tally("files", len(wrong), held, f"{len(wrong)} flipped bytes in latest.pt")


def test_damage_of_the_file_beside_it_costs_at_most_a_checkpoint(
    job: Job, before: power_cut.Files, tally: Tally
) -> None:
    whole = before["latest.pt.json"]
    cut = [whole[:size] for size in range(0, len(whole) - 1, 16)]
    held = check_damage(job, before, "latest.pt.json", cut, {10})
    wrong = [flipped(whole, at) for at in range(0, len(whole), 16)]
    held += check_damage(job, before, "latest.pt.json", wrong, {10, 2})
    tries = len(cut) + len(wrong)
    tally("files", tries, held, f"{tries} times damage in latest.pt.json")


@pytest.mark.soak
def test_a_flipped_byte_anywhere_is_detected_and_recovered(
    job: Job, before: power_cut.Files, tally: Tally
) -> None:
    whole = before["latest.pt"]
    wrong = [flipped(whole, at) for at in range(0, len(whole), 251)]
    held = check_damage(job, before, "latest.pt", wrong, {2})
    tally("files", len(wrong), held, f"{len(wrong)} flipped bytes in latest.pt")


# ---------------------------------------------------------------------- no space


@pytest.fixture
def saver(job: Job, monkeypatch: pytest.MonkeyPatch) -> Iterator[Saver]:
    """Saves checkpoints of that run, and tries again without a pause."""
    monkeypatch.setattr(saving, "pause_seconds", lambda tries: 0.0)
    made = Saver(job.paths, job.recorder, SETTINGS, Costs())
    yield made
    made.close()


def save_through(saver: Saver) -> None:
    saver.save(a_payload(step=20), NEW_NAMES)
    saver.wait()


def refused_and_saved_again(
    saver: Saver, folder: Path, refusing: Callable[[], None]
) -> tuple[bool, bool]:
    """Save on a disk that refuses, then once more; say whether it refused and whether all held."""
    refusing()
    refused = saver.failure is not None
    held = not refused or (_all_whole(folder) and not list(folder.glob(".latest*")))
    if refused:
        saver.attend()
        saver.wait()
    return refused, held and saver.failure is None and _steps(folder) == [20, 20, 20]


def _steps(folder: Path) -> list[int]:
    return [checkpoint.load(folder / f"{name}.pt")["step"] for name in ("latest", *NEW_NAMES)]


def refuse_at(number: int) -> Callable[[Operation], None]:
    """Fail the n-th operation that needs the disk, as different disks would."""
    left = iter(range(number, 0, -1))
    kinds = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

    def watch(operation: Operation) -> None:
        # What only lets go of something needs no space.
        if operation.kind != "unlink" and next(left, 0) == 1:
            code = kinds[number % len(kinds)]
            raise OSError(code, os.strerror(code))

    return watch


def check_refusals(
    saver: Saver, job: Job, before: power_cut.Files, tally: Tally, numbers: Sequence[int]
) -> None:
    folder, held = job.paths.checkpoints, 0
    for number in numbers:
        power_cut.lay_out(folder, before)

        def refusing(number: int = number) -> None:
            with watching(folder, before=refuse_at(number)):
                save_through(saver)

        refused, good = refused_and_saved_again(saver, folder, refusing)
        held += refused and good
    tally("space", len(numbers), held, f"{len(numbers)} write sites of a save")


def sites(saver: Saver, job: Job) -> list[str]:
    """Return the kind of each operation of a save that needs the disk."""
    operations: list[Operation] = []
    with watching(job.paths.checkpoints, before=operations.append):
        save_through(saver)
    return [operation.kind for operation in operations if operation.kind != "unlink"]


def test_no_space_at_some_of_the_write_sites_of_a_save(
    saver: Saver, job: Job, before: power_cut.Files, tally: Tally
) -> None:
    kinds = sites(saver, job)
    few_writes = [n for n, kind in enumerate(kinds, 1) if kind != "write" or n % 90 == 0]
    check_refusals(saver, job, before, tally, few_writes)


@pytest.mark.soak
def test_no_space_at_every_write_site_of_a_save(
    saver: Saver, job: Job, before: power_cut.Files, tally: Tally
) -> None:
    check_refusals(saver, job, before, tally, range(1, len(sites(saver, job)) + 1))


@pytest.fixture
def without_looking_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write, however little space there seems to be."""
    monkeypatch.setattr(checkpoint, "require_space", lambda folder, size: None)


def under_a_limit(folder: Path, size: int) -> None:
    """Save while no file may grow beyond a size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        save(folder)
    except CheckpointError:
        os._exit(3)


@pytest.mark.usefixtures("without_looking_first")
def test_a_limit_of_the_size_of_files(folder: Path, before: power_cut.Files, tally: Tally) -> None:
    limits = range(0, len(before["latest.pt"]), 5 * BLOCK_BYTES)
    held = 0
    for size in limits:
        power_cut.lay_out(folder, before)
        refused = in_a_fork(lambda size=size: under_a_limit(folder, size)) == 3  # type: ignore[misc]
        held += refused and power_cut.read(folder) == before and holds(folder)
    tally("space", len(limits), held, f"{len(limits)} limits of the size of files")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB in memory, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("without_looking_first")
def test_a_small_disk_that_is_really_full(
    store: RunStore, job: Job, saver: Saver, small_disk: Path, before: power_cut.Files, tally: Tally
) -> None:
    folder = job.paths.checkpoints
    shutil.rmtree(folder)
    folder.symlink_to(small_disk)
    filler = small_disk / "filler"
    outcomes = []
    for left in range(0, len(before["latest.pt"]) + 20 * BLOCK_BYTES, 4 * BLOCK_BYTES):
        filler.unlink(missing_ok=True)
        power_cut.lay_out(folder, before)

        def refusing(left: int = left) -> None:
            free = shutil.disk_usage(small_disk).free
            filler.write_bytes(bytes(max(0, free - left)))
            save_through(saver)
            filler.unlink()

        outcomes.append(refused_and_saved_again(saver, folder, refusing))
    refused, held = zip(*outcomes, strict=True)
    assert refused[0]
    assert not refused[-1]
    tally("space", len(held), sum(held), f"{len(held)} fill levels of a real small disk")
