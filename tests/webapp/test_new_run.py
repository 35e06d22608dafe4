"""The form of a new run: what is told before the start, and that one form starts one run."""

from __future__ import annotations

import io
import re
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from tests.texts import write_text
from tests.webapp.conftest import Send, field_of
from trainer import config as configuration
from trainer import datasource
from trainer.choosing import Choice, Device
from trainer.config import SETTINGS, Layer, assignments, build
from trainer.errors import DeviceError
from trainer.foresight.outlook import Foreseen
from trainer.runs import RunStore
from trainer.store.records import ErrorRecord
from webapp import Services, forms, hubwatch, planning, presenting
from webapp.hubwatch import HubWatch
from webapp.planning import RunPlan
from webapp.trials import Trials

ODD = {
    "data.dataset_name": 'it\'s "my" text – größer $HOME `ls` \\ 語.txt',
    "data.dataset_config": "a b",
    "evaluation.prompts": (
        "The 'song'",
        'He said "go',
        '"quoted"',
        " spaces around ",
        "two\nlines\tand a tab",
        "\u2028 is no end of a line",
        "\\n is no end either",
        "",
    ),
    "device.preference": "A30, the \u201cbig\u201d one",
    "training.learning_rate": 1 / 3,
    "training.seed": 2**63 - 1,
}


# ---------------------------------------------------------------------- the same by every way


@pytest.mark.parametrize("values", [{}, ODD, {"evaluation.prompts": ()}])
def test_command_and_file_and_form_make_the_same_configuration(
    values: dict[str, Any], tmp_path: Path
) -> None:
    config = build(Layer("test", values))
    plan = RunPlan(config)
    typed = shlex.split(plan.command_line.replace("\\\n", " "))
    assert tuple(typed) == plan.command
    pairs = [word for word, before in zip(typed[1:], typed, strict=False) if before == "--set"]
    assert configuration.resolved(build(assignments(pairs))) == configuration.resolved(config)
    file = tmp_path / "run.toml"
    file.write_text(plan.toml, "utf-8")
    assert configuration.load(file) == config
    form = forms.filled(config)
    # A browser sends the ends of lines its own way.
    sent = {key: [text.replace("\n", "\r\n")] for key, text in form.texts.items()}
    assert forms.submitted(sent).config == config
    assert forms.pasted(plan.toml, forms.filled(configuration.Config())).config == config


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.key)
def test_help_choices_and_ranges_come_from_the_schema(setting: configuration.Setting) -> None:
    field = forms.Field(setting, forms.typed(setting.default))
    assert field.help == setting.help
    assert [value for value, _ in field.choices if value] == (
        ["true", "false"] if setting.kind == "bool" else list(setting.choices)
    )
    if setting.nullable:
        assert setting.empty, "what does it mean to leave it empty?"
        assert setting.help.endswith(f"; empty: {setting.empty}.")
    assert bool(field.range) == (setting.minimum is not None and setting.kind in ("int", "float"))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("training.epochs", "From 1 to 100,000."),
        ("training.learning_rate", "Above 0, up to 10."),
        ("training.clip_grad_norm", "Above 0."),
        ("model.dropout", "From 0 to 0.9."),
        ("training.seed", "From 0 to 2^63 - 1."),
        ("model.preset", ""),
    ],
)
def test_ranges_are_written_for_reading(key: str, words: str) -> None:
    assert forms.number_range(SETTINGS[key]) == words


def test_an_empty_field_says_what_that_means() -> None:
    fields = {field.key: field for field in forms.filled(configuration.Config()).fields(SETTINGS)}
    assert fields["training.max_steps"].placeholder == "all"
    assert fields["checkpoint.keep_every"].placeholder == "of none"
    assert fields["training.dataloader_pin_memory"].choices[0] == ("", "on with CUDA")
    assert fields["data.fallback"].choices[0] == ("", "fail")
    assert fields["training.max_steps"].default_words == "all"
    assert fields["device.strict"].default_words == "off"


