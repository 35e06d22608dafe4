"""On which devices a run could train, told before it starts and without torch.

The queue has to know what a run will want. For the CPU that is certain. GPUs are asked of NVML,
with a time limit, and narrowed down as CUDA does. Where NVML does not answer, or torch then sees
the machine otherwise, the engine has the last word and the run moves its place in the queue.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.choosing import Device, fitting
from trainer.telemetry import GpuReading, Nvml

CPU = Device("cpu", "CPU", None)


class Wanted(NamedTuple):
    """The devices of which any will do, by key and best first, and the same for people."""

    devices: tuple[str, ...]
    words: str


def wanted_devices(preference: str, nvml: Nvml | None = None) -> Wanted:
    """Return the devices of this machine that a run with this preference may train on."""
    if preference.strip().lower() == "cpu":
        return wanted(preference, [])
    return wanted(preference, gpus_here(nvml))


def gpus_here(nvml: Nvml | None = None) -> list[Device]:
    """Return the GPUs of this machine that a run may use."""
    if not _torch_may_use_gpus():
        return []
    asked = nvml or Nvml()
    readings = asked.read()
    asked.close()
    return as_devices(visible(readings, os.environ))


@functools.cache
def cpu_name() -> str:
    """Return the processor's name as its maker writes it."""
    try:
        facts = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        facts = ""
    found = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine() or "CPU"


def wanted(preference: str, gpus: Sequence[Device]) -> Wanted:
    """Return the devices that a preference may mean; the CPU where it cannot be met."""
    found = fitting(preference, [CPU, *gpus]) or [CPU]
    words = found[0].id if len(found) == 1 else f"one of {len(found)} GPUs"
    return Wanted(tuple(device.key for device in found), words)


def _torch_may_use_gpus() -> bool:
    """A build of torch without CUDA says so in its version."""
    try:
        return not importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


def as_devices(gpus: Sequence[GpuReading]) -> list[Device]:
    """Return GPUs as devices, counted as torch counts those that it can see."""
    return [
        Device(f"cuda:{number}", gpu.name, gpu.memory_total_bytes, _free_bytes(gpu), gpu.uuid)
        for number, gpu in enumerate(gpus)
    ]


def _free_bytes(gpu: GpuReading) -> int | None:
    if gpu.memory_total_bytes is None or gpu.memory_bytes is None:
        return None
    return gpu.memory_total_bytes - gpu.memory_bytes


def visible(gpus: Sequence[GpuReading], environment: Mapping[str, str]) -> list[GpuReading]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    As CUDA does, this stops at the first entry that names no GPU. Entries are numbers, here taken
    to count as NVML does, or beginnings of UUIDs.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return list(gpus)
    found: list[GpuReading] = []
    for entry in listed.split(","):
        gpu = _named(entry.strip(), gpus)
        if gpu is None:
            break
        found.append(gpu)
    return found


def _named(entry: str, gpus: Sequence[GpuReading]) -> GpuReading | None:
    if entry.isascii() and entry.isdecimal():
        return next((gpu for gpu in gpus if gpu.index == int(entry)), None)
    matching = [gpu for gpu in gpus if entry and (gpu.uuid or "").startswith(entry)]
    return matching[0] if len(matching) == 1 else None
