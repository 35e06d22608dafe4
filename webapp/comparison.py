"""Several runs as the compare page shows them: who takes part, their figures, their settings."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from trainer import comparing
from trainer.comparing import UNKNOWN, Common, Figure
from trainer.config import SETTINGS, Config, Setting
from trainer.errors import NotFoundError, TrainerError
from trainer.runs import Run, RunStore
from webapp.presenting import shown

MOST_COMPARED = 20


@dataclass(frozen=True)
class Cell:
    """One figure of one run; ``best`` marks the one that wins the row."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class FigureRow:
    """One figure of every compared run."""

    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SettingRow:
    """One setting of every compared run; ``differs`` where they are not all alike."""

    setting: Setting
    values: tuple[str, ...]
    differs: bool


@dataclass(frozen=True)
class Comparison:
    """The runs of one compare page, in the order of its address.

    Attributes:
        configs: of each run; None where it cannot be read.
        missing: names in the address that lead to no run any more.
        troubles: what is wrong with runs that are damaged, in words.
        left_out: how many of the address are more than a page shows.
    """

    runs: tuple[Run, ...]
    configs: tuple[Config | None, ...]
    missing: tuple[str, ...] = ()
    troubles: tuple[str, ...] = field(default=())
    left_out: int = 0

    @property
    def common(self) -> Common:
        return comparing.in_common(self.configs)

    @property
    def figures(self) -> list[FigureRow]:
        """The final figures, the best of each marked where the runs can be ranked by it."""
        common, states = self.common, [run.state for run in self.runs]
        return [
            FigureRow(figure.title, _cells(figure, comparing.values_of(figure, states), common))
            for figure in comparing.FIGURES
        ]

    @property
    def settings(self) -> list[SettingRow]:
        """Every setting, and whether the runs differ in it."""
        rows = comparing.setting_rows(self.configs)
        differing = comparing.differing(rows)
        return [
            SettingRow(
                SETTINGS[key],
                tuple(_setting_words(SETTINGS[key], value) for value in values),
                key in differing,
            )
            for key, values in rows.items()
        ]

    @property
    def run_ids(self) -> list[str]:
        return [run.run_id for run in self.runs]

    def address(self, *, without: str = "", more: str = "", page: str = "/compare") -> str:
        """Return the address of this comparison with a run taken out or put in."""
        ids = [run_id for run_id in self.run_ids if run_id != without]
        query = urlencode([("run", run_id) for run_id in (*ids, *([more] if more else []))])
        return f"{page}?{query}" if query else page


def _cells(figure: Figure, values: Sequence[Any], common: Common) -> tuple[Cell, ...]:
    best = comparing.best_of(figure, values, common)
    return tuple(Cell(figure.write(value), best is not None and value == best) for value in values)


def _setting_words(setting: Setting, value: Any) -> str:
    return "cannot be read" if value is UNKNOWN else shown(setting, value)


def gather(store: RunStore, asked: Sequence[str]) -> Comparison:
    """Find the runs that an address names; what is gone or damaged is told, and stops nothing."""
    names = list(dict.fromkeys(asked))
    runs: dict[str, Run] = {}
    missing: list[str] = []
    troubles: list[str] = []
    for name in names[:MOST_COMPARED]:
        try:
            run = store.get(store.resolve(name))
            runs.setdefault(run.run_id, run)
        except NotFoundError:
            missing.append(name[:64])
        except TrainerError as error:
            troubles.append(f"{name[:64]}: {error.message}")
    configs = []
    for run in runs.values():
        config, trouble = _config(store, run)
        configs.append(config)
        troubles += [trouble] if trouble else []
    return Comparison(
        tuple(runs.values()),
        tuple(configs),
        tuple(missing),
        tuple(troubles),
        max(0, len(names) - MOST_COMPARED),
    )


def _config(store: RunStore, run: Run) -> tuple[Config | None, str]:
    try:
        return store.config(run.run_id), ""
    except TrainerError as error:
        return None, f"{run.title}: {error.message}"


def as_csv(comparison: Comparison) -> str:
    """Write the tables as CSV: figures in full, then the settings that differ."""
    file = io.StringIO()
    write = csv.writer(file)
    write.writerow(["", *comparison.run_ids])
    write.writerow(["Name", *(run.title for run in comparison.runs)])
    write.writerow(["Status", *(run.status for run in comparison.runs)])
    states = [run.state for run in comparison.runs]
    for figure in comparing.FIGURES:
        write.writerow([figure.title, *comparing.values_of(figure, states)])
    for row in comparison.settings:
        if row.differs:
            write.writerow([row.setting.key, *row.values])
    return file.getvalue()
