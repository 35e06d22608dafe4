"""Who tells a webhook of a run's end: once for each, and never in the way of the run."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import MakeRun
from tests.notify.hook import PATIENCE_SECONDS, SECRET, Hook, listening, status
from tests.texts import tiny_config, write_text
from trainer import config as configuration
from trainer.children import module_command
from trainer.config import Config
from trainer.notify import notifying
from trainer.notify.notification import URL_VARIABLE, notification_words, read_notification
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.lock import exclusive
from trainer.store.records import ErrorRecord, Notification, ProcessRecord
from trainer.store.workspace import RunPaths

GONE = ProcessRecord(pid=2**22 + 1, boot_id="before", start_ticks=1)
LATER = msgspec.structs.replace(GONE, start_ticks=2)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with listening() as made:
        yield made


def telling(hook: Hook, **more: Any) -> Config:
    return configuration.replace(Config(), notify__url=hook.url, **more)


def watch(run: Run, worker: ProcessRecord = GONE, *, said: bytes | None = None) -> None:
    """Do what the process does when the worker's end of the pipe has closed."""
    goodbye = run.paths.state.read_bytes() if said is None else said
    notifying.watch(run.paths, worker, io.BytesIO(goodbye))


def told(run: Run) -> Notification:
    found = read_notification(run.paths)
    assert found is not None
    return found


# ---------------------------------------------------------------------- what is told


def test_a_run_that_is_complete(make_run: MakeRun, store: RunStore, hook: Hook) -> None:
    figures = {"step": 1200, "total_steps": 1200, "epoch": 3, "epochs": 3}
    results = {"best_val_loss": 4.43312, "val_word_perplexity": 85.0, "elapsed_seconds": 3720.0}
    run = make_run(
        name="Übung ☃", config=telling(hook), best_val_word_perplexity=84.213, **figures, **results
    )
    watch(run)
    (message,) = hook.messages
    wanted: dict[str, Any] = {
        "event": "completed",
        "status": "completed",
        "run_id": run.run_id,
        "name": "Übung ☃",
    }
    wanted |= {"message": None, "perplexity": 85.0, "best_perplexity": 84.213, "val_loss": None}
    wanted |= figures
    assert {key: message[key] for key in wanted} == wanted
    assert (
        message["text"]
        == message["content"]
        == (
            f"Übung ☃ ({run.run_id}) is complete: step 1,200 of 1,200, 1 h 2 min, "
            "best validation loss 4.4331, best perplexity 84.21."
        )
    )
    assert message.keys() >= {"host", "time", "device", "dataset", "heartbeat_at"}
    (notice,) = store.inspect(run.run_id).state.notices
    assert notice.startswith("The webhook http://127.0.0.1:")
    assert notice.endswith("that the run is complete.")
    assert SECRET not in notice


def test_a_run_that_failed(make_run: MakeRun, hook: Hook) -> None:
    error = ErrorRecord(kind="memory", message="There was not enough memory.", hint="Lower it.")
    run = make_run(config=telling(hook), status="failed", step=7, error=error)
    watch(run)
    (message,) = hook.messages
    assert (message["event"], message["kind"]) == ("failed", "memory")
    assert (message["message"], message["hint"]) == ("There was not enough memory.", "Lower it.")
    assert message["text"] == f"{run.run_id} failed: step 7. There was not enough memory."


def test_a_run_whose_process_was_killed_says_nothing_itself(make_run: MakeRun, hook: Hook) -> None:
    run = make_run(config=telling(hook), status="running", step=7, process=GONE)
    watch(run, said=b"")
    (message,) = hook.messages
    assert message["event"] == "interrupted"
    assert message["message"].endswith("the machine was restarted.")


def test_a_last_state_that_was_cut_off_is_read_from_the_file(make_run: MakeRun, hook: Hook) -> None:
    run = make_run(config=telling(hook), step=7)
    watch(run, said=run.paths.state.read_bytes()[:100])
    assert [message["event"] for message in hook.messages] == ["completed"]


def test_an_end_counts_although_the_run_was_taken_up_again(make_run: MakeRun, hook: Hook) -> None:
    another = process.identify(os.getpid())
    run = make_run(config=telling(hook), status="preparing", process=another)
    watch(run, said=b"")
    assert [message["event"] for message in hook.messages] == ["interrupted"]


def test_only_the_ends_that_were_asked_for(make_run: MakeRun, hook: Hook) -> None:
    silent = make_run(config=telling(hook), status="stopped")
    watch(silent)
    assert (hook.messages, read_notification(silent.paths)) == ([], None)
    watch(make_run(config=telling(hook, notify__events=["stopped"]), status="stopped"))
    assert [message["event"] for message in hook.messages] == ["stopped"]


