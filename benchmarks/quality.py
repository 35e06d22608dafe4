"""Time to quality: how soon this program is as good as the peer is in the end.

A schedule that decays is only good at its end, so this program is given several plans, each
trained to its end: shares of the peer's time, and all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks import peer
from benchmarks.contest import (
    Contestant,
    hold,
    product_contestant,
    seconds_per_step,
    seconds_to_reach,
    validation_judge,
)
from benchmarks.measuring import Figure
from benchmarks.options import Options
from benchmarks.product import ProductSteps, a_run

TITLE = "Time to quality"
PEER_BATCH_SIZE = 8
LEAST_STEPS = 20
LOOKS = 2
_MANY_EPOCHS = "training.epochs=1000"


def measure(options: Options) -> list[Figure]:
    """Train the peer and this program by turns, each for its own time, on the same text."""
    with ExitStack() as stack:
        theirs = list(_theirs(options, stack))
        ours = list(_ours(options, stack))
        hold([*theirs, *ours])
    return [
        *(figure for contestant in (*theirs, *ours) for figure in _curve(contestant)),
        *_time_to_quality(theirs, ours),
    ]


def _ours(options: Options, stack: ExitStack) -> Iterator[Contestant]:
    pace = _pace(options)
    for share in options.shares:
        seconds = share * 60 * options.minutes
        steps = f"training.max_steps={max(LEAST_STEPS, round(seconds / pace))}"
        config = options.configuration(_MANY_EPOCHS, options.compiled, steps)
        job, trainee = stack.enter_context(a_run(config, options.data_dir))
        looks = LOOKS if share >= 1.0 else 1
        yield product_contestant(f"llm-trainer, planned for {seconds:.0f} s", job, trainee, looks)


def _pace(options: Options) -> float:
    config = options.configuration(_MANY_EPOCHS, options.compiled)
    with a_run(config, options.data_dir) as (job, trainee):
        steps = ProductSteps(job, trainee)
        steps.warm_up()
        return seconds_per_step(steps.take)


def _theirs(options: Options, stack: ExitStack) -> Iterator[Contestant]:
    transformers = peer.library()
    if transformers is None:
        return
    pairs = (f"training.batch_size={PEER_BATCH_SIZE}", "training.grad_accum_steps=1")
    config = options.configuration(*pairs, _MANY_EPOCHS, "training.compile=off")
    _, trainee = stack.enter_context(a_run(config, options.data_dir))
    rate = options.peer_learning_rate
    pace = seconds_per_step(peer.PlainTrainer(transformers, trainee).take)
    steps = max(LEAST_STEPS, round(60 * options.minutes / pace))
    plain = peer.PlainTrainer(transformers, trainee, steps, rate)
    judge = validation_judge(trainee, peer.PeerScorer(plain.model))
    name = f"transformers GPT-2, AdamW {rate:g}, cosine, batch {PEER_BATCH_SIZE}"
    yield Contestant(name, steps, plain.take, judge, LOOKS)


def _curve(contestant: Contestant) -> Iterator[Figure]:
    for point in contestant.curve:
        where = f"after {point.seconds:.0f} s, {point.tokens / 1e6:.2f} M tokens"
        yield Figure.of(f"{contestant.name}: {where}", [point.word_perplexity], "word perplexity")


def _time_to_quality(theirs: Sequence[Contestant], ours: Sequence[Contestant]) -> list[Figure]:
    if not theirs:
        return [Figure.absent("transformers GPT-2", peer.NOT_HERE)]
    goal = theirs[0].curve[-1]
    ends = [(c.curve[-1].seconds, c.curve[-1].word_perplexity) for c in ours]
    reached = seconds_to_reach(ends, goal.word_perplexity)
    what = "time to the peer's last perplexity"
    if reached is None:
        return [Figure.absent(what, f"not reached in {ends[-1][0]:.0f} s")]
    return [
        Figure.of(f"{what}, without compiling", [reached], "s"),
        Figure.of(f"{what}: the peer's by ours", [goal.seconds / reached], "x"),
    ]
