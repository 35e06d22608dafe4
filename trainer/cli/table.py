"""Tables for a terminal of any width: columns line up, and the least needed ones give way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

GAP = 2
_SHORTEST = 8


@dataclass(frozen=True)
class Column:
    """One column: the larger ``drop``, the sooner it is left out; 0 stays always.

    ``flexible`` columns are shortened before any column is left out. ``look`` gives the style
    (arguments of ``click.style``) of a cell by its text.
    """

    title: str
    right: bool = False
    drop: int = 0
    flexible: bool = False
    look: Callable[[str], Mapping[str, Any]] | None = None


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, width: int) -> str:
    """Cut a text to a width, ending in an ellipsis where something is missing."""
    if cell_width(text) <= width:
        return text
    while text and cell_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """Choose the columns that fit, and their widths, by index.

    Empty columns are left out; flexible ones shrink to 8 characters before others give way.
    """
    widths = {
        index: max(cell_width(column.title), *(cell_width(row[index]) for row in rows))
        for index, column in enumerate(columns)
        if any(row[index] for row in rows)
    }
    optional = sorted((i for i in widths if columns[i].drop), key=lambda i: columns[i].drop)
    while optional and _total(_least(columns, widths)) > width:
        del widths[optional.pop()]
    least = _least(columns, widths)
    for index, shortest in least.items():
        excess = max(0, _total(widths) - width)
        widths[index] = max(shortest, widths[index] - excess)
    return widths


def _least(columns: Sequence[Column], widths: Mapping[int, int]) -> dict[int, int]:
    return {i: min(w, _SHORTEST) if columns[i].flexible else w for i, w in widths.items()}


def _total(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table, heading first."""
    widths = layout(columns, rows, width)
    heading = [
        _cell(replace(columns[i], look=_bold), columns[i].title, w) for i, w in widths.items()
    ]
    body = ([_cell(columns[i], row[i], w) for i, w in widths.items()] for row in rows)
    return [(" " * GAP).join(cells).rstrip() for cells in (heading, *body)]


def _bold(_: str) -> Mapping[str, Any]:
    return {"bold": True}


def _cell(column: Column, text: str, width: int) -> str:
    short = shortened(text, width)
    blank = " " * (width - cell_width(short))
    shown = click.style(short, **column.look(text)) if column.look else short
    return blank + shown if column.right else shown + blank
