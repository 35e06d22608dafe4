"""The dialogs: what is asked, what is done, and how it is confirmed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from textual.widgets import Input, OptionList, Select, TextArea

from tests.conftest import MakeRun
from tests.tui.conftest import PlayedApp, TuiPilot, play, rows, screen_text, shown, until, words_of
from trainer import config as configuration
from trainer import devices, launch
from trainer.config import Config
from trainer.errors import TrainerError, UsageError
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.queue import Queue
from trainer.store.records import QueueStanding
from trainer.tui.dialogs.delete import DeleteDialog
from trainer.tui.dialogs.device import DeviceDialog
from trainer.tui.dialogs.label_run import LabelDialog
from trainer.tui.dialogs.new_run import NewRunDialog
from trainer.tui.dialogs.resume import ResumeDialog
from trainer.tui.dialogs.step_input import StepInput
from trainer.tui.dialogs.stop import StopDialog

FOUND: dict[str, Any] = {
    "devices": [
        {"id": "cpu", "name": "AMD EPYC"},
        {"id": "cuda:0", "name": "NVIDIA A30", "memory_bytes": 24 << 30},
    ],
    "auto": {"device": "cuda:0", "name": "NVIDIA A30", "reason": "the only GPU"},
}


async def dialog(pilot: TuiPilot, kind: type, key: str) -> None:
    """Press a key and wait for its dialog."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))
    await pilot.pause()


async def closed(pilot: TuiPilot, app: PlayedApp) -> None:
    await until(pilot, lambda: app.screen is app.main)


def checkpoint(run: Run, name: str, step: int) -> None:
    """Put a checkpoint beside a run, as far as a viewer looks."""
    run.paths.checkpoints.mkdir(parents=True, exist_ok=True)
    run.paths.checkpoint(name).write_bytes(b"weights")
    sidecar = run.paths.checkpoints / f"{name}.pt.json"
    sidecar.write_text(json.dumps({"step": step, "epoch": 1}))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a worker and ends when it is told to."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        yield child
        child.kill()


# ---------------------------------------------------------------------- new run


def test_the_form_starts_a_run(app: PlayedApp, store: RunStore, no_worker: None) -> None:
    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, NewRunDialog, "n")
        await pilot.press(*"first", "tab", *"a, b")
        app.screen.query_one("#setting-dataset_name", Input).value = "python-docs"
        app.screen.query_one("#more", TextArea).text = "model.dropout = 0.1"
        await pilot.press("ctrl+s")
        await closed(pilot, app)
        await until(pilot, lambda: len(rows(app)) == 1)

    play(app, story)
    (run,) = store.list().runs
    assert app.told[0] == "first is started."
    assert "--now-anyway" not in store.meta(run.run_id).command
    assert run.annotations.tags == ["a", "b"]
    config = store.config(run.run_id)
    assert (config.data.dataset_name, config.model.dropout) == ("python-docs", 0.1)
    assert store.meta(run.run_id).command[:2] == ["llm-trainer", "train"]
    assert "model.dropout=0.1" in store.meta(run.run_id).command


def test_a_run_that_would_wait_may_be_started_now_anyway(
    app: PlayedApp, store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []
    monkeypatch.setattr(launch, "_start_worker", lambda _, __, *owned: held.extend(owned))
    make_run(run_id="0", name="baseline")
    busy = Queue(store.workspace.queue_dir).draw("0", ("cpu",), "cpu")

    async def story(pilot: TuiPilot) -> None:
        for choice in (False, True):
            await dialog(pilot, NewRunDialog, "n")
            app.screen.query_one("#setting-preference", Input).value = "cpu"
            app.screen.query_one("#now-anyway", Select).value = choice
            await pilot.press("ctrl+s")
            await closed(pilot, app)

    play(app, story)
    for owned in (busy, *held):
        owned.release()
    assert app.told[0].endswith(" is queued, 2nd for cpu, after baseline.")
    assert app.told[-1].endswith(" is started.")
    assert store.meta(store.resolve("latest")).command[-1] == "--now-anyway"


def test_a_queued_run_is_started_with_a_key(
    app: PlayedApp, make_run: MakeRun, sleeper: subprocess.Popen[bytes]
) -> None:
    second = QueueStanding(device="cpu", position=2, ahead=["a"], after="baseline")
    run = make_run(
        name="first", status="queued", queue=second, process=process.identify(sleeper.pid)
    )

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "queued, 2nd for cpu, after baseline ──")
        await until(pilot, lambda: rows(app)[0][1] == "queued 2nd")
        await pilot.press("a")
        await until(pilot, lambda: bool(app.told))

    play(app, story)
    assert run.paths.start_request.exists()


