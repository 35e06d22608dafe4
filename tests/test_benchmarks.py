"""The arithmetic of the benchmarks; what they measure is nobody's promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import beside
from benchmarks.__main__ import NAMES
from benchmarks.beside import WRITERS, Window, seconds_a_step
from benchmarks.callers import Written, in_turn, seeds_of_long_texts, together
from benchmarks.clicking import tokens_reported
from benchmarks.connection import split
from benchmarks.contest import Contestant, hold, seconds_to_reach
from benchmarks.dashboard import lateness, percentile
from benchmarks.measuring import Figure, as_far_as, interleaved, median_interval, ratios, table
from benchmarks.memory import peak_bytes
from benchmarks.options import Options
from benchmarks.overhead import Watch, shares
from benchmarks.server import proportional_set_size
from benchmarks.stores import SPIKE_LOSS, Curve, make_store
from benchmarks.utilisation import worthwhile
from trainer.engine.utilisation import MatmulPeak
from trainer.runs import RunStore, warning
from trainer.store.records import Status

# ---------------------------------------------------------------------- figures


def test_a_table_shows_median_spread_and_what_is_missing() -> None:
    figures = [
        Figure.of("speed", [1200.0, 1000.0, 1500.0], "tok/s"),
        Figure.of("once", [2.5], "x"),
        Figure.absent("peer", "not measured: pip install transformers"),
    ]
    assert table("Title", figures).splitlines() == [
        "### Title",
        "",
        "| what | median | lowest – highest | unit |",
        "|---|---|---|---|",
        "| speed | 1,200 | 1,000 – 1,500 | tok/s |",
        "| once | 2.5 |  | x |",
        "| peer | not measured: pip install transformers | | |",
    ]


def test_actions_take_turns() -> None:
    done: list[str] = []
    actions = {name: lambda name=name: done.append(name) for name in "ab"}
    taken = interleaved(actions, rounds=2)
    assert "".join(done) == "ababab"
    assert [len(seconds) for seconds in taken.values()] == [2, 2]


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([6.0, 4.0], [2.0, 1.0]) == [3.0, 4.0]


def test_what_was_asked_for_stands_beside_what_was_measured() -> None:
    asked = replace(Figure.of("first load", [1.2], "s"), asked="≤ 1.5")
    lines = table("Title", [asked, Figure.of("again", [0.1], "s")]).splitlines()
    assert lines[2:] == [
        "| what | median | lowest – highest | unit | asked |",
        "|---|---|---|---|---|",
        "| first load | 1.2 |  | s | ≤ 1.5 |",
        "| again | 0.1 |  | s |  |",
    ]


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (5, 1, 5),  # 1 - 2/32 is less than 95 %, but there is nothing wider.
        (6, 1, 6),
        (9, 2, 8),  # 1 - 2 * (1 + 9) / 512 = 96 %.
        (14, 3, 12),  # 1 - 2 * (1 + 14 + 91) / 16384 = 98.7 %; one further in is 94.3 %.
    ],
)
def test_the_median_lies_between_two_of_the_values(count: int, low: int, high: int) -> None:
    values = [float(one) for one in range(count, 0, -1)]
    assert median_interval(values) == (low, high)


def test_a_part_that_fails_is_told_and_keeps_what_it_had() -> None:
    def measured() -> Iterator[Figure]:
        yield Figure.of("speed", [1.0], "x")
        raise RuntimeError("the run failed\nat once")

    speed, why = as_far_as("training", measured())
    assert (speed.median, why.what) == (1.0, "training")
    assert why.missing == "not measured any further: the run failed"


# ---------------------------------------------------------------------- the dashboard


def test_a_made_store_reads_as_it_was_meant(tmp_path: Path) -> None:
    long = list(make_store(tmp_path, runs=200, points=3000, count=2))
    store = RunStore(tmp_path)
    assert store.list(limit=1).total + store.list(limit=1, archived=True).total == 202
    statuses: tuple[Status, ...] = ("completed", "stopped", "failed", "interrupted")
    assert all(store.list(status=status).total > 10 for status in statuses)
    assert [run.title for run in store.list(query="long").runs if run.run_id in long] == [
        "long 2",
        "long 1",
    ]
    page = store.list(limit=200).runs
    assert (page[0].annotations.pinned, store.list(tag="paper").total > 0) == (True, True)
    told = [warning(run) for run in page]
    assert ["state.json is damaged" in words for kind, words in filter(None, told)] == [True]


def test_a_long_run_has_all_its_points_and_its_spikes(tmp_path: Path) -> None:
    [run_id] = make_store(tmp_path, runs=0, points=3000, count=1)
    run = RunStore(tmp_path).inspect(run_id)
    assert (run.status, run.state.step, run.damage) == ("completed", 3000, ())
    assert [one.name for one in RunStore(tmp_path).checkpoints(run_id)] == ["latest", "best"]
    with RunStore(tmp_path).metrics(run_id) as reader:
        loss = reader.series(["train_loss"], points=100)["series"]["train_loss"]
        assert loss["of"] == 3000
        assert loss["max"].count(SPIKE_LOSS) == len(Curve(3000, 1).spikes)
        assert len(reader.latest_evaluations()) == 428
        assert len(reader.sittings()) == 1


def test_a_step_is_late_until_it_or_a_later_one_is_shown() -> None:
    done_at = {1: 10.0, 2: 10.5, 3: 11.0, 4: 11.5}
    assert lateness(done_at, [(1, 10.25), (3, 11.25), (4, 12.5)]) == [0.75, 0.25, 1.0]
    assert percentile([0.0, 10.0, 20.0, 30.0, 40.0], 95) == 38.0


def test_shared_pages_count_in_part() -> None:
    rollup = "55d0-7ffe ---p 0 00:00 0 [rollup]\nRss:  3000 kB\nPss:  1200 kB\nPss_Anon:  900 kB\n"
    assert proportional_set_size(rollup) == 1200 * 1024


# ---------------------------------------------------------------------- serving


class Scripted:
    """Writes 10 tokens in half a second, but texts of even seeds end after 4."""

    def write(self, tokens: int, seed: int) -> Written:
        return Written(tokens if seed % 2 else 4, 0.5, first_seconds=0.01 * seed)


def test_several_texts_count_as_one() -> None:
    turns = in_turn(Scripted(), 10, [1, 3, 2])
    assert turns == Written(24, 1.5, first_seconds=0.01)
    assert turns.tokens_per_second == 16.0
    crowd = together(Scripted(), 10, [1, 3, 2])
    assert (crowd.tokens, crowd.first_seconds) == (24, 0.03)


def test_texts_that_end_early_are_passed_over() -> None:
    assert seeds_of_long_texts(Scripted(), 10, 3) == [1, 3, 5]
    with pytest.raises(RuntimeError, match="only 0 of 40 texts have 10 tokens"):
        seeds_of_long_texts(_Even(), 10, 1)


class _Even(Scripted):
    def write(self, tokens: int, seed: int) -> Written:
        return super().write(tokens, 2 * seed)


def test_an_answer_has_the_number_of_what_was_asked() -> None:
    assert split('4312[{"ok":true}]') == ("12", '[{"ok":true}]')
    assert split('40{"sid":"x"}') == ("", '{"sid":"x"}')


def test_the_tokens_of_a_text_are_counted_not_assumed() -> None:
    assert tokens_reported("1,200 tokens · 640 tok/s · seed 5 · length") == 1200
    assert tokens_reported("1 token · seed 5 · end of text") == 1
    with pytest.raises(RuntimeError, match="The model service ended"):
        tokens_reported("The model service ended unexpectedly.")


def test_only_steps_within_a_window_count() -> None:
    done = [1.0, 2.0, 2.5, 3.0, 3.5, 9.0]
    assert seconds_a_step(done, 1.5, 4.0) == 0.5
    with pytest.raises(RuntimeError, match="no step"):
        seconds_a_step(done, 5.0, 8.0)


def test_each_kind_of_writing_is_compared_with_its_own_round() -> None:
    """Nobody: a step a second; at rest the same; one text: 10 % more; four: twice as long."""
    steps = {"nobody": 1.0, "a model at rest": 1.0, "one text": 1.1, "four texts at once": 2.0}
    windows, done = [], []
    for n, kind in enumerate([*WRITERS, *reversed(WRITERS)]):
        began = 100.0 * n
        taken = (0.25, 1.5) if WRITERS[kind] else (0.0, 1.8)
        windows.append(Window(kind, began, began + 50, *taken))
        done += [began + steps[kind] * step for step in range(20)]
    told = {one.what: one.median for one in beside.told(windows, done)}
    assert told == pytest.approx(
        {
            "a step alone": 1000.0,
            "a step beside a model at rest takes longer by": 0.0,
            "a step beside one text takes longer by": 10.0,
            "a step beside four texts at once takes longer by": 100.0,
            "the run takes, beside nobody": 180.0,
            "the run takes, beside a model at rest": 180.0,
            "the run takes, beside one text": 150.0,
            "the run takes, beside four texts at once": 150.0,
            "the models' process takes, nobody": 0.0,
            "the models' process takes, a model at rest": 0.0,
            "the models' process takes, one text": 25.0,
            "the models' process takes, four texts at once": 25.0,
        }
    )


# ---------------------------------------------------------------------- the contest


@pytest.mark.parametrize(
    ("perplexity", "seconds"),
    [
        (800.0, 10.0),  # The first is there already.
        (400.0, 20.0),
        (200.0, 40.0),  # Half-way between 20 and 80 where both scales are logarithmic.
        (100.0, 80.0),
        (99.0, None),
    ],
)
def test_when_a_perplexity_is_reached(perplexity: float, seconds: float | None) -> None:
    points = [(10.0, 800.0), (20.0, 400.0), (80.0, 100.0)]
    reached = seconds_to_reach(points, perplexity)
    assert reached == (None if seconds is None else pytest.approx(seconds))


def test_a_point_worse_than_the_one_before_is_passed_over() -> None:
    points = [(10.0, 500.0), (20.0, 600.0), (40.0, 300.0)]
    assert seconds_to_reach(points, 450.0) == pytest.approx(80 / 3)


def test_all_trainings_come_to_their_ends_by_turns() -> None:
    done: list[str] = []

    def contestant(name: str, steps: int, looks: int) -> Contestant:
        def take() -> int:
            done.append(name)
            return 10

        return Contestant(name, steps, take, lambda: float(len(done)), looks)

    short, long = contestant("s", 4, looks=1), contestant("l", 8, looks=2)
    hold([short, long], turns=4)
    assert "".join(done) == "sll" * 4
    assert [(point.tokens, point.word_perplexity) for point in long.curve] == [(40, 6), (80, 12)]
    assert [(point.tokens, point.word_perplexity) for point in short.curve] == [(40, 10)]


# ---------------------------------------------------------------------- what is counted


def test_the_cost_of_recording_is_its_share_of_the_steps() -> None:
    watch = Watch(
        step_ends=[10.0, 12.0, 14.0],
        recording=[0.01, 0.02, 0.03],
        writing_at=[5.0, 5.03, 5.06],
        telemetry_at=[1.0],
    )
    assert watch.seconds_per_step == 2.0
    assert shares(watch) == pytest.approx((1.0, 1.0, 0.0))


def test_the_peak_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t  100 kB\n")
    assert peak_bytes(status) == 512 * 1024
    assert peak_bytes(tmp_path / "gone") == 0


def test_bf16_counts_where_it_is_faster() -> None:
    def peaks(fp32: float, bf16: float) -> dict[str, list[MatmulPeak]]:
        return {"off": [MatmulPeak(fp32, "off")], "bf16": [MatmulPeak(bf16, "bf16")]}

    assert worthwhile(peaks(170e9, 400e9)) == ["off", "bf16"]
    assert worthwhile(peaks(170e9, 8e9)) == ["off"]


# ---------------------------------------------------------------------- what can be chosen


def test_later_settings_win() -> None:
    options = Options(settings=("training.batch_size=4", "model.width=128"), text="wikitext-2")
    config = options.configuration("training.batch_size=8")
    assert config.data.dataset_name == "wikitext-2"
    assert (config.model.layers, config.model.width, config.training.batch_size) == (4, 128, 8)


def test_every_name_is_a_module_of_its_own() -> None:
    folder = Path(__file__).resolve().parent.parent / "benchmarks"
    assert all((folder / f"{name}.py").is_file() for name in NAMES)
