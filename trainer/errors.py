"""The family of errors a person may meet.

Every refusal carries what happened (``message``), what to do next (``hint``) and a short
``kind`` that programs can match. Each class fixes the exit status of the command line and the
HTTP status of the web API, so that no viewer decides that for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class TrainerError(Exception):
    """Base of all expected failures: shown as one or two sentences, never as a traceback."""

    kind = "error"
    exit_code = 1
    http_status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The shape of an error in ``state.json`` and in every JSON answer."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(TrainerError):
    """The request itself is wrong: a bad option, a bad value, a combination that cannot work."""

    kind = "usage"
    exit_code = 2
    http_status = 400


@dataclass(frozen=True)
class Fault:
    """One wrong setting: where it was given, which one, its value and what is allowed."""

    source: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key} {self.problem}"


class ConfigurationError(TrainerError):
    """One or more settings are wrong; all of them are told together."""

    kind = "configuration"
    exit_code = 2
    http_status = 422

    def __init__(self, faults: Sequence[Fault], hint: str = "") -> None:
        self.faults = tuple(faults)
        noun = "setting is" if len(faults) == 1 else "settings are"
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"{len(faults)} {noun} wrong:\n{lines}", hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}".strip()


class NotFoundError(TrainerError):
    """No such run, checkpoint or file."""

    kind = "not_found"
    exit_code = 3
    http_status = 404


class NoSuchRunError(NotFoundError):
    """No run has this id, and nothing is left of one that had."""


class VanishedError(NotFoundError):
    """A run that was being watched was deleted or moved away."""

    exit_code = 1


class ConflictError(TrainerError):
    """The run is already active, or busy, or in a state that does not allow the request."""

    kind = "conflict"
    exit_code = 4
    http_status = 409


class BusyError(TrainerError):
    """More is asked for at once than there is room for; the same may be asked again in a while."""

    kind = "busy"
    exit_code = 4
    http_status = 429


class DataError(TrainerError):
    """The text cannot be used, or cannot be reached."""

    kind = "data"
    http_status = 422


class DeviceError(TrainerError):
    """The device that was asked for is not here."""

    kind = "device"
    exit_code = 2
    http_status = 422


class CheckpointError(TrainerError):
    """A checkpoint is damaged, does not fit, or holds values that are not finite."""

    kind = "checkpoint"
    http_status = 422


class StoreError(TrainerError):
    """A file of the run store cannot be read or written."""

    kind = "store"


class DamagedError(StoreError):
    """A file of the run store does not hold what was written."""


class NewerStoreError(StoreError):
    """A file of the run store was written by a newer version of this program."""


class NotificationError(TrainerError):
    """A webhook did not take a message."""

    kind = "notification"


class TrainingError(TrainerError):
    """Training cannot go on: the loss is not finite, memory is short at the smallest batch, …"""

    kind = "training"


class NotFiniteError(TrainingError):
    """Losses, gradients or weights are not finite numbers: an earlier checkpoint may help."""
