"""What a person does with several runs of the list at once; what fails is told run by run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request

from trainer.annotating import separate_tags
from trainer.errors import ConflictError, TrainerError, UsageError
from trainer.formats import plural
from trainer.runs import RunStore
from webapp import services
from webapp.pages.blueprint import Answer, list_address, pages, to_list, to_run, undo

MOST_NAMED = 10
"""Runs that a message or a question names; of more it tells how many."""

Act = Callable[[str], object]

DONE = {
    "archive": "archived",
    "unarchive": "brought back from the archive",
    "pin": "pinned to the top",
    "unpin": "unpinned",
    "tag": "tagged",
    "untag": "freed of that tag",
    "stop": "asked to stop",
    "delete": "deleted, with all checkpoints",
}
"""The actions, and what they have done to a run."""


@pages.post("/runs/bulk")
def bulk() -> Answer:
    """Do one thing with all selected runs."""
    chosen, action = chosen_runs(), request.form.get("action", "")
    if not chosen:
        flash("No run is selected.", "error")
        return to_list()
    if action == "compare":
        return redirect(f"/compare?{urlencode([('run', run_id) for run_id in chosen])}", 303)
    act = _act(action)
    if action == "delete" and not request.form.get("confirmed"):
        return _ask_before_deleting(chosen)
    done, refused = each(chosen, act)
    tell_refused(refused, f"not {DONE[action].split(',')[0]}")
    if done:
        words = f"{plural(len(done), 'run')} {'was' if len(done) == 1 else 'were'} {DONE[action]}."
        flash(words, undo(done) if action == "delete" else "done")
    return to_list()


def chosen_runs() -> list[str]:
    """Return the runs that a form names: one a field, or many in one with spaces between."""
    one_each, together = request.form.getlist("run"), request.form.get("runs", "").split()
    return list(dict.fromkeys([*one_each, *together]))


def _act(action: str) -> Act:
    """Find what an action does with one run.

    Raises:
        UsageError: there is no such action, or it lacks its tag.
    """
    store, tag = services().store, request.form.get("tag", "").strip()
    acts: dict[str, Act] = {
        "archive": lambda run_id: store.annotate(run_id, archived=True),
        "unarchive": lambda run_id: store.annotate(run_id, archived=False),
        "pin": lambda run_id: store.annotate(run_id, pinned=True),
        "unpin": lambda run_id: store.annotate(run_id, pinned=False),
        "tag": lambda run_id: store.annotate(run_id, add_tags=[tag]),
        "untag": lambda run_id: _untag(store, run_id, tag),
        "stop": store.request_stop,
        "delete": store.delete,
    }
    if action not in acts:
        raise UsageError(f"'{action[:40]}' is not an action.", f"There are: {', '.join(acts)}.")
    return acts[action]


def _untag(store: RunStore, run_id: str, tag: str) -> None:
    if not {tag, *separate_tags([tag])} & {*store.get(run_id).annotations.tags}:
        raise ConflictError(f"Run {run_id} does not carry the tag '{tag[:40]}'.")
    store.annotate(run_id, remove_tags=[tag])


def each(chosen: Sequence[str], act: Act) -> tuple[list[str], list[tuple[str, TrainerError]]]:
    """Act on each run; return those with which it went well, and the others with the reason."""
    done: list[str] = []
    refused: list[tuple[str, TrainerError]] = []
    for run_id in chosen:
        try:
            act(run_id)
        except TrainerError as error:
            refused.append((run_id, error))
        else:
            done.append(run_id)
    return done, refused


def tell_refused(refused: Sequence[tuple[str, TrainerError]], what: str) -> None:
    """Say of each run why something was not done with it."""
    if not refused:
        return
    if len(refused) == 1:
        flash(str(refused[0][1]), "error")
        return
    lines = [f"{run_id}: {error}" for run_id, error in refused[:MOST_NAMED]]
    more = len(refused) - MOST_NAMED
    last = [f"… and {more:,} more."] if more > 0 else []
    flash("\n".join([f"{len(refused):,} runs were {what}:", *lines, *last]), "error")


def _ask_before_deleting(chosen: Sequence[str]) -> Answer:
    runs = services().store.look().runs
    there = [runs[run_id] for run_id in chosen if run_id in runs]
    active = [run for run in there if run.active]
    doomed = [run for run in there if not run.active]
    return render_template(
        "delete_several.html",
        here="runs",
        doomed=doomed,
        active=active,
        most=MOST_NAMED,
        back=list_address(),
    )


@pages.post("/runs/restore")
def restore() -> Answer:
    """Bring back runs that were deleted."""
    done, refused = each(chosen_runs(), services().store.restore)
    tell_refused(refused, "not brought back")
    if done:
        flash("It is back." if len(done) == 1 else f"{len(done):,} runs are back.", "done")
    return to_run(done[0]) if len(done) == 1 and "back" not in request.form else to_list()
