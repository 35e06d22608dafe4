"""Fixtures of the dashboard's tests: an application without threads, and clients of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_socketio import SocketIOTestClient
from werkzeug.test import TestResponse

from tests.conftest import MakeRun
from trainer.config import Config
from trainer.inference.client import ModelProcess
from webapp import Services, create_app
from webapp.context import EXTENSION

FAKE_MODEL = Path(__file__).with_name("fake_model.py")

Connect = Callable[[], SocketIOTestClient]
Send = Callable[..., TestResponse]


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The dashboard of an empty workspace; only ``live.tick()`` looks at the runs."""
    monkeypatch.setattr(
        "webapp.writing.ModelService", lambda _: ModelProcess([sys.executable, str(FAKE_MODEL)])
    )
    monkeypatch.setattr("trainer.datasource.hub_answers", lambda *_: (True, ""))
    made = create_app(home, config={"TESTING": True, "LIVE_IN_BACKGROUND": False})
    yield made
    made.extensions[EXTENSION].close()


@pytest.fixture
def web(app: Flask) -> FlaskClient:
    """A client of that dashboard."""
    return app.test_client()


@pytest.fixture
def parts(app: Flask) -> Services:
    """The parts of that dashboard."""
    found: Services = app.extensions[EXTENSION]
    return found


@pytest.fixture
def connect(app: Flask) -> Connect:
    """Connects a new Socket.IO client."""
    return lambda: app.extensions["socketio"].test_client(app)


def received(client: SocketIOTestClient, event: str) -> list[dict[str, Any]]:
    """Take what a client has got and return what came under one name."""
    return [message["args"][0] for message in client.get_received() if message["name"] == event]


@pytest.fixture
def send(web: FlaskClient) -> Send:
    """Send a form with its token, as a browser would after loading a page."""
    page = web.get("/runs/new").text
    token = field_of(page, "csrf_token")

    def post(path: str, *, follow: bool = False, **values: Any) -> TestResponse:
        data = {name.replace("__", "."): value for name, value in values.items()}
        return web.post(path, data=data | {"csrf_token": token}, follow_redirects=follow)

    return post


def field_of(page: str, name: str) -> str:
    """Return the value of a field of a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"no field {name}"
    return found[1]


@pytest.fixture
def created(parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Runs are made without a process; what was asked for is collected."""
    asked: list[Any] = []

    def create(config: Config, **given: Any) -> str:
        asked.append((config, given))
        return make_run(config=config).run_id

    monkeypatch.setattr(parts.store, "create", create)
    return asked
