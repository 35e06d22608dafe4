"""How busy this machine is, read in a thread that nobody waits for."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from trainer.telemetry import GpuReading, HostReading, Nvml, read_host

INTERVAL_SECONDS = 2.0
FIRST_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True)
class MachineReading:
    """One look at every GPU, the processor and memory."""

    gpus: tuple[GpuReading, ...]
    host: HostReading


class MachineMeter:
    """Keeps the newest reading at hand."""

    def __init__(self) -> None:
        self.latest: MachineReading | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to read every two seconds."""
        threading.Thread(target=self._run, name="machine-meter", daemon=True).start()

    def stop(self) -> None:
        """End after the reading under way."""
        self._ended.set()

    def _run(self) -> None:
        nvml = Nvml()
        read_host()  # The first call only starts the interval over which load is measured.
        interval_seconds = FIRST_INTERVAL_SECONDS
        while not self._ended.wait(interval_seconds):
            self.latest = MachineReading(tuple(nvml.read()), read_host())
            interval_seconds = INTERVAL_SECONDS
        nvml.close()
