"""Which runs can be ranked by what, and in which settings they differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeRun
from trainer import comparing
from trainer.comparing import ALL_ALIKE, FIGURES, UNKNOWN, Common
from trainer.config import Config, Layer, build


def configured(**values: Any) -> Config:
    named = {key.replace("__", "."): value for key, value in values.items()}
    return build(Layer("test", named))


FIGURE = {figure.key: figure for figure in FIGURES}


def best(key: str, values: list[Any], common: Common = ALL_ALIKE) -> Any:
    return comparing.best_of(FIGURE[key], values, common)


def test_the_best_is_lowest_or_highest_and_none_where_all_are_alike() -> None:
    assert best("best_val_loss", [3.5, 3.25, None]) == 3.25
    assert best("tokens_per_second", [10.0, 20.0]) == 20.0
    assert best("best_val_loss", [3.5, 3.5]) is None
    assert best("best_val_loss", [None, 3.5]) is None
    assert best("parameters", [1, 2]) is None


def test_the_same_text_and_vocabulary_can_be_ranked_by_all() -> None:
    assert comparing.in_common([configured(training__epochs=1), configured()]) == ALL_ALIKE


def test_another_vocabulary_leaves_perplexity_and_bits_per_byte() -> None:
    common = comparing.in_common([configured(), configured(data__vocab_size=4096)])
    assert common.words == (
        "Their vocabularies have 4,096 and 8,192 tokens: losses a token cannot be ranked; "
        "perplexity per word and bits per byte can."
    )
    assert best("best_val_loss", [3.5, 3.25], common) is None
    assert best("best_val_word_perplexity", [90.0, 80.0], common) == 80.0
    assert best("val_bits_per_byte", [1.5, 1.25], common) == 1.25


def test_another_text_leaves_only_speed() -> None:
    common = comparing.in_common(
        [configured(), configured(data__dataset_name="/texts/book.txt"), configured()]
    )
    assert common.words.startswith("The runs learn from different texts (wikitext-2 and book.txt)")
    assert best("best_val_word_perplexity", [90.0, 80.0], common) is None
    assert best("tokens_per_second", [10.0, 20.0], common) == 20.0


def test_nothing_is_ranked_by_a_text_that_nobody_knows() -> None:
    common = comparing.in_common([configured(data__dataset_name="unknown")] * 2)
    assert (common.text, common.vocabulary) == (False, False)
    assert "is not known" in common.words


def test_the_same_text_held_out_otherwise_is_another_text() -> None:
    common = comparing.in_common([configured(), configured(data__held_out_fraction=0.1)])
    assert "(wikitext-2, prepared differently)" in common.words


def test_what_cannot_be_read_cannot_be_ranked() -> None:
    assert not comparing.in_common([configured(), None]).text


def test_only_settings_that_differ_are_kept() -> None:
    rows = comparing.setting_rows([configured(training__epochs=n) for n in (1, 2, 1)])
    assert comparing.differing(rows) == {"training.epochs": [1, 2, 1]}
    assert rows["model.width"] == [256, 256, 256]


def test_a_run_that_cannot_be_read_differs_in_nothing() -> None:
    rows = comparing.setting_rows([configured(), None])
    assert rows["training.epochs"] == [3, UNKNOWN]
    assert comparing.differing(rows) == {}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.key)
def test_every_figure_is_of_the_state(figure: comparing.Figure, make_run: MakeRun) -> None:
    assert comparing.values_of(figure, [make_run().state]) == [None]
