"""The viewer's side of a dry run: what it asks of a process, and what becomes of the answers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.texts import tiny_config, write_text
from trainer.errors import DataError, DeviceError, TrainerError, UsageError
from trainer.foresight import estimates

Script = Callable[[str], None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Let another program answer; it finds the options of the real one in ``sys.argv``."""

    def use(program: str) -> None:
        monkeypatch.setattr(
            estimates,
            "module_command",
            lambda module, *arguments: [sys.executable, "-c", program, *arguments],
        )

    return use


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")


def test_phases_are_told_and_the_estimate_returned(
    script: Script, text: Path, tmp_path: Path
) -> None:
    script("""print('{"phase": "measuring"}'); print('{"estimate": {"steps": 12}}')""")
    told: list[str] = []
    found = estimates.estimate(tiny_config(text), tmp_path / "data", told.append)
    assert found == {"steps": 12}
    assert told == ["measuring …"]


def test_after_tokenizing_it_is_asked_again(script: Script, text: Path, tmp_path: Path) -> None:
    script(
        "import pathlib, sys\n"
        "data = pathlib.Path(sys.argv[4])\n"
        """print('{"estimate": {}}' if data.exists() else '{"tokenized": true}')\n"""
        "data.mkdir(exist_ok=True)"
    )
    assert estimates.estimate(tiny_config(text), tmp_path / "data", print) == {}


def test_the_process_gets_the_whole_configuration(
    script: Script, text: Path, tmp_path: Path
) -> None:
    script(
        "import json, pathlib, sys, tomllib\n"
        "config = tomllib.loads((pathlib.Path(sys.argv[2]) / 'config.toml').read_text())\n"
        "print(json.dumps({'estimate': config['training']}))"
    )
    config = tiny_config(text, "training.max_steps=7")
    assert estimates.estimate(config, tmp_path / "data", print)["max_steps"] == 7


def test_an_error_keeps_its_class(script: Script, text: Path, tmp_path: Path) -> None:
    script(
        'print(\'{"error": {"kind": "data", "message": "No text.", "hint": "Give some."}}\');'
        "exit(1)"
    )
    with pytest.raises(DataError, match=r"No text\. Give some\."):
        estimates.estimate(tiny_config(text), tmp_path / "data", print)


def test_a_process_that_dies_is_told_with_its_last_words(
    script: Script, text: Path, tmp_path: Path
) -> None:
    script("raise SystemExit('torch is broken')")
    with pytest.raises(TrainerError, match="Trying out the run failed: torch is broken"):
        estimates.estimate(tiny_config(text), tmp_path / "data", print)


def test_what_a_run_would_be_refused_for_is_refused_before(script: Script, tmp_path: Path) -> None:
    script("raise SystemExit('this must not be started')")
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        estimates.estimate(tiny_config(tmp_path / "nowhere.txt"), tmp_path / "data", print)


def test_a_strict_device_that_is_not_here_is_refused(
    script: Script, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise DeviceError("The device 'H100' is not here.")

    monkeypatch.setattr("trainer.launch.require_strict_device", missing)
    script("raise SystemExit('this must not be started')")
    with pytest.raises(DeviceError):
        estimates.estimate(tiny_config(text), tmp_path / "data", print)


def test_a_trial_that_is_cancelled_ends_with_all_it_has_started(
    script: Script, text: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "child"
    script(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
        """print('{"phase": "measuring"}', flush=True)\n"""
        "child.wait()"
    )
    leash = estimates.Leash()
    with pytest.raises(estimates.TrialEndedError, match="it was cancelled"):
        estimates.estimate(
            tiny_config(text), tmp_path / "data", lambda _: leash.cancelled.set(), leash
        )
    child = Path(f"/proc/{mark.read_text()}/stat")
    deadline = time.monotonic() + 20
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_trial_that_takes_too_long_is_ended(script: Script, text: Path, tmp_path: Path) -> None:
    script("import time; time.sleep(600)")
    with pytest.raises(estimates.TrialEndedError, match="it took too long"):
        estimates.estimate(
            tiny_config(text), tmp_path / "data", print, estimates.Leash(timeout_seconds=0.2)
        )


def test_the_process_ends_with_whoever_asked() -> None:
    command = [sys.executable, "-m", estimates.ESTIMATE_MODULE]
    command += ["--folder", "/nowhere", "--data", "/nowhere", "--while-asked"]
    program = "from trainer.engine import estimate as e; import threading; "
    program += "e._answer = lambda *_: threading.Event().wait(); e.main()"
    command = [sys.executable, "-c", program, *command[3:]]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 1
