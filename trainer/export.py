"""A run's curves as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from sqlite3 import Row
from typing import Any

from trainer.errors import StoreError, UsageError
from trainer.runs import RunStore
from trainer.store.files import replace_file
from trainer.store.metrics import MetricsReader

COLUMNS = (
    "step",
    "epoch",
    "tokens",
    "elapsed_seconds",
    "train_loss",
    "val_loss",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
)
ROWS_A_PART = 1000


def csv_parts(reader: MetricsReader) -> Iterator[str]:
    """Write one row a step that has a point, in parts of whole lines, for a run may be long.

    A missing value is empty. Floats are written in the shortest form that reads back to the same
    double, which is what the csv module does with ``repr``.
    """
    rows = reader.export_rows()
    part = [list(COLUMNS), *_values(islice(rows, ROWS_A_PART))]
    while part:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(part)
        yield text.getvalue()
        part = _values(islice(rows, ROWS_A_PART))


def _values(rows: Iterable[Row]) -> list[list[Any]]:
    return [[row[column] for column in COLUMNS] for row in rows]


def export_csv(store: RunStore, run_id: str, target: Path) -> int:
    """Write a run's curves to a file, whole or not at all, and return how many rows.

    Raises:
        UsageError: the target is a folder, or lies in none.
        NotFoundError: there is no such run.
        StoreError: the metrics cannot be read, or the file cannot be written.
    """
    target = target.expanduser()
    if target.is_dir():
        raise UsageError(f"'{target}' is a folder.", f"Name a file, such as {target / 'run.csv'}.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"There is no folder '{target.parent}'.", "Make it first.")
    lines = 0

    def parts() -> Iterator[bytes]:
        nonlocal lines
        for part in csv_parts(reader):
            lines += part.count("\n")
            yield part.encode()

    with store.metrics(run_id) as reader:
        try:
            _write(target, parts())
        except OSError as error:
            raise StoreError(
                f"'{target}' cannot be written: {error.strerror}.",
                "Choose another place with --out.",
            ) from error
    return lines - 1


def _write(target: Path, parts: Iterable[bytes]) -> None:
    """Replace a regular file; a pipe or a device such as /dev/stdout is written to as it is."""
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            file.writelines(parts)
    else:
        replace_file(target.resolve(), parts)
