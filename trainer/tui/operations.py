"""What becomes of a change that a person asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from trainer.errors import TrainerError


@dataclass(frozen=True)
class Outcome:
    """A change that was made: the sentence that confirms it, and the run that it was made to."""

    sentence: str
    run_id: str | None = None
    deleted: bool = False


Operation = Callable[[], Outcome]
"""A change to the store; it may take seconds, so it runs in a thread."""


class OperationCompleted(Message):
    """A change was made."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class OperationFailed(Message):
    """A change was refused."""

    def __init__(self, error: TrainerError) -> None:
        super().__init__()
        self.error = error


class OperationRequested(Message):
    """A dialog has all it needs: make the change and tell the dialog."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.operation = operation
