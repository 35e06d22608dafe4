"""The program as a process of its own: what it imports, terminals, pipes, signals, exit status."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.conftest import MakeRun
from trainer import __version__
from trainer.children import environment
from trainer.store.process import identify

TIMEOUT_SECONDS = 60
PROGRAM = [sys.executable, "-m", "trainer"]
HEAVY = ("torch", "numpy", "datasets", "tokenizers", "flask", "textual", "rich")


def variables(home: Path, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The environment of a call; a value of None takes a variable away."""
    given = environment() | {"LLM_TRAINER_HOME": str(home), "TERM": "xterm-256color"}
    wanted: dict[str, str | None] = {**given, "NO_COLOR": None, **(changes or {})}
    return {name: value for name, value in wanted.items() if value is not None}


def call(
    home: Path, *arguments: str, changes: Mapping[str, str | None] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end, with pipes for its output."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_SECONDS,
        env=variables(home, changes),
        check=False,
    )


def on_terminal(
    home: Path,
    *arguments: str,
    changes: Mapping[str, str | None],
    program: Sequence[str] = PROGRAM,
) -> str:
    """Run the program to its end on a pseudo-terminal and return what the terminal was sent."""
    master, slave = pty.openpty()
    try:
        subprocess.run(
            [*program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            timeout=TIMEOUT_SECONDS,
            env=variables(home, changes),
            check=False,
        )
        return os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("command", [["--help"], ["status"], ["status", "--json"], ["--version"]])
def test_starting_up_imports_nothing_heavy(
    home: Path, make_run: MakeRun, command: list[str]
) -> None:
    make_run(run_id="a", name="first", train_loss=2.0, step=1)
    script = (
        "import sys\n"
        "from trainer.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    sys.exit(f'{end.code} {heavy}')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=variables(home),
        check=False,
    )
    assert result.stderr == "0 []\n"


def test_the_module_is_the_program(home: Path) -> None:
    assert call(home, "--version").stdout.decode() == f"llm-trainer {__version__}\n"


def test_a_refusal_has_its_status_and_no_traceback(home: Path) -> None:
    result = call(home, "status", "--run-id", "nope", "--json")
    assert (result.returncode, result.stdout) == (3, b"")
    assert result.stderr.startswith(b"Error: There is no run 'nope'")
    assert b"Traceback" not in result.stderr


def test_a_mistake_of_the_program_is_told_without_a_traceback(home: Path) -> None:
    result = mistaken(home)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "Error: Something unexpected happened: KeyError: 'x'",
        "This is a mistake in llm-trainer; the same command with --debug shows where.",
    ]
    assert "Traceback" in mistaken(home, "--debug").stderr


def mistaken(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Call ``status`` of a program in which something is broken."""
    script = (
        "import sys\n"
        "from trainer.cli import main\n"
        "from trainer.cli.commands import status\n"
        "status.run_list = status.no_runs = lambda *_, **__: {}['x']\n"
        "main(['status', *sys.argv[1:]])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=variables(home),
        check=False,
    )


def test_a_reader_that_has_gone_is_no_error(home: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = subprocess.run(
        [*PROGRAM, "config", "show"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        env=variables(home),
        check=False,
    )
    os.close(write_end)
    assert result.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_terminal_will_do(home: Path, make_run: MakeRun, encoding: str) -> None:
    make_run(run_id="a", name="Übung 日本", status="failed")
    changes = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    result = call(home, "status", changes=changes)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "bung" in result.stdout.decode(encoding)
    document = json.loads(call(home, "status", "--json", changes=changes).stdout.decode(encoding))
    assert document["runs"][0]["name"] == "Übung 日本"


def test_colour_on_a_terminal_and_none_where_it_is_not_wanted(
    home: Path, make_run: MakeRun
) -> None:
    make_run(run_id="a", status="failed")
    assert "\x1b[31mfailed" in on_terminal(home, "status", changes={})
    assert "\x1b[3" not in on_terminal(home, "status", changes={"NO_COLOR": "1"})
    assert "\x1b" not in on_terminal(home, "status", changes={"TERM": "dumb"})


def test_on_a_terminal_watching_redraws_and_leaves_the_last_look(
    home: Path, make_run: MakeRun
) -> None:
    make_run(run_id="a", status="completed")
    shown = on_terminal(home, "status", "--run-id", "a", "--watch", changes={})
    assert "\x1b[?25l" in shown  # The cursor is hidden while the screen is redrawn, then back.
    assert shown.index("completed") < shown.rindex("\x1b[?25h")


def test_the_workspace_may_be_named_by_the_environment_or_be_the_folder(
    home: Path, make_run: MakeRun
) -> None:
    make_run(run_id="a")
    assert len(json.loads(call(home, "status", "--json").stdout)["runs"]) == 1
    here = subprocess.run(
        [*PROGRAM, "status", "--json"],
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        cwd=home,
        env=variables(home, {"LLM_TRAINER_HOME": None}),
        check=False,
    )
    assert len(json.loads(here.stdout)["runs"]) == 1


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["status", "--watch", "--run-id", "a"], 0),
        (["logs", "--follow", "--run-id", "a"], 130),
    ],
)
def test_ctrl_c_ends_watching_quietly(
    home: Path, make_run: MakeRun, command: list[str], status: int
) -> None:
    run = make_run(run_id="a", status="running", process=identify(os.getpid()))
    run.paths.train_log.write_text("the first line\n")
    watching = subprocess.Popen(
        [*PROGRAM, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(home),
    )
    assert watching.stdout is not None
    assert watching.stdout.readline().strip()
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=TIMEOUT_SECONDS)
    assert watching.returncode == status
    assert b"Traceback" not in errors


def complete(home: Path, *words: str) -> list[str]:
    """Ask for completions of the last word as bash does."""
    changes = {
        "_LLM_TRAINER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["llm-trainer", *words]),
        "COMP_CWORD": str(len(words)),
    }
    lines = call(home, changes=changes).stdout.decode().splitlines()
    return [line.partition(",")[2] for line in lines]


def test_the_shell_completes_commands_runs_settings_and_configurations(
    home: Path, make_run: MakeRun
) -> None:
    make_run(run_id="20260102-aaaa")
    assert complete(home, "sta") == ["status"]
    assert complete(home, "status", "--run-id", "2026") == ["20260102-aaaa"]
    assert complete(home, "train", "--config", "qu") == ["quickstart"]
    assert complete(home, "train", "--set", "training.ep") == ["training.epochs="]
