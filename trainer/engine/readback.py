"""Reading a step's figures without making the device wait for them.

A GPU works through a queue; asking it for a number stops the queue until all before it is done.
So the figures of a step are copied to page-locked memory in their turn, and looked at one step
later, while the next one computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

About = TypeVar("About")
Reading = tuple[About, list[float]]
_Arrival = Callable[[], list[float]]


def delay_steps(device: torch.device) -> int:
    """Return how many steps late figures are read: on a CPU they are there at once."""
    return 1 if device.type == "cuda" else 0


class Readback(Generic[About]):
    """Figures under way from the device, each with what they are about, in their order.

    Args:
        delay_steps: how many of them may stay under way; 0 reads each at once.
    """

    def __init__(self, delay_steps: int) -> None:
        self.delay_steps = delay_steps
        self._under_way: deque[tuple[About, _Arrival]] = deque()

    def add(self, about: About, figures: Tensor) -> Iterator[Reading[About]]:
        """Send figures, 1-D and on any device, on their way; yield those that are due now."""
        self._under_way.append((about, _start_copy(figures)))
        return self._take(leave=self.delay_steps)

    def drain(self) -> Iterator[Reading[About]]:
        """Wait for all that is under way and yield it."""
        return self._take(leave=0)

    def forget(self) -> None:
        """Drop what is under way: its steps are to be undone."""
        self._under_way.clear()

    def _take(self, leave: int) -> Iterator[Reading[About]]:
        while len(self._under_way) > leave:
            about, arrive = self._under_way.popleft()
            yield about, arrive()


def _start_copy(figures: Tensor) -> _Arrival:
    if figures.device.type != "cuda":
        return figures.tolist
    landing = torch.empty_like(figures, device="cpu", pin_memory=True)
    landing.copy_(figures, non_blocking=True)
    copied = torch.Event(figures.device)
    copied.record()

    def arrive() -> list[float]:
        copied.synchronize()
        values: list[float] = landing.tolist()
        return values

    return arrive
