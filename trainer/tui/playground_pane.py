"""The playground: a prompt, and what the shown run's model makes of it, as it is written."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Label

from trainer.config import DEFAULT_PROMPTS, parse_value
from trainer.errors import TrainerError
from trainer.inference.request import GenerationSettings
from trainer.tui.live_text import LiveText

REDRAW_SECONDS = 0.5
NOTHING_YET = (
    "Press Enter in the prompt, or g anywhere, and the model goes on from it. "
    "A small model trained on little text writes nonsense with style."
)
_CHECKPOINT = "checkpoint"
_SETTINGS = {
    "max_new_tokens": "tokens",
    "temperature": "temperature",
    "top_k": "top-k",
    "seed": "seed",
}
"""Settings of a generation and their labels."""
_DEFAULTS = {
    _CHECKPOINT: "latest",
    "max_new_tokens": str(GenerationSettings().max_new_tokens),
    "temperature": str(GenerationSettings().temperature),
    "top_k": "all",
    "seed": "random",
}
"""What an option that is left empty means."""


class PlaygroundPane(Vertical):
    """Prompt and settings above, the text below."""

    class PromptSubmitted(Message):
        """Enter was pressed: write on from the prompt."""

    def __init__(self) -> None:
        super().__init__(id="playground", classes="pane")
        self._prompt = ""
        self._written: list[str] = []
        self._drawn = -1

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("prompt")
            yield Input(DEFAULT_PROMPTS[0], id="prompt", compact=True, select_on_focus=False)
        with Horizontal(classes="options"):
            for name, label in ((_CHECKPOINT, "from"), *_SETTINGS.items()):
                yield Label(label)
                yield Input(id=f"option-{name}", compact=True, placeholder=_DEFAULTS[name])
        yield LiveText(Text(NOTHING_YET, "dim"), id="writing-status")
        with VerticalScroll(id="written-scroll"):
            yield LiveText(id="written")

    def on_mount(self) -> None:
        self.set_interval(REDRAW_SECONDS, self._redraw)

    def edit_prompt(self) -> None:
        """Put the cursor into the prompt."""
        self.query_one("#prompt", Input).focus()

    @property
    def checkpoint(self) -> str:
        """Which checkpoint writes."""
        return self._option(_CHECKPOINT) or _DEFAULTS[_CHECKPOINT]

    def settings(self) -> GenerationSettings:
        """Read the prompt and the settings; an empty one is left to its default.

        Raises:
            UsageError: names every value that is wrong, and what is allowed.
        """
        values = {name: parse_value(self._option(name)) for name in _SETTINGS if self._option(name)}
        prompt = self.query_one("#prompt", Input).value
        return GenerationSettings.from_values({"prompt": prompt, **values})

    def _option(self, name: str) -> str:
        return self.query_one(f"#option-{name}", Input).value.strip()

    @on(Input.Submitted)
    def tell_submitted(self, event: Input.Submitted) -> None:
        """Pass on that Enter was pressed in any of the fields."""
        event.stop()
        self.post_message(self.PromptSubmitted())

    # ------------------------------------------------------------------ what is written

    def begin(self, title: str, prompt: str) -> None:
        """Start over with another prompt."""
        self._prompt, self._written, self._drawn = prompt, [], -1
        self._tell(f"Loading the model of {title} …  Esc stops", "italic")
        self._redraw()

    def append(self, text: str) -> None:
        """Take what was written since; it is drawn at the next redraw."""
        if not self._written:
            self._tell("Writing …  Esc stops", "italic")
        self._written.append(text)

    def finish(self, words: str) -> None:
        """Show the rest and how it ended."""
        self._redraw()
        self._tell(words, "dim")

    def fail(self, error: TrainerError) -> None:
        """Say why nothing more comes; what came stays."""
        self._redraw()
        self._tell(str(error), "red")

    def _tell(self, words: str, style: str) -> None:
        self.query_one("#writing-status", LiveText).say(Text.assemble((words, style)))

    def _redraw(self) -> None:
        if not self._prompt or self._drawn == len(self._written):
            return
        self._drawn = len(self._written)
        text = Text.assemble((self._prompt, "bold"), "".join(self._written))
        self.query_one("#written", LiveText).say(text)
        self.query_one("#written-scroll").scroll_end(animate=False)
