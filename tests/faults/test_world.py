"""Faults of the world around a run: full disks, vanished folders, damaged files, broken caches.

Full disks are real ones where a small file system can be mounted, and failing calls elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.conftest import MakeRun, point_row
from tests.faults.full_disk import CANNOT_MOUNT
from tests.texts import tiny_config, write_text
from trainer import launch
from trainer.cli import application
from trainer.errors import TrainerError
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.files import read_record
from trainer.store.metrics import MetricsReader, MetricsWriter
from trainer.store.recorder import Recorder
from trainer.store.records import State
from trainer.tui.watching import StoreWatch, read_listing
from webapp import create_app

PATIENCE_SECONDS = 120.0
SHOWN_SECONDS = 2.0
ROOT = Path(__file__).resolve().parents[2]

Count = Callable[..., None]

# ---------------------------------------------------------------------- no space: failing calls


class NoSpace:
    """Counts the calls of a function, and lets one of them find no space."""

    def __init__(self, real: Callable[..., Any], failing: int) -> None:
        self._real = real
        self._failing = failing
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self._failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._real(*arguments, **options)


SITES: dict[str, tuple[Any, str]] = {
    "a temporary file is made": (tempfile, "mkstemp"),
    "a file is synchronised": (os, "fsync"),
    "a file is put in its place": (os, "replace"),
    "rows are written": (MetricsWriter, "write"),
    "metrics are cut": (MetricsWriter, "cut_after"),
    "trouble is told": (os, "pwrite"),
}
"""Where a worker writes, apart from checkpoints."""


def write_through(
    run: Run, site: str, failing: int, patched: pytest.MonkeyPatch
) -> tuple[bool, bool]:
    """Let the n-th call at a site fail; return whether there was one, and whether all is there."""
    recorder = Recorder(run.paths, run.state)
    recorder.flush()
    owner, name = SITES[site]
    fault = NoSpace(getattr(owner, name), failing)
    # Only a function becomes a method where it is put into a class.
    as_method = functools.partialmethod(fault) if isinstance(owner, type) else fault
    patched.setattr(owner, name, as_method)
    recorder.trouble("checkpoint", "Told at every look while it lasts.")
    for step in (1, 2, 9, 3, 4):
        recorder.add("points", point_row(step))
        recorder.update(step=step)
        recorder.flush()
        if step == 9:
            recorder.cut_after(2)
    recorder.close(status="completed", phase=None)
    patched.undo()
    with MetricsReader(run.paths.metrics) as reader:
        steps = reader.series(["train_loss"])["series"]["train_loss"]["step"]
    state = read_record(run.paths.state, State)
    no_scraps = not list(run.paths.folder.glob("*.part")) and not run.paths.trouble.exists()
    seen = (steps, state.step, state.status, no_scraps)
    return fault.calls >= failing, seen == ([1, 2, 3, 4], 4, "completed", True)


@pytest.mark.parametrize("site", SITES)
def test_no_space_at_the_nth_write_loses_nothing(
    site: str, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tally: Count
) -> None:
    tried = (
        write_through(make_run(status="running"), site, failing, monkeypatch)
        for failing in (1, 2, 3, 4)
    )
    held = [whole for happened, whole in tried if happened]
    assert held
    tally("space", len(held), sum(held), note=f"{site}: call 1 to {len(held)}")


# ---------------------------------------------------------------------- no space: a full disk


def on_a_full_disk(case: str, tmp_path: Path) -> dict[str, Any]:
    """Play a case of :mod:`tests.faults.full_disk`; skip where nothing can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("cannot mount a small file system: there is no unshare here")
    command = ["unshare", "-rm", sys.executable, "-m", "tests.faults.full_disk", case, str(place)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if result.returncode == CANNOT_MOUNT or "unshare:" in result.stderr:
        pytest.skip("cannot mount a small file system here")
    assert result.returncode == 0, result.stderr
    outcome: dict[str, Any] = json.loads(result.stdout)
    return outcome


def test_a_full_disk_is_told_and_loses_no_point(tmp_path: Path, tally: Count) -> None:
    seen = on_a_full_disk("pen", tmp_path)
    assert seen["refused"]
    assert "state.json" in seen["trouble"]
    assert "metrics.sqlite3" in seen["trouble"]
    assert (seen["status"], seen["written"], seen["last"]) == ("running", True, 200)
    assert seen["steps"] == list(range(1, 202))
    assert seen["integrity"] == "ok"
    assert "There is space again." in seen["events"]
    assert "lines of this log could not be written: no space left." in seen["log"]
    in_time = max(seen["shown_seconds"], seen["over_seconds"]) < SHOWN_SECONDS
    tally("space", 1, int(in_time), note="state, metrics and log on a full file system")


def test_a_run_for_whose_folder_there_is_no_space_is_refused(tmp_path: Path) -> None:
    seen = on_a_full_disk("starting", tmp_path)
    assert "No space left" in seen["refused"]
    assert seen["runs"] == 0


def test_a_read_only_workspace_is_shown_and_refuses_changes(tmp_path: Path) -> None:
    seen = on_a_full_disk("read_only", tmp_path)
    assert set(seen["pages"].values()) == {200}
    assert "Read-only file system" in seen["refusals"]["annotate"]
    assert "Read-only file system" in seen["refusals"]["delete"]
    assert "Read-only file system" in seen["refusals"]["resume"]
    assert "newest points are not shown" in seen["note"]


@pytest.mark.soak
def test_a_run_trains_through_a_full_disk(tmp_path: Path, tally: Count) -> None:
    seen = on_a_full_disk("training", tmp_path)
    assert (seen["during"], seen["status"]) == ("running", "stopped")
    assert seen["steps"] == list(range(1, seen["last"] + 1))
    assert seen["saved_step"] == seen["last"]
    assert seen["integrity"] == "ok"
    assert "Traceback" not in seen["worker_log"]
    in_time = max(seen["shown_seconds"].values()) < SHOWN_SECONDS
    tally("space", 1, int(in_time), note=f"shown after {seen['shown_seconds']} s")


def test_on_a_full_disk_a_stop_has_its_countdown_and_its_cause(
    tmp_path: Path, tally: Count
) -> None:
    seen = on_a_full_disk("stopping", tmp_path)
    assert seen["moved"] > 20
    assert (seen["asked"], seen["status"]) == ("stopping", "interrupted")
    assert seen["deadline_seconds"] == 3
    assert seen["urgent"][0].startswith(("killed in", "being killed"))
    assert "Training is stopped; the run waits for space to save" in seen["trouble"]
    assert "did not end within its deadline of 3 s and was killed" in seen["error"]
    tally("space", 1, 1, note="a stop with a deadline on a full file system")


def test_a_run_that_is_done_on_a_full_disk_says_that_it_waits(tmp_path: Path, tally: Count) -> None:
    seen = on_a_full_disk("finished", tmp_path)
    assert (seen["during"], seen["phase"]) == ("running", "waiting for free space")
    assert (seen["step"], seen["eta_seconds"]) == (200, None)
    assert "All steps are done; the run waits for space to save its" in seen["trouble"]
    assert "Training goes on" not in seen["trouble"]
    assert (seen["status"], seen["last"]) == ("completed", 200)
    tally("space", 1, 1, note="the last step on a full file system")


@pytest.mark.soak
def test_a_run_waits_for_space_for_its_token_files(tmp_path: Path, tally: Count) -> None:
    seen = on_a_full_disk("preparing", tmp_path)
    assert seen["during"] == "preparing"
    assert "begins again with it when there is space" in seen["trouble"]
    assert (seen["status"], len(seen["steps"])) == ("completed", 12)
    tally("space", 1, 1, note="token files on a full file system")


# ---------------------------------------------------------------------- folders that vanish


@pytest.fixture
def training(store: RunStore, tmp_path: Path) -> Iterator[Run]:
    """A run that trains until the end of the test, unless it is gone before."""
    text = write_text(tmp_path / "text.txt")
    endless = ("training.max_steps=null", "training.epochs=9999", "checkpoint.every_steps=5")
    run_id = store.create(tiny_config(text, *endless))
    run = store.wait(run_id, lambda r: not r.active or (r.state.step or 0) > 10, PATIENCE_SECONDS)
    assert run.status == "running"
    yield run
    if run.state.process is not None:
        process.kill_group(run.state.process)


def wait_for_end(run: Run) -> None:
    owner = run.state.process
    assert owner is not None
    descriptor = os.pidfd_open(owner.pid)
    try:
        assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], "it did not end"
    finally:
        os.close(descriptor)


