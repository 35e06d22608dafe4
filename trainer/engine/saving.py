"""When and on which thread a checkpoint is saved, and what happens while the disk refuses it.

The training thread only copies what moves (a *snapshot*). One other thread writes it: first the
points up to that step, then the checkpoint under all its names, ``latest`` last; only then are
older ones removed. One save follows the other: the next begins when the one before has ended.
Where there is no memory for a copy, the training thread does all of it.

A full or read-only disk does not end a run. The checkpoint before stays, the failure is told, and
the save is tried again, after pauses that grow to a minute and with every save that is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from trainer import formats
from trainer.config import CheckpointSettings
from trainer.engine import checkpoint, retention
from trainer.engine.checkpoint import CheckpointInfo, DamagedCheckpointError, NotSavedError
from trainer.engine.timing import Costs
from trainer.store.recorder import Recorder
from trainer.store.space import reason
from trainer.store.trouble import listed
from trainer.store.workspace import RunPaths

TROUBLE = "checkpoint"
"""Under this name the recorder is told of saves that the disk refuses."""

LONGEST_PAUSE_SECONDS = 60.0
_FLUSH_PATIENCE_SECONDS = 5.0
_LAST_PAUSE_SECONDS = 2.0
_LOOK_SECONDS = 0.1
_SPARE_COPIES = 2
"""So many times the size of a snapshot must be available, or none is made."""


def snapshot(value: Any) -> Any:
    """Copy nested dictionaries, lists and tuples, with all tensors in them copied to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: snapshot(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(each) for each in value)
    return value


def fits_in_memory(size: int) -> bool:
    """Say whether a copy of so many bytes leaves as much memory again."""
    available: int = psutil.virtual_memory().available
    return available >= _SPARE_COPIES * size


def pause_seconds(tries: int) -> float:
    """Return how long to wait after a number of tries that failed: 1 s, twice that, up to 60 s."""
    return min(LONGEST_PAUSE_SECONDS, 2.0 ** min(tries - 1, 10))


def _passed(moment: float, give_up: Callable[[], bool]) -> bool:
    """Wait for a moment of the monotonic clock; False when it was given up before."""
    while not give_up():
        if time.monotonic() >= moment:
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def refused_words(error: NotSavedError, saved_step: int | None) -> str:
    """Say why nothing is saved just now, and how far a resume would go back.

    Args:
        saved_step: that of the checkpoint on the disk, or None when this process saved none yet.
    """
    cause = error.__cause__
    why = reason(cause) if isinstance(cause, OSError) else error.message.rstrip(".")
    last = "" if saved_step is None else f"; the one that is there is of step {saved_step:,}"
    return f"No checkpoint can be saved ({why}){last}. The save is tried again."


def given_up_words(names: Sequence[str], step: int) -> str:
    """Say which checkpoints will never be there, because a newer save has taken their turn."""
    files = listed([f"{name}.pt" for name in names])
    return (
        f"{files} of step {step:,} could not be saved before the next save was due, and "
        f"{'was' if len(names) == 1 else 'were'} given up: training has gone on."
    )


@dataclass(frozen=True)
class Order:
    """A run as it stood, to be saved as ``latest`` and under further names.

    ``live``: its tensors are those that training moves, so it holds for this moment only.
    """

    payload: Mapping[str, Any]
    names: Sequence[str] = ()
    live: bool = False

    @property
    def step(self) -> int:
        return int(self.payload["step"])


@dataclass(frozen=True)
class _Outcome:
    """How a try went; ``error`` is None when all of it is on the disk."""

    seconds: float
    error: NotSavedError | None = None


