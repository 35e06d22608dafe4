"""Run the benchmarks: ``make bench``, or ``python -m benchmarks [NAME...]`` for some of them.

Prints Markdown tables and writes the same figures as JSON. None of them can fail on a time.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.measuring import machine, table
from benchmarks.options import Options
from benchmarks.running import in_a_process

RESULTS = Path("artifacts/benchmarks.json")
NAMES = (
    "startup",
    "training",
    "utilisation",
    "scoring",
    "generation",
    "overhead",
    "saving",
    "memory",
    "eta",
    "efficiency",
    "quality",
    "dashboard",
    "serving",
)
TEXT_VARIABLE = "LLM_TRAINER_BENCHMARK_TEXT"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write down.

    Each benchmark has a process of its own: none inherits threads, memory or compiled code.
    """
    chosen = _parser().parse_args(arguments)
    names, target = chosen.names or NAMES, chosen.json
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"{date.today()}, {machine()}\n", flush=True)  # noqa: T201
    measured: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        title, figures = in_a_process(name, _options(chosen))
        print(table(title, figures), flush=True)  # noqa: T201
        measured[title] = [asdict(figure) for figure in figures]
        document = {"date": date.today().isoformat(), "machine": machine(), "figures": measured}
        target.write_text(json.dumps(document, indent=2) + "\n")
    print(f"Written to {target}")  # noqa: T201


def _options(chosen: argparse.Namespace) -> Options:
    return Options(
        config=chosen.config,
        settings=tuple(chosen.settings),
        text=chosen.text,
        minutes=chosen.minutes,
        shares=tuple(chosen.shares),
        peer_learning_rate=chosen.peer_learning_rate,
        checkpoint=chosen.checkpoint,
        smoke=chosen.smoke,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    add, known = parser.add_argument, Options()
    add("names", metavar="NAME", nargs="*", choices=[*NAMES, []], help=f"of {', '.join(NAMES)}")
    add("--text", default=os.environ.get(TEXT_VARIABLE), help=f"to train on; or {TEXT_VARIABLE}")
    add("--config", help="configuration of this program's side, by file or shipped name")
    add(
        "--set",
        dest="settings",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="change a setting of this program's side",
    )
    add("--minutes", type=float, default=known.minutes, help="of the peer's training, in quality")
    add("--shares", type=float, nargs="+", default=known.shares, help="of these minutes, for ours")
    add("--peer-learning-rate", type=float, default=known.peer_learning_rate)
    add("--checkpoint", type=Path, help="a trained model for generation and serving")
    add("--smoke", action="store_true", help="tiny sizes, to see that everything runs")
    add("--json", type=Path, default=RESULTS, help=f"where figures go [{RESULTS}]")
    return parser


if __name__ == "__main__":
    main()
