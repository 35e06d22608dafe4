"""Stands in for the process that holds a model: answers at once, with what can be worked out.

A generation writes the prompt in capitals, a word a token; the prompt ``wait`` is answered with a
first token and then nothing until it is cancelled, the prompt ``fail`` with a failure. Of a prompt
it reads at most five words. An export
writes its title; one whose title begins with ``spoilt`` fails after that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MOST_READ = 5


def send(job_id: int, kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"id": job_id, "type": kind, **fields}) + "\n")
    sys.stdout.flush()


def finish(job_id: int, words: list[str], reason: str, texts: int = 1, **more: Any) -> None:
    written = [
        {"text": "".join(words), "tokens": len(words), "seed": 7 + row, "finish_reason": reason}
        for row in range(texts)
    ]
    several = {"continuations": written} if texts > 1 else {}
    counts = {"prompt_tokens": len(words), "prompt_tokens_read": min(MOST_READ, len(words))}
    send(job_id, "done", **written[0], tokens_per_second=50.0, **counts, **several, **more)


def fail(job_id: int) -> None:
    error = {"kind": "checkpoint", "message": "It is damaged.", "hint": "Take another."}
    send(job_id, "failed", error=error)


def generate(job_id: int, settings: dict[str, Any]) -> None:
    prompt, asked = settings["prompt"], settings["logprobs"]
    if prompt == "fail":
        fail(job_id)
        return
    words = ["BEGUN"] if prompt == "wait" else [word.upper() for word in prompt.split(" ")]
    for count, word in enumerate(words, start=1):
        send(job_id, "token", text=word, tokens=count)
    if prompt != "wait":
        likely = {} if asked is None else {"logprobs": [{"id": 5, "logprob": -0.5, "top": []}]}
        finish(job_id, words, "length", settings["n"], **likely)


def evaluate(job_id: int, split: str) -> None:
    for done in (1, 2):
        send(job_id, "progress", phase="evaluating", done=done, total=2, unit="windows")
    figures = {"loss": 2.5, "word_perplexity": 1234.5, "bits_per_byte": 1.25}
    send(job_id, "done", split=split, **figures, words=1000, tokens=1500)


def export(job_id: int, folder: Path, title: str) -> None:
    (folder / "README.md").write_text(title)
    if title.startswith("spoilt"):
        fail(job_id)
    else:
        send(job_id, "done", parameters=3, bytes=len(title))


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["op"] == "generate":
            generate(command["id"], command["settings"])
        elif command["op"] == "evaluate":
            evaluate(command["id"], command["split"])
        elif command["op"] == "export":
            export(command["id"], Path(command["folder"]), command["title"])
        else:
            finish(command["id"], ["BEGUN"], "cancelled")


if __name__ == "__main__":
    main()
