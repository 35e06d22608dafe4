"""Where a waiting run stands, as its state holds it and as every viewer words it."""

from __future__ import annotations

from typing import Any

import msgspec

from trainer import formats
from trainer.annotating import read_annotations
from trainer.errors import NotFoundError, StoreError
from trainer.store.records import QueueStanding
from trainer.store.workspace import Workspace


def queued_state(standing: QueueStanding | None, workspace: Workspace) -> dict[str, Any]:
    """Return the fields of the state of a run that waits, or (None) whose process is to start."""
    if standing is None:
        return {"status": "queued", "phase": None, "queue": None}
    after = _title(standing.ahead[-1], workspace) if standing.ahead else None
    return {
        "status": "queued",
        "phase": waiting_words(standing),
        "queue": msgspec.structs.replace(standing, after=after),
    }


def _title(run_id: str, workspace: Workspace) -> str:
    try:
        return read_annotations(workspace.paths(run_id)).name or run_id
    except (OSError, StoreError, NotFoundError):
        return run_id


def waiting_words(standing: QueueStanding) -> str:
    """Say what a run waits for: ``waiting for cpu: 2 runs ahead``."""
    ahead = standing.position - 1
    return f"waiting for {standing.device}: {ahead:,} {'run' if ahead == 1 else 'runs'} ahead"


def place_words(standing: QueueStanding | None) -> str:
    """Say which place a run has: ``2nd for cpu, after baseline``; nothing for one without."""
    if standing is None:
        return ""
    after = f", after {standing.after}" if standing.after else ""
    return f"{formats.ordinal(standing.position)} for {standing.device}{after}"
