"""Letting the model of a checkpoint go on from a prompt, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.message import Message

from trainer import formats
from trainer.errors import TrainerError
from trainer.inference.client import Job, ModelProcess
from trainer.inference.request import GenerationSettings
from trainer.runs import RunStore

_ENDINGS = {
    "length": "as long as asked for",
    "end_of_text": "the model ended the text",
    "stop": "a stop text came",
    "cancelled": "stopped",
}


class TextWritten(Message):
    """The model has added to its text."""

    def __init__(self, writing: Writing, text: str) -> None:
        super().__init__()
        self.writing, self.text = writing, text


class WritingFinished(Message):
    """A text is at its end."""

    def __init__(self, writing: Writing, words: str) -> None:
        super().__init__()
        self.writing, self.words = writing, words


class WritingFailed(Message):
    """A text could not be written, or not to its end."""

    def __init__(self, writing: Writing, error: TrainerError) -> None:
        super().__init__()
        self.writing, self.error = writing, error


class Writing:
    """One text under way."""

    def __init__(self, run_id: str, checkpoint: str, settings: GenerationSettings) -> None:
        self.settings = settings
        self._run_id, self._checkpoint = run_id, checkpoint
        self._job: Job | None = None
        self._cancelled = False

    def write(
        self, store: RunStore, model: ModelProcess, post: Callable[[Message], object]
    ) -> None:
        """Write to the end and post what comes; blocks, so it needs a thread."""
        try:
            path = store.checkpoint_path(self._run_id, self._checkpoint)
            with model.generate(path, self.settings) as self._job:
                if self._cancelled:
                    self._job.cancel()
                for event in self._job:
                    self._pass_on(event, post)
        except TrainerError as error:
            post(WritingFailed(self, error))

    def cancel(self) -> None:
        """End soon; what was written stays."""
        self._cancelled = True
        if self._job is not None:
            self._job.cancel()

    def _pass_on(self, event: dict[str, Any], post: Callable[[Message], object]) -> None:
        if event["type"] == "token":
            post(TextWritten(self, event["text"]))
        elif event["type"] == "done":
            post(WritingFinished(self, finish_words(event)))


def finish_words(done: dict[str, Any]) -> str:
    """Say how long the text is, how fast it came, how to have it again, and why it ended."""
    tokens = f"{done['tokens']:,} token" + ("" if done["tokens"] == 1 else "s")
    rate = done["tokens_per_second"]
    speed = [formats.speed(rate)] if rate is not None else []
    return " · ".join([tokens, *speed, f"seed {done['seed']}", _ENDINGS[done["finish_reason"]]])
