"""The process that holds models: ``python -m trainer.inference.service``.

It reads commands from its standard input and writes events to its standard output, as
:mod:`trainer.inference.protocol` tells. Jobs are served by turns, a token or a batch each, so
that a long evaluation holds up nobody. It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import torch

from trainer import config as configuration
from trainer.config import Config, Layer
from trainer.engine import checkpoint, corpus, device, evaluation, generation, tokenization
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.evaluation import Evaluation
from trainer.engine.generation import Piece
from trainer.engine.timing import tokens_per_second
from trainer.engine.tokenization import TokenizedCorpus
from trainer.errors import DataError, NotFoundError, TrainerError
from trainer.inference.protocol import Cancel, Command, Evaluate, Event, Generate
from trainer.store.records import Progress

MODELS_KEPT = 2
NICENESS = 10
DEVICE_VARIABLE = "LLM_TRAINER_INFERENCE_DEVICE"
"""Set to ``cpu``, or any other device preference, to decide where models are put."""

_PR_SET_PDEATHSIG = 1


class Service:
    """Works on jobs by turns.

    Args:
        send: takes every event.
    """

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._models = Models()
        self._jobs: dict[int, Iterator[Event | None]] = {}
        self._cancelled: set[int] = set()

    def serve(self, commands: queue.SimpleQueue[Command | None]) -> None:
        """Work until None comes."""
        while True:
            while not self._jobs or not commands.empty():
                command = commands.get()
                if command is None:
                    return
                self._take(command)
            for job_id in list(self._jobs):
                self._advance(job_id)

    def _take(self, command: Command) -> None:
        if isinstance(command, Cancel):
            self._cancelled |= {command.id} & self._jobs.keys()
        elif isinstance(command, Generate):
            self._jobs[command.id] = self._generate(command)
        else:
            self._jobs[command.id] = self._evaluate(command)

    def _advance(self, job_id: int) -> None:
        """Do one turn of a job and send what it has to tell."""
        try:
            event = next(self._jobs[job_id])
        except StopIteration:
            self._forget(job_id)
        except TrainerError as error:
            self._fail(job_id, error)
        except (RuntimeError, MemoryError, OSError) as error:
            self._fail(job_id, TrainerError(f"The model failed: {_first_line(error)}"))
        else:
            if event is not None:
                self._send({"id": job_id, **event})

    def _fail(self, job_id: int, error: TrainerError) -> None:
        self._forget(job_id)
        self._send({"id": job_id, "type": "failed", "error": error.as_dict()})

    def _forget(self, job_id: int) -> None:
        del self._jobs[job_id]
        self._cancelled.discard(job_id)

    def _is_cancelled(self, job_id: int) -> bool:
        return job_id in self._cancelled

    def _generate(self, command: Generate) -> Iterator[Event | None]:
        loaded = self._models.get(Path(command.checkpoint))
        settings = command.settings.with_seed()
        started = time.monotonic()
        texts: list[str] = []
        for piece in generation.stream(
            loaded.model,
            loaded.tokenizer,
            settings,
            device=self._models.device,
            autocast=self._models.autocast,
            should_stop=partial(self._is_cancelled, command.id),
        ):
            texts.append(piece.text)
            yield _token(piece) if piece.text else None
        yield {
            "type": "done",
            "text": "".join(texts),
            "tokens": piece.tokens,
            "tokens_per_second": tokens_per_second(piece.tokens, time.monotonic() - started),
            "seed": settings.seed,
            "finish_reason": piece.finish_reason,
        }

    def _evaluate(self, command: Evaluate) -> Iterator[Event | None]:
        loaded = self._models.get(Path(command.checkpoint))
        config = stored_config(loaded.payload)
        report = partial(self._report, command.id)
        tokens = open_tokens(loaded.payload, config, Path(command.data_dir), report)
        split = tokens.splits[command.split]
        scoring = evaluation.score(
            loaded.model,
            split.tokens,
            seq_length=loaded.model.context,
            stride=evaluation.stride(config),
            words=split.words,
            byte_count=split.bytes,
            batch_size=config.training.batch_size,
            device=self._models.device,
            # Always in fp32: the figure must not depend on the machine.
            autocast=contextlib.nullcontext,
        )
        result = yield from self._watched(command.id, scoring)
        yield {
            "type": "done",
            "split": command.split,
            "loss": result.loss,
            "word_perplexity": result.word_perplexity,
            "bits_per_byte": result.bits_per_byte,
            "words": result.words,
            "tokens": result.tokens,
        }

    def _watched(
        self, job_id: int, scoring: Iterator[tuple[int, int]]
    ) -> Generator[Event, None, Evaluation]:
        """Tell how far an evaluation is, and end it when it is cancelled."""
        while True:
            try:
                done, total = next(scoring)
            except StopIteration as end:
                result: Evaluation = end.value
                return result
            if self._is_cancelled(job_id):
                raise TrainerError("The evaluation was cancelled.")
            yield _progress(Progress(phase="evaluating", done=done, total=total, unit="tokens"))

    def _report(self, job_id: int, progress: Progress) -> None:
        self._send({"id": job_id, **_progress(progress)})


def _token(piece: Piece) -> Event:
    return {"type": "token", "text": piece.text, "tokens": piece.tokens}


def _progress(progress: Progress) -> Event:
    return {"type": "progress", **msgspec.to_builtins(progress)}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Models:
    """The models used last, ready for the next job; a checkpoint that was replaced is read anew."""

    def __init__(self, kept: int = MODELS_KEPT) -> None:
        self._kept = kept
        self._loaded: OrderedDict[tuple[str, int, int, int], LoadedModel] = OrderedDict()

    def get(self, path: Path) -> LoadedModel:
        """Return the model of a checkpoint.

        Raises:
            NotFoundError: there is no such file.
            CheckpointError: it is damaged.
        """
        key = _identity(path)
        if key not in self._loaded:
            while len(self._loaded) >= self._kept:
                self._loaded.popitem(last=False)
            self._loaded[key] = checkpoint.load_model(path, self.device)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Make the context of a forward pass that writes text."""
        return device.autocast(self.device, self._precision)

    @cached_property
    def device(self) -> torch.device:
        """Where models are put."""
        return torch.device(device.choose(os.environ.get(DEVICE_VARIABLE, "auto"), False).device)

    @cached_property
    def _precision(self) -> str:
        return device.choose_precision("auto", self.device).name


