"""What is refused: wrong commands and wrong configurations, with exit status and words.

Each is told in plain words on standard error, leaves standard output empty and makes no run.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.conftest import Call
from tests.conftest import MakeRun
from trainer.runs import RunStore
from trainer.store.process import identify

USAGE, MISSING, CONFLICT, FAILED = 2, 3, 4, 1


class Refusal(NamedTuple):
    """A command line, the exit status it ends with, and the words of its message."""

    line: str
    status: int
    words: tuple[str, ...]


COMMANDS = [
    Refusal("", USAGE, ("Usage: llm-trainer", "train", "status")),
    Refusal("statsu", USAGE, ("no command 'statsu'", "Did you mean 'status'?")),
    Refusal("frobnicate", USAGE, ("no command 'frobnicate'", "llm-trainer --help")),
    Refusal("--frobnicate status", USAGE, ("--frobnicate", "llm-trainer --help")),
    Refusal("status --wacth", USAGE, ("'--wacth'", "Did you mean '--watch'?", "status --help")),
    Refusal("status extra", USAGE, ("unexpected extra argument", "extra")),
    Refusal("status --run-id", USAGE, ("'--run-id' requires an argument",)),
    Refusal("status --run-id nope", MISSING, ("no run 'nope'", "llm-trainer status")),
    Refusal("status --run-id ../../etc", MISSING, ("no run '../../etc'",)),
    Refusal("status --run-id ''", MISSING, ("no run ''",)),
    Refusal("status --run-id twin", USAGE, ("2 runs begin with 'twin'", "twin-2", "Give more")),
    Refusal("status --limit 0", USAGE, ("'--limit'", "0 is not in the range")),
    Refusal("status --limit many", USAGE, ("'--limit'", "'many' is not a valid integer")),
    Refusal("status --status finished", USAGE, ("'finished' is not a status", "completed")),
    Refusal("status --watch --json", USAGE, ("--watch and --json",)),
    Refusal("status --home ''", USAGE, ("--home", "empty")),
    Refusal("status --home {text}", USAGE, ("text.txt' is not a folder", "--home")),
    Refusal("status --home {broken}", FAILED, ("runs' cannot be used", "Not a directory")),
    Refusal("status --home ~no-such-user-here/x", USAGE, ("cannot be found", "--home")),
    Refusal("train --more-epochs 3", USAGE, ("--more-epochs belongs to resume", "resume --run-id")),
    Refusal("train --nproc-per-node 2", USAGE, ("--nproc-per-node 2", "trains in one process")),
    Refusal("train --nproc-per-node 0", USAGE, ("'--nproc-per-node'", "range")),
    Refusal("train --nproc-per-node x", USAGE, ("'--nproc-per-node'", "not a valid integer")),
    Refusal("train --name {long}", USAGE, ("name is longer than 120",)),
    Refusal("train --tag ''", USAGE, ("tag '' is empty",)),
    Refusal("train --tag {long}", USAGE, ("tag is longer than 40",)),
    Refusal("train --follow=yes", USAGE, ("--follow", "does not take a value")),
    Refusal("train something.toml", USAGE, ("unexpected extra argument", "something.toml")),
    Refusal("resume", USAGE, ("Missing option '--run-id'",)),
    Refusal("resume --run-id nope", MISSING, ("no run 'nope'",)),
    Refusal("resume --run-id done --more-epochs -1", USAGE, ("'--more-epochs'", "-1", "range")),
    Refusal("resume --run-id done --more-epochs 1.5", USAGE, ("'1.5' is not a valid integer",)),
    Refusal("resume --run-id done --from newest", USAGE, ("'newest' is not a checkpoint", "best")),
    Refusal("resume --run-id done --from epoch-0x", USAGE, ("'epoch-0x' is not a checkpoint",)),
    Refusal("resume --run-id done --from ../latest", USAGE, ("'../latest' is not a checkpoint",)),
    Refusal("resume --run-id done --from epoch-9", MISSING, ("no checkpoint 'epoch-9'", "anew")),
    Refusal("resume --run-id live", CONFLICT, ("live is already active", "owns it")),
    Refusal("stop", USAGE, ("Missing option '--run-id'",)),
    Refusal("stop --run-id nope", MISSING, ("no run 'nope'",)),
    Refusal("stop --run-id done", CONFLICT, ("done is not active", "completed")),
    Refusal("stop --run-id done --now", CONFLICT, ("done is not active",)),
    Refusal("logs", USAGE, ("Missing option '--run-id'",)),
    Refusal("logs --run-id nope", MISSING, ("no run 'nope'",)),
    Refusal("logs --run-id done --tail 0", USAGE, ("'--tail'", "range")),
    Refusal("logs --run-id done --follow --json", USAGE, ("--follow and --json",)),
    Refusal("compare", USAGE, ("two or more runs",)),
    Refusal("compare done", USAGE, ("two or more runs",)),
    Refusal("compare done done", USAGE, ("two or more runs", "1 was given")),
    Refusal("compare done nope", MISSING, ("no run 'nope'",)),
    Refusal("export --run-id done --out x.csv", USAGE, ("Missing option '--format'",)),
    Refusal("export --run-id done --format csv", USAGE, ("Missing option '--out'",)),
    Refusal("export --run-id done --format gguf --out -", USAGE, ("written whole", "--out")),
    Refusal("export --run-id done --format gguf --out {home}", USAGE, ("is a folder", ".gguf")),
    Refusal("export --run-id done --format gguf --out x --weights q4", USAGE, ("'q4'", "q8_0")),
    Refusal("export --run-id done --format tensorboard --out -", USAGE, ("reads a folder",)),
    Refusal("export --run-id done --format tensorboard --out {home}", USAGE, ("not empty",)),
    Refusal("import", USAGE, ("Missing argument 'hf'",)),
    Refusal("import gguf x", USAGE, ("'gguf' is not", "hf")),
    Refusal("import hf {home}/nowhere", USAGE, ("does not exist", "config.json")),
    Refusal("import hf {binary}", USAGE, ("is a file", "config.json")),
    Refusal("import hf {home} --set x", USAGE, ("'x' is not an assignment",)),
    Refusal("import hf {home} --name $'a\\x1b[31m'", USAGE, ("cannot be printed",)),
    Refusal("export --run-id done --format hf --out x", MISSING, ("no checkpoint 'latest'",)),
    Refusal("export --run-id done --format hf --out -", USAGE, ("a folder of files", "--out")),
    Refusal("export --run-id done --format xlsx --out x", USAGE, ("'xlsx' is not one of", "csv")),
    Refusal("export --run-id nope --format csv --out x", MISSING, ("no run 'nope'",)),
    Refusal("export --run-id done --format csv --out {home}", USAGE, ("is a folder",)),
    Refusal("export --run-id done --format csv --out {home}/no/x", USAGE, ("no folder",)),
    Refusal("export --run-id done --format csv --out - --json", USAGE, ("--out -", "--json")),
    Refusal("generate", USAGE, ("Missing option '--run-id'",)),
    Refusal("generate --run-id nope --prompt x", MISSING, ("no run 'nope'",)),
    Refusal("generate --run-id done --prompt x", MISSING, ("no checkpoint 'latest'", "anew")),
    Refusal("generate --run-id done --prompt-file {binary}", USAGE, ("not text",)),
    Refusal("score", USAGE, ("Missing option '--run-id'",)),
    Refusal("score --run-id nope --text x", MISSING, ("no run 'nope'",)),
    Refusal("score --run-id live --text x", MISSING, ("no checkpoint 'latest'", "trains")),
    Refusal("score --run-id done --file {binary}", USAGE, ("not text",)),
    Refusal("annotate --run-id done", USAGE, ("nothing to change", "--name")),
    Refusal("annotate --run-id nope --pin", MISSING, ("no run 'nope'",)),
    Refusal("annotate --run-id done --tag ' x'", USAGE, ("begins or ends with a space",)),
    Refusal("annotate --run-id done --name $'a\\x1b[31m'", USAGE, ("cannot be printed",)),
    Refusal("delete", USAGE, ("Give --run-id", "--list")),
    Refusal("delete --list --undo", USAGE, ("--list alone",)),
    Refusal("delete --run-id done --for-good", USAGE, ("confirmed", "--yes")),
    Refusal("delete --run-id done --for-good --yes", MISSING, ("no deleted run 'done'",)),
    Refusal("status --filter colour:red", USAGE, ("'colour' is not a field", "status, tag, name")),
    Refusal("delete --run-id done", USAGE, ("confirmed", "--yes")),
    Refusal("delete --run-id nope --yes", MISSING, ("no run 'nope'",)),
    Refusal("delete --run-id live --yes", CONFLICT, ("live is active", "Stop it first")),
    Refusal("delete --run-id done --undo", MISSING, ("no deleted run 'done'",)),
    Refusal("config", USAGE, ("Usage", "show", "check")),
    Refusal("config shwo", USAGE, ("'shwo'", "show")),
    Refusal("completion", USAGE, ("bash", "zsh", "fish")),
    Refusal("completion tcsh", USAGE, ("'tcsh' is not one of", "bash")),
    Refusal("web --port 0", USAGE, ("'--port'", "range")),
    Refusal("web --port 70000", USAGE, ("'--port'", "range")),
    Refusal("--json web", USAGE, ("--json", "'web' reports nothing")),
    Refusal("tui", USAGE, ("needs a terminal", "status --json")),
]

CONFIGURATIONS = [
    Refusal("--config nowhere.toml", USAGE, ("'nowhere.toml' does not exist", "quickstart")),
    Refusal("--config {home}", USAGE, ("is a folder",)),
    Refusal("--config ''", USAGE, ("''", "quickstart")),
    Refusal("--config {long}{long}{long}", USAGE, ("cannot be read", "File name too long")),
    Refusal("--config {binary}", USAGE, ("not a text file in UTF-8",)),
    Refusal("--config {not_toml}", USAGE, ("not valid TOML", "not_toml", "line 2")),
    Refusal("--config {no_section}", USAGE, ("no_section", "epochs", "training.epochs")),
    Refusal("--config {typo}", USAGE, ("typo.toml", "trainig.epochs", "mean training.epochs?")),
    Refusal("--set epochs", USAGE, ("'epochs' is not an assignment", "--set section.key=value")),
    Refusal("--set =5", USAGE, ("'=5' is not an assignment",)),
    Refusal("--set epochs=5", USAGE, ("epochs is not a setting", "mean training.epochs?")),
    Refusal("--set training.epoch=5", USAGE, ("training.epoch is not", "mean training.epochs?")),
    Refusal("--set traning.epochs=5", USAGE, ("traning.epochs", "mean training.epochs?")),
    Refusal("--set optimizer.name=x", USAGE, ("optimizer.name is not", "data, model, training")),
    Refusal("--set training.xyzzy=red", USAGE, ("training.xyzzy is not", "[training] has")),
    Refusal("--set training.epochs=many", USAGE, ("--set: training.epochs = 'many'", "whole")),
    Refusal("--set training.epochs=0", USAGE, ("training.epochs = 0", "from 1 to 100,000")),
    Refusal("--set training.epochs=-3", USAGE, ("training.epochs = -3", "from 1 to 100,000")),
    Refusal("--set training.epochs=2.5", USAGE, ("training.epochs = 2.5", "a whole number")),
    Refusal("--set training.epochs=true", USAGE, ("training.epochs = true", "a whole number")),
    Refusal("--set training.epochs=[1]", USAGE, ("training.epochs = [1]", "a whole number")),
    Refusal("--set training.epochs=null", USAGE, ("training.epochs", "a whole number")),
    Refusal("--set training.epochs=", USAGE, ("training.epochs = ''", "a whole number")),
    Refusal("--set training.learning_rate=nan", USAGE, ("learning_rate = nan", "finite")),
    Refusal("--set training.learning_rate=inf", USAGE, ("learning_rate = inf", "finite")),
    Refusal("--set training.learning_rate=0", USAGE, ("training.learning_rate = 0",)),
    Refusal("--set training.learning_rate=fast", USAGE, ("learning_rate = 'fast'", "a number")),
    Refusal("--set training.batch_size=99999999", USAGE, ("training.batch_size = 99999999",)),
    Refusal("--set training.seq_length=1", USAGE, ("training.seq_length = 1", "from 8")),
    Refusal("--set training.precision=fp8", USAGE, ("'fp8'", "one of auto, off, fp16, bf16")),
    Refusal("--set training.compile=maybe", USAGE, ("'maybe'", "one of auto, on, off")),
    Refusal("--set training.seed=-1", USAGE, ("training.seed = -1",)),
    Refusal("--set training.max_steps=0", USAGE, ("training.max_steps = 0", "or null")),
    Refusal("--set model.preset=huge", USAGE, ("'huge'", "one of tiny, small, medium")),
    Refusal("--set model.heads=3", USAGE, ("model.heads = 3", "does not divide model.width = 256")),
    Refusal("--set model.kv_heads=3", USAGE, ("model.kv_heads = 3", "model.heads = 4")),
    Refusal("--set model.width=12", USAGE, ("model.heads = 4", "even number")),
    Refusal("--set model.dropout=1", USAGE, ("model.dropout = 1", "from 0 to 0.9")),
    Refusal("--set data.vocab_size=100", USAGE, ("data.vocab_size = 100", "257")),
    Refusal("--set data.dataset_name=", USAGE, ("data.dataset_name",)),
    Refusal("--set data.dataset_name=5", USAGE, ("data.dataset_name = 5", "text")),
    Refusal("--set data.fallback=wikitext-2", USAGE, ("data.fallback", "python-docs")),
    Refusal("--set evaluation.prompts=once", USAGE, ("evaluation.prompts = 'once'", "a list")),
    Refusal("--set evaluation.stride=999", USAGE, ("evaluation.stride = 999", "seq_length = 256")),
    Refusal("--set checkpoint.keep_last=0", USAGE, ("checkpoint.keep_last = 0",)),
    Refusal("--set device.strict=perhaps", USAGE, ("device.strict = 'perhaps'", "true or false")),
    Refusal("--set device.preference=", USAGE, ("device.preference",)),
    Refusal(
        "--set training.epochs=0 --set model.preset=huge --set training.precison=bf16",
        USAGE,
        ("3 settings are wrong", "training.epochs = 0", "'huge'", "mean training.precision?"),
    ),
]
"""Refused alike by ``train`` and ``config check``."""

TRAIN_ONLY = [
    Refusal("--precision fp8", USAGE, ("--precision: training.precision = 'fp8'", "bf16")),
    Refusal("--grad-accum-steps x", USAGE, ("--grad-accum-steps: training.grad_accum", "'x'")),
    Refusal("--grad-accum-steps 0", USAGE, ("--grad-accum-steps", "= 0", "from 1")),
    Refusal("--dataloader-workers -1", USAGE, ("--dataloader-workers", "= -1", "from 0 to 256")),
    Refusal("--dataloader-workers 1.5", USAGE, ("--dataloader-workers", "1.5", "a whole number")),
    Refusal("--dataloader-prefetch-factor 2", USAGE, ("prefetch_factor = 2", "dataloader_workers")),
    Refusal("--device ''", USAGE, ("--device: device.preference = ''",)),
    Refusal("--device cpu --precision fp16", USAGE, ("'fp16' needs a GPU", "'cpu'")),
    Refusal("--dataloader-workers", USAGE, ("'--dataloader-workers' requires an argument",)),
    Refusal("--set data.dataset_name=wikitext2", 2, ("'wikitext2'", "Did you mean wikitext-2?")),
    Refusal("--set data.dataset_name=./nowhere.txt", 2, ("nowhere.txt",)),
    Refusal("--set data.dataset_name={binary}", 2, ("binary",)),
    Refusal("--set data.dataset_name={empty}", 2, ("empty",)),
    Refusal("--set data.dataset_name={one_line}", 2, ("one_line.txt",)),
    Refusal("--set data.dataset_name={small}", 2, ("small.txt",)),
]


@pytest.fixture
def places(home: Path, tmp_path: Path) -> dict[str, str]:
    """The files that the command lines name."""
    files = {
        "text": b"Some words to train on.\n" * 5000,
        "binary": bytes(range(256)) * 200,
        "empty": b"",
        "one_line": b"one single line " * 2000,
        "small": b"too small\n",
        "not_toml": b"[training]\nepochs = = 5\n",
        "no_section": b"epochs = 5\n",
        "typo": b"[trainig]\nepochs = 5\n",
    }
    suffixes = {"not_toml": ".toml", "no_section": ".toml", "typo": ".toml"}
    paths = {name: tmp_path / f"{name}{suffixes.get(name, '.txt')}" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    home.mkdir(exist_ok=True)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "runs").write_text("a file where a folder should be")
    return {
        "broken": str(broken),
        **{name: str(path) for name, path in paths.items()},
        "home": str(home),
        "long": "x" * 1500,
    }


@pytest.fixture
def some_runs(make_run: MakeRun) -> None:
    """A complete run, two that begin alike, and one that this process owns."""
    for run_id in ("done", "twin-1", "twin-2"):
        make_run(run_id=run_id)
    make_run(run_id="live", status="running", process=identify(os.getpid()))


def refuse(call: Call, home: Path, arguments: list[str], refusal: Refusal) -> None:
    """Call, and hold the answer against what was promised."""
    before = RunStore(home).workspace.run_ids()
    answer = call(*arguments)
    assert answer.status == refusal.status, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert [word for word in refusal.words if word not in answer.err] == [], answer.err
    assert RunStore(home).workspace.run_ids() == before
    assert not list((home / "runs").glob(".new-*"))


def split(line: str, places: dict[str, str]) -> list[str]:
    """Split a command line as a shell does, then fill in the places."""
    line = line.replace("$'a\\x1b[31m'", "'a\x1b[31m'")
    return [word.format(**places) for word in shlex.split(line)]


def named(refusals: list[Refusal]) -> list[object]:
    return [pytest.param(refusal, id=refusal.line or "nothing") for refusal in refusals]


@pytest.mark.usefixtures("some_runs")
@pytest.mark.parametrize("refusal", named(COMMANDS))
def test_a_wrong_command_is_refused(
    call: Call, home: Path, places: dict[str, str], refusal: Refusal
) -> None:
    refuse(call, home, split(refusal.line, places), refusal)


@pytest.mark.parametrize("command", ["train --json", "config check --json"])
@pytest.mark.parametrize("refusal", named(CONFIGURATIONS))
def test_a_wrong_configuration_is_refused(
    call: Call, home: Path, places: dict[str, str], command: str, refusal: Refusal
) -> None:
    refuse(call, home, split(f"{command} {refusal.line}", places), refusal)


@pytest.mark.parametrize("refusal", named(TRAIN_ONLY))
def test_what_cannot_be_trained_is_refused_before_there_is_a_run(
    call: Call, home: Path, places: dict[str, str], refusal: Refusal
) -> None:
    refuse(call, home, split(f"train --json {refusal.line}", places), refusal)
