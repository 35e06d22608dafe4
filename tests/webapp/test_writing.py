"""Who may write when: places, clients, and several prompts in one request."""

from __future__ import annotations

import itertools

import pytest

from trainer.errors import BusyError
from trainer.inference.job import Job
from trainer.inference.protocol import Generate
from trainer.inference.request import GenerationSettings
from webapp.writing import MAX_WRITINGS, MAX_WRITINGS_A_CLIENT, Places, Writings


def test_each_client_has_so_many_places_and_all_have_so_many() -> None:
    places = Places()
    mine = [places.take("me") for _ in range(MAX_WRITINGS_A_CLIENT)]
    with pytest.raises(BusyError, match="for you already"):
        places.take("me")
    for number in range(MAX_WRITINGS - MAX_WRITINGS_A_CLIENT):
        places.take(f"client {number}")
    with pytest.raises(BusyError, match=f"{MAX_WRITINGS} texts are being written already"):
        places.take("one more")
    mine[0]()
    mine[0]()
    places.take("one more")
    with pytest.raises(BusyError):
        places.take("and one more")


class Begun:
    """Hands out jobs that are done at once, and remembers which were cancelled."""

    def __init__(self) -> None:
        self.count = 0
        self.cancelled: list[int] = []

    def __call__(self, settings: GenerationSettings) -> Job:
        job = Job(Generate(self.count, "latest.pt", settings))
        job.attach(lambda command: self.cancelled.append(command.id))
        job.deliver({"id": job.id, "type": "done"})
        self.count += 1
        return job


def test_of_several_prompts_a_few_are_written_at_once_and_told_in_order() -> None:
    begin, released = Begun(), []
    asked = [GenerationSettings(prompt=str(number), n=16) for number in range(5)]
    with Writings(begin, asked, lambda: released.append(1)) as writings:
        assert begin.count == 0
        told = [(number, begin.count) for number, _ in itertools.islice(writings, 3)]
    assert told == [(0, 2), (1, 3), (2, 4)]
    assert begin.cancelled == [2, 3]
    assert released == [1]
