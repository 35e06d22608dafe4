"""The curves, read in small pieces."""

from __future__ import annotations

from tests.conftest import MakeRun, point_row
from trainer.runs import Run
from trainer.store.metrics import MetricsReader, MetricsWriter
from trainer.tui import curves
from trainer.tui.curves import NO_CURVES, Curve, Curves, read_curves, thinned, tick_labels, ticks


def read(run: Run, known: Curves = NO_CURVES) -> Curves:
    with MetricsReader(run.paths.metrics) as reader:
        return read_curves(reader, known)


def write(run: Run, *rows: tuple[str, dict[str, float]]) -> None:
    writer = MetricsWriter(run.paths.metrics)
    writer.write(rows)
    writer.close()


def test_only_what_is_new_is_read(make_run: MakeRun) -> None:
    run = make_run(points=2)
    first = read(run)
    assert first.train == Curve((1, 2), (5.0, 4.9))
    write(run, ("points", point_row(3)), ("evaluations", {"step": 2, "val_loss": 4.5}))
    second = read(run, first)
    assert second.train == Curve((1, 2, 3), (5.0, 4.9, 4.8))
    assert second.validation == Curve((2,), (4.5,))


def test_a_known_curve_is_not_read_again(make_run: MakeRun) -> None:
    run = make_run(points=2)
    pretended = Curves(Curve((2,), (7.0,)), Curve())
    assert read(run, pretended) == pretended


def test_a_curve_that_was_cut_is_read_anew(make_run: MakeRun) -> None:
    run = make_run(points=5)
    known = read(run)
    writer = MetricsWriter(run.paths.metrics)
    writer.cut_after(3)
    writer.close()
    assert read(run, known).train.steps == (1, 2, 3)


def test_a_long_run_is_read_in_buckets_whose_spikes_show(make_run: MakeRun) -> None:
    run = make_run()
    losses = {step: 9.0 if step == 1001 else 2.0 for step in range(1, 2001)}
    write(run, *(("points", {"step": s, "train_loss": v}) for s, v in losses.items()))
    curve = read(run).train
    assert len(curve.steps) <= 3 * curves.COARSE_POINTS
    assert max(curve.values) == 9.0
    assert curve.last_step == 2000


def test_a_run_without_metrics_has_no_curves(make_run: MakeRun) -> None:
    assert read(make_run()).empty


def test_thinning_keeps_the_newest_point() -> None:
    curve = Curve((1, 2, 3, 4, 5), (5.0, 4.0, 3.0, 2.0, 1.0))
    assert thinned(curve, 2) == Curve((5, 2), (1.0, 4.0))
    assert set(thinned(curve, 9).steps) == {1, 2, 3, 4, 5}
    assert thinned(Curve(), 9) == Curve()


def test_ticks_are_round_and_within() -> None:
    assert ticks(0, 1000, 5) == [0, 500, 1000]
    assert ticks(3.1, 9.2, 4) == [4, 6, 8]
    assert ticks(1, 393, 5) == [100, 200, 300]
    assert ticks(4.0, 4.0, 5) == [4.0]


def test_tick_labels_have_the_decimals_they_need() -> None:
    assert tick_labels([4, 6, 8]) == ["4", "6", "8"]
    assert tick_labels([0.5, 1.0, 1.5]) == ["0.5", "1.0", "1.5"]
    assert tick_labels([1000, 2000]) == ["1,000", "2,000"]
    assert tick_labels([4.25]) == ["4.25"]
