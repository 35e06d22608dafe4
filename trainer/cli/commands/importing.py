"""A model from outside as a run to go on from."""

from __future__ import annotations

from pathlib import Path

import click

from trainer import config as configuration
from trainer import formats
from trainer.cli.commands.evaluate import ProgressNotes
from trainer.cli.options import command
from trainer.cli.output import commands_to_try, note
from trainer.cli.session import PROGRAM, Session
from trainer.import_hf import Imported, Order, import_hf


@command(
    "import",
    "import hf my-model --name again",
    "import hf my-model --set data.dataset_name=notes.txt",
)
@click.argument("form", metavar="hf", type=click.Choice(["hf"]))
@click.argument("path", metavar="PATH")
@click.option("--name", metavar="N", help="Name of the run.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="Tag of the run; may be repeated.")
@click.option(
    "--set",
    "assignments",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    help="A setting with which the run goes on, such as its text; may be repeated.",
)
def import_command(
    session: Session,
    form: str,
    path: str,
    name: str | None,
    tags: tuple[str, ...],
    assignments: tuple[str, ...],
) -> None:
    """Make a run of a model in a folder, as a start to go on from.

    The folder is one that 'export --format hf' has written, or Transformers for the same
    architecture: dense Qwen3 with tied embeddings, in safetensors, with a byte-level BPE
    tokenizer. The run is complete at step 0; 'resume --more-epochs' trains it on.
    """
    progress = ProgressNotes()
    order = Order(
        name=name,
        tags=tags,
        settings=configuration.assignments(assignments).values,
        command=[PROGRAM, *session.arguments],
    )
    try:
        made = import_hf(session.store, Path(path), order, progress.tell)
    finally:
        progress.end()
    for told in made.notices:
        note(told)
    session.report(_document(made, form), _lines(session, made))


def _document(made: Imported, form: str) -> dict[str, object]:
    return {
        "run_id": made.run_id,
        "format": form,
        "path": str(made.folder),
        "checkpoint": "latest",
        "parameters": made.parameters,
        "dataset": made.dataset,
        "weights_sha256": made.weights_sha256,
    }


def _lines(session: Session, made: Imported) -> list[str]:
    text = f"; its text is {made.dataset}" if made.dataset else ""
    first = f"Run {made.run_id}: {formats.count(made.parameters)} parameters{text}."
    return [
        first,
        *commands_to_try(
            [
                ("write", session.command(f"generate --run-id {made.run_id} --prompt 'The'")),
                ("go on", session.command(f"resume --run-id {made.run_id} --more-epochs 1")),
            ]
        ),
    ]
