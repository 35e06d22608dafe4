"""What is foreseen of a run from earlier ones, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import MakeRun
from trainer.config import Config, Layer, build
from trainer.foresight import outlook, workload
from trainer.foresight.outlook import Foreseen
from trainer.foresight.precedents import Precedent, Precedents, flops_of
from trainer.runs import RunStore
from trainer.store.metrics import MetricsWriter


def configured(**values: Any) -> Config:
    named = {key.replace("__", "."): value for key, value in values.items()}
    return build(Layer("test", named))


BEFORE = Precedent(
    run_id="20260102-030405-abcd",
    title="baseline",
    config=configured(),
    steps_per_epoch=626,
    steps=1000,
    tokens=4_096_000,
    seconds=2000.0,
    device="cpu",
    device_name="Test Processor",
)


def foresee(config: Config, *before: Precedent, memory: int | None = None) -> outlook.Outlook:
    return outlook.foresee(config, before, "cpu", "Test Processor", lambda _: memory)


# ---------------------------------------------------------------------- steps


def test_the_steps_of_an_epoch_are_those_that_batches_make() -> None:
    training = configured().training  # 16 sequences of 256 tokens
    assert workload.windows(2_567_064, 256) == 10_026
    assert workload.steps_per_epoch(2_567_064, training) == 626
    assert workload.steps_of(configured(training__max_steps=1000).training, 626) == 1000
    assert workload.steps_of(training, 626) == 1878


def test_the_same_batch_of_the_same_text_makes_the_same_steps() -> None:
    assert foresee(configured(training__epochs=2), BEFORE).steps == Foreseen(
        1252, 1252, "the text as baseline read it", run_id=BEFORE.run_id
    )


def test_another_batch_leaves_the_room_that_one_step_of_the_other_does() -> None:
    steps = foresee(configured(training__batch_size=32, training__epochs=1), BEFORE).steps
    assert (steps.low, steps.high) == (313, 313)
    steps = foresee(configured(training__batch_size=1, training__epochs=1), BEFORE).steps
    assert (steps.low, steps.high) == (626 * 16, 626 * 16 + 15)


def test_of_a_text_that_nobody_has_read_only_the_limit_is_known() -> None:
    other = {"data__dataset_name": "python-docs"}
    assert not foresee(configured(**other), BEFORE).steps.known
    steps = foresee(configured(**other, training__max_steps=500), BEFORE).steps
    assert (steps.low, steps.high, steps.at_most) == (500, 500, True)


def test_another_vocabulary_is_another_count_of_tokens() -> None:
    assert not foresee(configured(data__vocab_size=4096), BEFORE).steps.known


def test_what_stands_in_for_the_text_is_told_as_such() -> None:
    config = configured(data__dataset_name="wikitext-103", data__fallback="python-docs")
    before = replace(BEFORE, config=configured(data__dataset_name="python-docs"))
    steps = foresee(config, before).steps
    assert steps.basis == "if the hub does not answer: python-docs, as baseline"


# ---------------------------------------------------------------------- time


def test_the_same_work_takes_as_long_give_or_take_what_runs_differ_by() -> None:
    seconds = foresee(configured(training__epochs=2), BEFORE).seconds
    assert seconds.middle == pytest.approx(1252 * 2.0)
    assert seconds.low == pytest.approx(2504 / outlook.SAME_MARGIN)
    assert seconds.high == pytest.approx(2504 * outlook.SAME_MARGIN)
    assert seconds.basis == "at the pace of baseline"


def test_runs_of_one_shape_span_what_the_next_may_take() -> None:
    slow = replace(BEFORE, run_id="slow", title="slow", seconds=3000.0)
    seconds = foresee(configured(training__epochs=2), BEFORE, slow).seconds
    assert seconds.low == pytest.approx(1252 * 2.0 / outlook.SAME_MARGIN)
    assert seconds.high == pytest.approx(1252 * 3.0 * outlook.SAME_MARGIN)
    assert seconds.basis == "at the pace of baseline and 1 run like it"


def test_a_model_of_another_size_is_scaled_by_its_arithmetic_with_a_wide_margin() -> None:
    config = configured(model__layers=6)
    seconds = foresee(config, BEFORE).seconds
    ratio = flops_of(config) / flops_of(BEFORE.config)
    assert seconds.middle == pytest.approx(1878 * 2.0 * ratio)
    assert seconds.high == pytest.approx(seconds.middle * outlook.OTHER_MARGIN)
    assert seconds.basis == "at the pace of baseline, which had another size"


def test_the_nearest_run_is_taken_not_the_newest() -> None:
    far = replace(BEFORE, run_id="far", config=configured(model__layers=8))
    assert foresee(configured(), far, BEFORE).seconds.run_id == BEFORE.run_id


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ([], "the number of steps is not known"),
        ([replace(BEFORE, device="cuda:0")], "no run has trained on this device yet"),
        ([replace(BEFORE, device_name="Another")], "no run has trained on this device yet"),
        ([replace(BEFORE, steps=outlook.LEAST_STEPS - 1)], "no run has trained on this device yet"),
    ],
)
def test_without_a_pace_the_time_is_not_known_and_the_reason_is(
    before: list[Precedent], reason: str
) -> None:
    seconds = foresee(configured(), *before).seconds
    assert not seconds.known
    assert seconds.basis.startswith(reason)


def test_a_model_too_far_from_any_other_has_no_time() -> None:
    seconds = foresee(configured(model__preset="medium", model__width=2048), BEFORE).seconds
    assert (seconds.known, "baseline is nearest" in seconds.basis) == (False, True)


# ---------------------------------------------------------------------- memory


def test_the_same_work_takes_the_same_memory() -> None:
    memory = foresee(configured(), BEFORE, memory=900_000_000).memory_bytes
    assert (memory.middle, memory.basis) == (900_000_000, "as baseline took")


def test_of_other_work_only_the_least_is_told() -> None:
    memory = foresee(configured(training__batch_size=64), BEFORE, memory=9).memory_bytes
    assert not memory.known
    # 5,311,232 parameters, four bytes each, three times.
    assert memory.basis.endswith("alone take 60.8 MiB")


# ---------------------------------------------------------------------- reading earlier runs


def test_runs_that_know_their_steps_are_precedents(store: RunStore, make_run: MakeRun) -> None:
    make_run(status="failed")
    run = make_run(
        name="baseline", steps_per_epoch=626, step=1000, tokens=4_096_000,
        elapsed_seconds=2000.0, device="cpu", device_name="Test Processor",
    )  # fmt: skip
    found = Precedents(store).newest()
    assert [(one.title, one.steps, one.seconds) for one in found] == [("baseline", 1000, 2000.0)]
    assert found[0].flops_per_token == BEFORE.flops_per_token
    run.paths.config.write_text("not [ toml")
    assert Precedents(store).newest() == []


def test_a_run_that_has_not_changed_is_read_once(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(steps_per_epoch=626)
    known = Precedents(store)
    first = known.newest()
    run.paths.config.unlink()
    assert known.newest() == first


def test_the_peak_is_that_of_the_gpu_where_there_is_one(store: RunStore, make_run: MakeRun) -> None:
    run, known = make_run(), Precedents(store)
    assert known.peak_memory_bytes(run.run_id) is None
    writer = MetricsWriter(run.paths.metrics)
    reading = {"at": "2026-01-02T03:04:05Z", "elapsed_seconds": 1.0, "process_ram_bytes": 500}
    writer.write(
        [
            ("system", reading),
            ("system", reading | {"gpu_memory_bytes": 700}),
            ("system", reading | {"gpu_memory_bytes": 600}),
        ]
    )
    writer.close()
    assert known.peak_memory_bytes(run.run_id) == 700


# ---------------------------------------------------------------------- the rest of a run


def test_the_rest_of_a_run_takes_as_long_a_step_as_what_is_done() -> None:
    found = outlook.foreseen_rest(600, done=900, taken=285.0)
    assert (found.low, found.high) == (190.0, 190.0)
    assert "evaluations and saving included" in found.basis
    assert not outlook.foreseen_rest(600, done=outlook.LEAST_STEPS - 1, taken=285.0).known
    assert not outlook.foreseen_rest(600, done=900, taken=0.0).known
