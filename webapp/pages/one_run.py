"""The page of one run, the parts of it that are fetched again, and its files."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from flask import Response, make_response, redirect, render_template, send_file, url_for

from trainer import config as configuration
from trainer import datasource, logreading
from trainer.config import SETTINGS, Config, model_shape
from trainer.errors import NotFoundError, StoreError, TrainerError
from trainer.export import csv_parts
from trainer.runs import Run
from trainer.store.checkpoints import Checkpoint
from trainer.store.metrics import MetricsReader
from trainer.store.records import Meta
from webapp import presenting, services
from webapp.deltas import read_log
from webapp.forms import AnnotationForm
from webapp.history import SittingRow, fold_attempts, sitting_rows
from webapp.pages.blueprint import Answer, pages

EVENTS_SHOWN = 100
EVALUATIONS_SHOWN = 200


@pages.get("/runs/latest")
def newest_run() -> Answer:
    """The way to the newest run, for an address that can be kept."""
    return redirect(url_for("pages.run_page", run_id=services().store.resolve("latest")))


@pages.get("/runs/<run_id>")
def run_page(run_id: str) -> Answer:
    """Everything about one run as it stands; scripts keep it moving."""
    store = services().store
    try:
        return whole_page(store.inspect(run_id))
    except NotFoundError:
        deleted = next((run for run in store.deleted() if run.run_id == run_id), None)
        if deleted is None:
            raise
    page = render_template("run_deleted.html", here="runs", deleted=deleted)
    return make_response(page, NotFoundError.http_status)


def whole_page(run: Run, labels: AnnotationForm | None = None) -> str:
    """Return the page of a run; with labels that were refused their form is open.

    Without a configuration that can be read, it shows what it can.
    """
    store, run_id = services().store, run.run_id
    checkpoints, figures, config = store.checkpoints(run_id), _figures(run), _config(run)
    meta = _meta(run_id)
    evaluations, samples, events = figures.evaluations, figures.samples, figures.events
    end_of_log = read_log(run.paths.train_log, None).end
    log = logreading.window(run.paths.train_log, before=end_of_log)
    return render_template(
        "run.html",
        here="runs",
        live=True,
        run=run,
        labels=labels or AnnotationForm.of(run.annotations),
        meta=meta,
        parent_title=meta and meta.parent and _title(meta.parent),
        config=config,
        needs_hub=config is not None and _needs_hub(config),
        embedded=datasource.EMBEDDED,
        shape=config and model_shape(config.model),
        parameters=_parameters(run, config),
        tokens_per_step=config and _tokens_per_step(config),
        configuration=presenting.configuration_rows(config) if config else {},
        changed=len(configuration.differences(config)) if config else 0,
        settings=len(SETTINGS),
        charts=presenting.CHARTS,
        checkpoints=checkpoints,
        evaluations=shown_evaluations(evaluations),
        all_evaluations=len(evaluations),
        sittings=figures.sittings,
        moments=presenting.moments(samples, evaluations),
        events=events[::-1],
        happened={event["message"]: event["at"] for event in events},
        log=log,
        picture=figures.picture,
        figures_note=None if figures.note in run.damage else figures.note,
        next_step=_next_step(run, checkpoints, config),
        page_data={
            "run": run.as_dict(),
            "cursor": {
                "after_event": events[-1]["id"] if events else 0,
                "after_log": end_of_log,
            },
        },
    )


def _config(run: Run) -> Config | None:
    """Return the configuration, or None where it cannot be read; the run's warnings say why."""
    try:
        return services().store.config(run.run_id)
    except StoreError:
        return None


def _needs_hub(config: Config) -> bool:
    try:
        return datasource.needs_hub(config.data)
    except datasource.DatasetNameError:
        return False


def _next_step(run: Run, checkpoints: Sequence[Checkpoint], config: Config | None) -> str:
    # Without a configuration there is nothing to clone; the run's warnings say what to do.
    return presenting.next_step(run, checkpoints) if config or checkpoints else ""


