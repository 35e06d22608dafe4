"""Which device a wish means among those there are: pure functions, and no torch.

The engine chooses with them among what torch can use, and the queue among what NVML reports.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.errors import DeviceError


@dataclass(frozen=True)
class Device:
    """One place to train: ``cpu`` or a GPU; memory in bytes, ``uuid`` as NVML writes it."""

    id: str
    name: str
    memory_bytes: int | None
    free_bytes: int | None = None
    uuid: str | None = None

    @property
    def key(self) -> str:
        """What names the device for good: torch and NVML may count GPUs differently."""
        return self.uuid or self.id


@dataclass(frozen=True)
class Choice:
    """The device taken, and why; ``fell_back`` when it is not the one asked for."""

    device: str
    name: str
    reason: str
    fell_back: bool = False
    key: str = "cpu"


def select(
    preference: str,
    strict: bool,
    devices: Sequence[Device],
    *,
    meant: str | None = None,
    note: str = "",
) -> Choice:
    """Choose a device: a pure function of what is wished and what there is.

    Args:
        preference: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, or a part of a GPU's name.
        strict: refuse, instead of falling back to the CPU, when the wish cannot be met.
        devices: the CPU, and the GPUs that can be used.
        meant: the key of the one to take when it is among several that fit.
        note: what may explain that there is no GPU at all.

    Raises:
        DeviceError: strict, and there is no such device; names those there are.
    """
    found = fitting(preference, devices)
    if not found:
        return _fall_back(preference, strict, devices, note)
    best = next((device for device in found if device.key == meant), found[0])
    reason = _why(preference, best, found, devices, note)
    return Choice(best.id, best.name, reason, key=best.key)


def fitting(preference: str, devices: Sequence[Device]) -> list[Device]:
    """Return the devices that meet a wish, the one with the most free memory first.

    ``auto`` means the CPU where there is no GPU; another wish that cannot be met finds none.
    """
    wish = preference.strip().lower()
    gpus = [device for device in devices if device.id != "cpu"]
    if wish == "cpu" or (wish == "auto" and not gpus):
        return [_cpu(devices)]
    return sorted(_matching(wish, gpus), key=_free_bytes, reverse=True)


def _cpu(devices: Sequence[Device]) -> Device:
    return next(device for device in devices if device.id == "cpu")


def _matching(wish: str, gpus: Sequence[Device]) -> list[Device]:
    if wish in ("auto", "cuda"):
        return list(gpus)
    if re.fullmatch(r"cuda:\d+", wish):
        return [gpu for gpu in gpus if gpu.id == f"cuda:{int(wish[5:])}"]
    return match_name(wish, gpus)


def match_name(hint: str, gpus: Sequence[Device]) -> list[Device]:
    """Return the GPUs whose name holds the hint as whole words, else anywhere in it.

    A number is never cut: A30 is found in "NVIDIA A30" and in "NVIDIA A30X", not in "A300".
    """
    text = re.escape(hint)
    for pattern in (rf"(?<!\w){text}(?!\w)", rf"(?<!\d){text}(?!\d)"):
        found = [gpu for gpu in gpus if re.search(pattern, gpu.name, re.IGNORECASE)]
        if found:
            return found
    return []


def _free_bytes(device: Device) -> int:
    return device.free_bytes if device.free_bytes is not None else device.memory_bytes or 0


def _why(
    wish: str, best: Device, found: Sequence[Device], devices: Sequence[Device], note: str
) -> str:
    if best.id == "cpu":
        asked = wish.strip().lower() == "cpu"
        return "the CPU was asked for." if asked else f"there is no GPU that torch can use{note}."
    if len(devices) == 2:
        return "it is the only GPU."
    if len(found) == 1:
        return f"it is the GPU that '{wish}' asks for."
    merit = "has the most free memory" if best is found[0] else "was free"
    return f"of {len(found)} GPUs that fit '{wish}', it {merit}."


def _fall_back(wish: str, strict: bool, devices: Sequence[Device], note: str) -> Choice:
    missing = f"there is no GPU that fits '{wish}'{note if len(devices) == 1 else ''}"
    if strict:
        there = ", ".join(f"{device.id} ({device.name})" for device in devices)
        raise DeviceError(
            f"{missing[0].upper()}{missing[1:]}, and device.strict is set.",
            f"There is: {there}. Choose one of these, or leave out the strict setting.",
        )
    cpu = _cpu(devices)
    return Choice(cpu.id, cpu.name, f"{missing}: training on the CPU instead.", fell_back=True)
