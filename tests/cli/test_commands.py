"""Every command in this process: what it prints, what it changes, and with which exit status."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from tests.cli.conftest import Call
from tests.conftest import MakeRun
from tests.store.test_checkpoints import checkpoint as a_checkpoint
from trainer import __version__, datasource, deadline, launch
from trainer import config as configuration
from trainer.cli import application
from trainer.cli.application import MODULES
from trainer.cli.options import Command
from trainer.runs import Run, RunStore
from trainer.store.files import read_record, write_record
from trainer.store.process import identify
from trainer.store.queue import Queue
from trainer.store.records import ErrorRecord, QueueStanding, State
from trainer.telemetry import GpuReading, Nvml


def commands() -> list[tuple[str, click.Command]]:
    """Every command with its whole name; ``config`` has two."""
    context = click.Context(application)
    found: list[tuple[str, click.Command]] = []
    for name in application.list_commands(context):
        made = application.get_command(context, name)
        assert made is not None
        if isinstance(made, click.Group):
            found += [(f"{name} {sub}", inner) for sub, inner in made.commands.items()]
        else:
            found.append((name, made))
    return found


# --------------------------------------------------------------------------- help


def test_the_help_lists_every_command(call: Call) -> None:
    answer = call("--help")
    assert answer.status == 0
    assert all(re.search(rf"^  {name} ", answer.out, re.MULTILINE) for name in MODULES)


def test_without_a_command_the_help_is_shown_and_the_usage_is_wrong(call: Call) -> None:
    answer = call()
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("Usage: llm-trainer [OPTIONS] COMMAND")


def test_the_version(call: Call) -> None:
    assert call("--version").out == f"llm-trainer {__version__}\n"


@pytest.mark.parametrize(("name", "command"), commands())
def test_each_command_explains_itself_with_an_example_in_80_columns(
    call: Call, name: str, command: click.Command
) -> None:
    answer = call(*name.split(), "--help")
    assert answer.status == 0
    assert re.search(rf"Examples?:\n  llm-trainer {name}", answer.out)
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize(("name", "command"), commands())
def test_json_is_there_wherever_something_is_reported(name: str, command: click.Command) -> None:
    assert isinstance(command, Command)
    options = {option for parameter in command.params for option in parameter.opts}
    assert ("--json" in options) == (name not in ("web", "tui", "completion"))
    assert {"--home", "--debug"} <= options


# --------------------------------------------------------------------------- status


def test_an_empty_workspace_says_how_to_begin(call: Call, home: Path) -> None:
    answer = call("status")
    assert answer.status == 0
    assert f"No runs in {home} (there is no such folder yet)." in answer.out
    assert "llm-trainer train --config quickstart" in answer.out


def test_a_filter_that_matches_nothing_is_not_an_empty_workspace(
    call: Call, make_run: MakeRun
) -> None:
    make_run(status="completed")
    assert "None of the 1 runs" in call("status", "--status", "failed").out


def test_status_json_is_one_document_with_every_run(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", name="first", tags=["x"], step=7, train_loss=2.5)
    make_run(run_id="b", status="stopped")
    make_run(run_id="c")
    call("annotate", "--run-id", "c", "--archive")
    runs = call("status", "--json").json["runs"]
    assert [run["run_id"] for run in runs] == ["b", "a"]
    promised = {"schema", "status", "epoch", "epochs", "step", "total_steps", "tokens", "phase"}
    assert promised <= runs[1].keys()
    assert (runs[1]["name"], runs[1]["tags"], runs[1]["archived"]) == ("first", ["x"], False)
    assert (runs[1]["step"], runs[1]["train_loss"], runs[1]["val_loss"]) == (7, 2.5, None)
    assert [run["run_id"] for run in call("status", "--archived", "--json").json["runs"]] == ["c"]


def test_status_json_of_one_run_is_its_state(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="20260102-aaaa", status="failed", error=ErrorRecord(kind="data", message="no"))
    state = call("status", "--run-id", "2026", "--json").json
    assert (state["run_id"], state["status"]) == ("20260102-aaaa", "failed")
    assert state["error"] == {"kind": "data", "message": "no", "hint": ""}


def test_the_table_fits_80_columns_and_shows_the_newest_first(
    call: Call, make_run: MakeRun
) -> None:
    for number in range(25):
        make_run(run_id=f"run-{number:02}", name="a name that is long", train_loss=2.0, step=1)
    lines = call("status").out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["RUN", "run-24", "run-23"]
    assert lines[-1] == "… and 5 more (--limit N shows more)"
    assert max(map(len, lines)) <= 80
    assert len(call("status", "--limit", "1000").out.splitlines()) == 26


def test_runs_can_be_filtered(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", status="failed", tags=["x"])
    make_run(run_id="b", tags=["x"])
    assert [r["run_id"] for r in call("status", "--tag", "x", "--json").json["runs"]] == ["b", "a"]
    failed = call("status", "--status", "failed", "--tag", "x", "--json").json["runs"]
    assert [run["run_id"] for run in failed] == ["a"]


def test_one_run_in_detail_with_its_error_and_gpu_readings(
    call: Call, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ErrorRecord(kind="data", message="The text is empty.", hint="Give another.")
    make_run(run_id="a", status="failed", error=error, notices=["The hub did not answer."])
    monkeypatch.setattr(Nvml, "read", lambda _: [GpuReading(index=0, name="NVIDIA A30")])
    out = call("status", "--run-id", "a").out
    for words in ("The text is empty.", "Give another.", "The hub did not answer.", "NVIDIA A30"):
        assert words in out


def test_warnings_stand_before_notices_and_under_the_list(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", warnings=["latest.pt was damaged."], notices=["The hub is silent."])
    out = call("status", "--run-id", "a").out
    assert out.index("latest.pt was damaged.") < out.index("The hub is silent.")
    assert "a 1 warning: latest.pt was damaged.\n" in call("status").out
    told = call("status", "--run-id", "a", "--json").json
    assert (told["warnings"], told["notices"]) == (
        ["latest.pt was damaged."],
        ["The hub is silent."],
    )


def test_a_run_that_has_never_trained_was_queued_not_started(call: Call, make_run: MakeRun) -> None:
    me = identify(os.getpid())
    make_run(run_id="a", status="queued", process=me)
    make_run(run_id="b", status="queued", process=me, step=30)
    assert "queued " in call("status", "--run-id", "a").out.partition("folder")[0]
    assert "started" not in call("status", "--run-id", "a").out
    assert "started" in call("status", "--run-id", "b").out


def test_colour_is_for_terminals_only(call: Call, make_run: MakeRun) -> None:
    make_run(status="failed")
    assert "\x1b" not in call("status").out


def test_watching_one_run_ends_when_it_has_ended(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", status="completed")
    answer = call("status", "--run-id", "a", "--watch")
    assert (answer.status, answer.out.count("completed")) == (0, 1)


def test_ctrl_c_ends_watching_the_list_without_fault(
    call: Call, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    make_run(run_id="a")
    monkeypatch.setattr("trainer.cli.commands.status.time.sleep", sleep)
    answer = call("status", "--watch")
    assert (answer.status, answer.out.count("completed")) == (0, 2)


# --------------------------------------------------------------------------- train


def started(home: Path) -> str:
    """The one run that was made."""
    (run_id,) = RunStore(home).workspace.run_ids()
    return run_id


@pytest.mark.usefixtures("no_worker")
def test_train_tells_what_was_started_and_what_to_do_next(
    call: Call, home: Path, text_file: Path
) -> None:
    answer = call(
        "train", "--config", "quickstart", "--set", f"data.dataset_name={text_file}",
        "--name", "first", "--tag", "x", "--tag", "y",
    )  # fmt: skip
    run_id = started(home)
    assert answer.status == 0
    assert f"Started run {run_id}." in answer.out
    assert str(text_file) in answer.out
    for command in ("status --run-id {} --watch", "logs --run-id {} --follow", "stop --run-id {}"):
        assert f"llm-trainer {command.format(run_id)}" in answer.out
    run = RunStore(home).get(run_id)
    assert (run.annotations.name, run.annotations.tags) == ("first", ["x", "y"])
    assert RunStore(home).meta(run_id).command[:3] == ["llm-trainer", "train", "--config"]


def test_train_tells_behind_what_a_run_is_queued(
    call: Call,
    text_file: Path,
    make_run: MakeRun,
    store: RunStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[Any] = []
    monkeypatch.setattr(launch, "_start_worker", lambda _, __, *owned: held.extend(owned))
    make_run(run_id="0", name="baseline")
    place = Queue(store.workspace.queue_dir).draw("0", ("cpu",), "cpu")
    options = ("--set", f"data.dataset_name={text_file}", "--device", "cpu")
    answer = call("train", *options)
    run_id = store.workspace.run_ids()[0]
    first, second, *_ = answer.out.splitlines()
    assert first == (
        f"Run {run_id} is queued, 2nd for cpu, after baseline: "
        "it starts by itself when its turn comes."
    )
    assert f"resume --run-id {run_id} --now-anyway" in second
    assert "Started run" in call("train", *options, "--now-anyway").out
    for owned in (place, *held):
        owned.release()


def test_a_queued_run_is_started_by_resume_and_another_is_not(
    call: Call, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = identify(os.getpid())
    queue = QueueStanding(device="cpu", position=2, ahead=["a"], after="baseline")
    run = make_run(run_id="b", status="queued", queue=queue, process=me)
    assert "already active" in call("resume", "--run-id", "b").err

    def heard(self: RunStore, run_id: str, *_: object) -> Run:
        assert run.paths.start_request.exists()
        return make_run(run_id="c", status="preparing", process=me)

    monkeypatch.setattr(RunStore, "wait", heard)
    assert "Run b starts now." in call("resume", "--run-id", "b", "--now-anyway").out


@pytest.mark.usefixtures("no_worker")
def test_train_json_is_the_run_id_alone(call: Call, home: Path, text_file: Path) -> None:
    answer = call("train", "--set", f"data.dataset_name={text_file}", "--json")
    assert answer.json == {"run_id": started(home)}
    assert f"Started run {started(home)}." in answer.err


@pytest.mark.usefixtures("no_worker")
def test_options_are_laid_over_the_assignments_and_the_file(
    call: Call, home: Path, text_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[training]\nepochs = 7\nprecision = 'fp16'\ngrad_accum_steps = 2\n")
    call(
        "train", "--config", str(file), "--set", f"data.dataset_name={text_file}",
        "--set", "training.precision=bf16", "--set", "training.dataloader_workers=1",
        "--precision", "off", "--grad-accum-steps", "3", "--dataloader-prefetch-factor", "4",
        "--dataloader-pin-memory", "--device", "cpu", "--nproc-per-node", "1",
    )  # fmt: skip
    config = RunStore(home).config(started(home))
    assert config.training.epochs == 7
    assert config.training.precision == "off"
    assert config.training.grad_accum_steps == 3
    assert config.training.dataloader_workers == 1
    assert config.training.dataloader_prefetch_factor == 4
    assert config.training.dataloader_pin_memory is True
    assert config.device.preference == "cpu"
    assert config.device.strict is False


@pytest.mark.usefixtures("no_worker")
def test_a_flag_can_be_turned_off(call: Call, home: Path, text_file: Path) -> None:
    call("train", "--set", f"data.dataset_name={text_file}", "--no-dataloader-pin-memory")
    assert RunStore(home).config(started(home)).training.dataloader_pin_memory is False


@pytest.mark.usefixtures("no_worker")
def test_the_reason_of_a_fallback_is_told(
    call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasource, "hub_answers", lambda _: (False, "no network"))
    monkeypatch.setattr(datasource, "is_cached", lambda _: False)
    monkeypatch.setattr(datasource, "offline_switch", lambda: None)
    answer = call("train", "--config", "quickstart")
    reason = RunStore(home).meta(started(home)).data["reason"]
    assert "python-docs" in reason
    assert reason in answer.out


def test_more_epochs_names_the_right_command_for_the_newest_run(
    call: Call, make_run: MakeRun
) -> None:
    make_run(run_id="20260101-000000-aaaa")
    make_run(run_id="20260102-000000-bbbb")
    answer = call("train", "--more-epochs", "3")
    assert answer.status == 2
    assert "--more-epochs belongs to resume" in answer.err
    assert "llm-trainer resume --run-id 20260102-000000-bbbb --more-epochs 3" in answer.err


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    ("ends_as", "status"), [("completed", 0), ("stopped", 0), ("failed", 1), ("interrupted", 1)]
)
def test_the_exit_status_of_following_is_the_runs(
    call: Call, text_file: Path, monkeypatch: pytest.MonkeyPatch, ends_as: str, status: int
) -> None:
    def end(_: object, paths: Any, lock: Any, checkpoint: str | None = None) -> None:
        lock.release()
        state = read_record(paths.state, State)
        write_record(paths.state, msgspec.structs.replace(state, status=ends_as))

    monkeypatch.setattr(launch, "_start_worker", end)
    answer = call("train", "--set", f"data.dataset_name={text_file}", "--follow")
    assert answer.status == status


# --------------------------------------------------------------------------- stop, resume


def test_stopping_a_run_asks_it(call: Call, make_run: MakeRun, no_signal: list[int]) -> None:
    run = make_run(run_id="a", status="running", process=identify(os.getpid()))
    answer = call("stop", "--run-id", "latest", "--json")
    assert answer.status == 0
    assert answer.json["run_id"] == "a"
    assert run.paths.stop_request.exists()
    assert no_signal == [os.getpid()]


def test_a_stop_counts_down_to_its_deadline(
    call: Call, make_run: MakeRun, no_signal: list[int]
) -> None:
    make_run(run_id="a", status="running", process=identify(os.getpid()))
    answer = call("stop", "--run-id", "a", "--deadline", "7200")
    assert "Run a is stopping: it saves a checkpoint first; killed in 2 h " in answer.out
    status = call("status", "--run-id", "a", "--json").json
    assert (status["status"], len(no_signal)) == ("stopping", 1)
    assert 7100 < status["stop"]["seconds_left"] <= 7200
    assert "killed in" in call("status", "--run-id", "a").out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--deadline", "0"), "A deadline of 0 seconds is not from 1 to 86,400."),
        (("--deadline", "nan"), "A deadline of nan seconds is not from 1 to 86,400."),
        (("--deadline", "5", "--now"), "A run that is killed at once has no deadline."),
    ],
)
def test_a_deadline_that_cannot_be_is_refused(
    call: Call, make_run: MakeRun, options: tuple[str, ...], told: str
) -> None:
    make_run(run_id="a", status="running", process=identify(os.getpid()))
    answer = call("stop", "--run-id", "a", *options)
    assert answer.status == 2
    assert told in answer.err


@pytest.fixture
def no_signal(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record whom a signal would have gone to: these runs claim to be the test's own process."""
    sent: list[int] = []
    monkeypatch.setattr(
        "trainer.deadline.process.send_signal", lambda record, _: sent.append(record.pid)
    )
    monkeypatch.setattr(deadline, "_start", lambda *_: None)
    monkeypatch.setattr(RunStore, "wait", lambda store, run_id, *_, **__: store.get(run_id))
    return sent


