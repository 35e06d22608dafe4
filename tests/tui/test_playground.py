"""The playground, with an echo for a model."""

from __future__ import annotations

from textual.widgets import Input, TextArea

from tests.conftest import MakeRun
from tests.tui.conftest import PlayedApp, TuiPilot, play, shown, until, words_of
from trainer.runs import Run
from trainer.tui.live_text import LiveText


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
        app.screen.query_one("#option-seed", Input).value = "7"
        await pilot.press("enter")
        await shown(pilot, "2 tokens · 50 tok/s · seed 7 · reached the length")
        assert words_of(app, "#written") == "once uponONCEUPON"

    play(app, story)


def test_g_generates_from_anywhere(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("g")
        await shown(pilot, "The history ofTHEHISTORYOF")

    play(app, story)


def test_the_text_takes_the_focus_and_names_its_model(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("g")
        await shown(pilot, "← → look at tokens")
        await shown(pilot, "─ first, latest ─")
        await pilot.press("left")
        await shown(pilot, "OF  25 %, 2.0 bits")
        await pilot.press("escape")
        await shown(pilot, "^T tint")
        assert "look at tokens" not in words_of(app, "#writing-status")

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
        assert app.screen.query_one("#prompt", Input).value == "fail"

    play(app, story)


def test_again_with_the_same_seed_and_with_another(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "once upon")
        await pilot.press("enter")
        seed = await seed_told(pilot, app)
        for key, same in (("ctrl+r", True), ("ctrl+n", False)):
            await pilot.press(key)
            assert (await seed_told(pilot, app) == seed) is same
            assert words_of(app, "#written") == "once uponONCEUPON"

    play(app, story)


async def seed_told(pilot: TuiPilot, app: PlayedApp) -> str:
    """Wait until a text is at its end, and return its seed."""
    await until(pilot, lambda: "seed" in words_of(app, "#writing-status"))
    return words_of(app, "#writing-status").split("seed ")[1].split(" ")[0]


def test_the_model_goes_on_from_the_end_of_its_text(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "a b")
        await pilot.press("enter")
        await shown(pilot, "a bAB")
        await until(pilot, lambda: "seed" in words_of(app, "#writing-status"))
        await pilot.press("ctrl+o")
        await shown(pilot, "a bABABAB")
        assert app.screen.query_one("#prompt", Input).value == "a b"
        await until(pilot, lambda: "seed" in words_of(app, "#writing-status"))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "seed" in words_of(app, "#writing-status"))
        assert words_of(app, "#written") == "a bABABAB"

    play(app, story)


def test_a_cursor_tells_how_likely_each_token_was(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await ready(pilot, app, "an again")
        await pilot.press("enter")
        await shown(pilot, "2 tokens")
        await pilot.press("down")
        await shown(pilot, "AGAIN  3.1 %, 5.0 bits")
        assert words_of(app, "#writing-status").splitlines()[1] == "likeliest: ·so 50 %  "
        await pilot.press("left", "left")
        await shown(pilot, "AN  25 %, 2.0 bits")
        assert spans(app) == [(0, 8, "bold"), (8, 10, "reverse")]
        await pilot.press("ctrl+t")
        assert spans(app)[1:] == [(10, 15, "cyan"), (8, 10, "reverse")]
        await pilot.press("shift+tab")
        await shown(pilot, "2 tokens")

    play(app, story)


def spans(app: PlayedApp) -> list[tuple[int, int, str]]:
    """Return how the parts of the text look."""
    said = app.screen.query_one("#written", LiveText).said
    return [(span.start, span.end, str(span.style)) for span in said.spans]


def test_a_pasted_text_is_scored(app: PlayedApp, make_run: MakeRun) -> None:
    trained(make_run)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("e", "ctrl+s")
        await shown(pilot, "There is no text yet.")
        app.screen.query_one("#score-text", TextArea).text = "to words\nfrighteningly"
        await pilot.press("ctrl+s")
        await shown(pilot, "perplexity 101.6 · 1.2500 bits a byte · 3 tokens")
        assert words_of(app, "#written") == "to words\nfrighteningly"
        await until(pilot, lambda: len(spans(app)) == 2)
        await pilot.press("ctrl+o")
        await shown(pilot, "frighteninglyTOWORDS")

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
