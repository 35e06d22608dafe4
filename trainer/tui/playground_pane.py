"""The playground: a prompt, and what the shown run's model makes of it, as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import DescendantBlur, DescendantFocus

from trainer.errors import TrainerError
from trainer.inference.client import ModelClient
from trainer.inference.request import GenerationSettings
from trainer.inference.telling import report_words, score_words, unread_prompt_words
from trainer.runs import Run, RunStore
from trainer.tui.live_text import LiveText
from trainer.tui.paper import Paper, Passage, Token, token_words
from trainer.tui.writing import Scoring, Task, TaskFailed, TaskTold, Warming, Writing
from trainer.tui.writing_form import WritingForm
from trainer.tui.written_text import WrittenText

REDRAW_SECONDS = 0.5
NOTHING_YET = (
    "Press Enter in the prompt, or g anywhere, and the model goes on from it. "
    "A small model trained on little text writes nonsense with style."
)
KEYS_WORDS = "^R again  ^N new seed  ^O go on  ^T tint"


class PlaygroundPane(Vertical):
    """Prompt and settings above, the text below.

    Args:
        model: writes and scores, in threads of the pane's own.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("down", "look_at_tokens", show=False)]

    def __init__(self, store: RunStore, model: ModelClient) -> None:
        super().__init__(id="playground", classes="pane")
        self._store, self._model = store, model
        self._under_way: Task | None = None
        self._last: Writing | None = None
        self._paper = Paper()
        self._changed = False
        self._told = Text(NOTHING_YET, "dim")
        self._concluded = ""
        self._token: Token | None = None

    def compose(self) -> ComposeResult:
        yield WritingForm()
        yield LiveText(self._told, id="writing-status")
        yield WrittenText()

    def on_mount(self) -> None:
        self.set_interval(REDRAW_SECONDS, self._redraw)

    def edit_prompt(self, run: Run) -> None:
        """Put the cursor into the prompt, and have a run's model ready when it is written."""
        self._form.edit_prompt()
        self._perform(Warming(run.run_id, self._form.checkpoint))

    # ------------------------------------------------------------------ what can be asked

    def write(self, run: Run) -> None:
        """Go on from the prompt with a run's model, in place of what is under way."""
        if (settings := self._settings()) is not None:
            paper = Paper(settings.prompt, [Passage()], self._model_of(run))
            self._begin(Writing(run.run_id, self._form.checkpoint, settings), paper)

    def write_again(self, run: Run, *, new_seed: bool) -> None:
        """Write the last text once more, with the same seed or a new one."""
        last = self._last
        if last is None:
            self.write(run)
            return
        settings = last.settings
        if new_seed:
            settings = msgspec.structs.replace(settings, seed=None).with_seed()
        passages = [*self._paper.passages[:-1], Passage()]
        paper = Paper(self._paper.prompt, passages, self._paper.model)
        self._begin(Writing(last.run_id, last.checkpoint, settings), paper)

    def write_on(self, run: Run) -> None:
        """Go on from the end of the text that is shown."""
        whole = self._paper.text
        if not whole:
            self.write(run)
        elif (settings := self._settings(prompt=whole)) is not None:
            passages = [*self._paper.passages, Passage()]
            paper = Paper(self._paper.prompt, passages, self._model_of(run))
            self._begin(Writing(run.run_id, self._form.checkpoint, settings), paper)

    def score(self, run: Run, text: str) -> None:
        """Look at each token of a text with a run's model."""
        task = Scoring(run.run_id, self._form.checkpoint, text)
        self._begin(task, Paper("", [Passage(text)], self._model_of(run)))

    def stop(self) -> bool:
        """Stop what is under way; return False when nothing is."""
        if self._under_way is None:
            return False
        self._under_way.cancel()
        return True

    def toggle_tint(self) -> None:
        """Tint the tokens by their surprise, or no more."""
        self.query_one(WrittenText).toggle_tint()

    @property
    def _form(self) -> WritingForm:
        return self.query_one(WritingForm)

    def _model_of(self, run: Run) -> str:
        return f"{run.title}, {self._form.checkpoint}"

    def _settings(self, **changes: str) -> GenerationSettings | None:
        """Read the form, or say what is wrong in it."""
        try:
            return self._form.settings(**changes)
        except TrainerError as error:
            self._tell(str(error), "red")
            return None

    # ------------------------------------------------------------------ what comes of it

    def _begin(self, task: Task, paper: Paper) -> None:
        self.stop()
        self._under_way, self._paper, self._changed = task, paper, True
        self._last = task if isinstance(task, Writing) else None
        self._tell("Loading the model …  Esc stops", "italic")
        self._redraw()
        if not self.has_focus_within:
            self.screen.set_focus(self.query_one(WrittenText))
        self._perform(task)

    @work(thread=True, group="model")
    def _perform(self, task: Task) -> None:
        task.perform(self._store, self._model, self.post_message)

    @on(TaskTold)
    def take(self, event: TaskTold) -> None:
        """Take what comes of a task, unless another one has begun since."""
        event.stop()
        if event.task is not self._under_way:
            return
        told = event.event
        if told["type"] == "token":
            self._append(told["text"], told.get("logprobs", []))
        elif told["type"] == "progress":
            self._tell(f"{told['phase'].capitalize()} …  Esc stops", "italic")
        elif isinstance(event.task, Writing):
            self._conclude(_writing_words(told))
        else:
            self._paper.passages[-1].tokens = told["tokens"]
            self.query_one(WrittenText).tinted = True
            self._conclude(score_words(told))

    @on(TaskFailed)
    def tell_failure(self, event: TaskFailed) -> None:
        """Say why nothing more comes; what came stays."""
        event.stop()
        if event.task is self._under_way:
            self._under_way, self._changed = None, True
            self._redraw()
            self._tell(str(event.error), "red")

    def _append(self, text: str, tokens: Sequence[Token]) -> None:
        """Take what was written since; it is drawn at the next redraw."""
        passage = self._paper.passages[-1]
        if not passage.text:
            self._tell("Writing …  Esc stops", "italic")
        passage.text += text
        passage.tokens += tokens
        self._changed = True

    def _conclude(self, words: str) -> None:
        self._under_way, self._changed = None, True
        self._redraw()
        self._concluded = words
        self._tell_conclusion()

    def _tell_conclusion(self) -> None:
        """Say what came of a task, and what the keys do where the focus is now."""
        keys = f"{KEYS_WORDS}{self._cursor_words()}"
        self._told = Text.assemble((self._concluded, "dim"), "\n", keys)
        self._status.say(token_words(self._token) if self._token else self._told)

    def _cursor_words(self) -> str:
        if self.query_one(WrittenText).has_focus:
            return "  ← → look at tokens"
        return "  ↓ look at tokens" if self.has_focus_within else ""

    def _tell(self, words: str, style: str) -> None:
        self._concluded = ""
        self._told = Text(words, style)
        self._status.say(self._told)

    @property
    def _status(self) -> LiveText:
        return self.query_one("#writing-status", LiveText)

    def _redraw(self) -> None:
        if self._changed:
            self._changed = False
            self.query_one(WrittenText).show(self._paper)

    # ------------------------------------------------------------------ the cursor

    def action_look_at_tokens(self) -> None:
        """Put the cursor into the text."""
        self.query_one(WrittenText).look_at_tokens()

    @on(DescendantFocus)
    @on(DescendantBlur)
    def tell_keys(self) -> None:
        """Say what the keys do now, where a text is at its end."""
        if self._concluded:
            self._tell_conclusion()

    @on(WrittenText.TokenChosen)
    def tell_token(self, event: WrittenText.TokenChosen) -> None:
        """Say how likely the token under the cursor was."""
        event.stop()
        self._token = event.token
        self._status.say(token_words(self._token) if self._token else self._told)


def _writing_words(done: Mapping[str, Any]) -> str:
    words = (report_words(done, done["tokens_per_second"]), unread_prompt_words(done))
    return " · ".join(filter(None, words))
