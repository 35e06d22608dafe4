"""How likely a trained model finds a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainer.cli.commands.evaluate import ProgressNotes
from trainer.cli.options import checkpoint_option, command, run_id_option
from trainer.cli.output import aligned, screen_width
from trainer.cli.reading import (
    SCORED,
    Number,
    awaits_typing,
    file_text,
    option_text,
    piped_text,
)
from trainer.cli.session import Session
from trainer.cli.tokens import LEGEND, interlinear, listed
from trainer.errors import UsageError
from trainer.inference.request import checked_score, scored_text
from trainer.inference.telling import score_figures

FIGURES = ("perplexity", "word_perplexity", "bits_per_byte", "loss", "words", "bytes")


@command(
    "score",
    "score --run-id latest --file chapter.txt",
    "score --run-id latest --file chapter.txt --tokens",
    "score --run-id latest --json < chapter.txt",
)
@run_id_option()
@click.option("--text", metavar="TEXT", help="The text; '-' reads standard input.")
@click.option("--file", "file_name", metavar="FILE", help="The text from a file.")
@checkpoint_option
@click.option("--tokens", "each", is_flag=True, help="Show each token with its surprise.")
@click.option(
    "--alternatives",
    type=Number(),
    metavar="N",
    default="0",
    help="Show a token a line, with the N likeliest in its place.",
)
def score_command(
    session: Session,
    run_id: str,
    text: str | None,
    file_name: str | None,
    checkpoint: str,
    each: bool,
    alternatives: Any,
) -> None:
    """Measure how well a model predicts a text of yours.

    Without --text and --file the text comes from a pipe. One line break at its end is left out.

    The text is read as a document of its own, behind an end-of-text mark, so how it begins (with
    a space or not) matters, and the figures of a short text are rough. An echo of the API at /v1
    puts no mark first: its logprobs differ.

    With --json, --tokens adds "logprobs", one a token.
    """
    given = read_text(text, file_name)
    checked_score(scored_text(given), alternatives)
    found = session.store.resolve(run_id)
    path = session.store.checkpoint_path(found, checkpoint)
    with session.model() as model, model.score(path, given, alternatives=alternatives) as job:
        progress = ProgressNotes()
        for event in job:
            if event["type"] == "progress":
                progress.tell(event)
        progress.end()
    of_tokens = {"logprobs": event["tokens"]} if each or alternatives else {}
    figures = {name: event[name] for name in FIGURES} | {"tokens": len(event["tokens"])}
    told = {**figures, "run_id": found, "checkpoint": checkpoint, **of_tokens}
    session.report(
        told, score_lines(event, each=each, alternatives=alternatives, width=screen_width())
    )


def read_text(text: str | None, file_name: str | None) -> str:
    """Return the text to score.

    Raises:
        UsageError: there is none, or it cannot be read, or it is given twice.
    """
    if text is not None and file_name is not None:
        raise UsageError("--text and --file do not go together.", "Give one of them.")
    if text is not None:
        given = option_text(text, SCORED)
    elif file_name is not None:
        given = file_text(file_name, SCORED)
    else:
        given = "" if awaits_typing() else piped_text(SCORED)
    if not given:
        raise UsageError(
            "There is no text.",
            "For example: llm-trainer score --run-id latest --file chapter.txt",
        )
    return given


def score_lines(
    score: Mapping[str, Any], *, each: bool, alternatives: int, width: int
) -> list[str]:
    """Write a score for people: its tokens where they were asked for, then the figures."""
    tokens: list[str] = []
    if alternatives:
        tokens = [*listed(score["tokens"], width), ""]
    elif each:
        tokens = [*interlinear(score["tokens"], width), "", LEGEND, ""]
    figures = score_figures(score)
    room = max(len(figure.value) for figure in figures if figure.meaning)
    pairs = [(one.label, f"{one.value:<{room}}  {one.meaning}") for one in figures]
    return [*tokens, *aligned(pairs, width)]
