"""The terminal view without a terminal: fixed time, a still machine, an echo for a model."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Static

from tests.cli import echo_service
from trainer import launch
from trainer.inference.client import ModelProcess
from trainer.runs import RunStore
from trainer.store.lock import RunLock
from trainer.store.queue import Place
from trainer.telemetry import GpuReading, HostReading
from trainer.tui.app import TrainerApp
from trainer.tui.machine import MachineMeter, MachineReading
from trainer.tui.run_table import RunTable

NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)
"""An hour after the runs of the fixtures were made."""
PATIENCE_SECONDS = 20.0
GIB = 1 << 30

HOST = HostReading(cpu_percent=48.0, ram_bytes=5 * GIB, ram_total_bytes=16 * GIB)
GPU = GpuReading(
    index=0,
    name="NVIDIA A30",
    utilization=62.0,
    memory_bytes=8 * GIB,
    memory_total_bytes=24 * GIB,
    temperature_c=61.0,
    power_w=148.4,
)

TuiPilot = Pilot[None]
Story = Callable[[TuiPilot], Awaitable[None]]


class StillMachine(MachineMeter):
    """A machine that always reads the same."""

    def __init__(self, *gpus: GpuReading) -> None:
        super().__init__()
        self.latest = MachineReading(gpus, HOST)

    def start(self) -> None:
        pass


class PlayedApp(TrainerApp):
    """The app, remembering what it has told."""

    def __init__(self, store: RunStore, **parts: Any) -> None:
        super().__init__(store, clock=lambda: NOW, **parts)
        self.told: list[str] = []

    def notify(self, message: str, **options: Any) -> None:
        self.told.append(message)
        super().notify(message, **options)


@pytest.fixture
def app(store: RunStore) -> Iterator[PlayedApp]:
    """The app on the store of the test, not yet running."""
    with ModelProcess([sys.executable, echo_service.__file__]) as model:
        yield PlayedApp(store, machine=StillMachine(), model=model)


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make runs that nothing trains: the launcher lets go of them instead of starting a worker."""

    def let_go(_: object, __: object, lock: RunLock, place: Place, ___: str | None = None) -> None:
        lock.release()
        place.release()

    monkeypatch.setattr(launch, "_start_worker", let_go)


def play(app: TrainerApp, story: Story, size: tuple[int, int] = (80, 24)) -> None:
    """Run the app without a terminal and play a story on it once the runs are read."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(pilot, lambda: not app.main.has_class("-unread"))
            await story(pilot)

    asyncio.run(run())


async def until(pilot: TuiPilot, condition: Callable[[], bool]) -> None:
    """Let the app go on until a condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, screen_text(pilot)
        await pilot.pause(0.02)


async def shown(pilot: TuiPilot, words: str) -> None:
    """Wait until the screen shows some words."""
    await until(pilot, lambda: words in screen_text(pilot))


def screen_text(pilot: TuiPilot) -> str:
    """Return the characters of the whole screen, line by line."""
    lines = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in lines)


def rows(app: TrainerApp) -> list[list[str]]:
    """Return the run table as texts."""
    table = app.main.query_one(RunTable)
    return [[cell.plain for cell in table.get_row_at(index)] for index in range(table.row_count)]


def words_of(app: TrainerApp, selector: str) -> str:
    """Return what a static part of the top screen says."""
    content = app.screen.query_one(selector, Static).content
    return content.plain if isinstance(content, Text) else str(content)
