"""Everything a viewer may do with runs: list, look, start, stop, resume, annotate, delete.

The browser, the command line and the terminal view call these functions and nothing below them.
A status is told from the run folder alone: what the worker wrote last, and whether the process
that wrote it still lives.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from trainer import config as configuration
from trainer import formats, trash
from trainer.annotating import annotations_or_damage, check_annotations, separate_tags
from trainer.config import Config
from trainer.damage import config_damage_in_passing, config_way_out, damaged_files
from trainer.deadline import (
    ask_to_stop,
    check_deadline,
    has_heard,
    kill_at_once,
    telling_refusals,
)
from trainer.errors import (
    ConfigurationError,
    ConflictError,
    DamagedError,
    NoSuchRunError,
    NotFoundError,
    StoreError,
    UsageError,
)
from trainer.filtering import Filter, as_filter
from trainer.index import Look, RunIndex
from trainer.launch import create_run, owned_elsewhere, restart_run
from trainer.listing import Wanted, after_cursor, check_listing, cursor_of, in_order
from trainer.notify.notification import notification_words, read_notification
from trainer.resumption import check_anything_saved, check_steps_left
from trainer.store import lock, process
from trainer.store.checkpoints import (
    CHECKPOINT_SOURCES,
    Checkpoint,
    is_checkpoint_name,
    left_behind,
    list_checkpoints,
    pin,
    unpin,
)
from trainer.store.files import read_record, replace_file, set_aside, write_record
from trainer.store.metrics import MetricsReader, check_metrics_version
from trainer.store.rebuilding import is_run_folder, rebuilt_state
from trainer.store.records import (
    ACTIVE,
    Annotations,
    ErrorRecord,
    Meta,
    Progress,
    State,
    Status,
    now,
)
from trainer.store.stop_request import StopRequest, default_deadline_seconds, read_stop_request
from trainer.store.trouble import read_trouble
from trainer.store.truth import nothing_saved_words, silent_seconds, told_truly
from trainer.store.workspace import RunPaths, Workspace, is_run_id
from trainer.trash import DeletedRun

__all__ = ["Checkpoint", "DeletedRun", "Run", "RunPage", "RunStore", "Workspace"]

if TYPE_CHECKING:
    from trainer.foresight.estimates import Estimate, Leash

T = TypeVar("T")

STOP_ACKNOWLEDGE_SECONDS = 1.5
DELETION_SECONDS = 0.1
"""What the deletion of a run folder may take."""
START_SECONDS = 10.0
"""How long a worker may take from its start until it says who it is."""
KILL_SECONDS = 5.0
_LOG_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Run:
    """One run as it stands now: its state with the true status, and what people say of it."""

    state: State
    annotations: Annotations
    paths: RunPaths
    stop: StopRequest | None = None
    trouble: str | None = None
    """What keeps an active run from being written, in a sentence or two."""
    paused: bool = False
    """Whether its process is held up by SIGSTOP; then it has no time left that could be told."""
    damage: tuple[str, ...] = ()
    """What could not be read of it; among the warnings of the state too."""

    @property
    def run_id(self) -> str:
        return self.state.run_id

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def title(self) -> str:
        """The name that a person gave, or else the run id."""
        return self.annotations.name or self.run_id

    @cached_property
    def search_text(self) -> str:
        """What words of a filter are looked for in: in lower case."""
        state, notes = self.state, self.annotations
        parts = (self.run_id, notes.name, *notes.tags, state.dataset, state.device_name)
        return " ".join(part for part in (*parts, state.status) if part).lower()

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def silent_seconds(self) -> int | None:
        """For how long a worker that lives was not heard of, once that is longer than usual.

        One that is paused says nothing, and that is no wonder.
        """
        return None if self.paused else silent_seconds(self.state)

    @property
    def paused_pid(self) -> int | None:
        """The process to let go on, or None for a run that is not paused."""
        return self.state.process.pid if self.paused and self.state.process else None

    def as_dict(self) -> dict[str, Any]:
        """The answer of ``status --json`` and ``GET /api/runs/<id>``.

        ``stop`` is the request to end of a run that is stopping; ``silent_seconds`` for how long
        a worker that lives was not heard of, null while that is as usual; ``paused`` whether its
        process is held up by SIGSTOP; ``trouble`` what keeps an active run from being written,
        null while nothing does;
        ``damage`` what could not be read of it.
        """
        answer: dict[str, Any] = msgspec.to_builtins(self.state)
        notes: dict[str, Any] = msgspec.to_builtins(self.annotations)
        stop = None if self.stop is None else self.stop.as_dict()
        told = {"stop": stop, "silent_seconds": self.silent_seconds, "trouble": self.trouble}
        return answer | notes | told | {"paused": self.paused, "damage": list(self.damage)}


@dataclass(frozen=True)
class RunPage:
    """Some of the runs that match.

    Attributes:
        total: how many match.
        next: the cursor of the following page, or None.
        of: all runs that there are, archived or not as was asked for, whether they match or not.
    """

    runs: Sequence[Run]
    total: int
    next: str | None
    of: Sequence[Run] = ()


class RunStore:
    """The runs of one workspace."""

    def __init__(
        self, workspace: Workspace | str | Path | None = None, *, hurried: bool = False
    ) -> None:
        """Look at a workspace.

        Args:
            hurried: answers do not wait for large files to be read whole in search of damage; a
                later look tells of it.
        """
        made = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
        self.workspace = made
        self._hurried = hurried
        self._index = RunIndex(made, self._glance)

    # ------------------------------------------------------------------ looking

    def resolve(self, text: str, *, orphaned: bool = False) -> str:
        """Turn a run id, an unambiguous prefix of one, or ``latest`` into a run id.

        Args:
            orphaned: a run counts too whose folder is gone while its checkpoints are left.

        Raises:
            NotFoundError: there is no such run.
            UsageError: several runs begin so.
        """
        ids = self.workspace.run_ids()
        if text == "latest":
            if not ids:
                raise NotFoundError("There are no runs yet.", "Start one with 'llm-trainer train'.")
            return ids[0]
        if orphaned:
            ids += self.workspace.orphaned_ids()
        if text in ids:
            return text
        matches = [run_id for run_id in ids if text and run_id.startswith(text)]
        if len(matches) > 1:
            raise UsageError(
                f"{len(matches)} runs begin with '{text}': {', '.join(matches[:4])}…",
                "Give more of the run id.",
            )
        if not matches:
            raise self._no_run(text)
        return matches[0]

    def get(self, run_id: str) -> Run:
        """Return one run by its whole id.

        Where its state is missing or damaged, it is put together from its other files.

        Raises:
            NotFoundError: there is no such run.
            StoreError: its state was written by a newer version, or may not be read.
        """
        paths = self.workspace.paths(run_id)
        told = self._state(paths)
        annotations, damage = annotations_or_damage(paths)
        told, trouble = _with_trouble(told, paths)
        stop = read_stop_request(paths) if told.status == "stopping" else None
        paused = told.status in ACTIVE and process.is_stopped(told.process)
        if paused:
            told = msgspec.structs.replace(told, eta_seconds=None)
        run = Run(told, annotations, paths, stop, trouble, paused)
        return _with_damage(run, filter(None, (damage, config_damage_in_passing(paths))))

    def _state(self, paths: RunPaths) -> State:
        try:
            return told_truly(read_record(paths.state, State), paths)
        except (FileNotFoundError, NotADirectoryError):
            if is_run_folder(paths):
                return rebuilt_state(paths, f"{paths.state.name} is missing.")
        except DamagedError as error:
            # The folder is shown elsewhere; in a narrow place it would hide what is wrong.
            problem = error.message.replace(str(paths.state), paths.state.name)
            return rebuilt_state(paths, problem)
        raise self._no_run(paths.run_id)

    def _no_run(self, text: str) -> NotFoundError:
        left = left_behind(self.workspace.paths(text)) if is_run_id(text) else ""
        if left:
            return NotFoundError(f"The folder of run {text} is gone: deleted, or moved.", left)
        return NoSuchRunError(
            f"There is no run '{text[:80]}' in {self.workspace.home}.",
            "See 'llm-trainer status' for the runs there are, or name the folder with --home.",
        )

    def inspect(self, run_id: str) -> Run:
        """Return one run as :meth:`get` does, and say which of its other files are damaged.

        For whoever looks at this one run: it reads more than a list should.

        Raises:
            NotFoundError, StoreError: as :meth:`get`.
        """
        run = self.get(run_id)
        if not run.paths.state.exists():
            # Half a folder that is just being deleted is no damaged run.
            time.sleep(DELETION_SECONDS)
            run = self.get(run_id)
        run = _with_damage(run, damaged_files(run.paths, run.state, wait=not self._hurried))
        return run if run.active else _with_notification(run)

    def list(
        self,
        *,
        status: str | None = None,
        query: str | Filter = "",
        tag: str | None = None,
        sort: str = "-created",
        limit: int = 100,
        cursor: str | None = None,
        archived: bool = False,
    ) -> RunPage:
        """Return the runs that match, pinned ones first.

        Args:
            status: only this one, or ``active``.
            query: words and comparisons, read or not; see :mod:`trainer.filtering`.
            tag: only runs that carry it.
            sort: one of :data:`SORTS`, ``-`` before it for descending.
            limit: most runs of one page, from 1 to 1000.
            cursor: ``next`` of the page before; it stays good when its run changes or goes.
            archived: the archived runs instead of the others.

        Raises:
            UsageError: an unknown sort, status or cursor, a query that cannot be understood, or a
                limit out of range.
        """
        check_listing(status, sort, limit)
        wanted = Wanted(as_filter(query), status, tag, archived)
        page = _page(self._index.look(), wanted, sort, limit, cursor)
        edited = self._index.look_closely(run.run_id for run in page.runs)
        return page if edited is None else _page(edited, wanted, sort, limit, cursor)

    def list_all(
        self,
        *,
        status: str | None = None,
        query: str | Filter = "",
        tag: str | None = None,
        sort: str = "-created",
        archived: bool = False,
    ) -> Sequence[Run]:
        """Return all runs that match, in the order of :meth:`list`, which explains the arguments.

        Raises:
            UsageError: as :meth:`list`.
        """
        check_listing(status, sort)
        wanted = Wanted(as_filter(query), status, tag, archived)
        return in_order(wanted.among(self._index.look().runs.values())[1], sort)

    def look(self) -> Look:
        """Return every run there is, archived ones too.

        Raises:
            OSError: the runs cannot be listed.
        """
        return self._index.look()

    def _glance(self, run_id: str) -> Run | None:
        """Read a run for a list: one that cannot be read is shown as such, and hides no other."""
        try:
            return self.get(run_id)
        except NotFoundError:
            return None
        except StoreError as error:
            return _unreadable(self.workspace.paths(run_id), error)

    def meta(self, run_id: str) -> Meta:
        """Return the facts fixed when the run was made."""
        return self._read(run_id, lambda paths: read_record(paths.meta, Meta))

    def config(self, run_id: str) -> Config:
        """Return the run's configuration.

        Raises:
            DamagedError: it is missing or damaged.
            StoreError: it holds settings that are wrong, or of a newer version.
        """
        paths = self.workspace.paths(run_id)
        try:
            return configuration.load_stored(paths.config)
        except UsageError as error:
            raise DamagedError(
                f"The configuration of run {run_id} is damaged: {error.message}",
                config_way_out(paths),
            ) from error
        except ConfigurationError as error:
            raise StoreError(
                f"The configuration of run {run_id} cannot be used: {error.message}",
                f"Correct it in {paths.config}; checkpoints are not affected.",
            ) from error

    def config_text(self, run_id: str) -> str:
        """Return the run's configuration as the TOML file that it is, secrets masked."""
        text = self._read(run_id, lambda paths: paths.config.read_text("utf-8"))
        return configuration.text_without_secrets(text)

    def _read(self, run_id: str, read: Callable[[RunPaths], T]) -> T:
        paths = self.workspace.paths(run_id)
        try:
            return read(paths)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"Run '{run_id}' has no {Path(error.filename).name}.", "See 'llm-trainer status'."
            ) from None

    def metrics(self, run_id: str) -> MetricsReader:
        """Open the run's metrics for reading; close the reader after use."""
        return MetricsReader(self.get(run_id).paths.metrics)

    def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        """List the run's checkpoints: latest, best, then the others from the newest step."""
        return list_checkpoints(self.get(run_id).paths.checkpoints)

    def checkpoint_path(self, run_id: str, name: str = "latest") -> Path:
        """Return the file of a checkpoint.

        Raises:
            UsageError: the name is not latest, best, epoch-<n> or step-<n>.
            NotFoundError: there is no such checkpoint.
        """
        if not is_checkpoint_name(name):
            raise UsageError(f"'{name[:80]}' is not a checkpoint.", f"Use {CHECKPOINT_SOURCES}.")
        run = self.get(run_id)
        path = run.paths.checkpoint(name)
        if not path.is_file():
            there = [checkpoint.name for checkpoint in self.checkpoints(run_id)]
            hint = f"There is: {', '.join(there)}." if there else _nothing_saved_hint(run)
            raise NotFoundError(f"Run {run_id} has no checkpoint '{name}'.", hint)
        return path

    def pin_checkpoint(self, run_id: str, name: str) -> str:
        """Keep a checkpoint for good; return its further name, ``step-<n>``.

        Raises:
            UsageError: the name is not that of a checkpoint.
            NotFoundError: there is no such checkpoint.
            CheckpointError: it is damaged.
            ConflictError: it is just being replaced, or that step is pinned with other weights.
            StoreError: the folder cannot be written.
        """
        path = self.checkpoint_path(run_id, name)
        return pin(path.parent, name)

    def unpin_checkpoint(self, run_id: str, name: str) -> None:
        """Let go of a pinned checkpoint, ``step-<n>``; its other names stay.

        Raises:
            UsageError: the name is not that of a pin.
            NotFoundError: there is no such pin.
            ConflictError: the run has no other checkpoint.
            StoreError: the folder cannot be written.
        """
        unpin(self.get(run_id).paths.checkpoints, name)

    def log_tail(self, run_id: str, lines: int = 200, name: str = "train") -> Sequence[str]:
        """Return the last lines of ``train.log`` (or ``worker.log``) without reading it whole.

        Raises:
            UsageError: a number of lines that is not from 1 to 10,000, or another name.
        """
        if not 1 <= lines <= 10_000:
            raise UsageError(f"tail = {lines} is not from 1 to 10000.")
        return tail(self.log_path(run_id, name), lines)

    def log_path(self, run_id: str, name: str = "train") -> Path:
        """Return where ``train.log`` (or ``worker.log``) is, or will be.

        Raises:
            UsageError: another name.
            NotFoundError: there is no such run.
        """
        if name not in ("train", "worker"):
            raise UsageError(f"'{name}' is not a log.", "There are: train, worker.")
        paths = self.get(run_id).paths
        return paths.train_log if name == "train" else paths.worker_log

    # ------------------------------------------------------------------ doing

    def create(
        self,
        config: Config,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        command: Sequence[str] = (),
        parent: str | None = None,
        now_anyway: bool = False,
    ) -> str:
        """Start a new run in the background and return its id; see :func:`launch.create_run`."""
        tags = separate_tags(tags)
        check_annotations(name=name, tags=tags)
        return create_run(
            self.workspace,
            config,
            name=name or None,
            tags=tags,
            command=command,
            parent=parent,
            now_anyway=now_anyway,
        )

    def estimate(
        self,
        config: Config,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        tell: Callable[[str], None],
        leash: Leash | None = None,
    ) -> Estimate:
        """Work out what :meth:`create` would take, without a run.

        Refuses what :meth:`create` refuses; see :func:`trainer.foresight.estimates.estimate`.
        """
        from trainer.foresight.estimates import estimate

        check_annotations(name=name, tags=separate_tags(tags))
        return estimate(config, self.workspace.data_dir, tell, leash)

    def stop(
        self, run_id: str, *, kill: bool = False, deadline_seconds: float | None = None
    ) -> Run:
        """Ask a run to save a checkpoint and end; with ``kill``, end it at once.

        Returns the run as it stands after the worker has heard, or after a moment.

        Args:
            deadline_seconds: how long it may take; then it is killed. None allows what suits the
                run: see :func:`stop_request.default_deadline_seconds`.

        Raises:
            ConflictError: the run has already ended, or has no process to kill.
            UsageError: a deadline that is not from 1 second to a day, or one with ``kill``.
            StoreError: the request cannot be written, or the process belongs to somebody else.
        """
        check_deadline(deadline_seconds, kill=kill)
        if kill:
            with telling_refusals(run_id):
                return self._kill(self._active(run_id))
        self.request_stop(run_id, deadline_seconds=deadline_seconds)
        return self.wait(run_id, lambda now_: not now_.active or has_heard(now_.paths))

    def request_stop(self, run_id: str, *, deadline_seconds: float | None = None) -> None:
        """Ask a run to save and end, as :meth:`stop` does, without a wait until it has heard."""
        run = self._active(run_id)
        if deadline_seconds is None:
            deadline_seconds = default_deadline_seconds(run.state)
        with telling_refusals(run_id):
            ask_to_stop(self.workspace, run.paths, run.state, deadline_seconds)

    def _active(self, run_id: str) -> Run:
        run = self.get(run_id)
        if not run.active:
            raise ConflictError(f"Run {run_id} is not active: it is {run.status}.")
        return run

    def _kill(self, run: Run) -> Run:
        run = self.wait(
            run.run_id, lambda now_: bool(now_.state.process) or not now_.active, START_SECONDS
        )
        if run.state.process is not None:
            kill_at_once(run.paths, run.state.process)
        elif run.active:
            raise ConflictError(
                f"Run {run.run_id} is only just starting and has no process to end yet.",
                "Try again in a while.",
            )
        return self.wait(run.run_id, lambda now_: not now_.active, KILL_SECONDS)

    def wait(
        self,
        run_id: str,
        until: Callable[[Run], bool],
        patience_seconds: float = STOP_ACKNOWLEDGE_SECONDS,
    ) -> Run:
        """Look at a run until a condition holds or patience runs out."""
        deadline = time.monotonic() + patience_seconds
        while True:
            run = self.get(run_id)
            if until(run) or time.monotonic() >= deadline:
                return run
            time.sleep(0.05)

    def start_now(self, run_id: str) -> Run:
        """Let a queued run begin at once, whoever has its device.

        The request outlasts whoever asks. Returns the run after its worker has heard, or after
        a moment.

        Raises:
            ConflictError: the run is not queued.
            StoreError: the request cannot be written.
        """
        run = self.get(run_id)
        if run.status != "queued":
            raise ConflictError(f"Run {run_id} does not wait for anything: it is {run.status}.")
        request = json.dumps({"requested_at": now()}).encode()
        try:
            replace_file(run.paths.start_request, request)
        except OSError as error:
            reason = error.strerror
            raise StoreError(f"The request to start cannot be written: {reason}.") from error
        return self.wait(run_id, lambda now_: now_.status != "queued")

    def resume(
        self,
        run_id: str,
        *,
        more_epochs: int = 0,
        source: str = "latest",
        now_anyway: bool = False,
    ) -> Run:
        """Go on with a run that has ended, from one of its checkpoints, on the same curve.

        Args:
            more_epochs: epochs to add to the plan; 0 goes on to the end that was planned.
            source: ``latest``, ``best``, ``epoch-<n>`` or ``step-<n>``. Where ``latest`` is
                missing or damaged, the newest whole one is taken.
            now_anyway: begin at once, whoever has the device; a queued run begins so too.

        Raises:
            ConflictError: the run is active, or its last step is done and no epochs were added.
            NotFoundError: there is no such run or checkpoint.
            UsageError: a negative or absurd number of epochs.
        """
        run = self.get(run_id)
        check_metrics_version(run.paths.metrics)
        if run.status == "queued" and now_anyway and not more_epochs:
            return self.start_now(run_id)
        if run.active:
            raise owned_elsewhere(run.paths)
        if not 0 <= more_epochs <= 100_000:
            raise UsageError(f"more epochs = {more_epochs} is not from 0 to 100000.")
        check_anything_saved(run.paths, source)
        if source != "latest":
            self.checkpoint_path(run_id, source)
        if not more_epochs:
            check_steps_left(run.state, run.paths, source)
        config = self._config_to_resume(run, more_epochs)
        state = msgspec.structs.replace(
            run.state,
            status="queued",
            warnings=[told for told in run.state.warnings if told not in run.damage],
            resumed=None,
            phase=None,
            progress=None,
            process=None,
            error=None,
            eta_seconds=None,
            queue=None,
            epochs=config.training.epochs if config else run.state.epochs,
            total_steps=None if more_epochs else run.state.total_steps,
            updated_at=now(),
        )
        restart_run(self.workspace, run.paths, state, config, source, now_anyway=now_anyway)
        return self.get(run_id)

    def _config_to_resume(self, run: Run, more_epochs: int) -> Config | None:
        """Return the configuration to go on with; None: the worker reads it in the checkpoint."""
        try:
            return extended(self.config(run.run_id), run.state, more_epochs)
        except DamagedError as error:
            if more_epochs:
                way_out = (
                    "Resume without --more-epochs first, a complete run from an earlier checkpoint "
                    "(--from): that restores the configuration."
                )
                raise StoreError(error.message, way_out) from error
            return None

    def annotate(
        self,
        run_id: str,
        *,
        name: str | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Collection[str] = (),
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> Run:
        """Change what is said about a run; what is None stays. ``tags`` replaces them all.

        A comma stands between two tags, wherever they come from.

        Raises:
            UsageError: a name, tag or note that is too long or holds control characters.
            StoreError: the run folder cannot be written.
        """
        add_tags = separate_tags(add_tags)
        tags = None if tags is None else separate_tags(tags)
        # Stores of earlier versions may hold a tag with a comma: as a whole it can be removed too.
        remove_tags = {*remove_tags, *separate_tags(remove_tags)}
        check_annotations(name=name, tags=[*add_tags, *(tags or ())], notes=notes)
        paths = self.get(run_id).paths
        with _changing(paths), lock.exclusive(paths.annotations_lock):
            old, damage = annotations_or_damage(paths)
            if damage is not None:
                set_aside(paths.annotations)
            kept = [tag for tag in (old.tags if tags is None else tags) if tag not in remove_tags]
            new = Annotations(
                name=old.name if name is None else name or None,
                tags=list(dict.fromkeys([*kept, *add_tags])),
                notes=old.notes if notes is None else notes,
                pinned=old.pinned if pinned is None else pinned,
                archived=old.archived if archived is None else archived,
            )
            write_record(paths.annotations, new)
        return self.get(run_id)

    def delete(self, run_id: str) -> None:
        """Put a run and its checkpoints aside in ``.trash`` folders; see :meth:`restore`.

        Of a run whose folder is gone the checkpoints are put aside. Runs that were deleted longer
        than :data:`trainer.trash.UNDO_SECONDS` ago are removed for good.

        Raises:
            ConflictError: the run is active.
            StoreError: the run folder cannot be written.
        """
        if run_id in self.workspace.orphaned_ids():
            self._delete_checkpoints(self.workspace.paths(run_id))
        else:
            self._delete_run(self.get(run_id))
        with suppress(StoreError):  # This run is deleted, whatever becomes of older ones.
            self.empty_trash(older_than_seconds=trash.UNDO_SECONDS)

    def _delete_checkpoints(self, paths: RunPaths) -> None:
        with _changing(paths):
            trash.put_aside(paths.checkpoints)

    def _delete_run(self, run: Run) -> None:
        with _changing(run.paths):
            owned = lock.RunLock.acquire(run.paths.lock, patience_seconds=0.2)
            if run.active or owned is None:
                way_out = "Stop it first, then delete it."
                raise ConflictError(f"Run {run.run_id} is active.", way_out)
            try:
                trash.put_aside(run.paths.checkpoints)
                trash.put_aside(run.paths.folder)
            finally:
                owned.release()

    def restore(self, run_id: str) -> Run | None:
        """Bring back a run that was deleted; None where only its checkpoints were there to be.

        Raises:
            NotFoundError: it is not in the trash.
        """
        paths = self.workspace.paths(run_id)
        aside = trash.trashed(paths)
        if not (aside.folder.is_dir() or aside.checkpoints.is_dir()):
            raise trash.no_deleted_run(run_id)
        with _changing(paths):
            trash.bring_back(paths.checkpoints)
            trash.bring_back(paths.folder)
        return self.get(run_id) if paths.folder.is_dir() else None

    def deleted(self) -> Sequence[DeletedRun]:
        """List the runs that can be brought back, the one that was deleted last first."""
        return trash.deleted_runs(self.workspace)

    def remove_for_good(self, run_id: str) -> None:
        """Remove a deleted run at once; it cannot be brought back then.

        Raises:
            NotFoundError: it is not in the trash.
            StoreError: its files cannot be removed.
        """
        with _changing(trash.trashed(self.workspace.paths(run_id))):
            trash.remove_for_good(self.workspace, run_id)

    def empty_trash(self, older_than_seconds: float = 0.0) -> int:
        """Remove deleted runs for good; return how many.

        Raises:
            StoreError: one cannot be removed.
        """
        try:
            return trash.empty_trash(self.workspace, older_than_seconds)
        except OSError as error:
            raise StoreError(
                f"A deleted run cannot be removed: {error.strerror}.", "Check who may change it."
            ) from error


# ---------------------------------------------------------------------- pure parts and helpers


def extended(config: Config, state: State, more_epochs: int) -> Config:
    """Return the configuration of a run that gets more epochs.

    A run that was cut short by ``max_steps`` gets as many steps as the added epochs have; one that
    was imported has done none of them, and is cut short where its ``max_steps`` says.

    Raises:
        ConflictError: ``max_steps`` is set and the steps of an epoch are not known.
    """
    if not more_epochs:
        return config
    training = config.training
    done = training.epochs if state.epochs is None else state.epochs
    epochs = done + more_epochs
    if training.max_steps is None or state.total_steps == 0:
        return configuration.replace(config, training__epochs=epochs)
    if state.steps_per_epoch is None:
        raise ConflictError(
            "The steps of an epoch are not known yet, so epochs cannot be added.",
            "Resume without --more-epochs first.",
        )
    max_steps = (state.total_steps or training.max_steps) + more_epochs * state.steps_per_epoch
    return configuration.replace(config, training__epochs=epochs, training__max_steps=max_steps)


def _page(look: Look, wanted: Wanted, sort: str, limit: int, cursor: str | None) -> RunPage:
    there, matching = wanted.among(look.runs.values())
    ordered = in_order(matching, sort)
    first = after_cursor(ordered, sort, cursor)
    page = ordered[first : first + limit]
    more = first + limit < len(ordered)
    return RunPage(page, len(ordered), cursor_of(page[-1], sort) if more else None, there)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a text file, reading backwards from its end."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{path.name} cannot be read: {error.strerror}."]
    with file:
        position = file.seek(0, os.SEEK_END)
        content = b""
        while position > 0 and content.count(b"\n") <= lines:
            start = max(0, position - _LOG_CHUNK)
            file.seek(start)
            content = file.read(position - start) + content
            position = start
    return content.decode("utf-8", errors="replace").splitlines()[-lines:]


