"""Live values: everything arrives once, in order, whatever happens in between."""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import MakeRun, point_row
from tests.webapp.conftest import Connect, received
from trainer.errors import ConflictError, NotFoundError
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.files import write_record
from trainer.store.metrics import MetricsReader, MetricsWriter
from webapp import Services
from webapp.deltas import LOG_BYTES_A_MESSAGE, Watch, read_log
from webapp.live import MAX_RUNS_A_CLIENT, TICKS_A_STATE_LOOK, LiveHub
from webapp.sockets import MAX_BACKLOG_MESSAGES


class Post:
    """An outlet that keeps what is sent, and whose clients may be slow or gone."""

    def __init__(self) -> None:
        self.sent: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self.waiting: dict[str, int | None] = {}
        self.written = 0

    def emit(self, event: str, data: dict[str, Any], *clients: str) -> None:
        self.written += 1
        for client in clients:
            self.sent[client].append((event, data))

    def backlog(self, client: str) -> int | None:
        return self.waiting.get(client, 0)

    def take(self, client: str, event: str) -> list[dict[str, Any]]:
        """Return what came under one name, and forget everything that came."""
        return [data for name, data in self.sent.pop(client, []) if name == event]


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def hub(store: RunStore, post: Post) -> LiveHub:
    """A hub that looks only when it is told to."""
    return LiveHub(store, post, background=False)


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    """A run that this process, which lives, seems to train."""
    return make_run(status="running", process=process.identify(os.getpid()), step=0)


@pytest.fixture
def pen(run: Run) -> Iterable[MetricsWriter]:
    """Writes that run's metrics."""
    writer = MetricsWriter(run.paths.metrics)
    yield writer
    writer.close()


def write_points(pen: MetricsWriter, first: int, last: int) -> None:
    pen.write(("points", point_row(step)) for step in range(first, last + 1))


def evaluation_row(step: int) -> dict[str, Any]:
    return {"step": step, "val_loss": 9.0 - step / 100, "val_bits_per_byte": 2.0}


def set_state(run: Run, **changes: Any) -> None:
    state = msgspec.structs.replace(run.state, **changes)
    write_record(run.paths.state, state)


def steps(message: dict[str, Any], name: str = "train_loss") -> list[int]:
    return list(message["series"][name]["step"])


# ---------------------------------------------------------------------- first look


def test_a_new_watcher_gets_the_run_and_all_it_has(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 3)
    pen.write([("evaluations", evaluation_row(2)), ("samples", {"step": 2, "text": "t"})])
    pen.write([("events", {"kind": "plan"}), ("system", {"cpu_percent": 7.0})])
    run.paths.train_log.write_text("one\ntwo\n")
    hub.watch("a", Watch(run_id=run.run_id))
    assert [event for event, _ in post.sent["a"]] == [
        "state",
        "metrics",
        "sample",
        "system",
        "event",
        "log",
    ]
    told = dict(post.sent["a"])
    assert told["state"] == run.as_dict()
    assert steps(told["metrics"]) == [1, 2, 3]
    assert steps(told["metrics"], "val_loss") == [2]
    assert (told["metrics"]["after_step"], told["metrics"]["last_step"]) == (-1, 3)
    assert told["metrics"]["cursor"] == {"after_step": 3, "after_evaluation_step": 2}
    assert told["sample"]["samples"][0]["text"] == "t"
    assert told["system"]["series"]["cpu_percent"]["value"] == [7.0]
    assert told["event"]["events"][0]["kind"] == "plan"
    assert told["log"]["lines"] == ["one", "two"]
    assert told["log"]["cursor"] == {"after_log": 8}
    assert all(data["run_id"] == run.run_id for _, data in post.sent["a"])


def test_a_run_that_has_measured_nothing_answers_too(hub: LiveHub, post: Post, run: Run) -> None:
    hub.watch("a", Watch(run_id=run.run_id, after_step=0))
    [message] = post.take("a", "metrics")
    assert (message["last_step"], steps(message)) == (None, [])


