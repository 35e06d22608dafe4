"""A run's log in parts: a window of it by byte, and a search from its end.

The file may be far larger than memory: it is read in chunks, and what is answered is bounded.
Lines are told by the byte at which they begin, which stays true while the log grows.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trainer.errors import StoreError, UsageError

CHUNK_BYTES = 1024 * 1024
WINDOW_BYTES = 256 * 1024
MOST_LINE_BYTES = 4 * CHUNK_BYTES
"""A line that is longer than this is searched in pieces."""
NUMBERED_BYTES = 512 * CHUNK_BYTES
"""Lines further into a log than this have no number: counting them would take too long."""
MOST_MATCHES = 500
MOST_SHOWN_CHARACTERS = 2000
MOST_QUERY_CHARACTERS = 200
SEARCH_SECONDS = 0.25

LEVELS: dict[str, tuple[bytes, ...]] = {
    "all": (),
    "warning": (b"WARNING", b"ERROR", b"CRITICAL"),
    "error": (b"ERROR", b"CRITICAL"),
}
"""What a line's second word must be; ``warning`` is warnings and errors."""


@dataclass(frozen=True)
class LogWindow:
    """Some lines of a log: the bytes from ``start`` to ``end`` of a file of ``size`` bytes."""

    lines: list[str]
    start: int
    end: int
    size: int


@dataclass(frozen=True)
class Match:
    """A line that was found: its number, counted from 1, and the bytes it takes."""

    line: int | None
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Found:
    """The newest matches before a byte, oldest first.

    ``searched_from`` is the byte from which on everything was searched; ``next`` the byte before
    which the search can go on, None when it has reached the beginning.
    """

    matches: list[Match]
    searched_from: int
    size: int
    next: int | None


# ---------------------------------------------------------------------- a part of the log


def window(
    path: Path, *, before: int | None = None, after: int | None = None, lines: int = 200
) -> LogWindow:
    """Read whole lines before a byte, or after one; without either the last of the log.

    At most ``lines`` of them, and at most :data:`WINDOW_BYTES`. A line that is still being written
    is left out. A log that is not there is empty.

    Raises:
        StoreError: the log cannot be read.
    """
    file = _opened(path)
    if file is None:
        return LogWindow([], 0, 0, 0)
    with file:
        size = file.seek(0, os.SEEK_END)
        if after is not None:
            return _after(file, min(after, size), size, lines)
        return _before(file, size if before is None else min(before, size), size, lines)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path.name} cannot be read: {error.strerror}.") from error


def _before(file: BinaryIO, end: int, size: int, most: int) -> LogWindow:
    start = max(0, end - WINDOW_BYTES)
    content = _whole_lines(_read(file, start, end))
    if start:  # It begins in the middle of a line.
        cut = content.find(b"\n", 0, len(content) - 1) + 1
        start, content = start + cut, content[cut:]
    pieces = _split(content)
    left_out = sum(map(len, pieces[:-most]))
    return LogWindow(_texts(pieces[-most:]), start + left_out, start + len(content), size)


def _after(file: BinaryIO, start: int, size: int, most: int) -> LogWindow:
    content = _whole_lines(_read(file, start, min(size, start + WINDOW_BYTES)))
    pieces = _split(content)[:most]
    return LogWindow(_texts(pieces), start, start + sum(map(len, pieces)), size)


def _whole_lines(content: bytes) -> bytes:
    """Leave out the end of a line that is still being written, unless it is all there is."""
    return content[: content.rfind(b"\n") + 1 or len(content)]


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _split(content: bytes) -> list[bytes]:
    pieces = content.split(b"\n")
    whole = [piece + b"\n" for piece in pieces[:-1]]
    return [*whole, pieces[-1]] if pieces[-1] else whole


def _texts(pieces: list[bytes]) -> list[str]:
    return [_text(piece) for piece in pieces]


def _text(line: bytes) -> str:
    text = line.decode("utf-8", errors="replace").rstrip("\r\n")
    return text if len(text) <= MOST_SHOWN_CHARACTERS else f"{text[:MOST_SHOWN_CHARACTERS]} …"


# ---------------------------------------------------------------------- searching


