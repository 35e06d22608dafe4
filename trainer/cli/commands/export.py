"""A run in the form that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli.options import command, run_id_option
from trainer.cli.output import note, say
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.export import csv_text, export_csv

_LATER = ("hf", "gguf")


@command("export", "export --run-id latest --format csv --out curves.csv")
@run_id_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", *_LATER]),
    required=True,
    help="csv: the curves, one row a step. This version exports csv only; hf and gguf (the "
    "weights) are refused.",
)
@click.option(
    "--out",
    metavar="PATH",
    required=True,
    help="File; an old one is replaced. '-': standard output.",
)
@click.option("--checkpoint", metavar="latest|best|epoch-N", help="Only for weights; csv has none.")
def export_command(
    session: Session, run_id: str, form: str, out: str, checkpoint: str | None
) -> None:
    """Write a run's curves to a file."""

    if form in _LATER:
        raise UsageError(
            f"--format {form} is not possible yet: this version exports csv only.",
            "The weights are in checkpoints/<run_id>/, as PyTorch files.",
        )
    if checkpoint is not None:
        note("--checkpoint changes nothing: a csv file holds the whole curve.")
    found = session.store.resolve(run_id)
    if out == "-":
        _to_standard_output(session, found)
        return
    rows = export_csv(session.store, found, Path(out))
    session.report(
        {"run_id": found, "format": form, "path": str(Path(out).absolute()), "rows": rows},
        [f"Wrote {rows:,} rows to {out}."],
    )


def _to_standard_output(session: Session, run_id: str) -> None:
    if session.json:
        raise UsageError("--out - and --json do not go together.", "Name a file with --out.")
    with session.store.metrics(run_id) as reader:
        say(csv_text(reader)[0], newline=False)
