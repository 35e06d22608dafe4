"""A run in the form that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from trainer import formats
from trainer.cli.options import command, run_id_option
from trainer.cli.output import note, say
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.export import csv_parts, export_csv


@command(
    "export",
    "export --run-id latest --format hf --out my-model",
    "export --run-id latest --format csv --out curves.csv",
)
@run_id_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["hf", "gguf", "csv"]),
    required=True,
    help="hf: the model, as a folder that Transformers opens; csv: the curves, one row a step. "
    "This version refuses gguf.",
)
@click.option(
    "--out",
    metavar="PATH",
    required=True,
    help="hf: a folder that is not there yet. csv: a file, an old one is replaced; '-': standard "
    "output.",
)
@click.option(
    "--checkpoint",
    metavar="latest|best|epoch-N|step-N",
    help="Which weights; csv has none. [default: latest]",
)
def export_command(
    session: Session, run_id: str, form: str, out: str, checkpoint: str | None
) -> None:
    """Write a run's model or its curves for other programs."""
    if form == "gguf":
        raise UsageError(
            "--format gguf is not possible yet: this version exports hf and csv.",
            "--format hf writes the weights as safetensors.",
        )
    found = session.store.resolve(run_id)
    if form == "hf":
        _export_hf(session, found, out, checkpoint or "latest")
        return
    if checkpoint is not None:
        note("--checkpoint changes nothing: a csv file holds the whole curve.")
    _export_csv(session, found, out)


def _export_hf(session: Session, run_id: str, out: str, checkpoint: str) -> None:
    from trainer.export_hf import export_hf

    if out == "-":
        raise UsageError("A model is a folder of files.", "Name the folder with --out.")
    written = export_hf(session.store, run_id, checkpoint, Path(out))
    document = {"run_id": run_id, "format": "hf", "path": str(written.folder)}
    figures = {"parameters": written.parameters, "bytes": written.bytes}
    size = f"{formats.count(written.parameters)} parameters, {formats.size(written.bytes)}"
    session.report(
        {**document, "checkpoint": checkpoint, **figures}, [f"Wrote the model to {out}: {size}."]
    )


def _export_csv(session: Session, run_id: str, out: str) -> None:
    if out == "-":
        _to_standard_output(session, run_id)
        return
    rows = export_csv(session.store, run_id, Path(out))
    session.report(
        {"run_id": run_id, "format": "csv", "path": str(Path(out).absolute()), "rows": rows},
        [f"Wrote {rows:,} rows to {out}."],
    )


def _to_standard_output(session: Session, run_id: str) -> None:
    if session.json:
        raise UsageError("--out - and --json do not go together.", "Name a file with --out.")
    with session.store.metrics(run_id) as reader:
        for part in csv_parts(reader):
            say(part, newline=False)
