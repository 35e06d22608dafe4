"""What has been written for one request, told in the words of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.engine.batching import Begun
from trainer.engine.continuation import Piece, PromptRead, TextCodec
from trainer.engine.likelihoods import Likelihoods, TokenLikelihood
from trainer.engine.timing import tokens_per_second
from trainer.inference.protocol import Event
from trainer.inference.request import FinishReason, row_seed


class Answer:
    """Collects the pieces of one request."""

    def __init__(self, begun: Begun, tokenizer: TextCodec) -> None:
        self._begun, self._tokenizer = begun, tokenizer
        self._rows = [_Written() for _ in range(begun.settings.n)]
        self._going = begun.settings.n
        self._prompt: list[Event] = []

    @property
    def ended(self) -> bool:
        """Whether every row has ended."""
        return self._going == 0

    def take(self, told: Piece | PromptRead) -> Event | None:
        """Keep what a turn has told; return the event that it makes, if any."""
        if isinstance(told, PromptRead):
            self._prompt = named_tokens(told.tokens, told.likelihoods, self._tokenizer)
            return None
        return self._take_piece(told)

    def _take_piece(self, piece: Piece) -> Event | None:
        written = self._rows[piece.row]
        written.texts.append(piece.text)
        written.tokens, written.finish_reason = piece.tokens, piece.finish_reason
        self._going -= piece.finish_reason is not None
        event: Event = {
            "type": "token",
            "row": piece.row,
            "text": piece.text,
            "tokens": piece.tokens,
        }
        if self._begun.settings.logprobs is not None:
            event["logprobs"] = self._keep_likelihoods(piece)
        return event if piece.text or event.get("logprobs") else None

    def _keep_likelihoods(self, piece: Piece) -> list[Event]:
        """Return what is told of the token that was added, if one was."""
        if piece.likelihoods is None:
            return []
        written, told = self._rows[piece.row], named_likelihoods(piece.likelihoods, self._tokenizer)
        if piece.finish_reason == "end_of_text":
            written.end_logprob = told
            return []
        written.logprobs.append(told)
        return [told]

    def done(self, seconds: float) -> Event:
        """Return the last event of a generation that took so long."""
        continuations = [self._continuation(row) for row in range(len(self._rows))]
        tokens = sum(written.tokens for written in self._rows)
        told = {
            "type": "done",
            **continuations[0],
            "tokens_per_second": tokens_per_second(tokens, seconds),
            "prompt_tokens": self._begun.prompt_tokens,
            "prompt_tokens_read": self._begun.prompt_tokens_read,
        }
        if len(continuations) > 1:
            told["continuations"] = continuations
        if self._begun.settings.prompt_logprobs:
            told["prompt_logprobs"] = self._prompt
        return told

    def _continuation(self, row: int) -> Event:
        written, settings = self._rows[row], self._begun.settings
        told: Event = {
            "text": "".join(written.texts),
            "tokens": written.tokens,
            "seed": row_seed(settings.seed or 0, row),
            "finish_reason": written.finish_reason,
        }
        if settings.logprobs is not None:
            told["logprobs"] = written.logprobs
        if written.end_logprob is not None:
            told["end_logprob"] = written.end_logprob
        return told


@dataclass
class _Written:
    """One continuation as far as it has come."""

    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    finish_reason: FinishReason | None = None
    logprobs: list[Event] = field(default_factory=list)
    end_logprob: Event | None = None


def named_tokens(
    tokens: Sequence[int], likelihoods: Sequence[Likelihoods | None], tokenizer: TextCodec
) -> list[Event]:
    """Tell of tokens how likely each was; of one that nothing stands before, only its name."""
    return [
        _named(token, None, tokenizer) | {"top": None}
        if found is None
        else named_likelihoods(found, tokenizer)
        for token, found in zip(tokens, likelihoods, strict=True)
    ]


def named_likelihoods(found: Likelihoods, tokenizer: TextCodec) -> Event:
    """Tell of one token, and of the likeliest ones in its place, how likely they were."""
    return _likely(found.chosen, tokenizer) | {
        "top": [_likely(one, tokenizer) for one in found.top]
    }


def _likely(found: TokenLikelihood, tokenizer: TextCodec) -> Event:
    return _named(found.token, found.logprob, tokenizer)


def _named(token: int, logprob: float | None, tokenizer: TextCodec) -> dict[str, Any]:
    data = tokenizer.token_bytes(token)
    text = data.decode("utf-8", "replace")
    return {"token": text, "id": token, "bytes": list(data), "logprob": logprob}
