"""Which device and which precision are taken, on machines that are made up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from trainer.choosing import Device, match_name, select
from trainer.engine import device
from trainer.engine.device import Precision, precision_by_speed
from trainer.errors import DeviceError

CPU = Device("cpu", "Some CPU", 8 << 30)
A30 = Device("cuda:0", "NVIDIA A30", 24 << 30)
A300 = Device("cuda:1", "NVIDIA A300", 80 << 30)
RTX = Device("cuda:2", "NVIDIA GeForce RTX 4090", 24 << 30)
ALL = [CPU, A30, A300, RTX]


@pytest.mark.parametrize(
    ("preference", "devices", "expected"),
    [
        ("auto", [CPU], "cpu"),
        ("auto", [CPU, A30], "cuda:0"),
        ("auto", ALL, "cuda:1"),
        ("cuda", ALL, "cuda:1"),
        ("cuda:2", ALL, "cuda:2"),
        (" CUDA:0 ", ALL, "cuda:0"),
        ("cpu", ALL, "cpu"),
        ("A30", ALL, "cuda:0"),
        ("a30", ALL, "cuda:0"),
        ("rtx 4090", ALL, "cuda:2"),
        ("GeForce", ALL, "cuda:2"),
        ("4090", ALL, "cuda:2"),
        ("NVIDIA", ALL, "cuda:1"),
    ],
)
def test_the_device_that_is_taken(preference: str, devices: list[Device], expected: str) -> None:
    choice = select(preference, True, devices)
    assert (choice.device, choice.fell_back) == (expected, False)


@pytest.mark.parametrize("preference", ["cuda:7", "A10", "A3", "409", "H100", "(", "cuda:x"])
def test_a_wish_that_cannot_be_met_falls_back_to_the_cpu(preference: str) -> None:
    choice = select(preference, False, ALL)
    assert (choice.device, choice.name, choice.fell_back) == ("cpu", "Some CPU", True)
    assert choice.reason == (
        f"there is no GPU that fits '{preference}': training on the CPU instead."
    )


def test_only_a_gpu_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", done.append)
    device.use(torch.device("cpu"))
    assert done == []
    device.use(torch.device("cuda:1"))
    assert done == [torch.device("cuda:1"), "high"]


def test_a_strict_wish_is_refused_with_what_there_is() -> None:
    with pytest.raises(DeviceError) as refused:
        select("H100", True, [CPU, A30])
    assert refused.value.message == ("There is no GPU that fits 'H100', and device.strict is set.")
    assert refused.value.hint.startswith("There is: cpu (Some CPU), cuda:0 (NVIDIA A30).")


def test_without_any_gpu_strict_auto_still_means_the_cpu() -> None:
    assert select("auto", True, [CPU]).device == "cpu"


def test_of_several_gpus_the_one_with_the_most_free_memory_is_taken() -> None:
    busy = Device("cuda:0", "NVIDIA A30", 24 << 30, free_bytes=1 << 30)
    idle = Device("cuda:1", "NVIDIA A30", 24 << 30, free_bytes=20 << 30)
    choice = select("A30", False, [CPU, busy, idle])
    assert choice.device == "cuda:1"
    assert choice.reason == "of 2 GPUs that fit 'A30', it has the most free memory."


def test_a_number_in_a_name_is_never_cut() -> None:
    assert match_name("A30", [A300]) == []
    assert match_name("A30", [Device("cuda:0", "NVIDIA A30X", 1)]) != []
    assert match_name("A30", [Device("cuda:0", "NVIDIA A30X", 1), A30]) == [A30]


def test_the_gpus_of_torch_are_listed_after_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {0: 3 << 30, 1: 1 << 30}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: SimpleNamespace(name=f"GPU {index}", total_memory=8 << 30, uuid="12-34"),
    )
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda index: used[index])
    cpu, *gpus = device.list_devices()
    assert cpu.id == "cpu"
    assert gpus == [
        Device("cuda:0", "GPU 0", 8 << 30, 5 << 30, "GPU-12-34"),
        Device("cuda:1", "GPU 1", 8 << 30, 7 << 30, "GPU-12-34"),
    ]
    assert device.choose("auto", strict=False).device == "cuda:1"
    assert device.uuid(torch.device("cuda:1")) == "GPU-12-34"


def test_of_several_gpus_that_fit_the_one_is_taken_that_the_run_has_waited_for() -> None:
    gpus = [Device(f"cuda:{n}", "NVIDIA A30", (9 - n) << 30, uuid=f"GPU-{n}") for n in range(2)]
    choice = select("auto", False, [CPU, *gpus], meant="GPU-1")
    assert (choice.device, choice.key) == ("cuda:1", "GPU-1")
    assert choice.reason == "of 2 GPUs that fit 'auto', it was free."
    # A device that does not meet the wish is not taken, whatever was expected.
    assert select("cuda:0", False, [CPU, *gpus], meant="cpu").key == "GPU-0"


def test_a_gpu_whose_memory_cannot_be_asked_is_still_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(index: int) -> int:
        raise RuntimeError("no NVML")

    properties = SimpleNamespace(name="GPU", total_memory=8 << 30, uuid="1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "device_memory_used", fail)
    assert [gpu.free_bytes for gpu in device.list_devices()[1:]] == [8 << 30, 8 << 30]


def test_the_cpu_has_no_uuid() -> None:
    assert device.uuid(torch.device("cpu")) is None


# ---------------------------------------------------------------------- precision


def test_bf16_is_taken_on_a_cpu_only_where_it_is_clearly_faster() -> None:
    assert precision_by_speed(2.0, 1.0) == Precision(
        "bf16", "products in bf16 are 2.0 times as fast as in fp32 here."
    )
    assert precision_by_speed(1.2, 1.0).name == "off"
    assert precision_by_speed(1.0, 5.0) == Precision(
        "off", "products in bf16 are 5.0 times as slow as in fp32 here."
    )


@pytest.mark.parametrize(
    ("setting", "kind", "has_bf16", "expected"),
    [
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp16"),
        ("fp16", "cuda", True, "fp16"),
        ("bf16", "cuda", True, "bf16"),
        ("off", "cuda", True, "off"),
        ("off", "cpu", True, "off"),
        ("bf16", "cpu", True, "bf16"),
    ],
)
def test_the_precision_that_is_taken(
    setting: str, kind: str, has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    assert device.choose_precision(setting, torch.device(kind)).name == expected


def test_fp16_on_a_cpu_is_replaced_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: 4.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(device, "_seconds", lambda dtype: seconds[dtype])
    cpu = torch.device("cpu")
    assert device.choose_precision("auto", cpu).name == "bf16"
    name, reason = device.choose_precision("fp16", cpu)
    assert name == "bf16"
    assert reason.startswith("fp16 needs a GPU; products in bf16 are 4.0 times")


def test_autocast_sets_the_type_of_products() -> None:
    square = torch.ones(2, 2)
    cpu = torch.device("cpu")
    with device.autocast(cpu, "off"):
        assert (square @ square).dtype == torch.float32
    with device.autocast(cpu, "bf16"):
        assert (square @ square).dtype == torch.bfloat16


# ---------------------------------------------------------------------- the report


def test_the_report_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert device.main(["--json", "--preference", "cpu"]) == 0
    output = capsys.readouterr().out
    facts = json.loads(output)
    assert output.count("\n") == 1
    assert facts["devices"][0]["id"] == "cpu"
    assert facts["auto"]["device"] == "cpu"
    assert facts["auto"]["fell_back"] is False
    assert facts["precision"]["name"] in ("off", "bf16")
    assert facts["torch"] == torch.__version__
    assert facts["cpu"]["cores"] >= 1
