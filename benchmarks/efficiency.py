"""Sample efficiency: how good a model is after so many training tokens, whatever the time."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contest import Contestant, hold, product_contestant
from benchmarks.measuring import Figure
from benchmarks.options import Options
from benchmarks.product import a_run

TITLE = "Sample efficiency"
TOKENS = 1_000_000
_SMOKE_STEPS = 20


def measure(options: Options) -> list[Figure]:
    """Train once for a million tokens and once for an epoch, each with a plan of its own."""
    with ExitStack() as stack:
        short = _contestant(options, stack, "a million tokens", tokens=TOKENS)
        contestants = [short, _contestant(options, stack, "one epoch")]
        hold(contestants)
    return [_figure(contestant) for contestant in contestants]


def _contestant(
    options: Options, stack: ExitStack, name: str, tokens: int | None = None
) -> Contestant:
    plan = ["training.epochs=1", options.compiled]
    if tokens is not None:
        training = options.configuration().training
        step = training.batch_size * training.grad_accum_steps * training.seq_length
        plan.append(f"training.max_steps={tokens // step}")
    if options.smoke:
        plan.append(f"training.max_steps={_SMOKE_STEPS}")
    config = options.configuration(*plan)
    job, trainee = stack.enter_context(a_run(config, options.data_dir))
    return product_contestant(name, job, trainee)


def _figure(contestant: Contestant) -> Figure:
    end = contestant.curve[-1]
    what = f"after {contestant.name}: {end.tokens:,} in {end.seconds:.0f} s"
    return Figure.of(what, [end.word_perplexity], "validation word perplexity")
