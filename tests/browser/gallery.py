"""A workspace with a run in every state there is, made of files alone, and the page of each."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

from tests.browser.writing import TOTAL_STEPS
from tests.conftest import write_run
from trainer import config as configuration
from trainer.config import Layer
from trainer.runs import Run, RunStore
from trainer.store.metrics import MetricsWriter
from trainer.store.records import (
    ErrorRecord,
    ProcessRecord,
    Progress,
    QueueStanding,
    now,
)
from trainer.store.stop_request import StopRequest, write_stop_request

LONG_NAME = (
    "A name that somebody wrote without thinking of who has to read it: "
    "python-docs-small-batch-64-lr-0.003-cosine-second-try"
)
NOTES = "Larger batch, same tokens.\nhttps://example.org/" + "a-long-address-without-a-break" * 4
PROMPTS = ("The history of", "In the early morning", "She opened the letter and")
GONE = ProcessRecord(pid=2**22 - 1, boot_id="another boot", start_ticks=1)

Pages = dict[str, str]


def fill(store: RunStore, owner: ProcessRecord) -> Pages:
    """Make the runs and return the address of every page by a name for its picture.

    Args:
        store: an empty workspace.
        owner: a process that lives as long as the gallery: the worker of whatever is active.
    """
    running = _trained(store, "A run that trains", 260, status="running", **_alive(owner))
    completed = _trained(store, LONG_NAME, TOTAL_STEPS, tags=["baseline", "x" * 40, "third"])
    _keep_checkpoints(completed)
    store.annotate(completed.run_id, notes=NOTES, pinned=True)
    stopped = _trained(store, "stopped", 120, status="stopped", tags=["baseline"])
    _keep_checkpoints(stopped)
    stopping = _trained(store, "stopping", 80, status="stopping", **_alive(owner))
    write_stop_request(stopping.paths, StopRequest.made_now(3600))
    damaged = _damaged(store)
    store.delete(write_run(store, name="thrown away").run_id)
    waiting = _waiting(store, owner, running)
    ended = _ended(store)
    both = f"/compare?run={completed.run_id}&run={stopped.run_id}&run={ended['failed'].run_id}"
    return {
        "runs": "/",
        "runs-none-match": "/?q=no+such+run",
        "runs-archived": "/?archived=true",
        "runs-filter-fault": "/?q=colour:red",
        "runs-deleted": "/deleted",
        "new-run": "/runs/new",
        "run-running": _page(running),
        "run-completed": _page(completed),
        "run-stopped": _page(stopped),
        "run-stopping": _page(stopping),
        **{f"run-{name}": _page(run) for name, run in (waiting | ended).items()},
        "run-damaged": _page(damaged),
        "resume": f"{_page(stopped)}/resume",
        "compare": both,
        "compare-one": "/compare",
        "playground": f"/playground?run={completed.run_id}",
        "playground-waiting": f"/playground?run={running.run_id}",
        "score": f"/playground/score?run={completed.run_id}",
        "help": "/help",
        "delete": f"{_page(stopped)}/delete",
        "error-no-run": "/runs/20990101-000000-0000",
        "error-no-page": "/nowhere",
    }


def _page(run: Run) -> str:
    return f"/runs/{run.run_id}"


def _alive(owner: ProcessRecord) -> dict[str, Any]:
    return {
        "process": owner,
        "phase": "training",
        "eta_seconds": 3725.0,
        # Heard of an hour from now: nobody writes on, and it must not become silent.
        "heartbeat_uptime_seconds": time.monotonic() + 3600,
    }


def _waiting(store: RunStore, owner: ProcessRecord, before: Run) -> dict[str, Run]:
    standing = QueueStanding(device="cpu", position=2, ahead=[before.run_id], after=before.title)
    progress = Progress(phase="tokenizing", done=61_400_000, total=94_000_000, unit="bytes")
    alive = _alive(owner) | {"eta_seconds": None}
    preparing = alive | {"phase": "tokenizing", "progress": progress, "dataset": "wikitext-103"}
    return {
        "queued": write_run(store, status="queued", queue=standing, **alive | {"phase": None}),
        "preparing": write_run(store, name="preparing", status="preparing", **preparing),
    }


def _ended(store: RunStore) -> dict[str, Run]:
    error = ErrorRecord(
        kind="out_of_memory",
        message="The graphics card had no memory left (79.1 of 79.2 GiB were in use).",
        hint="Halve training.batch_size and double training.grad_accum_steps.",
    )
    interrupted = ErrorRecord(kind="vanished", message="The process is gone.", hint="Resume it.")
    warned = ["latest.pt was damaged; the run went on from step 40 instead."]
    notices = ["There is no validation split: a twentieth of the text was set aside."]
    return {
        "failed": _trained(store, "failed", 60, status="failed", error=error, warnings=warned),
        "interrupted": _trained(
            store, "interrupted", 90, status="running", process=GONE, error=interrupted
        ),
        "failed-at-once": write_run(store, name="no text", status="failed", error=error),
        "told": _trained(store, "told", 2, status="completed", notices=notices, warnings=warned),
    }


def _damaged(store: RunStore) -> Run:
    run = _trained(store, "damaged", 50, status="stopped")
    run.paths.config.write_bytes(b"\x00\xff not TOML")
    return run


# ---------------------------------------------------------------------- what a run has left


def _trained(store: RunStore, name: str, steps: int, **state: Any) -> Run:
    facts: dict[str, Any] = {
        "status": "completed",
        "created_at": now(),
        "updated_at": now(),
        "step": steps,
        "total_steps": TOTAL_STEPS,
        "epoch": 1 + (steps - 1) // 100,
        "epochs": 4,
        "steps_per_epoch": 100,
        "tokens": steps * 4096,
        "parameters": 12_413_952,
        "train_loss": loss(steps),
        "val_loss": loss(steps) + 0.1,
        "best_val_loss": loss(steps) + 0.1,
        "best_val_word_perplexity": 88.21,
        "val_bits_per_byte": 1.4142,
        "learning_rate": 0.003,
        "tokens_per_second": 6120.0,
        "elapsed_seconds": steps * 2.0,
        "dataset": "wikitext-2",
        "device": "cuda:0",
        "device_name": "NVIDIA H200 NVL 141GB",
        "precision": "bf16",
    }
    config = configuration.build(Layer("test", {"training.max_steps": TOTAL_STEPS}))
    run = write_run(store, name=name, config=config, **facts | state)
    writer = MetricsWriter(run.paths.metrics)
    writer.write(_rows(steps))
    writer.close()
    lines = (f"2026-01-02T03:04:05.000Z INFO step {step}/400  loss {loss(step):.4f}\n"
             for step in range(1, steps + 1))  # fmt: skip
    run.paths.train_log.write_text("".join(lines))
    return run


def loss(step: int) -> float:
    """A loss that falls as losses do, with a spike at step 150."""
    return 2.9 + 6.0 * math.exp(-step / 70) + 0.15 * math.sin(step * 1.7) + 2.0 * (step == 150)


def _rows(steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for step in range(1, steps + 1):
        place = {"step": step, "epoch": step / 100, "tokens": step * 4096}
        place["elapsed_seconds"] = step * 2.0
        yield (
            "points",
            place
            | {
                "train_loss": loss(step),
                "learning_rate": 0.003 * min(1.0, step / 40),
                "grad_norm": 1.0 + 0.4 * math.sin(step),
                "tokens_per_second": 6120.0 + 80 * math.sin(step / 3),
            },
        )
        if step % 40 == 0:
            yield from _evaluation(step, place)
        if step % 10 == 0:
            yield "system", _reading(step)


def _evaluation(step: int, place: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    figures = {"val_loss": loss(step) + 0.1, "val_word_perplexity": 9000.0 / step}
    yield "evaluations", place | figures | {"val_bits_per_byte": 1.4142, "seconds": 1.0}
    for prompt in PROMPTS:
        text = f" the {'little ' * (step // 40)}town was seen from the north side of the river ."
        yield "samples", {"step": step, "at": now(), "prompt": prompt, "text": text}
    told = {"at": now(), "step": step, "level": "info"}
    yield "events", told | {"kind": "saved", "message": "Saved latest.pt (47.4 MiB)."}


def _reading(step: int) -> dict[str, Any]:
    return {
        "at": now(),
        "elapsed_seconds": step * 2.0,
        "gpu_utilization": 93.0,
        "gpu_memory_bytes": 40 * 2**30,
        "gpu_memory_total_bytes": 140 * 2**30,
        "gpu_temperature_c": 61.0,
        "gpu_power_w": 512.0,
        "cpu_percent": 12.0,
        "ram_bytes": 30 * 2**30,
        "process_ram_bytes": 3 * 2**30,
    }


def _keep_checkpoints(run: Run) -> None:
    run.paths.checkpoints.mkdir(parents=True)
    for name, step in (("latest", 120), ("best", 80), ("epoch-1", 100), ("step-80", 80)):
        run.paths.checkpoint(name).write_bytes(b"weights")
        facts = {"step": step, "epoch": 1, "val_loss": loss(step) + 0.1, "saved_at": now()}
        (run.paths.checkpoints / f"{name}.pt.json").write_text(json.dumps(facts))


def many(store: RunStore, count: int) -> None:
    """Make so many runs that have completed, with names of every length."""
    for number in range(count):
        name = f"sweep {number} " + "long " * (number % 20)
        write_run(store, name=name, step=400, total_steps=400, train_loss=3.5, dataset="text")
