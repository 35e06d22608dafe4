"""A run's curves as a CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

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


def csv_text(reader: MetricsReader) -> tuple[str, int]:
    """Write one row a step that has a point, and count the rows.

    A missing value is empty. Floats are written in the shortest form that reads back to the same
    double, which is what the csv module does with ``repr``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = 0
    for row in reader.export_rows():
        writer.writerow([row[column] for column in COLUMNS])
        rows += 1
    return text.getvalue(), rows


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
    with store.metrics(run_id) as reader:
        text, rows = csv_text(reader)
    try:
        _write(target, text.encode())
    except OSError as error:
        raise StoreError(
            f"'{target}' cannot be written: {error.strerror}.", "Choose another place with --out."
        ) from error
    return rows


def _write(target: Path, content: bytes) -> None:
    """Replace a regular file; a pipe or a device such as /dev/stdout is written to as it is."""
    if target.exists() and not target.is_file():
        target.write_bytes(content)
    else:
        replace_file(target.resolve(), content)
