"""The form of the page that scores a text: what was pasted, and with which models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_SCORED_CHARACTERS = 50_000
"""What a page can show token by token, each with its alternatives."""
ALTERNATIVES = 5


@dataclass(frozen=True)
class ScoreForm:
    """What was pasted; a model is a run id, a space and the name of a checkpoint.

    Args:
        other: a second model to compare with, or empty.
    """

    model: str = ""
    other: str = ""
    text: str = ""

    @classmethod
    def submitted(cls, values: Mapping[str, str]) -> ScoreForm:
        """Read what a browser sent; a line break is one character, as in a file."""
        text = values.get("text", "").replace("\r\n", "\n")
        return cls(values.get("model", ""), values.get("other", ""), text)

    @classmethod
    def linked(cls, values: Mapping[str, str]) -> ScoreForm:
        """Read what a link carries: a model, as ``run`` and ``checkpoint``."""
        return cls(f"{values.get('run', '')} {values.get('checkpoint', '')}".strip())

    @property
    def models(self) -> list[str]:
        """The models to score with, each once."""
        return list(dict.fromkeys(model for model in (self.model, self.other) if model))

    @property
    def error(self) -> str:
        """What is wrong with the text; empty when it can be scored."""
        if not self.text:
            return "Paste a text, or write one."
        length = len(self.text)
        if length <= MOST_SCORED_CHARACTERS:
            return ""
        return f"The text has {length:,} characters; at most {MOST_SCORED_CHARACTERS:,} fit here."
