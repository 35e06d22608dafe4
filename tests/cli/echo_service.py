"""Stands in for the process that holds a model: answers at once, with what can be worked out.

A generation writes the prompt in capitals, a word a token; the prompt ``wait`` is answered with a
first token and then nothing until it is cancelled, the prompt ``fail`` with a failure, ``break
off`` with a first token and then a failure. Of a prompt
it reads at most five words. A score finds in each word as many bits of surprise as it has letters,
and would rather have read ``so`` (1 bit); the text ``fail`` fails. An export writes its title; one
whose title begins with ``spoilt`` fails after that.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

MOST_READ = 5


def send(job_id: int, kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"id": job_id, "type": kind, **fields}) + "\n")
    sys.stdout.flush()


def finish(
    job_id: int,
    words: list[str],
    reason: str,
    texts: int = 1,
    seed: int | None = None,
    **more: Any,
) -> None:
    first = 7 if seed is None else seed
    written = [
        {"text": "".join(words), "tokens": len(words), "seed": first + row, "finish_reason": reason}
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
    words = (
        ["BEGUN"]
        if prompt in ("wait", "break off")
        else [word.upper() for word in prompt.split(" ")]
    )
    likely = [likelihood(word) for word in words]
    for count, word in enumerate(words, start=1):
        told = {} if asked is None else {"logprobs": likely[count - 1 : count]}
        for row in range(settings["n"]):
            send(job_id, "token", row=row, text=word, tokens=count, **told)
    if prompt == "break off":
        fail(job_id)
    elif prompt != "wait":
        told = {} if asked is None else {"logprobs": likely}
        finish(job_id, words, "length", settings["n"], settings["seed"], **told)


def likelihood(text: str) -> dict[str, Any]:
    top = [{"token": " so", "id": 3, "bytes": list(b" so"), "logprob": -math.log(2)}]
    logprob = -math.log(2) * len(text.strip())
    return {"token": text, "id": 5, "bytes": list(text.encode()), "logprob": logprob, "top": top}


def score(job_id: int, text: str) -> None:
    if text == "fail":
        fail(job_id)
        return
    tokens = [likelihood(word) for word in re.findall(r"\s*\S+", text)]
    loss = -sum(token["logprob"] for token in tokens) / len(tokens)
    send(job_id, "progress", phase="scoring", done=len(tokens), total=len(tokens), unit="tokens")
    figures = {"loss": loss, "perplexity": math.exp(loss), "word_perplexity": None}
    counts = {"words": len(tokens), "bytes": len(text.encode())}
    send(job_id, "done", tokens=tokens, **figures, bits_per_byte=1.25, **counts)


def evaluate(job_id: int, split: str) -> None:
    for done in (1, 2):
        send(job_id, "progress", phase="evaluating", done=done, total=2, unit="windows")
    figures = {"loss": 2.5, "word_perplexity": 1234.5, "bits_per_byte": 1.25}
    send(job_id, "done", split=split, **figures, words=1000, tokens=1500)


def export(job_id: int, target: Path, command: dict[str, Any]) -> None:
    title = command["title"]
    if command["format"] == "gguf":
        target.write_text(f"{command['weights']} {title}")
    else:
        (target / "README.md").write_text(title)
    if title.startswith("spoilt"):
        fail(job_id)
    else:
        send(job_id, "done", parameters=3, bytes=len(title))


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["op"] == "generate":
            generate(command["id"], command["settings"])
        elif command["op"] == "score":
            score(command["id"], command["text"])
        elif command["op"] == "warm":
            send(command["id"], "done", parameters=3, device="cpu", seconds=0.0)
        elif command["op"] == "evaluate":
            evaluate(command["id"], command["split"])
        elif command["op"] == "export":
            export(command["id"], Path(command["target"]), command)
        else:
            finish(command["id"], ["BEGUN"], "cancelled")


if __name__ == "__main__":
    main()
