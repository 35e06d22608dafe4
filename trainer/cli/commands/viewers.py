"""The other two viewers: the dashboard in the browser, and the terminal view."""

from __future__ import annotations

import click

from trainer.cli.options import command
from trainer.cli.session import Session


@command("web", "web --open", "web --host 0.0.0.0 --allow-host trainer.lan", reports=False)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    metavar="N",
    help="Port; where 8000 is in use, and no other was asked for, the next free one.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the browser too.")
@click.option("--quickstart", is_flag=True, help="Start the quickstart run if there is no run yet.")
@click.option(
    "--allow-host",
    "allow_hosts",
    metavar="NAME",
    multiple=True,
    help="Host name by which the dashboard may be reached; may be repeated.",
)
def web_command(
    session: Session,
    host: str,
    port: int,
    open_browser: bool,
    quickstart: bool,
    allow_hosts: tuple[str, ...],
) -> None:
    """Serve the dashboard for the browser.

    Ctrl+C ends the dashboard and never the training.
    """
    home = session.store.workspace.home
    from webapp.server import serve

    serve(
        home,
        host,
        port,
        open_browser=open_browser,
        allow_hosts=allow_hosts,
        quickstart=quickstart,
    )


@command("tui", "tui", reports=False)
def tui_command(session: Session) -> None:
    """Open the terminal view: runs, charts, log and samples."""
    store = session.store
    from trainer import tui

    tui.run(store)
