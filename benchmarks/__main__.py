"""Run every benchmark: ``make bench``. Prints Markdown tables and writes JSON beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

from benchmarks import engine, startup
from benchmarks.measuring import machine, table

RESULTS = Path("artifacts/benchmarks.json")


def main() -> None:
    """Measure, print and write down."""
    print(f"{date.today()}, {machine()}\n")  # noqa: T201
    measured = {}
    for title, measure in {"Start-up": startup.measure, "Engine": engine.measure}.items():
        figures = measure()
        measured[title] = [asdict(figure) for figure in figures]
        print(table(title, figures), flush=True)  # noqa: T201
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "figures": measured}, indent=2))
    print(f"Written to {RESULTS}")  # noqa: T201


if __name__ == "__main__":
    main()
