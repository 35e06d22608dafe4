"""The playground's form: the prompt, and how to go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label

from trainer.config import DEFAULT_PROMPTS
from trainer.inference import typed
from trainer.inference.request import GenerationSettings
from trainer.tui.writing import ALTERNATIVES

_CHECKPOINT = "checkpoint"
_STOP = "stop"
_NUMBERS = {
    "max_new_tokens": "tokens",
    "temperature": "temperature",
    "top_k": "top-k",
    "seed": "seed",
    "top_p": "top-p",
    "min_p": "min-p",
    "repetition_penalty": "repetition",
}
"""Settings that are numbers, and their labels."""
_LINES = (
    (_CHECKPOINT, "max_new_tokens", "temperature", "top_k", "seed"),
    ("top_p", "min_p", "repetition_penalty", _STOP),
)
_LABELS = {_CHECKPOINT: "from", _STOP: "stop at", **_NUMBERS}
_DEFAULTS = {
    _CHECKPOINT: "latest",
    "max_new_tokens": str(GenerationSettings().max_new_tokens),
    "temperature": str(GenerationSettings().temperature),
    "top_k": "all",
    "seed": "random",
    "top_p": "1",
    "min_p": "0",
    "repetition_penalty": "1",
    _STOP: r"a text; \n is a line break",
}
"""What an option that is left empty means."""


class WritingForm(Vertical):
    """A line for the prompt, and lines of options below."""

    class Submitted(Message):
        """Enter was pressed: write on from the prompt."""

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("prompt")
            yield Input(DEFAULT_PROMPTS[0], id="prompt", compact=True, select_on_focus=False)
        for line in _LINES:
            with Horizontal(classes="options"):
                for name in line:
                    yield Label(_LABELS[name])
                    yield Input(id=f"option-{name}", compact=True, placeholder=_DEFAULTS[name])

    def edit_prompt(self) -> None:
        """Put the cursor into the prompt."""
        self.query_one("#prompt", Input).focus()

    @property
    def checkpoint(self) -> str:
        """Which checkpoint writes."""
        return self._option(_CHECKPOINT) or _DEFAULTS[_CHECKPOINT]

    def settings(self, **changes: Any) -> GenerationSettings:
        """Read the prompt and the options; an empty one is left to its default.

        Args:
            changes: values that take the place of what was typed.

        Raises:
            UsageError: names every value that is wrong, and what is allowed.
        """
        values = {**self._typed(), "logprobs": ALTERNATIVES, **changes}
        return GenerationSettings.from_values(values, _LABELS).with_seed()

    def _typed(self) -> Mapping[str, Any]:
        numbers = {name: self._option(name) for name in _NUMBERS}
        stop = self.query_one(f"#option-{_STOP}", Input).value
        return {
            "prompt": self.query_one("#prompt", Input).value,
            **{name: typed.number(text) for name, text in numbers.items() if text},
            **({_STOP: (typed.stop_text(stop),)} if stop else {}),
        }

    def _option(self, name: str) -> str:
        return self.query_one(f"#option-{name}", Input).value.strip()

    @on(Input.Submitted)
    def tell_submitted(self, event: Input.Submitted) -> None:
        """Pass on that Enter was pressed in any of the fields."""
        event.stop()
        self.post_message(self.Submitted())
