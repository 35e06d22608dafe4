"""Facts, changed settings, checkpoints and events of the shown run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from trainer import formats
from trainer.runs import since_word
from trainer.tui import wording
from trainer.tui.figures_pane import pair_lines
from trainer.tui.live_text import LiveText
from trainer.tui.run_header import note_lines
from trainer.tui.watching import Glimpse


class DetailsPane(VerticalScroll):
    """Everything else that is known of a run."""

    def __init__(self) -> None:
        super().__init__(id="details", classes="pane")

    def compose(self) -> ComposeResult:
        yield LiveText(id="details-text")

    def show(self, glimpse: Glimpse, at: datetime) -> None:
        """Show the details."""
        self.query_one("#details-text", LiveText).say(details_text(glimpse, at))


def details_text(glimpse: Glimpse, at: datetime) -> Text:
    """Write the sections one below the other."""
    run = glimpse.run
    facts = [
        (since_word(run.state), formats.age(run.state.created_at, at)),
        *wording.facts(run.state),
    ]
    facts.append(("folder", str(run.paths.folder)))
    notes = note_lines(run)
    sections = [
        *([_section("Trouble and notes", notes)] if notes else []),
        _section("Facts", [pair_lines(facts)]),
        _section(
            "Checkpoints",
            (Text(wording.checkpoint_words(checkpoint)) for checkpoint in glimpse.checkpoints),
        ),
        _section("Settings other than the defaults", map(Text, glimpse.settings)),
        _section("Events, newest first", map(_event_line, reversed(glimpse.events))),
    ]
    return Text("\n\n").join(sections)


def _section(title: str, lines: Iterable[Text]) -> Text:
    body = list(lines) or [Text("none", "dim")]
    return Text("\n").join([Text(title, "bold cyan"), *body])


def _event_line(event: dict[str, Any]) -> Text:
    style = {"warning": "yellow", "error": "red"}.get(event["level"], "")
    time = formats.parse_time(event["at"]).strftime("%H:%M:%S")
    return Text.assemble((f"{time} ", "dim"), (event["message"], style))