def _unreadable(paths: RunPaths, error: StoreError) -> Run:
    """Show a run whose files are damaged instead of hiding it, or failing the whole list."""
    record = ErrorRecord(kind=error.kind, message=error.message, hint=error.hint)
    state = State(
        run_id=paths.run_id, status="failed", error=record, created_at=now(), updated_at=now()
    )
    return Run(state, Annotations(), paths)


def _with_damage(run: Run, found: Iterable[str]) -> Run:
    """Add what could not be read of a run to what is known of that already."""
    new = [damage for damage in found if damage not in run.damage]
    if not new:
        return run
    state = msgspec.structs.replace(run.state, warnings=[*run.state.warnings, *new])
    return replace(run, state=state, damage=(*run.damage, *new))


def _with_notification(run: Run) -> Run:
    """Add what came of telling a webhook of the run's end, where that is known."""
    told = read_notification(run.paths)
    words = notification_words(told)
    if told is None or words is None:
        return run
    field = "notices" if told.status == "delivered" else "warnings"
    more = {field: [*getattr(run.state, field), words]}
    return replace(run, state=msgspec.structs.replace(run.state, **more))


def _with_trouble(state: State, paths: RunPaths) -> tuple[State, str | None]:
    """Return what is in an active run's way, and its state as far as that is told there."""
    told = read_trouble(paths.trouble) if state.status in ACTIVE else None
    if told is None or told.in_words is None:
        return state, None
    return told.over(state), told.in_words


