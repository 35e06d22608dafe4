"""For how long a checkpoint keeps the training thread, and how long it takes as a whole."""

from __future__ import annotations

from benchmarks.measuring import Figure, interleaved, ratios
from benchmarks.options import Options
from benchmarks.product import ProductSteps, a_run
from trainer.engine import checkpoint, milestones

TITLE = "Saving a checkpoint (the training thread waits)"
ROUNDS = 8


def measure(options: Options) -> list[Figure]:
    """Save the same run by turns: as training does, and all of it on the training thread."""
    config = options.configuration("training.compile=off")
    with a_run(config, options.data_dir) as (job, trainee):
        ProductSteps(job, trainee).take()  # The optimizers' state is there from the first step on.
        job.paths.checkpoints.mkdir(exist_ok=True)
        payload = milestones.payload(trainee, trainee.standing)
        here = job.paths.checkpoints / "here.pt"
        actions = {
            "handed over": lambda: milestones.save(job, trainee),
            "written": trainee.saver.wait,
            "here": lambda: checkpoint.save(here, payload),
        }
        taken = interleaved(actions, options.rounds(ROUNDS))
        trainee.saver.close()
        size = checkpoint.tensor_bytes(payload) / 1e6
    handed, alone = taken["handed over"], taken["here"]
    return [
        Figure.of("size of the checkpoint", [size], "MB"),
        Figure.of("handed over to the thread that writes", _ms(handed), "ms"),
        Figure.of("until it is written, beside that", _ms(taken["written"]), "ms"),
        Figure.of("written by the training thread itself", _ms(alone), "ms"),
        Figure.of("the training thread waits less by", ratios(alone, handed), "x"),
    ]


def _ms(seconds: list[float]) -> list[float]:
    return [1000 * each for each in seconds]
