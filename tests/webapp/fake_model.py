"""Stands in for ``trainer.inference.service``: writes the same words at once, and needs no torch.

The prompt ``fail`` fails, the prompt ``wait`` writes one word and then waits to be cancelled.
"""

from __future__ import annotations

import json
import sys
from typing import Any

WORDS = ("Once", " upon", " a", " time")


def send(job: int, kind: str, **facts: Any) -> None:
    print(json.dumps({"id": job, "type": kind, **facts}), flush=True)  # noqa: T201


def likelihood(word: str) -> dict[str, Any]:
    told = {"token": word, "id": len(word), "bytes": list(word.encode()), "logprob": -0.5}
    return told | {"top": [told]}


def finish(job: int, text: str, tokens: int, reason: str, seed: int | None, **more: Any) -> None:
    send(
        job,
        "done",
        text=text,
        tokens=tokens,
        tokens_per_second=100.0,
        seed=7 if seed is None else seed,
        finish_reason=reason,
        prompt_tokens=3,
        prompt_tokens_read=3,
        **more,
    )


def generate(job: int, settings: dict[str, Any]) -> None:
    if settings["prompt"] == "fail":
        error = {"kind": "checkpoint", "message": "The checkpoint is damaged.", "hint": ""}
        send(job, "failed", error=error)
        return
    count = 1 if settings["prompt"] == "wait" else min(settings["max_new_tokens"], len(WORDS))
    asked = settings["logprobs"] is not None
    for number, word in enumerate(WORDS[:count], 1):
        told = {"logprobs": [likelihood(word)]} if asked else {}
        send(job, "token", text=word, tokens=number, **told)
    if settings["prompt"] != "wait":
        text = "".join(WORDS[:count])
        more = {"logprobs": [*map(likelihood, WORDS[:count])]} if asked else {}
        written = {"text": text, "tokens": count, "finish_reason": "length", **more}
        several = {"continuations": [written] * settings["n"]} if settings["n"] > 1 else {}
        finish(job, text, count, "length", settings["seed"], **more, **several)


def main() -> None:
    waiting: dict[int, int | None] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if command["op"] == "cancel" and command["id"] in waiting:
            finish(command["id"], WORDS[0], 1, "cancelled", waiting.pop(command["id"]))
        elif command["op"] == "generate":
            if command["settings"]["prompt"] == "wait":
                waiting[command["id"]] = command["settings"]["seed"]
            generate(command["id"], command["settings"])


if __name__ == "__main__":
    main()
