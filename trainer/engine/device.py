"""Where to train and in which number format: what there is, what is chosen, and why.

``python -m trainer.engine.device --json`` prints one JSON document for viewers, which never
import torch themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import pynvml
import torch

from trainer.candidates import cpu_name
from trainer.choosing import Choice, Device, select
from trainer.errors import TrainerError
from trainer.telemetry import NVML_TIMEOUT_SECONDS, Question

PrecisionName = Literal["off", "bf16", "fp16"]

CLEARLY_FASTER = 1.3
"""How many times faster bf16 products must be before ``auto`` takes them on a CPU."""

_PROBE_SIZE = 512
_PROBE_ROUNDS = 5
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision(NamedTuple):
    """The number format of matrix products, and why."""

    name: PrecisionName
    reason: str


# ---------------------------------------------------------------------- devices


def list_devices() -> list[Device]:
    """Return the CPU, then every GPU that torch can use."""
    gpus = [_gpu(index) for index in range(torch.cuda.device_count())]
    return [Device("cpu", cpu_name(), _cpu_memory_bytes()), *gpus]


def choose(preference: str, strict: bool, meant: str | None = None) -> Choice:
    """Choose among the devices of this machine; see :func:`trainer.choosing.select`."""
    return select(preference, strict, list_devices(), meant=meant, note=_build_note())


def _build_note() -> str:
    return "" if torch.version.cuda else f" (torch {torch.__version__} is built without CUDA)"


def use(device: torch.device) -> None:
    """Make a GPU the one that is meant, and let it multiply fp32 in its tensor cores (TF32).

    That keeps 10 bits of a factor, as fp16 does, and is several times faster; sums stay fp32.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")


def uuid(device: torch.device) -> str | None:
    """Return the identity by which NVML knows a GPU, or None for the CPU."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def _gpu(index: int) -> Device:
    properties = torch.cuda.get_device_properties(index)
    memory = int(properties.total_memory)
    free = memory - _used_bytes(index) if torch.cuda.device_count() > 1 else None
    return Device(f"cuda:{index}", properties.name, memory, free, f"GPU-{properties.uuid}")


def _used_bytes(index: int) -> int:
    """Ask NVML, for torch itself would open a context on every GPU to find out.

    Where NVML fails or does not answer in time the GPUs are told apart by their size alone.
    """
    return Question(lambda: _used_bytes_by_nvml(index)).answer(NVML_TIMEOUT_SECONDS) or 0


def _used_bytes_by_nvml(index: int) -> int:
    try:
        return torch.cuda.device_memory_used(index)
    except (pynvml.NVMLError, RuntimeError):
        return 0


def _cpu_memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


# ---------------------------------------------------------------------- precision


def choose_precision(setting: str, device: torch.device) -> Precision:
    """Choose the number format of matrix products on a device.

    ``auto`` takes bf16 on a GPU that has it, else fp16. On a CPU it measures: the same product
    in bf16 is several times faster on some processors and several times slower on others.
    """
    if device.type == "cuda":
        return _precision_on_gpu(setting)
    if setting == "off":
        return Precision("off", "fp32 was asked for.")
    if setting == "bf16":
        return Precision("bf16", "bf16 was asked for.")
    measured = precision_by_speed(_seconds(torch.float32), _seconds(torch.bfloat16))
    if setting == "fp16":
        return Precision(measured.name, f"fp16 needs a GPU; {measured.reason}")
    return measured


def precision_by_speed(fp32_seconds: float, bf16_seconds: float) -> Precision:
    """Take bf16 when the same product is clearly faster in it."""
    gain = fp32_seconds / bf16_seconds
    if gain >= CLEARLY_FASTER:
        return Precision("bf16", f"products in bf16 are {gain:.1f} times as fast as in fp32 here.")
    if gain >= 1.0:
        return Precision("off", f"products in bf16 are only {gain:.1f} times as fast here.")
    return Precision("off", f"products in bf16 are {1 / gain:.1f} times as slow as in fp32 here.")


def _precision_on_gpu(setting: str) -> Precision:
    if setting == "off":
        return Precision("off", "fp32 was asked for.")
    if setting == "bf16":
        return Precision("bf16", "bf16 was asked for.")
    if setting == "fp16":
        return Precision("fp16", "fp16 was asked for.")
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision("bf16", "the GPU computes in bf16.")
    return Precision("fp16", "the GPU has no bf16.")


def _seconds(dtype: torch.dtype) -> float:
    """Time one product of two square matrices: the best of a few, for others share the CPU."""
    square = torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
    best = float("inf")
    for _ in range(_PROBE_ROUNDS):
        started = time.perf_counter()
        square @ square
        best = min(best, time.perf_counter() - started)
    return best


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Make the context in which matrix products run in the chosen format."""
    if precision == "off":
        return contextlib.nullcontext()
    return torch.autocast(device.type, _DTYPES[precision])


# ---------------------------------------------------------------------- told to viewers


def report(preference: str) -> dict[str, Any]:
    """Return all that ``llm-trainer devices`` shows, as plain values."""
    devices = list_devices()
    choice = select(preference, False, devices, note=_build_note())
    precision = choose_precision("auto", torch.device(choice.device))
    return {
        "devices": [asdict(device) for device in devices],
        "auto": asdict(choice),
        "precision": precision._asdict(),
        "torch": torch.__version__,
        "cuda_build": torch.version.cuda,
        "cpu": {"name": cpu_name(), "cores": os.cpu_count()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report and return the exit status."""
    parser = argparse.ArgumentParser(prog="trainer.engine.device", description=__doc__)
    parser.add_argument("--preference", default="auto")
    parser.add_argument("--json", action="store_true", help="one line instead of many")
    options = parser.parse_args(arguments)
    try:
        facts = report(options.preference)
    except TrainerError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(facts, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
