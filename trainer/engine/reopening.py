"""The token files that a checkpoint goes with: opened, or made again when they are gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config import DataSettings
from trainer.engine import corpus, tokenization
from trainer.engine.corpus import Corpus
from trainer.engine.progress import Report
from trainer.engine.tokenization import TokenizedCorpus, Tokenizer
from trainer.errors import DataError


def reopen(
    payload: Mapping[str, Any], data: DataSettings, data_dir: Path, report: Report
) -> TokenizedCorpus:
    """Return the token files of a checkpoint, made with the tokenizer that it holds.

    An imported model has learned from no text here yet: it takes the one that is named.

    Raises:
        DataError: the text cannot be had any more, or is not the same.
        DatasetNameError: nobody has named a text.
        StoreError: the files cannot be written.
    """
    key: str = payload["corpus_key"]
    label = payload.get("corpus_label") or data.dataset_name
    ready = tokenization.open_prepared(data_dir, key, label) if key else None
    tokenizer = Tokenizer.from_json(payload["tokenizer"])
    if ready is not None and ready.tokenizer.sha256 == tokenizer.sha256:
        return ready
    text = corpus.load(data, data_dir / "datasets", report)
    if _is_own(key, text, data, tokenizer):
        made = tokenization.prepare(text, data, data_dir, report)
        if made.tokenizer.sha256 == tokenizer.sha256:
            return made
    return tokenization.prepare(text, data, data_dir, report, tokenizer)


def _is_own(key: str, text: Corpus, data: DataSettings, tokenizer: Tokenizer) -> bool:
    """Say whether the tokenizer was trained on that text, or only used on it.

    Raises:
        DataError: it is another text.
    """
    if key == tokenization.corpus_key(text, data.vocab_size):
        return True
    if key in ("", tokenization.corpus_key(text, data.vocab_size, tokenizer)):
        return False
    raise DataError(
        f"The text in '{data.dataset_name}' is not the one this run learned from.",
        "Bring back the text as it was: figures and steps on another one would mean something "
        "else.",
    )
