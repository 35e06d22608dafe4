"""A workspace to write in: a model that has learned a little, a dashboard, the models' process."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.options import Options
from benchmarks.server import Server, processor_seconds, serving
from trainer.inference.rendezvous import SERVICE_MODULE
from trainer.runs import RunStore
from trainer.store.checkpoints import info_path
from trainer.store.workspace import Workspace

STEPS = 30
_MARK = "LLM_TRAINER_BENCHMARK"
_PATIENCE_SECONDS = 300.0
_HEARD_SECONDS = 0.2
"""Until those that were connected to a process that was ended have noticed."""


@dataclass(frozen=True)
class Workplace:
    """What is measured.

    Args:
        model: the run that has a model, and the name of its checkpoint.
        mark: all processes that the dashboard has started carry it in their environment.
    """

    store: RunStore
    server: Server
    model: tuple[str, str]
    mark: str

    @property
    def checkpoint(self) -> Path:
        return self.store.checkpoint_path(*self.model)

    def models_processes(self) -> list[psutil.Process]:
        """Find the process that holds models, by what it runs and who started it."""
        return [one for one in psutil.process_iter() if _is_marked(one, self.mark)]

    def processor_seconds(self) -> tuple[float, float]:
        """Return the processor time so far of the process that holds models, and of the server."""
        models = self.models_processes()
        server = set(self.server.processes()) - set(models)
        return processor_seconds(models), processor_seconds(server)

    def end_models_process(self) -> None:
        """End that process, as an impatient person does, and wait until it is gone."""
        found = self.models_processes()
        for process in found:
            process.terminate()
        psutil.wait_procs(found, timeout=_PATIENCE_SECONDS)
        time.sleep(_HEARD_SECONDS)


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        runs = SERVICE_MODULE in process.cmdline()
        return runs and process.environ().get(_MARK) == mark
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextmanager
def workplace(options: Options) -> Iterator[Workplace]:
    """Train a small model for a few steps, and start the dashboard of its workspace.

    Raises:
        RuntimeError: the run fails, or the dashboard does not start.
    """
    mark = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as folder, _marked(mark):
        store = RunStore(Workspace(folder))
        options.data_dir.mkdir(parents=True, exist_ok=True)
        store.workspace.data_dir.symlink_to(options.data_dir.absolute())
        model = _trained(options, store), "latest"
        with serving(store.workspace.home) as server:
            made = Workplace(store, server, model, mark)
            try:
                yield made
            finally:
                made.end_models_process()


@contextmanager
def _marked(mark: str) -> Iterator[None]:
    os.environ[_MARK] = mark
    try:
        yield
    finally:
        del os.environ[_MARK]


def _trained(options: Options, store: RunStore) -> str:
    few = (f"training.max_steps={STEPS}", "training.compile=off", "evaluation.sample_tokens=1")
    run_id = store.create(options.configuration(*few))
    run = store.wait(run_id, lambda now: not now.active, _PATIENCE_SECONDS)
    if run.status != "completed":
        raise RuntimeError(f"the model did not learn: {run.state.error or run.status}")
    if options.checkpoint is not None:
        path = store.checkpoint_path(run_id)
        path.write_bytes(options.checkpoint.read_bytes())
        info_path(path).unlink()
    return run_id
