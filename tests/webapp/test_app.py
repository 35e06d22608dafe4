"""The application as a whole: made without touching the disk, one shape for every error."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp import Services, create_app
from webapp.context import DeviceCache
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
        ("GET", "/v1/nothing", 404, "not_found"),
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
