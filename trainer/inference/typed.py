"""Settings of a generation as a person types them."""

from __future__ import annotations


def number(text: str) -> int | float | str:
    """Return a whole number, else any number, else the text: to be refused with all else."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def stop_text(text: str) -> str:
    r"""Return a stop text that was typed on one line: ``\n`` is a line break, ``\t`` a tab."""
    parts = text.split(r"\\")
    return "\\".join(part.replace(r"\n", "\n").replace(r"\t", "\t") for part in parts)