def search(
    path: Path,
    text: str = "",
    level: str = "all",
    *,
    before: int | None = None,
    limit: int = MOST_MATCHES,
    seconds: float = SEARCH_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Find the newest lines that hold a text, in any case, and have a level.

    The text is plain: nothing in it is a pattern, so no search can hang. Letters beyond ASCII are
    found as they are given, and all small or all capital.

    Args:
        level: one of :data:`LEVELS`.
        before: the byte before which to search; None: from the end of the log.
        limit: most matches.
        seconds: after this long the answer holds what was found so far.

    Raises:
        UsageError: an unknown level, no text to look for, or one that is too long.
        StoreError: the log cannot be read.
    """
    needles = _needles(text, level)
    file = _opened(path)
    if file is None:
        return Found([], 0, 0, None)
    deadline = clock() + seconds
    with file:
        size = file.seek(0, os.SEEK_END)
        spans: list[tuple[int, int]] = []
        end = size if before is None else min(before, size)
        searched_from = end
        for searched_from, chunk in _chunks_backwards(file, end):
            spans += _spans(chunk, searched_from, needles, level, limit - len(spans))
            if len(spans) == limit or clock() >= deadline:
                break
        if len(spans) == limit:
            searched_from = spans[-1][0]
        return Found(_matches(file, spans[::-1]), searched_from, size, searched_from or None)


def newest_matches(path: Path, text: str, most: int) -> list[str]:
    """Return the newest lines that hold a text, oldest first, searching the whole log.

    Raises:
        UsageError, StoreError: as :func:`search`.
    """
    found = search(path, text, limit=most)
    lines = [match.text for match in found.matches]
    while found.next is not None and len(lines) < most:
        found = search(path, text, limit=most - len(lines), before=found.next)
        lines = [match.text for match in found.matches] + lines
    return lines


def _needles(text: str, level: str) -> set[bytes]:
    """Return what occurs, in small letters, in every line that is looked for."""
    if level not in LEVELS:
        raise UsageError(f"'{level[:40]}' is not a level.", f"There are: {', '.join(LEVELS)}.")
    if len(text) > MOST_QUERY_CHARACTERS:
        raise UsageError(f"The text to look for has more than {MOST_QUERY_CHARACTERS} characters.")
    if text:
        return {form.encode().lower() for form in (text, text.lower(), text.upper())}
    if not LEVELS[level]:
        raise UsageError("There is nothing to look for.", "Give a text, or a level.")
    return {b" %s " % word.lower() for word in LEVELS[level]}


def _chunks_backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines in chunks, the last first, each with the byte at which it begins."""
    rest = b""
    while end > 0:
        start = max(0, end - CHUNK_BYTES)
        content = _read(file, start, end) + rest
        end = start
        cut = content.find(b"\n", 0, len(content) - 1) + 1 if start else 0
        if start and not cut and len(content) <= MOST_LINE_BYTES:
            rest = content  # The line begins further up.
            continue
        yield start + cut, content[cut:]
        rest = content[:cut]


def _spans(
    chunk: bytes, offset: int, needles: set[bytes], level: str, limit: int
) -> list[tuple[int, int]]:
    """Return where in the file the matching lines of a chunk lie, the newest first."""
    lowered = chunk.lower()
    starts = heapq.merge(*(_lines_holding(lowered, needle) for needle in needles), reverse=True)
    distinct = (start for start, _ in itertools.groupby(starts))
    spans = ((start, _line_end(chunk, start)) for start in distinct)
    wanted = ((a, b) for a, b in spans if _has_level(chunk[a:b], level))
    return [(offset + a, offset + b) for a, b in itertools.islice(wanted, limit)]


def _lines_holding(content: bytes, needle: bytes) -> Iterator[int]:
    at = content.rfind(needle)
    while at >= 0:
        start = content.rfind(b"\n", 0, at) + 1
        yield start
        at = content.rfind(needle, 0, max(0, start - 1))


def _line_end(content: bytes, start: int) -> int:
    end = content.find(b"\n", start)
    return len(content) if end < 0 else end


def _has_level(line: bytes, level: str) -> bool:
    words = line.split(b" ", 2)
    return not LEVELS[level] or (len(words) > 1 and words[1] in LEVELS[level])


def _matches(file: BinaryIO, spans: list[tuple[int, int]]) -> list[Match]:
    """Read the lines at some places, in the order of the file, and number them."""
    known, number = 0, 1
    found = []
    for start, end in spans:
        number += _count_lines(file, known, start) if start <= NUMBERED_BYTES else 0
        known = start
        text = _text(_read(file, start, min(end, start + 4 * MOST_SHOWN_CHARACTERS + 4)))
        found.append(Match(number if start <= NUMBERED_BYTES else None, start, end, text))
    return found


def _count_lines(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    sizes = (min(CHUNK_BYTES, end - at) for at in range(start, end, CHUNK_BYTES))
    return sum(file.read(size).count(b"\n") for size in sizes)
