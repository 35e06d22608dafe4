"""The official client of OpenAI's interface, as it comes, against the real server."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conftest import write_run
from tests.webapp.conftest import FAKE_MODEL
from tests.webapp.serving import Server, free_port, wait_until
from tests.webapp.test_openai import with_checkpoints
from trainer.runs import Run, RunStore
from trainer.store.workspace import Workspace
from webapp.server import THREADS
from webapp.sockets import MAX_CLIENTS
from webapp.writing import MAX_WRITINGS, MAX_WRITINGS_A_CLIENT

PROGRAM = f"""
import sys
from trainer.inference.client import ModelProcess
from webapp import writing
from webapp.server import serve
writing.ModelService = lambda _: ModelProcess([sys.executable, {str(FAKE_MODEL)!r}])
serve(sys.argv[1], port=int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(Workspace(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def trained(store: RunStore) -> Run:
    return with_checkpoints(write_run(store))


@pytest.fixture(scope="module")
def serving(store: RunStore, trained: Run) -> Iterator[Server]:
    started = Server(store.workspace.home, free_port(), PROGRAM)
    yield started
    started.kill()


Connect = Callable[[str], OpenAI]


@pytest.fixture
def connect(serving: Server) -> Iterator[Connect]:
    """Makes a client with a key of its own."""
    with ExitStack() as clients:
        yield lambda key: clients.enter_context(
            OpenAI(base_url=f"{serving.url}/v1", api_key=key, max_retries=0)
        )


@pytest.fixture
def client(connect: Connect) -> OpenAI:
    return connect("anything")


# ---------------------------------------------------------------------- as it is meant


def test_models_are_listed_and_described(client: OpenAI, trained: Run) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [trained.run_id, f"{trained.run_id}:latest", f"{trained.run_id}:best"]
    assert client.models.retrieve(names[2]).id == names[2]
    assert client.models.retrieve("latest").owned_by == "llm-trainer"


def test_a_prompt_is_continued(client: OpenAI, trained: Run) -> None:
    told = client.completions.create(
        model=f"{trained.run_id}:best",
        prompt=["Tell", "me"],
        n=2,
        max_tokens=3,
        temperature=0,
        top_p=0.9,
        seed=5,
        stop=["\n"],
        echo=True,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        logit_bias={"50256": -100},
        user="somebody",
        extra_body={"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1},
    )
    assert [(choice.index, choice.text) for choice in told.choices] == [
        (0, "TellOnce upon a"),
        (1, "TellOnce upon a"),
        (2, "meOnce upon a"),
        (3, "meOnce upon a"),
    ]
    assert told.usage is not None
    usage = told.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (6, 12, 18)


def test_a_prompt_is_scored(client: OpenAI, trained: Run) -> None:
    told = client.completions.create(
        model=trained.run_id, prompt=[[5, 6, 7]], max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    likely = told.choices[0].logprobs
    assert likely is not None
    assert likely.tokens == ["<5>", "<6>", "<7>", "Once"]
    assert likely.token_logprobs == [None, -0.5, -0.5, -0.5]
    assert likely.text_offset == [0, 3, 6, 9]


def test_a_text_is_streamed(client: OpenAI, trained: Run) -> None:
    pieces = list(
        client.completions.create(
            model=trained.run_id,
            prompt="Tell",
            n=2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = {0: "", 1: ""}
    for piece in pieces:
        for choice in piece.choices:
            texts[choice.index] += choice.text
    assert texts == {0: "Once upon a time", 1: "Once upon a time"}
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == 8


def test_the_asynchronous_client_works_too(serving: Server, trained: Run) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=f"{serving.url}/v1", api_key="x") as client:
            stream = await client.completions.create(
                model=trained.run_id, prompt="Tell", stream=True
            )
            return "".join([piece.choices[0].text async for piece in stream])

    assert asyncio.run(ask()) == "Once upon a time"


# ---------------------------------------------------------------------- its own exceptions


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (openai.NotFoundError, {"model": "gpt-4"}, "There is no run 'gpt-4'"),
        (openai.BadRequestError, {"temperature": 3}, "'temperature' is wrong"),
        (openai.BadRequestError, {"extra_body": {"beams": 2}}, "argument supplied: beams"),
        (openai.UnprocessableEntityError, {"prompt": "fail"}, "The checkpoint is damaged."),
        (
            openai.UnprocessableEntityError,
            {"prompt": "fail", "stream": True},
            "The checkpoint is damaged.",
        ),
    ],
)
def test_a_refusal_is_an_exception_of_the_client(
    client: OpenAI, trained: Run, kind: type[Exception], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(kind, match=message):
        client.completions.create(**({"model": trained.run_id, "prompt": "a"} | change))


def test_a_failure_in_a_stream_is_an_exception_too(client: OpenAI, trained: Run) -> None:
    stream = client.completions.create(model=trained.run_id, prompt=["Tell", "fail"], stream=True)
    assert next(stream).choices[0].text.startswith("Once")
    with pytest.raises(openai.APIError, match="The checkpoint is damaged"):
        list(stream)


def test_a_chat_is_refused_in_words(client: OpenAI, trained: Run) -> None:
    with pytest.raises(openai.BadRequestError, match="These are base models"):
        client.chat.completions.create(
            model=trained.run_id, messages=[{"role": "user", "content": "Hello"}]
        )
    with pytest.raises(openai.NotFoundError, match="There is nothing at this address"):
        client.embeddings.create(model=trained.run_id, input="Hello")


def test_a_huge_body_is_refused(client: OpenAI, trained: Run) -> None:
    with pytest.raises(openai.APIStatusError, match="The request is too large") as raised:
        client.completions.create(model=trained.run_id, prompt="x" * 100_000_000)
    assert raised.value.status_code == 413


# ---------------------------------------------------------------------- many at once


def endless(client: OpenAI, trained: Run) -> Any:
    """Begin a text that never ends and read its first piece."""
    stream = client.completions.create(model=trained.run_id, prompt="endless", stream=True)
    next(stream)
    return stream


def under_way(client: OpenAI, trained: Run) -> int:
    told = client.completions.create(model=trained.run_id, prompt="how many endless?")
    return int(told.choices[0].text)


def test_sixteen_at_once_are_all_served(client: OpenAI, trained: Run) -> None:
    def ask(number: int) -> str:
        told = client.completions.create(model=trained.run_id, prompt=str(number), echo=True)
        return told.choices[0].text

    with ThreadPoolExecutor(16) as threads:
        texts = list(threads.map(ask, range(16)))
    assert texts == [f"{number}Once upon a time" for number in range(16)]


def test_streams_leave_room_for_pages_and_for_others(
    serving: Server, connect: Connect, trained: Run
) -> None:
    mine, theirs, others = connect("mine"), connect("theirs"), connect("others")
    with ExitStack() as streams:
        for program in (mine, theirs):
            for _ in range(MAX_WRITINGS_A_CLIENT - 1):
                streams.enter_context(endless(program, trained))
        assert serving.ask("/healthz")[0] == 200
        assert under_way(others, trained) == 2 * (MAX_WRITINGS_A_CLIENT - 1)
        streams.enter_context(endless(mine, trained))
        with pytest.raises(openai.RateLimitError, match="are being written for you already"):
            under_way(mine, trained)
        streams.enter_context(endless(theirs, trained))
        with pytest.raises(openai.RateLimitError, match=f"{MAX_WRITINGS} texts are being written"):
            under_way(others, trained)
    wait_until(lambda: under_way(others, trained) == 0)


def test_the_server_has_a_thread_for_each_connection_that_may_hold_one() -> None:
    assert THREADS >= MAX_CLIENTS + MAX_WRITINGS + 64


# ---------------------------------------------------------------------- clients that leave


def posted(serving: Server, **body: Any) -> socket.socket:
    """Send a request over a bare connection and read nothing."""
    data = json.dumps({"prompt": "endless"} | body).encode()
    wire = socket.create_connection(("127.0.0.1", serving.port), timeout=30)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{serving.port}\r\n"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    wire.sendall((head + kind).encode() + data)
    return wire


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_midway_ends_the_text(
    serving: Server, client: OpenAI, trained: Run, stream: bool
) -> None:
    wire = posted(serving, model=trained.run_id, stream=stream)
    wait_until(lambda: under_way(client, trained) == 1)
    wire.close()
    wait_until(lambda: under_way(client, trained) == 0)


def test_a_key_is_written_nowhere(store: RunStore, trained: Run) -> None:
    talkative = PROGRAM.replace("port=int(sys.argv[2])", "port=int(sys.argv[2]), log_level='debug'")
    serving = Server(store.workspace.home, free_port(), talkative)
    with OpenAI(base_url=f"{serving.url}/v1", api_key="sk-secret", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nothing")
        with pytest.raises(openai.UnprocessableEntityError):
            client.completions.create(model=trained.run_id, prompt="fail")
    _, out, err = serving.end(signal.SIGTERM)
    files = [path.read_bytes() for path in store.workspace.home.rglob("*") if path.is_file()]
    assert not [text for text in (out.encode(), err.encode(), *files) if b"sk-secret" in text]
