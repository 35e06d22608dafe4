"""Models that need no torch: a checkpoint is a line of text, and each token is a numbered word.

A checkpoint holds the bytes that its model takes, or ``damaged``, or ``broken`` (no expected
failure). The prompt ``crash`` spoils a turn of the batch, the prompt ``refused`` is not taken, a
prompt that is a number takes so many turns to be read. As a program this is a process that holds
such models: ``python -m tests.inference.toy --home=... --socket=... --listen=...``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import CheckpointError, NotFoundError, UsageError
from trainer.inference.protocol import Event, JobCommand
from trainer.inference.rendezvous import Rendezvous
from trainer.inference.request import GenerationSettings
from trainer.inference.service.__main__ import serve_shared, set_up

ROW_BYTES = 10
ROWS = 64


@dataclass
class ToyText:
    """One request in a batch: the tokens of each row so far."""

    settings: GenerationSettings
    unread: int
    tokens: int = 0

    def pieces(self) -> list[Event]:
        if self.unread > 0:
            self.unread -= 1
            return []
        self.tokens += 1
        ended = self.tokens >= self.settings.max_new_tokens
        reason = "length" if ended else None
        return [
            {"row": row, "text": f"{self.tokens} ", "tokens": self.tokens, "reason": reason}
            for row in range(self.settings.n)
        ]


class ToyBatch:
    """A token a turn for each row."""

    def __init__(self) -> None:
        self.texts: dict[Hashable, ToyText] = {}
        self.turns = 0

    @property
    def free_rows(self) -> int:
        return ROWS - sum(text.settings.n for text in self.texts.values())

    def add(self, key: Hashable, settings: GenerationSettings) -> GenerationSettings:
        if settings.prompt == "refused":
            raise UsageError("This prompt is refused.", "Take another.")
        unread = int(settings.prompt) if settings.prompt.isdecimal() else 0
        self.texts[key] = ToyText(settings, unread)
        return settings

    def cancel(self, key: Hashable) -> list[Event]:
        text = self.texts.pop(key)
        rows = range(text.settings.n)
        told: Event = {"text": "", "tokens": text.tokens, "reason": "cancelled"}
        return [told | {"row": row} for row in rows]

    def turn(self, held: Collection[Hashable] = ()) -> list[tuple[Hashable, Event]]:
        self.turns += 1
        if any(text.settings.prompt == "crash" for text in self.texts.values()):
            raise ValueError("the toy has crashed")
        going = [(key, text) for key, text in self.texts.items() if key not in held]
        told = [(key, piece) for key, text in going for piece in text.pieces()]
        for key, piece in told:
            if piece["reason"]:
                self.texts.pop(key, None)
        return told


class ToyAnswer:
    """Counts what came."""

    def __init__(self, settings: GenerationSettings) -> None:
        self.texts = [""] * settings.n
        self.reasons: list[str | None] = [None] * settings.n

    @property
    def ended(self) -> bool:
        return None not in self.reasons

    def take(self, piece: Event) -> Event | None:
        row = piece["row"]
        self.texts[row] += piece["text"]
        self.reasons[row] = piece["reason"]
        told = {name: piece[name] for name in ("row", "text", "tokens")}
        return {"type": "token", **told} if piece["text"] else None

    def done(self, seconds: float) -> Event:
        return {"type": "done", "text": self.texts[0], "finish_reason": self.reasons[0]}


@dataclass
class ToyModel:
    """A model that takes some bytes."""

    bytes: int
    row_bytes: int = ROW_BYTES
    batch: ToyBatch = field(default_factory=ToyBatch)
    prepared: list[str] = field(default_factory=list)

    def prepare(self, text: str) -> None:
        self.prepared.append(text)

    def answer(self, settings: GenerationSettings) -> ToyAnswer:
        return ToyAnswer(settings)

    def reset(self) -> None:
        self.batch = ToyBatch()


@dataclass
class ToyStored:
    """A checkpoint that was opened."""

    content: str

    @property
    def bytes(self) -> int:
        return int(self.content)

    def build(self) -> ToyModel:
        return ToyModel(int(self.content))


class ToyShelf:
    """Reads checkpoints; ``opened`` and ``frees`` tell what happened."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.frees = 0

    def identity(self, path: Path) -> tuple[str, str]:
        try:
            return str(path), path.read_text()
        except OSError as error:
            raise NotFoundError(f"There is no checkpoint {path}.") from error

    def open(self, path: Path) -> ToyStored:
        self.opened.append(path.name)
        content = path.read_text()
        if content == "damaged":
            raise CheckpointError("It is damaged.", "Take another.")
        if content == "broken":
            raise KeyError("nobody thought of this")
        return ToyStored(content)

    def steps(
        self, command: JobCommand, model: Any, report: Callable[[Event], None]
    ) -> Iterator[Event | None]:
        """Make three steps of whatever it is."""
        for done in (1, 2, 3):
            yield {"type": "progress", "done": done}
        yield {"type": "done"}

    def released(self) -> None:
        self.frees += 1

    def keep_pace(self) -> None:
        pass


def main() -> None:
    """Serve a workspace with toys."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--listen", type=int)
    options = parser.parse_args()
    if failure := os.environ.get("TOY_FAILURE"):
        sys.exit(failure)
    set_up()
    place = Rendezvous(options.home, options.socket.parent, options.socket.stem)
    serve_shared(place, options.listen, ToyShelf)


if __name__ == "__main__":
    main()
