"""What the command line says about runs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import click
import msgspec

from tests.conftest import CREATED_AT, MakeRun
from trainer.cli.describe import (
    gpu_words,
    outcome,
    progress_line,
    run_cells,
    run_detail,
    run_table,
    status_look,
    warning_lines,
)
from trainer.store.process import identify
from trainer.store.records import ErrorRecord, Progress, QueueStanding, State
from trainer.telemetry import GpuReading


def state(**changes: Any) -> State:
    fields = {"run_id": "a", "created_at": CREATED_AT, "updated_at": CREATED_AT}
    return State(**(fields | changes))


TRAINING: dict[str, Any] = {
    "status": "running",
    "phase": "training",
    "epoch": 2,
    "epochs": 3,
    "step": 540,
    "total_steps": 1200,
    "tokens": 2_211_840,
    "train_loss": 4.12345,
    "val_loss": 4.5,
    "best_val_loss": 4.25,
    "val_word_perplexity": 123.456,
    "best_val_word_perplexity": 120.0,
    "val_bits_per_byte": 1.43211,
    "learning_rate": 0.003,
    "tokens_per_second": 6120.4,
    "elapsed_seconds": 185.0,
    "eta_seconds": 125.0,
    "device": "cuda:0",
    "device_name": "NVIDIA A30",
    "precision": "bf16",
    "compiled": True,
    "parameters": 5_311_744,
}


WAITING: dict[str, Any] = {
    "status": "queued",
    "phase": "waiting for cpu: 1 run ahead",
    "queue": QueueStanding(device="cpu", position=2, ahead=["a"], after="baseline"),
}


def test_a_queued_run_tells_its_place(make_run: MakeRun) -> None:
    assert progress_line(state(**WAITING)) == "queued, 2nd for cpu, after baseline"
    run = make_run(**WAITING, process=identify(os.getpid()))
    assert run_cells(run)[2:4] == ["queued 2nd", "2nd for cpu, after baseline"]
    assert status_look("queued 2nd") == status_look("queued")
    detail = [click.unstyle(line).split(maxsplit=1) for line in run_detail(run, [], [], 80)]
    assert ["status", "queued · waiting for cpu: 1 run ahead"] in detail
    assert ["queue", "2nd for cpu, after baseline"] in detail


def test_a_training_run_in_one_line() -> None:
    assert progress_line(state(**TRAINING)) == (
        "45 % · epoch 2/3 · loss 4.1235 · ppl 123.5 · 6,120 tok/s · 2 min 5 s left"
    )


def test_another_phase_of_a_training_run_in_one_line() -> None:
    progress = Progress(phase="evaluating", done=1_000, total=1_500, unit="windows")
    evaluating = state(**TRAINING | {"phase": "evaluating", "progress": progress})
    assert progress_line(evaluating) == (
        "evaluating: 1,000 of 1,500 windows · 45 % · epoch 2/3 · 2 min 5 s left"
    )
    assert progress_line(state(**TRAINING | {"status": "stopping"})).startswith("stopping · 45 %")


def test_a_run_that_prepares_shows_how_far_the_step_has_come() -> None:
    progress = Progress(phase="tokenizing", done=12_000, total=36_718, unit="rows")
    preparing = state(status="preparing", phase="tokenizing", progress=progress)
    assert progress_line(preparing) == "tokenizing: 12,000 of 36,718 rows"


def test_how_a_run_has_ended(make_run: MakeRun) -> None:
    done = make_run(step=1200, elapsed_seconds=185.0, best_val_word_perplexity=120.0)
    assert outcome(done) == [
        f"Run {done.run_id} is complete: 1,200 steps, 3 min 5 s, best word perplexity 120.0."
    ]
    error = ErrorRecord(kind="data", message="The text is empty.", hint="Give another.")
    failed = make_run(run_id="b", status="failed", error=error)
    assert outcome(failed, "Give another.") == [
        "Run b failed.",
        "The text is empty.",
        "Give another.",
    ]


def test_the_row_of_a_run(make_run: MakeRun) -> None:
    run = make_run(name="first", tags=["x", "y"], **TRAINING, process=identify(os.getpid()))
    cells = run_cells(run)
    cells[9] = "the time since it was made"
    assert cells == [
        run.run_id,
        "first",
        "running",
        "training",
        "45 %",
        "4.1235",
        "120.0",
        "2 min 5 s",
        "",
        "the time since it was made",
        "6,120 tok/s",
        "cuda:0",
        "x, y",
    ]


def test_the_speed_in_detail_is_set_beside_what_the_machine_can_do(make_run: MakeRun) -> None:
    def speed(**more: Any) -> str:
        lines = run_detail(make_run(**TRAINING | more), [], [], 100)
        (line,) = (line for line in map(click.unstyle, lines) if line.startswith("  speed"))
        return " ".join(line.split())

    assert speed(utilisation=0.614) == (
        "speed 6,120 tok/s, 61 % of this machine's peak 2.21 M tokens"
    )
    assert speed() == "speed 6,120 tok/s 2.21 M tokens"


def test_what_is_not_known_yet_is_empty(make_run: MakeRun) -> None:
    assert run_cells(make_run(status="stopped"))[3:9] == [""] * 6


def test_the_table_of_80_columns_names_runs_and_fits(make_run: MakeRun) -> None:
    run = make_run(name="a name far too long for it", **TRAINING, process=identify(os.getpid()))
    heading, row = (click.unstyle(line) for line in run_table([run], 80))
    assert [word in heading for word in ("RUN", "NAME", "DONE", "LOSS", "LEFT")] == [True] * 5
    assert run.run_id in row
    assert max(len(heading), len(row)) <= 80


def test_one_run_in_detail(make_run: MakeRun) -> None:
    gpu = GpuReading(index=0, name="NVIDIA A30", utilization=97.0, memory_bytes=2**30)
    run = make_run(name="first", run_id="r1", **TRAINING, process=identify(os.getpid()))
    lines = [click.unstyle(line) for line in run_detail(run, [], [gpu], 80)]
    assert lines[0] == "r1  first"
    assert "  progress       █████████░░░░░░░░░░░ 45 %   step 540 of 1,200" in lines
    assert "  loss           train 4.1235   validation 4.5000   best 4.2500" in lines
    assert "  perplexity     123.5 a word   best 120.0   1.432 bits a byte" in lines
    assert "  device         cuda:0 (NVIDIA A30)   precision bf16   compiled" in lines
    assert "  GPU            0 NVIDIA A30   97 %   n/a   n/a   1.0 GiB of –" in lines
    assert "  model          5.31 M parameters" in lines


def test_without_a_gpu_its_readings_are_not_available(make_run: MakeRun) -> None:
    lines = [click.unstyle(line) for line in run_detail(make_run(), [], [], 80)]
    assert "  GPU       n/a" in lines


def test_gpu_readings() -> None:
    gpu = GpuReading(
        index=1,
        name="NVIDIA H200",
        utilization=45.4,
        memory_bytes=3 * 2**30,
        memory_total_bytes=24 * 2**30,
        temperature_c=61.0,
        power_w=130.4,
    )
    assert gpu_words(gpu) == "1 NVIDIA H200   45 %   61 °C   130 W   3.0 GiB of 24.0 GiB"


def test_a_run_that_lives_and_says_nothing_is_told_of(make_run: MakeRun) -> None:
    long_ago = time.monotonic() - 3 * 3600 - 60
    run = make_run(
        status="running", process=identify(os.getpid()), heartbeat_uptime_seconds=long_ago
    )
    status = next(line for line in run_detail(run, [], [], 200) if "status" in line)
    assert "running · no word for 3 h 1 min; the process lives (very busy, or it hangs)" in status


def test_a_paused_run_is_told_as_such_in_its_row_and_with_what_lets_it_go_on(
    make_run: MakeRun,
) -> None:
    me = identify(os.getpid())
    run = replace(make_run(status="running", phase="training", process=me), paused=True)
    assert run_cells(run)[2] == "paused"
    assert f"kill -CONT {os.getpid()} lets it go on" in warning_lines([run])[0]
    stopping = msgspec.structs.replace(run.state, status="stopping")
    assert run_cells(replace(run, state=stopping))[2] == "stopping"
    assert status_look("paused") == {"fg": "yellow"}


def test_every_status_is_a_word_and_most_a_colour_too() -> None:
    assert status_look("failed") == {"fg": "red"}
    assert status_look("something else") == {}
