"""What a word is, where a figure is divided by the words of a text."""

from __future__ import annotations


def count(text: str) -> int:
    """Return the whitespace-separated words, plus one end-of-line a row.

    So the literature counts WikiText (Merity et al., 2016, arXiv 1609.07843).
    """
    return len(text.split()) + text.count("\n")
