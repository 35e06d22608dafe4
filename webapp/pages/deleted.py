"""Deleted runs: what can still be brought back, until when, and its removal for good."""

from __future__ import annotations

from flask import flash, redirect, render_template, request

from trainer import formats
from trainer.errors import UsageError
from trainer.trash import UNDO_SECONDS
from webapp import services
from webapp.pages.blueprint import Answer, pages
from webapp.pages.several_runs import MOST_NAMED, chosen_runs, each, restore, tell_refused


@pages.get("/deleted")
def deleted_runs() -> Answer:
    """The runs that can still be brought back, and until when."""
    return render_template(
        "deleted.html",
        here="runs",
        deleted=services().store.deleted(),
        kept=formats.plural(round(UNDO_SECONDS / 3600), "hour"),
    )


@pages.post("/deleted")
def change_deleted() -> Answer:
    """Bring the selected deleted runs back, or remove them for good, which is asked before."""
    chosen, action = chosen_runs(), request.form.get("action", "")
    if not chosen:
        flash("No run is selected.", "error")
        return redirect("/deleted", 303)
    if action == "restore":
        return restore()
    if action != "remove":
        raise UsageError(f"'{action[:40]}' is not an action.", "There are: restore, remove.")
    if not request.form.get("confirmed"):
        there = [run for run in services().store.deleted() if run.run_id in set(chosen)]
        return render_template("remove_for_good.html", here="runs", doomed=there, most=MOST_NAMED)
    done, refused = each(chosen, services().store.remove_for_good)
    tell_refused(refused, "not removed")
    if done:
        flash(f"{formats.plural(len(done), 'run')} removed for good.", "done")
    return redirect("/deleted", 303)
