"""Keeping order: what is said about a run, and runs that are no longer wanted."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import click

from trainer import formats
from trainer.cli.describe import deleted_lines
from trainer.cli.options import command, run_id_option
from trainer.cli.output import commands_to_try, screen_width
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.runs import Run
from trainer.store.checkpoints import list_checkpoints

_SAID = ("name", "notes", "archived", "pinned")


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
    changed = {field for field, value in zip(_SAID, said, strict=True) if value is not None}
    words = described(run, changed | ({"tags"} if tags or untags else set()))
    session.report(
        run.as_dict(), [*lines, *([f"Run {run.run_id} is now {words}."] if words else [])]
    )


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


def described(run: Run, changed: Collection[str]) -> str:
    """Tell what was changed about a run: those of its annotations that are named."""
    said = run.annotations
    length = formats.count(len(said.notes))
    words = {
        "name": f"named '{said.name}'" if said.name else "without a name",
        "tags": f"tagged {', '.join(said.tags)}" if said.tags else "without tags",
        "pinned": "pinned" if said.pinned else "not pinned",
        "archived": "archived" if said.archived else "not archived",
        "notes": f"with notes ({length} characters)" if said.notes else "without notes",
    }
    return ", ".join(word for field, word in words.items() if field in changed)


@command("delete", "delete --run-id 20260102-0304", "delete --list")
@run_id_option(required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--undo", is_flag=True, help="Bring a deleted run back (give its whole run id).")
@click.option("--list", "listed", is_flag=True, help="Show what can be brought back, until when.")
@click.option("--for-good", is_flag=True, help="Remove a deleted run now (give its whole run id).")
def delete_command(
    session: Session, run_id: str | None, yes: bool, undo: bool, listed: bool, for_good: bool
) -> None:
    """Delete a run and its checkpoints, or what a deleted run folder has left of them.

    A deleted run can be brought back for a day. Then it goes for good, when the next run is
    deleted or the dashboard starts.
    """
    if [listed, undo, for_good].count(True) > 1 or listed == (run_id is not None):
        raise UsageError("Give --run-id, alone or with --undo or --for-good, or --list alone.")
    if run_id is None:
        _list_deleted(session)
    elif undo:
        _bring_back(session, run_id)
    elif for_good:
        _remove_for_good(session, run_id, yes)
    else:
        _delete(session, run_id, yes)


def _delete(session: Session, run_id: str, yes: bool) -> None:
    found = session.store.resolve(run_id, orphaned=True)
    orphaned = found in session.store.workspace.orphaned_ids()
    run = None if orphaned else session.store.get(found)
    if not yes and (run is None or not run.active):
        _confirm(session, found, run)
    session.store.delete(found)
    back = session.command(f"delete --run-id {found} --undo")
    session.report(
        {"run_id": found, "deleted": True},
        [
            f"Deleted the checkpoints of run {found}." if orphaned else f"Deleted run {found}.",
            *commands_to_try([("bring them back" if orphaned else "bring it back", back)]),
        ],
    )


def _bring_back(session: Session, run_id: str) -> None:
    run = session.store.restore(run_id)
    if run is None:
        words = f"The checkpoints of run {run_id} are back; its folder was gone before."
        session.report({"run_id": run_id}, [words])
    else:
        session.report(run.as_dict(), [f"Run {run.run_id} is back."])


def _list_deleted(session: Session) -> None:
    deleted = session.store.deleted()
    lines = deleted_lines(deleted, screen_width()) or ["No deleted run can be brought back."]
    if deleted:
        back = session.command(f"delete --run-id {deleted[0].run_id} --undo")
        lines += commands_to_try([("bring one back", back)])
    session.report({"deleted": [run.as_dict() for run in deleted]}, lines)


def _remove_for_good(session: Session, run_id: str, yes: bool) -> None:
    if not yes:
        if session.json or not can_ask():
            raise UsageError(
                f"Removing run {run_id} for good has to be confirmed, and there is no terminal to "
                "ask on.",
                "Add --yes.",
            )
        click.confirm(f"Remove run {run_id} for good?", abort=True, err=True)
    session.store.remove_for_good(run_id)
    session.report({"run_id": run_id, "removed": True}, [f"Run {run_id} is gone for good."])


def _confirm(session: Session, run_id: str, run: Run | None) -> None:
    """Ask a person; without one, ``--yes`` has to say it.

    Args:
        run: None where only its checkpoints are left.

    Raises:
        UsageError: nobody can be asked.
    """
    if session.json or not can_ask():
        raise UsageError(
            f"Deleting run {run_id} has to be confirmed, and there is no terminal to ask on.",
            "Add --yes.",
        )
    checkpoints = list_checkpoints(session.store.workspace.paths(run_id).checkpoints)
    size = formats.size(sum(checkpoint.bytes for checkpoint in checkpoints))
    of_run = f"{formats.plural(len(checkpoints), 'checkpoint')} ({size})"
    named = f" ('{run.annotations.name}')" if run and run.annotations.name else ""
    what = f"run {run_id}{named} and its {of_run}" if run else f"the {of_run} left of run {run_id}"
    click.confirm(f"Delete {what}?", abort=True, err=True)


def can_ask() -> bool:
    """Say whether a person sits at a terminal."""
    return sys.stdin.isatty()
