"""Opens a GGUF file with llama.cpp and tells what it makes of texts: a program of its own.

    python gguf_reader.py xllamacpp|llama_cpp FILE < {"texts": [...], "prompts": [...]}

prints ``{"tokens": [[...]], "written": ["..."]}``: the ids of each text, read without special
tokens, and 64 greedy tokens after each prompt. llama.cpp prints as it likes, and may end its
process: neither must happen to the tests.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

NEW_TOKENS = 64
CONTEXT = 128

Asked = dict[str, list[str]]
Told = dict[str, list[Any]]


def with_bindings(path: str, asked: Asked) -> Told:
    """Ask through ``llama-cpp-python``."""
    from llama_cpp import Llama

    model = Llama(path, n_ctx=CONTEXT, n_threads=1, verbose=False)

    def read(text: str) -> list[int]:
        return list(model.tokenize(text.encode(), add_bos=True, special=False))

    def write(prompt: str) -> str:
        following = model.generate(read(prompt), temp=0.0, repeat_penalty=1.0)
        tokens = itertools.takewhile(lambda token: token != model.token_eos(), following)
        # Its completions leave out bytes that make no character.
        new = list(itertools.islice(tokens, NEW_TOKENS))
        return b"".join(model.detokenize([token]) for token in new).decode("utf-8", "replace")

    return {
        "tokens": list(map(read, asked["texts"])),
        "written": list(map(write, asked["prompts"])),
    }


def with_server(path: str, asked: Asked) -> Told:
    """Ask through ``xllamacpp``, whose llama.cpp listens on a port of this computer."""
    from xllamacpp import CommonParams, Server

    parameters = CommonParams()
    parameters.model.path = path
    parameters.n_ctx, parameters.n_parallel, parameters.warmup = CONTEXT, 1, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    server = Server(parameters)

    def post(place: str, **content: Any) -> Any:
        request = urllib.request.Request(
            server.listening_address + place,
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def read(text: str) -> list[int]:
        options = {"add_special": True, "parse_special": False}
        return list(post("/tokenize", content=text, **options)["tokens"])

    def write(prompt: str) -> str:
        options = {"n_predict": NEW_TOKENS, "temperature": 0.0, "repeat_penalty": 1.0}
        return str(post("/completion", prompt=read(prompt), **options)["content"])

    return {
        "tokens": list(map(read, asked["texts"])),
        "written": list(map(write, asked["prompts"])),
    }


PROGRAMS: dict[str, Callable[[str, Asked], Told]] = {
    "xllamacpp": with_server,
    "llama_cpp": with_bindings,
}


def main() -> None:
    program, path = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers.write(json.dumps(PROGRAMS[program](path, json.load(sys.stdin))))
    answers.flush()
    os._exit(0)  # Taking a server down is not what is asked here.


if __name__ == "__main__":
    main()
