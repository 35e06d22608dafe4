"""The records of a run folder, as they are written to disk and answered by every surface.

A value that is not known yet is ``None``, never 0 or NaN. Losses are nats a token, times are
ISO 8601 in UTC, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

SCHEMA = 1

MIGRATIONS: dict[tuple[type[msgspec.Struct], int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What turns the JSON of a record of one schema into that of the next, by kind and number.

Whoever raises :data:`SCHEMA` adds the step for each kind of record that changes. A field that is
merely added, with a default, needs neither.
"""

Status = Literal[
    "queued", "preparing", "running", "stopping", "stopped", "completed", "failed", "interrupted"
]
ACTIVE: frozenset[Status] = frozenset({"queued", "preparing", "running", "stopping"})
"""States in which a process owns the run."""

ENDED: frozenset[Status] = frozenset({"stopped", "completed", "failed", "interrupted"})


def now() -> str:
    """Return the wall-clock time as people and files read it, to the millisecond."""
    return written_time(datetime.now(UTC))


def written_time(at: datetime) -> str:
    """Write a time in UTC as people and files read it, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far one long step has come; ``total`` is None when nobody knows the end."""

    phase: str
    done: int
    total: int | None
    unit: str


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed and what to do about it."""

    kind: str
    message: str
    hint: str = ""


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Names one process for good: a pid alone is used again by the kernel."""

    pid: int
    boot_id: str
    start_ticks: int


class OomKills(msgspec.Struct, frozen=True, kw_only=True):
    """Processes that the kernel has killed for lack of memory; None where it does not count.

    ``in_cgroup`` was read from ``cgroup_file``; ``on_machine`` counts from the machine's start.
    """

    cgroup_file: str | None
    in_cgroup: int | None
    on_machine: int | None


class ResumedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint that a resumed run went on from, found whole: ``latest``, and its step."""

    checkpoint: str
    step: int


class QueueStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run stands that waits for its device.

    Attributes:
        device: what it waits for, in words: ``cpu``, ``cuda:0``, ``one of 2 GPUs``.
        position: 2 when one run must end or begin before it.
        ahead: run ids, those that train first; the last one comes directly before it.
        after: what people call that last one.
    """

    device: str
    position: int
    ahead: list[str]
    after: str | None = None


class State(msgspec.Struct, kw_only=True):
    """The run's current state, replaced as a whole by the process that owns the run."""

    schema: int = SCHEMA
    run_id: str
    status: Status = "queued"
    phase: str | None = None
    progress: Progress | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    tokens: int | None = None
    parameters: int | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    best_val_loss: float | None = None
    val_word_perplexity: float | None = None
    best_val_word_perplexity: float | None = None
    val_bits_per_byte: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    utilisation: float | None = None
    """Share of the device's measured matrix-product peak that training reaches."""
    elapsed_seconds: float | None = None
    eta_seconds: float | None = None
    device: str | None = None
    device_name: str | None = None
    precision: str | None = None
    compiled: bool | None = None
    dataset: str | None = None
    notices: list[str] = []
    process: ProcessRecord | None = None
    heartbeat_at: str | None = None
    error: ErrorRecord | None = None
    created_at: str
    updated_at: str
    queue: QueueStanding | None = None
    """Where the run stands while it is queued; None when it waits for nothing."""
    heartbeat_uptime_seconds: float | None = None
    """When the worker was heard of last, on the monotonic clock that all processes share."""
    oom_kills: OomKills | None = None
    warnings: list[str] = []
    """What went wrong in a way that people must know for good; ``notices`` merely inform."""
    resumed: ResumedFrom | None = None
    """Where the last resume went on; None before it is known, and in a run never resumed."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Facts fixed when the run was made."""

    schema: int = SCHEMA
    run_id: str
    created_at: str
    command: list[str]
    versions: dict[str, str]
    parent: str | None = None
    data: dict[str, Any] = {}


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """How far the telling of a run's end has come.

    Attributes:
        worker: the process whose end it is.
        event: how the run ended.
        to: the webhook, without its secret.
        at: when the last attempt ended.
        answer: what came of it, in words: ``HTTP 204``, ``Connection refused``.
    """

    schema: int = SCHEMA
    worker: ProcessRecord
    status: Literal["waiting", "sending", "delivered", "failed"] = "waiting"
    event: Status | None = None
    to: str | None = None
    at: str | None = None
    attempts: int = 0
    answer: str | None = None


class Annotations(msgspec.Struct, kw_only=True):
    """What people say about a run."""

    name: str | None = None
    tags: list[str] = []
    notes: str = ""
    pinned: bool = False
    archived: bool = False
