"""Curves in buckets: the last value, the smallest and the largest of as many rows as share one.

A long table is not read row by row for that. Beside it the writer keeps *blocks*: of every
:data:`BLOCK` keys, for each field, how many values there are, the key of the last one, the
smallest and the largest. Buckets that are whole blocks are put together from these, all others
from the rows, so the answer is the same with blocks and without.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

BLOCK = 32
"""Keys that share a block. Wider ones make the finest zoom that needs no blocks slow, narrower ones
the whole of a long run."""

MOST_SCANNED = 20_000
"""So many rows are read as they are, in buckets of any width."""

Columns = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of measurements whose fields are drawn as curves over its key.

    Attributes:
        key: its INTEGER PRIMARY KEY, never negative.
        fields: what is drawn; a NULL is no point.
        axes: what else is told of each point.
        blocks: the table of its blocks, for tables that grow long.
    """

    name: str
    key: str
    fields: tuple[str, ...]
    axes: tuple[str, ...]
    blocks: str | None = None


# ---------------------------------------------------------------------- blocks, for the writer


def making(table: str, key: str, fields: Iterable[str], blocks: str) -> str:
    """Return SQL that makes a table of blocks and fills it. A migration: never to be changed."""
    columns = [f"{name}_{what}" for name in fields for what in ("count", "last", "low", "high")]
    return (
        f"CREATE TABLE {blocks} (block INTEGER PRIMARY KEY, {', '.join(columns)});\n"
        f"INSERT INTO {blocks} SELECT {key} / {BLOCK}, {_of_rows(fields, key)} FROM {table} "
        f"GROUP BY {key} / {BLOCK};\n"
    )


def renew(connection: sqlite3.Connection, table: Table, blocks: Iterable[int]) -> None:
    """Put blocks together anew from the rows that are in the table now."""
    columns = [f"{n}_{what}" for n in table.fields for what in ("count", "last", "low", "high")]
    for block in blocks:
        connection.execute(f"DELETE FROM {table.blocks} WHERE block = ?", (block,))
        connection.execute(
            f"INSERT INTO {table.blocks} (block, {', '.join(columns)}) "
            f"SELECT ?, {_of_rows(table.fields, table.key)} FROM {table.name} "
            f"WHERE {table.key} BETWEEN ? AND ? HAVING count(*) > 0",
            (block, block * BLOCK, block * BLOCK + BLOCK - 1),
        )


