"""A log is read in parts and searched from its end, however large it is."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import pytest

from trainer import logreading
from trainer.errors import UsageError
from trainer.logreading import CHUNK_BYTES, Found, search, window

STAMP = "2026-01-02T03:04:05.000Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


def write(path: Path, *messages: str) -> None:
    path.write_text("".join(f"{STAMP} {message}\n" for message in messages))


def told(found: Found) -> list[tuple[int | None, str]]:
    return [(match.line, match.text.partition(" ")[2]) for match in found.matches]


# ---------------------------------------------------------------------- a part of the log


def test_a_log_is_read_backwards_part_by_part(path: Path) -> None:
    path.write_text("".join(f"line {number}\n" for number in range(1, 8)))
    newest = window(path, lines=3)
    assert newest.lines == ["line 5", "line 6", "line 7"]
    assert (newest.start, newest.end, newest.size) == (28, 49, 49)
    older = window(path, before=newest.start, lines=3)
    assert older.lines == ["line 2", "line 3", "line 4"]
    oldest = window(path, before=older.start, lines=3)
    assert (oldest.lines, oldest.start) == (["line 1"], 0)
    newer = window(path, after=older.start, lines=2)
    assert (newer.lines, newer.end) == (["line 2", "line 3"], 21)


def test_only_whole_lines_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logreading, "WINDOW_BYTES", 16)
    path.write_text("line 1\nline 2\nline 3\nhalf")
    assert window(path) == logreading.LogWindow(["line 3"], 14, 21, 25)
    assert window(path, after=0).lines == ["line 1", "line 2"]
    assert window(path, after=14).lines == ["line 3"]
    path.write_text("endless " * 9)
    assert window(path, after=0).lines == ["endless endless "]


def test_a_log_that_is_not_there_is_empty(path: Path) -> None:
    assert window(path).lines == []
    assert search(path, "x") == Found([], 0, 0, None)


# ---------------------------------------------------------------------- searching


def test_lines_are_found_in_any_case_with_their_number(path: Path) -> None:
    write(path, "INFO Saved latest.pt", "INFO step 2", "INFO saved BEST.pt, saved again")
    found = search(path, "sAvEd")
    assert told(found) == [(1, "INFO Saved latest.pt"), (3, "INFO saved BEST.pt, saved again")]
    assert found.next is None
    assert path.read_bytes()[found.matches[1].start :].startswith(f"{STAMP} INFO saved B".encode())


def test_a_text_is_no_pattern_and_may_be_beyond_ascii(path: Path) -> None:
    write(path, "INFO a.*b", "INFO axxb", "INFO ÄRGER und ärger", "INFO Ärger")
    assert told(search(path, "A.*B")) == [(1, "INFO a.*b")]
    assert [line for line, _ in told(search(path, "ärger"))] == [3, 4]
    assert [line for line, _ in told(search(path, "Ärger"))] == [3, 4]


@pytest.mark.parametrize(
    ("text", "level", "lines"),
    [("", "warning", [2, 3, 5]), ("", "error", [3, 5]), ("disk", "warning", [2]),
     ("disk", "all", [2, 4])],
)  # fmt: skip
def test_a_level_is_the_second_word(path: Path, text: str, level: str, lines: list[int]) -> None:
    write(path, "INFO fine", "WARNING disk", "ERROR no", "INFO disk ERROR it says", "CRITICAL x")
    assert [line for line, _ in told(search(path, text, level))] == lines


def test_the_newest_are_found_first_and_the_search_goes_on(path: Path) -> None:
    write(path, *(f"INFO hit {number}" for number in range(1, 8)))
    first = search(path, "hit", limit=3)
    assert [line for line, _ in told(first)] == [5, 6, 7]
    second = search(path, "hit", limit=3, before=first.next)
    assert [line for line, _ in told(second)] == [2, 3, 4]
    third = search(path, "hit", limit=3, before=second.next)
    assert [line for line, _ in told(third)] == [1]
    assert third.next is None


def test_lines_across_the_edge_of_a_chunk_are_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logreading, "CHUNK_BYTES", 37)
    monkeypatch.setattr(logreading, "MOST_LINE_BYTES", 148)
    messages = [f"INFO needle {'x' * number} {number}" for number in range(60)]
    write(path, *messages)
    assert told(search(path, "needle")) == list(enumerate(messages, start=1))
    path.write_text(f"{'y' * 400} needle\n")
    assert search(path, "needle").matches[0].text.endswith(" needle")


def test_a_search_stops_when_its_time_is_over(path: Path) -> None:
    with path.open("w") as file:
        file.write(f"{STAMP} INFO rare\n")
        file.write("x" * 99 + "\n" * 1)
        file.writelines(itertools.repeat("y" * 99 + "\n", 3 * CHUNK_BYTES // 100))
    ticks = itertools.count()
    found = search(path, "rare", seconds=2, clock=lambda: next(ticks))
    assert found.matches == []
    assert found.next == found.searched_from
    assert CHUNK_BYTES < found.searched_from < 2 * CHUNK_BYTES
    assert told(search(path, "rare", before=found.next)) == [(1, "INFO rare")]


def test_a_hundred_megabytes_are_searched_in_little_memory(path: Path) -> None:
    line = f"{STAMP} INFO step 12345/99999  loss 3.1415\n"
    block = (line * (CHUNK_BYTES // len(line))).encode()
    with path.open("wb") as file:
        file.write(f"{STAMP} WARNING the first line\n".encode())
        file.writelines(itertools.repeat(block, 100))
        file.write(f"{STAMP} ERROR the last line\n".encode())
    lines_between = 100 * (CHUNK_BYTES // len(line))
    tracemalloc.start()
    try:
        found = search(path, "THE ", seconds=600)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told(found) == [
        (1, "WARNING the first line"),
        (lines_between + 2, "ERROR the last line"),
    ]
    assert peak < 8 * CHUNK_BYTES
    assert len(search(path, "loss", seconds=600).matches) == 500


@pytest.mark.parametrize(
    ("text", "level", "words"),
    [("", "all", "nothing to look for"), ("a", "loud", "'loud' is not a level"),
     ("a" * 201, "all", "more than 200")],
)  # fmt: skip
def test_a_senseless_search_is_refused(path: Path, text: str, level: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        search(path, text, level)
