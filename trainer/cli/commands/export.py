"""A run in the form that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer import formats
from trainer.cli.options import command, run_id_option
from trainer.cli.output import note, say
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.export import csv_parts, export_csv

if TYPE_CHECKING:
    from trainer.inference.protocol import WeightType

_CURVES = ("csv", "tensorboard")
_TARGETS = {
    "hf": "A model is a folder of files.",
    "gguf": "A GGUF file is written whole, or not at all.",
    "tensorboard": "TensorBoard reads a folder.",
}
"""Why each of these cannot go to standard output."""


@command(
    "export",
    "export --run-id latest --format hf --out my-model",
    "export --run-id latest --format gguf --weights q8_0 --out my-model",
    "export --run-id latest --format csv --out curves.csv",
    "export --run-id latest --format tensorboard --out boards/my-run",
)
@run_id_option()
@click.option(
    "--format",
    "form",
    type=click.Choice(["hf", "gguf", "csv", "tensorboard"]),
    required=True,
    help="hf: the model, as a folder that Transformers opens; gguf: the model, as a file that "
    "llama.cpp opens; csv: the curves, one row a step; tensorboard: the curves and samples, as a "
    "folder that TensorBoard shows.",
)
@click.option(
    "--out",
    metavar="PATH",
    required=True,
    help="hf, tensorboard: a folder that is not there yet. gguf: a file that is not there yet; "
    "csv: a file, an old one is replaced; '-': standard output.",
)
@click.option(
    "--checkpoint",
    metavar="latest|best|epoch-N|step-N",
    help="Which weights; csv and tensorboard have none. [default: latest]",
)
@click.option(
    "--weights",
    type=click.Choice(["f32", "f16", "q8_0"]),
    help="gguf: number format of the matrices. f32: exact; f16: half the size, as good; q8_0: a "
    "quarter of the size, rounded to 8 bits. [default: f16]",
)
def export_command(
    session: Session,
    run_id: str,
    form: str,
    out: str,
    checkpoint: str | None,
    weights: WeightType | None,
) -> None:
    """Write a run's model or its curves for other programs."""
    if out == "-" and form != "csv":
        raise UsageError(
            f"{_TARGETS[form]} It cannot go to standard output.", "Name it with --out."
        )
    _note_unused(form, checkpoint, weights)
    found = session.store.resolve(run_id)
    if form == "csv":
        _export_csv(session, found, out)
    elif form == "tensorboard":
        _export_tensorboard(session, found, out)
    else:
        _export_model(session, found, form, out, checkpoint or "latest", weights or "f16")


def _note_unused(form: str, checkpoint: str | None, weights: str | None) -> None:
    if checkpoint is not None and form in _CURVES:
        note(f"--checkpoint changes nothing: {form} holds the whole curve.")
    if weights is not None and form != "gguf":
        note(f"--weights changes nothing: it is for gguf, not for {form}.")


def _export_model(
    session: Session, run_id: str, form: str, out: str, checkpoint: str, weights: WeightType
) -> None:
    from trainer.export_model import export_gguf, export_hf

    more: dict[str, Any] = {}
    if form == "gguf":
        written = export_gguf(session.store, run_id, checkpoint, Path(out), weights)
        more["weights"] = weights
    else:
        written = export_hf(session.store, run_id, checkpoint, Path(out))
    document = {"run_id": run_id, "format": form, "path": str(written.path)}
    figures = {"parameters": written.parameters, "bytes": written.bytes}
    size = f"{formats.count(written.parameters)} parameters, {formats.size(written.bytes)}"
    session.report(
        {**document, "checkpoint": checkpoint, **more, **figures},
        [f"Wrote the model to {written.path}: {size}."],
    )


def _export_tensorboard(session: Session, run_id: str, out: str) -> None:
    from trainer.export_tensorboard import export_tensorboard

    written = export_tensorboard(session.store, run_id, Path(out))
    document = {"run_id": run_id, "format": "tensorboard", "path": str(written.path)}
    figures = {"steps": written.steps, "bytes": written.bytes}
    session.report(
        {**document, **figures},
        [
            f"Wrote {formats.plural(written.steps, 'step')} to {written.path}.",
            f"Look at them with: tensorboard --logdir {written.path}",
        ],
    )


def _export_csv(session: Session, run_id: str, out: str) -> None:
    if out == "-":
        _to_standard_output(session, run_id)
        return
    path = Path(out).absolute()
    rows = export_csv(session.store, run_id, path)
    session.report(
        {"run_id": run_id, "format": "csv", "path": str(path), "rows": rows},
        [f"Wrote {rows:,} rows to {path}."],
    )


def _to_standard_output(session: Session, run_id: str) -> None:
    if session.json:
        raise UsageError("--out - and --json do not go together.", "Name a file with --out.")
    with session.store.metrics(run_id) as reader:
        for part in csv_parts(reader):
            say(part, newline=False)