def test_a_run_that_does_not_wait_is_not_started(app: PlayedApp, make_run: MakeRun) -> None:
    run = make_run(name="first", status="completed")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("a")
        await until(pilot, lambda: bool(app.told))

    play(app, story)
    assert app.told == [f"Run {run.run_id} does not wait for anything: it is completed."]


def test_mistakes_are_marked_at_once_and_nothing_is_lost(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, NewRunDialog, "n")
        app.screen.query_one("#setting-batch_size", Input).value = "many"
        await shown(pilot, "= 'many' is not allowed: a whole number")
        app.screen.query_one("#more", TextArea).text = "training.epoch = 1"
        await shown(pilot, "did you mean training.epochs?")
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, NewRunDialog)
        assert app.screen.query_one("#setting-batch_size", Input).value == "many"
        app.screen.query_one("#setting-batch_size", Input).value = "8"
        app.screen.query_one("#more", TextArea).text = ""
        await shown(pilot, "parameters ·")
        assert "is not allowed" not in screen_text(pilot)

    play(app, story)


def test_a_refusal_at_the_start_leaves_the_form_open(
    app: PlayedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise UsageError("The text is empty.", "Give another.")

    monkeypatch.setattr(RunStore, "create", refuse)

    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, NewRunDialog, "n")
        await pilot.press(*"first", "ctrl+s")
        await shown(pilot, "The text is empty. Give another.")
        assert app.screen.query_one("#run-name", Input).value == "first"

    play(app, story)


def test_another_base_fills_what_was_not_typed(app: PlayedApp, make_run: MakeRun) -> None:
    run = make_run(name="old")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── old ")
        await dialog(pilot, NewRunDialog, "n")
        app.screen.query_one("#setting-seq_length", Input).value = "77"
        app.screen.query_one("#base", Select).value = run.run_id
        epochs = app.screen.query_one("#setting-epochs", Input)
        await until(pilot, lambda: epochs.value == "3")
        assert app.screen.query_one("#setting-seq_length", Input).value == "77"

    play(app, story)


def test_brackets_step_the_epochs_in_the_form(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await pilot.press("right_square_bracket", "right_square_bracket")
        await dialog(pilot, NewRunDialog, "n")
        epochs = app.screen.query_one(StepInput)
        assert epochs.value == "5"
        epochs.focus()
        await pilot.press("right_square_bracket")
        assert epochs.value == "6"
        app.screen.query_one("#setting-preset").focus()
        await pilot.press("left_square_bracket")
        assert epochs.value == "5"
        app.screen.query_one("#more", TextArea).focus()
        await pilot.press("left_square_bracket")
        assert epochs.value == "5"
        assert app.screen.query_one("#more", TextArea).text == "["

    play(app, story)


def test_the_focused_setting_is_explained(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, NewRunDialog, "n")
        app.screen.query_one("#setting-batch_size").focus()
        await until(
            pilot, lambda: words_of(app, "#explanation") == "Sequences in one forward pass."
        )

    play(app, story)


def test_escape_closes_the_form(app: PlayedApp, store: RunStore) -> None:
    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, NewRunDialog, "n")
        await pilot.press("escape")
        await closed(pilot, app)

    play(app, story)
    assert store.list().total == 0


def test_escape_asks_before_what_was_typed_is_lost(app: PlayedApp) -> None:
    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, NewRunDialog, "n")
        await pilot.press("a", "escape")
        await shown(pilot, "Esc again throws away what you typed.")
        await pilot.press("b", "escape")
        assert app.screen.query_one("#run-name", Input).value == "ab"
        await pilot.click("#cancel")
        await closed(pilot, app)

    play(app, story)


