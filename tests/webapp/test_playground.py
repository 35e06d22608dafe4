"""The playground's events, with a process that writes the same words without a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask_socketio import SocketIOTestClient

from tests.conftest import MakeRun
from tests.webapp.conftest import Connect
from trainer.errors import BusyError, NotFoundError
from trainer.inference.request import GenerationSettings
from trainer.runs import Run
from webapp import Services
from webapp.errors import InvalidFieldError
from webapp.playground import Playground, Post
from webapp.writing import MAX_WRITINGS

PATIENCE_SECONDS = 30.0


@pytest.fixture
def trained(make_run: MakeRun) -> Run:
    """A run with something at the place of its checkpoints; nobody reads it."""
    run = make_run()
    run.paths.checkpoints.mkdir(parents=True)
    for name in ("latest", "best"):
        run.paths.checkpoint(name).write_bytes(b"weights")
    return run


class Reader:
    """Takes what a client gets until its texts have ended."""

    def __init__(self, client: SocketIOTestClient) -> None:
        self.client = client
        self.got: list[tuple[str, dict[str, Any]]] = []

    def until(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.named(event)) < times:
            assert time.monotonic() < deadline, self.got
            self.got += [(m["name"], m["args"][0]) for m in self.client.get_received()]
        return self.named(event)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [data for name, data in self.got if name == event]


@pytest.fixture
def reader(connect: Connect) -> Reader:
    return Reader(connect())


def wanted(run: Run, **more: Any) -> dict[str, Any]:
    return {"id": "t1", "run_id": run.run_id, "prompt": "Tell", **more}


def test_a_text_streams_and_is_told_whole_at_the_end(reader: Reader, trained: Run) -> None:
    request = wanted(trained, checkpoint="best", max_new_tokens=3, seed=5, temperature=1)
    assert reader.client.emit("generate", request, callback=True) == {"ok": True}
    assert reader.until("done") == [
        {
            "id": "t1",
            "text": "Once upon a",
            "tokens": 3,
            "tokens_per_second": 100.0,
            "seed": 5,
            "finish_reason": "length",
            "prompt_tokens": 3,
            "prompt_tokens_read": 3,
            "report": "3 tokens · 100 tok/s · seed 5 · reached the length",
            "unread": "",
        }
    ]
    tokens = reader.named("token")
    assert "".join(token["text"] for token in tokens) == "Once upon a"
    assert tokens[-1]["tokens"] == 3
    assert {(token["id"], token["row"]) for token in tokens} == {("t1", 0)}


def test_the_likelihoods_come_with_the_tokens_and_not_once_more(
    reader: Reader, trained: Run
) -> None:
    reader.client.emit("generate", wanted(trained, max_new_tokens=2, logprobs=1, n=2))
    [done] = reader.until("done")
    told = [token["logprobs"] for token in reader.named("token") if token["row"] == 1]
    assert [one["token"] for entries in told for one in entries] == ["Once", " upon"]
    assert "logprobs" not in done
    assert [sorted(row) for row in done["continuations"]] == [
        ["finish_reason", "seed", "text", "tokens"]
    ] * 2


def test_the_newest_run_and_checkpoint_are_the_default(reader: Reader, trained: Run) -> None:
    reader.client.emit("generate", {"id": 1, "run_id": "latest", "checkpoint": None})
    assert reader.until("done")[0]["id"] == 1


def test_a_text_stops_at_once_and_keeps_what_came(reader: Reader, trained: Run) -> None:
    reader.client.emit("generate", wanted(trained, prompt="wait"))
    reader.until("token")
    assert reader.client.emit("cancel", {"id": "t1"}, callback=True) == {"ok": True}
    [done] = reader.until("done")
    assert (done["text"], done["finish_reason"]) == ("Once", "cancelled")


def test_a_failure_is_told_to_its_text(reader: Reader, trained: Run) -> None:
    reader.client.emit("generate", wanted(trained, prompt="fail"))
    [failed] = reader.until("failed")
    assert failed["id"] == "t1"
    assert failed["error"]["message"] == "The checkpoint is damaged."


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"run_id": "20260102-030405-none"}, "not_found", "There is no run"),
        ({"run_id": "../x"}, "not_found", "is not a run id"),
        ({"run_id": 3}, "invalid", "'run_id' is wrong: expected str, got int."),
        ({"checkpoint": "epoch-9"}, "not_found", "has no checkpoint 'epoch-9'"),
        ({"checkpoint": "../latest"}, "usage", "is not a checkpoint"),
        ({"temperature": -1}, "usage", "temperature = -1 is not a number of 0 or more."),
        ({"top_p": "all"}, "usage", "top_p = 'all'"),
        ({"max_new_tokens": 0}, "usage", "max_new_tokens = 0"),
        ({"stop": "x"}, "usage", "stop = 'x'"),
        ({"beam": 3}, "usage", "There is no generation setting 'beam'."),
        ({"id": ""}, "invalid", "'id' is wrong"),
        ({"id": None}, "invalid", "'id' is wrong"),
    ],
)
def test_a_wrong_request_fails_in_words(
    reader: Reader, trained: Run, change: dict[str, Any], kind: str, message: str
) -> None:
    request = wanted(trained) | change
    answer = reader.client.emit("generate", request, callback=True)
    assert answer["error"]["kind"] == kind
    assert message in answer["error"]["message"]
    assert reader.until("failed") == [{"id": request["id"], "error": answer["error"]}]


@pytest.mark.parametrize("payload", [None, [], "x", {}])
def test_a_request_without_an_id_fails_too(reader: Reader, payload: Any) -> None:
    reader.client.emit("generate", payload)
    assert reader.until("failed")[0]["id"] is None


def test_one_id_names_one_text(reader: Reader, trained: Run) -> None:
    reader.client.emit("generate", wanted(trained, prompt="wait"))
    answer = reader.client.emit("generate", wanted(trained), callback=True)
    assert answer["error"]["kind"] == "conflict"
    reader.client.emit("cancel", {"id": "t1"})
    reader.until("done")


def test_a_cancel_of_nothing_is_no_mistake(reader: Reader) -> None:
    assert reader.client.emit("cancel", {"id": "gone"}, callback=True) == {"ok": True}
    assert reader.client.emit("cancel", {}, callback=True)["error"]["kind"] == "invalid"


def test_a_client_that_has_no_place_left_is_told(
    reader: Reader, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.writing.MAX_WRITINGS_A_CLIENT", 1)
    reader.client.emit("generate", wanted(trained, prompt="wait"))
    reader.client.emit("generate", wanted(trained, id="t2"))
    [failed] = reader.until("failed")
    assert (failed["id"], failed["error"]["kind"]) == ("t2", "busy")
    reader.client.emit("cancel", {"id": "t1"})
    reader.until("done")
    wait_until(lambda: starts(reader, trained))


def starts(reader: Reader, run: Run) -> bool:
    answer = reader.client.emit("generate", wanted(run, id="again"), callback=True)
    return bool(answer == {"ok": True})


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline


def test_only_so_many_texts_are_written_in_all(parts: Services, trained: Run) -> None:
    settings = GenerationSettings(prompt="wait")
    taken = [
        parts.writers.begin(f"client {number}", trained.run_id, "latest", settings)
        for number in range(MAX_WRITINGS)
    ]
    with pytest.raises(BusyError, match=f"{MAX_WRITINGS} texts are being written already"):
        parts.writers.begin("one more", trained.run_id, "latest", settings)
    for writing in taken:
        writing.release()
        writing.release()
    with parts.writers.begin("one more", trained.run_id, "latest", settings) as writing:
        writing.cancel()
        assert writing.finish()["finish_reason"] == "cancelled"


def test_a_request_that_is_refused_takes_no_place(parts: Services, trained: Run) -> None:
    for _ in range(MAX_WRITINGS + 1):
        with pytest.raises(NotFoundError):
            parts.writers.begin("a", trained.run_id, "epoch-3", GenerationSettings())


def test_a_client_that_leaves_cancels_its_texts(parts: Services, trained: Run) -> None:
    post = Slow()
    desk = Playground(parts.writers, post)
    desk.generate("a", wanted(trained, prompt="wait"))
    wait_until(lambda: bool(post.sent))
    desk.leave("a")
    wait_until(lambda: post.sent[-1][0] == "done")
    assert post.sent[-1][1]["finish_reason"] == "cancelled"


class Slow:
    """An outlet to a client that takes nothing after its first message, until it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.takes = False

    def emit(self, event: str, data: dict[str, Any], *clients: str) -> None:
        self.sent.append((event, data))

    def backlog(self, client: str) -> int | None:
        return 0 if self.takes or not self.sent else 100


