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
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import torch

from trainer import config as configuration
from trainer.config import Config, Layer
from trainer.engine import checkpoint, corpus, device, evaluation, qwen3, tokenization
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.decoding import Decoder, decoder_for
from trainer.engine.evaluation import Evaluation
from trainer.engine.generation import Generation, Likelihoods, Piece
from trainer.engine.sampling import TokenLikelihood
from trainer.engine.timing import tokens_per_second
from trainer.engine.tokenization import TokenizedCorpus, Tokenizer
from trainer.errors import DataError, NotFoundError, TrainerError
from trainer.inference.protocol import Cancel, Command, Evaluate, Event, Export, Generate
from trainer.inference.request import FinishReason, row_seed
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
        elif isinstance(command, Export):
            self._jobs[command.id] = self._export(command)
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
        path = Path(command.checkpoint)
        tokenizer = self._models.get(path).tokenizer
        started = time.monotonic()
        writing = Generation(self._models.decoder(path), tokenizer, command.settings)
        answer = Answer(writing, tokenizer)
        for piece in writing.pieces(should_stop=partial(self._is_cancelled, command.id)):
            yield answer.take(piece)
        yield answer.done(time.monotonic() - started)

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

    def _export(self, command: Export) -> Iterator[Event | None]:
        loaded = self._models.get(Path(command.checkpoint))
        written = qwen3.write(loaded, Path(command.folder), command.title)
        yield {"type": "done", "parameters": written.parameters, "bytes": written.bytes}

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


def _progress(progress: Progress) -> Event:
    return {"type": "progress", **msgspec.to_builtins(progress)}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Answer:
    """What has been written for one request, told in the words of the protocol."""

    def __init__(self, writing: Generation, tokenizer: Tokenizer) -> None:
        self._writing, self._tokenizer = writing, tokenizer
        self._rows = [_Written() for _ in range(writing.settings.n)]

    def take(self, piece: Piece) -> Event | None:
        """Keep a piece; return the event that it makes, which only the first text's pieces do."""
        written = self._rows[piece.row]
        written.texts.append(piece.text)
        written.tokens, written.finish_reason = piece.tokens, piece.finish_reason
        told: Event = {"type": "token", "text": piece.text, "tokens": piece.tokens}
        if piece.likelihoods is not None:
            told["logprobs"] = [self._likelihoods(piece.likelihoods)]
            written.logprobs += told["logprobs"]
        return told if piece.row == 0 and (piece.text or piece.likelihoods) else None

    def done(self, seconds: float) -> Event:
        """Return the last event of a generation that took so long."""
        continuations = [self._continuation(row) for row in range(len(self._rows))]
        tokens = sum(written.tokens for written in self._rows)
        several = {"continuations": continuations} if len(continuations) > 1 else {}
        return {
            "type": "done",
            **continuations[0],
            "tokens_per_second": tokens_per_second(tokens, seconds),
            "prompt_tokens": self._writing.prompt_tokens,
            "prompt_tokens_read": self._writing.prompt_tokens_read,
            **several,
        }

    def _continuation(self, row: int) -> Event:
        written, settings = self._rows[row], self._writing.settings
        told: Event = {
            "text": "".join(written.texts),
            "tokens": written.tokens,
            "seed": row_seed(settings.seed or 0, row),
            "finish_reason": written.finish_reason,
        }
        return told if settings.logprobs is None else told | {"logprobs": written.logprobs}

    def _likelihoods(self, found: Likelihoods) -> Event:
        return self._named(found.chosen) | {"top": [self._named(one) for one in found.top]}

    def _named(self, found: TokenLikelihood) -> Event:
        data = self._tokenizer.token_bytes(found.token)
        return {
            "token": data.decode("utf-8", "replace"),
            "id": found.token,
            "bytes": list(data),
            "logprob": found.logprob,
        }


@dataclass
class _Written:
    """One continuation as far as it has come."""

    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    finish_reason: FinishReason | None = None
    logprobs: list[Event] = field(default_factory=list)


@dataclass
class _Ready:
    """A model in memory, and what writes with it once something has been written."""

    model: LoadedModel
    decoder: Decoder | None = None


class Models:
    """The models used last, ready for the next job; a checkpoint that was replaced is read anew."""

    def __init__(self, kept: int = MODELS_KEPT) -> None:
        self._kept = kept
        self._ready: OrderedDict[tuple[str, int, int, int], _Ready] = OrderedDict()

    def get(self, path: Path) -> LoadedModel:
        """Return the model of a checkpoint.

        Raises:
            NotFoundError: there is no such file.
            CheckpointError: it is damaged.
        """
        return self._get(path).model

    def decoder(self, path: Path) -> Decoder:
        """Return what writes with the model of a checkpoint; raises what :meth:`get` raises."""
        ready = self._get(path)
        if ready.decoder is None:
            ready.decoder = decoder_for(ready.model.model, self.device, self.autocast)
        return ready.decoder

    def _get(self, path: Path) -> _Ready:
        key = _identity(path)
        if key not in self._ready:
            while len(self._ready) >= self._kept:
                self._ready.popitem(last=False)
            self._ready[key] = _Ready(checkpoint.load_model(path, self.device))
        self._ready.move_to_end(key)
        return self._ready[key]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Make the context of a forward pass that writes text on a GPU."""
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