def test_a_run_whose_workspace_is_moved_is_found_where_it_is_now(
    training: Run, store: RunStore, tmp_path: Path
) -> None:
    home, new = store.workspace.home, tmp_path / "moved"
    home.rename(new)
    wait_for_end(training)
    assert not (home / "runs").exists()
    assert not (home / "checkpoints").exists()
    found = RunStore(new).get(training.run_id)
    assert found.status == "interrupted"
    assert found.state.error is not None
    assert f"was moved from {training.paths.folder} to {found.paths.folder}" in (
        found.state.error.message
    )
    assert found.state.error.hint.startswith("Resume it there")
    assert "Traceback" not in found.paths.worker_log.read_text()
    with MetricsReader(found.paths.metrics) as reader:
        steps = reader.series(["train_loss"], points=20_000)["series"]["train_loss"]["step"]
    assert steps == list(range(1, len(steps) + 1))


def test_a_run_whose_folder_is_deleted_ends_and_leaves_nothing(
    training: Run, store: RunStore
) -> None:
    while training.paths.folder.exists():  # A file may be replaced while they are removed.
        shutil.rmtree(training.paths.folder, ignore_errors=True)
    wait_for_end(training)
    assert not training.paths.folder.exists()
    assert store.list().total == 0


@pytest.mark.soak
def test_checkpoints_that_are_deleted_alone_are_made_anew(training: Run, store: RunStore) -> None:
    shutil.rmtree(training.paths.checkpoints)
    wanted = (training.state.step or 0) + 30
    store.wait(training.run_id, lambda run: (run.state.step or 0) > wanted, PATIENCE_SECONDS)
    store.stop(training.run_id)
    run = store.wait(training.run_id, lambda run: not run.active, PATIENCE_SECONDS)
    assert run.status == "stopped"
    assert store.checkpoints(training.run_id)[0].step == run.state.step
    with store.metrics(training.run_id) as reader:
        assert any("is made anew" in event["message"] for event in reader.events())


