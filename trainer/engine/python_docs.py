"""``python-docs``: English technical prose that every CPython carries.

The text is the help topics of the language reference (``pydoc_data.topics``) and the docstrings
of the standard library. Source files are parsed, never imported, so nothing of them runs.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

_LEFT_OUT = frozenset(
    {
        "__phello__",
        "__pycache__",
        "dist-packages",
        "encodings",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "turtledemo",
    }
)

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def library_folder() -> Path:
    """Return the folder of the running Python's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def topics(library: Path) -> list[str]:
    """Return the help topics of the language reference, or nothing where Python lacks them.

    Some Linux distributions leave ``pydoc_data`` out.
    """
    tree = _parse(library / "pydoc_data" / "topics.py")
    for statement in tree.body if tree else ():
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(
            statement.value, ast.Dict
        ):
            texts = ast.literal_eval(statement.value)
            return [f"{texts[name].strip()}\n" for name in sorted(texts)]
    return []


def docstrings(library: Path) -> list[str]:
    """Return the docstrings of the standard library: one document a class, function or module.

    A class and its methods make one document, each docstring under its name and parameters. The
    order is that of the files; a docstring that comes again is left out.
    """
    seen: set[str] = set()
    documents = []
    for path in _source_files(library):
        tree = _parse(path)
        module = ".".join(path.relative_to(library).with_suffix("").parts)
        for entries in _groups(tree, module.removesuffix(".__init__")) if tree else ():
            fresh = [(heading, text) for heading, text in entries if text not in seen]
            seen.update(text for _, text in fresh)
            if fresh:
                documents.append("\n".join(f"{heading}\n\n{text}\n" for heading, text in fresh))
    return documents


def position(document: str) -> float:
    """Return a number from 0 up to 1 that depends on nothing but the document."""
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _source_files(library: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(library):
        subfolders[:] = sorted(set(subfolders) - _LEFT_OUT)
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _parse(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _groups(tree: ast.Module, module: str) -> Iterator[list[tuple[str, str]]]:
    """Yield headings and docstrings that belong together, in the order of the source."""
    own = _docstring(tree)
    if own:
        yield [(module, own)]
    for node in tree.body:
        if isinstance(node, _Definition):
            yield [*_entries(node, f"{module}.{node.name}")]


def _entries(node: _Definition, name: str) -> Iterator[tuple[str, str]]:
    text = _docstring(node)
    if text:
        yield (f"{name}({ast.unparse(node.args)})" if isinstance(node, _Function) else name), text
    for child in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(child, _Definition):
            yield from _entries(child, f"{node.name}.{child.name}")


def _docstring(node: ast.Module | _Definition) -> str | None:
    """Return a docstring without its indentation, unless it holds control characters."""
    lines = (ast.get_docstring(node) or "").strip().splitlines()
    if not lines or not all(line.isprintable() for line in lines):
        return None
    return "\n".join(line.rstrip() for line in lines)
