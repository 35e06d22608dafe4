"""A text token by token on a page, by the cases that the scripts are held to as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.inference import surprise
from webapp.tinting import Cell, cells

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "token_cases.json").read_text())


def entry(data: list[int], logprob: float) -> dict[str, Any]:
    return {"bytes": data, "logprob": logprob}


@pytest.mark.parametrize(("logprob", "words", "level"), CASES["figures"])
def test_how_likely_a_token_was(logprob: float, words: str, level: int) -> None:
    assert list(cells([entry([97], logprob)])) == [Cell("a", level, words)]


@pytest.mark.parametrize(("data", "words"), CASES["visible"])
def test_each_character_of_a_token_is_seen(data: list[int], words: str) -> None:
    assert surprise.visible(entry(data, 0.0)) == words


@pytest.mark.parametrize(("text", "lead", "ink", "sign"), CASES["inked"])
def test_the_space_before_a_word_is_not_tinted(text: str, lead: str, ink: str, sign: str) -> None:
    cell = Cell(text, 1, "")
    assert (cell.lead, cell.ink, cell.sign) == (lead, ink, sign)


@pytest.mark.parametrize("case", CASES["cells"], ids=[case["why"] for case in CASES["cells"]])
def test_tokens_are_cut_into_cells(case: dict[str, Any]) -> None:
    made = list(cells([entry(data, logprob) for data, logprob in case["tokens"]]))
    assert [cell.text for cell in made] == [text for text, _ in case["cells"]]
    wanted = [surprise.level(logprob) for _, logprob in case["cells"]]
    assert [cell.level for cell in made] == wanted
