"""A text and what is known of its tokens, before it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from trainer import formats
from trainer.inference import surprise

Token = Mapping[str, Any]
"""An entry of ``logprobs`` in :mod:`trainer.inference.protocol`."""

_EMPHASIS = ("", "", "", "underline ", "bold underline ")
"""What is seen of the levels of surprise where there is no colour."""
_CURSOR = "reverse"


@dataclass(frozen=True)
class Mark:
    """A token and where it stands in the whole text."""

    token: Token
    start: int
    end: int


@dataclass
class Passage:
    """What one answer has added to a text, with its tokens as far as they are known."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)

    def marks(self, offset: int) -> Iterator[Mark]:
        """Yield the tokens that are seen, where the passage begins at an offset."""
        for token, (start, end) in zip(self.tokens, surprise.spans(self.tokens), strict=True):
            end = min(end, len(self.text))
            if start < end:
                yield Mark(token, offset + start, offset + end)


@dataclass
class Paper:
    """A prompt, and the passages that were written after it.

    Args:
        model: run and checkpoint of the model that wrote last, or that scored, for people.
    """

    prompt: str = ""
    passages: list[Passage] = field(default_factory=list)
    model: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return self.prompt + "".join(passage.text for passage in self.passages)

    def marks(self) -> list[Mark]:
        """Return every token that is seen."""
        found: list[Mark] = []
        offset = len(self.prompt)
        for passage in self.passages:
            found += passage.marks(offset)
            offset += len(passage.text)
        return found

    def drawn(self, marks: Iterable[Mark], *, tinted: bool, chosen: Mark | None) -> Text:
        """Return the text as it is shown: the prompt stands out, and so does the chosen token."""
        drawn = Text(formats.harmless(self.text))
        drawn.stylize("bold", 0, len(self.prompt))
        for mark in marks if tinted else ():
            if style := tint(surprise.level(mark.token["logprob"])):
                drawn.stylize(style, mark.start, mark.end)
        if chosen is not None:
            drawn.stylize(_CURSOR, chosen.start, chosen.end)
        return drawn


def tint(level: int) -> str:
    """Return the look of a token with this level of surprise."""
    if level == 0:
        return ""
    return _EMPHASIS[level] + surprise.TERMINAL_COLOURS[level - 1]


def token_words(token: Token) -> Text:
    """Say of a token how likely it was, and below it which ones were likeliest in its place."""
    likely = f"{surprise.share(token['logprob'])}, {surprise.bits(token['logprob']):.1f} bits"
    words = Text.assemble(
        (surprise.visible(token), "bold"), f"  {likely}", ("\nlikeliest: ", "dim")
    )
    for one in token["top"]:
        share = f" {surprise.share(one['logprob'])}  "
        words.append_text(Text.assemble(surprise.visible(one), (share, "dim")))
    return words