def written(text: str, tokens: int, row: int = 0) -> dict[str, Any]:
    entries = [{"token": text}]
    return {"type": "token", "row": row, "text": text, "tokens": tokens, "logprobs": entries}


def test_a_slow_client_gets_several_tokens_in_one_message() -> None:
    outlet = Slow()
    post = Post(outlet, "a", "t1", dict)
    for event in (written("Once", 1), written(" upon", 2), written("Two", 1, 1), written(" a", 3)):
        post.take(event)
    post.take({"type": "progress", "done": 3})
    outlet.takes = True
    post.take(written(" time", 4))
    post.take({"type": "done", "text": "Once upon a time"})
    told = [(event, data.get("row"), data.get("text")) for event, data in outlet.sent]
    assert told == [
        ("token", 0, "Once"),
        ("token", 0, " upon a time"),
        ("token", 1, "Two"),
        ("done", None, "Once upon a time"),
    ]
    assert outlet.sent[1][1]["logprobs"] == [{"token": part} for part in (" upon", " a", " time")]
    assert {data["id"] for _, data in outlet.sent} == {"t1"}


# ---------------------------------------------------------------------- warm and score


def test_a_model_is_got_ready(reader: Reader, trained: Run) -> None:
    reader.client.emit("warm", {"id": "m1", "run_id": trained.run_id, "checkpoint": "best"})
    assert reader.until("done") == [
        {"id": "m1", "parameters": 1234, "device": "cpu", "seconds": 0.25}
    ]


