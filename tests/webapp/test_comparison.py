"""The compare page: its tables, who is left out, and what is wrong with one run."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from trainer.config import Layer, build
from trainer.runs import Run, RunStore
from webapp.comparison import MOST_COMPARED, as_csv, gather


@pytest.fixture
def two(make_run: MakeRun) -> list[Run]:
    config = build(Layer("test", {"training.epochs": 9}))
    return [
        make_run(name="one", best_val_loss=3.5, tokens_per_second=10.0),
        make_run(name="two", best_val_loss=3.25, tokens_per_second=20.0, config=config),
    ]


def address(runs: list[Run], *more: str) -> str:
    return "/compare?" + "&".join(f"run={name}" for name in (*(r.run_id for r in runs), *more))


def shown_settings(page: str) -> list[str]:
    rows = re.findall(r'<tr( data-alike hidden)?><th scope="row" class="mono"[^>]*>([^<]*)', page)
    return [key for hidden, key in rows if not hidden]


def test_runs_are_compared(web: FlaskClient, two: list[Run]) -> None:
    page = web.get(address(two, two[0].run_id)).text
    assert "2 runs compared" in page
    assert '<td class="number best">3.2500' in page
    assert shown_settings(page) == ["training.epochs"]
    assert page.count("data-chart=") == 4


def test_without_a_difference_the_settings_are_folded_away(
    web: FlaskClient, make_run: MakeRun, two: list[Run]
) -> None:
    page = web.get(address([make_run(), make_run()])).text
    assert "All settings are the same." in page
    assert '<div data-alike hidden><p class="scroll-hint">' in page
    assert "<div data-alike" not in web.get(address(two)).text


def test_htmx_gets_the_tables_alone(web: FlaskClient, two: list[Run]) -> None:
    answer = web.get(address(two), headers={"HX-Request": "true"})
    assert ("3.2500" in answer.text, "<h1>" in answer.text) == (True, False)
    assert answer.headers["Vary"] == "HX-Request"


def test_losses_on_different_tokens_are_not_ranked(web: FlaskClient, make_run: MakeRun) -> None:
    config = build(Layer("test", {"data.vocab_size": 4096}))
    runs = [
        make_run(best_val_loss=3.5, tokens_per_second=10.0, best_val_word_perplexity=90.0),
        make_run(
            best_val_loss=3.25, tokens_per_second=20.0, best_val_word_perplexity=80.0, config=config
        ),
    ]
    page = web.get(address(runs)).text
    assert "Their vocabularies have 4,096 and 8,192 tokens" in page
    assert re.findall(r'class="number best">([^<]*)', page) == ["80.00", "20 tok/s"]


def test_a_run_that_is_gone_leaves_the_others_compared(web: FlaskClient, two: list[Run]) -> None:
    gone = "20200102-030405-abcd"
    page = web.get(address(two, gone)).text
    assert "2 runs compared" in page
    assert "One run is not here any more:" in page
    assert gone in page


def test_a_damaged_run_breaks_nothing(web: FlaskClient, two: list[Run], make_run: MakeRun) -> None:
    third = make_run(name="three", best_val_loss=3.0)
    third.paths.config.write_text("not [ toml")
    page = web.get(address([*two, third])).text
    assert "3 runs compared" in page
    assert "three: The configuration of run" in page
    assert "cannot be read" in page
    assert shown_settings(page) == ["training.epochs"]
    assert re.findall(r'class="number best">([^<]*)', page) == ["20 tok/s"]
    third.paths.state.write_text("{")
    assert "3.2500" in web.get(address([*two, third])).text


def test_more_than_a_page_holds_are_left_out_and_counted(
    web: FlaskClient, store: RunStore, make_run: MakeRun
) -> None:
    runs = [make_run(run_id=f"20260102-030405-00{n:02}") for n in range(MOST_COMPARED + 2)]
    found = gather(store, [run.run_id for run in runs])
    assert (len(found.runs), found.left_out) == (20, 2)
    page = web.get(address(runs)).text
    assert "At most 20 runs are compared: 2 more in the address are left out." in page
    assert "Add a run" not in page
    swatches = re.findall(r'compare-toggle.*?run-swatch (curve-\d)" data-dash="(\d)"', page)
    assert len(set(swatches)) == 20


@pytest.mark.parametrize("chosen", [0, 1])
def test_too_few_runs_are_told_with_a_way_to_add_some(
    web: FlaskClient, two: list[Run], chosen: int
) -> None:
    page = web.get(address(two[:chosen])).text
    assert ("One more run is needed" if chosen else "No runs are chosen") in page
    assert f'data-add="{two[1].run_id}"' in page
    assert "data-chart=" not in page


def test_runs_are_added_and_taken_out_by_links(web: FlaskClient, two: list[Run]) -> None:
    first, second = (run.run_id for run in two)
    page = web.get(address(two[:1])).text
    assert f'href="/compare?run={first}&amp;run={second}" data-add="{second}"' in page
    page = web.get(address(two)).text
    assert f'href="/compare?run={second}" data-remove="{first}"' in page


def test_the_runs_to_add_are_searched_for(
    web: FlaskClient, two: list[Run], make_run: MakeRun
) -> None:
    third = make_run(name="sweep three")
    offers = web.get(f"/compare/runs?run={two[0].run_id}&q=sweep").text
    assert re.findall(r'data-add="([^"]*)"', offers) == [third.run_id]
    assert "No other run matches." in web.get("/compare/runs?q=nothing-of-the-kind").text
    assert "field-error" in web.get("/compare/runs?q=loss<none").text


def test_the_tables_can_be_taken_along(
    web: FlaskClient, store: RunStore, two: list[Run], make_run: MakeRun
) -> None:
    exact: Any = make_run(name="=1+1", best_val_loss=1 / 3)
    answer = web.get(address([*two, exact]).replace("/compare", "/compare.csv"))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="comparison.csv"'
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(answer.text))}
    assert rows[""] == [run.run_id for run in (*two, exact)]
    assert [float(value) for value in rows["Best validation loss"]] == [3.5, 3.25, 1 / 3]
    assert rows["training.epochs"] == ["3", "9", "3"]
    assert "training.batch_size" not in rows
    assert answer.text == as_csv(gather(store, [run.run_id for run in (*two, exact)]))
