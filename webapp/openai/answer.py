"""The answer to a request for completions, whole or in pieces."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from trainer.inference.protocol import Event
from webapp.openai.likelihoods import TokenLog, mean_logprob, text_of
from webapp.openai.refusals import InvalidRequestError
from webapp.openai.request import CompletionRequest

END_OF_STREAM = b"data: [DONE]\n\n"

_FINISHED = {"length": "length", "end_of_text": "stop", "stop": "stop", "cancelled": "stop"}

Told = tuple[int, Event]
"""The number of a prompt, and an event of its texts."""


class Completion:
    """The answer to one request.

    The choices of a prompt stand together: of each n, the first prompt's come first.

    Args:
        model: its name in the answer.
    """

    def __init__(self, wanted: CompletionRequest, model: str) -> None:
        self._wanted = wanted
        self._facts = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._usage = Usage()
        self._logs: list[TokenLog] = []

    def whole(self, told: Iterable[Told]) -> dict[str, Any]:
        """Wait for the end and return the answer.

        Raises:
            TrainerError: a text cannot be written.
        """
        choices = [
            choice
            for prompt, event in told
            if event["type"] == "done"
            for choice in self._choices(prompt, event)
        ]
        return self._facts | {"choices": choices, "usage": self._usage.as_dict()}

    def pieces(self, told: Iterable[Told]) -> Iterator[bytes]:
        """Yield server-sent events, but for the one that ends a stream.

        Where the tokens of the prompt are told too, which are known last, each choice is one piece.

        Raises:
            TrainerError: a text cannot be written.
        """
        begun = -1
        for prompt, event in told:
            if self._wanted.echoes_tokens:
                yield from self._held_pieces(prompt, event)
                continue
            if prompt > begun:
                begun = prompt
                yield from self._opening(prompt)
            if event["type"] == "token":
                yield self._token_piece(prompt, event)
            elif event["type"] == "done":
                yield from self._endings(prompt, event)
        if self._tells_usage:
            yield sent(self._facts | {"choices": [], "usage": self._usage.as_dict()})

    # ------------------------------------------------------------------ whole choices

    def _choices(self, prompt: int, done: Event) -> list[dict[str, Any]]:
        """Return the choices of a prompt whose texts are all written."""
        return [
            self._choice(prompt, row, done) | {"index": self._index(prompt, number)}
            for number, row in enumerate(self._answered(done))
        ]

    def _answered(self, done: Event) -> list[Event]:
        """Return the texts of a prompt that are answered, and count what they have taken."""
        rows: list[Event] = done.get("continuations", [done])
        self._usage.add(done, rows)
        if self._wanted.rows > len(rows):  # Nothing was to be written.
            rows = rows * self._wanted.rows
        if self._wanted.rows > self._wanted.choices_each:
            rows = sorted(rows, key=_goodness, reverse=True)
        return rows[: self._wanted.choices_each]

    def _choice(self, prompt: int, row: Event, done: Event) -> dict[str, Any]:
        echoed = self._echoed_tokens(prompt, done)
        given = self._wanted.prompts[prompt]
        shown = given if isinstance(given, str) else text_of(echoed)
        log = TokenLog(0 if echoed else self._offset(prompt))
        told = self._wanted.logprobs is not None
        return {
            "text": (shown if self._wanted.echo else "") + row["text"],
            "logprobs": log.add([*echoed, *row["logprobs"], *_ending(row)]) if told else None,
            "finish_reason": _FINISHED[row["finish_reason"]],
        }

    def _echoed_tokens(self, prompt: int, done: Event) -> list[Event]:
        """Return the tokens of a prompt; none where they are not told, or there are none.

        Raises:
            InvalidRequestError: the model read only the end of it.
        """
        if not self._wanted.echoes_tokens or not self._wanted.prompts[prompt]:
            return []
        whole, read = done["prompt_tokens"], done["prompt_tokens_read"]
        if read < whole:
            raise InvalidRequestError(
                f"This model reads {read:,} tokens at once, and the prompt has {whole:,}: not "
                "each of them can be told of.",
                "prompt",
                "context_length_exceeded",
                "Send a shorter prompt.",
            )
        tokens: list[Event] = done["prompt_logprobs"]
        return tokens

    def _index(self, prompt: int, row: int) -> int:
        return prompt * self._wanted.choices_each + row

    def _offset(self, prompt: int) -> int:
        """Return where a text begins: behind its prompt; one of ids has no length here."""
        given = self._wanted.prompts[prompt]
        return len(given) if isinstance(given, str) else 0

    # ------------------------------------------------------------------ pieces

    def _opening(self, prompt: int) -> Iterator[bytes]:
        """Begin the choices of a prompt."""
        self._logs = [TokenLog(self._offset(prompt)) for _ in range(self._wanted.choices_each)]
        if self._wanted.echo:
            echoed = self._wanted.prompts[prompt]
            for row in range(self._wanted.choices_each):
                yield self._piece({"index": self._index(prompt, row), "text": echoed})

    def _token_piece(self, prompt: int, event: Event) -> bytes:
        row = event["row"]
        return self._piece(
            {
                "index": self._index(prompt, row),
                "text": event["text"],
                "logprobs": self._logs[row].add(event.get("logprobs")),
            }
        )

    def _endings(self, prompt: int, done: Event) -> Iterator[bytes]:
        """Tell why each choice has ended."""
        for number, row in enumerate(self._answered(done)):
            reason = _FINISHED[row["finish_reason"]]
            told = self._logs[number].add(_ending(row) or None)
            ending = {"text": "", "logprobs": told, "finish_reason": reason}
            yield self._piece({"index": self._index(prompt, number)} | ending)

    def _held_pieces(self, prompt: int, event: Event) -> Iterator[bytes]:
        if event["type"] == "done":
            for choice in self._choices(prompt, event):
                yield self._piece(choice)

    def _piece(self, choice: dict[str, Any]) -> bytes:
        whole = {"logprobs": None, "finish_reason": None} | choice
        usage = {"usage": None} if self._tells_usage else {}
        return sent(self._facts | {"choices": [whole]} | usage)

    @property
    def _tells_usage(self) -> bool:
        options = self._wanted.stream_options
        return options is not None and bool(options.include_usage)


def _goodness(row: Event) -> float:
    return mean_logprob([*row["logprobs"], *_ending(row)])


def _ending(row: Event) -> list[Event]:
    """Return the end-of-text mark where a text ended by itself: tools count on a token more."""
    return [row["end_logprob"]] if "end_logprob" in row else []


class Usage:
    """Tokens read and written, of all prompts together; each prompt counts once."""

    def __init__(self) -> None:
        self._read = self._written = 0

    def add(self, done: Event, rows: list[Event]) -> None:
        """Count the texts of one more prompt."""
        self._read += done["prompt_tokens"]
        self._written += sum(row["tokens"] for row in rows)

    def as_dict(self) -> dict[str, int]:
        """Return the counts as they are answered."""
        return {
            "prompt_tokens": self._read,
            "completion_tokens": self._written,
            "total_tokens": self._read + self._written,
        }


def sent(data: dict[str, Any]) -> bytes:
    """Return a server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"
