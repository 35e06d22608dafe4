"""Fixtures of the dashboard's tests: an application without threads, and clients of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_socketio import SocketIOTestClient

from trainer.inference.client import ModelProcess
from webapp import Services, create_app
from webapp.context import EXTENSION

FAKE_MODEL = Path(__file__).with_name("fake_model.py")

Connect = Callable[[], SocketIOTestClient]


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The dashboard of an empty workspace; only ``live.tick()`` looks at the runs."""
    monkeypatch.setattr(
        "webapp.writing.ModelProcess", lambda: ModelProcess([sys.executable, str(FAKE_MODEL)])
    )
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
