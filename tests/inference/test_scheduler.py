"""Who is served when, what is kept in memory, and what a failure spoils: with toys for models."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.inference.toy import ROW_BYTES, ToyModel, ToyShelf
from trainer.errors import TrainerError
from trainer.inference.protocol import Cancel, Command, Generate, Import, Look, Score, Warm
from trainer.inference.request import GenerationSettings
from trainer.inference.service.messages import Asked, CaughtUp, Inbox, Left
from trainer.inference.service.peer import Peer
from trainer.inference.service.scheduler import MOST_JOBS, MOST_JOBS_OF_ONE, Scheduler

KEEP_SECONDS = 60.0


class Reader:
    """A client that remembers what it was sent."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.behind = False
        self.sent: list[dict[str, Any]] = []

    def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    def last(self, job: int) -> dict[str, Any]:
        return [event for event in self.sent if event["id"] == job][-1]

    def ended(self, job: int) -> bool:
        found = [event for event in self.sent if event["id"] == job]
        return bool(found) and found[-1]["type"] in ("done", "failed")

    def text(self, job: int) -> str:
        return "".join(event.get("text", "") for event in self.sent if is_token(event, job))


def is_token(event: dict[str, Any], job: int) -> bool:
    return bool(event["id"] == job and event["type"] == "token")


class Bench:
    """A scheduler with toys, two clients and a clock that stands still."""

    def __init__(self, folder: Path, limit_bytes: int = 1000) -> None:
        self.folder, self.now = folder, 0.0
        self.shelf, self.inbox = ToyShelf(), cast(Inbox, queue.SimpleQueue())
        self.one, self.other = Reader(1), Reader(2)
        self.scheduler = Scheduler(
            self.shelf,
            self.inbox,
            limit_bytes=limit_bytes,
            keep_seconds=KEEP_SECONDS,
            clock=lambda: self.now,
        )

    def checkpoint(self, name: str, content: object = 100) -> str:
        path = self.folder / name
        path.write_text(str(content))
        return str(path)

    def ask(self, reader: Reader, command: Command) -> None:
        self.inbox.put(Asked(cast(Peer, reader), command))

    def write(self, reader: Reader, job: int, path: str, tokens: int = 3, **more: Any) -> None:
        client = more.pop("client", "")
        settings = GenerationSettings(**{"max_new_tokens": tokens, **more})
        self.ask(reader, Generate(job, path, settings, client))

    def run_until(self, condition: Callable[[], bool]) -> None:
        self.scheduler.serve(condition, tick_seconds=10)

    def held(self) -> dict[str, int]:
        """Return the models in memory, by the names of their checkpoints, and their jobs."""
        look = 9999
        self.ask(self.one, Look(look))
        self.run_until(lambda: self.one.ended(look))
        told = self.one.last(look)["models"]
        self.one.sent = [event for event in self.one.sent if event["id"] != look]
        return {Path(model["checkpoint"]).name: model["jobs"] for model in told}

    def model(self, path: str) -> ToyModel:
        desk = next(desk for desk in self.scheduler._desks.values() if str(desk.path) == path)
        return cast(ToyModel, desk.model)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# ---------------------------------------------------------------------- turns


def test_a_text_comes_token_by_token_and_then_whole(bench: Bench) -> None:
    bench.write(bench.one, 1, bench.checkpoint("a.pt"))
    bench.run_until(lambda: bench.one.ended(1))
    *tokens, done = bench.one.sent
    assert [event["text"] for event in tokens] == ["1 ", "2 ", "3 "]
    assert (done["type"], done["text"]) == ("done", "1 2 3 ")


