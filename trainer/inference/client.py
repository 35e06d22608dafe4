"""The viewer's side of the processes that hold models; never imports torch.

:class:`ModelService` asks the one process that all viewers of a workspace share,
:class:`ModelProcess` one of its own. Either is started when it is first needed, and again after it
has died. Both can be used by many threads at once; the process works on all jobs by turns.
"""

from __future__ import annotations

import itertools
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainer.children import module_command
from trainer.errors import TrainerError
from trainer.inference.channel import Channel
from trainer.inference.child import Child
from trainer.inference.connection import Connection, meet
from trainer.inference.job import Job, error_from
from trainer.inference.protocol import (
    Evaluate,
    Export,
    Generate,
    Import,
    JobCommand,
    ModelFormat,
    Score,
    Split,
    Warm,
    WeightType,
)
from trainer.inference.rendezvous import SERVICE_MODULE, rendezvous
from trainer.inference.request import GenerationSettings, checked_score, scored_text

__all__ = ["Job", "ModelClient", "ModelProcess", "ModelService", "error_from"]


class ModelClient(ABC):
    """Asks a process to write and score texts with the models of checkpoints.

    Each method begins a job; its events come as the job is iterated.
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._channel: Channel | None = None

    def generate(self, checkpoint: Path, settings: GenerationSettings, *, client: str = "") -> Job:
        """Begin to continue a prompt.

        A seed is drawn here where none is given, so that it is known whatever becomes of the text.

        Args:
            client: for whom, where this asks for several who are to take turns.

        Raises:
            UsageError: a setting is wrong.
        """
        seeded = settings.validate().with_seed()
        return self._begin(Generate(next(self._ids), _path(checkpoint), seeded, client))

    def score(self, checkpoint: Path, text: str, alternatives: int = 0, *, client: str = "") -> Job:
        """Begin to tell how likely each token of a text is; see :class:`protocol.Score`.

        One line break at the end of the text is left out.

        Args:
            alternatives: how many of the likeliest tokens to tell at each place.

        Raises:
            UsageError: the text cannot be scored.
        """
        checked_score(text := scored_text(text), alternatives)
        return self._begin(Score(next(self._ids), _path(checkpoint), text, alternatives, client))

    def warm(self, checkpoint: Path) -> Job:
        """Begin to have a model ready for what may be asked next."""
        return self._begin(Warm(next(self._ids), _path(checkpoint)))

    def evaluate(self, checkpoint: Path, *, data_dir: Path, split: Split) -> Job:
        """Begin to score a split of the text that the checkpoint's run was trained on.

        Args:
            data_dir: folder of the token files; they are built again when they are gone.
        """
        return self._begin(
            Evaluate(next(self._ids), _path(checkpoint), os.path.abspath(data_dir), split)
        )

    def export(
        self,
        checkpoint: Path,
        target: Path,
        *,
        title: str,
        form: ModelFormat = "hf",
        weights: WeightType = "f16",
        run_id: str = "",
    ) -> Job:
        """Begin to write a model for other programs; see :class:`protocol.Export`.

        Args:
            target: an existing folder (``hf``), or a file that is not there yet (``gguf``).
            title: of the model card.
            run_id: of the run that the checkpoint is of.
        """
        path, place, number = _path(checkpoint), _path(target), next(self._ids)
        return self._begin(Export(number, path, place, title, form, weights, run_id))

    def import_model(
        self, folder: Path, checkpoint: Path, *, settings: dict[str, Any], known: dict[str, Any]
    ) -> Job:
        """Begin to read a folder of dense Qwen3 and write it as a checkpoint.

        Args:
            settings, known: see :class:`protocol.Import`.
        """
        path, place, number = _path(folder), _path(checkpoint), next(self._ids)
        return self._begin(Import(number, path, place, settings, known))

    def close(self) -> None:
        """Let go of the process; jobs that are under way fail. A later job asks anew."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _open(self) -> Channel:
        """Reach the process."""

    def _begin(self, command: JobCommand) -> Job:
        job = Job(command)
        self._hand_over(job)
        return job

    def _hand_over(self, job: Job) -> None:
        with self._lock:
            if self._channel is None or self._channel.over:
                self._channel = self._open()
            channel = self._channel
        channel.begin(job)


class ModelProcess(ModelClient):
    """A process of its own, that ends with its owner.

    Args:
        command: starts the child; another one than this program's is for tests.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        super().__init__()
        self._command = list(command or module_command(SERVICE_MODULE))

    def _open(self) -> Channel:
        return Child(self._command)


class ModelService(ModelClient):
    """The process that all who look at a workspace share.

    Where there is no place to meet it (a system without Unix sockets), it is a process of its own.
    What cannot be started fails when a job is begun, what ends midway fails the job.

    Args:
        home: the workspace.
    """

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def _open(self) -> Channel:
        place = rendezvous(self._home)
        if place is None:
            return Child(module_command(SERVICE_MODULE))
        return Connection(meet(place), place, self._resume)

    def _resume(self, job: Job) -> None:
        """Ask another process for what one that ended by itself has not begun."""
        try:
            self._hand_over(job)
        except TrainerError as error:
            job.fail(error)
        if job.cancelled:
            job.cancel()


def _path(path: Path) -> str:
    return os.path.abspath(path)
