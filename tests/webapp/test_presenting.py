"""What the pages show of runs, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import CREATED_AT, MakeRun
from trainer import config as configuration
from trainer import formats
from trainer.config import SETTINGS, Config, Layer
from trainer.queueing import place_words
from trainer.runs import Run, since_word
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import Annotations, State
from trainer.store.workspace import RunPaths
from webapp import presenting
from webapp.presenting import ListView

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "formats_cases.json").read_text("utf-8")
)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    **presenting.FORMATS,
    "time_left": formats.time_left,
    "countdown": formats.countdown,
    "countdown_short": formats.countdown_short,
    "note": lambda fields: note_of(**fields),
    "event": presenting.event_words,
    "silence": formats.silence,
    "paused": formats.paused,
    "ordinal": formats.ordinal,
    "plural": lambda number: formats.plural(number, "warning"),
    "since": lambda fields: since_word(state(**fields)),
    "hint": lambda hint: presenting.hint_words(
        state(error={"kind": "interrupted", "message": "It is gone.", "hint": hint})
    ),
    "percent": lambda pair: formats.percent(*pair),
    "age": lambda stamp: formats.age(stamp, AT),
}


def state(**fields: Any) -> State:
    known = {"run_id": "a", "created_at": CREATED_AT, "updated_at": CREATED_AT}
    return msgspec.convert(known | fields, State)


def note_of(
    *, paused: bool = False, trouble: str | None = None, damage: Sequence[str] = (), **fields: Any
) -> list[str] | None:
    """What a row tells beside the status, as JSON has it."""
    paths = RunPaths("a", Path("runs/a"), Path("checkpoints/a"))
    run = Run(state(**fields), Annotations(), paths, None, trouble, paused, tuple(damage))
    note = presenting.row_note(run)
    return None if note is None else list(note)


# ---------------------------------------------------------------------- shared with the browser


@pytest.mark.parametrize("name", [name for name in CASES if name != "states"])
def test_numbers_are_written_as_the_shared_table_says(name: str) -> None:
    for value, expected in CASES[name]:
        assert FUNCTIONS[name](value) == expected, f"{name}({value})"


@pytest.mark.parametrize("case", CASES["states"], ids=lambda case: case["phase"])
def test_states_are_told_as_the_shared_table_says(case: dict[str, Any]) -> None:
    told = state(**case["state"])
    percent = presenting.percent_done(told)
    assert percent == case["percent"]
    assert presenting.percent_words(percent) == case["percent_words"]
    assert presenting.phase_sentence(told) == case["phase"]
    assert presenting.steps_words(told) == case["steps"]
    assert place_words(told.queue) == case["place"]
    assert presenting.time_cell(told) == case["time"]


# ---------------------------------------------------------------------- the list


def test_an_address_leaves_out_what_is_as_usual() -> None:
    view = ListView.from_query({"q": [" lr "], "sort": ["-created"], "status": [""]})
    assert view.address() == "/?q=lr"
    assert view.address(status="failed", query="") == "/?q=lr&status=failed"
    assert ListView().address() == "/"


def test_another_filter_begins_at_the_first_page() -> None:
    view = ListView(tag="a b", cursor="20260102")
    assert view.address(cursor="x") == "/?tag=a+b&cursor=x"
    assert view.address(archived="true") == "/?tag=a+b&archived=true"


def test_a_click_on_a_column_sorts_by_it_and_then_turns_round() -> None:
    loss, created = presenting.COLUMNS[2], presenting.COLUMNS[-1]
    view = ListView()
    assert (view.sorted_by(created), view.sorted_by(loss)) == ("descending", "none")
    assert view.sort_address(loss) == "/?sort=train_loss"
    assert ListView(sort="train_loss").sort_address(loss) == "/?sort=-train_loss"
    assert ListView(sort="-train_loss").sort_address(loss) == "/?sort=train_loss"
    assert ListView(sort="created").sort_address(created) == "/"


def test_chosen_columns_stay_chosen_and_the_name_is_always_there() -> None:
    view = ListView.from_query({"show": ["speed", "nonsense"]})
    assert [column.key for column in view.columns] == ["name", "status", "speed"]
    assert view.address(q="x") == "/?q=x&show=speed"
    assert len(ListView().columns) == len(presenting.COLUMNS)


def test_every_sort_of_a_column_is_one_of_the_store() -> None:
    from trainer.listing import SORTS

    assert {column.sort for column in presenting.COLUMNS} - {None} <= SORTS.keys()


# ---------------------------------------------------------------------- pictures


def test_a_sparkline_fills_its_box_by_step() -> None:
    points = [(0, 4.0), (5, 3.0), (10, 2.0)]
    assert presenting.sparkline(points, 103, 23) == "1.5,1.5 51.5,11.5 101.5,21.5"
    assert presenting.sparkline(points[:1]) == ""
    assert presenting.sparkline_data(points) == "0:4 5:3 10:2"


def test_a_flat_sparkline_is_a_line() -> None:
    assert presenting.sparkline([(1, 2.0), (2, 2.0)], 103, 23) == "1.5,1.5 101.5,1.5"


def test_the_loss_is_drawn_without_scripts() -> None:
    train = {"step": [0, 10], "value": [5.0, 3.0]}
    validation = {"step": [20], "value": [4.0]}
    picture = presenting.loss_picture({"train_loss": train, "val_loss": validation}, 104, 54)
    assert picture is not None
    assert (picture.train, picture.validation) == ("2.0,2.0 52.0,52.0", "102.0,27.0")
    assert (picture.highest, picture.lowest, picture.last_step) == (5.0, 3.0, 20)


def test_one_point_is_no_picture() -> None:
    one: dict[str, list[float]] = {"step": [1], "value": [5.0]}
    none: dict[str, list[float]] = {"step": [], "value": []}
    assert presenting.loss_picture({"train_loss": one, "val_loss": none}) is None


# ---------------------------------------------------------------------- one run


def test_samples_are_grouped_by_step_beside_their_evaluation() -> None:
    samples = [
        {"step": 20, "prompt": "A", "text": " b"},
        {"step": 10, "prompt": "A", "text": " c"},
        {"step": 20, "prompt": "B", "text": " d"},
    ]
    first, second = presenting.moments(samples, [{"step": 20, "epoch": 0.5, "val_loss": 3.25}])
    assert (first.step, first.texts) == (10, (("A", " c"),))
    assert second.texts == (("A", " b"), ("B", " d"))
    assert presenting.moment_words(first) == "Step 10"
    assert presenting.moment_words(second) == "Step 20 · epoch 0.50 · validation loss 3.2500"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-01-02T03:04:05.000Z INFO step 1", "info"),
        ("2026-01-02T03:04:05.000Z WARNING odd", "warning"),
        ("2026-01-02T03:04:05.000Z ERROR bad", "error"),
        ("  File x.py", "info"),
        ("", "info"),
    ],
)
def test_levels_of_log_lines(line: str, level: str) -> None:
    assert presenting.log_level(line) == level


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("2026-01-02T03:04:05.678Z INFO a", ("2026-01-02T03:04:05.678Z", " INFO a")),
        ("Traceback (most recent call last):", ("", "Traceback (most recent call last):")),
        ("2026-01-02 alone", ("", "2026-01-02 alone")),
    ],
)
def test_the_moment_of_a_line_is_told_from_the_rest(line: str, parts: tuple[str, str]) -> None:
    assert presenting.log_parts(line) == parts


def test_settings_that_differ_are_marked() -> None:
    config = configuration.build(Layer("test", {"training.epochs": 5}))
    rows = presenting.configuration_rows(config)
    changed = [row for section in rows.values() for row in section if row.changed]
    assert [(row.setting.key, row.value, row.default) for row in changed] == [
        ("training.epochs", "5", "3")
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "all"), (True, "on"), (0.003, "0.003"), (("a", "b"), "“a”, “b”"), ((), "none")],
)
def test_values_are_written_for_reading(value: Any, text: str) -> None:
    assert presenting.shown(SETTINGS["training.max_steps"], value) == text


def test_what_can_be_done_next(make_run: MakeRun) -> None:
    latest = Checkpoint(name="latest", step=1200, epoch=2)
    stopped, done = make_run(status="stopped"), make_run(status="completed")
    assert presenting.next_step(stopped, [latest]) == (
        "Resume to go on from latest.pt (step 1,200)."
    )
    assert presenting.next_step(stopped, []).startswith("There is no checkpoint")
    assert presenting.next_step(done, [latest]).startswith("Generate text")


# ---------------------------------------------------------------------- resume

CHECKPOINT = Checkpoint(name="latest", step=400, epoch=2)


def test_a_resume_is_told_in_a_sentence() -> None:
    stopped = state(
        status="stopped", step=500, total_steps=600, steps_per_epoch=200, elapsed_seconds=500.0,
        tokens_per_second=40_960.0,
    )  # fmt: skip
    assert presenting.resume_sentence(stopped, Config(), CHECKPOINT, 0) == (
        "Goes on from step 400 (epoch 2) and trains 200 more steps, to step 600: about "
        "3 min 20 s, at the pace of this run so far, evaluations and saving included. "
        "The curve after step 400 is drawn anew."
    )


def test_added_epochs_warn_that_the_loss_rises_first() -> None:
    ended = state(
        status="completed", step=400, total_steps=400, steps_per_epoch=200, epochs=2,
        learning_rate=1e-5,
    )  # fmt: skip
    warning = "The learning rate warms up again"
    assert warning in presenting.resume_sentence(ended, Config(), CHECKPOINT, 1)
    highest = msgspec.structs.replace(ended, learning_rate=Config().training.learning_rate)
    assert warning not in presenting.resume_sentence(highest, Config(), CHECKPOINT, 1)


def test_a_resume_of_what_is_complete_asks_for_epochs() -> None:
    done = state(status="completed", step=400, total_steps=400, steps_per_epoch=200)
    assert presenting.resume_sentence(done, Config(), CHECKPOINT, 0) == (
        "Goes on from step 400 (epoch 2), where training is already complete: add epochs."
    )


def test_a_run_that_was_stopped_in_its_last_evaluation_makes_up_for_it() -> None:
    stopped = state(status="stopped", step=400, total_steps=400, steps_per_epoch=200)
    assert presenting.resume_sentence(stopped, Config(), CHECKPOINT, 0) == (
        "Goes on from step 400 (epoch 2), where all steps are done: runs the evaluation that was "
        "due."
    )


def test_a_resume_says_that_more_than_max_steps_is_trained() -> None:
    cut = state(
        status="completed", step=400, total_steps=400, steps_per_epoch=800, epochs=3,
        learning_rate=1.0,
    )  # fmt: skip
    config = configuration.build(Layer("test", {"training.max_steps": 400}))
    assert presenting.resume_sentence(cut, config, CHECKPOINT, 2) == (
        "Goes on from step 400 (epoch 2) and trains 1,600 more steps, to step 2,000. That is 2.5 "
        "passes over the text in all, not 5."
    )
    assert presenting.plan_to_extend(cut, config) == (
        "Added to step 400, where max_steps ends the plan of 3 epochs after 0.5."
    )
    whole = msgspec.structs.replace(cut, total_steps=2400)
    assert presenting.plan_to_extend(whole, config) == "Added to the plan of 3 epochs."


def test_a_resume_before_the_steps_are_known_names_the_epoch() -> None:
    early = state(status="failed", epochs=3)
    assert presenting.resume_sentence(early, Config(), CHECKPOINT, 2) == (
        "Goes on from step 400 (epoch 2) to the end of epoch 5."
    )


def test_a_long_prompt_is_shown_by_its_end() -> None:
    assert presenting.clipped("x" * 8000 + "end", 3) == "… 8,000 characters before end"
    assert presenting.clipped("end", 3) == "end"