@pytest.mark.parametrize("command", ["stop", "resume"])
def test_what_a_run_is_not_ready_for_is_a_conflict(
    call: Call, make_run: MakeRun, command: str
) -> None:
    status = "completed" if command == "stop" else "running"
    make_run(run_id="a", status=status, process=identify(os.getpid()))
    answer = call(command, "--run-id", "a", "--json")
    assert (answer.status, answer.out) == (4, "")
    assert answer.err.startswith("Error: Run a is")


@pytest.mark.usefixtures("no_worker")
def test_resume_goes_on_with_more_epochs(call: Call, make_run: MakeRun, store: RunStore) -> None:
    run = make_run(run_id="a", status="stopped", step=10, steps_per_epoch=5, epochs=3)
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("epoch-2").touch()
    answer = call("resume", "--run-id", "a", "--more-epochs", "2", "--from", "epoch-2")
    assert answer.status == 0
    assert (
        "Run a goes on from epoch-2.pt (verified first), with 2 more epochs (10 steps)."
    ) in answer.out
    assert store.config("a").training.epochs == 5


@pytest.mark.usefixtures("no_worker")
def test_resume_names_the_step_it_goes_on_from(call: Call, make_run: MakeRun) -> None:
    run = make_run(run_id="a", status="stopped", step=450, total_steps=1149)
    run.paths.checkpoints.mkdir(parents=True)
    a_checkpoint(run.paths.checkpoints, "latest", 450)
    assert (
        "Run a goes on from latest.pt (step 450 of 1,149, verified first), to the end that was "
        "planned.\n"
    ) in call("resume", "--run-id", "a").out


