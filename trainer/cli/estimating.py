"""What ``train --dry-run`` has found out, in words. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer import formats
from trainer.cli.output import aligned

if TYPE_CHECKING:
    from trainer.foresight.estimates import Estimate


def estimate_lines(found: Estimate, width: int) -> list[str]:
    """Return an estimate as labelled lines, the whole before its parts."""
    steps, per_epoch = found["steps"], found["steps_per_epoch"]
    return [
        "No run was made. It would take about:",
        *aligned(
            [
                ("time", _time(found)),
                ("memory", f"{formats.size(found['estimated_memory_bytes'])} {_where(found)}"),
                ("model", f"{formats.count(found['parameters'])} parameters"),
                ("tokens", f"{formats.count(found['tokens'])} to train on, of {found['dataset']}"),
                ("steps", f"{steps:,} ({per_epoch:,} an epoch, {steps / per_epoch:.2f} epochs)"),
                ("speed", _speed(found)),
                ("device", f"{found['device']} ({found['device_name']})"),
            ],
            width,
        ),
        *found["warnings"],
        *found["notices"],
    ]


def _time(found: Estimate) -> str:
    """Write the whole time, and what it consists of."""
    parts, evaluations = found["seconds"], found["evaluations"]
    each = parts["evaluation"] + parts["samples_and_checkpoint"]
    pairs = [
        ("starting", parts["starting"]),
        ("compiling", parts["compiling"] if found["compile"] else 0.0),
        ("steps", parts["step"] * found["steps"]),
        ("evaluation" if evaluations == 1 else f"{evaluations} evaluations", each * evaluations),
    ]
    told = ", ".join(f"{name} {formats.duration(seconds)}" for name, seconds in pairs if seconds)
    return f"{formats.duration(found['estimated_seconds'])} ({told})"


def _where(found: dict[str, Any]) -> str:
    return "of the GPU" if found["device"] != "cpu" else "for the training process"


def _speed(found: dict[str, Any]) -> str:
    how = "compiled" if found["compile"] else "not compiled"
    return f"{formats.speed(found['tokens_per_second'])}, precision {found['precision']}, {how}"