def test_a_watcher_continues_where_it_stands(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 9)
    pen.write([("evaluations", evaluation_row(5)), ("evaluations", evaluation_row(8))])
    hub.watch("a", Watch(run_id=run.run_id, after_step=7))
    [message] = post.take("a", "metrics")
    assert message["after_step"] == 7
    assert (steps(message), steps(message, "val_loss")) == ([8, 9], [8])


def test_an_evaluation_that_comes_after_its_step_is_not_lost(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    """A step is evaluated after its point was sent, perhaps while the client is away."""
    write_points(pen, 1, 4)
    hub.watch("a", Watch(run_id=run.run_id))
    cursor = post.take("a", "metrics")[0]["cursor"]
    pen.write([("evaluations", evaluation_row(4))])
    hub.tick()
    assert steps(post.take("a", "metrics")[0], "val_loss") == [4]
    hub.watch("b", Watch(run_id=run.run_id, **cursor))
    assert steps(post.take("b", "metrics")[0], "val_loss") == [4]


def test_what_cannot_be_watched_is_refused(hub: LiveHub, post: Post, make_run: MakeRun) -> None:
    with pytest.raises(NotFoundError):
        hub.watch("a", Watch(run_id="20260102-030405-none"))
    assert post.take("a", "gone") == [{"run_id": "20260102-030405-none"}]
    with pytest.raises(NotFoundError):
        hub.watch("a", Watch(run_id="../../etc"))
    for _ in range(MAX_RUNS_A_CLIENT):
        hub.watch("a", Watch(run_id=make_run().run_id))
    with pytest.raises(ConflictError, match="at most 16 runs"):
        hub.watch("a", Watch(run_id=make_run().run_id))


# ---------------------------------------------------------------------- what is new


def test_only_what_is_new_is_sent(hub: LiveHub, post: Post, run: Run, pen: MetricsWriter) -> None:
    write_points(pen, 1, 2)
    hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    hub.tick()
    assert post.sent == {}
    write_points(pen, 3, 4)
    hub.tick()
    assert [event for event, _ in post.sent["a"]] == ["metrics"]
    assert steps(post.take("a", "metrics")[0]) == [3, 4]
    set_state(run, step=4)
    hub.tick()
    assert [message["step"] for message in post.take("a", "state")] == [4]


def test_a_change_that_no_time_stamp_shows_is_seen(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_now = (time.time_ns() + 60 * 10**9, 4096)
    monkeypatch.setattr("webapp.deltas._stamp", lambda _: just_now)
    hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    write_points(pen, 1, 1)
    hub.tick()
    assert steps(post.take("a", "metrics")[0]) == [1]


def test_half_a_line_waits_for_its_end(hub: LiveHub, post: Post, run: Run) -> None:
    run.paths.train_log.write_text("one\ntw")
    hub.watch("a", Watch(run_id=run.run_id))
    assert post.take("a", "log")[0]["lines"] == ["one"]
    with run.paths.train_log.open("a") as log:
        log.write("o\n")
    hub.tick()
    assert post.take("a", "log")[0]["lines"] == ["two"]


def test_each_tab_has_its_own_place(hub: LiveHub, post: Post, run: Run, pen: MetricsWriter) -> None:
    write_points(pen, 1, 2)
    hub.watch("a", Watch(run_id=run.run_id))
    write_points(pen, 3, 3)
    hub.watch("b", Watch(run_id=run.run_id, after_step=1))
    hub.tick()
    assert [steps(m) for m in post.take("a", "metrics")] == [[1, 2], [3]]
    assert [steps(m) for m in post.take("b", "metrics")] == [[2, 3]]
    hub.unwatch("a", run.run_id)
    write_points(pen, 4, 4)
    hub.tick()
    assert post.take("a", "metrics") == []
    assert [steps(m) for m in post.take("b", "metrics")] == [[4]]


def test_no_gap_and_no_double_over_reconnects(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    """Writes, looks, evaluations and reconnects in any order: the client's curve is the curve."""
    chance = random.Random(5)
    held: dict[str, list[int]] = {"train_loss": [], "val_loss": []}
    lines: list[str] = []
    cursor: dict[str, Any] = {}
    written, evaluated, client = 0, 0, 0
    log = run.paths.train_log.open("a", buffering=1)

    def take() -> None:
        for _, data in post.sent.pop(str(client), []):
            cursor.update(data.get("cursor", {}))
            lines.extend(data.get("lines", []))
            for name in held if "series" in data else ():
                held[name] += steps(data, name)

    hub.watch("0", Watch(run_id=run.run_id))
    for _ in range(400):
        action = chance.choice(["write", "write", "evaluate", "look", "reconnect", "log"])
        if action == "write":
            more = chance.randint(1, 5)
            write_points(pen, written + 1, written + more)
            written += more
        elif action == "evaluate" and written > evaluated:
            evaluated = written
            pen.write([("evaluations", evaluation_row(evaluated))])
        elif action == "log":
            log.write(f"line {len(lines)} of {written}\n")
        elif action == "look":
            hub.tick()
        elif action == "reconnect":
            take()
            hub.forget(str(client))
            client += 1
            hub.watch(str(client), Watch(run_id=run.run_id, **cursor))
        take()
    hub.tick()
    take()
    log.close()
    assert held["train_loss"] == list(range(1, written + 1))
    assert held["val_loss"] == [row["step"] for row in all_evaluations(run)]
    assert lines == run.paths.train_log.read_text().splitlines()


def all_evaluations(run: Run) -> list[dict[str, Any]]:
    store = RunStore(run.paths.folder.parent.parent)
    with store.metrics(run.run_id) as reader:
        return reader.latest_evaluations()


# ---------------------------------------------------------------------- many, and far behind


def test_what_a_tick_sends_does_not_grow_with_the_history(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    def bytes_of_a_tick(step: int) -> int:
        row = point_row(step) | {"epoch": 1.5, "tokens": 10, "elapsed_seconds": 2.5}
        pen.write([("points", row), ("system", {"id": step, "cpu_percent": 7.0})])
        hub.tick()
        return len(msgspec.json.encode(post.sent.pop("a")))

    write_points(pen, 100_001, 100_100)
    pen.write([("system", {"id": 100_100, "cpu_percent": 7.0})])
    hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    short = bytes_of_a_tick(100_101)
    write_points(pen, 100_102, 200_000)
    hub.tick()
    post.sent.clear()
    assert bytes_of_a_tick(200_001) == short < 1500


def test_who_stands_far_behind_gets_buckets_and_then_single_points(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    spike = point_row(23_456) | {"grad_norm": 99.0}
    write_points(pen, 1, 30_000)
    pen.write([("points", spike)])
    pen.write(("system", {"ram_bytes": 9 if n == 2222 else 1}) for n in range(5000))
    hub.watch("a", Watch(run_id=run.run_id, after_step=1000, after_system=100))
    told = dict(post.sent.pop("a"))
    norm, memory = told["metrics"]["series"]["grad_norm"], told["system"]["series"]["ram_bytes"]
    assert (norm["of"], norm["step"][-1]) == (29_000, 30_000)
    assert norm["step"][0] > 1000
    assert norm["points"] == len(norm["step"]) <= 2000
    assert norm["max"].count(99.0) == 1
    assert (memory["of"], memory["id"][-1], max(memory["max"])) == (4900, 5000, 9)
    assert told["system"]["after_id"] == 100
    write_points(pen, 30_001, 30_002)
    hub.tick()
    assert steps(post.take("a", "metrics")[0]) == [30_001, 30_002]


def test_clients_at_one_place_share_one_read_and_one_writing(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [str(number) for number in range(50)]
    for client in clients:
        hub.watch(client, Watch(run_id=run.run_id))
    hub.tick()  # From here on all know the same state.
    post.sent.clear()
    reads: list[Any] = []
    series = MetricsReader.series

    def counted(reader: MetricsReader, names: Any, **options: Any) -> dict[str, Any]:
        reads.append(names)
        return series(reader, names, **options)

    monkeypatch.setattr(MetricsReader, "series", counted)
    write_points(pen, 1, 2)
    set_state(run, step=2)
    before = post.written
    hub.tick()
    assert post.written - before == 2  # The state and the points.
    assert len(reads) == 3  # The points, and the evaluations with their end.
    assert [steps(post.take(client, "metrics")[0]) for client in clients] == [[1, 2]] * 50


def test_news_waits_for_no_tick(hub: LiveHub, post: Post, run: Run, pen: MetricsWriter) -> None:
    hub.watch("a", Watch(run_id=run.run_id))
    hub.tick_runs()
    post.sent.clear()
    hub.glance()
    assert post.sent == {}
    write_points(pen, 1, 1)
    hub.glance()
    assert [steps(message) for message in post.take("a", "metrics")] == [[1]]
    write_points(pen, 2, 2)
    hub.glance()  # It was looked at just now.
    assert post.sent == {}
    hub.glance()
    assert [steps(message) for message in post.take("a", "metrics")] == [[2]]


def test_a_hidden_page_gets_the_state_alone_and_goes_on_where_it_stood(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 2)
    hub.watch("a", Watch(run_id=run.run_id))
    cursor = post.take("a", "metrics")[0]["cursor"]
    hub.watch("a", Watch(run_id=run.run_id, only="state"))
    assert [event for event, _ in post.sent.pop("a")] == ["state"]
    write_points(pen, 3, 4)
    set_state(run, step=4)
    for _ in range(TICKS_A_STATE_LOOK - 1):
        hub.tick_runs()
    assert post.sent == {}
    hub.tick_runs()
    assert [(event, data["step"]) for event, data in post.sent.pop("a")] == [("state", 4)]
    hub.watch("a", Watch(run_id=run.run_id, **cursor))
    assert [steps(message) for message in post.take("a", "metrics")] == [[3, 4]]


def test_who_draws_curves_alone_gets_no_more(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 4)
    pen.write([("events", {"kind": "plan"}), ("system", {"cpu_percent": 7.0})])
    run.paths.train_log.write_text("one\n")
    hub.watch("a", Watch(run_id=run.run_id, only="metrics"))
    assert [event for event, _ in post.sent["a"]] == ["state", "metrics"]
    cursor = post.take("a", "metrics")[0]["cursor"]
    assert cursor == {"after_step": 4, "after_evaluation_step": -1, "after_event": 1}
    resume_at(pen, 2)
    write_points(pen, 3, 9)
    hub.watch("b", Watch(run_id=run.run_id, only="metrics", **cursor))
    hub.tick()
    for client in ("a", "b"):
        [message] = post.take(client, "metrics")
        assert (message["after_step"], steps(message)) == (2, [3, 4, 5, 6, 7, 8, 9])


# ---------------------------------------------------------------------- going back


def resume_at(pen: MetricsWriter, step: int) -> None:
    """Do to the metrics what a resumed worker does."""
    pen.cut_after(step)
    pen.write([("events", {"kind": "resumed", "step": step})])


def test_a_resumed_run_voids_what_lies_past_its_checkpoint(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 8)
    pen.write([("samples", {"step": 4, "text": "kept"}), ("samples", {"step": 8, "text": "old"})])
    pen.write([("evaluations", evaluation_row(4)), ("evaluations", evaluation_row(8))])
    hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    resume_at(pen, 5)
    hub.tick()
    told = dict(post.sent.pop("a"))
    assert (told["metrics"]["after_step"], told["metrics"]["last_step"]) == (5, 5)
    assert steps(told["metrics"]) == []
    assert (told["sample"]["after_step"], told["sample"]["samples"]) == (5, [])
    write_points(pen, 6, 7)
    pen.write([("samples", {"step": 7, "text": "new"}), ("evaluations", evaluation_row(7))])
    hub.tick()
    told = dict(post.sent.pop("a"))
    assert (told["metrics"]["after_step"], steps(told["metrics"])) == (5, [6, 7])
    assert steps(told["metrics"], "val_loss") == [7]
    assert [row["text"] for row in told["sample"]["samples"]] == ["new"]


def test_a_resume_that_nobody_saw_is_noticed_afterwards(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    """The run went back and past the old end while the client was away or the hub slept."""
    write_points(pen, 1, 6)
    pen.write([("events", {"kind": "plan"}), ("samples", {"step": 6, "text": "old"})])
    hub.watch("a", Watch(run_id=run.run_id))
    cursor: dict[str, Any] = {}
    for _, data in post.sent.pop("a"):
        cursor.update(data.get("cursor", {}))
    resume_at(pen, 4)
    write_points(pen, 5, 9)
    pen.write([("samples", {"step": 8, "text": "new"})])
    hub.watch("b", Watch(run_id=run.run_id, **cursor))
    hub.tick()
    for client in ("a", "b"):
        told = dict(post.sent.pop(client))
        assert (told["metrics"]["after_step"], steps(told["metrics"])) == (4, [5, 6, 7, 8, 9])
        assert [row["text"] for row in told["sample"]["samples"]] == ["new"]


def test_a_cursor_beyond_the_end_begins_anew(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 3)
    hub.watch("a", Watch(run_id=run.run_id, after_step=50))
    [message] = post.take("a", "metrics")
    assert (message["after_step"], steps(message)) == (-1, [1, 2, 3])


# ---------------------------------------------------------------------- slow, gone, damaged


def test_a_slow_client_is_passed_over_and_catches_up(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    hub.watch("slow", Watch(run_id=run.run_id))
    post.sent.clear()
    post.waiting["slow"] = MAX_BACKLOG_MESSAGES + 1
    for step in range(1, 6):
        write_points(pen, step, step)
        hub.tick()
    assert post.sent == {}
    post.waiting["slow"] = 0
    hub.tick()
    assert [steps(m) for m in post.take("slow", "metrics")] == [[1, 2, 3, 4, 5]]


def test_a_client_that_has_left_is_forgotten(
    hub: LiveHub, post: Post, run: Run, pen: MetricsWriter
) -> None:
    hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    post.waiting["a"] = None
    write_points(pen, 1, 1)
    hub.tick()
    post.waiting["a"] = 0
    hub.tick()
    assert post.sent == {}


def test_a_deleted_run_is_gone_once(
    hub: LiveHub, post: Post, store: RunStore, make_run: MakeRun
) -> None:
    run_id = make_run().run_id
    hub.watch("a", Watch(run_id=run_id))
    store.delete(run_id)
    hub.tick()
    hub.tick()
    assert post.take("a", "gone") == [{"run_id": run_id}]


def test_a_damaged_run_is_told_once_and_harms_no_other(
    hub: LiveHub, post: Post, make_run: MakeRun
) -> None:
    damaged, whole = make_run(), make_run()
    for run in (damaged, whole):
        hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    damaged.paths.state.write_text("{")
    set_state(whole, step=3)
    hub.tick()
    hub.tick()
    sent = post.sent.pop("a")
    assert [event for event, _ in sent] == ["state", "state"]
    told = next(data for _, data in sent if data["run_id"] == damaged.run_id)
    assert told["error"]["kind"] == "store"


def test_damaged_metrics_are_told_once_and_the_state_all_the_same(
    hub: LiveHub, post: Post, make_run: MakeRun
) -> None:
    run = make_run(points=3)
    run.paths.metrics.write_bytes(b"no database " * 400)
    hub.watch("a", Watch(run_id=run.run_id))
    set_state(run, step=3)
    hub.tick()
    sent = post.sent.pop("a")
    assert sorted(event for event, _ in sent) == ["error", "state", "state"]
    told = dict(sent)["error"]
    assert (told["run_id"], told["error"]["kind"]) == (run.run_id, "store")


def test_a_process_that_vanishes_is_seen_without_a_change_on_disk(
    hub: LiveHub, post: Post, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(status="running", process=process.identify(os.getpid()))
    hub.watch("a", Watch(run_id=run.run_id))
    post.sent.clear()
    monkeypatch.setattr("trainer.store.process.is_alive", lambda _: False)
    hub.tick()
    assert [state["status"] for state in post.take("a", "state")] == ["interrupted"]


def test_a_run_that_has_ended_is_not_read_again(
    hub: LiveHub, post: Post, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(points=3)
    for path in run.paths.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    hub.watch("a", Watch(run_id=run.run_id))
    monkeypatch.setattr(RunStore, "get", lambda *_: pytest.fail("the run was read"))
    hub.tick()


# ---------------------------------------------------------------------- the list


def long_ago(run: Run) -> Run:
    """Let a run look as if nothing had touched it for years."""
    os.utime(run.paths.folder, (1e9, 1e9))
    return run


def _touched(path: Path) -> int:
    path.touch()
    return path.stat().st_ctime_ns


def told_runs(post: Post, client: str) -> list[tuple[list[str], list[str]]]:
    messages = post.take(client, "runs")
    return [([run["run_id"] for run in m["runs"]], m["removed"]) for m in messages]


def test_the_list_tells_active_runs_and_every_change(
    hub: LiveHub,
    post: Post,
    run: Run,
    make_run: MakeRun,
    store: RunStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webapp.listing.SETTLED_NS", 0)
    ended = make_run(status="completed")
    hub.watch_list("a", None)
    hub.tick()
    assert told_runs(post, "a") == [([run.run_id], [])]
    hub.tick()
    assert told_runs(post, "a") == []
    store.annotate(ended.run_id, name="new name")
    added = make_run()
    hub.tick()
    assert told_runs(post, "a") == [(sorted([ended.run_id, added.run_id]), [])]
    store.delete(added.run_id)
    hub.tick()
    assert told_runs(post, "a") == [([], [added.run_id])]


def test_two_changes_within_one_time_stamp_are_both_told(
    hub: LiveHub, post: Post, make_run: MakeRun, store: RunStore
) -> None:
    run = make_run()
    stamp = run.paths.folder.stat().st_mtime_ns
    hub.watch_list("a", None)
    hub.tick()
    post.sent.clear()
    store.annotate(run.run_id, name="second")
    os.utime(run.paths.folder, ns=(stamp, stamp))
    hub.tick()
    assert [m["runs"][0]["name"] for m in post.take("a", "runs")] == ["second"]


def test_what_changed_since_the_page_was_made_is_told(
    hub: LiveHub, post: Post, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.listing.SETTLED_NS", 0)
    old, probe = make_run(), tmp_path / "probe"
    while (changed_ns := _touched(probe)) <= old.paths.folder.stat().st_ctime_ns + 1_000_000:
        continue  # Until the clock of the file system has moved on.
    new = make_run()
    hub.watch_list("a", datetime.fromtimestamp(changed_ns / 1e9 - 0.0005, UTC))
    hub.tick()
    assert told_runs(post, "a") == [([new.run_id], [])]


def test_a_slow_list_gets_all_changes_at_once(
    hub: LiveHub, post: Post, make_run: MakeRun, store: RunStore
) -> None:
    first = long_ago(make_run())
    hub.watch_list("slow", None)
    post.waiting["slow"] = MAX_BACKLOG_MESSAGES + 1
    second = make_run()
    hub.tick()
    third = make_run()
    hub.tick()
    store.delete(first.run_id)
    store.delete(third.run_id)
    hub.tick()
    post.waiting["slow"] = 0
    hub.tick()
    assert told_runs(post, "slow") == [([second.run_id], sorted([first.run_id, third.run_id]))]


def test_a_list_nobody_watches_is_not_looked_at(
    hub: LiveHub, post: Post, make_run: MakeRun
) -> None:
    hub.watch_list("a", None)
    hub.unwatch_list("a")
    make_run()
    hub.tick()
    assert post.sent == {}


# ---------------------------------------------------------------------- the log


def test_a_log_is_read_from_a_byte(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    assert read_log(log, None).lines == []
    log.write_text("one\ntwo\n")
    assert (read_log(log, 4).lines, read_log(log, 4).end) == (["two"], 8)
    assert read_log(log, 8).lines == []
    assert read_log(log, 100).lines == ["one", "two"]
    assert read_log(log, None).end == 8


def test_a_log_that_ran_away_is_skipped_to_its_end_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    line = "x" * 99 + "\n"
    log.write_text(line * 2000)
    part = read_log(log, 100)
    assert part.end == 200_000
    assert len(part.lines) == LOG_BYTES_A_MESSAGE // 100
    assert part.skipped_bytes == 200_000 - 100 - 100 * len(part.lines)
    assert set(part.lines) == {line.strip()}


# ---------------------------------------------------------------------- over Socket.IO


def test_events_of_a_client_are_answered(
    connect: Connect, parts: Services, make_run: MakeRun
) -> None:
    run = make_run(points=2)
    client = connect()
    assert client.emit("watch", {"run_id": run.run_id, "after_step": 1}, callback=True) == {
        "ok": True
    }
    messages = {message["name"]: message["args"][0] for message in client.get_received()}
    assert messages["state"]["run_id"] == run.run_id
    assert steps(messages["metrics"]) == [2]
    assert client.emit("watch_runs", {}, callback=True) == {"ok": True}
    added = make_run()
    parts.live.tick()
    told = received(client, "runs")[0]["runs"]
    assert added.run_id in [state["run_id"] for state in told]
    assert client.emit("unwatch", {}, callback=True) == {"ok": True}
    assert client.emit("unwatch_runs", callback=True) == {"ok": True}


def test_a_resume_in_the_middle_is_told_to_every_client(
    connect: Connect, parts: Services, run: Run, pen: MetricsWriter
) -> None:
    write_points(pen, 1, 8)
    clients = [connect() for _ in range(3)]
    held: list[list[int]] = [[] for _ in clients]

    def take() -> None:
        for client, known in zip(clients, held, strict=True):
            for message in received(client, "metrics"):
                known[:] = [step for step in known if step <= message["after_step"]]
                known += steps(message)

    for client in clients:
        client.emit("watch", {"run_id": run.run_id})
    take()
    assert held == [list(range(1, 9))] * 3
    resume_at(pen, 5)
    write_points(pen, 6, 6)
    parts.live.tick()
    take()
    assert held == [[1, 2, 3, 4, 5, 6]] * 3


@pytest.mark.parametrize(
    ("event", "payload", "kind"),
    [
        ("watch", None, "invalid"),
        ("watch", [], "invalid"),
        ("watch", "x", "invalid"),
        ("watch", {"run_id": 3}, "invalid"),
        ("watch", {"run_id": "a", "after_step": "1"}, "invalid"),
        ("watch", {"run_id": "a", "after_step": -2}, "invalid"),
        ("watch", {"run_id": "a", "step": 1}, "invalid"),
        ("watch", {"run_id": "a", "only": "log"}, "invalid"),
        ("watch", {"run_id": "../x"}, "not_found"),
        ("watch", {"run_id": "a"}, "not_found"),
        ("unwatch", {"run_id": 3}, "invalid"),
        ("watch_runs", {"since": "yesterday"}, "invalid"),
        ("watch_runs", {"since": 3}, "invalid"),
    ],
)
def test_a_bad_payload_is_told(connect: Connect, event: str, payload: Any, kind: str) -> None:
    client = connect()
    answer = client.emit(event, payload, callback=True)
    assert answer["error"]["kind"] == kind
    assert received(client, "error") == [answer]


def test_an_unforeseen_error_is_told_without_detail(
    connect: Connect, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.store, "get", lambda _: 1 / 0)
    client = connect()
    client.emit("watch", {"run_id": "a"})
    [told] = received(client, "error")
    assert told["error"]["kind"] == "internal"
    assert "division" not in str(told)


def test_a_client_that_disconnects_is_watched_for_no_more(
    connect: Connect, parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    client = connect()
    client.emit("watch", {"run_id": run.run_id})
    client.disconnect()
    monkeypatch.setattr(RunStore, "get", lambda *_: pytest.fail("the run was read"))
    parts.live.tick()


def test_only_so_many_clients_are_let_in(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.sockets.MAX_CLIENTS", 2)
    clients = [connect() for _ in range(3)]
    assert [client.is_connected() for client in clients] == [True, True, False]
    clients[0].disconnect()
    assert connect().is_connected()


def test_the_thread_begins_with_a_watcher_and_ends(
    store: RunStore, post: Post, run: Run, pen: MetricsWriter
) -> None:
    hub = LiveHub(store, post)
    hub.watch("a", Watch(run_id=run.run_id))
    thread = hub._thread
    assert thread is not None
    assert thread.is_alive()
    hub.close()
    assert not thread.is_alive()
