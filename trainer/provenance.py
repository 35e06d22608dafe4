"""``llm-trainer.json``: what an exported folder tells of the run that made it.

Other programs do not look at it. An import takes from it the text, the settings and the figures,
the last only while the weights are the very ones they were measured on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from trainer import formats
from trainer.config import SETTINGS, DataSettings
from trainer.datafiles import DatasetNameError
from trainer.datasource import identify

NAME = "llm-trainer.json"
FORMAT = 1


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What is told; ``config`` is by ``section.key``, and lacks the path of a text of one's own.

    That path is found again where the workspace has the run of that ``run_id``.
    """

    format: int = FORMAT
    weights_sha256: str
    run_id: str = ""
    config: dict[str, Any]
    corpus_key: str = ""
    corpus_label: str = ""
    step: int = 0
    tokens: int = 0
    val_loss: float | None = None
    val_word_perplexity: float | None = None
    evaluated_step: int | None = None

    @property
    def evaluated_last(self) -> bool:
        """Whether the figures are of these weights, not of an earlier step."""
        return self.val_loss is not None and self.evaluated_step == self.step

    @property
    def words(self) -> str:
        """Write ``trained before for 3,900 steps on WikiText-2 (raw)``."""
        text = f" on {self.corpus_label}" if self.corpus_label else ""
        return f"trained before for {formats.plural(self.step, 'step')}{text}"


def provenance_of(payload: Mapping[str, Any], weights_sha256: str, run_id: str) -> Provenance:
    """Return what the folder of a checkpoint tells."""
    return Provenance(
        run_id=run_id,
        weights_sha256=weights_sha256,
        config=_portable(payload.get("config", {})),
        corpus_key=payload.get("corpus_key", ""),
        corpus_label=payload.get("corpus_label") or "",
        step=payload["step"],
        tokens=payload.get("standing", {}).get("tokens", 0),
        val_loss=payload.get("val_loss"),
        val_word_perplexity=payload.get("val_word_perplexity"),
        evaluated_step=payload.get("evaluated_step"),
    )


def _portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where a text of one's own lies: that says more of a computer than of a model."""
    name = config.get("data.dataset_name")
    try:
        own = name is None or identify(DataSettings(dataset_name=name)).kind == "path"
    except DatasetNameError:
        own = True
    hidden = ("data.dataset_name", "data.dataset_config") if own else ()
    return {key: value for key, value in config.items() if key in SETTINGS and key not in hidden}


def encoded(provenance: Provenance) -> bytes:
    """Return the content of the file."""
    return (json.dumps(msgspec.to_builtins(provenance), indent=2) + "\n").encode()


def read_provenance(folder: Path) -> tuple[Provenance | None, list[str]]:
    """Return what a folder tells, or None; and what people should know where it cannot be read."""
    try:
        told = msgspec.json.decode((folder / NAME).read_bytes(), type=Provenance)
    except FileNotFoundError:
        return None, []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, [f"{NAME} cannot be read, so nothing is known of its training: {error}."]
    if told.format > FORMAT:
        return None, [f"{NAME} was written by a newer llm-trainer and was left out of account."]
    return told, []
