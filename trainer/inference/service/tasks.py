"""Jobs that are no generations, a step a turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from trainer import config as configuration
from trainer.config import Layer
from trainer.engine import adopting, evaluation, gguf_file, qwen3, reopening, scoring
from trainer.inference.protocol import Evaluate, Event, Export, Import, JobCommand, Score, Warm
from trainer.inference.service.answer import named_tokens
from trainer.inference.service.models import Model
from trainer.store.records import Progress

T = TypeVar("T")

_NAMED_AT_ONCE = 512
"""Of a text that was scored, so many tokens are named between two turns of others."""

Report = Callable[[Event], None]


def steps(command: JobCommand, model: Model | None, report: Report) -> Iterator[Event | None]:
    """Begin a job; it ends with the event ``done``.

    Args:
        model: of the job's checkpoint, where it has one.
        report: takes what is told in the middle of a step.
    """
    if isinstance(command, Import):
        return _import(command, report)
    assert model is not None
    if isinstance(command, Evaluate):
        return _evaluate(command, model, report)
    if isinstance(command, Export):
        return _export(command, model)
    if isinstance(command, Score):
        return _score(command, model)
    assert isinstance(command, Warm)
    return _warm(model)


def _evaluate(command: Evaluate, model: Model, report: Report) -> Iterator[Event]:
    payload = model.loaded.payload
    config = configuration.build(Layer("checkpoint", payload["config"]))
    tokens = reopening.reopen(
        payload,
        config.data,
        Path(command.data_dir),
        lambda progress: report(_progress(progress)),
    )
    split = tokens.splits[command.split]
    batches = evaluation.score(
        model.loaded.model,
        split.tokens,
        seq_length=model.loaded.model.context,
        stride=evaluation.stride(config),
        words=split.words,
        byte_count=split.bytes,
        batch_size=config.training.batch_size,
        device=model.device,
        # Always in fp32: the figure must not depend on the machine.
        autocast=contextlib.nullcontext,
    )
    result = yield from _watched(batches, "evaluating")
    yield {
        "type": "done",
        "split": command.split,
        "loss": result.loss,
        "word_perplexity": result.word_perplexity,
        "bits_per_byte": result.bits_per_byte,
        "words": result.words,
        "tokens": result.tokens,
    }


def _watched(parts: Generator[tuple[int, int], None, T], phase: str) -> Generator[Event, None, T]:
    """Tell how far something is that goes through tokens."""
    while True:
        try:
            done, total = next(parts)
        except StopIteration as end:
            result: T = end.value
            return result
        yield _progress(Progress(phase=phase, done=done, total=total, unit="tokens"))


def _progress(progress: Progress) -> Event:
    return {"type": "progress", **msgspec.to_builtins(progress)}


def _export(command: Export, model: Model) -> Iterator[Event]:
    loaded, target = model.loaded, Path(command.target)
    if command.format == "gguf":
        written = gguf_file.write(loaded, target, command.title, command.weights)
    else:
        written = qwen3.write(loaded, target, command.title, command.run_id)
    yield {"type": "done", "parameters": written.parameters, "bytes": written.bytes}


def _import(command: Import, report: Report) -> Iterator[Event]:
    folder, path = Path(command.folder), Path(command.checkpoint)
    run = adopting.adopt(
        folder,
        path,
        command.settings,
        command.known,
        lambda progress: report(_progress(progress)),
    )
    yield {"type": "done", "run": run}


def _score(command: Score, model: Model) -> Iterator[Event | None]:
    progress = scoring.score(model.decoder, model.codec, command.text, command.alternatives)
    scored = yield from _watched(progress, "scoring")
    tokens: list[Event] = []
    for first in range(0, len(scored.tokens), _NAMED_AT_ONCE):
        part = slice(first, first + _NAMED_AT_ONCE)
        tokens += named_tokens(scored.tokens[part], scored.likelihoods[part], model.codec)
        yield None
    yield {
        "type": "done",
        "tokens": tokens,
        "loss": scored.loss,
        "perplexity": scored.perplexity,
        "word_perplexity": scored.word_perplexity,
        "bits_per_byte": scored.bits_per_byte,
        "words": scored.words,
        "bytes": scored.byte_count,
    }


def _warm(model: Model) -> Iterator[Event]:
    device = str(model.device)
    yield {
        "type": "done",
        "parameters": model.parameters,
        "device": device,
        "seconds": model.seconds,
    }
