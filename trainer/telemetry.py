"""Readings of the GPU (through NVML), the processor and memory.

Every reading may be absent: without an NVIDIA GPU, without a driver, or when NVML fails midway
(a reset, a driver update) or does not answer, the value is None and nobody waits for it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Generic, TypeVar

import msgspec
import psutil

T = TypeVar("T")

NVML_TIMEOUT_SECONDS = 2.0
"""How long a reading is waited for; the host's own are told without it then."""


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one GPU says of itself; utilisation in percent, memory in bytes, power in watts."""

    index: int
    name: str
    uuid: str | None = None
    utilization: float | None = None
    memory_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None


class Question(Generic[T]):
    """A call that may never return, made in a thread that may be left behind."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._answer: T | None = None
        self._call = call
        self._thread = threading.Thread(target=self._ask, name="nvml", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        self._answer = self._call()

    @property
    def is_open(self) -> bool:
        """Whether it has not returned yet."""
        return self._thread.is_alive()

    def answer(self, timeout_seconds: float) -> T | None:
        """Return what the call returned, or None when it has not by then."""
        self._thread.join(timeout_seconds)
        return None if self.is_open else self._answer


class Nvml:
    """A connection to NVIDIA's management library that never raises and never hangs.

    Questions are put in a thread that may be left behind: in a broken driver they can take for
    ever. After an error it lets go and connects anew at the next reading.
    """

    def __init__(self, library: Any = None) -> None:
        self._library: Any = library if library is not None else _import_pynvml()
        self._connected = False
        self._question: Question[list[GpuReading]] | None = None

    def read(self, timeout_seconds: float = NVML_TIMEOUT_SECONDS) -> list[GpuReading]:
        """Read every GPU; an empty list when there is none or NVML does not answer in time.

        While an earlier question is still without an answer no other is put, and nobody waits.
        """
        if self._library is None or self._is_asking():
            return []
        self._question = Question(self._read_all)
        return self._question.answer(timeout_seconds) or []

    def close(self, timeout_seconds: float = NVML_TIMEOUT_SECONDS) -> None:
        """Let go of the library; the next reading connects again."""
        if self._library is not None and not self._is_asking():
            Question(self._disconnect).answer(timeout_seconds)

    def _is_asking(self) -> bool:
        return self._question is not None and self._question.is_open

    def _read_all(self) -> list[GpuReading]:
        try:
            self._connect()
            count = self._library.nvmlDeviceGetCount()
            return [self._read_one(index) for index in range(count)]
        except self._library.NVMLError:
            self._disconnect()
            return []

    def _connect(self) -> None:
        if not self._connected:
            self._library.nvmlInit()
            self._connected = True

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            with contextlib.suppress(self._library.NVMLError):
                self._library.nvmlShutdown()

    def _read_one(self, index: int) -> GpuReading:
        nvml = self._library
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        return GpuReading(
            index=index,
            name=_text(self._ask(nvml.nvmlDeviceGetName, handle)) or f"GPU {index}",
            uuid=_text(self._ask(nvml.nvmlDeviceGetUUID, handle)),
            utilization=None if rates is None else float(rates.gpu),
            memory_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            temperature_c=self._ask(
                nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
            ),
            power_w=None if milliwatts is None else milliwatts / 1000,
        )

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Ask one thing; a card that does not support it answers None."""
        try:
            return question(*arguments)
        except self._library.NVMLError_NotSupported:
            return None


def _import_pynvml() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    module: ModuleType = pynvml
    return module


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class HostReading(msgspec.Struct, frozen=True, kw_only=True):
    """How busy the machine is: processor in percent of all cores, memory in bytes."""

    cpu_percent: float | None
    ram_bytes: int
    ram_total_bytes: int


def read_host() -> HostReading:
    """Read processor load since the last call, and memory in use."""
    memory = psutil.virtual_memory()
    return HostReading(
        cpu_percent=psutil.cpu_percent(interval=None),
        ram_bytes=memory.total - memory.available,
        ram_total_bytes=memory.total,
    )


class Sampler:
    """Reads the run's GPU, the processor and memory every few seconds in a thread of its own.

    The thread is a daemon and nobody waits for it.
    """

    def __init__(
        self,
        deliver: Callable[[dict[str, Any]], None],
        *,
        gpu_uuid: str | None = None,
        interval_seconds: float = 2.0,
        nvml: Nvml | None = None,
    ) -> None:
        self._deliver = deliver
        self._gpu_uuid = gpu_uuid
        self._interval_seconds = interval_seconds
        self._nvml = nvml
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin; the first reading comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the reading under way."""
        self._ended.set()

    def _run(self) -> None:
        nvml = self._nvml or Nvml()
        process = psutil.Process(os.getpid())
        psutil.cpu_percent(interval=None)  # The first call only starts the measuring interval.
        while not self._ended.wait(self._interval_seconds):
            self._deliver(reading_row(nvml, process, self._gpu_uuid))
        nvml.close()


def reading_row(nvml: Nvml, process: psutil.Process, gpu_uuid: str | None) -> dict[str, Any]:
    """Make one row of the ``system`` table; GPU values are None for a run without a GPU."""
    host = read_host()
    gpu = next((g for g in nvml.read() if same_gpu(g.uuid, gpu_uuid)), None) if gpu_uuid else None
    return {
        "gpu_utilization": gpu and gpu.utilization,
        "gpu_memory_bytes": gpu and gpu.memory_bytes,
        "gpu_memory_total_bytes": gpu and gpu.memory_total_bytes,
        "gpu_temperature_c": gpu and gpu.temperature_c,
        "gpu_power_w": gpu and gpu.power_w,
        "cpu_percent": host.cpu_percent,
        "ram_bytes": host.ram_bytes,
        "process_ram_bytes": _tree_memory(process),
    }


def same_gpu(nvml_uuid: str | None, torch_uuid: str | None) -> bool:
    """Compare UUIDs: NVML writes ``GPU-…`` before what torch reports."""
    if nvml_uuid is None or torch_uuid is None:
        return False
    return nvml_uuid.removeprefix("GPU-").lower() == torch_uuid.removeprefix("GPU-").lower()


def _tree_memory(process: psutil.Process) -> int:
    return sum(_resident(member) for member in _family(process))


def _family(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    with contextlib.suppress(psutil.Error):
        yield from process.children(recursive=True)


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
