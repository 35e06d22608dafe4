"""What the templates know: filters, signs and the facts that stand on every page."""

from __future__ import annotations

import shlex
from typing import Any

from flask.blueprints import BlueprintSetupState

from trainer import __version__, formats
from trainer.queueing import place_words
from trainer.runs import since_word, status_word
from webapp import forms, presenting, services, tinting
from webapp.pages.blueprint import pages
from webapp.security import HTMX_URL
from webapp.shortcuts import SHORTCUTS

HTMX_INTEGRITY = "sha384-2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg"


@pages.record_once
def _teach_templates(state: BlueprintSetupState) -> None:
    environment = state.app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals.update(
        looks=presenting.STATUS_LOOKS,
        shortcuts=SHORTCUTS,
        version=__version__,
        htmx={"url": HTMX_URL, "integrity": HTMX_INTEGRITY},
    )
    environment.filters.update(
        formatted=lambda value, name: presenting.FORMATS[name](value),
        age=formats.age,
        countdown=formats.countdown,
        silence=formats.silence,
        paused=formats.paused,
        progress=lambda run: presenting.percent_done(run.state),
        percent_words=presenting.percent_words,
        phase_words=lambda run: presenting.phase_sentence(run.state),
        steps_words=lambda run: presenting.steps_words(run.state),
        since_word=since_word,
        first_checkpoint_words=presenting.first_checkpoint_words,
        hint_words=presenting.hint_words,
        status_word=status_word,
        status_look=presenting.status_look,
        row_note=presenting.row_note,
        kept_for=formats.kept_for,
        place_words=lambda run: place_words(run.state.queue),
        time_cell=lambda run: presenting.time_cell(run.state),
        moment_words=presenting.moment_words,
        sparkline=presenting.sparkline,
        sparkline_data=presenting.sparkline_data,
        event_words=presenting.event_words,
        log_level=presenting.log_level,
        log_parts=presenting.log_parts,
        clipped=presenting.clipped,
        cells=tinting.cells,
        shell_line=shlex.join,
        setting_label=forms.label,
        section_title=forms.section_title,
    )


@pages.app_context_processor
def _workspace() -> dict[str, Any]:
    return {"home": services().store.workspace.home}
