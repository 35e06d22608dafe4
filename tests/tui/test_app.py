"""The main screen, played key by key."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.conftest import MakeRun, point_row
from tests.tui.conftest import (
    NOW,
    PlayedApp,
    StillMachine,
    TuiPilot,
    play,
    rows,
    screen_text,
    shown,
    until,
    words_of,
)
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.metrics import MetricsWriter
from trainer.store.recorder import Recorder
from trainer.tui.dialogs.help import HelpDialog
from trainer.tui.keys import KEYS
from trainer.tui.log_pane import LogPane
from trainer.tui.run_table import COLUMNS, RunTable


def live(make_run: MakeRun, **fields: object) -> Recorder:
    """A run that this very process trains, by its own word."""
    run = make_run(status="running", process=process.identify(os.getpid()), **fields)
    return Recorder(run.paths, run.state)


# ---------------------------------------------------------------------- what is shown


def test_an_empty_workspace_says_how_to_begin(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "No runs yet")
        assert "Press n to start one." in screen_text(pilot)
        assert "0 runs" in screen_text(pilot)

    play(app, story)


def test_runs_are_listed_newest_first(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(run_id="20260101-000000-aaaa", name="old", elapsed_seconds=60, train_loss=3.25)
    make_run(
        run_id="20260102-000000-bbbb",
        name="new",
        tags=["x"],
        status="stopped",
        val_word_perplexity=85.214,
        tokens_per_second=6120.4,
    )

    async def story(_: TuiPilot) -> None:
        assert rows(app) == [
            ["new #x", "stopped", "–", "85.21", "6,120", "–"],
            ["old", "completed", "3.2500", "–", "–", "1 min"],
        ]

    play(app, story)


def test_a_wide_terminal_shows_more_columns(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(name="first", device="cuda:0", dataset="python-docs")

    async def story(_: TuiPilot) -> None:
        assert rows(app)[0][-3:] == ["cuda:0", "python-docs", "1 h ago"]

    play(app, story, size=(140, 40))


@pytest.mark.parametrize(
    ("title", "fields", "words"),
    [
        ("Status", {"status": "stopping", "step": 9, "total_steps": 9}, "stopping 100 %"),
        ("Loss", {"train_loss": 99.99994}, "99.9999"),
        ("Val ppl", {"val_word_perplexity": 11_420_978.0}, "11.4 M"),
        ("Val ppl", {"val_word_perplexity": 99_999.4}, "99,999"),
        ("Tok/s", {"tokens_per_second": 999_999.4}, "999,999"),
        ("Tok/s", {"tokens_per_second": 12_345_678.0}, "12.3 M"),
        ("Time", {"status": "running", "eta_seconds": 86_399.0}, "23 h 59 min left"),
    ],
)
def test_the_widest_numbers_fit(
    make_run: MakeRun, title: str, fields: dict[str, object], words: str
) -> None:
    # Of this very process, so that it counts as alive.
    run = make_run(process=process.identify(os.getpid()), **fields)
    (column,) = [column for column in COLUMNS if column.title == title]
    cell = column.text(run, NOW)
    assert cell.plain == words
    assert cell.cell_len <= column.width


def test_a_number_that_does_not_fit_looks_cut(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(name="first", train_loss=12345.6789)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "12345.… ")

    play(app, story)


def test_resizing_keeps_the_run_under_the_cursor(app: PlayedApp, make_run: MakeRun) -> None:
    for number in range(3):
        make_run(run_id=f"2026010{number + 1}-000000-aaaa", name=f"run {number}")

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("down", "down")
        await shown(pilot, "── run 0 ")
        await pilot.resize_terminal(140, 40)
        await until(pilot, lambda: len(rows(app)[0]) == 9)
        assert app.main.query_one(RunTable).selected == "20260101-000000-aaaa"

    play(app, story)


def test_the_run_under_the_cursor_is_shown(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(run_id="20260101-000000-aaaa", name="old", points=20)
    make_run(run_id="20260102-000000-bbbb", name="new")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── new ")
        await shown(pilot, "no loss to draw")
        await pilot.press("down")
        await shown(pilot, "── old ")
        await shown(pilot, "train 3.1000")

    play(app, story)


def test_a_live_run_moves(app: PlayedApp, make_run: MakeRun) -> None:
    recorder = live(make_run, name="first", total_steps=10)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "no loss to draw")
        for step in (1, 2):
            recorder.add("points", point_row(step))
            recorder.update(step=step, train_loss=5.0 - step / 10, phase="training")
            await shown(pilot, f"running {step}0 %")
            await shown(pilot, f"train {5.1 - step / 10:.4f}   ●")
        assert "CPU 48 % · RAM 5.0 of 16.0 GiB" in screen_text(pilot)
        recorder.close(status="completed", process=None, best_val_word_perplexity=80.0)
        await until(pilot, lambda: bool(app.told))
        assert app.told[0].startswith("first is complete after")
        assert rows(app)[0][1] == "completed"

    play(app, story)


def test_a_failure_and_a_note_are_told_in_the_header(app: PlayedApp, make_run: MakeRun) -> None:
    recorder = live(make_run, name="first", notices=["python-docs is used: the hub is silent."])

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "note python-docs is used: the hub is silent.")
        error = {"kind": "data", "message": "The text is gone.", "hint": "Bring it back."}
        recorder.close(status="failed", process=None, error=error)
        await shown(pilot, "failed The text is gone. Bring it back.")
        assert "first failed: The text is gone. Bring it back." in app.told

    play(app, story)


def test_many_notes_leave_the_chart_its_room(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(name="first", points=20, notices=[f"{'long ' * 30}note {n}." for n in range(4)])

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "…  5 shows all")
        await until(pilot, lambda: app.main.query_one("#run-header").size.height == 2)
        await pilot.press("5")
        await shown(pilot, "note 0.")
        await pilot.resize_terminal(80, 40)
        await until(pilot, lambda: app.main.query_one("#run-header").size.height == 5)

    play(app, story)


def test_a_run_that_appears_and_one_that_is_deleted_elsewhere(
    app: PlayedApp, store: RunStore, make_run: MakeRun
) -> None:
    first = make_run(run_id="20260101-000000-aaaa", name="first")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        make_run(run_id="20260102-000000-bbbb", name="second")
        await until(pilot, lambda: len(rows(app)) == 2)
        assert app.main.query_one(RunTable).selected == first.run_id
        store.delete(first.run_id)
        await until(pilot, lambda: len(rows(app)) == 1)
        await shown(pilot, "── second ")
        await until(pilot, lambda: bool(app.told))
        assert app.told == [
            "Run 20260101-000000-aaaa is gone: its folder was deleted (or moved) elsewhere."
        ]

    play(app, story)


def test_a_damaged_run_is_listed_with_its_error(app: PlayedApp, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.state.write_text("{")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "is damaged")
        assert rows(app)[0][1] == "failed !"

    play(app, story)


def test_a_store_that_cannot_be_read_is_told(
    app: PlayedApp, store: RunStore, make_run: MakeRun
) -> None:
    make_run()
    runs = store.workspace.runs_dir

    async def story(pilot: TuiPilot) -> None:
        shutil.rmtree(runs)
        runs.write_text("not a folder")
        await shown(pilot, "the runs cannot be read")
        assert app.told[-1] == (
            f"The run folder cannot be read: [Errno 20] Not a directory: '{runs}'. "
            "Check the folder and its permissions."
        )
        runs.unlink()
        await shown(pilot, "No runs yet")

    play(app, story)


# ---------------------------------------------------------------------- keys of the view


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("1", "Loss in nats a token by step"),
        ("2", "step 1 is done"),
        ("3", "No samples yet"),
        ("4", "Press Enter in the prompt"),
        ("5", "Facts"),
    ],
)
def test_digits_bring_panes_to_the_front(
    app: PlayedApp, make_run: MakeRun, key: str, words: str
) -> None:
    run = make_run(points=1)
    run.paths.train_log.write_text("step 1 is done\n")

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("2" if key == "1" else "1", key)
        await shown(pilot, words)

    play(app, story)


def test_c_compares_with_the_run_under_the_cursor(app: PlayedApp, make_run: MakeRun) -> None:
    old = make_run(run_id="20260101-000000-aaaa", name="old", points=20)
    write_evaluation(old, 20, 4.5)
    make_run(run_id="20260102-000000-bbbb", name="new", points=10)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── new ")
        await pilot.press("down", "c")
        await pilot.press("up")
        await shown(pilot, "train 4.1000   ● val –   ○ old val 4.5000")
        await pilot.press("down")
        await shown(pilot, "train 3.1000   ● val 4.5000")
        assert "○" not in screen_text(pilot)
        await pilot.press("c", "up")
        await shown(pilot, "train 4.1000   ● val –")
        assert "○" not in screen_text(pilot)

    play(app, story)
    assert app.told == [
        "old is drawn under the curves of the other runs.",
        "No run is compared with.",
    ]


def write_evaluation(run: Run, step: int, val_loss: float) -> None:
    writer = MetricsWriter(run.paths.metrics)
    writer.write([("evaluations", {"step": step, "val_loss": val_loss})])
    writer.close()


def test_a_double_click_opens_and_a_click_selects(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(run_id="20260101-000000-aaaa", name="old")
    make_run(run_id="20260102-000000-bbbb", name="new")

    async def story(pilot: TuiPilot) -> None:
        table = app.main.query_one(RunTable)
        await pilot.click(RunTable, offset=(2, 2))
        await shown(pilot, "── old ")
        assert table.display
        await pilot.click(RunTable, offset=(2, 2), times=2)
        await until(pilot, lambda: not table.display)

    play(app, story)


def test_enter_gives_the_run_the_screen_and_escape_takes_it_back(
    app: PlayedApp, make_run: MakeRun
) -> None:
    make_run(name="first")

    async def story(pilot: TuiPilot) -> None:
        table = app.main.query_one(RunTable)
        await pilot.press("enter")
        await until(pilot, lambda: not table.display)
        assert "── first " in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: table.display)
        assert table.has_focus

    play(app, story)


def test_slash_filters_as_it_is_typed(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(run_id="20260101-000000-aaaa", name="apple", tags=["fruit"])
    make_run(run_id="20260102-000000-bbbb", name="stone")

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("slash", *"fru")
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["apple #fruit"])
        assert "1 of 2 runs match 'fru'" in screen_text(pilot)
        await pilot.press("enter")
        assert app.main.query_one(RunTable).has_focus
        assert len(rows(app)) == 1
        await pilot.press("escape")
        await until(pilot, lambda: len(rows(app)) == 2)

    play(app, story)


def test_a_filter_compares_and_says_what_is_wrong_with_it(
    app: PlayedApp, make_run: MakeRun
) -> None:
    make_run(name="apple", train_loss=2.0)
    make_run(name="stone", train_loss=4.0)

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("slash", *"loss<")
        await shown(pilot, "'loss<' lacks a value. Write it like loss<=3.2.")
        assert len(rows(app)) == 2
        await pilot.press("3")
        await until(pilot, lambda: [row[0] for row in rows(app)] == ["apple"])
        await shown(pilot, "1 of 2 runs match 'loss<3'")

    play(app, story)


def test_a_filter_that_matches_nothing_says_so(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(name="apple")

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("slash", *"zzz")
        await shown(pilot, "No run matches 'zzz'. Esc clears the filter.")
        await pilot.press("escape")
        await shown(pilot, "── apple ")

    play(app, story)


def test_the_log_follows_and_stays_where_it_is_read(app: PlayedApp, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.train_log.write_text("".join(f"line {n}\n" for n in range(50)))

    async def story(pilot: TuiPilot) -> None:
        log = app.main.query_one(LogPane)
        await pilot.press("2")
        await shown(pilot, "line 49")
        log.focus()
        await pilot.press("home")
        await until(pilot, lambda: log.scroll_y == 0)
        with run.paths.train_log.open("a") as file:
            file.write("line 50\n")
        await until(pilot, lambda: log.lines[-1].text.strip() == "line 50")
        assert log.scroll_y == 0
        await pilot.press("end")
        await shown(pilot, "line 50")

    play(app, story)


# ---------------------------------------------------------------------- the program


def test_the_help_names_every_key(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        words = words_of(app, "#help Static")
        for key in KEYS:
            assert f"{key.shown_as.ljust(12)}{key.explanation}" in words
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.main)

    play(app, story)


def test_the_palette_offers_every_command(app: PlayedApp) -> None:
    titles = [command.title for command in app.get_system_commands(app.main)]
    assert [key.command for key in KEYS] == titles[: len(KEYS)]
    assert "Theme" in titles
    assert len(titles) == len(set(titles))


def test_a_command_of_the_palette_works(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await pilot.press("ctrl+p")
        await pilot.press(*"more epochs")
        await shown(pilot, "One epoch more for the next run.")
        await pilot.press("enter", "enter")
        await shown(pilot, "Next run: 4 epochs")

    play(app, story)


def test_brackets_choose_the_epochs_of_the_next_run(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "Next run: epochs as configured")
        await pilot.press("right_square_bracket")
        await shown(pilot, "Next run: 4 epochs")
        await pilot.press(*["left_square_bracket"] * 3)
        await shown(pilot, "Next run: 1 epoch,")
        await pilot.press("left_square_bracket")
        await shown(pilot, "Next run: epochs as configured")

    play(app, story)


def test_the_same_toast_is_shown_once(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await pilot.press("z", "z", "u", "z")
        await until(pilot, lambda: len(app.told) == 4)
        assert [toast.message for toast in app._notifications] == [
            "There is no run here. Press n to start one.",
            "Nothing was deleted here.",
        ]

    play(app, story)


def test_leaving_says_that_training_goes_on(
    app: PlayedApp, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = live(make_run)

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    play(app, story)
    recorder.close()
    assert app.return_code == 0
    assert "Training goes on: 1 run active." in capsys.readouterr().err


def test_every_key_has_a_binding_and_every_action_exists(app: PlayedApp) -> None:
    for key in KEYS:
        target, _, name = key.action.partition(".")
        owner, action = (app, name) if target == "app" and name else (app.main, key.action)
        assert hasattr(owner, f"action_{action.partition('(')[0]}"), key


def test_no_key_is_given_twice() -> None:
    given = [key for entry in KEYS for key in entry.key.split(",")]
    assert len(given) == len(set(given))


# ---------------------------------------------------------------------- sizes and colours


@pytest.mark.parametrize("size", [(30, 10), (60, 20), (200, 60)])
def test_any_size_draws(app: PlayedApp, make_run: MakeRun, size: tuple[int, int]) -> None:
    make_run(name="first", points=20)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "first")
        for key in "12345":
            await pilot.press(key)

    play(app, story, size=size)


@pytest.mark.parametrize("theme", ["terminal", "textual-light", "nord"])
def test_every_theme_draws(app: PlayedApp, make_run: MakeRun, theme: str) -> None:
    make_run(points=20)

    async def story(pilot: TuiPilot) -> None:
        app.theme = theme
        await shown(pilot, "train 3.1000")

    play(app, story, size=(140, 40))


def test_without_colour_no_colour_is_drawn(
    store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make_run(name="first", points=20, status="failed")
    app = PlayedApp(store, machine=StillMachine())

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "train 3.1000")
        assert "failed" in screen_text(pilot)
        assert colours(app) == {"default"}

    play(app, story)


def colours(app: PlayedApp) -> set[str]:
    """Return the colours of all characters and backgrounds that would be written."""
    background = app.main.background_colors[1]
    found = set()
    for strip in app.main._compositor.render_strips():
        for line_filter in app.get_line_filters():
            strip = strip.apply_filter(line_filter, background)
        styles = [segment.style for segment in strip if segment.style]
        found |= {style.color.name for style in styles if style.color}
        found |= {style.bgcolor.name for style in styles if style.bgcolor}
    return found
