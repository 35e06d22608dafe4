"""The licence of a text: from its card, from what was downloaded, or as it is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.config import DataSettings
from trainer.licence import NOT_KNOWN, Licence, licence_of


@pytest.fixture(autouse=True)
def _no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def words(name: str) -> str:
    return licence_of(DataSettings(dataset_name=name)).words


def test_a_folder_is_asked_for_its_card(tmp_path: Path) -> None:
    for front_matter, expected in (
        ("license: cc-by-sa-3.0", "CC BY-SA 3.0"),
        ("license: [mit, my own terms]", "MIT, my own terms"),
        ("language: [en]", NOT_KNOWN),
        ("license: 7", NOT_KNOWN),
        ("configs: nonsense", NOT_KNOWN),
    ):
        (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# Text\n")
        assert words(str(tmp_path)) == expected


def test_of_a_text_of_ones_own_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words\n")
    assert words(str(tmp_path / "notes.txt")) == NOT_KNOWN
    assert words(str(tmp_path / "gone.txt")) == NOT_KNOWN
    assert words("unknown") == NOT_KNOWN


def test_well_known_texts_need_no_card() -> None:
    assert licence_of(DataSettings()).ids == ("cc-by-sa-3.0", "gfdl")
    assert words("python-docs") == "PSF 2.0"


def test_a_downloaded_dataset_is_asked(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "datasets" / "own___er" / "default" / "0.0.0" / "hash"
    folder.mkdir(parents=True)
    facts = {"license": "Free for all", "splits": {"train": {"num_examples": 1}}}
    (folder / "dataset_info.json").write_text(json.dumps(facts))
    (folder / "er-train.arrow").touch()
    assert words("own/er") == "Free for all"
    assert words("own/other") == NOT_KNOWN


def test_only_identifiers_are_told_as_such() -> None:
    assert Licence(("mit", "Free for all")).ids == ("mit",)
