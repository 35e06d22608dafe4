"""The dashboard: a viewer of the run store for the browser, and its API for programs."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from flask_socketio import SocketIO

from trainer.assets import asset_dir
from trainer.foresight.precedents import Precedents
from trainer.runs import RunStore
from webapp import api, errorpages, live, playground, sockets, statics
from webapp.context import EXTENSION, DeviceCache, Services, services
from webapp.jsonio import SocketJson
from webapp.openai.routes import openai
from webapp.pages import pages
from webapp.security import MAX_BODY_BYTES, Gatekeeper, Policy, protect_changes
from webapp.trials import Trials
from webapp.writing import Writers

__all__ = ["Services", "create_app", "services"]

MAX_EVENT_BYTES = 256 * 1024


def create_app(
    home: str | Path | None = None,
    *,
    policy: Policy | None = None,
    config: Mapping[str, Any] | None = None,
) -> Flask:
    """Make the dashboard of a workspace. Touches no disk until it is asked for something.

    Args:
        home: the workspace; None: ``LLM_TRAINER_HOME``, or the current folder.
        policy: the names and the token of the server; None: loopback names, no token.
        config: Flask settings, and ``LIVE_IN_BACKGROUND`` (false: only ``live.tick()`` looks at
            the runs, for tests).
    """
    rules = policy or Policy()
    app = Flask(
        __name__,
        template_folder=str(asset_dir("templates")),
        static_folder=None,
    )
    statics.register(app, asset_dir("static"))
    app.config.from_mapping(
        SECRET_KEY=secrets.token_bytes(32),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="llm_trainer_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        LIVE_IN_BACKGROUND=True,
    )
    app.config.from_mapping(config or {})
    protect_changes(app, rules)
    errorpages.register(app)
    for blueprint in (api.api, openai, pages):
        app.register_blueprint(blueprint)
    _connect_live(app, RunStore(home, hurried=True), rules)
    app.wsgi_app = Gatekeeper(app.wsgi_app, rules)  # type: ignore[method-assign]
    return app


def _connect_live(app: Flask, store: RunStore, rules: Policy) -> None:
    """Add Socket.IO and the parts that send through it."""
    socketio = SocketIO(
        async_mode="threading",
        # Events of one client are handled in the order in which it sent them.
        async_handlers=False,
        cors_allowed_origins=lambda origin, environ: (
            origin in rules.origins(environ["SERVER_PORT"])
        ),
        max_http_buffer_size=MAX_EVENT_BYTES,
        json=SocketJson,
        engineio_logger=_library_log("engineio"),
        logger=_library_log("socketio"),
    )
    socketio.init_app(app)
    outlet = sockets.SocketOutlet(socketio)
    hub = live.LiveHub(store, outlet, background=bool(app.config["LIVE_IN_BACKGROUND"]))
    writers = Writers(store)
    desk = playground.Playground(writers, outlet)
    sockets.register(socketio, on_leave=[hub.forget, desk.leave])
    live.register(socketio, hub, outlet)
    playground.register(socketio, desk, outlet)
    app.extensions[EXTENSION] = Services(
        store,
        DeviceCache(),
        writers,
        hub,
        Precedents(store),
        Trials(lambda config, tell, leash: store.estimate(config, tell=tell, leash=leash)),
    )


def _library_log(name: str) -> logging.Logger:
    """Return a log for what the libraries say of broken connections: of use to us alone."""
    log = logging.getLogger(f"webapp.{name}")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)
    return log