def _identity(path: Path) -> tuple[str, int, int, int]:
    try:
        facts = path.stat()
    except OSError as error:
        raise NotFoundError(
            f"There is no checkpoint {path}.", "See 'llm-trainer status' for the runs there are."
        ) from error
    return str(path), facts.st_ino, facts.st_mtime_ns, facts.st_size


def stored_config(payload: dict[str, Any]) -> Config:
    """Return the configuration that a checkpoint was saved with."""
    return configuration.build(Layer("checkpoint", payload["config"]))


def open_tokens(
    payload: dict[str, Any], config: Config, data_dir: Path, report: Callable[[Progress], None]
) -> TokenizedCorpus:
    """Open the token files a checkpoint learned from; build them again when they are gone.

    Raises:
        DataError: the text cannot be had any more, or is not the same.
    """
    key = payload["corpus_key"]
    ready = tokenization.open_prepared(data_dir, key, config.data.dataset_name)
    if ready is not None:
        return ready
    text = corpus.load(config.data, data_dir / "datasets", report)
    if tokenization.corpus_key(text, config.data.vocab_size) != key:
        raise DataError(
            f"The text in '{config.data.dataset_name}' is not the one this run learned from.",
            "Bring back the text as it was: a figure on another text would mean something else.",
        )
    return tokenization.prepare(text, config.data, data_dir, report)


# ---------------------------------------------------------------------- the process


def main() -> int:
    """Serve until standard input ends and return the exit status."""
    _die_with_parent()
    os.nice(NICENESS)
    events = _keep_stdout_for_events()
    commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()

    def send(event: Event) -> None:
        events.write(msgspec.json.encode(event) + b"\n")
        events.flush()

    Service(send).serve(commands)
    return 0


def _die_with_parent() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep_stdout_for_events() -> BinaryIO:
    """Return standard output for events alone; whatever else is printed goes to standard error."""
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return events


def _read_commands(commands: queue.SimpleQueue[Command | None]) -> None:
    decoder = msgspec.json.Decoder(Command)
    for line in sys.stdin.buffer:
        commands.put(decoder.decode(line))
    # A job may still have long to go, and nobody is left to hear of it.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