@pytest.mark.parametrize("status", ["stopped", "running"])
def test_without_a_checkpoint_the_command_to_start_anew_is_told(
    call: Call, make_run: MakeRun, store: RunStore, status: str
) -> None:
    run = make_run(run_id="a", status=status)
    home = store.workspace.home
    anew = f"llm-trainer --home {home} train --config {run.paths.config}"
    words = f"It had done no step that was saved. To start it anew: {anew}"
    answer = call("--home", str(home), "resume", "--run-id", "a")
    assert (answer.status, answer.out) == (3, "")
    assert answer.err == f"Error: Run a has no checkpoint 'latest'.\n{words}\n"
    shown = call("--home", str(home), "status", "--run-id", "a").out
    assert words in " ".join(shown.split())


# --------------------------------------------------------------------------- logs


def test_the_last_lines_of_the_log(call: Call, make_run: MakeRun) -> None:
    run = make_run(run_id="a")
    run.paths.train_log.write_text("one\ntwo\nthree\n")
    run.paths.worker_log.write_text("printed\n")
    assert call("logs", "--run-id", "a", "--tail", "2").out == "two\nthree\n"
    assert call("logs", "--run-id", "a", "--follow").out == "one\ntwo\nthree\n"
    assert call("logs", "--run-id", "a", "--worker", "--json").json == {
        "run_id": "a",
        "log": "worker",
        "lines": ["printed"],
    }


