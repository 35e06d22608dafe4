"""The import rules of docs/architecture.md, held on the source and in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "torch",
    "datasets",
    "tokenizers",
    "numpy",
    "pandas",
    "pyarrow",
    "huggingface_hub",
    "safetensors",
    "transformers",
    "gguf",
    "tensorboard",
}
ENGINE_SIDE = (
    "trainer.engine",
    "trainer.worker",
    "trainer.inference.service.answer",
    "trainer.inference.service.models",
    "trainer.inference.service.tasks",
)
"""The modules that live in the worker's and the model's processes: only these may be heavy."""

MAY_NOT_IMPORT = {
    "trainer.store": ("trainer.runs", "trainer.launch", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.engine": ("trainer.runs", "trainer.launch", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.worker": ("trainer.runs", "trainer.launch", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.config": ("trainer.store", "trainer.runs", "trainer.engine", "trainer.cli", "webapp"),
    "trainer.foresight.estimates": (
        "trainer.runs",
        "trainer.engine",
        "trainer.cli",
        "trainer.tui",
        "webapp",
    ),
    "trainer.foresight.workload": (
        "trainer.store",
        "trainer.runs",
        "trainer.engine",
        "trainer.cli",
        "webapp",
    ),
    "trainer.comparing": ("trainer.runs", "trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.foresight.precedents": ("trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.foresight.outlook": (
        "trainer.store",
        "trainer.engine",
        "trainer.cli",
        "trainer.tui",
        "webapp",
    ),
    "trainer.licence": ("trainer.store", "trainer.runs", "trainer.engine", "trainer.cli", "webapp"),
    "trainer.provenance": ("trainer.store", "trainer.runs", "trainer.engine", "trainer.cli"),
    "trainer.choosing": ("trainer.store", "trainer.runs", "trainer.engine", "trainer.telemetry"),
    "trainer.candidates": ("trainer.store", "trainer.runs", "trainer.launch", "trainer.engine"),
    "trainer.queueing": ("trainer.runs", "trainer.launch", "trainer.engine", "trainer.cli"),
    "trainer.waiting": ("trainer.runs", "trainer.launch", "trainer.engine", "trainer.cli"),
    "trainer.deadline": ("trainer.runs", "trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.notify.notifying": ("trainer.runs", "trainer.launch", "trainer.engine", "trainer.cli"),
    "trainer.notify.webhook": ("trainer.store", "trainer.runs", "trainer.engine", "trainer.cli"),
    "trainer.filtering": ("trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.index": ("trainer.launch", "trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.listing": ("trainer.launch", "trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.trash": ("trainer.runs", "trainer.launch", "trainer.engine", "trainer.cli", "webapp"),
    "trainer.runs": ("trainer.engine", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.inference": ("trainer.runs", "trainer.cli", "trainer.tui", "webapp"),
    "trainer.tui": ("trainer.cli", "trainer.engine", "webapp"),
    "trainer.cli": ("trainer.engine",),
    "webapp": ("trainer.cli", "trainer.tui", "trainer.engine"),
}
"""For each part, what it may not import: arrows point one way."""


def modules() -> dict[str, Path]:
    found = {}
    for package in ("trainer", "webapp"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("part", MAY_NOT_IMPORT)
def test_imports_point_one_way(part: str) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules().items()
        if within(name, (part,))
        for imported in imports(path)
        if within(imported, MAY_NOT_IMPORT[part])
    ]
    assert wrong == []


def test_only_the_engine_side_names_a_heavy_library() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules().items()
        if not within(name, ENGINE_SIDE)
        for imported in imports(path)
        if imported.partition(".")[0] in HEAVY
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "from trainer import cli, runs",
        "from webapp import create_app; create_app(home='.')",
        "import trainer.tui",
        "import trainer.deadline",
        "import trainer.notify.notifying",
        "import trainer.inference.client",
        "import trainer.inference.status",
        "import trainer.inference.service.serving",
        "import trainer.export_model",
        "import trainer.export_tensorboard",
        "import trainer.import_hf",
    ],
)
def test_a_viewer_starts_without_torch(statement: str, tmp_path: Path) -> None:
    program = f"{statement}\nimport sys\nprint(sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout == "[]\n"


def test_importing_touches_no_disk(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", "from trainer import cli, runs; from webapp import create_app"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
