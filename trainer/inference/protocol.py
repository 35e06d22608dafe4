"""What a viewer and the process that holds a model say to each other: JSON, one line a message.

Commands go to the process's standard input, events come from its standard output. Each event is
an object with the ``id`` of its command and a ``type``:

===========  ======================================================================================
``token``    ``text`` that was added to the answer, ``tokens`` written so far
``progress`` ``phase``, ``done``, ``total`` (or null) and ``unit`` of an evaluation
``done``     last of a generation: ``text``, ``tokens``, ``tokens_per_second`` (or null), ``seed``,
             ``finish_reason``; last of an evaluation: ``split``, ``loss``, ``word_perplexity`` (or
             null), ``bits_per_byte``, ``words``, ``tokens``
``failed``   last: ``error`` with ``kind``, ``message`` and ``hint``
===========  ======================================================================================
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from trainer.inference.request import GenerationSettings

Event = dict[str, Any]
Split = Literal["validation", "test"]

LAST_TYPES = frozenset({"done", "failed"})
"""The types after which no event of the same id follows."""


class Generate(msgspec.Struct, frozen=True, tag_field="op", tag="generate"):
    """Continue a prompt with the model of a checkpoint."""

    id: int
    checkpoint: str
    settings: GenerationSettings


class Evaluate(msgspec.Struct, frozen=True, tag_field="op", tag="evaluate"):
    """Score a split of the text that a checkpoint's run was trained on."""

    id: int
    checkpoint: str
    data_dir: str
    split: Split


class Cancel(msgspec.Struct, frozen=True, tag_field="op", tag="cancel"):
    """End the job with this id; it still sends its last event."""

    id: int


Command = Generate | Evaluate | Cancel
