"""A run's curves, samples and settings as a folder that TensorBoard shows."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import formats, tfevents
from trainer.errors import NotFoundError
from trainer.export_model import absolute, check_folder_target, whole_folder
from trainer.runs import RunStore
from trainer.store.files import replace_file
from trainer.store.metrics import MetricsReader

TRAINING_TAGS = {
    "loss/train": "train_loss",
    "training/learning_rate": "learning_rate",
    "training/grad_norm": "grad_norm",
    "training/tokens_per_second": "tokens_per_second",
}
VALIDATION_TAGS = {
    "loss/validation": "val_loss",
    "validation/word_perplexity": "val_word_perplexity",
    "validation/bits_per_byte": "val_bits_per_byte",
}


@dataclass(frozen=True)
class Curves:
    """What was written where: steps with a point, and bytes."""

    path: Path
    steps: int
    bytes: int


def export_tensorboard(store: RunStore, run_id: str, target: Path) -> Curves:
    """Write a run's curves, whole or not at all.

    Args:
        target: a folder that is not there yet, or empty; TensorBoard calls the run by its name.

    Raises:
        UsageError: the target is something else, or lies in no folder.
        NotFoundError: there is no such run.
        StoreError: the metrics cannot be read, or the folder cannot be written.
    """
    folder = absolute(target)
    check_folder_target(folder)
    with store.metrics(run_id) as reader:
        writing = _Writing(reader, created_at(store, run_id), _settings(store, run_id))
        with whole_folder(folder) as staging:
            file = staging / f"events.out.tfevents.{int(writing.created_at)}.llm-trainer"
            replace_file(file, writing.records())
            size = file.stat().st_size
    return Curves(folder, writing.steps, size)


def created_at(store: RunStore, run_id: str) -> float:
    """Return when a run was made, in seconds since 1970."""
    return formats.parse_time(store.get(run_id).state.created_at).timestamp()


def _settings(store: RunStore, run_id: str) -> str | None:
    try:
        return store.config_text(run_id)
    except NotFoundError:
        return None


class _Writing:
    """The records of one file, in the order of their steps; ``steps`` counts them as they go."""

    def __init__(self, reader: MetricsReader, created_at: float, settings: str | None) -> None:
        self.created_at, self.steps = created_at, 0
        self._reader, self._settings = reader, settings
        self._clock = WallClock.of(reader, created_at)
        self._evaluations = {row["step"]: row for row in reader.latest_evaluations()}
        self._samples = _by_step(reader.all_samples())

    def records(self) -> Iterator[bytes]:
        yield tfevents.file_head(self.created_at)
        if self._settings is not None:
            content = f"```toml\n{self._settings}```"
            yield tfevents.text(self.created_at, 0, "settings", content)
        for row in self._reader.export_rows():
            yield from self._of_step(row)
            self.steps += 1

    def _of_step(self, row: Any) -> Iterator[bytes]:
        step: int = row["step"]
        yield from self._values(TRAINING_TAGS, row)
        if step in self._evaluations:
            yield from self._values(VALIDATION_TAGS, self._evaluations[step])
        for number, sample in enumerate(self._samples.get(step, ()), start=1):
            content = f"```\n{sample['prompt']}{sample['text']}\n```"
            yield tfevents.text(_seconds(sample["at"]), step, f"samples/prompt {number}", content)

    def _values(self, tags: Mapping[str, str], row: Any) -> Iterator[bytes]:
        values = {tag: row[column] for tag, column in tags.items() if row[column] is not None}
        if values:
            at = self._clock.at(row["step"], row["elapsed_seconds"])
            yield tfevents.scalars(at, row["step"], values)


def _by_step(samples: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        found[sample["step"]].append(sample)
    return found


def _seconds(stamp: str) -> float:
    return formats.parse_time(stamp).timestamp()


# ---------------------------------------------------------------------- when a step was


@dataclass(frozen=True)
class Sitting:
    """One process that worked on a run: its first step, its start, and readings by that clock.

    ``elapsed`` rises; ``wall`` holds the seconds since 1970 at the same moments.
    """

    after_step: int
    started_at: float
    elapsed: Sequence[float]
    wall: Sequence[float]


class WallClock:
    """Tells when a step was, from the time that the run had been worked on by then.

    That time stands still between two processes. Within one, the readings of the machine say how
    far it is behind the clock on the wall.
    """

    def __init__(self, sittings: Sequence[Sitting], created_at: float) -> None:
        self._sittings = sittings or [Sitting(-1, created_at, (), ())]

    @classmethod
    def of(cls, reader: MetricsReader, created_at: float) -> WallClock:
        """Build it from what a run's database tells."""
        begun = [row for row in reader.sittings() if row["from_step"] is not None]
        starts = [(row["from_step"], _seconds(row["started_at"])) for row in begun]
        starts = starts or [(-1, created_at)]
        readings = [(_seconds(at), elapsed) for elapsed, at in reader.reading_times()]
        ends = [start for _, start in starts[1:]] + [float("inf")]
        return cls(
            [
                _sitting(after, start, [r for r in readings if start <= r[0] < end])
                for (after, start), end in zip(starts, ends, strict=True)
            ],
            created_at,
        )

    def at(self, step: int, elapsed_seconds: float | None) -> float:
        """Return when a step was done, in seconds since 1970."""
        worked = [sitting for sitting in self._sittings if sitting.after_step < step]
        sitting = worked[-1] if worked else self._sittings[0]
        if elapsed_seconds is None:
            return sitting.started_at
        if not sitting.elapsed:
            return sitting.started_at + elapsed_seconds
        place = bisect_left(sitting.elapsed, elapsed_seconds)
        near = min(place, len(sitting.elapsed) - 1)
        return sitting.wall[near] + elapsed_seconds - sitting.elapsed[near]


def _sitting(after_step: int, started_at: float, readings: list[tuple[float, float]]) -> Sitting:
    ordered = sorted((elapsed, wall) for wall, elapsed in readings)
    elapsed, wall = [pair[0] for pair in ordered], [pair[1] for pair in ordered]
    return Sitting(after_step, started_at, elapsed, wall)
