"""Those who have a text written: a page, a program at the interface, and the bare generator.

Each is asked for the same text, waits for it, and tells how long it took. So what they tell can
be compared: it is one model, the same settings and the same seeds.
"""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from benchmarks.connection import Connection, heard
from trainer.children import environment, module_command

PROMPT = "The history of"
SETTINGS: dict[str, Any] = {"temperature": 0.8, "top_k": 50, "top_p": 0.95}
"""A usual choice; all are given the same, so that all write the same texts."""

SHOWN: dict[str, Any] = {"logprobs": 6}
"""The likeliest tokens, which a page asks for too: it tints a text and shows alternatives."""

Heard = tuple[float, str, dict[str, Any]]
"""When something was heard, the name of the event, and its data."""

_PATIENCE_SECONDS = 60.0
_TRIES_A_SEED = 40


@dataclass(frozen=True)
class Written:
    """A text that was written: how long it is, and the seconds from the request on."""

    tokens: int
    seconds: float
    first_seconds: float = 0.0
    """Until the first of the text was there; of one that came whole, until all was."""

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


class Caller(Protocol):
    """Whoever has texts written."""

    def write(self, tokens: int, seed: int) -> Written:
        """Have at most so many tokens written and wait until they are."""


def together(caller: Caller, tokens: int, seeds: Sequence[int]) -> Written:
    """Have several texts written at once, and return them as if they were one.

    The first token is the one of the text that waited longest for its own.
    """
    with ThreadPoolExecutor(len(seeds)) as pool:
        began = time.perf_counter()
        texts = list(pool.map(lambda seed: caller.write(tokens, seed), seeds))
        seconds = time.perf_counter() - began
    first_seconds = max(text.first_seconds for text in texts)
    return Written(sum(text.tokens for text in texts), seconds, first_seconds)


def in_turn(caller: Caller, tokens: int, seeds: Sequence[int]) -> Written:
    """Have several texts written one after the other, and return them as if they were one."""
    texts = [caller.write(tokens, seed) for seed in seeds]
    seconds = sum(text.seconds for text in texts)
    return Written(sum(text.tokens for text in texts), seconds, texts[0].first_seconds)


def seeds_of_long_texts(caller: Caller, tokens: int, count: int) -> list[int]:
    """Return seeds whose texts do not end before so many tokens.

    Raises:
        RuntimeError: nearly all texts of the model end early.
    """
    tries = range(_TRIES_A_SEED * count)
    long = (seed for seed in tries if caller.write(tokens, seed).tokens == tokens)
    found = list(itertools.islice(long, count))
    if len(found) < count:
        raise RuntimeError(f"only {len(found)} of {len(tries)} texts have {tokens} tokens")
    return found


# ---------------------------------------------------------------------- a page


