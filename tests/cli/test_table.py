"""Tables line up at every width, and the least needed columns give way first."""

from __future__ import annotations

import click
import pytest

from trainer.cli.table import Column, cell_width, layout, render, shortened

COLUMNS = (
    Column("RUN"),
    Column("NAME", flexible=True, drop=1),
    Column("LOSS", right=True, drop=2),
)
ROWS = [["a1", "a rather long name", "3.1416"], ["b22", "short", "10.5"]]


def plain(columns: tuple[Column, ...], rows: list[list[str]], width: int) -> list[str]:
    return [click.unstyle(line) for line in render(columns, rows, width)]


def test_columns_line_up() -> None:
    assert plain(COLUMNS, ROWS, 80) == [
        "RUN  NAME                  LOSS",
        "a1   a rather long name  3.1416",
        "b22  short                 10.5",
    ]


def test_a_flexible_column_is_shortened_before_another_is_left_out() -> None:
    assert plain(COLUMNS, ROWS, 24) == [
        "RUN  NAME           LOSS",
        "a1   a rather l…  3.1416",
        "b22  short          10.5",
    ]


def test_the_largest_drop_is_left_out_first() -> None:
    assert plain(COLUMNS, ROWS, 20) == ["RUN  NAME", "a1   a rather long …", "b22  short"]
    assert plain(COLUMNS, ROWS, 9) == ["RUN", "a1", "b22"]


@pytest.mark.parametrize("width", range(3, 60))
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    assert max(cell_width(line) for line in plain(COLUMNS, ROWS, width)) <= width


def test_an_empty_column_takes_no_room() -> None:
    assert layout(COLUMNS, [["a1", "", "3.1"]], 80) == {0: 3, 2: 4}


def test_wide_characters_count_twice() -> None:
    assert cell_width("日本") == 4
    assert shortened("日本語テキスト", 6) == "日本…"


def test_a_cell_is_styled_without_its_padding() -> None:
    column = Column("STATUS", look=lambda text: {"fg": "red"} if text == "failed" else {})
    line = render((column, Column("N")), [["failed", "1"], ["completed", "2"]], 80)[1]
    assert line == click.style("failed", fg="red") + "     1"
