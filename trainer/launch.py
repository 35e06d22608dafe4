"""Making runs and giving them a process: the only place that starts a worker."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from trainer import __version__, datasource
from trainer import config as configuration
from trainer.candidates import wanted_devices
from trainer.children import environment, module_command
from trainer.config import Config
from trainer.devices import require_strict_device
from trainer.errors import ConflictError, DamagedError, StoreError
from trainer.queueing import queued_state
from trainer.store import process
from trainer.store.files import read_record, replace_file, set_aside, sync_folder, write_record
from trainer.store.lock import RunLock, holder
from trainer.store.queue import Place, Queue
from trainer.store.records import ACTIVE, Annotations, Meta, ProcessRecord, State, now
from trainer.store.truth import told_truly
from trainer.store.workspace import RunPaths, Workspace, new_run_id

log = logging.getLogger(__name__)

LOCK_PATIENCE_SECONDS = 0.5
SIGNATURE_PATIENCE_SECONDS = 0.3
_PACKAGES = ("torch", "datasets", "tokenizers", "numpy")


def create_run(
    workspace: Workspace,
    config: Config,
    *,
    name: str | None = None,
    tags: Sequence[str] = (),
    command: Sequence[str] = (),
    parent: str | None = None,
    now_anyway: bool = False,
) -> str:
    """Make a run, start its worker in the background and return the run id.

    The run waits in its worker until its device is free, unless it is to start now anyway.

    Raises:
        UsageError: the text cannot be trained on (missing, empty, binary, too small).
        DeviceError: ``device.strict`` is set and the device is not here.
        StoreError: the run folder cannot be written.
    """
    config, choice = settle(config)
    meta = Meta(
        run_id=new_run_id(),
        created_at=now(),
        command=configuration.without_secrets(command),
        versions=versions(),
        parent=parent,
        data={"requested": choice.requested, "used": choice.used, "reason": choice.reason},
    )
    notes = Annotations(name=name, tags=list(dict.fromkeys(tags)))
    try:
        place = _draw_place(workspace, meta.run_id, config, now_anyway)
        with _releasing_on_failure(place):
            queued = queued_state(place.standing, workspace)
            paths, lock = _make_folder(workspace, meta, config, notes, queued)
    except OSError as error:
        raise StoreError(
            f"The run folder cannot be made in {workspace.home}: {error.strerror}.",
            "Check free space and permissions, or choose another folder with --home.",
        ) from error
    _start_worker(workspace, paths, lock, place)
    return meta.run_id


def _draw_place(workspace: Workspace, run_id: str, config: Config, now_anyway: bool) -> Place:
    """Draw the run's place in the queue for what it may train on.

    Raises:
        OSError: the place cannot be written.
        StoreError: another process does not let go of the queue.
    """
    devices, words = wanted_devices(config.device.preference)
    return Queue(workspace.queue_dir).draw(run_id, devices, words, anyway=now_anyway)


@contextmanager
def _releasing_on_failure(held: RunLock | Place) -> Iterator[None]:
    """Let go of a lock or a place when what it is held for fails."""
    try:
        yield
    except BaseException:
        held.release()
        raise


def settle(config: Config) -> tuple[Config, datasource.Choice]:
    """Return the configuration that a run would be made with, and the text it would learn from.

    Raises:
        UsageError: the text cannot be trained on (missing, empty, binary, too small).
        DeviceError: ``device.strict`` is set and the device is not here.
    """
    choice = datasource.choose(config.data)
    datasource.check_at_launch(choice.settings, config.training)
    require_strict_device(config.device)
    data = datasource.absolute_path(choice.settings)
    return configuration.resolved(msgspec.structs.replace(config, data=data)), choice


def _make_folder(
    workspace: Workspace,
    meta: Meta,
    config: Config,
    notes: Annotations,
    queued: Mapping[str, Any],
) -> tuple[RunPaths, RunLock]:
    """Make the run folder under another name and rename it: it appears whole and owned."""
    paths = workspace.paths(meta.run_id)
    staging = workspace.runs_dir / f".new-{meta.run_id}"
    staged = RunPaths(meta.run_id, staging, paths.checkpoints)
    staging.mkdir(parents=True)
    try:
        state = State(
            run_id=meta.run_id,
            epochs=config.training.epochs,
            dataset=meta.data["used"],
            notices=[meta.data["reason"]] if meta.data["reason"] else [],
            created_at=meta.created_at,
            updated_at=meta.created_at,
            **queued,
        )
        write_record(staged.meta, meta)
        write_record(staged.annotations, notes)
        write_record(staged.state, state)
        replace_file(staged.config, configuration.to_toml(config, secrets=True).encode())
        lock = RunLock.acquire(staged.lock)
        if lock is None:
            raise StoreError(f"The lock of the new run {meta.run_id} is held by another process.")
        staging.rename(paths.folder)
        sync_folder(workspace.runs_dir)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return paths, lock


def restart_run(
    workspace: Workspace,
    paths: RunPaths,
    state: State,
    config: Config | None,
    checkpoint: str,
    *,
    now_anyway: bool = False,
) -> None:
    """Give a run that has ended a new worker that goes on from a checkpoint.

    It waits until its device is free, unless it is to start now anyway.

    Args:
        config: None: the one in the run folder is damaged, and the worker restores it.

    Raises:
        ConflictError: another process owns the run.
        StoreError: the run folder cannot be written.
    """
    lock = _take_over(paths)
    try:
        with _releasing_on_failure(lock):
            place = _draw_place(workspace, paths.run_id, config or Config(), now_anyway)
            with _releasing_on_failure(place):
                queued = queued_state(place.standing, workspace)
                _prepare_restart(paths, msgspec.structs.replace(state, **queued), config)
    except OSError as error:
        raise _not_writable(paths, error) from error
    _start_worker(workspace, paths, lock, place, checkpoint)


def _take_over(paths: RunPaths) -> RunLock:
    """Take the lock of a run that has ended; who comes second in a race is told at once."""
    try:
        lock = RunLock.acquire(paths.lock, LOCK_PATIENCE_SECONDS, unless=lambda: _is_active(paths))
    except OSError as error:
        raise _not_writable(paths, error) from error
    if lock is None:
        raise owned_elsewhere(paths)
    return lock


def _is_active(paths: RunPaths) -> bool:
    try:
        return told_truly(read_record(paths.state, State), paths).status in ACTIVE
    except (OSError, StoreError):
        return False


def _not_writable(paths: RunPaths, error: OSError) -> StoreError:
    return StoreError(
        f"The run folder {paths.folder} cannot be written: {error.strerror}.",
        "Check free space and permissions.",
    )


def _prepare_restart(paths: RunPaths, state: State, config: Config | None) -> None:
    for request in (paths.stop_request, paths.start_request):
        request.unlink(missing_ok=True)
    if config is None:
        state = _without_config(paths, state)
    else:
        replace_file(paths.config, configuration.to_toml(config, secrets=True).encode())
    write_record(paths.state, _after_damage(paths, state))


def _without_config(paths: RunPaths, state: State) -> State:
    """Make way for a configuration that the worker restores, and say so."""
    kept = f" The old file is {set_aside(paths.config).name}." if paths.config.exists() else ""
    told = f"config.toml was missing or damaged and is restored from the checkpoint.{kept}"
    return msgspec.structs.replace(state, warnings=[*state.warnings, told])


def _after_damage(paths: RunPaths, state: State) -> State:
    """Keep a damaged ``state.json`` under another name, and say so in the new one."""
    try:
        read_record(paths.state, State)
    except (DamagedError, FileNotFoundError):
        kept = f" The old file is {set_aside(paths.state).name}." if paths.state.exists() else ""
        told = f"state.json was missing or damaged and was made anew at the resume.{kept}"
        return msgspec.structs.replace(state, warnings=[*state.warnings, told])
    return state


def owned_elsewhere(paths: RunPaths) -> ConflictError:
    """Name the process that owns a run: whoever took its lock, or else whoever writes of it."""
    owner = holder(paths.lock, SIGNATURE_PATIENCE_SECONDS) or _writer(paths)
    who = f"process {owner.pid}" if owner else "another process"
    way_out = f"Watch it with 'llm-trainer status --run-id {paths.run_id}', or stop it first."
    if _is_queued(paths):
        way_out = (
            "It waits for its device and starts by itself; to start it at once: "
            f"llm-trainer resume --run-id {paths.run_id} --now-anyway."
        )
    return ConflictError(f"Run {paths.run_id} is already active: {who} owns it.", way_out)


def _is_queued(paths: RunPaths) -> bool:
    try:
        return read_record(paths.state, State).queue is not None
    except (OSError, StoreError):
        return False


def _writer(paths: RunPaths) -> ProcessRecord | None:
    try:
        return read_record(paths.state, State).process
    except (OSError, StoreError):
        return None


def _start_worker(
    workspace: Workspace,
    paths: RunPaths,
    lock: RunLock,
    place: Place,
    checkpoint: str | None = None,
) -> None:
    """Start the worker in a session of its own and hand it the lock and its place."""
    command = module_command("trainer.worker", "--home", str(workspace.home))
    command += ["--run-id", paths.run_id, "--lock-fd", str(lock.descriptor)]
    command += ["--place-fd", str(place.descriptor)]
    if checkpoint is not None:
        command += ["--from", checkpoint]
    try:
        with paths.worker_log.open("ab") as output:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(lock.descriptor, place.descriptor),
                cwd=workspace.home,
                env=environment(),
            )
        lock.name_holder(process.identify(worker.pid))
    finally:
        lock.release()
        place.release()
    # A launcher that lives on (the web server) must collect its child, or it stays a zombie.
    threading.Thread(target=worker.wait, name=f"reap-{worker.pid}", daemon=True).start()


def versions() -> dict[str, str]:
    """Return the versions that a run was made with, without importing anything heavy."""
    found = {"llm-trainer": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
