"""How long a run would take and how much memory, asked of a process of its own.

A viewer never imports torch, so :mod:`trainer.engine.estimate` does the work.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from trainer import config as configuration
from trainer.children import environment, module_command
from trainer.config import Config
from trainer.errors import TrainerError
from trainer.inference.client import error_from
from trainer.launch import settle

ESTIMATE_MODULE = "trainer.engine.estimate"

Estimate = dict[str, Any]
"""The document of ``train --dry-run --json``."""


def estimate(config: Config, data_dir: Path, tell: Callable[[str], None]) -> Estimate:
    """Try out the run that a configuration would make, without making one.

    Token files that are not there yet are made and kept, since the run needs them anyway.

    Args:
        data_dir: the workspace's ``data`` folder.
        tell: is told of each phase, in words.

    Returns:
        Among others ``parameters``, ``tokens``, ``steps``, ``estimated_seconds`` and
        ``estimated_memory_bytes``; see :func:`trainer.engine.estimate.estimate`.

    Raises:
        TrainerError: of the class with which the run would fail.
    """
    config, choice = settle(config)
    if choice.reason:
        tell(choice.reason)
    with tempfile.TemporaryDirectory(prefix="llm-trainer-") as scratch:
        folder = Path(scratch)
        (folder / "config.toml").write_text(configuration.to_toml(config), "utf-8")
        command = module_command(
            ESTIMATE_MODULE, "--folder", scratch, "--data", str(data_dir.absolute())
        )
        answer = _ask(command, tell)
        if "tokenized" in answer:
            answer = _ask(command, tell)
    found: Estimate = answer["estimate"]
    return found


def _ask(command: Sequence[str], tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the process and return its last document.

    Raises:
        TrainerError: the process told of an error, or ended without an answer.
    """
    answer: dict[str, Any] = {}
    with tempfile.TemporaryFile() as stderr:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, env=environment(), text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                answer = json.loads(line)
                if "phase" in answer:
                    tell(f"{answer['phase']} …")
        if "error" in answer:
            raise error_from(answer["error"])
        if "estimate" not in answer and "tokenized" not in answer:
            raise TrainerError(
                f"Trying out the run failed: {_last_line(stderr)}",
                "Check that torch is installed: python -c 'import torch'.",
            )
    return answer


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no message"
