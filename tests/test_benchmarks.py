"""The arithmetic of the benchmarks; what they measure is nobody's promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.contest import Contestant, hold, seconds_to_reach
from benchmarks.dashboard import lateness, percentile
from benchmarks.measuring import Figure, interleaved, ratios, table
from benchmarks.memory import peak_bytes
from benchmarks.options import Options
from benchmarks.overhead import Watch, shares
from benchmarks.serving import proportional_set_size
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
