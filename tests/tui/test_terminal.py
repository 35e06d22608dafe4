"""Where the terminal view refuses to draw, and how it finds out about colours."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from trainer import tui
from trainer.errors import UsageError
from trainer.runs import RunStore
from trainer.tui import terminal


def test_without_a_terminal_it_says_what_to_use_instead(store: RunStore) -> None:
    with pytest.raises(UsageError) as refusal:
        tui.run(store)
    assert "needs a terminal" in refusal.value.message
    assert "status --watch" in refusal.value.hint


@pytest.mark.parametrize(("term", "colours"), [("xterm-256color", "True"), ("vt100", "False")])
def test_colours_are_asked_of_the_terminal(term: str, colours: str) -> None:
    """In a process of its own: a terminal's description is read once in a process's life."""
    leader, follower = pty.openpty()
    script = (
        "from trainer.tui.terminal import has_colour as f; import sys; sys.stderr.write(str(f()))"
    )
    try:
        answer = subprocess.run(
            [sys.executable, "-c", script],
            stdout=follower,
            stderr=subprocess.PIPE,
            env=os.environ | {"TERM": term},
            check=True,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert answer.stderr.decode() == colours


@pytest.mark.parametrize(("colour", "expected"), [(True, None), (False, "1")])
def test_a_terminal_without_colour_gets_none(
    monkeypatch: pytest.MonkeyPatch, colour: bool, expected: str | None
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(terminal, "has_colour", lambda: colour)
    terminal.prepare_environment()
    assert os.environ.get("NO_COLOR") == expected
    monkeypatch.delenv("NO_COLOR", raising=False)
