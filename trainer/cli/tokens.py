"""The tokens of a scored text on a screen, each with how much it surprised the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from trainer.cli.output import faint
from trainer.cli.table import Column, cell_width, render, shortened
from trainer.inference import surprise

LEGEND = "Below each token its surprise in bits: 1 is one in 2, 10 is one in 1,000."
TINTS: tuple[Mapping[str, Any], ...] = (
    {},
    *({"fg": colour} for colour in surprise.TERMINAL_COLOURS[:-1]),
    {"fg": surprise.TERMINAL_COLOURS[-1], "bold": True, "underline": True},
)
"""The look of a token by its level of surprise."""
_WIDEST = 24
_GAP = 1

Token = Mapping[str, Any]


def interlinear(tokens: Sequence[Token], width: int) -> list[str]:
    """Write a text as tokens, with the surprise of each in a line below, within a width."""
    lines: list[str] = []
    for row in _rows([_Cell(token) for token in tokens], width):
        lines.append((" " * _GAP).join(cell.tinted() for cell in row).rstrip())
        lines.append(faint((" " * _GAP).join(cell.figure() for cell in row).rstrip()))
    return lines


def listed(tokens: Sequence[Token], width: int) -> list[str]:
    """Write a token a line, with its surprise, its probability and the likeliest tokens there."""
    columns = (
        Column("bits", right=True, look=_look_of_bits),
        Column("share", right=True),
        Column("token"),
        Column("likeliest there", flexible=True),
    )
    return render(columns, [_listed_row(token) for token in tokens], width)


class _Cell:
    """A token above its surprise."""

    def __init__(self, token: Token) -> None:
        self._text = shortened(surprise.visible(token), _WIDEST)
        self._bits = f"{surprise.bits(token['logprob']):.1f}"
        self._look = TINTS[surprise.level(token["logprob"])]
        self.width = max(cell_width(self._text), len(self._bits))
        self.ends_line = self._text.endswith("↵")

    def tinted(self) -> str:
        blank = " " * (self.width - cell_width(self._text))
        return (click.style(self._text, **self._look) if self._look else self._text) + blank

    def figure(self) -> str:
        return self._bits.ljust(self.width)


def _rows(cells: Sequence[_Cell], width: int) -> Iterator[list[_Cell]]:
    """Break cells into rows: where the text breaks its line, and where a row is full."""
    row: list[_Cell] = []
    taken = 0
    for cell in cells:
        if row and (row[-1].ends_line or taken + cell.width > width):
            yield row
            row, taken = [], 0
        row.append(cell)
        taken += cell.width + _GAP
    if row:
        yield row


def _listed_row(token: Token) -> list[str]:
    likeliest = "  ".join(
        f"{surprise.visible(one)} {surprise.share(one['logprob'])}" for one in token["top"]
    )
    logprob = token["logprob"]
    return [
        f"{surprise.bits(logprob):.1f}",
        surprise.share(logprob),
        shortened(surprise.visible(token), _WIDEST),
        likeliest,
    ]


def _look_of_bits(shown: str) -> Mapping[str, Any]:
    return TINTS[surprise.level_of(float(shown))]
