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


def finish(job: int, text: str, tokens: int, reason: str, seed: int | None) -> None:
    send(
        job,
        "done",
        text=text,
        tokens=tokens,
        tokens_per_second=100.0,
        seed=7 if seed is None else seed,
        finish_reason=reason,
    )


def generate(job: int, settings: dict[str, Any]) -> None:
    if settings["prompt"] == "fail":
        error = {"kind": "checkpoint", "message": "The checkpoint is damaged.", "hint": ""}
        send(job, "failed", error=error)
        return
    count = 1 if settings["prompt"] == "wait" else min(settings["max_new_tokens"], len(WORDS))
    for number, word in enumerate(WORDS[:count], 1):
        send(job, "token", text=word, tokens=number)
    if settings["prompt"] != "wait":
        finish(job, "".join(WORDS[:count]), count, "length", settings["seed"])


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