def test_each_preset_is_a_card_with_the_words_of_its_file(web: FlaskClient) -> None:
    cards = presenting.preset_cards()
    assert [card.title for card in cards] == ["Quickstart", "CPU hour", "Default", "GPU", "Best"]
    assert cards[1].first.startswith("Meant for about an hour on two processor cores")
    assert "word perplexity 93.2" in cards[1].more
    assert not any("What is not named here" in card.more for card in cards)
    page = web.get("/runs/new?config=cpu-hour").text
    assert all(f"<strong>{card.title}</strong><span>{card.first}</span>" in page for card in cards)
    assert page.count('aria-current="true"') == 1


def test_what_differs_from_the_default_is_marked_with_the_way_back(send: Send) -> None:
    page = send("/runs/new/preview", training__epochs="5", training__learning_rate="0.0060").text
    marked = re.findall(r'data-setting="([^"]*)" data-default="([^"]*)" data-changed', page)
    assert marked == [("training.epochs", "3")]


# ---------------------------------------------------------------------- what is told before


def test_without_scripts_the_preview_button_shows_the_whole_form_again(send: Send) -> None:
    page = send("/runs/new/preview", training__epochs="5", name="mine").text
    assert "5 passes over the text" in page
    assert 'name="name" value="mine"' in page
    assert "<h1>New run</h1>" in page


def preview(web: FlaskClient, **values: str) -> str:
    token = field_of(web.get("/runs/new").text, "csrf_token")
    data = {name.replace("__", "."): value for name, value in values.items()}
    answer = web.post(
        "/runs/new/preview", data=data | {"csrf_token": token}, headers={"HX-Request": "true"}
    )
    return answer.text


def test_a_fresh_workspace_invents_no_figures(web: FlaskClient) -> None:
    page = preview(web)
    assert page.count("not known yet") == 3
    assert "the text is counted when a run first reads it" in page
    assert "<h1>" not in page


def test_an_earlier_run_lets_foresee_the_next(
    web: FlaskClient, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_module = sys.modules["webapp.pages.new_run"]
    monkeypatch.setattr(page_module, "cpu_name", lambda: "Test Processor")
    monkeypatch.setattr(page_module, "gpus_here", list)
    run = make_run(
        name="baseline", steps_per_epoch=626, step=1000, tokens=4_096_000, elapsed_seconds=2000.0,
        device="cpu", device_name="Test Processor",
    )  # fmt: skip
    page = preview(web, training__epochs="2")
    assert "<dt>Steps</dt><dd>1,252<small>" in page
    # 2,504 seconds, up or down by 1.35, to two digits.
    assert "<dt>Duration</dt><dd>about 31 min to 56 min" in page
    assert f'<a href="/runs/{run.run_id}">at the pace of baseline</a>' in page


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Foreseen(1252, 1252, ""), "1,252"),
        (Foreseen(500, 500, "", at_most=True), "at most 500"),
        (Foreseen(10_016, 10_031, ""), "about 10,000"),
    ],
)
def test_steps_are_told_no_finer_than_they_are_known(found: Foreseen, words: str) -> None:
    assert planning.steps_words(found) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1854.8, 3380.4, "about 31 min to 56 min"),
        (33.0, 33.2, "about 33 s"),
        (0.2, 0.4, "about 0 s"),
    ],
)
def test_a_duration_is_told_no_finer_than_it_is_known(low: float, high: float, words: str) -> None:
    assert planning.seconds_words(Foreseen(low, high, "")) == words


CPU = Device("cpu", "Test Processor", None)


