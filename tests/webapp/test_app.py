"""The application as a whole: made without touching the disk, one shape for every error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from webapp import Services, create_app
from webapp.context import DeviceCache
from webapp.errorpages import closest_ids
from webapp.errors import title_of
from webapp.security import MAX_BODY_BYTES


def test_making_the_application_touches_no_disk(home: Path) -> None:
    create_app(home)
    assert not home.exists()


def test_health_names_the_workspace(web: FlaskClient, home: Path) -> None:
    answer = web.get("/healthz").json
    assert answer is not None
    assert (answer["status"], answer["home"]) == ("ok", str(home))


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("GET", "/api", 404, "not_found"),
        ("DELETE", "/api/runs", 405, "method_not_allowed"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/runs/..%2f..%2fetc", 404, "not_found"),
        ("GET", "/api/runs/A", 404, "not_found"),
        ("GET", "/api/runs/latest", 404, "not_found"),
    ],
)
def test_programs_get_errors_as_json(
    web: FlaskClient, method: str, path: str, status: int, kind: str
) -> None:
    answer = web.open(path, method=method)
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["error"]["kind"] == kind
    assert set(answer.json["error"]) == {"kind", "message", "hint"}


def test_people_get_errors_as_a_page(web: FlaskClient) -> None:
    answer = web.get("/nothing")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is nothing at this address." in answer.text


def test_an_unknown_run_is_answered_with_those_named_like_it(
    web: FlaskClient, make_run: MakeRun
) -> None:
    for run_id in ("20260102-030405-0001", "20260102-093000-0002", "20251231-030405-0001"):
        make_run(run_id=run_id)
    answer = web.get("/runs/20260102-030405-9999")
    assert answer.status_code == 404
    assert "There is no run" in answer.text
    assert "--home" not in answer.text, "that is of use in a terminal alone"
    assert 'href="/deleted"' in answer.text
    found = re.findall(r'href="/runs/(2[\d-]+)"', answer.text)
    assert found == ["20260102-030405-0001", "20260102-093000-0002"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("20260102-030405-9999", ["20260102-030405-0001", "20260102-093000-0002"]),
        ("20260102-030405-0001", ["20260102-093000-0002"]),
        ("20260102", ["20260102-093000-0002", "20260102-030405-0001"]),
        ("20260103-030405-0001", []),
        ("latest", []),
    ],
)
def test_ids_are_alike_from_the_same_day_on(asked: str, found: list[str]) -> None:
    there = ["20260102-093000-0002", "20260102-030405-0001", "20251231-030405-0001"]
    assert closest_ids(asked, there) == found


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (400, "That did not work"),
        (401, "Token needed"),
        (404, "Not found"),
        (409, "Not now"),
        (500, "Something went wrong"),
        (503, "Not available just now"),
    ],
)
def test_every_status_has_a_title(status: int, title: str) -> None:
    assert title_of(status) == title


def test_a_wrong_method_names_the_right_ones(web: FlaskClient) -> None:
    assert "GET" in web.put("/api/runs").headers["Allow"]


def test_a_body_that_is_too_large_is_refused(web: FlaskClient) -> None:
    answer = web.post(
        "/api/runs", data=b" " * (MAX_BODY_BYTES + 1), content_type="application/json"
    )
    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["error"]["kind"] == "too_large"


@pytest.mark.parametrize(
    ("path", "mimetype"), [("/api/boom", "application/json"), ("/boom", "text/html")]
)
def test_an_unforeseen_error_says_nothing_of_itself(
    app: Flask, path: str, mimetype: str, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get(path)
    def boom() -> str:
        raise ZeroDivisionError("a secret detail")

    answer = app.test_client().get(path)
    assert (answer.status_code, answer.mimetype) == (500, mimetype)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "a secret detail" in caplog.text


def test_an_error_page_that_cannot_be_made_is_told_plainly(app: Flask, tmp_path: Path) -> None:
    app.jinja_loader.searchpath[:] = [str(tmp_path)]  # type: ignore[union-attr]  # a FileSystemLoader
    answer = app.test_client().get("/nothing")
    assert answer.status_code == 404
    assert "<p>There is nothing at this address.</p>" in answer.text


def test_devices_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def probe() -> dict[str, int]:
        asked.append(1)
        return {"times": len(asked)}

    monkeypatch.setattr("trainer.devices.probe", probe)
    cache = DeviceCache()
    assert [cache.get(), cache.get(), cache.get(refresh=True)] == [
        {"times": 1},
        {"times": 1},
        {"times": 2},
    ]


def test_closing_ends_the_threads(parts: Services) -> None:
    parts.close()
    parts.close()