# ---------------------------------------------------------------------- resume


def test_resume_asks_from_where_and_how_long(
    app: PlayedApp, store: RunStore, make_run: MakeRun, no_worker: None
) -> None:
    run = make_run(name="first", status="stopped", step=420, epochs=3)
    checkpoint(run, "latest", 420)
    checkpoint(run, "epoch-1", 200)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await until(pilot, lambda: app.main.glimpse is not None)
        await dialog(pilot, ResumeDialog, "u")
        await shown(pilot, "Goes on from step 420 to the end of epoch 3, on the same curve.")
        await pilot.press("right_square_bracket", "right_square_bracket")
        app.screen.query_one("#from", Select).value = "epoch-1"
        await shown(pilot, "Goes on from step 200 to the end of epoch 5, doing 220 steps again.")
        await pilot.press("enter")
        await closed(pilot, app)

    play(app, story)
    assert app.told[0] == "first goes on from epoch-1.pt (step 200, verified first), 2 more epochs."
    assert store.config(run.run_id).training.epochs == 5


def test_a_complete_run_is_offered_one_more_epoch(app: PlayedApp, make_run: MakeRun) -> None:
    checkpoint(make_run(status="completed", step=9, epochs=3), "latest", 9)

    async def story(pilot: TuiPilot) -> None:
        await until(pilot, lambda: app.main.glimpse is not None)
        await dialog(pilot, ResumeDialog, "u")
        await shown(pilot, "to the end of epoch 4")
        await pilot.press("left_square_bracket", "enter")
        await shown(pilot, "is complete: its last step is done.")

    play(app, story)


def test_epochs_of_the_next_run_are_not_those_to_resume_with(
    app: PlayedApp, make_run: MakeRun
) -> None:
    config = configuration.replace(Config(), training__max_steps=60)
    run = make_run(status="stopped", step=30, epochs=1, steps_per_epoch=60, config=config)
    checkpoint(run, "latest", 30)

    async def story(pilot: TuiPilot) -> None:
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: app.main.glimpse is not None)
        await dialog(pilot, ResumeDialog, "u")
        await shown(pilot, "Goes on from step 30 to step 60, on the same curve.")
        await pilot.press("right_square_bracket")
        await shown(pilot, "and adds 1 epoch: about 60 steps more")

    play(app, story)


