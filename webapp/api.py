"""The JSON interface: everything the pages show and do, for programs.

Runs are named by their whole id, or ``latest``. Lists of rows are continued with ``after``, the
id of the last row that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from trainer import __version__, logreading
from trainer import config as configuration
from trainer.config import SETTINGS, Config, Layer, Setting
from trainer.errors import UsageError
from trainer.runs import Run, RunPage
from trainer.store.metrics import SERIES, MetricsReader, check_series
from webapp.context import services
from webapp.deltas import metrics_stamps
from webapp.jsonio import json_answer
from webapp.payloads import flag, json_body, names, optional_whole_number, text, whole_number

api = Blueprint("api", __name__)

MAX_ROW_ID = 2**62
MAX_STEP = 10**12


class NewRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /api/runs``: settings over a shipped configuration or the defaults."""

    config: dict[str, Any] = {}
    name: str | None = None
    tags: list[str] = []
    preset: str | None = None
    now_anyway: bool = False


class Annotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``PATCH /api/runs/<id>``: what is left out stays, a null name is cleared."""

    name: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType = UNSET
    notes: str | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /api/runs/<id>/stop``."""

    now: bool = False
    deadline_seconds: float | None = None


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /api/runs/<id>/resume``."""

    more_epochs: Annotated[int, msgspec.Meta(ge=0)] = 0
    source: str = msgspec.field(default="latest", name="from")
    now_anyway: bool = False


def find_run(name: str) -> Run:
    """Return a run by its whole id, or ``latest``.

    Raises:
        NotFoundError: there is no such run.
    """
    store = services().store
    return store.get(store.resolve("latest") if name == "latest" else name)


# ---------------------------------------------------------------------- runs


@api.get("/api/runs")
def list_runs() -> Response:
    """``?status=&q=&tag=&sort=&limit=&cursor=&archived=`` → ``{"runs", "total", "next"}``."""
    page = _listed()
    return json_answer(
        {"runs": [run.as_dict() for run in page.runs], "total": page.total, "next": page.next}
    )


def _listed() -> RunPage:
    args = request.args
    return services().store.list(
        status=text(args, "status"),
        query=text(args, "q") or "",
        tag=text(args, "tag"),
        sort=text(args, "sort") or "-created",
        limit=whole_number(args, "limit", 100, 1, 1000),
        cursor=text(args, "cursor"),
        archived=flag(args, "archived"),
    )


@api.post("/api/runs")
def create_run() -> tuple[Response, int]:
    """``{"config": {"section.key": value}, "name", "tags", "preset", "now_anyway"}`` → 201
    ``{"run_id"}``.
    """
    wanted = json_body(NewRun)
    run_id = services().store.create(
        _configured(wanted),
        name=wanted.name,
        tags=wanted.tags,
        command=["POST", "/api/runs"],
        now_anyway=wanted.now_anyway,
    )
    return json_answer({"run_id": run_id}), 201


def _configured(wanted: NewRun) -> Config:
    """Build the configuration; a preset is a shipped name and never a path."""
    shipped = configuration.shipped_configs()
    if wanted.preset is not None and wanted.preset not in shipped:
        raise UsageError(
            f"'{wanted.preset[:80]}' is not a shipped configuration.",
            f"There are: {', '.join(sorted(shipped))}.",
        )
    return configuration.load(wanted.preset, Layer("config", wanted.config))


@api.get("/api/runs/<name>")
def get_run(name: str) -> Response:
    """The state of a run, with its name, tags and notes."""
    return json_answer(services().store.inspect(find_run(name).run_id).as_dict())


@api.patch("/api/runs/<name>")
def annotate_run(name: str) -> Response:
    """``{"name", "tags", "notes", "pinned", "archived"}`` → the state."""
    given = json_body(Annotation)
    changes = {
        field: value
        for field in given.__struct_fields__
        if (value := getattr(given, field)) is not UNSET
    }
    if "name" in changes:
        changes["name"] = changes["name"] or ""
    run_id = find_run(name).run_id
    return json_answer(services().store.annotate(run_id, **changes).as_dict())


@api.delete("/api/runs/<name>")
def delete_run(name: str) -> Response:
    """Put a run into the trash → ``{"run_id", "restorable"}``."""
    run_id = find_run(name).run_id
    services().store.delete(run_id)
    return json_answer({"run_id": run_id, "restorable": True})


@api.post("/api/runs/<name>/restore")
def restore_run(name: str) -> Response:
    """Bring a deleted run back → its state, or only ``{"run_id"}`` where its folder was gone."""
    run = services().store.restore(name)
    return json_answer({"run_id": name} if run is None else run.as_dict())


@api.get("/api/deleted")
def list_deleted() -> Response:
    """``{"deleted": [{"run_id", "title", "status", "deleted_at", "kept_until", "bytes"}]}``."""
    return json_answer({"deleted": [run.as_dict() for run in services().store.deleted()]})


@api.delete("/api/deleted/<run_id>")
def remove_deleted(run_id: str) -> Response:
    """Remove a deleted run for good → ``{"run_id", "restorable"}``."""
    services().store.remove_for_good(run_id)
    return json_answer({"run_id": run_id, "restorable": False})


@api.post("/api/runs/<name>/stop")
def stop_run(name: str) -> Response:
    """``{"now", "deadline_seconds"}``: checkpoint and stop, or end at once → the state."""
    wanted = json_body(Stop)
    run = services().store.stop(
        find_run(name).run_id, kill=wanted.now, deadline_seconds=wanted.deadline_seconds
    )
    return json_answer(run.as_dict())


@api.post("/api/runs/<name>/resume")
def resume_run(name: str) -> Response:
    """``{"more_epochs", "from", "now_anyway"}`` → the state."""
    wanted = json_body(Resume)
    run = services().store.resume(
        find_run(name).run_id,
        more_epochs=wanted.more_epochs,
        source=wanted.source,
        now_anyway=wanted.now_anyway,
    )
    return json_answer(run.as_dict())


@api.post("/api/runs/<name>/start")
def start_run(name: str) -> Response:
    """Let a queued run begin before its turn → the state."""
    return json_answer(services().store.start_now(find_run(name).run_id).as_dict())


# ---------------------------------------------------------------------- what a run has written


@api.get("/api/runs/<name>/metrics")
def run_metrics(name: str) -> Response:
    """``?series=&from=&to=&after=&points=`` → ``{"last_step", "points", "of", "series": {name:
    {"step", "value", "min", "max", "epoch", "tokens", "elapsed_seconds", "points", "of"}}}``.

    Once the files stand still the answer has an ETag, and is 304 to whoever has it.
    """
    args = request.args
    series = names(args, "series") or list(SERIES)
    bounds = {"first": _step("from"), "last": _step("to"), "after": _step("after")}
    points = whole_number(args, "points", 1000, 1, 20_000)
    check_series(series, points)
    return _curves(name, lambda reader: reader.series(series, **bounds, points=points))


@api.get("/api/runs/<name>/readings")
def run_readings(name: str) -> Response:
    """Readings of GPU, processor and memory as curves.

    ``?from=&to=&after=&points=``, where ``from`` and ``to`` are whole seconds of the run and
    ``after`` is the id of the last reading that is known → ``{"last_id", "points", "of",
    "series": {field: {"id", "value", "min", "max", "elapsed_seconds", "points", "of"}}}``. A field
    that has no value is left out. The live ``system`` message has the same series.
    """
    args = request.args
    known = whole_number(args, "after", 0, 0, MAX_ROW_ID)
    times = {
        "from_seconds": optional_whole_number(args, "from", 0, MAX_STEP),
        "to_seconds": optional_whole_number(args, "to", 0, MAX_STEP),
    }
    points = whole_number(args, "points", 1000, 1, 20_000)
    return _curves(name, lambda reader: reader.readings(after_id=known, **times, points=points))


def _curves(name: str, read: Callable[[MetricsReader], dict[str, Any]]) -> Response:
    run = find_run(name)

    def make() -> dict[str, Any]:
        with services().store.metrics(run.run_id) as reader:
            return read(reader)

    question = (run.run_id, request.path, sorted(request.args.items(multi=True)))
    return services().answers.answer(metrics_stamps(run.paths), question, make)


def _step(name: str) -> int | None:
    return optional_whole_number(request.args, name, -1, MAX_STEP)


@api.get("/api/runs/<name>/samples")
def run_samples(name: str) -> Response:
    """``?after=&limit=`` → ``{"run_id", "samples"}``: continuations of the fixed prompts."""
    return _rows(name, "samples")


@api.get("/api/runs/<name>/events")
def run_events(name: str) -> Response:
    """``?after=&limit=`` → ``{"run_id", "events"}``: what has happened to the run."""
    return _rows(name, "events")


@api.get("/api/runs/<name>/system")
def run_system(name: str) -> Response:
    """``?after=&limit=`` → ``{"run_id", "system"}``: readings of GPU, processor and memory."""
    return _rows(name, "system")


@api.get("/api/runs/<name>/sittings")
def run_sittings(name: str) -> Response:
    """``{"run_id", "sittings"}``: from where to where each process has worked on the run."""
    run_id = find_run(name).run_id
    with services().store.metrics(run_id) as reader:
        return json_answer({"run_id": run_id, "sittings": reader.sittings()})


def _rows(name: str, table: str) -> Response:
    run_id = find_run(name).run_id
    after = whole_number(request.args, "after", 0, 0, MAX_ROW_ID)
    limit = whole_number(request.args, "limit", 500, 1, 5000)
    with services().store.metrics(run_id) as reader:
        return json_answer({"run_id": run_id, table: getattr(reader, table)(after, limit)})


@api.get("/api/runs/<name>/log")
def run_log(name: str) -> Response:
    """A part of the log, or what is found in it; ``name=train|worker`` says which log.

    ``?tail=`` → ``{"run_id", "name", "lines"}``: the last lines. With ``before=`` or ``after=``, a
    byte, the lines there, and ``{"start", "end", "size"}`` in bytes.

    ``?q=&level=all|warning|error&before=&limit=`` → ``{"run_id", "name", "matches": [{"line",
    "start", "end", "text"}], "searched_from", "size", "next"}``: the newest lines that hold a plain
    text, oldest first. A search takes a fraction of a second at a time; ``before=`` the byte in
    ``next`` goes on with it, until that is null.
    """
    args = request.args
    run_id, which = find_run(name).run_id, text(args, "name") or "train"
    path = services().store.log_path(run_id, which)
    lines = whole_number(args, "tail", 200, 1, 10_000)
    before, after = _byte("before"), _byte("after")
    if text(args, "q") or text(args, "level"):
        limit = whole_number(args, "limit", logreading.MOST_MATCHES, 1, logreading.MOST_MATCHES)
        wanted = text(args, "q") or "", text(args, "level") or "all"
        part = asdict(logreading.search(path, *wanted, before=before, limit=limit))
    elif before is not None or after is not None:
        part = asdict(logreading.window(path, before=before, after=after, lines=lines))
    else:
        part = {"lines": services().store.log_tail(run_id, lines, which)}
    return json_answer({"run_id": run_id, "name": which, **part})


def _byte(name: str) -> int | None:
    return optional_whole_number(request.args, name, 0, MAX_ROW_ID)


@api.get("/api/runs/<name>/checkpoints")
def run_checkpoints(name: str) -> Response:
    """``{"run_id", "checkpoints"}``: latest, best, then the others from the newest step."""
    return _checkpoints(find_run(name).run_id)


@api.post("/api/runs/<name>/checkpoints/<checkpoint>/pin")
def pin_checkpoint(name: str, checkpoint: str) -> Response:
    """Keep a checkpoint for good → ``{"run_id", "pinned_as", "checkpoints"}``."""
    run_id = find_run(name).run_id
    return _checkpoints(run_id, pinned_as=services().store.pin_checkpoint(run_id, checkpoint))


@api.delete("/api/runs/<name>/checkpoints/<checkpoint>/pin")
def unpin_checkpoint(name: str, checkpoint: str) -> Response:
    """Let go of a pinned one, ``step-<n>`` → ``{"run_id", "checkpoints"}``."""
    run_id = find_run(name).run_id
    services().store.unpin_checkpoint(run_id, checkpoint)
    return _checkpoints(run_id)


def _checkpoints(run_id: str, **more: str) -> Response:
    return json_answer(
        {"run_id": run_id, "checkpoints": services().store.checkpoints(run_id), **more}
    )


@api.get("/api/runs/<name>/config")
def run_config(name: str) -> Response:
    """``{"run_id", "config", "differences", "toml"}``; differences are those from the defaults."""
    run_id = find_run(name).run_id
    config = services().store.config(run_id)
    return json_answer(
        {
            "run_id": run_id,
            "config": configuration.as_flat(config),
            "differences": configuration.differences(config),
            "toml": services().store.config_text(run_id),
        }
    )


# ---------------------------------------------------------------------- this machine


@api.get("/api/devices")
def list_devices() -> Response:
    """What can be trained on here; ``?refresh=true`` asks torch again."""
    return json_answer(services().devices.get(refresh=flag(request.args, "refresh")))


@api.get("/api/settings")
def list_settings() -> Response:
    """The schema of the configuration, and the shipped configurations that can be presets."""
    settings = [_described(setting) for setting in SETTINGS.values()]
    return json_answer({"settings": settings, "presets": sorted(configuration.shipped_configs())})


def _described(setting: Setting) -> dict[str, Any]:
    shown = ("key", "section", "name", "kind", "default", "help", "nullable", "basic", "choices")
    limits = ("minimum", "maximum", "allowed")
    return {field: getattr(setting, field) for field in (*shown, *limits)}


@api.get("/healthz")
def health() -> Response:
    """Say that the dashboard answers, which version it is and which workspace it shows."""
    home = services().store.workspace.home
    return json_answer({"status": "ok", "version": __version__, "home": str(home)})