def _tokens_per_step(config: Config) -> int:
    training = config.training
    return training.batch_size * training.seq_length * training.grad_accum_steps


@dataclass(frozen=True)
class _Figures:
    """What the page shows of a run's metrics; ``note`` says why some or all of it is missing."""

    evaluations: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    sittings: list[SittingRow] = field(default_factory=list)
    picture: presenting.LossPicture | None = None
    note: str | None = None


def _figures(run: Run) -> _Figures:
    try:
        with MetricsReader(run.paths.metrics) as reader:
            curves = reader.series(["train_loss", "val_loss"], points=400)["series"]
            return _Figures(
                evaluations=reader.latest_evaluations(),
                samples=reader.samples(),
                events=reader.events(limit=EVENTS_SHOWN),
                sittings=fold_attempts(sitting_rows(reader.sittings(), run.state)),
                picture=presenting.loss_picture(curves),
                note=reader.note,
            )
    except StoreError as error:
        return _Figures(note=str(error))


def _meta(run_id: str) -> Meta | None:
    try:
        return services().store.meta(run_id)
    except TrainerError:
        return None  # A page without it is better than none.


def _title(run_id: str) -> str:
    """Return the name of a run that may be gone: then its id."""
    try:
        return services().store.get(run_id).title
    except TrainerError:
        return run_id


def shown_evaluations(
    evaluations: Sequence[dict[str, Any]], most: int = EVALUATIONS_SHOWN
) -> Sequence[dict[str, Any]]:
    """Return the newest evaluations, oldest first, with the best of all always among them."""
    judged = [row for row in evaluations if row["val_loss"] is not None]
    best = min(judged, key=lambda row: row["val_loss"], default=None)
    newest = evaluations[-most:]
    if best is None or best in newest:
        return newest
    return [best, *evaluations[1 - most :]]


def _parameters(run: Run, config: Config | None) -> int | None:
    if run.state.parameters or config is None:
        return run.state.parameters
    return model_shape(config.model).parameters(config.data.vocab_size)


@pages.get("/runs/<run_id>/checkpoints")
def checkpoint_tables(run_id: str) -> Answer:
    """The tables of checkpoints, evaluations and sittings, fetched again as they grow."""
    store = services().store
    run, checkpoints = store.get(run_id), store.checkpoints(run_id)
    figures, config = _figures(run), _config(run)
    return render_template(
        "_checkpoints.html",
        run=run,
        state=run.state,
        config=config,
        checkpoints=checkpoints,
        evaluations=shown_evaluations(figures.evaluations),
        all_evaluations=len(figures.evaluations),
        sittings=figures.sittings,
        next_step=_next_step(run, checkpoints, config),
    )


@pages.get("/runs/<run_id>/config.toml")
def configuration_file(run_id: str) -> Answer:
    """The run's configuration as a file that ``--config`` takes."""
    text = services().store.config_text(run_id)
    return _download(text, f"{run_id}.toml", "application/toml")


@pages.get("/runs/<run_id>/metrics.csv")
def metrics_file(run_id: str) -> Answer:
    """Every point of the run as a table, the same as ``export --format csv``."""
    parts = _csv_parts(services().store.metrics(run_id))
    # What cannot be read is told before the answer begins.
    response = _download(chain([next(parts)], parts), f"{run_id}.csv", "text/csv")
    response.call_on_close(parts.close)
    return response


def _csv_parts(reader: MetricsReader) -> Generator[str]:
    with reader:
        yield from csv_parts(reader)


@pages.get("/runs/<run_id>/train.log")
def log_file(run_id: str) -> Answer:
    """The whole training log, however long it is."""
    path = services().store.get(run_id).paths.train_log
    if not path.is_file():
        raise NotFoundError(f"Run {run_id} has logged nothing yet.")
    return send_file(path, mimetype="text/plain", as_attachment=True, download_name=f"{run_id}.log")


def _download(text: str | Iterable[str], name: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
