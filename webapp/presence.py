"""One dashboard a workspace: it leaves word of itself for whoever starts another."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import secrets
from pathlib import Path

import msgspec

from trainer.errors import StoreError
from trainer.store import process
from trainer.store.files import read_record, write_record
from trainer.store.records import ProcessRecord
from trainer.store.workspace import Workspace
from webapp.listening import resolved

log = logging.getLogger(__name__)

HEALTH_TIMEOUT_SECONDS = 2.0
_KEY_BYTES = 32


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A running dashboard: where it listens, and the process that serves it."""

    host: str
    port: int
    url: str
    process: ProcessRecord


def find_running(workspace: Workspace) -> Dashboard | None:
    """Return the workspace's dashboard, if its process lives and answers for this workspace."""
    try:
        found = read_record(_word(workspace), Dashboard)
    except (OSError, StoreError):
        return None
    answers = process.is_alive(found.process) and _answers(found, workspace)
    return found if answers else None


def _answers(dashboard: Dashboard, workspace: Workspace) -> bool:
    """Ask for its health; a dashboard that wants a token says no more than that it is there."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(dashboard.host)
    connection = http.client.HTTPConnection(
        address or resolved(dashboard.host)[1], dashboard.port, timeout=HEALTH_TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        body = json.loads(answer.read(65536))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return answer.status == 401 or body.get("home") == str(workspace.home)


def announce(workspace: Workspace, host: str, port: int, url: str) -> None:
    """Leave word that this process serves the workspace's dashboard."""
    owner = process.identify(os.getpid())
    if owner is None:
        return
    try:
        workspace.runs_dir.mkdir(parents=True, exist_ok=True)
        write_record(_word(workspace), Dashboard(host=host, port=port, url=url, process=owner))
    except OSError as error:
        log.warning("The workspace cannot be told of its dashboard: %s", error)


def retract(workspace: Workspace) -> None:
    """Take back the word that this process left, and no other's."""
    path = _word(workspace)
    with contextlib.suppress(OSError, StoreError):
        if read_record(path, Dashboard).process == process.identify(os.getpid()):
            path.unlink()


def kept_key(workspace: Workspace) -> bytes:
    """Return the key that signs cookies and form tokens.

    It is kept in the workspace, for the eyes of its owner alone, so that a page that was open
    while the dashboard was started again can still send its forms.
    """
    path = workspace.runs_dir / ".dashboard-key"
    fresh = secrets.token_bytes(_KEY_BYTES)
    try:
        workspace.runs_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(fresh)
    except FileExistsError:
        kept = path.read_bytes()
        return kept if len(kept) == _KEY_BYTES else fresh
    except OSError as error:
        log.warning("The dashboard's key cannot be kept: %s", error)
    return fresh


def _word(workspace: Workspace) -> Path:
    return workspace.runs_dir / ".dashboard.json"
