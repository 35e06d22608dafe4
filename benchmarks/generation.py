"""Writing: one stream beside ``transformers.generate`` on the same weights, and many at once.

The checkpoint is exported as dense Qwen3 and opened by ``transformers``; a GPT-2 of equal size is
timed as well. All continue one prompt with a cache, as far as the context goes. Then sixteen texts
with prompts of different lengths are written in turn, and the same ones at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks import peer
from benchmarks.measuring import Figure, interleaved, ratios
from benchmarks.options import Options
from benchmarks.product import a_run
from trainer.engine import checkpoint, qwen3
from trainer.engine.batching import Batch
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.continuation import Piece
from trainer.engine.decoding import Decoder, decoder_for
from trainer.engine.generation import Generation
from trainer.engine.milestones import save
from trainer.inference.request import GenerationSettings

TITLE = "Generation"
TOKENS, TEMPERATURE, ROUNDS = 200, 0.8, 7
AT_ONCE, TOKENS_AT_ONCE = 16, 100
PROMPT = "The history of"
_OURS = "llm-trainer"
_MODES = ("greedy", "sampled")
_IN_TURN, _AT_ONCE = f"{AT_ONCE} texts in turn", f"{AT_ONCE} texts at once"

Writer = Callable[[], int]


def measure(options: Options) -> list[Figure]:
    """Time the writing of 200 tokens, greedily and sampled, by turns; then of many texts."""
    with _checkpoint(options) as path:
        cpu = torch.device("cpu")
        loaded = checkpoint.load_model(path, cpu)
        decoder = decoder_for(loaded.model, cpu, nullcontext, read_only=True)
        writers: dict[str, Writer] = {
            f"{_OURS}, {mode}": partial(_write, decoder, loaded, mode) for mode in _MODES
        }
        transformers = peer.library()
        if transformers is not None:
            writers |= _peers(transformers, loaded, path.parent / "exported")
        many: dict[str, Writer] = {
            _IN_TURN: partial(_write_in_turn, decoder, loaded),
            _AT_ONCE: partial(_write_at_once, decoder, loaded),
        }
        rounds = options.rounds(ROUNDS)
        taken, taken_by_many = interleaved(writers, rounds), interleaved(many, rounds)
        tokens = {name: write() for name, write in (writers | many).items()}
    return [*_figures(taken, tokens), *_figures_of_many(taken_by_many, tokens)]


@contextmanager
def _checkpoint(options: Options) -> Iterator[Path]:
    with a_run(options.configuration("training.compile=off"), options.data_dir) as (job, trainee):
        save(job, trainee)
        trainee.saver.close()
        path = job.paths.checkpoint("latest")
        if options.checkpoint is not None:
            path.write_bytes(options.checkpoint.read_bytes())
            path.with_name(f"{path.name}.json").unlink()
        yield path


def _tokens_to_write(loaded: LoadedModel) -> int:
    """Return as many as GPT-2, whose context does not slide, can write."""
    return min(TOKENS, loaded.model.context - len(loaded.tokenizer.encode(PROMPT)))


def _write(decoder: Decoder, loaded: LoadedModel, mode: str) -> int:
    settings = GenerationSettings(
        prompt=PROMPT,
        max_new_tokens=_tokens_to_write(loaded),
        temperature=0.0 if mode == "greedy" else TEMPERATURE,
        seed=1,
    )
    *_, last = Generation(decoder, loaded.tokenizer, settings).pieces()
    return last.tokens


def _many_settings() -> Iterator[GenerationSettings]:
    for number in range(AT_ONCE):
        yield GenerationSettings(
            prompt=PROMPT + " the" * number,
            max_new_tokens=TOKENS_AT_ONCE,
            temperature=TEMPERATURE,
            seed=number,
        )


def _write_in_turn(decoder: Decoder, loaded: LoadedModel) -> int:
    tokens = 0
    for settings in _many_settings():
        *_, last = Generation(decoder, loaded.tokenizer, settings).pieces()
        tokens += last.tokens
    return tokens


def _write_at_once(decoder: Decoder, loaded: LoadedModel) -> int:
    batch = Batch(decoder, loaded.tokenizer)
    tokens: dict[Hashable, int] = {}
    for number, settings in enumerate(_many_settings()):
        batch.add(number, settings)
    while not batch.idle:
        for key, told in batch.turn():
            if isinstance(told, Piece):
                tokens[key] = told.tokens
    return sum(tokens.values())


def _peers(transformers: ModuleType, loaded: LoadedModel, folder: Path) -> dict[str, Writer]:
    folder.mkdir()
    qwen3.write(loaded, folder, "Benchmark")
    ours = loaded.model
    others = {
        "transformers.generate, same weights": transformers.AutoModelForCausalLM.from_pretrained(
            folder
        ),
        "transformers.generate, GPT-2": peer.gpt2(
            transformers, ours.shape, ours.vocab_size, ours.context
        ),
    }
    tokens, count = torch.tensor([loaded.tokenizer.encode(PROMPT)]), _tokens_to_write(loaded)
    return {
        f"{name}, {mode}": partial(_generate, model.eval(), tokens, count, mode)
        for name, model in others.items()
        for mode in _MODES
    }


def _generate(model: Any, tokens: torch.Tensor, count: int, mode: str) -> int:
    model.generation_config.eos_token_id = None  # It goes on past an end of text.
    written = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=count,
        do_sample=mode == "sampled",
        temperature=TEMPERATURE if mode == "sampled" else None,
        top_k=0,
        use_cache=True,
        pad_token_id=0,
    )
    return int(written.shape[1] - tokens.shape[1])


def _figures(taken: dict[str, list[float]], tokens: dict[str, int]) -> Iterator[Figure]:
    for name, seconds in taken.items():
        yield Figure.of(name, [tokens[name] / s for s in seconds], "tok/s")
    if len(taken) == len(_MODES):
        yield Figure.absent("transformers.generate", peer.NOT_HERE)
        return
    for name, seconds in taken.items():
        mode = name.rpartition(", ")[2]
        ours = f"{_OURS}, {mode}"
        if name != ours:
            share = tokens[ours] / tokens[name]
            times = [share * ratio for ratio in ratios(seconds, taken[ours])]
            yield Figure.of(f"llm-trainer, times the speed of {name}", times, "x")


def _figures_of_many(taken: dict[str, list[float]], tokens: dict[str, int]) -> Iterator[Figure]:
    for name, seconds in taken.items():
        yield Figure.of(name, [tokens[name] / s for s in seconds], "tok/s")
    share = tokens[_AT_ONCE] / tokens[_IN_TURN]
    times = [share * ratio for ratio in ratios(taken[_IN_TURN], taken[_AT_ONCE])]
    yield Figure.of(f"{_AT_ONCE}, times the speed in turn", times, "x")
