"""How much of the machine's own matrix products the training step reaches."""

from __future__ import annotations

from benchmarks.measuring import Figure, seconds
from benchmarks.options import WHOLE_CONTEXT, Options
from benchmarks.product import ProductSteps, a_run
from trainer.engine.utilisation import MatmulPeak, measure_peak, utilisation
from trainer.foresight.workload import flops_per_token

TITLE = "Utilisation"
ROUNDS = 8
STEPS_A_ROUND = 2
_FORMATS = {"off": "fp32", "bf16": "bf16"}


def measure(options: Options) -> list[Figure]:
    """Measure the peaks and the step by turns, in one process and with the same threads."""
    config = options.configuration(options.compiled, WHOLE_CONTEXT)
    with a_run(config, options.data_dir) as (job, trainee):
        steps = ProductSteps(job, trainee)
        steps.warm_up()
        steps.take()
        model, tokens = trainee.model, trainee.batches.tokens_per_step
        flops = flops_per_token(model.shape, model.vocab_size, model.context)
        peaks: dict[str, list[MatmulPeak]] = {precision: [] for precision in _FORMATS}
        paces: list[float] = []
        for _ in range(options.rounds(ROUNDS)):
            for precision, measured in peaks.items():
                measured.append(measure_peak(trainee.device, precision))
            paces += [tokens / s for s in seconds(steps.take, STEPS_A_ROUND, warm_ups=0)]
        precision = _FORMATS[trainee.precision]
    return [
        *(_peak(_FORMATS[name], measured) for name, measured in peaks.items()),
        Figure.of(f"training step, {precision}, compiled", paces, "tok/s"),
        Figure.of("arithmetic of the step", [pace * flops / 1e9 for pace in paces], "GFLOP/s"),
        *(_share(_FORMATS[name], paces, flops, peaks[name]) for name in worthwhile(peaks)),
    ]


def worthwhile(peaks: dict[str, list[MatmulPeak]]) -> list[str]:
    """Return fp32, and bf16 where the machine multiplies faster in it."""
    best = {name: max(peak.flops_per_second for peak in peaks[name]) for name in peaks}
    return [name for name in peaks if best[name] >= best["off"]]


def _peak(name: str, measured: list[MatmulPeak]) -> Figure:
    rates = [peak.flops_per_second / 1e9 for peak in measured]
    return Figure.of(f"torch.matmul, 1024 x 1024, {name}, best of a moment", rates, "GFLOP/s")


def _share(name: str, paces: list[float], flops: float, measured: list[MatmulPeak]) -> Figure:
    best = max(measured, key=lambda peak: peak.flops_per_second)
    shares = [100 * (utilisation(pace, flops, best) or 0.0) for pace in paces]
    return Figure.of(f"share of the best {name} peak", shares, "%")
