"""What ``data.dataset_name`` means, and whether it can be trained on: asked before a run is made.

Launchers use this module, so it imports neither torch, datasets nor numpy.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from trainer import datafiles
from trainer.config import DataSettings, TrainingSettings
from trainer.datafiles import SMALLEST_TEXT_BYTES
from trainer.datafiles import DatasetNameError as DatasetNameError
from trainer.hub import hub_answers as hub_answers
from trainer.hub import offline_switch, prepared_folder, snapshot_folder

Kind = Literal["hub", "embedded", "path"]

PROBE_SECONDS = 3.0
EMBEDDED = "python-docs"
UNKNOWN_TEXT = "unknown"
"""Stands for the text of an imported model that nobody has named."""

_WIKITEXT = "Salesforce/wikitext"
_SHORT_NAMES = {
    "wikitext-2": "wikitext-2-raw-v1",
    "wikitext-2-v1": "wikitext-2-v1",
    "wikitext-103": "wikitext-103-raw-v1",
}
DATASET_NAMES = (*_SHORT_NAMES, EMBEDDED)
"""The names that stand for a dataset of their own."""

_WIKITEXT_LABELS = {
    "wikitext-2-raw-v1": "WikiText-2 (raw)",
    "wikitext-2-v1": "WikiText-2 (word level)",
    "wikitext-103-raw-v1": "WikiText-103 (raw)",
    "wikitext-103-v1": "WikiText-103 (word level)",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}")
_ACCEPTED = (
    f"Accepted are {', '.join(DATASET_NAMES)}, a hub id owner/name, "
    "or a path to a text file, a glob or a folder."
)


@dataclass(frozen=True)
class Source:
    """Where the text comes from; ``name`` is a hub id, ``python-docs`` or the path as given."""

    kind: Kind
    name: str
    config: str | None
    label: str


@dataclass(frozen=True)
class Choice:
    """What a run will train on: what was asked for, or the fallback and the reason for it."""

    settings: DataSettings
    requested: str
    used: str
    reason: str | None


def identify(data: DataSettings) -> Source:
    """Tell what ``data.dataset_name`` means. Only the name is looked at, and whether it exists.

    Raises:
        DatasetNameError: it is none of the accepted kinds of names.
    """
    name, config = data.dataset_name, data.dataset_config
    if name in _SHORT_NAMES:
        config = config or _SHORT_NAMES[name]
        return Source("hub", _WIKITEXT, config, _label(_WIKITEXT, config))
    if name == EMBEDDED:
        return Source("embedded", name, config, name)
    if os.path.lexists(os.path.expanduser(name)) or _looks_like_path(name):
        return Source("path", name, config, _label(_short_path(name), config))
    if _HUB_ID.fullmatch(name):
        return Source("hub", name, config, _label(name, config))
    if name == UNKNOWN_TEXT:
        raise DatasetNameError(
            "The text that this model goes with is not known: it was imported without one.",
            "Import it again and name a text: --set data.dataset_name=NAME.",
        )
    raise DatasetNameError(f"'{name}' is not a known dataset.{_guess(name)}", _ACCEPTED)


def absolute_path(data: DataSettings) -> DataSettings:
    """Pin a relative path to where it was given: the worker and a later resume run elsewhere.

    Raises:
        DatasetNameError: the name means nothing.
    """
    if identify(data).kind != "path":
        return data
    absolute = os.path.abspath(os.path.expanduser(data.dataset_name))
    return msgspec.structs.replace(data, dataset_name=absolute)


def _looks_like_path(name: str) -> bool:
    suffix = Path(name).suffix
    if _HUB_ID.fullmatch(name):
        return suffix.lower() in datafiles.FILE_SUFFIXES
    return (
        name.startswith((".", "/", "~"))
        or any(character in name for character in "*?[")
        or name.count("/") > 1
        or _FILE_SUFFIX.fullmatch(suffix) is not None
    )


def _label(name: str, config: str | None) -> str:
    if config is None:
        return name
    if name == _WIKITEXT:
        return _WIKITEXT_LABELS.get(config, f"WikiText ({config})")
    return f"{name} ({config})"


def _short_path(name: str) -> str:
    """Return the last part of a path; a pattern is shown with its folder."""
    path = Path(os.path.abspath(os.path.expanduser(name)))
    if datafiles.holds_wildcard(name):
        return f"{path.parent.name}/{path.name}"
    return path.name or str(path)


def _guess(name: str) -> str:
    guesses = difflib.get_close_matches(name.lower(), DATASET_NAMES, n=1)
    return f" Did you mean {guesses[0]}?" if guesses else ""


# --------------------------------------------------------------------------- before a run starts


def check_at_launch(data: DataSettings, training: TrainingSettings | None = None) -> None:
    """Refuse text that cannot be trained on, as far as a quick look at local files can tell.

    With ``training`` the least size of text also follows from the batch.

    Raises:
        DatasetNameError: says what is wrong, with numbers, and what to do instead.
    """
    source = identify(data)
    if source.kind == "path":
        needed = needed_bytes(data, training)
        datafiles.check(source.name, source.config, data.text_column, needed)
    elif source.kind == "embedded" and source.config is not None:
        raise DatasetNameError(
            f"data.dataset_config = '{source.config}' was given, but {source.name} has no "
            "configurations.",
            "Leave it out: --set data.dataset_config=null.",
        )


def needed_bytes(data: DataSettings, training: TrainingSettings | None) -> int:
    """Return the size below which text surely cannot fill one optimizer step.

    A token of a vocabulary of a thousand or more entries stands for two bytes or more in any
    language or program; for four, in English.
    """
    if training is None:
        return SMALLEST_TEXT_BYTES
    windows = training.batch_size * training.grad_accum_steps + 1
    bytes_per_token = 2 if data.vocab_size >= 1024 else 1
    share_for_training = 1 - 2 * data.held_out_fraction
    text = windows * training.seq_length * bytes_per_token / share_for_training
    return max(SMALLEST_TEXT_BYTES, math.ceil(text))


def is_cached(source: Source) -> bool:
    """Say whether a hub dataset is already on this computer, so that no network is needed."""
    return source.kind == "hub" and (
        prepared_folder(source.name, source.config) is not None
        or snapshot_folder(source.name, source.config) is not None
    )


def needs_hub(data: DataSettings) -> bool:
    """Say whether the text has to be fetched from the hub before it can be trained on.

    Raises:
        DatasetNameError: the name means nothing.
    """
    source = identify(data)
    return source.kind == "hub" and not is_cached(source)


def choose(data: DataSettings) -> Choice:
    """Swap in the fallback when the hub is needed, does not answer, and a fallback is set.

    Raises:
        DatasetNameError: the name means nothing.
    """
    unchanged = Choice(data, data.dataset_name, data.dataset_name, None)
    source = identify(data)
    if data.fallback is None or not needs_hub(data):
        return unchanged
    answers, reason = hub_answers(PROBE_SECONDS)
    if answers:
        return unchanged
    settings = msgspec.structs.replace(
        data, dataset_name=data.fallback, dataset_config=None, fallback=None
    )
    told = f"{_silence(reason)}, so this run trains on {data.fallback} instead of {source.label}."
    return Choice(settings, data.dataset_name, data.fallback, told)


def _silence(reason: str) -> str:
    if offline_switch() is not None:
        return f"The Hugging Face hub was not asked ({reason})"
    return f"The Hugging Face hub did not answer within {PROBE_SECONDS:g} s ({reason})"


def standing(data: DataSettings) -> str:
    """Say where the text of a dataset is now, before anything is downloaded or read.

    Raises:
        DatasetNameError: the name means nothing, or leads to nothing that can be trained on.
    """
    source = identify(data)
    if source.kind == "path":
        words, is_file = datafiles.at_a_glance(source.name)
        if is_file:
            check_at_launch(data)
        return f"{words}."
    check_at_launch(data)
    if source.kind == "embedded":
        return "The documentation that this Python carries; nothing is downloaded."
    if is_cached(source):
        return f"{source.label}, on this computer already."
    words = f"{source.label} is not on this computer: it is downloaded from the hub first"
    return f"{words}, or {data.fallback} is used." if data.fallback else f"{words}."
