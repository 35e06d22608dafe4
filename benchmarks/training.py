"""Training throughput: this program's real step, eager and compiled, beside the peer's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import peer
from benchmarks.measuring import Figure, interleaved, ratios
from benchmarks.options import WHOLE_CONTEXT, Options
from benchmarks.product import ProductSteps, a_run
from trainer.engine.trainee import Trainee

TITLE = "Training throughput"
BATCH_SIZES = (8, 16)
ROUNDS = 10
_PEER = "transformers GPT-2, fp32, eager"


@dataclass(frozen=True)
class _Contender:
    name: str
    take: Callable[[], object]


def measure(options: Options) -> list[Figure]:
    """Time whole steps with their data, by turns, at two batch sizes."""
    return [figure for size in BATCH_SIZES for figure in _at(options, size)]


def _at(options: Options, batch_size: int) -> list[Figure]:
    with ExitStack() as stack:
        contenders = []
        for compiled in (False, True):
            name, take, trainee = _product(options, stack, batch_size, compiled)
            contenders.append(_Contender(name, take))
        contenders += _peer(trainee)
        taken = interleaved({c.name: c.take for c in contenders}, options.rounds(ROUNDS), 2)
        return list(_figures(taken, trainee.batches.tokens_per_step, _how(trainee)))


def _product(
    options: Options, stack: ExitStack, batch_size: int, compiled: bool
) -> tuple[str, Callable[[], int], Trainee]:
    config = options.configuration(
        f"training.batch_size={batch_size}",
        "training.grad_accum_steps=1",
        WHOLE_CONTEXT,
        options.compiled if compiled else "training.compile=off",
    )
    job, trainee = stack.enter_context(a_run(config, options.data_dir))
    steps = ProductSteps(job, trainee)
    steps.warm_up()
    precision = "fp32" if trainee.precision == "off" else trainee.precision
    active = "compiled" if trainee.compiled.active else "eager"
    return f"llm-trainer, {precision}, {active}", steps.take, trainee


def _peer(trainee: Trainee) -> list[_Contender]:
    transformers = peer.library()
    if transformers is None:
        return []
    return [_Contender(_PEER, peer.PlainTrainer(transformers, trainee).take)]


def _how(trainee: Trainee) -> str:
    training = trainee.config.training
    return f"batch {training.batch_size} x {training.seq_length}"


def _figures(taken: dict[str, list[float]], tokens: int, how: str) -> Iterator[Figure]:
    for name, seconds in taken.items():
        yield Figure.of(f"{how}: {name}", [tokens / s for s in seconds], "tok/s")
    if _PEER not in taken:
        yield Figure.absent(f"{how}: {_PEER}", peer.NOT_HERE)
        return
    for name, seconds in taken.items():
        if name != _PEER:
            times = ratios(taken[_PEER], seconds)
            yield Figure.of(f"{how}: {name}, times the peer's speed", times, "x")
