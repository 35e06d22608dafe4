"""Models in memory: read from checkpoints, ready to write, and given back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.engine import checkpoint
from trainer.engine import device as devices
from trainer.engine.batching import Batch, Begun
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.decoding import decoder_for
from trainer.engine.generation import Generation
from trainer.engine.tokenization import Tokenizer
from trainer.errors import NotFoundError
from trainer.inference.protocol import Event, JobCommand
from trainer.inference.request import GenerationSettings
from trainer.inference.service.answer import Answer
from trainer.inference.service.priority import Pace
from trainer.inference.service.texts import MOST_ROWS_OF_ONE
from trainer.store.queue import devices_in_use
from trainer.store.workspace import Workspace

DEVICE_VARIABLE = "LLM_TRAINER_INFERENCE_DEVICE"
"""Set to ``cpu``, or any other device preference, to decide where models are put."""

TEXTS_REMEMBERED = 4
MOST_ROWS = 2 * MOST_ROWS_OF_ONE


class Model:
    """A model that is ready to write.

    Args:
        since: when it was asked for, in monotonic seconds.
    """

    def __init__(
        self, loaded: LoadedModel, weight_bytes: int, device: torch.device, since: float
    ) -> None:
        self.loaded, self.device = loaded, device
        self._weight_bytes = weight_bytes
        self.codec = Codec(loaded.tokenizer)
        self.decoder = decoder_for(loaded.model, device, self._autocast, read_only=True)
        self.batch = self._new_batch()
        self._write_something()
        self.seconds = time.monotonic() - since
        """How long it took to have it ready."""

    @property
    def bytes(self) -> int:
        """Memory taken without any text."""
        return self._weight_bytes + self.decoder.bytes

    @property
    def row_bytes(self) -> int:
        """Most memory that one text under way takes."""
        return self.decoder.bytes_a_row

    @property
    def parameters(self) -> int:
        """Weights, a shared one counted once."""
        return sum(weight.numel() for weight in self.loaded.model.parameters())

    def prepare(self, text: str) -> None:
        """Turn a text into tokens before they are needed; safe in any thread."""
        self.codec.prepare(text)

    def answer(self, begun: Begun) -> Answer:
        """Return what collects a text that the batch has taken."""
        return Answer(begun, self.loaded.tokenizer)

    def reset(self) -> None:
        """Begin anew after a turn of the batch has failed."""
        self.batch = self._new_batch()

    def _write_something(self) -> None:
        """Do for the first time what takes longer the first time."""
        settings = GenerationSettings(max_new_tokens=2)
        deque(Generation(self.decoder, self.loaded.tokenizer, settings).pieces(), maxlen=0)

    def _new_batch(self) -> Batch:
        return Batch(self.decoder, self.codec, MOST_ROWS)

    def _autocast(self) -> AbstractContextManager[Any]:
        return devices.autocast(self.device, self._precision)

    @cached_property
    def _precision(self) -> str:
        return devices.choose_precision("auto", self.device).name


class Codec:
    """A tokenizer that remembers the tokens of the texts that were prepared last."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_of_text, self.vocab_size = tokenizer.end_of_text, tokenizer.vocab_size
        self.token_bytes = tokenizer.token_bytes
        self._tokenizer = tokenizer
        self._prepared: deque[tuple[str, list[int]]] = deque(maxlen=TEXTS_REMEMBERED)

    def prepare(self, text: str) -> None:
        """Find the tokens of a text that is going to be asked for."""
        self._prepared.append((text, self._tokenizer.encode(text)))

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        remembered = next((ids for known, ids in self._prepared if known == text), None)
        return self._tokenizer.encode(text) if remembered is None else remembered


class StoredModel:
    """A checkpoint that was opened; see :class:`trainer.engine.checkpoint.StoredModel`."""

    def __init__(self, stored: checkpoint.StoredModel, device: torch.device, since: float) -> None:
        self._stored, self._device, self._since = stored, device, since

    @property
    def bytes(self) -> int:
        """What the model will take, about."""
        return self._stored.bytes

    def build(self) -> Model:
        """Bring the weights into memory.

        Raises:
            CheckpointError: they do not fit.
        """
        devices.use(self._device)
        loaded = self._stored.build(self._device)
        return Model(loaded, self._stored.bytes, self._device, self._since)


class Shelf:
    """Where models come from.

    Args:
        home: the workspace, to whose runs this yields; None: nobody's.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._queue = None if home is None else Workspace(home).queue_dir
        self._pace = None if home is None else Pace(home, torch.set_num_threads)

    def keep_pace(self) -> None:
        """Compute with as many threads as the runs of the workspace leave room for."""
        if self._pace is not None:
            self._pace.keep()

    def identity(self, path: Path) -> tuple[int, int, int, int]:
        """Return what names the content of a checkpoint, under whatever name it is known.

        Raises:
            NotFoundError: there is no such file.
        """
        try:
            facts = path.stat()
        except OSError as error:
            raise NotFoundError(
                f"There is no checkpoint {path}.",
                "See 'llm-trainer status' for the runs there are.",
            ) from error
        return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size

    def open(self, path: Path) -> StoredModel:
        """Open a checkpoint.

        Raises:
            NotFoundError: there is no such file.
            CheckpointError: it is damaged.
        """
        since = time.monotonic()
        if self._pace is not None:  # Each thread has a number of its own.
            torch.set_num_threads(self._pace.threads)
        return StoredModel(checkpoint.open_model(path), self._device(), since)

    def steps(
        self, command: JobCommand, model: Model | None, report: Callable[[Event], None]
    ) -> Iterator[Event | None]:
        """Begin a job that is no generation; see :func:`tasks.steps`."""
        from trainer.inference.service import tasks  # Much of it is seldom wanted.

        return tasks.steps(command, model, report)

    def released(self) -> None:
        """Give memory back to the system after a model was let go of."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        trim()

    def _device(self) -> torch.device:
        choice = devices.choose(os.environ.get(DEVICE_VARIABLE, "auto"), False)
        asked = DEVICE_VARIABLE in os.environ
        if not asked and self._queue is not None and choice.key in devices_in_use(self._queue):
            return torch.device("cpu")
        return torch.device(choice.device)


def trim() -> None:
    """Return freed memory to the system at once, where the C library would keep it."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError):  # Another C library than glibc.
            ctypes.CDLL(None).malloc_trim(0)
