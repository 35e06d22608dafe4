"""Keeping order: what is said about a run, and runs that are no longer wanted."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from trainer import formats
from trainer.cli.options import command, run_id_option
from trainer.cli.output import commands_to_try
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.runs import Run


@command(
    "annotate",
    "annotate --run-id latest --name 'first try' --tag baseline",
    "annotate --run-id latest --pin-checkpoint best",
)
@run_id_option()
@click.option("--name", metavar="N", help="New name; '' takes the name away.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="Tag to add; may be repeated.")
@click.option("--untag", "untags", metavar="T", multiple=True, help="Tag to remove.")
@click.option("--notes", metavar="TEXT", help="New notes; '' takes them away.")
@click.option("--archive/--unarchive", "archived", default=None, help="Hide from the list, or not.")
@click.option("--pin/--unpin", "pinned", default=None, help="Keep at the top of the list, or not.")
@click.option(
    "--pin-checkpoint",
    "pins",
    metavar="NAME",
    multiple=True,
    help="Keep this checkpoint for good, as step-N; may be repeated.",
)
@click.option(
    "--unpin-checkpoint",
    "unpins",
    metavar="step-N",
    multiple=True,
    help="Let go of a pinned checkpoint; may be repeated.",
)
def annotate_command(
    session: Session,
    run_id: str,
    name: str | None,
    tags: tuple[str, ...],
    untags: tuple[str, ...],
    notes: str | None,
    archived: bool | None,
    pinned: bool | None,
    pins: tuple[str, ...],
    unpins: tuple[str, ...],
) -> None:
    """Change what is said about a run, and which of its checkpoints are kept for good."""
    said = (name, notes, archived, pinned)
    if all(value is None for value in said) and not (tags or untags or pins or unpins):
        raise UsageError("There is nothing to change.", "Give --name, --tag, --notes or another.")
    found = session.store.resolve(run_id)
    lines = _pin_and_unpin(session, found, pins, unpins)
    run = session.store.annotate(
        found,
        name=name,
        add_tags=tags,
        remove_tags=untags,
        notes=notes,
        pinned=pinned,
        archived=archived,
    )
    session.report(run.as_dict(), [*lines, f"Run {run.run_id} is now {described(run)}."])


def _pin_and_unpin(
    session: Session, run_id: str, pins: Sequence[str], unpins: Sequence[str]
) -> list[str]:
    lines = []
    for name in pins:
        kept_as = session.store.pin_checkpoint(run_id, name)
        lines.append(f"The checkpoint '{name}' is kept for good as '{kept_as}'.")
    for name in unpins:
        session.store.unpin_checkpoint(run_id, name)
        lines.append(f"The checkpoint '{name}' is not kept any more.")
    return lines


def described(run: Run) -> str:
    """Tell what is said about a run."""
    notes = run.annotations
    parts = [f"named '{notes.name}'" if notes.name else "without a name"]
    if notes.tags:
        parts.append("tagged " + ", ".join(notes.tags))
    parts += [word for word, on in (("pinned", notes.pinned), ("archived", notes.archived)) if on]
    if notes.notes:
        parts.append(f"with notes ({formats.count(len(notes.notes))} characters)")
    return ", ".join(parts)


@command("delete", "delete --run-id 20260102-0304")
@run_id_option()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--undo", is_flag=True, help="Bring a deleted run back (give its whole run id).")
def delete_command(session: Session, run_id: str, yes: bool, undo: bool) -> None:
    """Delete a run and its checkpoints."""
    if undo:
        run = session.store.restore(run_id)
        session.report(run.as_dict(), [f"Run {run.run_id} is back."])
        return
    run = session.run(run_id)
    if not yes and not run.active:
        _confirm(session, run)
    session.store.delete(run.run_id)
    back = session.command(f"delete --run-id {run.run_id} --undo")
    session.report(
        {"run_id": run.run_id, "deleted": True},
        [f"Deleted run {run.run_id}.", *commands_to_try([("bring it back", back)])],
    )


def _confirm(session: Session, run: Run) -> None:
    """Ask a person; without one, ``--yes`` has to say it.

    Raises:
        UsageError: nobody can be asked.
    """
    if session.json or not can_ask():
        raise UsageError(
            f"Deleting run {run.run_id} has to be confirmed, and there is no terminal to ask on.",
            "Add --yes.",
        )
    checkpoints = session.store.checkpoints(run.run_id)
    size = formats.size(sum(checkpoint.bytes for checkpoint in checkpoints))
    named = f" ('{run.annotations.name}')" if run.annotations.name else ""
    click.confirm(
        f"Delete run {run.run_id}{named} and its {len(checkpoints)} checkpoints ({size})?",
        abort=True,
        err=True,
    )


def can_ask() -> bool:
    """Say whether a person sits at a terminal."""
    return sys.stdin.isatty()
