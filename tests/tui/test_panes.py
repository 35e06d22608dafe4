"""What the panes say, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from tests.conftest import CREATED_AT, MakeRun
from tests.tui.conftest import GIB, GPU, HOST, NOW
from trainer.runs import Run
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import Annotations, ErrorRecord, State
from trainer.store.workspace import RunPaths
from trainer.telemetry import HostReading
from trainer.tui import (
    details_pane,
    figures_pane,
    log_pane,
    loss_pane,
    readings_pane,
    run_header,
    samples_pane,
    title_bar,
)
from trainer.tui.curves import NO_CURVES, Curve, Curves
from trainer.tui.machine import MachineReading
from trainer.tui.watching import Glimpse

RUNNING = State(
    run_id="a",
    status="running",
    phase="training",
    epoch=2,
    epochs=3,
    step=420,
    total_steps=1000,
    train_loss=3.214,
    val_loss=3.31,
    val_word_perplexity=85.21,
    tokens_per_second=6120.0,
    eta_seconds=180.0,
    created_at=CREATED_AT,
    updated_at=CREATED_AT,
)


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_the_title_line_fills_the_width(make_run: MakeRun) -> None:
    run = make_run(name="first", status="completed")
    assert run_header.title_line(run, "", 32).plain == "── first ────────── completed ──"
    long = make_run(name="x" * 80)
    line = run_header.title_line(long, "killed in 30 s unless it ends before", 80).plain
    assert len(line) == 80
    assert "…" in line
    assert line.endswith("completed · killed in 30 s unless it ends before ──")


def test_the_progress_line_has_phase_bar_percent_and_time_left() -> None:
    line = run_header.progress_line(RUNNING, 44).plain
    assert line == " training  " + "━━━━━━" + "┈┈┈┈┈┈┈┈┈" + " 42 %  3 min left"


def test_a_narrow_progress_line_leaves_the_bar_out() -> None:
    assert run_header.progress_line(RUNNING, 30).plain == " training  42 %  3 min left"


def test_a_phase_without_an_end_is_told_in_words() -> None:
    starting = State(
        run_id="a", status="queued", phase="starting", created_at=CREATED_AT, updated_at=CREATED_AT
    )
    assert run_header.progress_line(starting, 80).plain.strip() == "starting"


def test_errors_trouble_and_warnings_come_before_notes(tmp_path: Path) -> None:
    state = State(
        run_id="a",
        status="failed",
        error=ErrorRecord(kind="data", message="It is empty.", hint="Give text."),
        notices=["python-docs was used."],
        warnings=["latest.pt was damaged."],
        created_at=CREATED_AT,
        updated_at=CREATED_AT,
    )
    run = Run(state, Annotations(), RunPaths("a", tmp_path, tmp_path), trouble="No space left.")
    assert plain(run_header.note_lines(run)) == [
        "failed It is empty. Give text.",
        "trouble No space left.",
        "warning latest.pt was damaged.",
        "note python-docs was used.",
    ]


def test_notes_are_clipped_to_one_line() -> None:
    error, note = Text("failed It is empty."), Text("note It was used.")
    assert run_header.clipped([], 30).plain == ""
    assert run_header.clipped([error], 19).plain == "failed It is empty."
    assert run_header.clipped([error], 18).plain == "fail…  5 shows all"
    assert run_header.clipped([error, note], 40).plain == "failed It is empty.  5 shows all"


def test_figures_on_one_line() -> None:
    assert figures_pane.one_line(RUNNING).plain == (
        " epoch 2/3  step 420/1,000  train 3.2140  val 3.3100  ppl 85.21  6,120 tok/s"
    )


def test_figures_as_a_list_go_on_with_facts() -> None:
    lines = figures_pane.listed(RUNNING).plain.splitlines()
    assert lines[0] == "epoch           2/3"
    assert lines[6] == "run id          a"
    assert lines[7] == "dataset         –"


def test_readings_without_a_gpu() -> None:
    line = readings_pane.one_line((), HOST, 3 * GIB // 2)
    assert line.plain == " GPU n/a · CPU 48 % · RAM 5.0 of 16.0 GiB · run 1.5 GiB"
    assert readings_pane.one_line((), None, None).plain == " GPU n/a · CPU n/a · RAM n/a"


def test_readings_with_a_gpu() -> None:
    line = readings_pane.one_line((GPU,), HOST, None)
    assert line.plain == (" GPU 62 % 8.0 of 24.0 GiB 61 °C 148 W · CPU 48 % · RAM 5.0 of 16.0 GiB")
    lines = readings_pane.listed((GPU,), HOST, None).plain.splitlines()
    assert lines[0] == "GPU           NVIDIA A30"
    assert lines[1] == "  use         " + "━" * 4 + "┈" * 4 + " 62 %"
    assert lines[3] == "  heat, power 61 °C, 148 W"


def test_a_gpu_whose_readings_fail_says_so() -> None:
    mute = type(GPU)(index=0, name="Tesla")
    assert readings_pane.one_line((mute,), None, None).plain.startswith(" GPU n/a n/a n/a n/a ·")


def test_a_run_on_a_gpu_shows_the_gpu_it_reads_itself() -> None:
    row: dict[str, Any] = {
        "gpu_utilization": 90.0,
        "gpu_memory_bytes": GIB,
        "gpu_memory_total_bytes": 2 * GIB,
        "gpu_temperature_c": 50.0,
        "gpu_power_w": 100.0,
    }
    machine = MachineReading((GPU, GPU), HOST)
    (own,) = readings_pane.shown_gpus(machine, row)
    assert own.utilization == 90.0
    on_cpu = dict.fromkeys(row)
    assert readings_pane.shown_gpus(machine, on_cpu) == (GPU, GPU)
    assert readings_pane.shown_gpus(None, None) == ()


def test_the_longest_share_of_memory_fits_the_side_column() -> None:
    host = HostReading(cpu_percent=1.0, ram_bytes=1023 * GIB // 1024, ram_total_bytes=1023 * GIB)
    line = readings_pane.listed((), host, None).plain.splitlines()[2]
    assert line.endswith(" 1023.0 MiB of 1023.0 GiB")
    assert len(line) <= 47


@pytest.mark.parametrize(
    ("used", "total", "words"),
    [
        (5 * GIB, 16 * GIB, "5.0 of 16.0 GiB"),
        (GIB // 2, 16 * GIB, "512.0 MiB of 16.0 GiB"),
    ],
)
def test_a_share_of_memory_names_its_unit_once(used: int, total: int, words: str) -> None:
    assert readings_pane.share_words(used, total) == words


def test_the_legend_has_the_newest_values() -> None:
    curves = Curves(Curve((1, 2), (5.0, 4.5)), Curve((2,), (4.75,)))
    assert "train 4.5000" in loss_pane.legend(curves).plain
    assert "val 4.7500" in loss_pane.legend(curves).plain
    assert "train –" in loss_pane.legend(NO_CURVES).plain


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2026-01-02T03:04:05.678Z INFO step 1", "03:04:05 step 1"),
        ("2026-01-02T03:04:05.678Z WARNING No space", "03:04:05 WARNING No space"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_log_lines(line: str, words: str) -> None:
    assert log_pane.log_line(line).plain == words


def test_samples_show_the_newest_evaluation_first() -> None:
    samples = [
        {"id": 1, "step": 1000, "prompt": "Once", "text": " a"},
        {"id": 2, "step": 1000, "prompt": "Two", "text": " b"},
        {"id": 3, "step": 2000, "prompt": "Once", "text": " c"},
    ]
    assert samples_pane.sample_text(samples).plain.splitlines() == [
        "After step 2,000",
        "Once c",
        "",
        "After step 1,000",
        "Once a",
        "Two b",
    ]


def test_details(make_run: MakeRun) -> None:
    run = make_run(name="first", device="cpu", precision="bf16", notices=["It is warm."])
    event = {"at": "2026-01-02T03:05:00Z", "level": "info", "message": "It began."}
    glimpse = Glimpse(
        run,
        settings=("training.epochs = 9",),
        events=(event,),
        checkpoints=(Checkpoint(name="latest", step=7, epoch=1),),
    )
    lines = details_pane.details_text(glimpse, NOW).plain.splitlines()
    assert lines[:5] == [
        "Trouble and notes",
        "note It is warm.",
        "",
        "Facts",
        "started         1 h ago",
    ]
    assert "device          cpu" in lines
    assert "precision       bf16" in lines
    assert lines[lines.index("Checkpoints") + 1] == "latest · step 7"
    assert lines[lines.index("Settings other than the defaults") + 1] == "training.epochs = 9"
    assert lines[-1] == "03:05:00 It began."


def test_the_title_bar_shortens_the_folder_first() -> None:
    line = title_bar.title_line("/a/long/way/to/the/home", Text("14 runs"), 40).plain
    assert line == " llm-trainer  /a/long/way/to/…  14 runs"