# ---------------------------------------------------------------------- damaged files

FILES = (
    "state.json",
    "meta.json",
    "annotations.json",
    "config.toml",
    "metrics.sqlite3",
    "metrics.sqlite3-wal",
    "metrics.sqlite3-shm",
    "stop.json",
    "trouble.json",
    "train.log",
)

DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(missing_ok=True),
    "empty": lambda path: _rewrite(path, lambda _: b""),
    "truncated": lambda path: _rewrite(path, lambda content: content[: len(content) // 2]),
    "garbage": lambda path: _rewrite(path, lambda _: b"\xff\x00garbage{[" * 600),
    "another type": lambda path: _rewrite(path, lambda _: b"[1, 2, 3]"),
    "nested": lambda path: _rewrite(path, lambda _: b"[" * 100_000),
    "a folder": lambda path: _make_folder(path),
}


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes() if path.is_file() else b"something else"))


def _make_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def look_everywhere(store: RunStore, run_id: str, web: Any) -> list[str]:
    """Look at a run as every viewer does; return what should not have been seen."""
    wrong = []
    addresses = ["/", f"/runs/{run_id}", f"/runs/{run_id}/checkpoints", f"/runs/{run_id}/resume"]
    addresses += ["/api/runs", f"/api/runs/{run_id}", f"/runs/{run_id}/delete"]
    parts = ("metrics", "events", "log", "checkpoints", "config", "samples", "system")
    addresses += [f"/api/runs/{run_id}/{part}" for part in parts]
    for address in addresses:
        answer = web.get(address)
        if b"did not expect" in answer.data or b"Traceback" in answer.data:
            wrong.append(f"GET {address}: {answer.status_code}")
    if run_id not in web.get("/").text or "good" not in web.get("/").text:
        wrong.append("the list hides a run")
    for arguments in (["status"], ["status", "--json"], ["status", "--run-id", run_id]):
        result = CliRunner(env={"LLM_TRAINER_HOME": str(store.workspace.home)}).invoke(
            application, arguments
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            wrong.append(f"{arguments}: {result.exception!r}")
    listed = {run.run_id for run in read_listing(store).runs}
    if listed != {run_id, "good"}:
        wrong.append(f"the terminal view lists {listed}")
    with contextlib.suppress(TrainerError):  # It is shown as a message.
        StoreWatch(store).look(run_id)
    return wrong


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_hides_no_run_and_raises_nothing(
    file: str, store: RunStore, make_run: MakeRun, home: Path, tally: Count
) -> None:
    make_run(run_id="good", points=2)
    web = create_app(home, config={"TESTING": True, "LIVE_IN_BACKGROUND": False}).test_client()
    wrong: dict[str, list[str]] = {}
    for number, (name, damage) in enumerate(DAMAGES.items()):
        run = make_run(run_id=f"bad-{number}", points=40, name="mine", step=40)
        damage(run.paths.folder / file)
        before = {path.name for path in run.paths.folder.iterdir()}
        wrong[name] = look_everywhere(store, run.run_id, web)
        new = {path.name for path in run.paths.folder.iterdir()} ^ before
        wrong[name] += sorted(new - {"metrics.sqlite3-shm", "metrics.sqlite3-wal", "run.lock"})
        shutil.rmtree(run.paths.folder)
    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_damaged_state_says_why_and_what_to_do(store: RunStore, make_run: MakeRun) -> None:
    run = with_checkpoint(make_run(status="running", step=40, dataset="x"))
    run.paths.state.write_text('{"run_id": ')
    seen = store.get(run.run_id)
    assert (seen.status, seen.state.step, seen.state.created_at) == (
        "failed",
        30,
        run.state.created_at,
    )
    assert seen.state.error is not None
    assert "state.json is damaged" in seen.state.error.message
    assert seen.state.error.hint == (
        "Resume the run to go on from latest.pt: its state is then written anew."
    )


def with_checkpoint(run: Run) -> Run:
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").write_bytes(b"x")
    facts = {"step": 30, "epoch": 1, "bytes": 1}
    run.paths.checkpoint("latest").with_name("latest.pt.json").write_text(json.dumps(facts))
    return run


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody trains what is resumed; the launcher lets go of what it holds."""

    def let_go(_: object, __: object, *held: Any) -> None:
        for each in held:
            if hasattr(each, "release"):
                each.release()

    monkeypatch.setattr(launch, "_start_worker", let_go)


@pytest.mark.usefixtures("no_worker")
def test_a_run_without_its_state_is_resumed_and_the_damaged_file_is_kept(
    store: RunStore, make_run: MakeRun
) -> None:
    run = with_checkpoint(make_run(status="running", step=40))
    run.paths.state.write_text('{"run_id": ')
    store.resume(run.run_id)
    [kept] = run.paths.folder.glob("state.json.damaged-*")
    assert kept.read_text() == '{"run_id": '
    state = read_record(run.paths.state, State)
    assert (state.run_id, state.step) == (run.run_id, 30)
    assert state.warnings == [
        "state.json was missing or damaged and was made anew at the resume. The old file is "
        f"{kept.name}."
    ]


def test_damaged_annotations_are_set_aside_by_the_next_change(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(name="old")
    run.paths.annotations.write_text("{")
    seen = store.get(run.run_id)
    assert seen.title == run.run_id
    assert seen.damage == (seen.state.warnings[-1],)
    assert "sets that file aside" in seen.damage[0]
    changed = store.annotate(run.run_id, name="new")
    assert (changed.title, changed.damage) == ("new", ())
    [kept] = run.paths.folder.glob("annotations.json.damaged-*")
    assert kept.read_text() == "{"


def test_a_run_that_is_being_deleted_elsewhere_is_no_damaged_run(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    for path in run.paths.folder.iterdir():
        path.unlink()
    assert store.list().total == 0


# ---------------------------------------------------------------------- token files

BUILD = (
    "import sys; from pathlib import Path;"
    "from tests.texts import tiny_config;"
    "from trainer.engine import corpus, tokenization;"
    "data, text = Path(sys.argv[1]), Path(sys.argv[2]);"
    "config = tiny_config(text);"
    "said = lambda progress: print(progress.phase, flush=True);"
    "found = corpus.load(config.data, data / 'datasets', lambda _: None);"
    "print('ready', flush=True); sys.stdin.readline();"
    "made = tokenization.prepare(found, config.data, data, said);"
    "print('key', made.key, made.splits['train'].tokens.sum(), flush=True)"
)


def builder(data: Path, text: Path) -> subprocess.Popen[str]:
    """Start a process that has read its text and builds token files when it is told to."""
    made = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(data), str(text)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


def begin(made: subprocess.Popen[str]) -> None:
    assert made.stdin is not None
    made.stdin.write("\n")
    made.stdin.flush()


def result(made: subprocess.Popen[str]) -> str:
    out, _ = made.communicate()
    return out.splitlines()[-1]


@pytest.mark.soak
def test_token_files_outlive_a_killed_builder_and_two_at_once(tmp_path: Path) -> None:
    data, text = tmp_path / "data", write_text(tmp_path / "text.txt", 2_000_000)
    killed = builder(data, text)
    begin(killed)
    assert killed.stdout is not None
    next(line for line in killed.stdout if line == "tokenizing\n")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    [half] = (data / "tokens").glob(".*")
    pair = [builder(data, text), builder(data, text)]
    for each in pair:
        begin(each)
    first, second = (result(each) for each in pair)
    assert first == second
    assert first.startswith("key ")
    assert not half.exists()
    assert len([path for path in (data / "tokens").iterdir() if path.is_dir()]) == 1
