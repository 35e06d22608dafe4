"""How busy the machine is: the GPU, the processor and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from trainer import formats
from trainer.telemetry import GpuReading, HostReading
from trainer.tui import wording
from trainer.tui.live_text import LiveText
from trainer.tui.machine import MachineReading

BAR_CELLS = 8
_LABEL_CELLS = 14


class ReadingsPane(LiveText):
    """Readings on one line, or with bars where there is room."""

    def __init__(self, *, id: str, listed: bool) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._listed = listed

    def show(self, machine: MachineReading | None, row: Mapping[str, Any] | None) -> None:
        """Show this machine, and what the run's own last reading adds to it."""
        gpus = shown_gpus(machine, row)
        host = machine.host if machine else None
        own = row["process_ram_bytes"] if row else None
        self.say(listed(gpus, host, own) if self._listed else one_line(gpus, host, own))


def shown_gpus(
    machine: MachineReading | None, row: Mapping[str, Any] | None
) -> tuple[GpuReading, ...]:
    """Return the GPU of the run as the run itself reads it, or else all of this machine."""
    if row is None or (row["gpu_memory_bytes"] is None and row["gpu_utilization"] is None):
        return machine.gpus if machine else ()
    reading = GpuReading(
        index=0,
        name="of this run",
        utilization=row["gpu_utilization"],
        memory_bytes=row["gpu_memory_bytes"],
        memory_total_bytes=row["gpu_memory_total_bytes"],
        temperature_c=row["gpu_temperature_c"],
        power_w=row["gpu_power_w"],
    )
    return (reading,)


def one_line(gpus: tuple[GpuReading, ...], host: HostReading | None, own_bytes: int | None) -> Text:
    """Write ``GPU n/a · CPU 48 % · RAM 5.2 of 15.6 GiB · run 1.2 GiB``."""
    parts = [_gpu_words(gpu) for gpu in gpus[:2]] or ["GPU n/a"]
    parts.append(f"CPU {_percent(host.cpu_percent if host else None)}")
    parts.append(f"RAM {_ram(host)}")
    if own_bytes is not None:
        parts.append(f"run {formats.size(own_bytes)}")
    return Text(" " + " · ".join(parts), no_wrap=True, overflow="ellipsis")


def _gpu_words(gpu: GpuReading) -> str:
    return (
        f"GPU {_percent(gpu.utilization)} {_of(gpu.memory_bytes, gpu.memory_total_bytes)} "
        f"{_celsius(gpu)} {_watts(gpu)}"
    )


def listed(gpus: tuple[GpuReading, ...], host: HostReading | None, own_bytes: int | None) -> Text:
    """Write one reading on each line, with bars for shares."""
    lines = [line for gpu in gpus for line in _gpu_lines(gpu)]
    lines = lines or [_label("GPU").append("n/a")]
    lines.append(_bar_line("CPU", host.cpu_percent if host else None))
    used = formats.percent(host.ram_bytes, host.ram_total_bytes) if host else None
    lines.append(_bar_line("RAM", used, _ram(host)))
    if own_bytes is not None:
        lines.append(_label("this run").append(formats.size(own_bytes)))
    return Text("\n").join(lines)


def _gpu_lines(gpu: GpuReading) -> list[Text]:
    memory = formats.percent(gpu.memory_bytes, gpu.memory_total_bytes)
    return [
        _label("GPU").append(gpu.name),
        _bar_line("  use", gpu.utilization),
        _bar_line("  memory", memory, _of(gpu.memory_bytes, gpu.memory_total_bytes)),
        _label("  heat, power").append(f"{_celsius(gpu)}, {_watts(gpu)}"),
    ]


def _label(name: str) -> Text:
    return Text.assemble((name.ljust(_LABEL_CELLS), "dim"), no_wrap=True, overflow="ellipsis")


def _bar_line(name: str, percent: float | None, words: str | None = None) -> Text:
    line = Text.assemble((name.ljust(_LABEL_CELLS), "dim"), no_wrap=True, overflow="ellipsis")
    if percent is not None:
        done, open_ = wording.bar(percent, BAR_CELLS)
        line.append(done, "cyan").append(open_, "dim").append(" ")
    return line.append(words or _percent(percent))


def _percent(percent: float | None) -> str:
    return "n/a" if percent is None else f"{percent:.0f} %"


def _of(used: int | None, total: int | None) -> str:
    if used is None:
        return "n/a"
    return formats.size(used) if total is None else share_words(used, total)


def share_words(used: int, total: int) -> str:
    """Write ``5.2 of 15.6 GiB``, naming the unit once where both have the same."""
    amount, unit = formats.size(used).split(" ")
    whole = formats.size(total)
    return f"{amount} of {whole}" if whole.endswith(f" {unit}") else f"{amount} {unit} of {whole}"


def _ram(host: HostReading | None) -> str:
    return "n/a" if host is None else _of(host.ram_bytes, host.ram_total_bytes)


def _celsius(gpu: GpuReading) -> str:
    return "n/a" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C"


def _watts(gpu: GpuReading) -> str:
    return "n/a" if gpu.power_w is None else f"{gpu.power_w:.0f} W"
