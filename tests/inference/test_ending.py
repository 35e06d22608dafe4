"""What the log of a process tells of its failure."""

from __future__ import annotations

import pytest

from trainer.inference.ending import failure_lines

ROUTINE = "2026-11-23 20:36:33,609 25773 Serving /home after 17.6 s."
TRACEBACK = """Traceback (most recent call last):
  File "models.py", line 3, in load
    raise RuntimeError("no kernel")
RuntimeError: no kernel"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("", ""),
        (ROUTINE, ""),
        (f"torch is missing\n{ROUTINE}", ""),
        (f"{ROUTINE}\n{TRACEBACK}", "RuntimeError: no kernel"),
        (f"{ROUTINE}\nFatal error: out of memory", "Fatal error: out of memory"),
    ],
)
def test_only_a_failure_is_quoted(log: str, told: str) -> None:
    assert failure_lines(log) == told
