"""Runs beside each other."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from trainer import comparing, formats
from trainer.cli.options import command, run_ids_argument
from trainer.cli.output import emphasis, screen_width
from trainer.cli.session import Session
from trainer.cli.table import GAP, Column, cell_width, render
from trainer.comparing import Common, Figure
from trainer.config import toml_value
from trainer.errors import UsageError
from trainer.runs import Run

BEST = " *"


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
    configs = [session.store.config(run.run_id) for run in distinct]
    common = comparing.in_common(configs)
    differing = {
        key: dict(zip((run.run_id for run in distinct), values, strict=True))
        for key, values in comparing.differing(comparing.setting_rows(configs)).items()
    }
    session.report(
        {
            "runs": [run.as_dict() for run in distinct],
            "differences": differing,
            "not_ranked": common.words or None,
        },
        comparison(distinct, common, differing, screen_width()),
    )


def comparison(
    runs: Sequence[Run], common: Common, differing: Mapping[str, Mapping[str, Any]], width: int
) -> list[str]:
    """Return the tables; runs that do not fit beside each other follow below."""
    rows = [
        ["status", *(run.status for run in runs)],
        *(
            [figure.title.lower(), *figure_cells(figure, runs, common)]
            for figure in comparing.FIGURES
        ),
        ["device", *(run.state.device or formats.ABSENT for run in runs)],
    ]
    settings = [
        [key, *(_setting(row[run.run_id]) for run in runs)] for key, row in differing.items()
    ]
    legend = [f"{BEST.strip()} the best", *textwrap.wrap(common.words, width), ""]
    lines = [*_blocks(runs, rows, width), *legend]
    if not settings:
        return [*lines, "All settings are the same."]
    return [*lines, emphasis("Settings that differ"), *_blocks(runs, settings, width)]


def figure_cells(figure: Figure, runs: Sequence[Run], common: Common) -> list[str]:
    """Write one figure of every run, the best of them marked where they can be ranked."""
    values = comparing.values_of(figure, [run.state for run in runs])
    best = comparing.best_of(figure, values, common)
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
