"""Readings, with a fake at the edge of NVML: present, unsupported, failing midway, absent."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from trainer.telemetry import Nvml, Sampler, read_host, reading_row, same_gpu

PATIENCE_SECONDS = 20.0


class FakeNvml:
    """One A30, as nvidia-ml-py would show it."""

    class NVMLError(Exception):
        pass

    class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818 - the library's own name
        pass

    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        self.failing = False
        self.without_power = False
        self.hanging: threading.Event | None = None
        self.asked = 0
        self.started = 0
        self.stopped = 0

    def _check(self) -> None:
        if self.failing:
            raise self.NVMLError("GPU is lost")

    def nvmlInit(self) -> None:  # noqa: N802
        self._check()
        self.started += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.stopped += 1
        self._check()

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._check()
        self.asked += 1
        if self.hanging is not None:
            self.hanging.wait(PATIENCE_SECONDS)
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802
        return b"NVIDIA A30"

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return "GPU-1234"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=1024, total=4096)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=87)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        if self.without_power:
            raise self.NVMLError_NotSupported
        return 165_500

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return 61


@pytest.fixture
def library() -> FakeNvml:
    return FakeNvml()


def test_a_gpu_is_read(library: FakeNvml) -> None:
    (gpu,) = Nvml(library).read()
    assert (gpu.name, gpu.utilization, gpu.temperature_c) == ("NVIDIA A30", 87.0, 61)
    assert (gpu.memory_bytes, gpu.memory_total_bytes, gpu.power_w) == (1024, 4096, 165.5)


def test_what_a_card_does_not_support_is_absent(library: FakeNvml) -> None:
    library.without_power = True
    (gpu,) = Nvml(library).read()
    assert gpu.power_w is None
    assert gpu.utilization == 87.0


def test_a_library_that_fails_midway_reads_as_absent_and_comes_back(library: FakeNvml) -> None:
    nvml = Nvml(library)
    assert len(nvml.read()) == 1
    library.failing = True
    assert nvml.read() == []
    library.failing = False
    assert len(nvml.read()) == 1
    assert library.started == 2


def test_a_library_that_hangs_is_waited_for_once_and_comes_back(library: FakeNvml) -> None:
    nvml = Nvml(library)
    library.hanging = threading.Event()
    asked_at = time.monotonic()
    assert nvml.read(timeout_seconds=0.05) == []
    for _ in range(20):  # While that question is open, no other is put.
        assert nvml.read(timeout_seconds=PATIENCE_SECONDS) == []
    nvml.close(timeout_seconds=PATIENCE_SECONDS)
    assert time.monotonic() - asked_at < PATIENCE_SECONDS
    assert library.asked == 1
    library.hanging.set()
    while not nvml.read():
        assert time.monotonic() - asked_at < PATIENCE_SECONDS


def test_the_host_is_read_while_the_library_hangs(
    library: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.telemetry.NVML_TIMEOUT_SECONDS", 0.05)
    library.hanging = threading.Event()
    nvml = Nvml(library)
    nvml.read(0.05)
    row = reading_row(nvml, psutil.Process(), "1234")
    library.hanging.set()
    assert row["gpu_utilization"] is None
    assert row["ram_bytes"] > 0


def test_a_machine_without_a_driver_reads_as_absent(library: FakeNvml) -> None:
    library.failing = True
    assert Nvml(library).read() == []


def test_a_row_of_a_run_on_a_gpu(library: FakeNvml) -> None:
    row = reading_row(Nvml(library), psutil.Process(), "1234")
    assert row["gpu_utilization"] == 87.0
    assert row["process_ram_bytes"] > 0


def test_a_row_of_a_run_on_the_cpu_has_no_gpu_values(library: FakeNvml) -> None:
    row = reading_row(Nvml(library), psutil.Process(), None)
    assert all(row[name] is None for name in row if name.startswith("gpu_"))
    assert row["ram_bytes"] > 0


@pytest.mark.parametrize(
    ("nvml_uuid", "torch_uuid", "same"),
    [
        ("GPU-ab-12", "ab-12", True),
        ("GPU-AB", "ab", True),
        ("GPU-ab", "cd", False),
        (None, "ab", False),
    ],
)
def test_uuids_are_compared_without_their_prefix(
    nvml_uuid: str | None, torch_uuid: str | None, same: bool
) -> None:
    assert same_gpu(nvml_uuid, torch_uuid) is same


def test_the_host_is_read() -> None:
    host = read_host()
    assert 0 < host.ram_bytes <= host.ram_total_bytes
    assert psutil.pid_exists(os.getpid())


def test_the_sampler_delivers_rows_until_it_is_stopped() -> None:
    rows: list[dict[str, Any]] = []
    sampler = Sampler(rows.append, interval_seconds=0.01, nvml=Nvml(FakeNvml()))

    def deliver(row: dict[str, Any]) -> None:
        rows.append(row)
        sampler.stop()

    sampler._deliver = deliver
    sampler.start()
    sampler._thread.join(10)
    assert len(rows) == 1
    assert rows[0]["gpu_utilization"] is None