def test_a_device_that_is_not_here_is_told_at_its_field(web: FlaskClient) -> None:
    note = planning.device_note(
        Choice("cpu", CPU.name, "there is no GPU that fits 'banana': training on the CPU instead.",
               fell_back=True), [CPU],
    )  # fmt: skip
    assert (note.tone, note.text) == (
        "warning",
        "There is no GPU that fits 'banana': training on the CPU instead. "
        "Here is: cpu (Test Processor).",
    )
    page = preview(web, device__preference="banana")
    told = re.search(r'id="device-preference-note" data-tone="warning"[^>]*>([^<]*)', page)
    assert told is not None
    assert "fits &#39;banana&#39;" in told[1]
    strict = preview(web, device__preference="banana", device__strict="true")
    assert 'id="device-preference-note" data-tone="bad"' in strict


@pytest.mark.parametrize(
    ("name", "tone", "words"),
    [
        ("python-docs", "quiet", "The documentation that this Python carries"),
        ("wikitxt-2", "bad", "Did you mean wikitext-2"),
        ("/nowhere/book.txt", "bad", "There is no file or folder"),
        ("/", "quiet", "A folder; it is looked into when the run starts."),
    ],
)
def test_what_a_dataset_name_means_is_told_at_its_field(
    web: FlaskClient, name: str, tone: str, words: str
) -> None:
    page = preview(web, data__dataset_name=name)
    note = re.search(rf'id="data-dataset_name-note" data-tone="{tone}"[^>]*>([^<]*)', page)
    assert note is not None
    assert words in note[1]


def test_a_file_is_told_with_its_size(web: FlaskClient, tmp_path: Path) -> None:
    text = write_text(tmp_path / "book.txt", 60_000)
    size = presenting.FORMATS["size"](text.stat().st_size)
    assert f"A file of {size}." in preview(web, data__dataset_name=str(text))


# ---------------------------------------------------------------------- a pasted configuration


def test_a_pasted_file_fills_the_form(send: Send) -> None:
    toml = '[training]\nepochs = 7\nclip_grad_norm = "null"\n[evaluation]\nprompts = ["a\\nb"]\n'
    answer = send("/runs/new/toml", toml=toml)
    assert answer.status_code == 200
    assert 'name="training.epochs" value="7"' in answer.text
    assert 'name="training.clip_grad_norm" value=""' in answer.text
    assert "&#34;a\\u000ab&#34;</textarea>" in answer.text
    assert 'name="training.batch_size" value="16"' in answer.text


def test_a_file_can_be_chosen_instead(web: FlaskClient) -> None:
    token = field_of(web.get("/runs/new").text, "csrf_token")
    file = (io.BytesIO(b"\xef\xbb\xbf[training]\nepochs = 8\n"), "run.toml")
    answer = web.post("/runs/new/toml", data={"csrf_token": token, "toml_file": file})
    assert 'name="training.epochs" value="8"' in answer.text
    odd = (io.BytesIO(b"\xff\xfe\x00"), "run.bin")
    answer = web.post("/runs/new/toml", data={"csrf_token": token, "toml_file": odd})
    assert (answer.status_code, "is not a text file in UTF-8" in answer.text) == (422, True)


def test_a_pasted_file_with_mistakes_fills_in_nothing(send: Send) -> None:
    toml = '[training]\nepochs = 0\nlearning_rat = 1\n[nonsense]\na = 1\n[model]\nwidth = "wide"\n'
    answer = send("/runs/new/toml", toml=toml, name="mine", training__batch_size="24")
    assert answer.status_code == 422
    assert "did you mean training.learning_rate?<" in answer.text
    assert "nonsense.a is not a setting" in answer.text
    assert "training.epochs = 0 is not allowed: a whole number from 1 to 100,000." in answer.text
    assert "model.width = &#39;wide&#39; is not allowed" in answer.text
    assert 'name="model.width" value=""' in answer.text
    assert 'name="training.batch_size" value="24"' in answer.text
    assert 'name="name" value="mine"' in answer.text
    assert "nonsense]" in answer.text


