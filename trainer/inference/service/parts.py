"""What the scheduler asks of the parts that compute: they import torch, it does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainer.inference.protocol import Event, JobCommand
from trainer.inference.request import GenerationSettings

Identity = Hashable
"""Names the content of a checkpoint: one that is replaced has another."""


class Begun(Protocol):
    """A text that a batch has taken; see :class:`trainer.engine.batching.Begun`."""

    @property
    def settings(self) -> GenerationSettings: ...


class Batch(Protocol):
    """See :class:`trainer.engine.batching.Batch`."""

    @property
    def free_rows(self) -> int: ...

    def add(self, key: Hashable, settings: GenerationSettings) -> Any: ...

    def cancel(self, key: Hashable) -> Sequence[Any]: ...

    def turn(self, held: Collection[Hashable] = ()) -> Sequence[tuple[Hashable, Any]]: ...


class Answer(Protocol):
    """What has been written for one request; see :class:`answer.Answer`."""

    @property
    def ended(self) -> bool: ...

    def take(self, told: Any) -> Event | None: ...

    def done(self, seconds: float) -> Event: ...


class Model(Protocol):
    """A model in memory; see :class:`models.Model`."""

    @property
    def bytes(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    @property
    def batch(self) -> Batch: ...

    def prepare(self, text: str) -> None: ...

    def answer(self, begun: Any) -> Answer: ...

    def reset(self) -> None: ...


class StoredModel(Protocol):
    """A checkpoint that was opened and holds next to no memory yet.

    ``bytes`` is what its model will take with a text under way.
    """

    @property
    def bytes(self) -> int: ...

    def build(self) -> Model: ...


class Shelf(Protocol):
    """Where models come from; see :class:`models.Shelf`."""

    def identity(self, path: Path) -> Identity: ...

    def open(self, path: Path) -> StoredModel: ...

    def steps(
        self, command: JobCommand, model: Any, report: Callable[[Event], None]
    ) -> Iterator[Event | None]: ...

    def released(self) -> None: ...

    def keep_pace(self) -> None: ...
