"""Batches: what is in them, in which order, and who prepares them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.engine.dataloader import Batch, TrainingBatches
from trainer.errors import DataError

TOKENS = np.arange(1000, dtype="<u2")
"""A stream in which each token is its own position."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and prctl")


def batches(tokens: Any = TOKENS, **settings: Any) -> TrainingBatches:
    """Make batches of 4 windows of 8 tokens, two to a step."""
    plain = {"batch_size": 4, "seq_length": 8, "grad_accum_steps": 2, "seed": 7}
    return TrainingBatches(tokens, **(plain | settings))


def equal(left: list[list[Batch]], right: list[list[Batch]]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b)
        for left_step, right_step in zip(left, right, strict=True)
        for left_batch, right_batch in zip(left_step, right_step, strict=True)
        for a, b in zip(left_batch, right_batch, strict=True)
    )


# --------------------------------------------------------------------------- what is in them


def test_targets_are_the_next_tokens() -> None:
    inputs, targets = batches().batch(0, 0)
    assert inputs.shape == targets.shape == (4, 8)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)


def test_a_window_is_a_piece_of_the_stream() -> None:
    for row in batches().batch(3, 1)[0]:
        assert row.tolist() == list(range(row[0], row[0] + 8))


def test_steps_and_tokens_are_counted() -> None:
    # (1000 - 8) // 8 = 124 windows fit at any offset; 15 steps take 8 windows each.
    assert batches().steps_per_epoch == 15
    assert batches().tokens_per_step == 2 * 4 * 8
    assert batches(batch_size=62, grad_accum_steps=2).steps_per_epoch == 1


@given(st.integers(0, 2**63 - 1), st.integers(0, 50), st.integers(72, 400))
def test_an_epoch_uses_no_token_twice(seed: int, epoch: int, length: int) -> None:
    dealt = batches(TOKENS[:length], seed=seed)
    steps = range(epoch * dealt.steps_per_epoch, (epoch + 1) * dealt.steps_per_epoch)
    used = torch.cat([dealt.batch(step, micro)[0] for step in steps for micro in (0, 1)])
    assert len(set(used.flatten().tolist())) == used.numel() == dealt.steps_per_epoch * 64


def test_text_too_short_for_a_step_is_refused() -> None:
    # (4 x 2 + 1) windows x 8 tokens
    assert batches(TOKENS[:72]).steps_per_epoch == 1
    with pytest.raises(DataError) as refused:
        batches(TOKENS[:71])
    assert str(refused.value) == (
        "The training text is too short: 71 tokens, and one optimizer step needs 72 "
        "(training.batch_size 4 x training.grad_accum_steps 2 x training.seq_length 8, and one "
        "window more). Lower one of the three, or give more text."
    )


# --------------------------------------------------------------------------- their order


def test_the_order_comes_from_the_seed_and_the_epoch() -> None:
    assert torch.equal(batches().batch(20, 1)[0], batches().batch(20, 1)[0])
    assert not torch.equal(batches().batch(20, 1)[0], batches(seed=8).batch(20, 1)[0])
    assert not torch.equal(batches().batch(0, 0)[0], batches().batch(15, 0)[0])


def test_the_order_is_frozen() -> None:
    """A resumed run meets the same windows after an upgrade of any library."""
    assert batches().batch(0, 0)[0][:, 0].tolist() == [843, 811, 283, 27]
    assert batches().batch(15, 0)[0][:, 0].tolist() == [814, 838, 94, 670]


def test_each_epoch_begins_at_another_offset() -> None:
    offsets = {int(batches().batch(15 * epoch, 0)[0][0, 0]) % 8 for epoch in range(40)}
    assert offsets == set(range(8))


def test_any_step_can_be_asked_for_directly() -> None:
    dealt = batches()
    inorder = list(dealt.iterate(0, 40))
    assert equal(inorder[33:40], list(batches().iterate(33, 40)))
    assert equal(inorder, [[dealt.batch(step, micro) for micro in (0, 1)] for step in range(40)])


def test_the_global_generators_are_left_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state()
    list(batches().iterate(0, 20))
    next(batches(workers=1).iterate(0, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.random_sample() == np.random.RandomState(1).random_sample()


# --------------------------------------------------------------------------- worker processes


@pytest.fixture
def token_file(tmp_path: Path) -> Any:
    """The stream in a file, mapped into memory as a real one is."""
    TOKENS.tofile(tmp_path / "train.bin")
    return np.memmap(tmp_path / "train.bin", dtype="<u2", mode="r")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("settings", [{}, {"prefetch_factor": 5}])
def test_worker_processes_change_nothing(token_file: Any, settings: dict[str, int]) -> None:
    alone = list(batches().iterate(10, 20))
    assert equal(list(batches(token_file, workers=2, **settings).iterate(10, 20)), alone)
    assert equal(list(batches(token_file, workers=3, **settings).iterate(10, 20)), alone)


def started_by(action: Callable[[], object]) -> list[psutil.Process]:
    """Return the processes that an action starts; other tests may have left their own."""
    before = set(psutil.Process().children())
    action()
    return [child for child in psutil.Process().children() if child not in before]


def test_worker_processes_end_with_the_iteration() -> None:
    iteration = batches(workers=2).iterate(0, 100)
    workers = started_by(lambda: next(iteration))
    assert len(workers) == 2
    iteration.close()
    assert psutil.wait_procs(workers, timeout=30)[1] == []


def has_open(process: psutil.Process, wanted: os.stat_result) -> bool:
    """Say whether a process has a file open; others come and go while this looks."""
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(file.stat(), wanted):
                return True
    return False


@linux_only
def test_a_worker_closes_what_it_inherited() -> None:
    with tempfile.TemporaryFile() as held:
        iteration = batches(workers=1, inherited_fds=[held.fileno()]).iterate(0, 5)
        [worker] = started_by(lambda: next(iteration))
        # Compared by the file: the number may be given to another one by now.
        assert not has_open(worker, os.fstat(held.fileno()))
        assert os.fstat(held.fileno())


@linux_only
def test_a_worker_heeds_nobody_but_its_parent() -> None:
    iteration = batches(workers=1).iterate(0, 50)
    received: list[Any] = []
    [worker] = started_by(lambda: received.append(next(iteration)))
    for name in ("INT", "TERM"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    received += iteration
    assert equal(received, list(batches().iterate(0, 50)))


TRAINING = """
import sys
from tests.engine.test_dataloader import batches, psutil

iteration = batches(workers=2).iterate(0, 10_000)
next(iteration)
print(*(child.pid for child in psutil.Process().children()), flush=True)
if sys.argv[1] == "raises":
    raise SystemExit(3)
sys.stdin.read()
"""


@contextlib.contextmanager
def training(ending: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Run a process that trains with two workers."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        yield process, [psutil.Process(int(pid)) for pid in pids]
    finally:
        process.kill()
        process.communicate()


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@linux_only
def test_workers_die_with_a_killed_parent() -> None:
    with training("waits") as (process, workers):
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while any(map(is_alive, workers)):
            assert time.monotonic() < deadline
    assert len(workers) == 2


@linux_only
def test_a_failing_process_ends_with_its_workers() -> None:
    with training("raises") as (process, _):
        assert process.wait(timeout=30) == 3
