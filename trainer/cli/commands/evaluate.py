"""How well a trained model predicts text that it was not trained on."""

from __future__ import annotations

import sys
from typing import Any, Literal

import click

from trainer import formats
from trainer.cli.options import checkpoint_option, command, run_id_option
from trainer.cli.output import aligned, note, screen_width
from trainer.cli.session import Session

DOCUMENT = ("split", "loss", "word_perplexity", "bits_per_byte", "words", "tokens")
_CLEAR_LINE = "\r\x1b[K"


@command("eval", "eval --run-id latest --split test")
@run_id_option()
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Which part of the dataset.",
)
@checkpoint_option
def eval_command(
    session: Session, run_id: str, split: Literal["validation", "test"], checkpoint: str
) -> None:
    """Measure a trained model over a whole split.

    Loss in nats a token, perplexity a word, and bits a byte.
    """
    from trainer.inference.client import ModelProcess

    store = session.store
    found = store.resolve(run_id)
    path = store.checkpoint_path(found, checkpoint)
    with (
        ModelProcess() as model,
        model.evaluate(path, data_dir=store.workspace.data_dir, split=split) as job,
    ):
        progress = ProgressNotes()
        for event in job:
            if event["type"] == "progress":
                progress.tell(event)
        progress.end()
    result = {name: event[name] for name in DOCUMENT}
    session.report(result, [f"Run {found}, checkpoint '{checkpoint}':", *result_lines(result)])


class ProgressNotes:
    """Progress on standard error: one line redrawn on a terminal, a line a phase elsewhere."""

    def __init__(self) -> None:
        self._redraws = sys.stderr.isatty()
        self._phase = ""

    def tell(self, event: dict[str, Any]) -> None:
        """Tell how far it has come."""
        if self._redraws:
            note(_CLEAR_LINE + progress_words(event), newline=False)
        elif event["phase"] != self._phase:
            note(event["phase"])
        self._phase = event["phase"]

    def end(self) -> None:
        """Take the redrawn line away."""
        if self._redraws and self._phase:
            note(_CLEAR_LINE, newline=False)


def progress_words(event: dict[str, Any]) -> str:
    """Write ``evaluating: 12 of 340 windows``."""
    whole = "" if event["total"] is None else f" of {event['total']:,}"
    return f"{event['phase']}: {event['done']:,}{whole} {event['unit']}"


def result_lines(result: dict[str, Any]) -> list[str]:
    """Return the figures of an evaluation, a labelled line each."""
    bits = result["bits_per_byte"]
    pairs = [
        ("split", result["split"]),
        ("loss", f"{formats.loss(result['loss'])} nats a token"),
        ("word perplexity", formats.perplexity(result["word_perplexity"])),
        ("bits a byte", formats.ABSENT if bits is None else f"{bits:.4f}"),
        ("words", f"{result['words']:,}"),
        ("tokens", f"{result['tokens']:,}"),
    ]
    return aligned(pairs, screen_width())