class Page:
    """A page that is open, without its drawing; several threads may have it write at once.

    Args:
        model: a run and the name of one of its checkpoints.
    """

    def __init__(self, url: str, model: tuple[str, str]) -> None:
        self._model = {"run_id": model[0], "checkpoint": model[1]}
        self._ids = itertools.count()
        self._texts: dict[int, queue.SimpleQueue[Heard]] = {}
        self._connection = Connection(url, self._take)

    def write(self, tokens: int, seed: int) -> Written:
        """Click, and wait for the end of the text."""
        began = time.perf_counter()
        first = None
        for at, event, data in self._text(self._click(tokens, seed)):
            first = first or at
            if event == "done":
                return Written(data["tokens"], at - began, first - began)
        raise RuntimeError("the text has no end")

    def stop_after(self, tokens: int, seed: int) -> tuple[float, int]:
        """Stop a text when it has so many tokens.

        Returns:
            The seconds from the click on stop to the end of the text, and how many tokens the
            text has then beyond those that the page had at the click.
        """
        text_id = self._click(10 * tokens, seed)
        stopped_at, had = None, 0
        for at, event, data in self._text(text_id):
            if event == "done" and stopped_at is not None:
                return at - stopped_at, data["tokens"] - had
            if stopped_at is None and data["tokens"] >= tokens:
                stopped_at, had = time.perf_counter(), data["tokens"]
                self.ask("cancel", {"id": text_id})
        raise RuntimeError("the text ended before it was stopped")

    def look(self) -> None:
        """Have the model made ready, as a page does that is opened, and do not wait for it."""
        text_id = next(self._ids)
        self._texts[text_id] = queue.SimpleQueue()
        self.ask("warm", {"id": text_id} | self._model)

    def ask(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event and wait until it was heard.

        Raises:
            RuntimeError: it was refused.
        """
        answer = self._connection.ask(event, payload)
        if "error" in answer:
            raise RuntimeError(f"the page was refused: {answer['error']['message']}")

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _click(self, tokens: int, seed: int) -> int:
        text_id = next(self._ids)
        self._texts[text_id] = queue.SimpleQueue()
        asked = {"id": text_id, "prompt": PROMPT, "max_new_tokens": tokens, "seed": seed}
        self.ask("generate", asked | SETTINGS | SHOWN | self._model)
        return text_id

    def _text(self, text_id: int) -> Iterator[Heard]:
        """Yield what is heard of a text, to its end."""
        event = ""
        while event != "done":
            at, event, data = heard(self._texts[text_id])
            if event == "failed":
                raise RuntimeError(f"the page was told: {data['error']['message']}")
            yield at, event, data
        del self._texts[text_id]

    def _take(self, event: str, data: dict[str, Any]) -> None:
        if event in ("token", "done", "failed"):
            self._texts[data["id"]].put((time.perf_counter(), event, data))


# ---------------------------------------------------------------------- a program


@dataclass(frozen=True)
class Program:
    """A program at ``/v1/completions``; each request has a connection of its own.

    Args:
        stream: have the text sent as it is written, not whole.
    """

    url: str
    model: tuple[str, str]
    stream: bool = False

    def write(self, tokens: int, seed: int) -> Written:
        """Ask, and read the answer to its end."""
        began = time.perf_counter()
        with self._answer(tokens, seed) as answer:
            if self.stream:
                return _streamed(answer, began)
            told = json.load(answer)
        seconds = time.perf_counter() - began
        return Written(told["usage"]["completion_tokens"], seconds, seconds)

    @contextmanager
    def _answer(self, tokens: int, seed: int) -> Iterator[http.client.HTTPResponse]:
        asked = {"model": ":".join(self.model), "prompt": PROMPT, "max_tokens": tokens}
        how = {"stream": True, "stream_options": {"include_usage": True}} if self.stream else {}
        line = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_PATIENCE_SECONDS)
        try:
            body = json.dumps(asked | SETTINGS | {"seed": seed} | how)
            line.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"the program was told: {json.load(answer)['error']['message']}")
            yield answer
        finally:
            line.close()


def _streamed(lines: http.client.HTTPResponse, began: float) -> Written:
    first, tokens = None, 0
    for line in lines:
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            break
        told = json.loads(data) if data else {}
        if "error" in told:
            raise RuntimeError(f"the stream told: {told['error']['message']}")
        if any(choice["text"] for choice in told.get("choices", ())):
            first = first or time.perf_counter()
        tokens = (told.get("usage") or {}).get("completion_tokens", tokens)
    ended = time.perf_counter()
    return Written(tokens, ended - began, (first or ended) - began)


# ---------------------------------------------------------------------- the bare generator


@dataclass(frozen=True)
class Bare:
    """The generator alone, in a process as the service's: see :mod:`benchmarks.bare`.

    Args:
        more: settings beside the usual ones.
    """

    process: subprocess.Popen[str]
    more: Mapping[str, Any] = field(default_factory=dict)

    def write(self, tokens: int, seed: int) -> Written:
        """Have the other process write, and return what it has measured itself."""
        asked = {"prompt": PROMPT, "max_new_tokens": tokens, "seed": seed}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({**asked, **SETTINGS, **self.more}) + "\n")
        self.process.stdin.flush()
        return Written(**json.loads(self.process.stdout.readline()))


@contextmanager
def bare(checkpoint: Path) -> Iterator[Bare]:
    """Start the bare generator with the model of a checkpoint, and end it afterwards."""
    command = module_command("benchmarks.bare", str(checkpoint))
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,  # It gives way as the service does, which is so by session.
    )
    try:
        yield Bare(process)
    finally:
        process.kill()
        process.communicate()