def test_texts_of_one_model_share_each_turn(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    for job in range(1, 11):
        bench.write(bench.one, job, path, 5)
    bench.run_until(lambda: all(bench.one.ended(job) for job in range(1, 11)))
    assert bench.model(path).batch.turns == 5


def test_models_take_turns(bench: Bench) -> None:
    paths = [bench.checkpoint(name) for name in ("a.pt", "b.pt")]
    for job, path in enumerate(paths, 1):
        bench.write(bench.one, job, path, 100_000)
    bench.run_until(lambda: len(bench.one.text(1)) > 100 and len(bench.one.text(2)) > 100)
    before = [bench.model(path).batch.turns for path in paths]
    bench.run_until(lambda: bench.model(paths[0]).batch.turns >= before[0] + 10)
    assert bench.model(paths[1]).batch.turns - before[1] in (9, 10, 11)


def test_other_jobs_go_on_between_tokens(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, 100_000)
    bench.ask(bench.one, Score(2, path, "text"))
    bench.ask(bench.one, Warm(3, path))
    bench.run_until(lambda: bench.one.ended(2) and bench.one.ended(3))
    assert not bench.one.ended(1)
    told = [event["done"] for event in bench.one.sent if event["type"] == "progress"]
    assert sorted(told) == [1, 1, 2, 2, 3, 3]


def test_a_job_without_a_model_is_done_too(bench: Bench) -> None:
    bench.ask(bench.one, Import(1, "folder", "target"))
    bench.run_until(lambda: bench.one.ended(1))
    assert bench.one.last(1) == {"id": 1, "type": "done"}


def test_a_client_with_a_hundred_texts_does_not_keep_another_waiting(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    for job in range(1, 101):
        bench.write(bench.one, job, path, 1000)
    bench.run_until(lambda: bench.one.text(1) != "")
    bench.write(bench.other, 1, path, 3)
    bench.run_until(lambda: bench.other.ended(1))
    assert not any(bench.one.ended(job) for job in range(1, 101))


def test_those_a_client_asks_for_take_turns_too(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    for job in range(1, 101):
        bench.write(bench.one, job, path, 1000, client="page 1")
    bench.write(bench.one, 200, path, 3, client="page 2")
    bench.run_until(lambda: bench.one.ended(200))
    assert not any(bench.one.ended(job) for job in range(1, 101))


def test_a_request_for_many_rows_is_not_passed_for_ever(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    for job in range(1, 5):
        bench.write(bench.one, job, path, 10 * job, n=16, client=f"page {job}")
    bench.write(bench.other, 1, path, 5, n=32)
    for job in range(5, 40):
        bench.write(bench.one, job, path, 10, client=f"page {job}")
    bench.run_until(lambda: bench.other.ended(1))
    assert not any(bench.one.ended(job) for job in range(5, 40))


def test_what_is_too_much_is_refused_and_the_rest_goes_on(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    for job in range(1, MOST_JOBS_OF_ONE + 2):
        bench.write(bench.one, job, path, 1)
    bench.run_until(lambda: bench.one.ended(MOST_JOBS_OF_ONE + 1))
    assert bench.one.last(MOST_JOBS_OF_ONE + 1)["error"]["kind"] == "busy"
    bench.run_until(lambda: all(bench.one.ended(job) for job in range(1, MOST_JOBS_OF_ONE + 1)))
    assert {bench.one.last(job)["type"] for job in range(1, MOST_JOBS_OF_ONE + 1)} == {"done"}
    for job in range(1, MOST_JOBS + 2):
        bench.write(bench.other, job, path, 100_000, client=str(job // 100))
    bench.run_until(lambda: bench.other.ended(MOST_JOBS + 1))
    assert bench.other.last(MOST_JOBS + 1)["error"]["kind"] == "busy"


def test_long_texts_are_looked_at_aside(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, prompt="long " * 10_000)
    bench.ask(bench.other, Score(1, path, "longer " * 10_000))
    bench.run_until(lambda: bench.one.ended(1) and bench.other.ended(1))
    assert sorted(bench.model(path).prepared) == ["long " * 10_000, "longer " * 10_000]


# ---------------------------------------------------------------------- ends


def test_cancelling_ends_a_text_before_its_next_token(bench: Bench) -> None:
    bench.write(bench.one, 1, bench.checkpoint("a.pt"), 100_000)
    bench.run_until(lambda: bench.one.text(1).endswith("5 "))
    bench.ask(bench.one, Cancel(1))
    bench.run_until(lambda: bench.one.ended(1))
    done = bench.one.last(1)
    assert (done["finish_reason"], done["text"]) == ("cancelled", "1 2 3 4 5 ")
    assert bench.held() == {"a.pt": 0}


def test_cancelling_ends_the_reading_of_a_prompt(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, prompt="1000000")
    bench.run_until(lambda: "a.pt" in bench.held() and bench.model(path).batch.turns > 3)
    bench.ask(bench.one, Cancel(1))
    bench.run_until(lambda: bench.one.ended(1))
    assert bench.one.last(1)["finish_reason"] == "cancelled"


def test_what_has_not_begun_can_be_cancelled(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, seed=7, n=2)
    bench.ask(bench.one, Cancel(1))
    bench.ask(bench.one, Score(2, path, "text"))
    bench.ask(bench.one, Cancel(2))
    bench.run_until(lambda: bench.one.ended(1) and bench.one.ended(2))
    done = bench.one.last(1)
    assert (done["text"], done["finish_reason"], done["seed"]) == ("", "cancelled", 7)
    assert [row["seed"] for row in done["continuations"]] == [7, 8]
    assert bench.one.last(2)["error"]["message"] == "The score was cancelled."


def test_all_that_a_client_asked_for_ends_when_it_is_gone(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    for job in range(1, 100):
        bench.write(bench.one, job, path, 100_000)
    bench.ask(bench.one, Score(100, path, "text"))
    bench.ask(bench.one, Import(101, "folder", "target"))
    bench.write(bench.other, 1, path, 100)
    bench.run_until(lambda: bench.one.text(1) != "")
    bench.inbox.put(Left(cast(Peer, bench.one)))
    bench.run_until(lambda: bench.other.ended(1))
    assert bench.scheduler.idle
    assert bench.model(path).batch.texts == {}


def test_nothing_is_written_for_a_reader_that_is_behind(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, 100_000)
    bench.write(bench.other, 1, path, 1000)
    bench.run_until(lambda: bench.one.text(1) != "" and bench.other.text(1) != "")
    bench.one.behind = True
    written = bench.one.text(1)
    bench.run_until(lambda: bench.other.ended(1))
    assert bench.one.text(1) == written
    bench.one.behind = False
    bench.inbox.put(CaughtUp())
    bench.run_until(lambda: bench.one.text(1) != written)


# ---------------------------------------------------------------------- failures


def test_a_checkpoint_that_is_not_there_is_told(bench: Bench) -> None:
    bench.write(bench.one, 1, str(bench.folder / "none.pt"))
    bench.run_until(lambda: bench.one.ended(1))
    assert bench.one.last(1)["error"]["kind"] == "not_found"


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("damaged", "checkpoint", "It is damaged."),
        ("broken", "error", "The model failed: 'nobody thought of this'"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_fails_its_jobs_alone(
    bench: Bench, content: str, kind: str, message: str
) -> None:
    bench.write(bench.other, 1, bench.checkpoint("good.pt"), 1000)
    for job in (1, 2):
        bench.write(bench.one, job, bench.checkpoint("bad.pt", content))
    bench.run_until(lambda: bench.one.ended(1) and bench.one.ended(2) and bench.other.ended(1))
    assert bench.one.last(1)["error"]["kind"] == bench.one.last(2)["error"]["kind"] == kind
    assert bench.one.last(1)["error"]["message"] == message
    assert bench.other.last(1)["type"] == "done"
    # One that was repaired is read again.
    bench.write(bench.one, 3, bench.checkpoint("bad.pt", 100))
    bench.run_until(lambda: bench.one.ended(3))
    assert bench.one.last(3)["type"] == "done"


def test_a_crash_ends_the_texts_of_its_turn_and_nothing_else(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, 100_000)
    bench.write(bench.other, 1, bench.checkpoint("b.pt"), 1000)
    bench.run_until(lambda: bench.one.text(1) != "")
    bench.write(bench.one, 2, path, prompt="crash")
    bench.run_until(lambda: bench.one.ended(1) and bench.one.ended(2) and bench.other.ended(1))
    for job in (1, 2):
        assert bench.one.last(job)["error"]["message"] == "The model failed: the toy has crashed"
    assert bench.other.last(1)["type"] == "done"
    bench.write(bench.one, 3, path)
    bench.run_until(lambda: bench.one.ended(3))
    assert bench.one.last(3)["type"] == "done"


def test_a_text_that_is_refused_is_told_why(bench: Bench) -> None:
    bench.write(bench.one, 1, bench.checkpoint("a.pt"), prompt="refused")
    bench.run_until(lambda: bench.one.ended(1))
    assert bench.one.last(1)["error"]["kind"] == "usage"


def test_a_deleted_checkpoint_is_written_with_to_the_end_and_then_told(bench: Bench) -> None:
    path = bench.checkpoint("a.pt")
    bench.write(bench.one, 1, path, 100)
    bench.run_until(lambda: bench.one.text(1) != "")
    Path(path).unlink()
    bench.write(bench.other, 1, path)
    bench.run_until(lambda: bench.one.ended(1) and bench.other.ended(1))
    assert bench.one.last(1)["finish_reason"] == "length"
    assert bench.other.last(1)["error"]["kind"] == "not_found"


def test_the_end_of_the_workspace_is_told_to_all(bench: Bench) -> None:
    bench.write(bench.one, 1, bench.checkpoint("a.pt"), 100_000)
    bench.run_until(lambda: bench.one.text(1) != "")
    bench.scheduler.fail_all(TrainerError("The workspace is gone."))
    assert bench.one.last(1)["error"]["message"] == "The workspace is gone."


# ---------------------------------------------------------------------- memory


def use(bench: Bench, name: str, content: int, job: int = 1) -> None:
    bench.one.sent.clear()
    bench.write(bench.one, job, bench.checkpoint(name, content))
    bench.run_until(lambda: bench.one.ended(job))
    assert bench.one.last(job)["type"] == "done"


def test_the_least_recently_used_model_makes_room(bench: Bench) -> None:
    for name in ("a.pt", "b.pt", "a.pt", "c.pt"):
        bench.now += 1
        use(bench, name, 400)
    assert bench.held() == {"a.pt": 0, "c.pt": 0}
    assert bench.shelf.frees == 1
    assert bench.shelf.opened == ["a.pt", "b.pt", "c.pt"]


def test_a_model_in_use_is_never_freed(bench: Bench) -> None:
    bench.write(bench.other, 1, bench.checkpoint("a.pt", 600), 100_000)
    bench.run_until(lambda: bench.other.text(1) != "")
    bench.write(bench.one, 1, bench.checkpoint("b.pt", 600))
    bench.run_until(lambda: bench.scheduler._loading.needs_room)
    # A text that would begin meanwhile lets the other model have its turn.
    bench.write(bench.one, 2, bench.checkpoint("a.pt", 600))
    bench.run_until(lambda: len(bench.other.text(1)) > 1000)
    assert not bench.one.ended(1)
    assert not bench.one.ended(2)
    bench.ask(bench.other, Cancel(1))
    bench.run_until(lambda: bench.one.ended(1) and bench.one.ended(2))
    assert bench.one.last(1)["type"] == bench.one.last(2)["type"] == "done"


def test_a_model_that_would_never_fit_is_refused_with_both_figures(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit_bytes=2 << 20)
    bench.write(bench.one, 1, bench.checkpoint("large.pt", 3 << 20))
    bench.run_until(lambda: bench.one.ended(1))
    error = bench.one.last(1)["error"]
    assert error["message"] == (
        "The model of large.pt: that needs 3.0 MiB of memory, and 2.0 MiB are allowed."
    )
    assert "LLM_TRAINER_INFERENCE_MEMORY_BYTES" in error["hint"]


def test_texts_count_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit_bytes=100 + 3 * ROW_BYTES)
    path = bench.checkpoint("a.pt", 100)
    bench.write(bench.one, 1, path, n=4)
    bench.write(bench.one, 2, path, 10, n=2)
    bench.write(bench.other, 1, path, 10, n=2)
    bench.run_until(lambda: bench.one.ended(2))
    assert bench.one.last(1)["error"]["message"].startswith("4 texts at once by a.pt: that needs")
    assert not bench.other.ended(1)
    bench.run_until(lambda: bench.other.ended(1))
    assert bench.other.last(1)["type"] == "done"


def test_a_model_that_nobody_uses_is_freed(bench: Bench) -> None:
    use(bench, "a.pt", 100)
    bench.now += KEEP_SECONDS - 1
    assert bench.held() == {"a.pt": 0}
    bench.now += 1
    bench.inbox.put(CaughtUp())  # Anything wakes it up.
    bench.run_until(lambda: bench.shelf.frees == 1)
    assert bench.held() == {}


def test_what_a_name_held_before_is_freed_when_it_is_read_anew(bench: Bench) -> None:
    use(bench, "latest.pt", 100)
    use(bench, "latest.pt", 101)
    assert bench.held() == {"latest.pt": 0}
    assert bench.shelf.opened == ["latest.pt", "latest.pt"]


def test_a_model_that_nobody_wants_any_more_is_not_loaded(bench: Bench) -> None:
    for job in (1, 2):
        bench.write(bench.one, job, bench.checkpoint(f"{job}.pt"))
        bench.ask(bench.one, Cancel(job))
    bench.run_until(lambda: bench.one.ended(1) and bench.one.ended(2))
    use(bench, "3.pt", 100, job=3)
    assert bench.shelf.opened == ["3.pt"]
