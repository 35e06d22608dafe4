"""Half of a prepared dataset is never trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.texts import tiny_config
from trainer import datasource
from trainer.engine import rows
from trainer.errors import DataError
from trainer.hub import arrow_files, prepared_folder, prepared_rows

ROWS = 3000


def rows_file(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"Row {n} of some."}) + "\n" for n in range(ROWS)))
    return path


def cut_a_batch_off(arrow: Path) -> None:
    """Write an Arrow file again that ends early and is well formed all the same."""
    kept = datasets.Dataset.from_file(str(arrow)).select(range(ROWS - 1000))
    shortened = arrow.with_name("short.arrow")
    kept.flatten_indices(cache_file_name=str(shortened))
    shortened.replace(arrow)


def read(path: Path, cache: Path) -> list[str]:
    data = tiny_config(path).data
    source = datasource.identify(data)
    return rows.read(source, data, cache, lambda _: None).splits["train"]


@pytest.mark.parametrize("damage", ["truncated", "short"])
def test_half_of_a_copy_of_local_files_is_made_again(tmp_path: Path, damage: str) -> None:
    path, cache = rows_file(tmp_path), tmp_path / "cache"
    whole = read(path, cache)
    [arrow] = cache.rglob("*.arrow")
    if damage == "short":
        cut_a_batch_off(arrow)
    else:
        arrow.write_bytes(arrow.read_bytes()[: arrow.stat().st_size // 2])
    assert read(path, cache) == whole
    assert len(whole) == ROWS


@pytest.fixture
def hub_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared dataset ``owner/rows`` where ``datasets`` keeps those of the hub."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub"))
    read(rows_file(tmp_path), tmp_path / "cache")
    [info] = (tmp_path / "cache").rglob("dataset_info.json")
    folder = tmp_path / "hub" / "owner___rows" / "default" / "0.0.0" / "abc"
    folder.parent.mkdir(parents=True)
    info.parent.rename(folder)
    return folder


def read_from_hub() -> Any:
    config = tiny_config(Path("owner/rows"))
    source = datasource.Source("hub", "owner/rows", None, "owner/rows")
    return rows.read(source, config.data, Path("unused"), lambda _: None)


def test_a_whole_copy_of_the_hub_is_read(hub_copy: Path) -> None:
    assert prepared_folder("owner/rows", None) == hub_copy
    assert prepared_rows(hub_copy) == {"train": ROWS}
    assert len(read_from_hub().splits["train"]) == ROWS


def test_half_a_copy_of_the_hub_is_refused_by_name(hub_copy: Path) -> None:
    [arrow] = arrow_files(hub_copy)["train"]
    cut_a_batch_off(arrow)
    with pytest.raises(DataError, match=r"its split 'train' has 2,000 of 3,000 rows") as caught:
        read_from_hub()
    assert str(hub_copy) in caught.value.message
    arrow.write_bytes(arrow.read_bytes()[:5000])
    with pytest.raises(DataError, match="is damaged"):
        read_from_hub()


def test_a_copy_under_construction_is_none(hub_copy: Path) -> None:
    hub_copy.rename(hub_copy.with_name("abc.incomplete"))
    assert prepared_folder("owner/rows", None) is None
