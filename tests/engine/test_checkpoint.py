"""Checkpoints: what is saved comes back, every damage is refused, and no kill breaks the pair."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from trainer.config import Config, ModelShape, as_flat
from trainer.engine import checkpoint
from trainer.engine.model import GPT
from trainer.engine.tokenization import Tokenizer
from trainer.errors import CheckpointError, NotFoundError

SHAPE = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 2, "hidden": 48}
TOKENIZER = Tokenizer.train(["a small text about a small cat"], 270)
CPU = torch.device("cpu")


class Room(NamedTuple):
    """What is left on a disk, in bytes."""

    free: int


def a_payload(step: int = 10, **changes: Any) -> dict[str, Any]:
    torch.manual_seed(step)
    model = GPT(ModelShape(**SHAPE), TOKENIZER.vocab_size, 16)
    payload = {
        "model": model.state_dict(),
        "optimizer": {"muon": {0: {"momentum_buffer": torch.ones(2, 2)}}},
        "config": {k: list(v) if isinstance(v, tuple) else v for k, v in as_flat(Config()).items()},
        "shape": SHAPE,
        "vocab_size": TOKENIZER.vocab_size,
        "context": 16,
        "tokenizer": TOKENIZER.to_json(),
        "corpus_key": "k",
        "segments": [(0, 100, 0.0)],
        "step": step,
        "epoch": 1,
        "val_loss": 3.5,
        "val_word_perplexity": 120.0,
    }
    return payload | changes


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "latest.pt"
    checkpoint.save(path, a_payload())
    return path


def info_of(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.with_name(path.name + ".json").read_text())
    return facts


def without_info(path: Path) -> Path:
    path.with_name(path.name + ".json").unlink()
    return path


# ---------------------------------------------------------------------- there and back


def test_what_is_saved_comes_back(saved: Path) -> None:
    payload, loaded = a_payload(), checkpoint.load(saved)
    assert loaded.pop("format") == 1
    weights, expected = loaded.pop("model"), payload.pop("model")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert torch.equal(loaded.pop("optimizer")["muon"][0]["momentum_buffer"], torch.ones(2, 2))
    payload.pop("optimizer")
    assert loaded == payload


def test_the_file_beside_it_tells_what_a_list_shows(saved: Path) -> None:
    facts = info_of(saved)
    assert facts["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert facts["bytes"] == saved.stat().st_size
    assert (facts["step"], facts["epoch"], facts["val_loss"]) == (10, 1, 3.5)
    assert facts["val_word_perplexity"] == 120.0
    assert facts["saved_at"].endswith("Z")


def test_a_folder_holds_the_pair_and_nothing_else(saved: Path) -> None:
    assert sorted(p.name for p in saved.parent.iterdir()) == ["latest.pt", "latest.pt.json"]


def test_a_loaded_model_answers_as_the_saved_one_did(saved: Path) -> None:
    torch.manual_seed(10)
    model = GPT(ModelShape(**SHAPE), TOKENIZER.vocab_size, 16).eval()
    loaded = checkpoint.load_model(saved, CPU)
    tokens = torch.tensor([TOKENIZER.encode("a cat")])
    assert torch.equal(loaded.model(tokens), model(tokens))
    assert not loaded.model.training
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("a cat")) == "a cat"
    assert loaded.payload["step"] == 10
    assert not {"model", "optimizer"} & loaded.payload.keys()


# ---------------------------------------------------------------------- a kill at any point


class Killed(BaseException):
    """Stands for the end of the process: nothing after it happens."""


@pytest.mark.parametrize("call", range(1, 5))
def test_a_kill_between_any_two_renames_leaves_a_whole_checkpoint(
    saved: Path, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"fsync": 0}
    real = os.fsync

    def fsync(descriptor: int) -> None:
        calls["fsync"] += 1
        if calls["fsync"] == call:
            raise Killed
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Killed):
        checkpoint.save(saved, a_payload(step=20))
    monkeypatch.undo()
    # 1: the new file, 2: the JSON file, 3: its rename, 4: the checkpoint's rename.
    assert checkpoint.load(saved)["step"] == (20 if call == 4 else 10)
    checkpoint.save(saved, a_payload(step=30))
    assert checkpoint.load(saved)["step"] == 30


def test_a_save_that_was_killed_leaves_no_rubbish_for_long(saved: Path) -> None:
    (saved.parent / ".latest.pt.part").write_bytes(b"half a checkpoint")
    checkpoint.save(saved, a_payload(step=20))
    assert len(list(saved.parent.iterdir())) == 2


def test_a_full_disk_keeps_the_old_checkpoint_and_is_told(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 1000

    def write(self: Any, data: bytes) -> int:
        nonlocal room
        room -= len(data)
        if room < 0:
            self.failure = OSError(28, "No space left on device")
            raise self.failure
        return len(data)

    monkeypatch.setattr(checkpoint._HashingWriter, "write", write)
    with pytest.raises(CheckpointError, match=r"latest\.pt could not be saved: No space left"):
        checkpoint.save(saved, a_payload(step=20))
    assert checkpoint.load(saved)["step"] == 10
    assert len(list(saved.parent.iterdir())) == 2


def test_weights_that_are_not_finite_are_not_saved(saved: Path) -> None:
    payload = a_payload(step=20)
    payload["model"]["norm.weight"][0] = math.nan
    with pytest.raises(CheckpointError, match=r"norm\.weight holds values that are not finite"):
        checkpoint.save(saved, payload)
    assert checkpoint.load(saved)["step"] == 10


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_one_value_among_many_that_is_not_finite_is_found(value: float, kind: torch.dtype) -> None:
    weights = {"a": torch.zeros(0), "b": torch.arange(1000.0).to(kind)}
    checkpoint.refuse_spoilt(weights, "No", "")
    weights["b"][617] = value
    with pytest.raises(checkpoint.SpoiltWeightsError, match="the weight b holds"):
        checkpoint.refuse_spoilt(weights, "No", "")


def test_what_could_not_be_loaded_again_is_not_saved(saved: Path) -> None:
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        checkpoint.save(saved, a_payload(step=20, extra=Path("x")))
    assert checkpoint.load(saved)["step"] == 10


# ---------------------------------------------------------------------- damage


def test_a_missing_checkpoint_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no checkpoint .*best\.pt"):
        checkpoint.load(tmp_path / "best.pt")


def test_truncation_at_any_block_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for size in range(0, len(whole), 4096):
        saved.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="its SHA-256 is not"):
            checkpoint.load(saved)


def test_truncation_is_refused_without_the_file_beside_it_too(saved: Path) -> None:
    whole = without_info(saved).read_bytes()
    for size in range(0, len(whole), 4096):
        saved.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.load(saved)


@pytest.mark.parametrize("beside", [True, False])
def test_one_flipped_bit_in_the_weights_is_refused(saved: Path, beside: bool) -> None:
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    if not beside:
        without_info(saved)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(saved)


def test_a_damaged_file_beside_it_does_not_stand_in_the_way(saved: Path) -> None:
    saved.with_name("latest.pt.json").write_text("{")
    assert checkpoint.load(saved)["step"] == 10


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"PK\x05\x06" + bytes(18)])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "latest.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match="cannot be read as plain values"):
        checkpoint.load(path)


def test_nothing_in_a_checkpoint_is_ever_executed(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = tmp_path / "latest.pt"
    torch.save(a_payload(format=1, extra=Attack()), path)
    with pytest.raises(CheckpointError, match="cannot be read as plain values"):
        checkpoint.load(path)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "written by a newer llm-trainer"),
        ({"format": "1"}, "holds something else"),
        ({"format": 1, "model": [1]}, "lacks model"),
        ({"format": 1, "shape": None, "tokenizer": 3}, "lacks shape, tokenizer"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "latest.pt"
    torch.save(a_payload(**changes), path)
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(path)


def test_weights_that_are_not_finite_are_not_loaded(tmp_path: Path) -> None:
    payload = a_payload(format=1)
    payload["model"]["norm.weight"][0] = math.inf
    torch.save(payload, tmp_path / "latest.pt")
    with pytest.raises(CheckpointError, match="not finite"):
        checkpoint.load(tmp_path / "latest.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": SHAPE | {"width": 64}}, "do not fit its sizes"),
        ({"shape": SHAPE | {"heads": 0}}, "do not fit its sizes"),
        ({"shape": {"layers": 2}}, "do not fit its sizes"),
        ({"tokenizer": "{}"}, "its tokenizer cannot be read"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "latest.pt"
    checkpoint.save(path, a_payload(**changes))
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load_model(path, CPU)


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    model = GPT(ModelShape(**SHAPE), 100, 16)
    path = tmp_path / "latest.pt"
    checkpoint.save(path, a_payload(model=model.state_dict(), vocab_size=100))
    with pytest.raises(CheckpointError, match=r"tokenizer has 26\d entries and its model 100"):
        checkpoint.load_model(path, CPU)


# ---------------------------------------------------------------------- links


def test_a_link_stays_when_its_source_is_replaced(saved: Path) -> None:
    best = saved.with_name("best.pt")
    checkpoint.link(saved, best)
    assert best.stat().st_ino == saved.stat().st_ino
    checkpoint.save(saved, a_payload(step=20))
    assert checkpoint.load(best)["step"] == 10
    assert info_of(best)["step"] == 10
    checkpoint.link(saved, best)
    assert checkpoint.load(best)["step"] == 20


def test_a_link_is_a_copy_where_there_are_no_hard_links(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    best = saved.with_name("best.pt")
    checkpoint.link(saved, best)
    assert best.stat().st_ino != saved.stat().st_ino
    assert checkpoint.load(best)["step"] == 10


def test_a_link_to_a_checkpoint_without_its_file_makes_that_anew(saved: Path) -> None:
    facts = info_of(saved)
    best = saved.with_name("best.pt")
    checkpoint.link(without_info(saved), best)
    assert info_of(best) | {"saved_at": ""} == facts | {"saved_at": ""}


def test_further_names_are_there_before_the_new_latest_is(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = saved.with_name("best.pt")
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target) == saved:
            raise Killed
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Killed):
        checkpoint.save(saved, a_payload(step=20), [best])
    assert (checkpoint.load(saved)["step"], checkpoint.load(best)["step"]) == (10, 20)


# ---------------------------------------------------------------------- the file beside it


def killed_between_the_two_files(saved: Path, step: int) -> None:
    """Leave the JSON file of a save without its checkpoint."""
    old = saved.read_bytes()
    checkpoint.save(saved, a_payload(step=step))
    saved.write_bytes(old)


def test_kills_at_the_same_place_again_and_again_do_not_push_out_the_true_digest(
    saved: Path,
) -> None:
    for step in range(20, 28):
        killed_between_the_two_files(saved, step)
        assert checkpoint.load(saved)["step"] == 10


def test_a_checkpoint_whose_file_beside_it_is_lost_outlasts_a_kill_too(saved: Path) -> None:
    without_info(saved)
    killed_between_the_two_files(saved, 20)
    assert checkpoint.load(saved)["step"] == 10


def test_a_link_tells_what_is_true_of_it(saved: Path) -> None:
    killed_between_the_two_files(saved, 20)
    best = saved.with_name("best.pt")
    checkpoint.link(saved, best)
    assert (info_of(saved)["step"], info_of(best)["step"]) == (20, 10)


def test_the_file_beside_it_is_mended(saved: Path) -> None:
    facts = info_of(saved)
    killed_between_the_two_files(saved, 20)
    checkpoint.mend_info(saved, checkpoint.load(saved))
    assert info_of(saved) | {"saved_at": ""} == facts | {"saved_at": ""}
    written = saved.with_name("latest.pt.json").stat().st_mtime_ns
    checkpoint.mend_info(saved, checkpoint.load(saved))
    assert saved.with_name("latest.pt.json").stat().st_mtime_ns == written


def test_a_reader_is_not_misled_when_both_files_are_replaced_between_its_looks(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = [checkpoint.read_info(saved)]
    checkpoint.save(saved, a_payload(step=20))
    real = checkpoint.read_info
    monkeypatch.setattr(checkpoint, "read_info", lambda p: stale.pop() if stale else real(p))
    checkpoint.verify(saved)


def test_the_others_are_named_beside_damage(saved: Path) -> None:
    checkpoint.link(saved, saved.with_name("best.pt"))
    content = bytearray(saved.read_bytes())
    saved.unlink()  # Not the file that both names share.
    content[9999] ^= 1
    saved.write_bytes(content)
    with pytest.raises(checkpoint.DamagedCheckpointError) as raised:
        checkpoint.load(saved)
    assert "There is: best." in raised.value.hint


def test_a_newer_format_is_refused_whatever_the_file_holds(saved: Path) -> None:
    beside = saved.with_name("latest.pt.json")
    beside.write_text(beside.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match="written by a newer llm-trainer") as raised:
        checkpoint.load(saved)
    assert not isinstance(raised.value, checkpoint.DamagedCheckpointError)


@pytest.mark.parametrize(("number", "damaged"), [(errno.EIO, True), (errno.EACCES, False)])
def test_what_cannot_be_read_is_damaged_only_where_the_disk_lost_it(
    saved: Path, number: int, damaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise OSError(number, "No")

    monkeypatch.setattr(checkpoint, "sha256_of", refuse)
    with pytest.raises(CheckpointError) as raised:
        checkpoint.load(saved)
    assert isinstance(raised.value, checkpoint.DamagedCheckpointError) == damaged


def test_too_little_space_is_told_before_anything_is_written(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Room(free=1_000_000))
    with pytest.raises(checkpoint.NotSavedError, match=r"needs 1\.1 MiB and 976\.6 KiB are free"):
        checkpoint.save(saved, a_payload(step=20))
    assert checkpoint.load(saved)["step"] == 10
