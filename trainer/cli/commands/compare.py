"""Runs beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer import formats
from trainer.cli.options import command, run_ids_argument
from trainer.cli.output import emphasis, screen_width
from trainer.cli.session import Session
from trainer.cli.table import GAP, Column, cell_width, render
from trainer.config import SETTINGS, Config, toml_value
from trainer.errors import UsageError
from trainer.runs import Run
from trainer.store.records import State

BEST = " *"


@dataclass(frozen=True)
class Figure:
    """One line of the comparison; ``best`` picks the best of the values, where there is one."""

    name: str
    value: Callable[[State], Any]
    write: Callable[[Any], str]
    best: Callable[[Sequence[float]], float] | None = None


FIGURES = (
    Figure("status", lambda state: state.status, str),
    Figure("parameters", lambda state: state.parameters, formats.count),
    Figure("steps", lambda state: state.step, formats.count),
    Figure("tokens", lambda state: state.tokens, formats.count),
    Figure("train loss", lambda state: state.train_loss, formats.loss, min),
    Figure("best validation loss", lambda state: state.best_val_loss, formats.loss, min),
    Figure("best word perplexity", lambda s: s.best_val_word_perplexity, formats.perplexity, min),
    Figure("bits a byte", lambda state: state.val_bits_per_byte, lambda bits: f"{bits:.4g}", min),
    Figure("speed", lambda state: state.tokens_per_second, formats.speed, max),
    Figure("time", lambda state: state.elapsed_seconds, formats.duration),
    Figure("device", lambda state: state.device, str),
)


@command("compare", "compare 20260102-030405-ab12 latest")
@run_ids_argument
def compare_command(session: Session, run_ids: tuple[str, ...]) -> None:
    """Show two or more runs side by side.

    Their figures, with the best marked, and the settings in which they differ.
    """
    runs = [session.run(run_id) for run_id in dict.fromkeys(run_ids)]
    distinct = list({run.run_id: run for run in runs}.values())
    if len(distinct) < 2:
        raise UsageError(f"compare takes two or more runs; {len(distinct)} was given.")
    configs = {run.run_id: session.store.config(run.run_id) for run in distinct}
    differing = setting_differences(configs)
    session.report(
        {"runs": [run.as_dict() for run in distinct], "differences": differing},
        comparison(distinct, differing, screen_width()),
    )


def setting_differences(configs: Mapping[str, Config]) -> dict[str, dict[str, Any]]:
    """Return the settings whose values are not the same in all runs, by run id."""
    table = {key: {run: config.get(key) for run, config in configs.items()} for key in SETTINGS}
    return {key: row for key, row in table.items() if len({repr(v) for v in row.values()}) > 1}


def comparison(
    runs: Sequence[Run], differing: Mapping[str, Mapping[str, Any]], width: int
) -> list[str]:
    """Return the tables; runs that do not fit beside each other follow below."""
    figures = [[figure.name, *figure_cells(figure, runs)] for figure in FIGURES]
    settings = [
        [key, *(_setting(row[run.run_id]) for run in runs)] for key, row in differing.items()
    ]
    lines = [*_blocks(runs, figures, width), f"{BEST.strip()} the best", ""]
    if not settings:
        return [*lines, "All settings are the same."]
    return [*lines, emphasis("Settings that differ"), *_blocks(runs, settings, width)]


def figure_cells(figure: Figure, runs: Sequence[Run]) -> list[str]:
    """Write one figure of every run, the best of them marked."""
    values = [figure.value(run.state) for run in runs]
    known = [value for value in values if value is not None]
    best = figure.best(known) if figure.best and len(set(known)) > 1 else None
    return [
        formats.ABSENT if v is None else figure.write(v) + (BEST if v == best else "")
        for v in values
    ]


def _setting(value: Any) -> str:
    return "null" if value is None else toml_value(value)


def _blocks(runs: Sequence[Run], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Set as many runs beside the names as fit; the others in further tables below."""
    titles = [run.run_id for run in runs]
    name_width = max(cell_width(row[0]) for row in rows)
    column_width = max(map(cell_width, titles))
    per_block = max(1, (width - name_width) // (column_width + GAP))
    lines: list[str] = []
    for first in range(0, len(runs), per_block):
        chosen = range(first, min(first + per_block, len(runs)))
        columns = [Column(""), *(Column(titles[i], flexible=True) for i in chosen)]
        cells = [[row[0], *(row[1 + i] for i in chosen)] for row in rows]
        lines += ["", *render(columns, cells, width)]
    return lines[1:]