@contextmanager
def _changing(paths: RunPaths) -> Iterator[None]:
    """Tell in words when a run's files cannot be changed."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The run folder {paths.folder} cannot be changed: {error.strerror}.",
            "Check free space and permissions.",
        ) from error


def since_word(state: State) -> str:
    """Say what happened at the time a run was made: it was started, or has only been queued."""
    return "queued" if only_waited(state) else "started"


def only_waited(state: State) -> bool:
    """Say whether a run has waited for its turn and done nothing else.

    A run that was stopped while it was queued never learned the name of its device.
    """
    if state.step is not None:
        return False
    stopped = state.status in ("stopping", "stopped")
    return state.status == "queued" or (stopped and state.device_name is None)


def status_word(run: Run) -> str:
    """Return the status as a list tells it; one that stops has its deadline, paused or not."""
    return "paused" if run.paused and run.status != "stopping" else run.status


def _nothing_saved_hint(run: Run) -> str:
    """Say of a run without a checkpoint when there will be one, or how to start it anew."""
    if run.active:
        return (
            "It saves its first one while it trains: "
            f"'llm-trainer status --run-id {run.run_id}' tells how far it is."
        )
    return nothing_saved_words(run.paths)


def progress_percent(state: State) -> float | None:
    """Return how much of the whole run is done, in percent, or None before training starts."""
    if state.status == "completed":
        return 100.0
    if state.step is None or not state.total_steps:
        return None
    return min(100.0, 100.0 * state.step / state.total_steps)


def phase_words(state: State) -> str:
    """Say in words what the run is doing, with how far it has come."""
    progress: Progress | None = state.progress
    words = state.phase or state.status
    if progress is None:
        return words
    if progress.total:
        return f"{words}: {progress.done:,} of {progress.total:,} {progress.unit}"
    return f"{words}: {progress.done:,} {progress.unit}"


def warning(run: Run) -> tuple[str, str] | None:
    """Say in a word, and in full, what a list must not hide: a pause, trouble, damage, warnings."""
    if run.paused:
        return "paused", formats.paused(run.paused_pid)
    if run.trouble is not None:
        return "cannot be written", run.trouble
    if run.state.error is not None and run.state.error.kind == "store":
        return "damaged", f"{run.state.error.message} {run.state.error.hint}".strip()
    if run.damage:
        return "damaged", run.damage[0]
    told = run.state.warnings
    return (formats.plural(len(told), "warning"), " ".join(told)) if told else None


def urgent_words(run: Run) -> list[str]:
    """Tell until when a stopping run may end by itself, and that one is paused or silent."""
    left = None if run.stop is None else run.stop.seconds_left()
    paused, silent = formats.paused(run.paused_pid), formats.silence(run.silent_seconds)
    told = (formats.countdown(left), paused, silent)
    return [words for words in told if words]
