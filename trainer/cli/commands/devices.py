"""What can be trained on here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer import formats
from trainer.cli.options import command
from trainer.cli.output import commands_to_try, screen_width
from trainer.cli.session import Session
from trainer.cli.table import Column, render
from trainer.devices import probe


@command("devices", "devices")
def devices_command(session: Session) -> None:
    """Show what can be trained on here.

    And which device 'auto' takes, and why.
    """
    found = probe()
    choose = commands_to_try([("choose", session.command("train --device cpu"))])
    session.report(found, [*device_lines(found), *choose])


def device_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the table of devices, and what ``auto`` takes."""
    columns = (Column("DEVICE"), Column("NAME", flexible=True), Column("MEMORY", right=True))
    rows = [[d["id"], d["name"], _memory(d)] for d in found["devices"]]
    chosen, precision = found["auto"], found["precision"]
    return [
        *render(columns, rows, screen_width()),
        "",
        f"device auto takes {chosen['device']}: {chosen['reason']}",
        f"precision auto takes {precision['name']}: {precision['reason']}",
    ]


def _memory(device: Mapping[str, Any]) -> str:
    total = device.get("memory_bytes")
    return "" if total is None else formats.size(total)
