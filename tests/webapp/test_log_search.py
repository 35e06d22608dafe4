"""The log over HTTP: its parts by byte, and what is found in it."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from trainer.runs import Run

LINES = ("INFO begun", "WARNING disk nearly full", "INFO step 2", "ERROR disk full")


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    made = make_run(run_id="a")
    made.paths.train_log.write_text("".join(f"2026-01-02 {line}\n" for line in LINES))
    return made


def asked(web: FlaskClient, run: Run, **given: Any) -> Any:
    return web.get(f"/api/runs/{run.run_id}/log", query_string=given).json


def test_older_lines_are_read_before_a_byte(web: FlaskClient, run: Run) -> None:
    newest = asked(web, run, before=10**9, tail=2)
    assert newest["lines"] == ["2026-01-02 INFO step 2", "2026-01-02 ERROR disk full"]
    older = asked(web, run, before=newest["start"], tail=2)
    assert older["lines"] == ["2026-01-02 INFO begun", "2026-01-02 WARNING disk nearly full"]
    assert (older["start"], older["end"], older["size"]) == (0, newest["start"], newest["end"])
    again = asked(web, run, after=older["end"])
    assert again["lines"] == newest["lines"]


def test_the_whole_log_is_searched_by_text_and_level(web: FlaskClient, run: Run) -> None:
    found = asked(web, run, q="DISK")
    assert [(match["line"], match["text"][11:]) for match in found["matches"]] == [
        (2, "WARNING disk nearly full"),
        (4, "ERROR disk full"),
    ]
    assert (found["searched_from"], found["next"]) == (0, None)
    assert [match["line"] for match in asked(web, run, level="error")["matches"]] == [4]
    newest = asked(web, run, q="disk", limit=1)
    assert [match["line"] for match in newest["matches"]] == [4]
    older = asked(web, run, q="disk", limit=1, before=newest["next"])
    assert [match["line"] for match in older["matches"]] == [2]


def test_a_senseless_search_is_refused_in_words(web: FlaskClient, run: Run) -> None:
    assert "'loud' is not a level" in asked(web, run, level="loud")["error"]["message"]
    assert "nothing to look for" in asked(web, run, level="all")["error"]["message"]
    assert "not a whole number" in asked(web, run, before="-1")["error"]["message"]
