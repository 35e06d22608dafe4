"""The shared process with real models: what it writes and scores, and the memory it gives back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.conftest import end_service
from tests.inference.trained import Trained
from trainer.engine import checkpoint
from trainer.engine.decoding import decoder_for
from trainer.engine.generation import sample
from trainer.engine.scoring import score
from trainer.engine.tokenization import END_OF_TEXT_ID
from trainer.errors import UsageError
from trainer.inference.client import ModelService
from trainer.inference.connection import Connection
from trainer.inference.rendezvous import rendezvous
from trainer.inference.request import GenerationSettings
from trainer.inference.service.memory import MEMORY_VARIABLE
from trainer.inference.status import status

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose process serves all tests here: its start takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def viewer(home: Path) -> Iterator[ModelService]:
    """A client of that workspace."""
    with ModelService(home) as client:
        yield client
    place = rendezvous(home)
    assert place is not None
    end_service(place.socket)


def test_what_it_writes_is_what_the_generator_writes(
    viewer: ModelService, trained: Trained
) -> None:
    loaded = checkpoint.load_model(trained.checkpoint, CPU)
    settings = [GenerationSettings(prompt="The", max_new_tokens=40, seed=seed) for seed in range(6)]
    jobs = [viewer.generate(trained.checkpoint, wanted) for wanted in settings]
    for job, wanted in zip(jobs, settings, strict=True):
        alone = sample(loaded.model, loaded.tokenizer, wanted, device=CPU, autocast=torch.no_grad)
        assert job.result()["text"] == alone


def test_a_text_is_scored_token_by_token(viewer: ModelService, trained: Trained) -> None:
    text = "The quick brown fox " * 20
    *progress, done = viewer.score(trained.checkpoint, text, alternatives=2)
    expected = scored(trained, text)
    assert progress[-1]["done"] == progress[-1]["total"] == len(expected.tokens)
    assert {event["phase"] for event in progress} == {"scoring"}
    assert [one["id"] for one in done["tokens"]] == expected.tokens
    assert [one["logprob"] for one in done["tokens"]] == pytest.approx(
        [one.chosen.logprob for one in expected.likelihoods]
    )
    assert b"".join(bytes(one["bytes"]) for one in done["tokens"]).decode() == text
    assert {len(one["top"]) for one in done["tokens"]} == {2}
    assert done["loss"] == pytest.approx(expected.loss)
    figures = (done["word_perplexity"], done["bits_per_byte"], done["words"], done["bytes"])
    assert figures == (
        pytest.approx(expected.word_perplexity),
        pytest.approx(expected.bits_per_byte),
        80,
        400,
    )


def scored(trained: Trained, text: str) -> Any:
    loaded = checkpoint.load_model(trained.checkpoint, CPU)
    parts = score(decoder_for(loaded.model, CPU, torch.no_grad), loaded.tokenizer, text, 2)
    while True:
        try:
            next(parts)
        except StopIteration as end:
            return end.value


def test_what_cannot_be_scored_is_refused_at_once(viewer: ModelService, trained: Trained) -> None:
    with pytest.raises(UsageError, match="text is empty"):
        viewer.score(trained.checkpoint, "")


def test_a_prompt_alone_is_told_with_its_likelihoods(
    viewer: ModelService, trained: Trained
) -> None:
    ids = tuple(checkpoint.load_model(trained.checkpoint, CPU).tokenizer.encode("The fox"))
    settings = GenerationSettings(
        prompt_tokens=ids, max_new_tokens=0, logprobs=1, prompt_logprobs=True
    )
    done = viewer.generate(trained.checkpoint, settings).result()
    assert (done["text"], done["tokens"], done["finish_reason"]) == ("", 0, "length")
    assert [one["id"] for one in done["prompt_logprobs"]] == list(ids)
    first, *others = done["prompt_logprobs"]
    assert (first["logprob"], first["top"]) == (None, None)
    assert all(one["logprob"] < 0 and len(one["top"]) == 1 for one in others)


def test_a_model_can_be_had_ready(viewer: ModelService, trained: Trained) -> None:
    done = viewer.warm(trained.checkpoint).result()
    assert done["device"] == "cpu"
    assert done["seconds"] > 0
    assert done["parameters"] == sum(
        weight.numel()
        for weight in checkpoint.load_model(trained.checkpoint, CPU).model.parameters()
    )


def test_names_of_one_file_share_a_model(
    home: Path, viewer: ModelService, trained: Trained, tmp_path: Path
) -> None:
    viewer.warm(trained.checkpoint).result()
    before = status(home)
    os.link(trained.checkpoint, tmp_path / "best.pt")
    viewer.warm(tmp_path / "best.pt").result()
    assert status(home) == before


def test_others_write_beside_a_megabyte_of_prompt(viewer: ModelService, trained: Trained) -> None:
    long = GenerationSettings(prompt="word " * 200_000, max_new_tokens=1)
    asked = viewer.generate(trained.checkpoint, long)
    short = GenerationSettings(prompt="The", max_new_tokens=8, seed=3)
    assert viewer.generate(trained.checkpoint, short).result()["tokens"] == 8
    assert asked.result()["prompt_tokens"] > 200_000


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_two_hundred_models_in_turn_leave_no_memory_behind(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, str(50 << 20))
    loaded = checkpoint.load(trained.checkpoint)
    with ModelService(tmp_path) as client:
        resident = []
        for number in range(200):
            path = tmp_path / f"{number % 3}.pt"
            checkpoint.save(path, loaded | {"step": number})
            settings = GenerationSettings(max_new_tokens=4, n=4, logit_bias={END_OF_TEXT_ID: -100})
            done = client.generate(path, settings).result()
            assert done["tokens"] == 4
            resident.append(resident_bytes(client))
        assert resident[-1] - resident[2] < 50 << 20
    place = rendezvous(tmp_path)
    assert place is not None
    end_service(place.socket)


def resident_bytes(client: ModelService) -> int:
    assert isinstance(client._channel, Connection)
    return int(psutil.Process(client._channel.hello["pid"]).memory_info().rss)
