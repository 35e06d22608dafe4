"""The page of one run, the parts of it that are fetched again, and its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import Response, redirect, render_template, send_file, url_for

from trainer import config as configuration
from trainer.config import SETTINGS, Config, model_shape
from trainer.damage import config_damage
from trainer.errors import NotFoundError, StoreError, TrainerError
from trainer.export import csv_text
from trainer.runs import Run
from trainer.store.metrics import MetricsReader
from trainer.store.records import Meta
from webapp import presenting, services
from webapp.deltas import read_log
from webapp.forms import AnnotationForm
from webapp.pages.blueprint import Answer, pages

EVENTS_SHOWN = 100


@pages.get("/runs/latest")
def newest_run() -> Answer:
    """The way to the newest run, for an address that can be kept."""
    return redirect(url_for("pages.run_page", run_id=services().store.resolve("latest")))


@pages.get("/runs/<run_id>")
def run_page(run_id: str) -> Answer:
    """Everything about one run as it stands; scripts keep it moving."""
    return whole_page(services().store.inspect(run_id))


def whole_page(run: Run, labels: AnnotationForm | None = None) -> str:
    """Return the page of a run; with labels that were refused their form is open."""
    store, run_id = services().store, run.run_id
    try:
        config = store.config(run_id)
    except StoreError as error:
        return _page_without_config(run, error)
    checkpoints, figures = store.checkpoints(run_id), _figures(run)
    evaluations, samples, events = figures.evaluations, figures.samples, figures.events
    log = read_log(run.paths.train_log, None)
    training = config.training
    return render_template(
        "run.html",
        here="runs",
        live=True,
        run=run,
        labels=labels or AnnotationForm.of(run.annotations),
        meta=_meta(run_id),
        config=config,
        shape=model_shape(config.model),
        parameters=_parameters(run, config),
        tokens_per_step=training.batch_size * training.seq_length * training.grad_accum_steps,
        configuration=presenting.configuration_rows(config),
        changed=len(configuration.differences(config)),
        settings=len(SETTINGS),
        charts=presenting.CHARTS,
        checkpoints=checkpoints,
        evaluations=evaluations,
        moments=presenting.moments(samples, evaluations),
        events=events[::-1],
        log=log.lines,
        picture=figures.picture,
        figures_note=None if figures.note in run.damage else figures.note,
        next_step=presenting.next_step(run, checkpoints),
        page_data={
            "run": run.as_dict(),
            "cursor": {
                "after_event": events[-1]["id"] if events else 0,
                "after_log": log.end,
            },
        },
    )


@dataclass(frozen=True)
class _Figures:
    """What the page shows of a run's metrics; ``note`` says why some or all of it is missing."""

    evaluations: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
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
                picture=presenting.loss_picture(curves),
                note=reader.note,
            )
    except StoreError as error:
        return _Figures(note=str(error))


def _page_without_config(run: Run, error: StoreError) -> str:
    """Show what can be shown of a run whose configuration cannot be read, and what to do."""
    return render_template(
        "run_damaged.html",
        here="runs",
        run=run,
        error=error,
        checkpoints=services().store.checkpoints(run.run_id),
        warnings=[told for told in run.state.warnings if told != config_damage(run.paths)],
        picture=_figures(run).picture,
        log=read_log(run.paths.train_log, None).lines,
    )


def _meta(run_id: str) -> Meta | None:
    try:
        return services().store.meta(run_id)
    except TrainerError:
        return None  # A page without it is better than none.


def _parameters(run: Run, config: Config) -> int:
    return run.state.parameters or model_shape(config.model).parameters(config.data.vocab_size)


@pages.get("/runs/<run_id>/checkpoints")
def checkpoint_tables(run_id: str) -> Answer:
    """The tables of checkpoints and evaluations, fetched again when there is a new one."""
    store = services().store
    run, checkpoints = store.get(run_id), store.checkpoints(run_id)
    return render_template(
        "_checkpoints.html",
        run=run,
        state=run.state,
        config=store.config(run_id),
        checkpoints=checkpoints,
        evaluations=_figures(run).evaluations,
        next_step=presenting.next_step(run, checkpoints),
    )


@pages.get("/runs/<run_id>/config.toml")
def configuration_file(run_id: str) -> Answer:
    """The run's configuration as a file that ``--config`` takes."""
    text = services().store.config_text(run_id)
    return _download(text, f"{run_id}.toml", "application/toml")


@pages.get("/runs/<run_id>/metrics.csv")
def metrics_file(run_id: str) -> Answer:
    """Every point of the run as a table, the same as ``export --format csv``."""
    with services().store.metrics(run_id) as reader:
        text, _ = csv_text(reader)
    return _download(text, f"{run_id}.csv", "text/csv")


@pages.get("/runs/<run_id>/train.log")
def log_file(run_id: str) -> Answer:
    """The whole training log, however long it is."""
    path = services().store.get(run_id).paths.train_log
    if not path.is_file():
        raise NotFoundError(f"Run {run_id} has logged nothing yet.")
    return send_file(path, mimetype="text/plain", as_attachment=True, download_name=f"{run_id}.log")


def _download(text: str, name: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
