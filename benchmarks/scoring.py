"""How fast a text is scored, as an evaluation does it."""

from __future__ import annotations

from benchmarks.measuring import Figure, seconds
from benchmarks.options import Options
from benchmarks.product import a_run
from trainer.engine import evaluation

TITLE = "Evaluation"
TOKENS = 20_000


def measure(options: Options) -> list[Figure]:
    """Score the beginning of the validation text with half a window of context."""
    with a_run(options.configuration("training.compile=off"), options.data_dir) as (_, trainee):
        tokens = trainee.tokens.splits["validation"].tokens[:TOKENS]
        length = trainee.config.training.seq_length

        def score() -> None:
            evaluation.evaluate(
                trainee.model,
                tokens,
                seq_length=length,
                stride=max(1, length // 2),
                words=1,
                byte_count=1,
                batch_size=32,
                device=trainee.device,
                autocast=trainee.autocast,
            )

        taken = seconds(score, options.rounds(7))
    what = "evaluation, half a window of context"
    return [Figure.of(what, [len(tokens) / s for s in taken], "tok/s")]
