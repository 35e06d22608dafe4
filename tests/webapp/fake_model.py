"""Stands in for ``trainer.inference.service``: writes the same words at once, and needs no torch.

The prompt or text ``fail`` fails. The prompt ``wait`` writes one word and then waits to be
cancelled; ``endless`` goes on until then, and ``how many endless?`` tells how many do. A prompt has
three tokens, unless it comes as ids, of which at most eight are read; a text that is scored has one
for each word. Every token has probability e^-0.5.
"""

from __future__ import annotations

import json
import math
import re
import sys
import threading
from typing import Any

WORDS = ("Once", " upon", " a", " time")
CONTEXT = 8
LOGPROB = -0.5
OTHER_LOGPROB = -1.5
DAMAGED = {"kind": "checkpoint", "message": "The checkpoint is damaged.", "hint": ""}


def send(job: int, kind: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"id": job, "type": kind, **facts}) + "\n")
    sys.stdout.flush()


def named(token: str, logprob: float | None) -> dict[str, Any]:
    told = {"token": token, "id": len(token), "bytes": list(token.encode())}
    return told | {"logprob": logprob}


def likelihood(token: str, alternatives: int) -> dict[str, Any]:
    likeliest = [named(token, LOGPROB), named(" else", OTHER_LOGPROB)]
    return named(token, LOGPROB) | {"top": likeliest[:alternatives]}


def prompt_parts(settings: dict[str, Any]) -> list[str]:
    """Cut the prompt into its three tokens, or name its ids."""
    if settings.get("prompt_tokens") is not None:
        return [f"<{token}>" for token in settings["prompt_tokens"]]
    prompt = settings["prompt"]
    third = len(prompt) // 3
    return [prompt[:third], prompt[third : 2 * third], prompt[2 * third :]]


def prompt_likelihoods(settings: dict[str, Any]) -> list[dict[str, Any]]:
    first, *others = prompt_parts(settings)
    unknown = named(first, None) | {"top": None}
    return [unknown, *(likelihood(part, settings["logprobs"]) for part in others)]


class Text:
    """What one request writes, the same in each of its rows."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        most = 1 if settings["prompt"] == "wait" else len(WORDS)
        self.words = WORDS[: min(settings["max_new_tokens"], most)]
        whole = "".join(self.words)
        ends = [whole.find(stop) for stop in settings.get("stop", ()) if stop in whole]
        self.text = whole[: min(ends)] if ends else whole
        self.reason = "stop" if ends else "length"

    def logprobs(self, *words: str) -> dict[str, Any]:
        most = self.settings["logprobs"]
        return {} if most is None else {"logprobs": [likelihood(word, most) for word in words]}

    def stream(self, job: int) -> None:
        left = len(self.text)
        for number, word in enumerate(self.words, 1):
            for row in range(self.settings["n"]):
                told = {"row": row, "text": word[:left], "tokens": number}
                send(job, "token", **told, **self.logprobs(word))
            left = max(0, left - len(word))

    def done(self, job: int, reason: str | None = None) -> None:
        settings, seed = self.settings, self.settings["seed"]
        seed = 7 if seed is None else seed
        written = {
            "text": self.text,
            "tokens": len(self.words),
            "finish_reason": reason or self.reason,
            **self.logprobs(*self.words),
        }
        rows = [written | {"seed": seed + row} for row in range(settings["n"])]
        more: dict[str, Any] = {"continuations": rows} if len(rows) > 1 else {}
        if settings.get("prompt_logprobs"):
            more["prompt_logprobs"] = prompt_likelihoods(settings)
        there = len(prompt_parts(settings))
        facts: dict[str, Any] = {"prompt_tokens": there, "prompt_tokens_read": min(there, CONTEXT)}
        facts["tokens_per_second"] = 100.0
        send(job, "done", **rows[0], **facts, **more)


def score(job: int, text: str, alternatives: int) -> None:
    parts = re.findall(r"\s*\S+|\s+$", text)
    loss, size = -LOGPROB, len(text.encode())
    words = len(text.split())
    send(
        job,
        "done",
        tokens=[likelihood(part, alternatives) for part in parts],
        loss=loss,
        perplexity=math.exp(loss),
        word_perplexity=math.exp(loss * len(parts) / words) if words else None,
        bits_per_byte=loss * len(parts) / math.log(2) / size,
        words=words,
        bytes=size,
    )


class Endless:
    """Texts that go on until they are cancelled."""

    def __init__(self) -> None:
        self._cancelled: dict[int, threading.Event] = {}

    def begin(self, job: int, text: Text) -> None:
        ended = self._cancelled[job] = threading.Event()
        threading.Thread(target=self._write, args=[job, text, ended], daemon=True).start()

    def cancel(self, job: int) -> None:
        if job in self._cancelled:
            self._cancelled[job].set()

    def _write(self, job: int, text: Text, ended: threading.Event) -> None:
        while not ended.wait(0.01):
            send(job, "token", row=0, text=" on", tokens=1)
        del self._cancelled[job]
        text.done(job, "cancelled")

    def count(self, job: int) -> None:
        """Answer with how many there are."""
        told = {"text": str(len(self._cancelled)), "tokens": 1, "seed": 7}
        facts = {"prompt_tokens": 1, "prompt_tokens_read": 1, "tokens_per_second": None}
        send(job, "done", finish_reason="length", **told, **facts)


def main() -> None:
    waiting: dict[int, Text] = {}
    endless = Endless()
    for line in sys.stdin:
        command = json.loads(line)
        job, op = command["id"], command["op"]
        if op == "cancel" and job in waiting:
            waiting.pop(job).done(job, "cancelled")
        elif op == "cancel":
            endless.cancel(job)
        elif op == "generate" and command["settings"]["prompt"] == "endless":
            endless.begin(job, Text(command["settings"]))
        elif op == "generate" and command["settings"]["prompt"] == "how many endless?":
            endless.count(job)
        elif op == "warm":
            send(job, "done", parameters=1234, device="cpu", seconds=0.25)
        elif op == "score" and command["text"] != "fail":
            score(job, command["text"], command["alternatives"])
        elif op == "generate" and command["settings"]["prompt"] != "fail":
            text = Text(command["settings"])
            text.stream(job)
            if command["settings"]["prompt"] == "wait":
                waiting[job] = text
            else:
                text.done(job)
        elif op in ("score", "generate"):
            send(job, "failed", error=DAMAGED)


if __name__ == "__main__":
    main()
