"""Which devices a run will want, foreseen without torch: NVML is a made-up one."""

from __future__ import annotations

import importlib.metadata

import pytest

from trainer.candidates import as_devices, visible, wanted, wanted_devices
from trainer.choosing import Device
from trainer.telemetry import GpuReading, Nvml

GIB = 1 << 30


def gpu(index: int, used: int = 0, name: str = "NVIDIA A30") -> GpuReading:
    return GpuReading(
        index=index,
        name=name,
        uuid=f"GPU-{index}{index}",
        memory_bytes=used,
        memory_total_bytes=24 * GIB,
    )


class Answering(Nvml):
    """NVML with these GPUs."""

    def __init__(self, *gpus: GpuReading) -> None:
        super().__init__(library=object())
        self._gpus = list(gpus)

    def read(self, timeout_seconds: float = 0.0) -> list[GpuReading]:
        return self._gpus

    def close(self, timeout_seconds: float = 0.0) -> None:
        """There is nothing to let go of."""


@pytest.fixture(autouse=True)
def torch_with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")


@pytest.mark.parametrize(
    ("preference", "devices", "words"),
    [
        ("cpu", ("cpu",), "cpu"),
        ("auto", ("GPU-11", "GPU-00"), "one of 2 GPUs"),
        ("cuda", ("GPU-11", "GPU-00"), "one of 2 GPUs"),
        ("cuda:0", ("GPU-00",), "cuda:0"),
        (" A30 ", ("GPU-11", "GPU-00"), "one of 2 GPUs"),
        ("H100", ("cpu",), "cpu"),
        ("cuda:7", ("cpu",), "cpu"),
    ],
)
def test_what_a_preference_means_on_a_machine_with_two_gpus(
    preference: str, devices: tuple[str, ...], words: str
) -> None:
    nvml = Answering(gpu(0, used=4 * GIB), gpu(1, used=1 * GIB))
    assert wanted_devices(preference, nvml) == (devices, words)


def test_without_a_gpu_every_preference_means_the_cpu() -> None:
    for preference in ("auto", "cuda", "A30", "cpu"):
        assert wanted_devices(preference, Answering()) == (("cpu",), "cpu")


def test_a_build_of_torch_without_cuda_never_wants_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert wanted_devices("auto", Answering(gpu(0))) == (("cpu",), "cpu")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("1, 7, 0", [1]),
        ("GPU-2", [2]),
        ("GPU-22,GPU-0", [2, 0]),
        ("GPU-", []),
        ("MIG-1", []),
    ],
)
def test_the_gpus_that_cuda_shows(listed: str | None, expected: list[int]) -> None:
    environment = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert [one.index for one in visible([gpu(0), gpu(1), gpu(2)], environment)] == expected


def test_gpus_are_counted_as_torch_counts_those_it_sees() -> None:
    devices = as_devices([gpu(2, used=4 * GIB), gpu(0)])
    assert devices[0] == Device("cuda:0", "NVIDIA A30", 24 * GIB, 20 * GIB, "GPU-22")
    assert wanted("cuda:0", devices) == (("GPU-22",), "cuda:0")


def test_a_gpu_that_does_not_tell_its_memory_is_taken_all_the_same() -> None:
    silent = GpuReading(index=0, name="NVIDIA A30")
    assert wanted("auto", as_devices([silent])) == (("cuda:0",), "cuda:0")