def test_lines_of_the_whole_log_are_found(call: Call, make_run: MakeRun) -> None:
    run = make_run(run_id="a")
    run.paths.train_log.write_text("Saved one\ntwo\nsaved three\nsaved four\n")
    assert call("logs", "--run-id", "a", "--grep", "SAVED", "--tail", "2").out == (
        "saved three\nsaved four\n"
    )
    assert "has no line with 'five'" in call("logs", "--run-id", "a", "--grep", "five").err


def test_an_empty_log_is_told_beside_the_output(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a")
    answer = call("logs", "--run-id", "a")
    assert (answer.status, answer.out) == (0, "")
    assert "empty so far" in answer.err


# --------------------------------------------------------------------------- compare, export


def test_comparing_marks_the_best_and_shows_only_what_differs(
    call: Call, make_run: MakeRun
) -> None:
    five = configuration.build(configuration.Layer("test", {"training.epochs": 5}))
    make_run(run_id="a", train_loss=3.5, tokens_per_second=100.0)
    make_run(run_id="b", train_loss=3.25, tokens_per_second=50.0, config=five)
    lines = [line.split("  ") for line in call("compare", "a", "b").out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["training loss", "3.5000", "3.2500 *"] in cells
    assert ["speed", "100 tok/s *", "50 tok/s"] in cells
    assert cells[-1] == ["training.epochs", "3", "5"]
    document = call("compare", "a", "b", "--json").json
    assert document["differences"] == {"training.epochs": {"a": 3, "b": 5}}
    assert [run["run_id"] for run in document["runs"]] == ["a", "b"]


def test_runs_on_different_text_are_not_ranked_by_loss(call: Call, make_run: MakeRun) -> None:
    other = configuration.build(configuration.Layer("test", {"data.dataset_name": "python-docs"}))
    make_run(run_id="a", best_val_loss=3.5, tokens_per_second=100.0)
    make_run(run_id="b", best_val_loss=3.25, tokens_per_second=50.0, config=other)
    out = call("compare", "a", "b").out
    assert "3.2500 *" not in out
    assert "100 tok/s *" in out
    told = " ".join(out.split())
    assert "The runs learn from different texts (wikitext-2 and python-docs): none is" in told
    assert call("compare", "a", "b", "--json").json["not_ranked"].startswith("The runs learn")


def test_runs_that_do_not_fit_beside_each_other_follow_below(call: Call, make_run: MakeRun) -> None:
    ids = [f"20260102-030405-00{n:02}" for n in range(5)]
    for run_id in ids:
        make_run(run_id=run_id)
    out = call("compare", *ids).out
    assert all(out.count(run_id) == 1 for run_id in ids)
    assert max(map(len, out.splitlines())) <= 80
    assert "All settings are the same." in out


def test_export_writes_the_promised_columns(call: Call, make_run: MakeRun, tmp_path: Path) -> None:
    make_run(run_id="a", points=3)
    target = tmp_path / "curves.csv"
    answer = call("export", "--run-id", "a", "--format", "csv", "--out", str(target), "--json")
    assert answer.json == {"run_id": "a", "format": "csv", "path": str(target), "rows": 3}
    with target.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        "step", "epoch", "tokens", "elapsed_seconds", "train_loss", "val_loss", "learning_rate",
        "grad_norm", "tokens_per_second",
    ]  # fmt: skip
    printed = call("export", "--run-id", "a", "--format", "csv", "--out", "-")
    assert printed.out == target.read_text()
    assert rows[2] == ["2", "0.02", "2000", "1.0", "4.9", "", "0.001", "1.0", "2000.0"]


def test_export_of_a_model_tells_where_it_is(
    call: Call, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.inference.client.SERVICE_MODULE", "tests.cli.echo_service")
    run = make_run(run_id="a")
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("best").touch()
    options = ["export", "--run-id", "a", "--format", "hf", "--checkpoint", "best", "--out"]
    assert call(*options, str(tmp_path / "one")).out == (
        f"Wrote the model to {tmp_path / 'one'}: 3 parameters, 8 B.\n"
    )
    assert call(*options, str(tmp_path / "two"), "--json").json == {
        "run_id": "a",
        "format": "hf",
        "path": str(tmp_path / "two"),
        "checkpoint": "best",
        "parameters": 3,
        "bytes": 8,
    }
    again = call(*options, str(tmp_path / "two"))
    assert (again.status, again.out) == (2, "")
    assert "is not empty" in again.err
    gguf = ["export", "--run-id", "a", "--format", "gguf", "--checkpoint", "best", "--json"]
    document = call(*gguf, "--weights", "q8_0", "--out", str(tmp_path / "three")).json
    assert (document["path"], document["weights"]) == (str(tmp_path / "three.gguf"), "q8_0")
    assert call(*gguf, "--out", str(tmp_path / "four")).json["weights"] == "f16"


def test_export_of_curves_for_tensorboard_says_how_to_look_at_them(
    call: Call, make_run: MakeRun, tmp_path: Path
) -> None:
    make_run(run_id="a", points=3)
    options = ["export", "--run-id", "a", "--format", "tensorboard", "--out"]
    answer = call(*options, str(tmp_path / "one"), "--weights", "f16", "--checkpoint", "best")
    assert answer.out.splitlines() == [
        f"Wrote 3 steps to {tmp_path / 'one'}.",
        f"Look at them with: tensorboard --logdir {tmp_path / 'one'}",
    ]
    assert "--checkpoint changes nothing" in answer.err
    assert "--weights changes nothing" in answer.err
    document = call(*options, str(tmp_path / "two"), "--json").json
    assert (document["format"], document["steps"]) == ("tensorboard", 3)


# --------------------------------------------------------------------------- annotate, delete


def test_annotating_changes_only_what_is_given(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", name="old", tags=["x", "y"])
    options = ["--untag", "x", "--tag", "z", "--notes", "good", "--pin", "--json"]
    state = call("annotate", "--run-id", "a", *options).json
    assert (state["name"], state["tags"], state["notes"]) == ("old", ["y", "z"], "good")
    assert (state["pinned"], state["archived"]) == (True, False)
    answer = call("annotate", "--run-id", "a", "--name", "", "--unpin", "--archive")
    assert answer.out == ("Run a is now without a name, not pinned, archived.\n")
    answer = call("annotate", "--run-id", "a", "--untag", "y", "--untag", "z", "--notes", "")
    assert answer.out == "Run a is now without tags, without notes.\n"


def test_a_checkpoint_is_pinned_and_unpinned(call: Call, make_run: MakeRun) -> None:
    run = make_run(run_id="a")
    run.paths.checkpoints.mkdir(parents=True)
    a_checkpoint(run.paths.checkpoints, "best", 20)
    answer = call("annotate", "--run-id", "a", "--pin-checkpoint", "best")
    assert answer.out == "The checkpoint 'best' is kept for good as 'step-20'.\n"
    shown = call("status", "--run-id", "a").out
    assert "best (step 20, pinned), step-20 (step 20, pinned)" in " ".join(shown.split())
    answer = call("annotate", "--run-id", "a", "--unpin-checkpoint", "step-20")
    assert answer.out == "The checkpoint 'step-20' is not kept any more.\n"
    assert call("annotate", "--run-id", "a", "--unpin-checkpoint", "best").status == 2
    assert call("annotate", "--run-id", "a", "--pin-checkpoint", "latest").status == 3


def test_delete_needs_a_yes_where_nobody_can_be_asked(
    call: Call, make_run: MakeRun, store: RunStore
) -> None:
    make_run(run_id="a")
    answer = call("delete", "--run-id", "a")
    assert (answer.status, answer.out) == (2, "")
    assert "Add --yes." in answer.err
    assert store.workspace.run_ids() == ["a"]


def test_a_deleted_run_can_be_brought_back(call: Call, make_run: MakeRun, store: RunStore) -> None:
    make_run(run_id="a")
    assert call("delete", "--run-id", "a", "--yes", "--json").json == {
        "run_id": "a",
        "deleted": True,
    }
    assert store.workspace.run_ids() == []
    assert call("delete", "--run-id", "a", "--undo").out == "Run a is back.\n"
    assert store.workspace.run_ids() == ["a"]


def test_deleted_runs_are_listed_until_they_are_removed_for_good(
    call: Call, make_run: MakeRun
) -> None:
    assert call("delete", "--list").out == "No deleted run can be brought back.\n"
    make_run(run_id="a", name="junk")
    call("delete", "--run-id", "a", "--yes")
    heading, row, hint = call("delete", "--list").out.splitlines()
    assert heading.split() == ["RUN", "NAME", "STATUS", "DELETED", "KEPT", "SIZE"]
    assert row.split()[:3] == ["a", "junk", "completed"]
    assert hint.endswith("delete --run-id a --undo")
    listed = call("delete", "--list", "--json").json["deleted"]
    assert [(run["run_id"], run["title"], run["status"]) for run in listed] == [
        ("a", "junk", "completed")
    ]
    assert call("delete", "--run-id", "a", "--for-good", "--yes").out == (
        "Run a is gone for good.\n"
    )
    assert call("delete", "--list", "--json").json == {"deleted": []}


def test_runs_are_filtered_by_words_and_comparisons(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", train_loss=2.5)
    make_run(run_id="b", train_loss=3.5)
    runs = call("status", "--filter", "loss<3", "--json").json["runs"]
    assert [run["run_id"] for run in runs] == ["a"]


@pytest.mark.parametrize(("reply", "status", "left"), [("y\n", 0, []), ("n\n", 1, ["a"])])
def test_on_a_terminal_delete_asks(
    call: Call,
    make_run: MakeRun,
    store: RunStore,
    monkeypatch: pytest.MonkeyPatch,
    reply: str,
    status: int,
    left: list[str],
) -> None:
    make_run(run_id="a", name="first")
    monkeypatch.setattr("trainer.cli.commands.keeping.can_ask", lambda: True)
    answer = call("delete", "--run-id", "a", stdin=reply)
    assert answer.status == status
    assert "Delete run a ('first') and its 0 checkpoints (0 B)? [y/N]" in answer.err
    assert store.workspace.run_ids() == left


def test_an_active_run_is_not_deleted(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", status="running", process=identify(os.getpid()))
    assert call("delete", "--run-id", "a", "--yes").status == 4


# --------------------------------------------------------------------------- config, devices


def test_config_show_prints_toml_that_loads_to_the_same(call: Call, tmp_path: Path) -> None:
    options = ["--set", "training.epochs=5", "--set", "data.dataset_name=python-docs"]
    shown = call("config", "show", *options).out
    (tmp_path / "again.toml").write_text(shown)
    assert call("config", "show", "--config", str(tmp_path / "again.toml")).out == shown
    document = call("config", "show", *options, "--json").json
    assert document["training"]["epochs"] == 5
    assert document["data"]["dataset_name"] == "python-docs"
    assert document["model"]["layers"] == 4


def test_config_check_tells_the_size_of_the_model(call: Call, text_file: Path) -> None:
    options = ["--config", "default", "--set", f"data.dataset_name={text_file}"]
    document = call("config", "check", *options, "--json").json
    assert document["ok"] is True
    assert document["differences"]["data.dataset_name"] == str(text_file)
    assert document["parameters"] > 1_000_000
    assert call("config", "check", *options).out.startswith("The configuration is good.")


@pytest.mark.parametrize("name", ["default", "quickstart"])
def test_the_shipped_configurations_are_found_by_name(call: Call, name: str) -> None:
    assert call("config", "show", "--config", name).status == 0


FOUND = {
    "devices": [
        {"id": "cuda:0", "name": "NVIDIA A30", "memory_bytes": 24 * 2**30},
        {"id": "cpu", "name": "2 cores", "memory_bytes": None},
    ],
    "auto": {"device": "cuda:0", "name": "NVIDIA A30", "reason": "it is the only GPU."},
    "precision": {"name": "bf16", "reason": "the GPU has it."},
}


def test_devices_and_the_choice_of_auto(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.cli.commands.devices.probe", lambda: FOUND)
    assert call("devices", "--json").json == FOUND
    out = call("devices").out
    assert "cuda:0  NVIDIA A30  24.0 GiB" in out
    assert "device auto takes cuda:0: it is the only GPU." in out
    assert "precision auto takes bf16: the GPU has it." in out


# --------------------------------------------------------------------------- global options


def test_home_may_stand_before_or_after_the_command(
    call: Call, tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(run_id="a")
    elsewhere = str(tmp_path / "elsewhere")
    assert call("--home", elsewhere, "status", "--json").json == {"runs": []}
    assert call("status", "--json", "--home", elsewhere).json == {"runs": []}
    assert len(call("--json", "status").json["runs"]) == 1


def test_commands_to_try_reach_the_same_workspace(call: Call, tmp_path: Path) -> None:
    spaced = str(tmp_path / "my runs")
    out = call("--home", spaced, "status").out
    assert f"llm-trainer --home '{spaced}' train --config quickstart" in out


def test_debug_shows_the_traceback_and_nothing_else_does(call: Call) -> None:
    assert "Traceback" not in call("status", "--run-id", "nope").err
    answer = call("status", "--run-id", "nope", "--debug")
    assert answer.status == 3
    assert "Traceback" in answer.err
    assert "NoSuchRunError" in answer.err


def test_a_workspace_that_may_not_be_read_is_told(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied", "/somewhere/runs")

    monkeypatch.setattr("trainer.store.workspace.os.scandir", refuse)
    answer = call("status")
    assert (answer.status, answer.out) == (1, "")
    assert "'/somewhere/runs' cannot be used: Permission denied." in answer.err


def test_web_serves_the_workspace(call: Call, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[object, ...]] = []
    monkeypatch.setattr("webapp.server.serve", lambda *given, **more: served.append((*given, more)))
    answer = call("web", "--port", "8123", "--open", "--allow-host", "a.lan", "--quickstart")
    assert (answer.status, answer.out) == (0, "")
    options = {"open_browser": True, "allow_hosts": ("a.lan",), "quickstart": True}
    assert served == [(home, "127.0.0.1", 8123, options)]


def test_tui_shows_the_workspace(call: Call, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[RunStore] = []
    monkeypatch.setattr("trainer.tui.run", shown.append)
    assert call("tui").status == 0
    assert [store.workspace.home for store in shown] == [home]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_program(call: Call, shell: str) -> None:
    answer = call("completion", shell)
    assert answer.status == 0
    assert "_LLM_TRAINER_COMPLETE" in answer.out
    assert "llm-trainer" in answer.out


def test_json_documents_keep_every_letter(call: Call, make_run: MakeRun) -> None:
    make_run(run_id="a", name="Übung 日本")
    answer = call("status", "--run-id", "a", "--json")
    assert json.loads(answer.out)["name"] == "Übung 日本"
