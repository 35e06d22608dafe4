"""What can be trained on here, asked of a short-lived process: a viewer never imports torch."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from trainer.children import environment, module_command
from trainer.config import DeviceSettings
from trainer.errors import DeviceError, TrainerError

PROBE_TIMEOUT_SECONDS = 120


def probe(preference: str = "auto") -> dict[str, Any]:
    """Ask torch for the devices and for the one that a preference would take.

    Returns:
        ``{"devices": [...], "auto": {"device", "name", "reason"}, ...}`` as
        ``python -m trainer.engine.device --json`` prints it.

    Raises:
        TrainerError: the process failed; its last line is in the message.
    """
    command = module_command("trainer.engine.device", "--json", "--preference", preference)
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_SECONDS,
            env=environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TrainerError(
            f"Asking torch for its devices took more than {PROBE_TIMEOUT_SECONDS} s.",
            "Try again; if it stays so, check the GPU driver with nvidia-smi.",
        ) from error
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise TrainerError(
            f"Asking torch for its devices failed: {last}",
            "Check that torch is installed: python -c 'import torch'.",
        )
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def require_strict_device(settings: DeviceSettings) -> None:
    """Refuse before a run is made when a strict preference cannot be met.

    Raises:
        DeviceError: naming what was asked for and what there is.
    """
    if not settings.strict or settings.preference == "cpu":
        return
    answer = probe(settings.preference)
    if answer["auto"].get("fell_back"):
        there = ", ".join(f"{d['id']} ({d['name']})" for d in answer["devices"])
        raise DeviceError(
            f"The device '{settings.preference}' is not here, and device.strict is set.",
            f"There is: {there}. Choose one of these, or leave out the strict setting.",
        )
