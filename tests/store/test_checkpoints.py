"""Checkpoints as files: their names, which are kept, and pins while a worker replaces them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from trainer.errors import CheckpointError, ConflictError, NotFoundError, StoreError, UsageError
from trainer.store import checkpoints
from trainer.store.checkpoints import (
    expendable,
    is_checkpoint_name,
    list_checkpoints,
    pin,
    unpin,
)


def checkpoint(
    folder: Path, name: str, step: int, content: bytes | None = None, replaced: bytes | None = None
) -> Path:
    """A file that stands for a checkpoint, with the JSON beside it.

    ``replaced`` is what lies there instead when its worker was killed between the two.
    """
    content = content if content is not None else f"weights of {step}".encode()
    facts = {
        "step": step,
        "epoch": 1,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "replaced_sha256": [hashlib.sha256(replaced).hexdigest()] if replaced else [],
    }
    path = folder / f"{name}.pt"
    path.write_bytes(replaced or content)
    path.with_name(f"{name}.pt.json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize("name", ["latest", "best", "epoch-12", "step-3"])
def test_names_of_checkpoints(name: str) -> None:
    assert is_checkpoint_name(name)


@pytest.mark.parametrize("name", ["", "step-", "step-²", "step-1/..", "Latest", "latest\n", "x-1"])
def test_names_that_never_become_a_path(name: str) -> None:
    assert not is_checkpoint_name(name)


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "gone"),
    [
        (2, None, [1, 2, 9]),
        (2, 2, [1, 9]),
        (2, 9, [1, 2]),
        (1, 5, [1, 2, 9]),
        (9, None, []),
        (1, 1, []),
    ],
)
def test_which_epochs_are_expendable(
    keep_last: int, keep_every: int | None, gone: list[int]
) -> None:
    assert expendable([10, 1, 11, 2, 9], keep_last, keep_every) == gone


# ---------------------------------------------------------------------- pins


def test_a_pin_is_one_more_name_for_the_same_file(tmp_path: Path) -> None:
    best = checkpoint(tmp_path, "best", 20)
    assert pin(tmp_path, "best") == "step-20"
    pinned = tmp_path / "step-20.pt"
    assert pinned.stat().st_ino == best.stat().st_ino
    assert json.loads((tmp_path / "step-20.pt.json").read_text())["step"] == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pt",
        "best.pt.json",
        "step-20.pt",
        "step-20.pt.json",
    ]
    assert pin(tmp_path, "best") == pin(tmp_path, "step-20") == "step-20"


def test_what_is_pinned_is_shown(tmp_path: Path) -> None:
    checkpoint(tmp_path, "latest", 30)
    checkpoint(tmp_path, "best", 20)
    pin(tmp_path, "best")
    shown = [(c.name, c.step, c.pinned) for c in list_checkpoints(tmp_path)]
    assert shown == [("latest", 30, False), ("best", 20, True), ("step-20", 20, True)]


def test_without_hard_links_a_pin_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    best = checkpoint(tmp_path, "best", 20)
    pin(tmp_path, "best")
    assert (tmp_path / "step-20.pt").read_bytes() == best.read_bytes()


def test_a_checkpoint_that_is_replaced_meanwhile_is_pinned_as_what_it_became(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path, "latest", 20, replaced=b"old")

    def finish(seconds: float) -> None:
        checkpoint(tmp_path, "latest", 20)

    monkeypatch.setattr("trainer.store.checkpoints.time.sleep", finish)
    assert pin(tmp_path, "latest") == "step-20"
    assert (tmp_path / "step-20.pt").read_bytes() == b"weights of 20"


def test_a_checkpoint_replaced_twice_between_two_looks_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path, "latest", 10)
    honest = checkpoints.link_or_copy

    def replaced_at_once(source: Path, target: Path) -> None:
        honest(source, target)
        if b"10" in path.read_bytes():
            path.unlink()
            checkpoint(tmp_path, "latest", 30)

    monkeypatch.setattr(checkpoints, "link_or_copy", replaced_at_once)
    assert pin(tmp_path, "latest") == "step-30"


def test_what_stays_half_replaced_is_not_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_PIN_PAUSE_SECONDS", 0.0)
    checkpoint(tmp_path, "latest", 20, replaced=b"old")
    with pytest.raises(ConflictError, match="being replaced just now"):
        pin(tmp_path, "latest")
    assert not list(tmp_path.glob(".pin*"))


def test_damage_is_not_pinned(tmp_path: Path) -> None:
    checkpoint(tmp_path, "best", 10)
    checkpoint(tmp_path, "latest", 20).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="latest is damaged") as raised:
        pin(tmp_path, "latest")
    assert "There is: best." in raised.value.hint
    assert not (tmp_path / "step-20.pt").exists()


def test_a_pin_never_replaces_other_weights_of_its_step(tmp_path: Path) -> None:
    checkpoint(tmp_path, "latest", 20)
    pin(tmp_path, "latest")
    checkpoint(tmp_path, "best", 20, b"other weights")
    with pytest.raises(ConflictError, match="Other weights of step 20 are pinned") as raised:
        pin(tmp_path, "best")
    assert raised.value.hint == "Unpin step-20 first."


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(30, "Read-only file system")

    checkpoint(tmp_path, "latest", 20)
    monkeypatch.setattr(checkpoints, "link_or_copy", refuse)
    with pytest.raises(StoreError, match="cannot be pinned: Read-only file system"):
        pin(tmp_path, "latest")


def test_unpinning_leaves_the_other_names(tmp_path: Path) -> None:
    checkpoint(tmp_path, "best", 20)
    unpin(tmp_path, pin(tmp_path, "best"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "best.pt.json"]
    with pytest.raises(NotFoundError, match="no pinned checkpoint 'step-20'"):
        unpin(tmp_path, "step-20")


def test_only_pins_can_be_unpinned(tmp_path: Path) -> None:
    for name in ("best", "epoch-1", "step-1/../best"):
        with pytest.raises(UsageError, match="not a pinned checkpoint"):
            unpin(tmp_path, name)


def test_the_only_checkpoint_of_a_run_is_not_unpinned(tmp_path: Path) -> None:
    checkpoint(tmp_path, "step-20", 20)
    with pytest.raises(ConflictError, match="the only checkpoint"):
        unpin(tmp_path, "step-20")
