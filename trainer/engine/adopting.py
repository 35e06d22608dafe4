"""A model from outside as the first checkpoint of a run that goes on from it.

The checkpoint is that of a run at step 0 which has its weights already: nothing is known of its
optimizer, so a resume begins with fresh momenta and the whole learning-rate plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer import config as configuration
from trainer.config import SECRETS, SETTINGS, Config, Layer, model_shape
from trainer.datasource import UNKNOWN_TEXT
from trainer.engine import checkpoint, qwen3_reading
from trainer.engine.progress import Report
from trainer.engine.qwen3_reading import Read
from trainer.engine.trainee import Standing
from trainer.errors import UsageError
from trainer.provenance import NAME, Provenance, read_provenance
from trainer.store.records import Progress

_KEPT_SECTIONS = ("data", "model", "training", "evaluation")
"""What a folder may say of the run that made it: where that was trained is not of interest."""

_OF_TRAINED = {"training.context_ramp": 0.0, "training.max_steps": None}
"""What suits a model that is trained already: no sequence is cut short again, and nothing ends its
first epoch early."""

_DATA = ("data.dataset_name", "data.dataset_config", "data.text_column", "data.held_out_fraction")


@dataclass(frozen=True)
class _Figures:
    """What is known of the imported weights on the text that the run has."""

    corpus_key: str = ""
    label: str = ""
    val_loss: float | None = None
    val_word_perplexity: float | None = None


def adopt(
    folder: Path,
    path: Path,
    chosen: Mapping[str, Any],
    known: Mapping[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Write the model of a folder as a checkpoint.

    Args:
        path: of the checkpoint, in an existing folder; the same one is written as ``best.pt``
            beside it where its validation loss is known.
        chosen: settings of the run by ``section.key``, before those that the folder tells.
        known: where the text of the folder's run lies, as far as this workspace knows.

    Returns:
        What the run's other files tell: ``config`` (by ``section.key``, without secrets),
        ``parameters``, ``weights_sha256``, ``told`` (a sentence on where it comes from),
        ``dataset``, ``val_loss``, ``val_word_perplexity`` and ``notices``.

    Raises:
        CheckpointError: the folder holds another kind of model, or is damaged.
        ConfigurationError, UsageError: a chosen setting is wrong, or contradicts the model.
    """
    report(Progress(phase="reading model", done=0, total=None, unit="bytes"))
    read = qwen3_reading.read(folder)
    provenance, notices = read_provenance(folder)
    config = _config(read, provenance, chosen, known)
    figures = _figures(read, provenance, chosen)
    told = f"imported from {folder.name} (weights {read.weights_sha256[:12]})"
    told += f", {provenance.words}" if provenance else ""
    report(Progress(phase="saving", done=0, total=None, unit="bytes"))
    also = [] if figures.val_loss is None else [path.with_name("best.pt")]
    checkpoint.save(path, _payload(read, config, figures, told), also)
    return {
        "config": _plain(config),
        "parameters": read.shape.parameters(read.vocab_size),
        "weights_sha256": read.weights_sha256,
        "told": told,
        "dataset": figures.label or None,
        "val_loss": figures.val_loss,
        "val_word_perplexity": figures.val_word_perplexity,
        "notices": notices,
    }


def _config(
    read: Read,
    provenance: Provenance | None,
    chosen: Mapping[str, Any],
    known: Mapping[str, Any],
) -> Config:
    """Put together what is chosen, over what the model is, over what the folder tells."""
    told = provenance.config if provenance else {}
    kept = {
        key: told[key]
        for key in told
        if key in SETTINGS and key.partition(".")[0] in _KEPT_SECTIONS
    }
    first = Layer("defaults", {"data.dataset_name": UNKNOWN_TEXT})
    own = Layer("config.json", read.settings | _OF_TRAINED)
    here = Layer("the run it is of", known)
    config = configuration.build(first, Layer(NAME, kept), here, own, Layer("--set", chosen))
    _refuse_contradictions(config, read)
    return configuration.resolved(config)


def _refuse_contradictions(config: Config, read: Read) -> None:
    if model_shape(config.model) != read.shape:
        raise UsageError(
            "The sizes of an imported model are its own and cannot be set.",
            "Leave the settings of [model] out.",
        )
    if config.data.vocab_size != read.vocab_size:
        raise UsageError(
            f"data.vocab_size = {config.data.vocab_size:,} is not that of the model, which has "
            f"{read.vocab_size:,} entries.",
            "Leave the setting out.",
        )
    if config.training.seq_length > read.context:
        raise UsageError(
            f"training.seq_length = {config.training.seq_length:,} is longer than the context of "
            f"the model, {read.context:,}.",
            f"Choose up to {read.context:,}, or leave the setting out.",
        )


def _figures(read: Read, provenance: Provenance | None, chosen: Mapping[str, Any]) -> _Figures:
    """Take over what the folder tells of its text and figures, where it is of these weights."""
    if provenance is None or any(key in chosen for key in _DATA):
        return _Figures()
    if provenance.weights_sha256 != read.weights_sha256 or not provenance.evaluated_last:
        return _Figures(provenance.corpus_key, provenance.corpus_label)
    return _Figures(
        provenance.corpus_key,
        provenance.corpus_label,
        provenance.val_loss,
        provenance.val_word_perplexity,
    )


def _payload(read: Read, config: Config, figures: _Figures, told: str) -> dict[str, Any]:
    standing = Standing(
        best_val_loss=figures.val_loss,
        best_val_word_perplexity=figures.val_word_perplexity,
        imported_from=told,
    )
    return {
        "model": read.weights,
        "optimizer": {},
        "scaler": {},
        "trained_on": {"type": None, "precision": None, "compiled": None},
        "config": _plain(config),
        "shape": asdict(read.shape),
        "vocab_size": read.vocab_size,
        "context": config.training.seq_length,
        "tokenizer": read.tokenizer.to_json(),
        "corpus_key": figures.corpus_key,
        "corpus_label": figures.label,
        "segments": [],
        "standing": asdict(standing),
        "step": 0,
        "epoch": 0,
        "val_loss": figures.val_loss,
        "val_word_perplexity": figures.val_word_perplexity,
        "evaluated_step": None if figures.val_loss is None else 0,
    }


def _plain(config: Config) -> dict[str, Any]:
    """Return settings as plain values; a checkpoint may be given away, so secrets stay out."""
    values = configuration.as_flat(config)
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return {key: value for key, value in plain.items() if key not in SECRETS}
