"""A run that is written by hand, through the same pen as the worker's, under its lock."""

from __future__ import annotations

import os
from typing import Any

from trainer import config as configuration
from trainer.config import Layer
from trainer.store import process
from trainer.store.files import replace_file, write_record
from trainer.store.lock import RunLock
from trainer.store.recorder import Recorder
from trainer.store.records import Annotations, Meta, State, now
from trainer.store.workspace import Workspace, new_run_id

TOTAL_STEPS = 400


class LiveRun:
    """A run of 400 steps whose loss at a step is 9 minus a hundredth of it."""

    def __init__(self, workspace: Workspace, name: str = "live") -> None:
        self.paths = workspace.paths(new_run_id())
        self.paths.folder.mkdir(parents=True)
        stamp = now()
        meta = Meta(run_id=self.run_id, created_at=stamp, command=["llm-trainer"], versions={})
        config = configuration.build(Layer("test", {"training.max_steps": TOTAL_STEPS}))
        write_record(self.paths.meta, meta)
        write_record(self.paths.annotations, Annotations(name=name))
        replace_file(self.paths.config, configuration.to_toml(config).encode())
        lock = RunLock.acquire(self.paths.lock)
        assert lock is not None
        self._lock, self._ended, self.step = lock, False, 0
        self._begin(
            State(
                run_id=self.run_id,
                status="running",
                phase="training",
                epochs=4,
                total_steps=TOTAL_STEPS,
                steps_per_epoch=100,
                device="cpu",
                device_name="Test Processor",
                dataset="python-docs",
                process=process.identify(os.getpid()),
                created_at=stamp,
                updated_at=stamp,
            )
        )

    @property
    def run_id(self) -> str:
        return self.paths.run_id

    def _begin(self, state: State) -> None:
        write_record(self.paths.state, state)
        self.recorder = Recorder(self.paths, state)

    def train(self, steps: int) -> None:
        """Write so many steps, and wait until they are on disk."""
        for step in range(self.step + 1, self.step + steps + 1):
            self.recorder.add("points", point(step))
        self.step += steps
        self.recorder.update(
            epoch=1 + (self.step - 1) // 100,
            step=self.step,
            tokens=self.step * 4096,
            train_loss=loss(self.step),
            learning_rate=0.003,
            tokens_per_second=4096.0,
            elapsed_seconds=float(self.step),
            eta_seconds=float(TOTAL_STEPS - self.step),
        )
        self._log(f"INFO step {self.step}/{TOTAL_STEPS}  loss {loss(self.step):.4f}")
        self.recorder.flush()

    def evaluate(self) -> None:
        """Write an evaluation, samples, a reading of the machine and a checkpoint's event."""
        value = loss(self.step) + 0.1
        figures = {"val_loss": value, "val_word_perplexity": 99.5, "val_bits_per_byte": 1.5}
        place = {name: point(self.step)[name] for name in ("epoch", "tokens", "elapsed_seconds")}
        self.recorder.add("evaluations", {"step": self.step, "seconds": 1.0, **place, **figures})
        text = f" written at step {self.step}"
        sample = {"step": self.step, "at": now(), "prompt": "The history of", "text": text}
        self.recorder.add("samples", sample)
        self.recorder.add(
            "system",
            {"at": now(), "elapsed_seconds": float(self.step), "cpu_percent": 90.0,
             "ram_bytes": 2**31, "process_ram_bytes": 2**30},
        )  # fmt: skip
        self.recorder.update(**figures, best_val_loss=value, best_val_word_perplexity=99.5)
        self.recorder.event("saved", "Saved latest.pt (1.0 MiB).", step=self.step)
        self.recorder.flush()

    def resume_from(self, step: int) -> None:
        """Go back to a step, as a resumed run does."""
        state = self.recorder.state
        self.recorder.close()
        self.step = step
        state.step = step
        self._begin(state)
        self.recorder.cut_after(step)
        self.recorder.event("resumed", f"Resumed from latest at step {step}.", step=step)
        self.recorder.flush()

    def end(self, **changes: Any) -> None:
        """Say goodbye and let go of the run; harmless when repeated."""
        if self._ended:
            return
        self._ended = True
        ended = {"status": "completed", "phase": None, "process": None, "eta_seconds": None}
        self.recorder.close(**(ended | changes))
        self._lock.release()

    def _log(self, message: str) -> None:
        with self.paths.train_log.open("a", encoding="utf-8") as file:
            file.write(f"2026-01-02T03:04:05.000Z {message}\n")


def loss(step: int) -> float:
    return 9.0 - step / 100


def point(step: int) -> dict[str, Any]:
    """The row of a step in the ``points`` table."""
    return {
        "step": step,
        "epoch": step / 100,
        "tokens": step * 4096,
        "elapsed_seconds": float(step),
        "train_loss": loss(step),
        "learning_rate": 0.003,
        "grad_norm": 1.0,
        "tokens_per_second": 4096.0,
    }
