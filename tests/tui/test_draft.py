"""A new run as it is typed."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRun
from trainer import config as configuration
from trainer.config import SETTINGS, Config, Layer
from trainer.errors import ConfigurationError, UsageError
from trainer.runs import RunStore
from trainer.tui import draft
from trainer.tui.draft import BASIC_SETTINGS, Base

DEFAULTS = Base("defaults", "the defaults", Layer("defaults", {}))


def typed(base: Base = DEFAULTS, **changes: str) -> dict[str, str]:
    """The texts of all fields as the form first shows them, some of them changed."""
    texts = {setting.key: base.text(setting) for setting in BASIC_SETTINGS}
    return texts | {key.replace("__", "."): text for key, text in changes.items()}


def test_an_untouched_form_is_its_base() -> None:
    assert draft.build_config(DEFAULTS, typed(), "") == Config()


def test_typed_values_and_further_lines_count() -> None:
    config = draft.build_config(
        DEFAULTS,
        typed(training__epochs="7", training__max_steps="", data__dataset_name="python-docs"),
        "# slower\nmodel.dropout = 0.1\n\nevaluation.prompts = ['Once']",
    )
    assert config.training.epochs == 7
    assert config.training.max_steps is None
    assert config.data.dataset_name == "python-docs"
    assert config.model.dropout == 0.1
    assert config.evaluation.prompts == ("Once",)


def test_text_that_looks_like_a_number_stays_text() -> None:
    config = draft.build_config(DEFAULTS, typed(data__dataset_name="2024"), "")
    assert config.data.dataset_name == "2024"


def test_a_preset_that_nobody_touched_leaves_the_sizes_of_the_base() -> None:
    sized = configuration.load(None, Layer("test", {"model.width": 128, "model.heads": 2}))
    base = Base("other", "another run", Layer("other", configuration.as_flat(sized)))
    assert draft.build_config(base, typed(base), "").model.width == 128
    assert draft.build_config(base, typed(base, model__preset="small"), "").model.width is None


def test_every_problem_is_told_at_its_field() -> None:
    found = draft.check(
        DEFAULTS, typed(training__epochs="no", training__batch_size="0"), "model.dropout = 2\nx.y=1"
    )
    assert isinstance(found, dict)
    assert set(found) == {"training.epochs", "training.batch_size", ""}
    assert found["training.epochs"].startswith("= 'no' is not allowed: a whole number from 1")
    assert "model.dropout = 2 is not allowed" in found[""]
    assert "x.y is not a setting" in found[""]


def test_a_line_that_is_no_assignment_is_told() -> None:
    found = draft.check(DEFAULTS, typed(), "dropout")
    assert isinstance(found, dict)
    assert found[""] == f"'dropout' is not an assignment. {draft.MORE_HINT}"


def test_an_empty_field_that_needs_a_value_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        draft.build_config(DEFAULTS, typed(training__epochs=""), "")
    assert refusal.value.faults[0].key == "training.epochs"


def test_problems_of_other_errors_stand_by_themselves() -> None:
    assert draft.problems(UsageError("No such file.", "Give another.")) == {
        "": "No such file. Give another."
    }


def test_bases_are_the_shipped_files_quickstart_first_and_the_defaults_last() -> None:
    names = [base.name for base in draft.shipped_bases()]
    assert names[0] == "quickstart"
    assert names[-1] == "defaults"
    assert set(names) == {*configuration.shipped_configs(), "defaults"}


def test_the_settings_of_a_run_are_a_base(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(config=configuration.replace(Config(), training__epochs=9))
    base = draft.base_of_run(store, run.run_id, "first")
    assert base.label == "the settings of first"
    assert base.text(SETTINGS["training.epochs"]) == "9"
    assert base.text(SETTINGS["training.max_steps"]) == ""


def test_tags_are_parted_by_commas() -> None:
    assert draft.parse_tags(" a, two words ,a,,b") == ["a", "two words", "b"]


def test_the_same_run_as_a_command() -> None:
    config = configuration.replace(Config(), training__epochs=5)
    assert draft.command_line(config, "first", ["a"]) == [
        *("llm-trainer", "train", "--set", "training.epochs=5"),
        *("--name", "first", "--tag", "a"),
    ]
