"""The documents say what is true: settings, commands, files and folders, links."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from docs.write_settings import with_table
from trainer.cli import application
from trainer.config import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "static/vendor/README.md"]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_settings_in_the_readme_are_those_of_the_schema() -> None:
    assert with_table(read("README.md")) == read("README.md"), "run: make docs"


def test_every_setting_is_in_the_readme() -> None:
    readme = read("README.md")
    assert [key for key in SETTINGS if f"`{key}`" not in readme] == []


def test_every_command_is_in_the_readme() -> None:
    readme = read("README.md")
    names = application.list_commands(click.Context(application))
    assert names
    assert [name for name in names if f"llm-trainer {name}" not in readme] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_files_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", read(document))
    assert [target for target in targets if not (folder / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_and_folders_exist(document: str) -> None:
    """Paths in backticks that begin with a folder of the source must be there."""
    pattern = r"`((?:trainer|webapp|templates|static|tests|docs|configs|benchmarks)/[\w./-]*)`"
    named = set(re.findall(pattern, read(document)))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"`make ([\w-]+)`", read(document))
    }
    assert named - targets == set()
