"""What goes to the screen: labelled lines, bars, and text that cannot hurt a terminal."""

from __future__ import annotations

import click
import pytest

from trainer.cli.failures import Failure, explain
from trainer.cli.output import aligned, bar, commands_to_try
from trainer.cli.session import Session
from trainer.errors import ConfigurationError, ConflictError, Fault
from trainer.formats import harmless


def test_labels_line_up_and_long_texts_go_on_under_themselves() -> None:
    pairs = [("data", "one two three four five six"), ("nothing", ""), ("gpu", "n/a")]
    assert [click.unstyle(line) for line in aligned(pairs, 30)] == [
        "  data  one two three four",
        "        five six",
        "  gpu   n/a",
    ]


def test_commands_are_never_broken() -> None:
    command = "llm-trainer " + "x" * 100
    lines = [click.unstyle(line) for line in commands_to_try([("watch", command), ("log", "b")])]
    assert lines == [f"  watch  {command}", "  log    b"]


@pytest.mark.parametrize(
    ("percent", "drawn"),
    [(0, "░░░░░░░░"), (50, "████░░░░"), (100, "████████"), (250, "████████"), (-1, "░░░░░░░░")],
)
def test_a_bar(percent: float, drawn: str) -> None:
    assert bar(percent, 8) == drawn


def test_text_of_others_cannot_drive_the_terminal() -> None:
    assert harmless("a\x1b[31mb\r\x07\n\tc é 日\xa0") == "a\ufffd[31mb\ufffd\ufffd\n\tc é 日\xa0"


def test_each_kind_of_error_has_its_words_and_its_exit_status() -> None:
    session = Session()
    assert explain(ConflictError("It is active.", "Stop it."), session) == Failure(
        "It is active.", "Stop it.", 4
    )
    fault = Fault("--set", "training.epochs", "= 0 is not allowed")
    assert explain(ConfigurationError([fault], "Look."), session).exit_status == 2
    assert explain(click.UsageError("No such\n\toption."), session) == Failure(
        "No such option.", "See 'llm-trainer --help'.", 2
    )
    failure = explain(PermissionError(13, "Permission denied", "/somewhere/runs"), session)
    assert failure.message == "'/somewhere/runs' cannot be used: Permission denied."
    assert failure.exit_status == 1
    assert explain(OSError("odd"), session).message == "odd."


def test_a_path_too_long_to_show_is_shortened() -> None:
    failure = explain(OSError(36, "File name too long", "x" * 5000), Session())
    assert len(failure.message) < 200


@pytest.mark.parametrize(
    ("hint", "reaching"),
    [
        (
            "Start one with 'llm-trainer train'.",
            "Start one with 'llm-trainer --home '/a b' train'.",
        ),
        (
            "To start it anew: llm-trainer train --config /a/config.toml",
            "To start it anew: llm-trainer --home '/a b' train --config /a/config.toml",
        ),
        *(
            (kept, kept)
            for kept in (
                "Resume it there: llm-trainer resume --home /c --run-id a.",
                "See 'llm-trainer generate --help'.",
                "Use a newer llm-trainer for this workspace.",
            )
        ),
    ],
)
def test_commands_in_a_hint_reach_the_same_workspace(hint: str, reaching: str) -> None:
    assert explain(ConflictError("No.", hint), Session(home="/a b")).hint == reaching
    assert explain(ConflictError("No.", hint), Session()).hint == hint
