"""Stands in for the process that holds a model: answers at once, with what can be worked out.

A generation writes the prompt in capitals, a word a token; the prompt ``wait`` is answered with a
first token and then nothing until it is cancelled, the prompt ``fail`` with a failure.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def send(job_id: int, kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"id": job_id, "type": kind, **fields}) + "\n")
    sys.stdout.flush()


def finish(job_id: int, words: list[str], reason: str) -> None:
    send(
        job_id,
        "done",
        text="".join(words),
        tokens=len(words),
        tokens_per_second=50.0,
        seed=7,
        finish_reason=reason,
    )


def generate(job_id: int, prompt: str) -> None:
    if prompt == "fail":
        error = {"kind": "checkpoint", "message": "It is damaged.", "hint": "Take another."}
        send(job_id, "failed", error=error)
        return
    words = ["BEGUN"] if prompt == "wait" else [word.upper() for word in prompt.split(" ")]
    for count, word in enumerate(words, start=1):
        send(job_id, "token", text=word, tokens=count)
    if prompt != "wait":
        finish(job_id, words, "length")


def evaluate(job_id: int, split: str) -> None:
    for done in (1, 2):
        send(job_id, "progress", phase="evaluating", done=done, total=2, unit="windows")
    figures = {"loss": 2.5, "word_perplexity": 1234.5, "bits_per_byte": 1.25}
    send(job_id, "done", split=split, **figures, words=1000, tokens=1500)


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["op"] == "generate":
            generate(command["id"], command["settings"]["prompt"])
        elif command["op"] == "evaluate":
            evaluate(command["id"], command["split"])
        else:
            finish(command["id"], ["BEGUN"], "cancelled")


if __name__ == "__main__":
    main()
