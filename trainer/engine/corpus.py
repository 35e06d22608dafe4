"""The text of a run: three splits of documents, counted as the literature counts WikiText.

A row is a line. Words are whitespace-separated words plus one end-of-line a row (Merity et al.,
2016, arXiv 1609.07843): 245,569 on the WikiText-2 test split. The documents of a split, joined,
are its text, byte for byte.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer import datasource
from trainer.config import DataSettings
from trainer.datafiles import SMALLEST_TEXT_BYTES
from trainer.engine import python_docs, rows, words
from trainer.engine.progress import Report as Report
from trainer.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")
_LEAST_EMBEDDED_CHARACTERS = 100_000
_HEADING = re.compile(r" = (?!= )[^\n]*(?<! =) = \n")


@dataclass(frozen=True)
class Split:
    """A part of the text; the counts are those of the joined documents."""

    documents: list[str]
    rows: int
    words: int
    bytes: int


@dataclass(frozen=True)
class Corpus:
    """A whole data set; ``notes`` tell what a person should know about how it was made."""

    label: str
    splits: dict[str, Split]
    notes: list[str] = field(default_factory=list)


def load(data: DataSettings, cache_dir: Path, report: Report) -> Corpus:
    """Read the text that the settings name.

    Args:
        cache_dir: where prepared copies of local files are kept.
        report: is told of downloads as they go.

    Raises:
        DataError: the text cannot be reached, read or used; says why, with numbers.
        DatasetNameError: the settings name nothing.
    """
    source = datasource.identify(data)
    notes: list[str] = []
    if source.kind == "embedded":
        documents = _embedded(data.held_out_fraction, notes)
    else:
        documents = _documents(rows.read(source, data, cache_dir, report))
        _hold_out_missing(documents, data.held_out_fraction, notes)
    _refuse_unusable(source.label, documents)
    return Corpus(source.label, {name: measure(documents[name]) for name in SPLIT_NAMES}, notes)


def measure(documents: list[str]) -> Split:
    """Count the rows, words and bytes of a split."""
    lines = sum(document.count("\n") for document in documents)
    word_count = sum(words.count(document) for document in documents)
    size = sum(len(document.encode()) for document in documents)
    return Split(documents, lines, word_count, size)


# --------------------------------------------------------------------------- rows to documents


def _documents(read: rows.Rows) -> dict[str, list[str]]:
    texts = {name: read.splits[name] for name in SPLIT_NAMES if name in read.splits}
    if read.whole_files:
        return {n: [d for file in files for d in _of_file(file)] for n, files in texts.items()}
    if are_lines(texts["train"]):
        return {name: articles([_ended(row) for row in split]) for name, split in texts.items()}
    return {name: [_ended(row) for row in split if row.strip()] for name, split in texts.items()}


def are_lines(split: Sequence[str]) -> bool:
    """Say whether rows are the lines of a running text, not documents each of its own.

    Lines hold no line break inside, and now and then are empty or bring their line break along.
    """
    if any("\n" in row[:-1] for row in split):
        return False
    marked = sum(not row or row.endswith("\n") for row in split)
    return marked * 100 >= len(split) > 0


def articles(lines: Sequence[str]) -> list[str]:
    """Cut lines into documents at WikiText's top-level headings.

    Such a heading, `` = Title = ``, stands between empty lines; without that condition 29
    leftovers of tables would pass for titles in WikiText-2.
    """
    starts = [index for index in range(1, len(lines)) if _is_title(lines, index)]
    if starts and not "".join(lines[: starts[0]]).strip():
        del starts[0]
    bounds = [0, *starts, len(lines)]
    documents = ("".join(lines[a:b]) for a, b in itertools.pairwise(bounds))
    return [document for document in documents if document]


def _is_title(lines: Sequence[str], index: int) -> bool:
    return (
        _HEADING.fullmatch(lines[index]) is not None
        and not lines[index - 1].strip()
        and index + 1 < len(lines)
        and not lines[index + 1].strip()
    )


def _of_file(text: str) -> list[str]:
    """Return a text file as one document, or as its articles where it is a WikiText file."""
    if not text.strip():
        return []
    ended = _ended(text)
    return articles(re.findall(r"[^\n]*\n", ended)) if "\n = " in ended else [ended]


def _ended(row: str) -> str:
    """End a row in exactly one line break."""
    return row if row.endswith("\n") else row + "\n"


# --------------------------------------------------------------------------- held-out text


def _hold_out_missing(documents: dict[str, list[str]], share: float, notes: list[str]) -> None:
    """Cut the splits that are missing off the end of the training text."""
    missing = [name for name in ("test", "validation") if name not in documents]
    characters = sum(map(len, documents["train"]))
    for name in missing:
        kept, held_out = cut_off(documents["train"], round(characters * share))
        documents["train"], documents[name] = kept, held_out
    if missing:
        names, each = " or ".join(reversed(missing)), "each" if len(missing) > 1 else "it"
        notes.append(
            f"The data has no {names} split: {share:.1%} of its text, from the end, is kept out "
            f"of training for {each}."
        )


def cut_off(documents: list[str], characters: int) -> tuple[list[str], list[str]]:
    """Cut about ``characters`` off the end: whole documents where that comes near, else lines.

    Returns what is left and what was cut off; joined they are the text as it was.
    """
    index, taken = len(documents), 0
    while index > 1 and _is_closer(taken + len(documents[index - 1]), taken, characters):
        index -= 1
        taken += len(documents[index])
    if 2 * taken >= characters > 0:
        return documents[:index], documents[index:]
    last = documents[index - 1]
    cut = _line_end(last, len(last) - (characters - taken))
    left = [*documents[: index - 1], last[:cut]]
    return [d for d in left if d], [d for d in (last[cut:], *documents[index:]) if d]


def _is_closer(size: int, other: int, goal: int) -> bool:
    return abs(size - goal) < abs(other - goal)


def _line_end(text: str, position: int) -> int:
    """Return the end of the line nearest before ``position``, or of the first line."""
    before = text.rfind("\n", 0, position) + 1
    return before or text.find("\n") + 1


# --------------------------------------------------------------------------- python-docs


def _embedded(share: float, notes: list[str]) -> dict[str, list[str]]:
    """Divide the documents that Python carries by what they say: each split is a fair sample."""
    library = python_docs.library_folder()
    topics, docstrings = python_docs.topics(library), python_docs.docstrings(library)
    size = sum(map(len, topics + docstrings))
    if size < _LEAST_EMBEDDED_CHARACTERS:
        raise DataError(
            f"This Python carries too little text for python-docs: {size:,} characters of help "
            f"topics and docstrings in {library}, and {_LEAST_EMBEDDED_CHARACTERS:,} are needed.",
            "Use a Python with the sources of its standard library, or train on a text file: "
            "--set data.dataset_name=FILE.txt.",
        )
    if not topics:
        notes.append("This Python lacks pydoc_data: python-docs is the docstrings alone.")
    notes.append(
        f"python-docs: {len(topics):,} help topics and the docstrings of {len(docstrings):,} "
        "classes, functions and modules of the standard library."
    )
    documents: dict[str, list[str]] = {name: [] for name in SPLIT_NAMES}
    for document in topics + docstrings:
        documents[_split_of(document, share)].append(document)
    return documents


def _split_of(document: str, share: float) -> str:
    position = python_docs.position(document)
    return "validation" if position < share else "test" if position < 2 * share else "train"


# --------------------------------------------------------------------------- refusals


def _refuse_unusable(label: str, documents: dict[str, list[str]]) -> None:
    """Refuse text of which no model can be trained or judged.

    Raises:
        DataError: a split is empty, the text is binary, or there is too little of it.
    """
    for name in SPLIT_NAMES:
        if not any(document.strip() for document in documents[name]):
            raise DataError(
                f"The {name} split of {label} holds no text.",
                "Give more text, of several lines, or raise data.held_out_fraction.",
            )
        _refuse_binary(label, documents[name])
    size = sum(len(document.encode()) for split in documents.values() for document in split)
    if size < SMALLEST_TEXT_BYTES:
        raise DataError(
            f"{label} is too small: {size:,} bytes of text, and the least that can be trained on "
            f"is {SMALLEST_TEXT_BYTES:,}.",
            "Give more text.",
        )


def _refuse_binary(label: str, documents: list[str]) -> None:
    if any("\0" in document for document in documents):
        raise DataError(f"{label} is not text: it holds NUL characters.", "Give a text in UTF-8.")
