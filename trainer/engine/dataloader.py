"""Batches whose order is a pure function of (seed, epoch), whoever prepares them.

Nothing here draws from a shared random generator, and any step can be asked for directly: a
resumed run goes on with exactly the batches it would have had.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from trainer.errors import DataError
from trainer.foresight.workload import windows

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets, both (batch, seq_length) int64; targets are the inputs' next tokens."""

_PR_SET_PDEATHSIG = 1


class TrainingBatches:
    """Cuts a stream of tokens into windows and deals them out, shuffled anew in each epoch.

    In each epoch the windows are shifted by an offset below ``seq_length``, so that they do not
    begin at the same places again, and permuted; what does not fill a step is left out.

    Args:
        tokens: ids, (n,) uint16.
        batch_size: windows in a micro-batch.
        seq_length: tokens in a window.
        grad_accum_steps: micro-batches in an optimizer step.
        seed: decides the order, with the number of the epoch.
        workers: processes that prepare batches; 0 prepares them in this one.
        prefetch_factor: micro-batches that each such process keeps ready; None: 2.
        pin_memory: whether batches lie in page-locked memory, for copies to a GPU.
        inherited_fds: descriptors that a worker process closes first of all, so that a lock they
            hold ends with this process.

    Raises:
        DataError: the text is too short for one optimizer step.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.uint16],
        *,
        batch_size: int,
        seq_length: int,
        grad_accum_steps: int,
        seed: int,
        workers: int = 0,
        prefetch_factor: int | None = None,
        pin_memory: bool = False,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        self._tokens = tokens
        self._batch_size = batch_size
        self._seq_length = seq_length
        self._grad_accum_steps = grad_accum_steps
        self._seed = seed
        self._workers = workers
        self._prefetch_factor = prefetch_factor
        self._pin_memory = pin_memory
        self._inherited_fds = tuple(inherited_fds)
        self._windows = windows(len(tokens), seq_length)
        self.steps_per_epoch = self._windows // (batch_size * grad_accum_steps)
        if self.steps_per_epoch == 0:
            raise self._too_short()
        # Two epochs, since a step of the next may be prepared while this one ends.
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    @property
    def tokens_per_step(self) -> int:
        return self._batch_size * self._grad_accum_steps * self._seq_length

    def batch(self, step: int, micro: int) -> Batch:
        """Return micro-batch ``micro`` of an optimizer step, counted from 0 over all epochs."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        starts = self._order(epoch)
        first = (step_in_epoch * self._grad_accum_steps + micro) * self._batch_size
        chosen = starts[first : first + self._batch_size]
        index = chosen[:, None] + np.arange(self._seq_length + 1)
        windows = torch.from_numpy(self._tokens[index].astype(np.int64))
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def iterate(self, first_step: int, last_step: int) -> Generator[list[Batch], None, None]:
        """Yield the micro-batches of each step from ``first_step`` up to, not with, ``last_step``.

        Call it from a thread that outlives the iteration: worker processes end with the thread
        that started them.
        """
        batches = iter(self._loader(first_step, last_step))
        for _ in range(first_step, last_step):
            yield list(islice(batches, self._grad_accum_steps))

    def _draw_order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the first token of every window of an epoch, in the order of their use."""
        # RandomState's stream is frozen for good (NEP 19); the newer Generator's may change.
        bits = np.random.MT19937(np.random.SeedSequence([self._seed, epoch]))
        random = np.random.RandomState(bits)
        offset = random.randint(self._seq_length)
        return random.permutation(self._windows).astype(np.int64) * self._seq_length + offset

    def _loader(self, first_step: int, last_step: int) -> DataLoader[Batch]:
        micro_batches = range(
            first_step * self._grad_accum_steps, last_step * self._grad_accum_steps
        )
        in_processes = self._workers > 0
        return DataLoader(
            _MicroBatches(self),
            batch_size=None,
            sampler=micro_batches,
            num_workers=self._workers,
            collate_fn=_unchanged,
            pin_memory=self._pin_memory,
            prefetch_factor=(self._prefetch_factor or 2) if in_processes else None,
            worker_init_fn=_WorkerStart(os.getpid(), self._inherited_fds) if in_processes else None,
            # A fork costs no second import of torch, and is safe here: a worker does nothing but
            # index an array, on one thread.
            multiprocessing_context="fork" if in_processes else None,
            # Else the loader draws its seed from the global generator.
            generator=torch.Generator(),
        )

    def _too_short(self) -> DataError:
        needed = (self._batch_size * self._grad_accum_steps + 1) * self._seq_length
        return DataError(
            f"The training text is too short: {len(self._tokens):,} tokens, and one optimizer step "
            f"needs {needed:,} (training.batch_size {self._batch_size} x training.grad_accum_steps "
            f"{self._grad_accum_steps} x training.seq_length {self._seq_length}, and one window "
            "more).",
            "Lower one of the three, or give more text.",
        )


class _MicroBatches(Dataset[Batch]):
    """The micro-batches of all steps in one row, as the loader wants them."""

    def __init__(self, batches: TrainingBatches) -> None:
        self._batches = batches

    def __getitem__(self, index: int) -> Batch:
        return self._batches.batch(*divmod(index, self._batches._grad_accum_steps))


def _unchanged(batch: Any) -> Any:
    """Keep the loader from converting what is a batch already."""
    return batch


@dataclass(frozen=True)
class _WorkerStart:
    """What a worker process does before its first batch."""

    parent: int
    inherited_fds: tuple[int, ...]

    def __call__(self, worker: int) -> None:
        for descriptor in self.inherited_fds:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        # Ctrl+C or a stop reaches the whole group; when to end is for the training process to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if sys.platform == "linux":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_obey_only, args=(self.parent,), daemon=True).start()
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.parent:
            os._exit(1)


def _obey_only(parent: int) -> None:
    """End this process on a SIGTERM from ``parent``, and take no notice of anybody else's."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        continue
    os._exit(0)
