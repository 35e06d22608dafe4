"""The arithmetic of the benchmarks; what they measure is nobody's promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.contest import Contestant, hold, seconds_to_reach
from benchmarks.measuring import Figure, interleaved, ratios, table
from benchmarks.memory import peak_bytes
from benchmarks.options import Options
from benchmarks.overhead import Watch, shares
from benchmarks.utilisation import worthwhile
from trainer.engine.utilisation import MatmulPeak

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