def test_the_environment_names_the_webhook_of_runs_without_their_own(
    make_run: MakeRun, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, hook.url)
    run = make_run()
    watch(run)
    assert len(hook.messages) == 1
    assert SECRET not in run.paths.config.read_text()


def test_what_could_not_be_told_is_a_warning(
    make_run: MakeRun, store: RunStore, hook: Hook
) -> None:
    hook.answers = [status(404)]
    run = make_run(config=telling(hook))
    watch(run)
    (warning,) = store.inspect(run.run_id).state.warnings
    assert "could not be told" in warning
    assert "that the run is complete: HTTP 404 after 1 attempt." in warning
    assert SECRET not in warning
    assert notification_words(Notification(worker=GONE)) is None


# ---------------------------------------------------------------------- once


def test_an_end_is_told_once_and_the_next_one_again(make_run: MakeRun, hook: Hook) -> None:
    run = make_run(config=telling(hook))
    watch(run)
    watch(run)
    assert len(hook.messages) == 1
    watch(run, LATER)
    assert len(hook.messages) == 2


def test_a_message_that_may_have_been_sent_is_not_sent_again(make_run: MakeRun, hook: Hook) -> None:
    run = make_run(config=telling(hook))
    notifying._keep(run.paths, Notification(worker=GONE, status="sending"))
    watch(run)
    assert hook.messages == []


def test_two_viewers_that_start_at_once_tell_it_once(
    make_run: MakeRun, store: RunStore, hook: Hook
) -> None:
    run = make_run(config=telling(hook), status="running", process=GONE)
    command = module_command("trainer.notify.notifying", "--home", str(store.workspace.home))
    command += ["--run-id", run.run_id, "--worker", msgspec.json.encode(GONE).decode()]
    both = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(PATIENCE_SECONDS) for one in both] == [0, 0]
    assert [message["event"] for message in hook.messages] == ["interrupted"]


def test_a_viewer_that_starts_tells_what_nobody_lived_to_tell(
    make_run: MakeRun, store: RunStore, hook: Hook
) -> None:
    missed = make_run(config=telling(hook), status="running", process=GONE)
    notifying._keep(missed.paths, Notification(worker=GONE))
    watch(make_run(config=telling(hook)))
    assert notifying.tell_missed(store.workspace) == 1
    assert hook.wait_for(2)[1]["run_id"] == missed.run_id


# ---------------------------------------------------------------------- processes


def test_a_killed_process_is_told_of_at_once(
    make_run: MakeRun, store: RunStore, hook: Hook
) -> None:
    run = make_run(config=telling(hook), status="running", step=7)
    program = (
        "import sys; from trainer.notify import notifying;"
        "from trainer.store.workspace import Workspace;"
        "workspace = Workspace(sys.argv[1]);"
        "goodbye = notifying.begin(workspace, workspace.paths(sys.argv[2]));"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(store.workspace.home), run.run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        assert hook.messages == []
        worker.send_signal(signal.SIGKILL)
    assert hook.wait_for(1)[0]["event"] == "interrupted"


def test_a_worker_ends_while_its_webhook_hangs(store: RunStore, hook: Hook, tmp_path: Path) -> None:
    hook.answers = [hook.hang]
    config = tiny_config(write_text(tmp_path / "text.txt"), "training.max_steps=2")
    run_id = store.create(
        configuration.replace(config, notify__url=hook.url), command=[f"notify.url={hook.url}"]
    )
    run = store.wait(run_id, lambda now: now.state.process is not None, PATIENCE_SECONDS)
    assert run.state.process is not None
    assert process.wait_for_end(run.state.process, PATIENCE_SECONDS)
    assert store.get(run_id).status == "completed"
    assert (len(hook.wait_for(1)), hook.answered) == (1, 0)
    hook.released.set()
    wait_until_delivered(run.paths)
    assert only_in_its_configuration(run.paths.folder)


def wait_until_delivered(paths: RunPaths) -> None:
    """Wait for the process that tells: it holds the lock for as long as it lives."""
    with exclusive(paths.notify_lock):
        found = read_notification(paths)
    assert found is not None
    assert (found.status, found.answer, found.attempts) == ("delivered", "HTTP 204", 1)


def only_in_its_configuration(folder: Path) -> bool:
    files = [path for path in folder.iterdir() if path.is_file()]
    files += (folder.parent.parent / "checkpoints" / folder.name).glob("*")
    return [path.name for path in files if SECRET.encode() in path.read_bytes()] == ["config.toml"]


def test_where_nobody_is_to_be_told_no_process_is_started(
    make_run: MakeRun, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    assert notifying.begin(store.workspace, make_run().paths) is None
