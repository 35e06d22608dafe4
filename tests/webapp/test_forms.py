"""The new-run form: made from the schema, read back, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer import config as configuration
from trainer.annotating import split_tags
from trainer.config import SETTINGS, Config, Layer
from trainer.datasource import DatasetNameError
from trainer.errors import ConfigurationError, DataError, DeviceError, Fault, StoreError
from webapp import forms
from webapp.planning import RunPlan


def sent(form: forms.RunForm) -> dict[str, list[str]]:
    """What a browser sends of a form that was not touched."""
    values = {key: [text] for key, text in form.texts.items()}
    return values | {"name": [form.name], "tags": [form.tags]}


def test_every_setting_has_one_field() -> None:
    form = forms.filled(Config())
    sections = form.basic + form.advanced
    keys = [field.key for section in sections for field in section.fields]
    assert sorted(keys) == sorted(SETTINGS)
    assert {field.setting.basic for section in form.basic for field in section.fields} == {True}


@pytest.mark.parametrize("name", sorted(configuration.shipped_configs()))
def test_a_form_that_was_not_touched_makes_the_same_run(name: str) -> None:
    config = configuration.load(name)
    read = forms.submitted(sent(forms.filled(config))).config
    assert read is not None
    assert configuration.resolved(read) == configuration.resolved(config)


def test_a_setting_that_was_not_sent_keeps_its_default() -> None:
    form = forms.submitted({"training.epochs": ["7"]})
    assert form.config == configuration.build(Layer("test", {"training.epochs": 7}))


def test_all_mistakes_are_marked_at_once_and_nothing_is_lost() -> None:
    form = forms.submitted(
        {
            "training.epochs": ["0"],
            "training.learning_rate": ["fast"],
            "data.dataset_name": [""],
            "name": ["my run"],
        }
    )
    assert form.config is None
    assert [field.key for field in form.wrong_fields] == [
        "data.dataset_name",
        "training.epochs",
        "training.learning_rate",
    ]
    epochs = form.wrong_fields[1]
    assert epochs.text == "0"
    assert epochs.errors == ("0 is not allowed: a whole number from 1 to 100,000.",)
    assert form.name == "my run"


def test_settings_that_do_not_fit_together_are_marked_at_one_of_them() -> None:
    form = forms.submitted({"model.heads": ["7"]})
    assert [field.key for field in form.wrong_fields] == ["model.heads"]
    assert [section.wrong for section in form.advanced if section.name == "model"] == [1]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.epochs", " 12 ", 12),
        ("training.max_steps", "", None),
        ("training.learning_rate", "3e-4", 3e-4),
        ("training.learning_rate", ".5", 0.5),
        ("training.epochs", "4.5", "4.5"),
        ("training.dataloader_pin_memory", "", None),
        ("training.dataloader_pin_memory", "false", False),
        ("device.strict", "true", True),
        ("evaluation.prompts", "One\r\n\r\n Two ", ["One", "Two"]),
        ("data.fallback", "", None),
        ("data.dataset_name", " a/b ", "a/b"),
    ],
)
def test_what_is_typed_is_read(key: str, text: str, value: object) -> None:
    assert forms.read(SETTINGS[key], text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (0.003, "0.003"), (1 / 3, repr(1 / 3)), (("a", "b"), "a\nb")],
)
def test_values_are_written_as_they_would_be_typed(value: object, text: str) -> None:
    assert forms.typed(value) == text


@pytest.mark.parametrize(
    ("key", "widget"),
    [
        ("model.preset", "segments"),
        ("training.dataloader_pin_memory", "segments"),
        ("device.strict", "switch"),
        ("evaluation.prompts", "lines"),
        ("training.epochs", "number"),
        ("data.dataset_name", "text"),
    ],
)
def test_each_kind_has_its_widget(key: str, widget: str) -> None:
    assert forms.widget(SETTINGS[key]) == widget


def test_a_switch_sends_false_before_true() -> None:
    assert forms.submitted({"device.strict": ["false", "true"]}).texts["device.strict"] == "true"
    assert forms.submitted({"device.strict": ["false"]}).texts["device.strict"] == "false"


def test_names_are_spelled_out() -> None:
    assert forms.label("seq_length") == "Sequence length"
    assert forms.label("grad_accum_steps") == "Gradient accumulation steps"


def test_a_clone_leaves_the_sizes_to_its_preset() -> None:
    stored = configuration.resolved(configuration.build(Layer("test", {"model.preset": "small"})))
    form = forms.filled(stored)
    assert (form.texts["model.layers"], form.texts["model.preset"]) == ("", "small")


def test_a_clone_keeps_sizes_of_its_own() -> None:
    stored = configuration.resolved(configuration.build(Layer("test", {"model.layers": 9})))
    assert forms.filled(stored).texts["model.layers"] == "9"


def test_tags_stand_between_commas() -> None:
    assert split_tags(" a, b c,,a ") == ("a", "b c")


# ---------------------------------------------------------------------- the plan


def test_the_plan_says_what_it_amounts_to() -> None:
    values = {"training.batch_size": 4, "training.seq_length": 64, "training.grad_accum_steps": 2}
    plan = RunPlan(configuration.build(Layer("test", values)))
    assert plan.tokens_per_step == 512
    # 4 blocks: attention 4 x 256², SwiGLU 3 x 256 x 704, norms 2 x 256 + 2 x 64; embedding; norm.
    assert plan.parameters == 4 * (262_144 + 540_672 + 640) + 8192 * 256 + 256
    assert plan.length == "3 passes over the text"


def test_a_plan_with_an_end_says_how_many_tokens() -> None:
    config = configuration.build(Layer("test", {"training.max_steps": 600}))
    assert RunPlan(config).length == "at most 600 steps (2.46 M tokens)"


def test_the_command_line_makes_the_same_run() -> None:
    values = {"training.epochs": 5, "data.dataset_name": "my text.txt"}
    plan = RunPlan(configuration.build(Layer("test", values)), "it's", ("a", "b"))
    assert plan.command_line == (
        "llm-trainer train \\\n"
        "  --set 'data.dataset_name=\"my text.txt\"' \\\n"
        "  --set training.epochs=5 \\\n"
        "  --name 'it'\"'\"'s' \\\n"
        "  --tag a \\\n"
        "  --tag b"
    )
    options = [
        option
        for word, option in zip(plan.command, plan.command[1:], strict=False)
        if word == "--set"
    ]
    assert configuration.build(configuration.assignments(options)) == plan.config


def test_the_toml_makes_the_same_run(tmp_path: Path) -> None:
    plan = RunPlan(configuration.build(Layer("test", {"model.preset": "medium"})))
    file = tmp_path / "run.toml"
    file.write_text(plan.toml)
    assert configuration.load(file) == plan.config


# ---------------------------------------------------------------------- refusals


def test_refusals_of_the_launcher_are_marked_at_their_field() -> None:
    form = forms.filled(Config())
    data = forms.refused(form, DataError("There is no text.", "Name a file."))
    assert [(f.key, f.errors) for f in data.wrong_fields] == [
        ("data.dataset_name", ("There is no text. Name a file.",))
    ]
    missing = forms.refused(form, DatasetNameError("There is no such file."))
    assert [field.key for field in missing.wrong_fields] == ["data.dataset_name"]
    device = forms.refused(form, DeviceError("No GPU."))
    assert [field.key for field in device.wrong_fields] == ["device.preference"]
    fault = Fault("form", "training.epochs", "= 1 is odd")
    assert forms.refused(form, ConfigurationError([fault])).faults == (fault,)


def test_other_refusals_stand_above_the_form() -> None:
    error = StoreError("The disk is full.")
    form = forms.refused(forms.filled(Config()), error)
    assert (form.refusal, form.wrong) == (error, 0)
