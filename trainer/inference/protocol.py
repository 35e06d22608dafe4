"""What a viewer and the process that holds models say to each other: JSON, one line a message.

Commands go to the process, events come back. Each event is an object with the ``id`` of its
command and a ``type``:

===========  ======================================================================================
``token``    of a generation: ``row``, which of its continuations (from 0); the ``text`` added to
             it and how many ``tokens`` it has so far; where asked for, ``logprobs``, one a token
             added. It tells of one token, or of several where the reader is behind
``progress`` ``phase``, ``done``, ``total`` (or null) and ``unit`` of an evaluation or a score
``done``     last of a generation: of the first continuation ``text``, ``tokens``, ``seed``,
             ``finish_reason`` and, where asked for, ``logprobs``, one a token, and where the text
             ended by itself ``end_logprob``, that of the end-of-text mark; ``prompt_tokens``
             and how many of them were read, ``prompt_tokens_read``; ``tokens_per_second`` (or
             null) of all continuations together; where there are several, ``continuations``, each
             with the fields of the first; where asked for, ``prompt_logprobs``, one a token that
             was read, the first without ``logprob`` and ``top`` (null).

             Last of a score: ``tokens``, an entry as in ``logprobs`` for each token of the text;
             ``loss`` in nats a token, ``perplexity``, ``word_perplexity`` (or null),
             ``bits_per_byte``, ``words``, ``bytes``.

             Last of an evaluation: ``split``, ``loss``, ``word_perplexity`` (or null),
             ``bits_per_byte``, ``words``, ``tokens``. Last of an export: ``parameters``,
             ``bytes``. Last of an import: ``run``, as in :mod:`trainer.engine.adopting`. Last of
             a warm-up: ``parameters``, ``device``, ``seconds``. Last of a look: the fields of
             :class:`Standing`
``failed``   last: ``error`` with ``kind``, ``message`` and ``hint``
``hello``    of the shared process, without being asked: ``version`` of the program, ``protocol``
             and ``pid``; its ``id`` is 0
``bye``      of the shared process: it takes no more jobs and ends after those it has begun; its
             ``id`` is 0
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
ModelFormat = Literal["hf", "gguf"]
WeightType = Literal["f32", "f16", "q8_0"]

PROTOCOL = 1
"""Raised when a client and a shared process of two versions would misunderstand each other."""

LAST_TYPES = frozenset({"done", "failed"})
"""The types after which no event of the same id follows."""


class Generate(msgspec.Struct, frozen=True, tag_field="op", tag="generate"):
    """Continue a prompt with the model of a checkpoint.

    Where more is asked for than can be written at once, clients take turns: each connection is
    one, or several that are told apart by ``client``.
    """

    id: int
    checkpoint: str
    settings: GenerationSettings
    client: str = ""


class Score(msgspec.Struct, frozen=True, tag_field="op", tag="score"):
    """Tell how likely the model of a checkpoint finds each token of a text, read as a document.

    The text stands behind an end-of-text mark, as each document did in training, so that its first
    token is scored too. ``alternatives`` is how many of the likeliest tokens to tell at each place.
    """

    id: int
    checkpoint: str
    text: str
    alternatives: int = 0
    client: str = ""


class Warm(msgspec.Struct, frozen=True, tag_field="op", tag="warm"):
    """Have the model of a checkpoint ready for what may be asked next."""

    id: int
    checkpoint: str


class Evaluate(msgspec.Struct, frozen=True, tag_field="op", tag="evaluate"):
    """Score a split of the text that a checkpoint's run was trained on."""

    id: int
    checkpoint: str
    data_dir: str
    split: Split


class Export(msgspec.Struct, frozen=True, tag_field="op", tag="export"):
    """Write the model of a checkpoint as dense Qwen3, for other programs.

    ``target`` is an existing folder to fill (``hf``), or a file that is not there yet (``gguf``).
    ``weights`` is the number format of the matrices in a ``gguf``; an ``hf`` folder holds float32.
    """

    id: int
    checkpoint: str
    target: str
    title: str
    format: ModelFormat = "hf"
    weights: WeightType = "f16"
    run_id: str = ""


class Import(msgspec.Struct, frozen=True, tag_field="op", tag="import"):
    """Read a folder of dense Qwen3 and write it as a checkpoint that a run can go on from.

    ``settings`` are those of the run, by ``section.key``, that somebody has chosen; ``known`` says
    where the text of the folder's run lies here, where that is known.
    """

    id: int
    folder: str
    checkpoint: str
    settings: dict[str, Any] = {}
    known: dict[str, Any] = {}


class Look(msgspec.Struct, frozen=True, tag_field="op", tag="look"):
    """Tell what the process holds and has to do, a :class:`Standing`."""

    id: int


class Retire(msgspec.Struct, frozen=True, tag_field="op", tag="retire"):
    """Take no more jobs, and end after those that were begun."""

    id: int


class Cancel(msgspec.Struct, frozen=True, tag_field="op", tag="cancel"):
    """End the job with this id; it still sends its last event."""

    id: int


JobCommand = Generate | Score | Warm | Evaluate | Export | Import | Look
Command = JobCommand | Retire | Cancel


class HeldModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory: its checkpoint, its bytes, and the jobs that it works on."""

    checkpoint: str
    bytes: int
    jobs: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a process that writes has in memory and before it; ``waiting`` counts jobs."""

    pid: int
    models: list[HeldModel]
    limit_bytes: int
    waiting: int
