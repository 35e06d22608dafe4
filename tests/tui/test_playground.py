"""The playground, with an echo for a model."""

from __future__ import annotations

from textual.widgets import Input

from tests.conftest import MakeRun
from tests.tui.conftest import PlayedApp, TuiPilot, play, shown, until, words_of
from trainer.runs import Run


def trained(make_run: MakeRun) -> Run:
    """A run with a checkpoint, as far as a viewer looks."""
    run = make_run(name="first")
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").write_bytes(b"weights")
    return run


async def ready(pilot: TuiPilot, app: PlayedApp, prompt: str) -> None:
    """Show the run and write a prompt."""
    await shown(pilot, "── first ")
    await pilot.press("p")
    app.screen.query_one("#prompt", Input).value = prompt


def test_the_model_goes_on_from_the_prompt(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "once upon")
        await pilot.press("enter")
        await shown(pilot, "2 tokens · 50 tok/s · seed 7 · as long as asked for")
        assert words_of(app, "#written") == "once uponONCEUPON"

    play(app, story)


def test_g_generates_from_anywhere(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("g")
        await shown(pilot, "The history ofTHEHISTORYOF")

    play(app, story)


def test_escape_stops_and_keeps_what_came(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "wait")
        await pilot.press("enter")
        await shown(pilot, "waitBEGUN")
        await pilot.press("escape")
        await shown(pilot, "seed 7 · stopped")
        assert words_of(app, "#written") == "waitBEGUN"

    play(app, story)


def test_another_text_replaces_the_one_under_way(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "wait")
        await pilot.press("enter")
        await shown(pilot, "waitBEGUN")
        app.screen.query_one("#prompt", Input).value = "now"
        await pilot.press("enter")
        await shown(pilot, "1 token · 50 tok/s")
        assert words_of(app, "#written") == "nowNOW"

    play(app, story)


def test_what_fails_is_told_where_it_was_asked(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "fail")
        await pilot.press("enter")
        await shown(pilot, "It is damaged. Take another.")
        app.screen.query_one("#option-checkpoint", Input).value = "epoch-9"
        await pilot.press("enter")
        await shown(pilot, "has no checkpoint 'epoch-9'.")
        app.screen.query_one("#option-temperature", Input).value = "-1"
        app.screen.query_one("#option-seed", Input).value = "x"
        await pilot.press("enter")
        await shown(pilot, "temperature = -1 is not a number of 0 or more.")
        assert "seed = 'x' is not a whole number" in words_of(app, "#writing-status")

    play(app, story)


def test_leaving_while_it_writes_ends_the_model_process(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "wait")
        await pilot.press("enter")
        await shown(pilot, "waitBEGUN")
        await pilot.press("tab", "ctrl+q")
        await until(pilot, lambda: not app.is_running)

    play(app, story)
