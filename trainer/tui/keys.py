"""The one table of keys: bindings, footer, help and command palette are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

from trainer.tui.pane_tabs import PANES


@dataclass(frozen=True)
class Key:
    """One key of the main screen.

    Attributes:
        key: Textual's name of the key.
        action: what it does.
        command: its name in the help and the palette.
        explanation: a sentence for both.
        section: where the help lists it.
        label: its word in the footer; empty: not in the footer.
        sign: what is printed on the key, where that is not its name.
    """

    key: str
    action: str
    command: str
    explanation: str
    section: str
    label: str = ""
    sign: str = ""

    @property
    def shown_as(self) -> str:
        """What is printed on the key."""
        return self.sign or self.key

    def binding(self) -> Binding:
        """Return the key as Textual wants it."""
        return Binding(
            self.key,
            self.action,
            self.label,
            show=bool(self.label),
            key_display=self.shown_as,
            tooltip=self.explanation,
        )


_RUNS = (
    Key("n", "app.new_run", "New run", "Start a run: choose settings in a form.", "Runs", "new"),
    Key("u", "app.resume", "Resume", "Go on with a run that has ended.", "Runs", "resume"),
    Key("s", "app.stop", "Stop", "Save a checkpoint and end, or end at once.", "Runs", "stop"),
    Key("a", "app.start_now", "Start now", "Start a queued run before its turn.", "Runs"),
    Key("g", "app.generate", "Generate", "Let the model write on.", "Runs", "generate"),
    Key(
        "p",
        "app.edit_prompt",
        "Edit prompt",
        "Write what the model goes on from.",
        "Runs",
        "prompt",
    ),
    Key("e", "app.score", "Score a text", "See how likely the model finds a text.", "Runs"),
    Key("slash", "filter", "Filter", "Show only runs with these words.", "Runs", "filter", "/"),
    Key("t", "app.tag", "Name and tags", "Change the run's name and tags.", "Runs", "tag"),
    Key("x,delete", "app.delete", "Delete", "Put the run aside.", "Runs", "delete", "x"),
    Key(
        "c",
        "compare",
        "Compare",
        "Draw this run's curves under the others'; again: no more.",
        "Runs",
    ),
    Key("z", "app.undo", "Undo delete", "Bring back what was deleted.", "Runs"),
)
_PLAYGROUND = (
    Key(
        "ctrl+r",
        "app.write_again(False)",
        "Write again",
        "The last text once more, with the same seed.",
        "Playground",
        sign="Ctrl+R",
    ),
    Key(
        "ctrl+n",
        "app.write_again(True)",
        "Write another",
        "The same, with a new seed.",
        "Playground",
        sign="Ctrl+N",
    ),
    Key(
        "ctrl+o",
        "app.write_on",
        "Write on",
        "Go on from the end of the text.",
        "Playground",
        sign="Ctrl+O",
    ),
    Key(
        "ctrl+t",
        "app.tint",
        "Tint tokens",
        "Tint each token by how much it surprised the model, or no more.",
        "Playground",
        sign="Ctrl+T",
    ),
)
_NEXT_RUN = (
    Key(
        "left_square_bracket",
        "app.change_epochs(-1)",
        "Fewer epochs",
        "One epoch less for the next run; below one, as configured.",
        "Next run",
        sign="[",
    ),
    Key(
        "right_square_bracket",
        "app.change_epochs(1)",
        "More epochs",
        "One epoch more for the next run.",
        "Next run",
        sign="]",
    ),
    Key("d", "app.choose_device", "Device", "Choose what the next run trains on.", "Next run"),
)
_VIEW = (
    *(
        Key(str(digit), f"show_pane('{pane}')", f"Show {pane}", f"Show the {pane} pane.", "View")
        for digit, pane in enumerate(PANES, 1)
    ),
    Key("escape", "app.leave", "Back", "Stop writing, or go one step back.", "View", "", "Esc"),
)
_PROGRAM = (
    Key("question_mark", "app.help", "Help", "Show this help.", "Program", "help", "?"),
    Key("q", "app.quit", "Quit", "Leave; training goes on.", "Program", "quit"),
)

KEYS = (*_RUNS, *_PLAYGROUND, *_NEXT_RUN, *_VIEW, *_PROGRAM)
"""Every key of the main screen."""

ALWAYS = (
    ("Enter", "Give the run the whole screen; Esc goes back."),
    ("Tab", "Go to the next part of the screen."),
    ("↓  ← →", "In the playground: to the text, and from token to token."),
    ("Ctrl+P", "Find a command or a theme by name."),
)
"""Keys that belong to no action of ours, for the help."""


def bindings() -> list[Binding]:
    """Return the bindings of the main screen."""
    return [key.binding() for key in KEYS]
