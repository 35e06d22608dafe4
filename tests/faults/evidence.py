"""What a run leaves behind that two equal trainings must have in common, to the last bit."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.engine import checkpoint
from trainer.runs import Run
from trainer.store.metrics import open_read_only
from trainer.store.workspace import RunPaths

_TRAINED = ("model", "optimizer", "scaler", "standing", "segments", "step", "epoch", "val_loss")
_TIMED = frozenset({"elapsed_seconds"})


@dataclass(frozen=True)
class Evidence:
    """Everything of a run that does not come from a clock, a pid or a path.

    ``points`` are rows of step, epoch, tokens, loss, rate and gradient norm; ``hashes`` are those
    of the checkpoints that are to be kept, by name. ``time_runs_on``: the time a run has been
    worked on never falls from a step to the next.
    """

    points: list[tuple[Any, ...]]
    evaluations: list[tuple[Any, ...]]
    samples: list[tuple[Any, ...]]
    hashes: dict[str, str]
    time_runs_on: bool

    @classmethod
    def of(cls, run: Run) -> Evidence:
        """Gather it from the run's folder and its checkpoints."""
        elapsed_seconds = rows(run.paths, "SELECT elapsed_seconds FROM points ORDER BY step")
        return cls(
            time_runs_on=elapsed_seconds == sorted(elapsed_seconds),
            points=rows(
                run.paths,
                "SELECT step, epoch, tokens, train_loss, learning_rate, grad_norm FROM points "
                "ORDER BY step",
            ),
            evaluations=rows(
                run.paths,
                "SELECT step, epoch, tokens, val_loss, val_word_perplexity, val_bits_per_byte "
                "FROM evaluations ORDER BY step",
            ),
            samples=rows(run.paths, "SELECT step, prompt, text FROM samples ORDER BY step, id"),
            hashes={path.stem: state_hash(path) for path in _kept(run.paths)},
        )

    @property
    def losses(self) -> list[float]:
        return [row[3] for row in self.points]

    @property
    def rates(self) -> list[float]:
        return [row[4] for row in self.points]


def differences(one: Evidence, other: Evidence) -> list[str]:
    """Name what two runs do not have in common, at tolerance 0."""
    found = [] if one.time_runs_on and other.time_runs_on else ["the time worked on falls"]
    for name in ("points", "evaluations", "samples"):
        ours, theirs = getattr(one, name), getattr(other, name)
        if ours != theirs:
            first = next(
                (pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]), None
            )
            found.append(f"{name}: {len(ours)} and {len(theirs)} rows; first other {first}")
    for name in sorted({*one.hashes, *other.hashes}):
        if one.hashes.get(name) != other.hashes.get(name):
            missing = "" if name in one.hashes and name in other.hashes else " (one has none)"
            found.append(f"checkpoint {name}{missing}")
    return found


def state_hash(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, momenta, scaler and standing, without times."""
    saved = checkpoint.load(path)
    digest = hashlib.sha256()
    for part in _spelled({name: saved[name] for name in _TRAINED}):
        digest.update(struct.pack("<Q", len(part)))
        digest.update(part)
    return digest.hexdigest()


def _spelled(value: Any) -> Iterator[bytes]:
    """Spell out nested values so that two are equal exactly when all parts are."""
    if isinstance(value, torch.Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            if key not in _TIMED:
                yield f"key {key!r}".encode()
                yield from _spelled(value[key])
    elif isinstance(value, (list, tuple)):
        yield f"list of {len(value)}".encode()
        for each in value:
            yield from _spelled(each)
    else:
        yield f"{type(value).__name__} {value!r}".encode()


def _kept(paths: RunPaths) -> Iterator[Path]:
    yield from sorted(paths.checkpoints.glob("epoch-*.pt"))
    yield from (path for name in ("latest", "best") if (path := paths.checkpoint(name)).exists())


def rows(paths: RunPaths, query: str) -> list[tuple[Any, ...]]:
    """Ask the metrics database as any viewer does: read-only."""
    connection, _ = open_read_only(paths.metrics)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def database_is_whole(paths: RunPaths) -> bool:
    """Say whether SQLite finds nothing wrong with the metrics; no database yet is whole."""
    return not paths.metrics.exists() or rows(paths, "PRAGMA integrity_check") == [("ok",)]