@pytest.mark.parametrize(
    ("toml", "words"),
    [("this = = broken", "This text is not valid TOML"), (" ", "nothing to read")],
)
def test_what_is_not_toml_is_told_beside_it_and_the_form_stays(
    send: Send, toml: str, words: str
) -> None:
    answer = send("/runs/new/toml", toml=toml, name="mine", training__epochs="9", now_anyway="true")
    assert (answer.status_code, words in answer.text) == (422, True)
    assert f"{toml}</textarea>" in answer.text
    assert 'name="training.epochs" value="9"' in answer.text
    assert 'name="name" value="mine"' in answer.text
    assert 'name="now_anyway" value="true" checked' in answer.text


@pytest.mark.parametrize("place", ["toml", "preview", "trial/cancel"])
def test_an_address_that_takes_the_form_leads_back_to_it(web: FlaskClient, place: str) -> None:
    answer = web.get(f"/runs/new/{place}")
    assert (answer.status_code, answer.location) == (303, "/runs/new")


def test_an_empty_setting_is_called_empty_in_the_form(send: Send) -> None:
    page = send("/runs/new/preview", model__layers="0", training__max_steps="0").text
    assert "a whole number from 1 to 128 (or empty)." in page
    assert "1,000,000,000,000" in page
    assert "or null" not in page