def test_a_text_is_scored_in_figures_and_in_words(reader: Reader, trained: Run) -> None:
    asked = {"id": "s1", "run_id": trained.run_id, "text": "Once upon", "alternatives": 1}
    reader.client.emit("score", asked)
    [done] = reader.until("done")
    assert [token["token"] for token in done["tokens"]] == ["Once", " upon"]
    assert [len(token["top"]) for token in done["tokens"]] == [1, 1]
    words = [(one["label"], one["value"]) for one in done["figures"]]
    assert words[:2] == [("perplexity", "1.649"), ("word perplexity", "1.649")]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"text": ""}, "invalid", "'text' is wrong: expected str of length >= 1."),
        ({"text": "x" * 50_001}, "invalid", "'text' is wrong: expected str of length <= 50000."),
        ({"text": 7}, "invalid", "'text' is wrong: expected str, got int."),
        ({"alternatives": 21}, "invalid", "'alternatives' is wrong: expected int <= 20."),
        ({"checkpoint": "epoch-9"}, "not_found", "has no checkpoint 'epoch-9'"),
        ({"temperature": 1}, "invalid", "'temperature' is not a field."),
        ({"text": "fail"}, "checkpoint", "The checkpoint is damaged."),
    ],
)
def test_a_text_that_cannot_be_scored_is_told(
    reader: Reader, trained: Run, change: dict[str, Any], kind: str, message: str
) -> None:
    reader.client.emit("score", {"id": "s1", "run_id": trained.run_id, "text": "Once"} | change)
    [failed] = reader.until("failed")
    assert (failed["id"], failed["error"]["kind"]) == ("s1", kind)
    assert message in failed["error"]["message"]


def test_half_a_character_is_refused(parts: Services, trained: Run) -> None:
    asked = {"id": "s1", "run_id": trained.run_id, "text": "a\ud800"}
    with pytest.raises(InvalidFieldError, match="a lone surrogate at character 1"):
        Playground(parts.writers, Slow()).score("a", asked)


@pytest.mark.parametrize("event", ["score", "warm"])
@pytest.mark.parametrize("payload", [None, [], "x", {}, {"id": 1}, {"id": [], "run_id": "a"}])
def test_a_payload_that_is_no_request_is_refused(reader: Reader, event: str, payload: Any) -> None:
    answer = reader.client.emit(event, payload, callback=True)
    assert answer["error"]["kind"] == "invalid"