def test_a_run_without_a_checkpoint_cannot_be_resumed(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(name="first", status="failed")

    async def story(pilot: TuiPilot) -> None:
        await until(pilot, lambda: app.main.glimpse is not None)
        await pilot.press("u")
        await until(pilot, lambda: bool(app.told))

    play(app, story)
    assert app.told == [
        "first has no checkpoint to resume from. "
        "Press n to start a new run; 'based on' offers its settings."
    ]


# ---------------------------------------------------------------------- stop


def test_stop_asks_the_worker(
    app: PlayedApp, store: RunStore, make_run: MakeRun, sleeper: subprocess.Popen[bytes]
) -> None:
    run = make_run(name="first", status="running", process=process.identify(sleeper.pid))

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await dialog(pilot, StopDialog, "s")
        await pilot.press("enter")
        await closed(pilot, app)

    play(app, story)
    assert run.paths.stop_request.exists()
    assert app.told[0].startswith("first was stopped.")


@pytest.mark.parametrize(
    ("saved", "told"),
    [(True, "first was killed. Press u to resume it."), (False, "first was killed.")],
)
def test_kill_ends_it_at_once(
    app: PlayedApp, make_run: MakeRun, sleeper: subprocess.Popen[bytes], saved: bool, told: str
) -> None:
    run = make_run(name="first", status="running", process=process.identify(sleeper.pid))
    if saved:
        checkpoint(run, "latest", 9)

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await dialog(pilot, StopDialog, "s")
        await pilot.press("k")
        await closed(pilot, app)
        await until(pilot, lambda: rows(app)[0][1] == "interrupted")

    play(app, story)
    assert sleeper.wait(10) == -9
    assert app.told == [told]


def test_a_run_that_has_ended_cannot_be_stopped(app: PlayedApp, make_run: MakeRun) -> None:
    make_run(name="first", status="completed")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("s")
        await until(pilot, lambda: app.told == ["first is not active: it is completed."])

    play(app, story)


# ---------------------------------------------------------------------- delete, tag


@pytest.mark.parametrize("key", ["x", "delete"])
def test_delete_asks_and_can_be_undone(
    app: PlayedApp, store: RunStore, make_run: MakeRun, key: str
) -> None:
    make_run(name="first")

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await dialog(pilot, DeleteDialog, key)
        await pilot.press("enter")
        await shown(pilot, "No runs yet")
        assert store.list().total == 0
        await pilot.press("z")
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("z")
        await until(pilot, lambda: len(app.told) == 3)

    play(app, story)
    assert app.told == [
        "first is deleted. Press z to undo.",
        "first is back.",
        "Nothing was deleted here.",
    ]


def test_an_active_run_is_not_deleted(
    app: PlayedApp, make_run: MakeRun, sleeper: subprocess.Popen[bytes]
) -> None:
    make_run(name="first", status="running", process=process.identify(sleeper.pid))

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await pilot.press("x")
        await until(pilot, lambda: app.told == ["first is running. Stop it first (s)."])

    play(app, story)


def test_name_and_tags(app: PlayedApp, store: RunStore, make_run: MakeRun) -> None:
    run = make_run(name="first", tags=["old"])

    async def story(pilot: TuiPilot) -> None:
        await shown(pilot, "── first ")
        await dialog(pilot, LabelDialog, "t")
        app.screen.query_one("#tags", Input).value = "a, " + "b" * 41
        await pilot.press("enter")
        await shown(pilot, "The tag is longer than 40 characters.")
        app.screen.query_one("#tags", Input).value = "a, b"
        app.screen.query_one("#name", Input).value = "second"
        await pilot.press("enter")
        await closed(pilot, app)
        await until(pilot, lambda: rows(app)[0][0] == "second #a #b")

    play(app, story)
    assert store.get(run.run_id).annotations.tags == ["a", "b"]
    assert app.told == ["second is tagged a, b."]


@pytest.mark.parametrize("key", ["u", "s", "x", "t", "g", "p"])
def test_without_a_run_keys_say_so(app: PlayedApp, key: str) -> None:
    async def story(pilot: TuiPilot) -> None:
        await pilot.press(key)
        await until(pilot, lambda: bool(app.told))
        await dialog(pilot, NewRunDialog, "n")

    play(app, story)
    assert app.told == ["There is no run here. Press n to start one."]


# ---------------------------------------------------------------------- device


def test_a_device_is_chosen_for_the_next_run(
    app: PlayedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "probe", lambda: FOUND)

    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, DeviceDialog, "d")
        await shown(pilot, "cuda:0          NVIDIA A30, 24.0 GiB")
        assert "auto            NVIDIA A30: the only GPU" in screen_text(pilot)
        await pilot.press("end", "enter")
        await closed(pilot, app)
        await shown(pilot, "Next run: epochs as configured, device cuda:0")
        monkeypatch.setattr(devices, "probe", lambda: pytest.fail("asked again"))
        await dialog(pilot, DeviceDialog, "d")
        await shown(pilot, "NVIDIA A30, 24.0 GiB")
        await pilot.press("escape")
        await dialog(pilot, NewRunDialog, "n")
        assert app.screen.query_one("#setting-preference", Input).value == "cuda:0"

    play(app, story)


def test_devices_can_be_chosen_while_torch_is_asked_or_fails(
    app: PlayedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> dict[str, Any]:
        raise TrainerError("Asking torch for its devices failed: no torch", "Install it.")

    monkeypatch.setattr(devices, "probe", fail)

    async def story(pilot: TuiPilot) -> None:
        await dialog(pilot, DeviceDialog, "d")
        await shown(pilot, "Asking torch for its devices failed: no torch Install it.")
        options = app.screen.query_one(OptionList)
        assert [option.id for option in options.options] == ["as-configured", "auto", "cpu"]
        await pilot.press("end", "enter")
        await shown(pilot, "Next run: epochs as configured, device cpu")

    play(app, story)