def cut(connection: sqlite3.Connection, table: Table, key: int) -> None:
    """Forget the blocks past a key; the rows past it are gone already."""
    connection.execute(f"DELETE FROM {table.blocks} WHERE block > ?", (key // BLOCK,))
    renew(connection, table, [key // BLOCK])


def _of_rows(fields: Iterable[str], key: str) -> str:
    return ", ".join(
        f"count({name}), max(CASE WHEN {name} IS NOT NULL THEN {key} END), min({name}), max({name})"
        for name in fields
    )


# ---------------------------------------------------------------------- buckets, for readers


@dataclass(frozen=True)
class Layout:
    """Buckets of equal width, side by side: the first key of the first one, and how many keys."""

    start: int
    width: int

    @property
    def fits_blocks(self) -> bool:
        """Whether every bucket is made of whole blocks."""
        return self.start % BLOCK == 0 and self.width % BLOCK == 0


def layout(first: int, last: int, points: int) -> Layout:
    """Return buckets, at most ``points``, that cover the keys from ``first`` to ``last``.

    Where there are many rows and wide buckets, these begin and end with a block.
    """
    width = -(-(last - first + 1) // points)
    if width <= BLOCK or last - first < MOST_SCANNED:
        return Layout(first, width)
    start = first - first % BLOCK
    return Layout(start, BLOCK * -(-(last - start + 1) // (points * BLOCK)))


@dataclass
class _Curve:
    """The buckets of one field that have a value."""

    last: list[int] = field(default_factory=list)
    low: list[Any] = field(default_factory=list)
    high: list[Any] = field(default_factory=list)
    of: int = 0

    def add(self, count: float, last: int, low: Any, high: Any) -> None:
        if count:
            self.of += int(count)
            self.last.append(last)
            self.low.append(low)
            self.high.append(high)


class Buckets:
    """Reads curves of one table, all of them in one pass."""

    def __init__(
        self, connection: sqlite3.Connection | None, table: Table, *, with_blocks: bool
    ) -> None:
        """Take a table.

        Args:
            connection: in a transaction, so that all reads see the same data; None: no rows.
            with_blocks: the database keeps the table's blocks.
        """
        self._connection = connection
        self._table = table
        self._with_blocks = with_blocks and table.blocks is not None

    def read(
        self, fields: Sequence[str], low: int, high: int | None, points: int
    ) -> dict[str, Columns]:
        """Return curves in at most ``points`` buckets each; few rows are returned as they are.

        Args:
            low, high: smallest and largest key; None: to the end.

        Returns:
            ``{field: {key, "value", "min", "max", *axes, "points", "of"}}``, lists with one entry
            a bucket that has a value; key, value and axes are those of its last one.
        """
        if self._connection is None:
            return {one: self._columns(i, _Curve(), {}) for i, one in enumerate(fields)}
        key, name = self._table.key, self._table.name
        condition, bounds = _range(key, low, high)
        [(first, last, count)] = self._query(
            f"SELECT (SELECT min({key}) FROM {name} WHERE {condition}), "
            f"(SELECT max({key}) FROM {name} WHERE {condition}), "
            f"(SELECT count(*) FROM (SELECT 1 FROM {name} WHERE {condition} LIMIT ?))",
            (*bounds, *bounds, *bounds, points + 1),
        )
        if count <= points:
            return self._as_they_are(fields, condition, bounds)
        curves = self._bucketed(fields, layout(first, last, points), low, high, last)
        rows = self._rows_of(fields, sorted({key for curve in curves for key in curve.last}))
        return {
            one: self._columns(i, curve, rows)
            for i, (one, curve) in enumerate(zip(fields, curves, strict=True))
        }

    def _query(self, query: str, parameters: Sequence[Any]) -> list[Any]:
        assert self._connection is not None
        return self._connection.execute(query, parameters).fetchall()

    def _as_they_are(
        self, fields: Sequence[str], condition: str, bounds: Sequence[int]
    ) -> dict[str, Columns]:
        rows = self._query(f"{self._selected(fields)} WHERE {condition} ORDER BY 1", bounds)
        found = {row[0]: row for row in rows}
        answers = {}
        for i, one in enumerate(fields):
            place = self._place(i)
            kept = [row for row in rows if row[place] is not None]
            values = [row[place] for row in kept]
            curve = _Curve([row[0] for row in kept], values, values, len(kept))
            answers[one] = self._columns(i, curve, found)
        return answers

    def _bucketed(
        self, fields: Sequence[str], buckets: Layout, low: int, high: int | None, last: int
    ) -> list[_Curve]:
        blocks_fit = self._with_blocks and buckets.fits_blocks
        from_blocks, from_rows = self._block_sums(fields), self._row_sums(fields)
        curves = [_Curve() for _ in fields]
        for begin in range(buckets.start, last + 1, buckets.width):
            end = begin + buckets.width - 1
            if blocks_fit and begin >= low and (high is None or end <= high):
                [told] = self._query(from_blocks, (begin // BLOCK, end // BLOCK))
            else:
                inside = (max(begin, low), end if high is None else min(end, high))
                [sums] = self._query(from_rows, inside)
                told = self._with_last_keys(fields, sums, inside)
            for i, curve in enumerate(curves):
                curve.add(*told[4 * i : 4 * i + 4])
        return curves

    def _block_sums(self, fields: Sequence[str]) -> str:
        columns = ", ".join(
            f"total({name}_count), max({name}_last), min({name}_low), max({name}_high)"
            for name in fields
        )
        return f"SELECT {columns} FROM {self._table.blocks} WHERE block BETWEEN ? AND ?"

    def _row_sums(self, fields: Sequence[str]) -> str:
        key, table = self._table.key, self._table.name
        columns = ", ".join(f"count({name}), min({name}), max({name})" for name in fields)
        return f"SELECT count(*), max({key}), {columns} FROM {table} WHERE {key} BETWEEN ? AND ?"

    def _with_last_keys(
        self, fields: Sequence[str], sums: Sequence[Any], inside: tuple[int, int]
    ) -> list[Any]:
        """Add the key of each field's last value: to ask for all at once costs as much again."""
        rows, newest, *found = sums
        told: list[Any] = []
        for i, name in enumerate(fields):
            count, low, high = found[3 * i : 3 * i + 3]
            last = newest if count in (0, rows) else self._last_key(name, inside)
            told += [count, last, low, high]
        return told

    def _last_key(self, field: str, inside: tuple[int, int]) -> int:
        key, table = self._table.key, self._table.name
        [(last,)] = self._query(
            f"SELECT max({key}) FROM {table} WHERE {key} BETWEEN ? AND ? AND {field} IS NOT NULL",
            inside,
        )
        return int(last)

    def _rows_of(self, fields: Sequence[str], keys: list[int]) -> dict[int, Any]:
        rows = self._query(
            f"{self._selected(fields)} WHERE {self._table.key} IN (SELECT value FROM json_each(?))",
            (json.dumps(keys),),
        )
        return {row[0]: row for row in rows}

    def _selected(self, fields: Sequence[str]) -> str:
        columns = (self._table.key, *self._table.axes, *fields)
        return f"SELECT {', '.join(columns)} FROM {self._table.name}"

    def _place(self, number: int) -> int:
        """Return where a field stands in a selected row."""
        return 1 + len(self._table.axes) + number

    def _columns(self, number: int, curve: _Curve, rows: dict[int, Any]) -> Columns:
        shown, place = [rows[key] for key in curve.last], self._place(number)
        axes = {axis: [row[i] for row in shown] for i, axis in enumerate(self._table.axes, start=1)}
        return {
            self._table.key: curve.last,
            "value": [row[place] for row in shown],
            "min": curve.low,
            "max": curve.high,
            **axes,
            "points": len(shown),
            "of": curve.of,
        }


def _range(key: str, low: int, high: int | None) -> tuple[str, tuple[int, ...]]:
    if high is None:
        return f"{key} >= ?", (low,)
    return f"{key} BETWEEN ? AND ?", (low, high)
