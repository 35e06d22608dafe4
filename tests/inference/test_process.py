"""A process that holds models for one owner, talked to as a viewer does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.inference.trained import Trained, payload_of
from tests.texts import write_text
from trainer.children import environment
from trainer.config import ModelShape
from trainer.engine import checkpoint, evaluation, tokenization
from trainer.engine.model import GPT
from trainer.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    NotFoundError,
    TrainerError,
    UsageError,
)
from trainer.inference.child import Child
from trainer.inference.client import ModelProcess, error_from
from trainer.inference.request import GenerationSettings
from trainer.store.process import identify


@pytest.fixture(scope="module")
def process() -> Iterator[ModelProcess]:
    """One child for most tests: its start takes seconds."""
    with ModelProcess() as running:
        yield running


SHORT = GenerationSettings(prompt="The", max_new_tokens=8, seed=3)
ENDLESS = GenerationSettings(max_new_tokens=100_000, seed=3)


# ---------------------------------------------------------------------- writing


def test_a_text_comes_piece_by_piece_and_then_whole(
    process: ModelProcess, trained: Trained
) -> None:
    *tokens, done = process.generate(trained.checkpoint, SHORT)
    assert {event["type"] for event in tokens} == {"token"}
    assert done["type"] == "done"
    assert done["text"] == "".join(event["text"] for event in tokens)
    assert (done["tokens"], done["seed"], done["finish_reason"]) == (8, 3, "length")
    assert done["tokens_per_second"] > 0


PROMISED = {
    "finish_reason",
    "prompt_tokens",
    "prompt_tokens_read",
    "seed",
    "text",
    "tokens",
    "tokens_per_second",
}


def ask(process: ModelProcess, trained: Trained, **settings: Any) -> dict[str, Any]:
    wanted = GenerationSettings(**{"max_new_tokens": 8, "seed": 3} | settings)
    return process.generate(trained.checkpoint, wanted).result()


def test_the_result_has_exactly_the_promised_keys(process: ModelProcess, trained: Trained) -> None:
    assert set(ask(process, trained)) == PROMISED
    assert set(ask(process, trained, n=2)) == PROMISED | {"continuations"}
    assert set(ask(process, trained, logprobs=0)) == PROMISED | {"logprobs"}


def test_several_texts_come_together_and_piece_by_piece(
    process: ModelProcess, trained: Trained
) -> None:
    settings = GenerationSettings(prompt="The", max_new_tokens=8, seed=3, n=3)
    *tokens, done = process.generate(trained.checkpoint, settings)
    told = done["continuations"]
    for row in range(3):
        pieces = [event["text"] for event in tokens if event["row"] == row]
        assert "".join(pieces) == told[row]["text"]
    assert done["text"] == told[0]["text"]
    assert [one["seed"] for one in told] == [3, 4, 5]
    alone = [ask(process, trained, prompt="The", seed=seed)["text"] for seed in (3, 4, 5)]
    assert [one["text"] for one in told] == alone


def test_the_likelihood_of_each_token_is_told(process: ModelProcess, trained: Trained) -> None:
    settings = GenerationSettings(prompt="The", max_new_tokens=8, temperature=0, logprobs=2)
    *tokens, done = process.generate(trained.checkpoint, settings)
    told = done["logprobs"]
    assert [one for event in tokens for one in event.get("logprobs", [])] == told
    assert b"".join(bytes(one["bytes"]) for one in told).decode("utf-8", "replace") == done["text"]
    for one in told:
        likeliest, second = one["top"]
        assert {name: one[name] for name in likeliest} == likeliest
        assert second["logprob"] <= one["logprob"] < 0


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="blank"),
        pytest.param("\0", id="nul"),
        pytest.param("word " * 200_000, id="a megabyte of words"),
        pytest.param("x" * 2**20, id="a word of a megabyte"),
        pytest.param("\U0001f469\u200d\U0001f467 \u202e עברית ไทย \U0010fffd", id="any Unicode"),
        pytest.param("<|endoftext|>", id="looks like a mark"),
    ],
)
def test_any_prompt_is_answered(process: ModelProcess, trained: Trained, prompt: str) -> None:
    answer = ask(process, trained, prompt=prompt)
    assert answer["prompt_tokens_read"] == min(answer["prompt_tokens"], 32)
    assert (answer["prompt_tokens"] == 0) == (prompt == "")
    assert answer["finish_reason"] in ("length", "end_of_text")


def test_of_a_long_prompt_the_end_counts(process: ModelProcess, trained: Trained) -> None:
    end = "the end of a text that is longer than the model can hold in its context at once. " * 4
    assert ask(process, trained, prompt=end)["prompt_tokens"] > 32
    longer = ask(process, trained, prompt="What came before makes no difference. " + end)
    assert longer["text"] == ask(process, trained, prompt=end)["text"]


def test_a_tokenizer_of_another_model_is_refused(
    process: ModelProcess, trained: Trained, tmp_path: Path
) -> None:
    payload = payload_of(trained, seed=1)
    model = GPT(ModelShape(**payload["shape"]), 100, payload["context"])
    checkpoint.save(
        tmp_path / "latest.pt", payload | {"model": model.state_dict(), "vocab_size": 100}
    )
    with pytest.raises(CheckpointError, match="its tokenizer has 300 entries and its model 100"):
        process.generate(tmp_path / "latest.pt", SHORT).result()


def test_a_seed_that_was_drawn_writes_the_same_again(
    process: ModelProcess, trained: Trained
) -> None:
    free = GenerationSettings(prompt="The", max_new_tokens=20)
    first = process.generate(trained.checkpoint, free).result()
    again = GenerationSettings(prompt="The", max_new_tokens=20, seed=first["seed"])
    assert process.generate(trained.checkpoint, again).result()["text"] == first["text"]


def test_a_replaced_checkpoint_is_read_anew(process: ModelProcess, trained: Trained) -> None:
    path = trained.checkpoint.with_name("changing.pt")
    checkpoint.link(trained.checkpoint, path)
    likeliest = GenerationSettings(max_new_tokens=8, temperature=0)
    before = process.generate(path, likeliest).result()["text"]
    checkpoint.save(path, payload_of(trained, seed=2))
    assert process.generate(path, likeliest).result()["text"] != before


def test_a_cancelled_text_keeps_what_came(process: ModelProcess, trained: Trained) -> None:
    job = process.generate(trained.checkpoint, ENDLESS)
    events = iter(job)
    first = next(events)
    job.cancel()
    *_, done = events
    assert done["finish_reason"] == "cancelled"
    assert done["text"].startswith(first["text"])
    assert done["tokens"] < 100_000


def test_a_job_left_early_is_cancelled(process: ModelProcess, trained: Trained) -> None:
    with process.generate(trained.checkpoint, ENDLESS) as job:
        next(iter(job))
    assert job.result()["finish_reason"] == "cancelled"


def test_texts_are_written_by_turns(process: ModelProcess, trained: Trained) -> None:
    with process.generate(trained.checkpoint, ENDLESS) as endless:
        next(iter(endless))
        assert process.generate(trained.checkpoint, SHORT).result()["tokens"] == 8


def test_a_wrong_setting_is_refused_before_anything_is_loaded(trained: Trained) -> None:
    with pytest.raises(UsageError, match="top_k = -1"):
        ModelProcess(["/no/such/program"]).generate(
            trained.checkpoint, GenerationSettings(top_k=-1)
        )


# ---------------------------------------------------------------------- failures


def test_a_missing_checkpoint_is_not_found(process: ModelProcess, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no checkpoint"):
        process.generate(tmp_path / "latest.pt", SHORT).result()


def test_a_damaged_checkpoint_is_told_and_the_process_lives_on(
    process: ModelProcess, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "latest.pt").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="damaged") as refused:
        process.generate(tmp_path / "latest.pt", SHORT).result()
    assert refused.value.hint
    assert process.generate(trained.checkpoint, SHORT).result()["tokens"] == 8


def test_a_process_that_was_killed_is_told_and_started_again(trained: Trained) -> None:
    with ModelProcess() as process:
        with process.generate(trained.checkpoint, ENDLESS) as job:
            events = iter(job)
            next(events)
            kill_child(process)
            with pytest.raises(TrainerError, match=r"ended unexpectedly \(killed by SIGKILL\)"):
                list(events)
        assert process.generate(trained.checkpoint, SHORT).result()["tokens"] == 8


def kill_child(process: ModelProcess) -> None:
    assert isinstance(process._channel, Child)
    assert process._channel._process is not None
    os.kill(process._channel._process.pid, signal.SIGKILL)


def test_the_last_lines_of_a_process_that_fails_are_told(trained: Trained) -> None:
    program = "import sys; sys.exit('torch is missing')"
    with ModelProcess([sys.executable, "-c", program]) as process:
        job = process.generate(trained.checkpoint, SHORT)
        with pytest.raises(TrainerError, match=r"exit status 1\)") as failed:
            job.result()
    assert failed.value.hint == "torch is missing"


def test_a_process_that_cannot_be_started_is_told(trained: Trained) -> None:
    with (
        ModelProcess(["/no/such/program"]) as process,
        pytest.raises(TrainerError, match="cannot be started: No such file"),
    ):
        process.generate(trained.checkpoint, SHORT).result()


def test_closing_ends_the_jobs_under_way(trained: Trained) -> None:
    process = ModelProcess()
    job = process.generate(trained.checkpoint, ENDLESS)
    next(iter(job))
    process.close()
    with pytest.raises(TrainerError, match="was closed"):
        job.result()


def test_the_process_dies_with_its_owner(trained: Trained) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from trainer.inference.client import ModelProcess\n"
        "from trainer.inference.request import GenerationSettings\n"
        "process = ModelProcess()\n"
        "settings = GenerationSettings(max_new_tokens=100_000)\n"
        "next(iter(process.generate(Path(sys.argv[1]), settings)))\n"
        "print(process._channel._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(trained.checkpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        assert identify(child) is not None
        owner.kill()
    deadline = time.monotonic() + 20
    while identify(child) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert identify(child) is None


def test_what_is_printed_by_chance_does_not_disturb_the_events(trained: Trained) -> None:
    program = (
        "from trainer.inference.service import __main__, models; import os\n"
        "real = models.checkpoint.open_model\n"
        "def open_model(*a):\n"
        "    print('stray'); os.system('echo stray')\n"
        "    return real(*a)\n"
        "models.checkpoint.open_model = open_model\n"
        "__main__.main([])\n"
    )
    with ModelProcess([sys.executable, "-c", program]) as process:
        assert process.generate(trained.checkpoint, SHORT).result()["tokens"] == 8


@pytest.mark.parametrize("kind", [NotFoundError, CheckpointError, DeviceError, TrainerError])
def test_an_error_keeps_its_class_on_the_way(kind: Callable[[str, str], TrainerError]) -> None:
    error = error_from(kind("What happened.", "What to do.").as_dict())
    assert (type(error), error.message, error.hint) == (kind, "What happened.", "What to do.")


def test_an_error_of_an_unknown_kind_is_still_an_error() -> None:
    error = error_from({"kind": "configuration", "message": "m", "hint": "h"})
    assert type(error) is TrainerError


# ---------------------------------------------------------------------- scoring


def test_a_split_is_scored_as_the_evaluation_says(process: ModelProcess, trained: Trained) -> None:
    job = process.evaluate(trained.checkpoint, data_dir=trained.data_dir, split="test")
    *progress, done = job
    loaded = checkpoint.load_model(trained.checkpoint, torch.device("cpu"))
    tokens = tokenization.open_prepared(trained.data_dir, loaded.payload["corpus_key"], "")
    assert tokens is not None
    split = tokens.splits["test"]
    expected = evaluation.evaluate(
        loaded.model,
        split.tokens,
        seq_length=32,
        stride=16,
        words=split.words,
        byte_count=split.bytes,
        batch_size=4,
        device=torch.device("cpu"),
        autocast=contextlib.nullcontext,
    )
    assert expected is not None
    assert progress[-1]["done"] == progress[-1]["total"] == expected.tokens
    assert {event["phase"] for event in progress} == {"evaluating"}
    assert {key: done[key] for key in done if key not in ("id", "type")} == {
        "split": "test",
        "loss": pytest.approx(expected.loss),
        "word_perplexity": pytest.approx(expected.word_perplexity),
        "bits_per_byte": pytest.approx(expected.bits_per_byte),
        "words": split.words,
        "tokens": expected.tokens,
    }


def test_token_files_that_were_deleted_are_built_again(
    process: ModelProcess, trained: Trained, tmp_path: Path
) -> None:
    def score(data_dir: Path) -> dict[str, Any]:
        return process.evaluate(trained.checkpoint, data_dir=data_dir, split="validation").result()

    assert score(tmp_path / "elsewhere") == score(trained.data_dir)


def test_another_text_is_refused(process: ModelProcess, trained: Trained, tmp_path: Path) -> None:
    kept = trained.text.with_suffix(".kept")
    shutil.copy(trained.text, kept)
    write_text(trained.text, 19_000)
    try:
        with pytest.raises(DataError, match="is not the one this run learned from"):
            process.evaluate(trained.checkpoint, data_dir=tmp_path / "d", split="test").result()
    finally:
        shutil.move(kept, trained.text)


def test_a_cancelled_evaluation_fails_with_that_reason(
    process: ModelProcess, trained: Trained
) -> None:
    job = process.evaluate(trained.checkpoint, data_dir=trained.data_dir, split="test")
    # Reading the model takes longer than this: the text is scored in a moment.
    job.cancel()
    with pytest.raises(TrainerError, match="The evaluation was cancelled"):
        list(job)