class Saver:
    """Saves the checkpoints of one run, one after the other.

    All methods are for the training thread.
    """

    def __init__(
        self, paths: RunPaths, recorder: Recorder, settings: CheckpointSettings, costs: Costs
    ) -> None:
        self._paths = paths
        self._recorder = recorder
        self._settings = settings
        self._costs = costs
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._under_way: Future[_Outcome] | None = None
        self._order: Order | None = None
        self._failure: NotSavedError | None = None
        self._tries = 0
        self._tried_at = self._begun_at = time.monotonic()
        self._saved_step: int | None = None

    # ------------------------------------------------------------------ what is due

    @property
    def failure(self) -> NotSavedError | None:
        """Why the last save is not on the disk, or None; the one under way does not count."""
        return self._failure

    @property
    def due(self) -> bool:
        """Whether the time has come for a save that no step asks for."""
        minutes = self._settings.every_minutes
        if minutes is not None and time.monotonic() - self._begun_at >= 60.0 * minutes:
            return True
        return self._order is not None and self._order.live and self._pause_is_over

    @property
    def _pause_is_over(self) -> bool:
        return time.monotonic() - self._tried_at >= pause_seconds(self._tries)

    # ------------------------------------------------------------------ saving

    def save(self, payload: Mapping[str, Any], names: Sequence[str] = ()) -> None:
        """Save a run; its tensors may move again as soon as this returns.

        Args:
            payload: what :func:`checkpoint.save` takes.
            names: further names for the same checkpoint, such as ``best``.

        Raises:
            SpoiltWeightsError: a weight is not finite; nothing is saved.
        """
        self.wait()
        self._give_up_older()
        self._begun_at = time.monotonic()
        if not fits_in_memory(checkpoint.tensor_bytes(payload)):
            order = Order(payload, tuple(names), live=True)
            outcome = self._try(order)
            self._order = order
            self._take_in(outcome)
            return
        copy = snapshot(payload)
        checkpoint.refuse_spoilt(
            copy["model"], "latest.pt was not saved", "The one before it is kept."
        )
        self._hand_over(Order(copy, tuple(names)))

    def wait(self) -> None:
        """Wait until nothing is being written; an unexpected failure of the thread comes out."""
        if self._under_way is not None:
            done, self._under_way = self._under_way, None
            self._take_in(done.result())

    def attend(self) -> None:
        """Without waiting, look how the last save went; try it again where its pause is over."""
        if self._under_way is not None:
            if self._under_way.done():
                self.wait()
        elif self._order is not None and not self._order.live and self._pause_is_over:
            self._hand_over(self._order)

    def finish(self, waiting: Callable[[], None], give_up: Callable[[], bool]) -> bool:
        """Wait until the last save is on the disk; the run must not move meanwhile.

        Args:
            waiting: called whenever the disk has refused it.
            give_up: asked ten times a second; when it says so, the save is abandoned.

        Returns:
            Whether everything is saved.
        """
        self.wait()
        while (order := self._order) is not None:
            waiting()
            if not _passed(self._tried_at + _LAST_PAUSE_SECONDS, give_up):
                return False
            self._take_in(self._try(order))
        return True

    def close(self) -> None:
        """Let the thread end what it is doing, and end it."""
        self._thread.shutdown(wait=True)

    def _hand_over(self, order: Order) -> None:
        self._order = order
        self._under_way = self._thread.submit(self._try, order)

    def _take_in(self, outcome: _Outcome) -> None:
        self._failure = outcome.error
        if outcome.error is not None:
            self._tries += 1
            self._tried_at = time.monotonic()
            return
        self._costs.writing.add(outcome.seconds)
        self._tries, self._order = 0, None

    def _give_up_older(self) -> None:
        """Make room for a newer save; what may hold the best weights gets one more try."""
        order = self._order
        if order is None:
            return
        if order.names and not order.live:
            self._take_in(self._try(order))
        if order.names and self._order is not None:
            self._recorder.notice(
                given_up_words(order.names, order.step),
                kind="not-saved",
                level="error",
                step=order.step,
            )
        self._order = None

    # ------------------------------------------------------------------ on the saver's thread

    def _try(self, order: Order) -> _Outcome:
        began = time.monotonic()
        try:
            info = self._write(order)
        except NotSavedError as error:
            self._tell_refused(order, error)
            return _Outcome(time.monotonic() - began, error)
        self._tell_saved(info)
        return _Outcome(time.monotonic() - began)

    def _write(self, order: Order) -> CheckpointInfo:
        """Write the points, then the checkpoint; then remove old ones."""
        folder, path_of = self._paths.checkpoints, self._paths.checkpoint
        try:
            self._make_folder()
            checkpoint.require_space(folder, checkpoint.tensor_bytes(order.payload))
            self._flush_points()
            also = [path_of(name) for name in order.names]
            info = checkpoint.save(path_of("latest"), order.payload, also)
            retention.retire(folder, self._settings.keep_last, self._settings.keep_every)
            retention.sweep(folder)
        except OSError as error:
            raise NotSavedError(
                f"latest.pt could not be saved: {error.strerror or error}.",
                f"The checkpoint before it is kept. Check free space and permissions of {folder}.",
            ) from error
        except DamagedCheckpointError as error:
            raise NotSavedError(error.message, f"Check the disk that holds {folder}.") from error
        return info

    def _make_folder(self) -> None:
        """Make the folder of checkpoints where it is missing, unless the whole run is gone."""
        self._paths.folder.stat()
        if self._paths.checkpoints.is_dir():
            return
        self._paths.checkpoints.mkdir(parents=True, exist_ok=True)
        if self._saved_step is not None:
            self._recorder.event(
                "checkpoints",
                "The folder of checkpoints was deleted while the run trained: it is made anew.",
                level="warning",
            )

    def _flush_points(self) -> None:
        """A resume repeats only what lies past its checkpoint: the points before must be there."""
        if not self._recorder.flush(_FLUSH_PATIENCE_SECONDS):
            raise NotSavedError(
                "latest.pt was not saved: the metrics up to its step cannot be written.",
                f"Check free space and permissions of {self._paths.folder}.",
            )

    def _tell_refused(self, order: Order, error: NotSavedError) -> None:
        if self._failure is None:
            self._recorder.event("not-saved", str(error), level="error", step=order.step)
        self._recorder.trouble(TROUBLE, refused_words(error, self._saved_step))

    def _tell_saved(self, info: CheckpointInfo) -> None:
        kind, words = (
            ("saved", "Saved") if self._failure is None else ("saved-again", "Saved again:")
        )
        size = formats.size(info.bytes)
        self._recorder.event(
            kind, f"{words} latest.pt at step {info.step:,} ({size}).", step=info.step
        )
        self._recorder.trouble(TROUBLE, None)
        self._saved_step = info.step
