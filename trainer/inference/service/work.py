"""One job of a client, as the scheduler keeps it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from trainer.errors import TrainerError
from trainer.inference.protocol import (
    Evaluate,
    Event,
    Export,
    Generate,
    Import,
    JobCommand,
    Score,
    Warm,
)
from trainer.inference.request import row_seed
from trainer.inference.service.parts import Answer
from trainer.inference.service.peer import Peer

LONG_TEXT_CHARACTERS = 20_000
"""So many are turned into tokens in some milliseconds."""

_NOUNS: dict[type[JobCommand], str] = {
    Score: "score",
    Warm: "warm-up",
    Evaluate: "evaluation",
    Export: "export",
    Import: "import",
}

Key = tuple[int, int]
"""The number of a client, and its own number of the job."""


@dataclass(eq=False)
class Work:
    """Something that a client has asked for and that has not ended."""

    peer: Peer
    command: JobCommand
    preparing: bool = False
    prepared: bool = False
    """Whether a long text was turned into tokens beforehand."""

    @property
    def key(self) -> Key:
        return self.peer.number, self.command.id

    @property
    def client(self) -> Hashable:
        """Who takes turns with others."""
        return self.peer.number, getattr(self.command, "client", "")

    @property
    def text(self) -> str:
        """What it is about to read."""
        if isinstance(self.command, Generate):
            return self.command.settings.prompt
        return self.command.text if isinstance(self.command, Score) else ""

    @property
    def is_unprepared(self) -> bool:
        """Whether turning its text into tokens takes longer than others should wait."""
        return not self.prepared and len(self.text) > LONG_TEXT_CHARACTERS

    def send(self, event: Event) -> None:
        """Tell the client something about it."""
        self.peer.send({"id": self.command.id, **event})

    def fail(self, error: TrainerError) -> None:
        """Tell the client that it has failed."""
        self.send({"type": "failed", "error": error.as_dict()})


@dataclass(eq=False)
class Text(Work):
    """A generation: its rows in a batch once it was admitted."""

    command: Generate
    answer: Answer | None = None
    started: float = 0.0

    @property
    def rows(self) -> int:
        return self.command.settings.n

    def unwritten(self) -> Event:
        """Return the last event of a text that was cancelled before it was looked at."""
        settings = self.command.settings.with_seed()
        nothing: Event = {"text": "", "tokens": 0, "finish_reason": "cancelled"}
        likely: Event = {} if settings.logprobs is None else {"logprobs": []}
        seeds = [row_seed(settings.seed or 0, row) for row in range(settings.n)]
        rows = [nothing | likely | {"seed": seed} for seed in seeds]
        several = {"continuations": rows} if len(rows) > 1 else {}
        counts = {"tokens_per_second": None, "prompt_tokens": 0, "prompt_tokens_read": 0}
        return {"type": "done", **rows[0], **counts, **several}


@dataclass(eq=False)
class Task(Work):
    """All else: a step a turn."""

    steps: Iterator[Event | None] | None = None


def cancelled(command: JobCommand) -> TrainerError:
    """Return the error that all but a generation ends with when it is cancelled."""
    return TrainerError(f"The {_NOUNS[type(command)]} was cancelled.")
