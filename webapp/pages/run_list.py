"""The list of runs, and what can be done with several of them at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request

from trainer.errors import StoreError, TrainerError, UsageError
from trainer.runs import Run
from trainer.store.metrics import MetricsReader
from trainer.store.records import now
from webapp import presenting, services
from webapp.pages.blueprint import Answer, pages, to_list, to_run, undo, varying
from webapp.presenting import ListView
from webapp.submissions import Submissions

PAGE_SIZE = 100
SPARKLINE_POINTS = 44


@pages.get("/")
def run_list() -> Answer:
    """All runs as one table; for htmx the table alone."""
    view = ListView.from_query(request.args.to_dict(flat=False))
    page = services().store.list(
        status=view.status or None,
        query=view.query,
        tag=view.tag or None,
        sort=view.sort,
        limit=PAGE_SIZE,
        cursor=view.cursor or None,
        archived=view.archived,
    )
    shown: dict[str, Any] = {
        "view": view,
        "page": page,
        "since": now(),
        "sparklines": {run.run_id: sparkline_points(run) for run in page.runs},
    }
    if request.headers.get("HX-Request"):
        return varying(render_template("_runs.html", **shown))
    return varying(
        render_template(
            "runs.html",
            here="runs",
            live=True,
            tags=presenting.tags_of(page.runs),
            status_filters=presenting.STATUS_FILTERS,
            all_columns=presenting.COLUMNS,
            always_shown=presenting.ALWAYS_SHOWN,
            submission=Submissions.new_token(),
            **shown,
        )
    )


def sparkline_points(run: Run) -> tuple[tuple[int, float], ...]:
    """Return a few values of the training loss, remembered for as long as the run stands still."""
    return _sparkline_points(str(run.paths.metrics), run.state.step, run.state.updated_at)


@lru_cache(maxsize=4096)
def _sparkline_points(
    path: str, step: int | None, updated_at: str
) -> tuple[tuple[int, float], ...]:
    if step is None:
        return ()
    try:
        with MetricsReader(Path(path)) as reader:
            columns = reader.series(["train_loss"], points=SPARKLINE_POINTS)["series"]["train_loss"]
    except StoreError:
        return ()  # The list is shown without it; the page of the run says why.
    return tuple(zip(columns["step"], columns["value"], strict=True))


@pages.post("/runs/bulk")
def bulk() -> Answer:
    """Do one thing with all selected runs; what cannot be done is told run by run."""
    chosen, action = request.form.getlist("run"), request.form.get("action", "")
    if not chosen:
        flash("No run is selected.", "error")
        return to_list()
    if action == "compare":
        return redirect(f"/compare?{urlencode([('run', run_id) for run_id in chosen])}", 303)
    if action == "delete" and not request.form.get("confirmed"):
        runs = [services().store.get(run_id) for run_id in chosen]
        return render_template("delete_several.html", here="runs", runs=runs)
    done = [run_id for run_id in chosen if _tried(_bulk_act(action), run_id)]
    if done:
        noun = "1 run was" if len(done) == 1 else f"{len(done)} runs were"
        flash(f"{noun} {_DONE[action]}.", undo(done) if action == "delete" else "done")
    return to_list()


_DONE = {
    "archive": "archived",
    "unarchive": "brought back from the archive",
    "tag": "tagged",
    "delete": "deleted, with all checkpoints",
}


def _bulk_act(action: str) -> Callable[[str], object]:
    """Find what an action does with one run.

    Raises:
        UsageError: there is no such action.
    """
    store, tag = services().store, request.form.get("tag", "").strip()
    acts: dict[str, Callable[[str], object]] = {
        "archive": lambda run_id: store.annotate(run_id, archived=True),
        "unarchive": lambda run_id: store.annotate(run_id, archived=False),
        "tag": lambda run_id: store.annotate(run_id, add_tags=[tag]),
        "delete": store.delete,
    }
    if action not in acts:
        raise UsageError(f"'{action[:40]}' is not an action.", f"There are: {', '.join(acts)}.")
    return acts[action]


def _tried(act: Callable[[str], object], run_id: str) -> bool:
    try:
        act(run_id)
    except TrainerError as error:
        flash(str(error), "error")
        return False
    return True


@pages.post("/runs/restore")
def restore() -> Answer:
    """Bring back runs that were deleted."""
    chosen = request.form.getlist("run")
    done = [run_id for run_id in chosen if _tried(services().store.restore, run_id)]
    if done:
        flash("It is back." if len(done) == 1 else f"{len(done)} runs are back.", "done")
    return to_run(done[0]) if len(chosen) == len(done) == 1 else redirect("/", 303)
