"""The dashboard's server: gunicorn with one worker process and a thread for each connection.

A live connection holds a thread, and its state is in the worker's memory, so there is exactly one
worker. Runs have processes of their own, in sessions of their own: however the server ends, they
do not notice.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from trainer import config as configuration
from trainer.errors import TrainerError
from trainer.notify import notifying
from trainer.runs import RunStore
from trainer.trash import UNDO_SECONDS
from webapp import create_app, presence
from webapp.context import EXTENSION, Services
from webapp.listening import DEFAULT_HOST, DEFAULT_PORT, address_for_people, listen, policy_for
from webapp.security import Policy, checked_hosts

log = logging.getLogger(__name__)

THREADS = 256
"""A live connection holds one, and so does a text while it is sent; the rest answer pages."""

WORKER_GRACE_SECONDS = 1
MASTER_GRACE_SECONDS = 3

_PR_SET_PDEATHSIG = 1


def serve(
    home: str | Path | None,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    open_browser: bool = False,
    allow_hosts: Iterable[str] = (),
    quickstart: bool = False,
    log_level: str = "warning",
) -> None:
    """Serve the dashboard of a workspace until Ctrl+C or SIGTERM, and print its address.

    Where the workspace has a dashboard there already, that one is named (and opened) instead.

    Args:
        home: the workspace; None: ``LLM_TRAINER_HOME``, or the current folder.
        host: address to listen on; beyond loopback an access token is asked for, and printed.
        port: in place of the default, 8000, the next free one is taken when it is in use.
        open_browser: open the page too, where there is a desktop.
        allow_hosts: further names under which the dashboard may be opened.
        quickstart: start the shipped quickstart run when there is no run yet.
        log_level: how much the server tells on standard error.

    Raises:
        UsageError: the address cannot be listened on, or a name is no host name.
        ConflictError: the port is taken by another program.
    """
    store = RunStore(home, hurried=True)
    policy = policy_for(host, checked_hosts(allow_hosts))
    running = presence.find_running(store.workspace)
    if running is not None and running.host == host and port in (running.port, DEFAULT_PORT):
        click.echo(f"Dashboard: {running.url} (it was running already)")
        show(running.url, open_browser)
        return
    listener = listen(host, port)
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    plan = Plan(
        store=store,
        host=host,
        port=int(listener.getsockname()[1]),
        policy=policy,
        open_browser=open_browser,
        quickstart=quickstart,
        log_level=log_level,
    )
    DashboardServer(plan, listener).run()


@dataclass(frozen=True)
class Plan:
    """What is served, where and to whom."""

    store: RunStore
    host: str
    port: int
    policy: Policy
    open_browser: bool = False
    quickstart: bool = False
    log_level: str = "warning"

    @property
    def url(self) -> str:
        """The address that people open."""
        return address_for_people(self.host, self.port)

    @property
    def entrance(self) -> str:
        """The address to open first: with the access token, where one is asked for."""
        token = self.policy.access_token
        return self.url if token is None else f"{self.url}/?token={token}"


# ---------------------------------------------------------------------- gunicorn


class DashboardArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master without what would break this server.

    It must not be told to have more workers (SIGTTIN) or to run itself anew (SIGUSR2), and a
    terminal that closes (SIGHUP) ends it, unless it was started with ``nohup``.
    """

    def __init__(self, app: Any) -> None:
        ends = [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            ends.append(signal.SIGHUP)
        self.SIGNALS = ends
        super().__init__(app)

    def handle_hup(self) -> None:
        """End, as at SIGTERM."""
        self.handle_term()


class DashboardWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's threaded worker, which ends in one way, whichever signal asks for it.

    Its own way at SIGINT takes locks in the signal handler, and hangs when it holds them already.
    """

    def handle_quit(self, sig: int, frame: object) -> None:
        """End when the requests under way are answered, or after a moment."""
        self.handle_exit(sig, frame)


class DashboardServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn, set up in code alone: no file, variable or command line changes it."""

    def __init__(self, plan: Plan, listener: socket.socket) -> None:
        self._plan = plan
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults, and what its variables could change."""
        chosen = {
            "bind": [f"fd://{self._listener.detach()}"],
            "workers": 1,
            "worker_class": DashboardWorker,
            "threads": THREADS,
            # A worker that a busy machine holds up for long is not to be killed for it.
            "timeout": 0,
            "graceful_timeout": MASTER_GRACE_SECONDS,
            "keepalive": 5,
            "loglevel": self._plan.log_level,
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
            "when_ready": self._on_ready,
            "post_fork": self._on_fork,
            "post_worker_init": self._on_worker_ready,
            "worker_exit": self._on_worker_exit,
            "on_exit": self._on_exit,
        }
        for name, value in chosen.items():
            if name in self.cfg.settings:  # Older ones have no control socket to disable.
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application, in the worker process."""
        plan = self._plan
        return create_app(
            plan.store.workspace.home,
            policy=plan.policy,
            config={
                "SECRET_KEY": presence.kept_key(plan.store.workspace),
                # Cookies do not tell ports apart.
                "SESSION_COOKIE_NAME": f"llm_trainer_session_{plan.port}",
            },
        )

    def run(self) -> None:
        """Serve until a signal; ends by SystemExit."""
        DashboardArbiter(self).run()

    def _on_ready(self, _arbiter: Any) -> None:
        plan = self._plan
        presence.announce(plan.store.workspace, plan.host, plan.port, plan.url)

    def _on_fork(self, arbiter: Any, _worker: Any) -> None:
        die_with(arbiter.pid)

    def _on_worker_ready(self, worker: Any) -> None:
        """Begin to serve: in the worker process, when the application stands."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # It is the master's to answer.
        worker.cfg.set("graceful_timeout", WORKER_GRACE_SECONDS)
        parts: Services = self.wsgi().extensions[EXTENSION]
        threading.Thread(target=warm_up, args=[parts.store], name="warm-up", daemon=True).start()
        if worker.age == 1:
            threading.Thread(target=greet, args=[self._plan], name="greet", daemon=True).start()

    def _on_worker_exit(self, _arbiter: Any, worker: Any) -> None:
        """End the worker process at once: threads of open connections would hold it up."""
        if worker.pid != os.getpid() or not worker.booted:
            return
        parts: Services = self.wsgi().extensions[EXTENSION]
        parts.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _on_exit(self, _arbiter: Any) -> None:
        workspace = self._plan.store.workspace
        presence.retract(workspace)
        click.echo(farewell(active_runs(self._plan.store)))


def die_with(parent_pid: int) -> None:
    """Let the kernel end this process with its parent, so that nobody is left to hold the port."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # It was faster.
            os._exit(1)


def warm_up(store: RunStore) -> None:
    """Read all runs before somebody asks, and do what waited for a dashboard to start.

    Ends that nobody lived to tell are told, and runs that were deleted long ago are removed.
    """
    try:
        store.look()
        gc.freeze()  # Ten thousand runs that stay need not be looked through for garbage.
        notifying.tell_missed(store.workspace)
        store.empty_trash(older_than_seconds=UNDO_SECONDS)
    except (TrainerError, OSError) as error:
        log.warning("What a dashboard does at its start was not done: %s", error)


# ---------------------------------------------------------------------- what people are told


def greet(plan: Plan) -> None:
    """Print the address, open it, and start the first run of a new workspace."""
    click.echo(f"Dashboard: {plan.entrance}")
    if plan.policy.access_token is not None:
        click.echo("It is open to the network: whoever has this address can use it.")
    show(plan.entrance, plan.open_browser)
    if plan.quickstart:
        start_quickstart(plan.store, plan.url)


def show(url: str, wanted: bool) -> None:
    """Open a page in the browser where there is a desktop."""
    if wanted and has_desktop():
        webbrowser.open(url)


def has_desktop() -> bool:
    """Say whether a browser window could appear."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def start_quickstart(store: RunStore, url: str) -> None:
    """Start the first run of a new workspace; say what it trains on and why."""
    if store.workspace.run_ids():
        return
    click.echo("There is no run yet: starting the quickstart run …")
    try:
        config = configuration.load("quickstart")
        command = ["llm-trainer", "train", "--config", "quickstart"]
        run_id = store.create(config, name="quickstart", command=command)
        data = store.meta(run_id).data
    except TrainerError as error:
        click.echo(f"The quickstart run cannot be started: {error}", err=True)
        return
    why = f" {data['reason']}" if data.get("reason") else ""
    click.echo(f"Run {run_id} trains on {data.get('used')}.{why}")
    click.echo(f"Watch it learn: {url}/runs/{run_id}")


def active_runs(store: RunStore) -> int:
    """Count the runs that train just now."""
    return store.list(status="active", limit=1).total


def farewell(active: int) -> str:
    """Say that the dashboard has stopped, and that training has not."""
    if not active:
        return "The dashboard has stopped."
    return "The dashboard has stopped. Training goes on; see it with llm-trainer status."