def test_the_run_that_is_cloned_goes_by_its_name(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(name="baseline")
    page = web.get(f"/runs/new?from={run.run_id}").text
    assert f'<a href="/runs/{run.run_id}" title="{run.run_id}">baseline</a>' in page


def test_a_clone_can_take_text_that_needs_no_network(
    web: FlaskClient, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasource, "is_cached", lambda source: False)
    error = {"kind": "data", "message": "The hub cannot be reached.", "hint": ""}
    config = build(assignments(["data.dataset_name=wikitext-2"]))
    run = make_run(status="failed", error=ErrorRecord(**error), config=config)
    address = f"/runs/new?from={run.run_id}&amp;dataset=python-docs"
    page = web.get(f"/runs/{run.run_id}").text
    assert f'data-error="data" href="{address}"' in page
    form = web.get(address.replace("&amp;", "&")).text
    assert 'name="data.dataset_name" value="python-docs"' in form


def test_a_silent_hub_is_told_at_the_field(
    web: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasource, "is_cached", lambda source: False)
    monkeypatch.setattr(HubWatch, "silence", lambda self: "its name cannot be resolved")
    page = web.get("/runs/new").text
    assert "But the hub cannot be reached now: its name cannot be resolved." in page
    monkeypatch.setattr(HubWatch, "silence", lambda self: "")
    assert "cannot be reached" not in web.get("/runs/new").text


def test_the_hub_is_asked_in_the_background_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_answer = list[int](), threading.Event()

    def answer() -> tuple[bool, str]:
        asked.append(1)
        may_answer.wait(10)
        return False, "no answer"

    monkeypatch.setattr(datasource, "hub_answers", answer)
    watch = HubWatch()
    assert watch.silence() == ""
    may_answer.set()
    monkeypatch.setattr(hubwatch, "WAITED_SECONDS", 10.0)
    assert watch.silence() == "no answer"
    assert watch.silence() == "no answer"
    assert len(asked) == 1


# ---------------------------------------------------------------------- one form, one run


def test_two_sendings_at_once_start_one_run(
    app: Flask, parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, made = threading.Event(), list[str]()

    def create(config: configuration.Config, **_: Any) -> str:
        begun.wait(5)
        made.append(make_run(config=config).run_id)
        return made[-1]

    monkeypatch.setattr(parts.store, "create", create)
    opened = app.test_client().get("/runs/new")
    page, cookie = opened.text, opened.headers["Set-Cookie"].partition(";")[0]
    data = {name: field_of(page, name) for name in ("csrf_token", "submission")}
    answers: list[str | None] = []

    def post() -> None:
        send = app.test_client(use_cookies=False)
        answers.append(send.post("/runs/new", data=data, headers={"Cookie": cookie}).location)

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join(20)
    assert answers == [f"/runs/{made[0]}"] * 2
    assert len(made) == 1


def test_who_goes_back_and_changes_something_starts_another(send: Send, created: list[Any]) -> None:
    first = send("/runs/new", submission="one", training__epochs="2").location
    assert send("/runs/new", submission="one", training__epochs="2").location == first
    assert send("/runs/new", submission="one", training__epochs="3").location != first
    assert len(created) == 2


def test_a_secret_of_the_cloned_run_goes_along_unseen(
    web: FlaskClient, send: Send, created: list[Any], make_run: MakeRun
) -> None:
    url = "https://hooks.example.org/secret"
    run = make_run(config=build(Layer("test", {"notify.url": url})))
    page = web.get(f"/runs/new?from={run.run_id}").text
    assert url not in page
    shown = field_of(page, "notify.url")
    send("/runs/new", parent=run.run_id, notify__url=shown)
    assert created[0][0].notify.url == url


def test_the_command_and_the_file_leave_a_secret_out_and_say_so() -> None:
    plan = RunPlan(build(Layer("test", {"notify.url": "https://hooks.example.org/secret"})))
    assert "notify.url" not in plan.command_line
    assert "hooks.example.org" not in plan.toml
    assert configuration.read_text(plan.toml, "test").values.keys() <= SETTINGS.keys()
    assert "LLM_TRAINER_NOTIFY_URL" in plan.left_out
    assert RunPlan(configuration.Config()).left_out == ""


# ---------------------------------------------------------------------- trying it out

FOUND = {
    "steps": 1878, "tokens": 5_200_000, "dataset": "WikiText-2", "estimated_seconds": 2963.0,
    "estimated_memory_bytes": 900 * 2**20, "tokens_per_second": 2600.0,
    "device_name": "Test Processor",
}  # fmt: skip


def test_a_trial_is_followed_and_its_figures_are_shown(
    web: FlaskClient, send: Send, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, told = threading.Event(), threading.Event()

    def ask(_: Any, tell: Any, __: Any) -> dict[str, Any]:
        tell("timing steps …")
        told.set()
        go_on.wait(20)
        return FOUND

    monkeypatch.setattr(parts.trials, "_ask", ask)
    page = send("/runs/new/trial", training__epochs="3").text
    told.wait(20)
    assert "Trying it out:" in page
    assert web.get("/runs/new/trial").text == "timing steps …"
    other = send("/runs/new/preview", training__epochs="4").text
    assert "Another configuration is being tried out" in other
    refused = send("/runs/new/trial", training__epochs="4").text
    assert "Another configuration is being tried out. Cancel it" in refused
    trial = parts.trials.under_way()
    assert trial is not None
    go_on.set()
    trial.over.wait(20)
    assert web.get("/runs/new/trial").headers["HX-Trigger"] == "trial-over"
    page = send("/runs/new/preview", training__epochs="3").text
    assert (
        "<dd>about 49 min<small>tried out on Test Processor: 33 min of steps at 2,600 tok/s, and"
        in page
    )
    assert "<dd>about 900.0 MiB<small>" in page
    assert "about 49 min" not in send("/runs/new/preview", training__epochs="4").text


def test_a_trial_that_fails_says_why(parts: Services) -> None:
    def ask(*_: Any) -> dict[str, Any]:
        raise DeviceError("No GPU.", "Choose the CPU.")

    trials = Trials(ask)
    trial = trials.start(configuration.Config())
    trial.over.wait(20)
    assert (trial.status, str(trial.error)) == ("failed", "No GPU. Choose the CPU.")
    assert trials.under_way() is None
    assert trials.start(configuration.Config()) is not trial


def test_a_trial_of_a_real_run_is_cancelled(store: RunStore, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt")
    trials = Trials(lambda config, tell, leash: store.estimate(config, tell=tell, leash=leash))
    config = build(Layer("test", {"data.dataset_name": str(text), "device.preference": "cpu"}))
    trial = trials.start(config)
    trials.cancel()
    assert (trial.over.is_set(), trial.status) == (True, "ended")
    assert str(trial.error) == "Trying out the run was ended: it was cancelled."
