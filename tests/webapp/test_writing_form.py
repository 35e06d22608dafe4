"""The playground's form: what is refused at its fields, and what is asked of the model."""

from __future__ import annotations

import pytest

from trainer.errors import UsageError
from trainer.inference.request import GenerationSettings
from webapp.writing_form import STOP_ALLOWED, WRITING_FIELDS, WritingForm, generation_settings


def test_what_changes_nothing_is_left_out() -> None:
    settings = WritingForm(prompt="A\r\nB", top_k="0", top_p="1.0").settings()
    assert (settings.prompt, settings.max_new_tokens) == ("A\nB", 200)
    assert (settings.top_k, settings.top_p, settings.min_p, settings.seed) == (None,) * 4
    assert (settings.presence_penalty, settings.frequency_penalty) == (None, None)


def test_what_stands_there_at_first_is_what_the_command_takes_too() -> None:
    assert WritingForm().errors == {}
    assert WritingForm(prompt="A").settings() == GenerationSettings(prompt="A")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_new_tokens", "99999"),
        ("max_new_tokens", "many"),
        ("max_new_tokens", ""),
        ("temperature", "-1"),
        ("temperature", "nan"),
        ("top_k", "1.5"),
        ("top_p", "5"),
        ("top_p", "0"),
        ("min_p", "1.1"),
        ("repetition_penalty", "0"),
        ("seed", "abc"),
        ("seed", str(2**53)),
        ("presence_penalty", "2.1"),
        ("frequency_penalty", "-3"),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(name: str, text: str) -> None:
    form = WritingForm.submitted({name: text})
    assert form.errors == {name: WRITING_FIELDS[name].allowed}


def test_stop_texts_stand_one_a_line() -> None:
    form = WritingForm(stop="\\n\\n\r\nThe end\r\n\r\n")
    assert form.settings().stop == ("\n\n", "The end")
    assert WritingForm(stop="x\n" * 16).errors == {}
    assert WritingForm(stop="x\n" * 17).errors == {"stop": STOP_ALLOWED}


def test_a_link_carries_the_model_the_prompt_and_settings() -> None:
    form = WritingForm.linked({"run": "a", "checkpoint": "best", "prompt": "", "seed": "x"})
    assert (form.model, form.prompt, form.temperature) == ("a best", "", "0.8")
    assert set(form.errors) == {"seed"}
    assert WritingForm.linked({}).model == ""


def test_a_refusal_names_no_command() -> None:
    with pytest.raises(UsageError) as refused:
        generation_settings({"prompt": "a", "top_p": 5})
    assert refused.value.hint == ""
    assert refused.value.message == "top_p = 5 is not a number above 0 and up to 1."


def test_an_unknown_setting_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError) as refused:
        generation_settings({"beam": 3})
    assert "top_p" in refused.value.hint
