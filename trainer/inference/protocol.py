"""What a viewer and the process that holds a model say to each other: JSON, one line a message.

Commands go to the process's standard input, events come from its standard output. Each event is
an object with the ``id`` of its command and a ``type``:

===========  ======================================================================================
``token``    ``text`` that was added to the first continuation, ``tokens`` of it so far; where asked
             for, ``logprobs``: a list of one
``progress`` ``phase``, ``done``, ``total`` (or null) and ``unit`` of an evaluation
``done``     last of a generation: of the first continuation ``text``, ``tokens``, ``seed``,
             ``finish_reason`` and, where asked for, ``logprobs``, one a token; ``prompt_tokens``
             and how many of them were read, ``prompt_tokens_read``; ``tokens_per_second`` (or
             null) of all continuations together; where there are several, ``continuations``, each
             with the fields of the first. Last of an evaluation: ``split``, ``loss``,
             ``word_perplexity`` (or null), ``bits_per_byte``, ``words``, ``tokens``. Last of an
             export: ``parameters``, ``bytes``
``failed``   last: ``error`` with ``kind``, ``message`` and ``hint``
===========  ======================================================================================

An entry of ``logprobs`` tells of a token its text ``token`` (bytes that make no character become
U+FFFD), its ``id``, its ``bytes``, its ``logprob``, and the same of the likeliest tokens, ``top``.
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


class Export(msgspec.Struct, frozen=True, tag_field="op", tag="export"):
    """Write the model of a checkpoint into an existing folder, as dense Qwen3."""

    id: int
    checkpoint: str
    folder: str
    title: str


class Cancel(msgspec.Struct, frozen=True, tag_field="op", tag="cancel"):
    """End the job with this id; it still sends its last event."""

    id: int


Command = Generate | Evaluate | Export | Cancel
