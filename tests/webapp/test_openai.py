"""The part of OpenAI's interface that base models can serve."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from trainer.inference.request import GenerationSettings
from trainer.runs import Run
from webapp import Services
from webapp.openai import CompletionRequest, TokenLog, generation_settings
from webapp.writing import MAX_WRITINGS

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
CREATED = 1767323045  # CREATED_AT in seconds since 1970


@pytest.fixture
def trained(make_run: MakeRun) -> Run:
    """A run with two checkpoints that nobody reads."""
    run = make_run()
    run.paths.checkpoints.mkdir(parents=True)
    for name in ("latest", "best"):
        run.paths.checkpoint(name).write_bytes(b"weights")
        sidecar = run.paths.checkpoints / f"{name}.pt.json"
        sidecar.write_text('{"step": 5, "epoch": 1}')
    return run


def test_models_are_runs_with_a_checkpoint(
    web: FlaskClient, trained: Run, make_run: MakeRun
) -> None:
    make_run()
    told = web.get("/v1/models").json
    assert told is not None
    assert told["object"] == "list"
    run_id = trained.run_id
    assert [model["id"] for model in told["data"]] == [run_id, f"{run_id}:latest", f"{run_id}:best"]
    assert told["data"][0] == {
        "id": run_id,
        "object": "model",
        "created": CREATED,
        "owned_by": "llm-trainer",
    }
    assert web.get(f"/v1/models/{run_id}:best").json == told["data"][2]
    assert web.get(f"/v1/models/{run_id}:epoch-7").status_code == 404
    assert web.get("/v1/models/gpt-4").status_code == 404


def test_a_prompt_is_continued(web: FlaskClient, trained: Run) -> None:
    body = {"model": trained.run_id, "prompt": "Tell", "max_tokens": 3, "temperature": 0}
    told = web.post("/v1/completions", json=body).json
    assert told is not None
    assert (told["object"], told["model"]) == ("text_completion", trained.run_id)
    assert told["choices"] == [
        {"index": 0, "text": "Once upon a", "logprobs": None, "finish_reason": "length"}
    ]
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def test_several_texts_are_several_choices(web: FlaskClient, trained: Run) -> None:
    body = {"model": trained.run_id, "prompt": "Tell", "max_tokens": 2, "n": 3}
    told = web.post("/v1/completions", json=body).json
    assert told is not None
    choices = [(choice["index"], choice["text"]) for choice in told["choices"]]
    assert choices == [(0, "Once upon"), (1, "Once upon"), (2, "Once upon")]
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}


LIKELY = {
    "tokens": ["Once", " upon"],
    "token_logprobs": [-0.5, -0.5],
    "top_logprobs": [{"Once": -0.5}, {" upon": -0.5}],
    "text_offset": [4, 8],
}


def test_the_likelihood_of_tokens_is_told(web: FlaskClient, trained: Run) -> None:
    body = {"model": trained.run_id, "prompt": "Tell", "max_tokens": 2, "logprobs": 1}
    told = web.post("/v1/completions", json=body).json
    assert told is not None
    assert told["choices"][0]["logprobs"] == LIKELY
    *parts, last = [piece["choices"][0]["logprobs"] for piece in streamed(web, body)]
    assert last is None
    assert {name: [part[name][0] for part in parts] for name in LIKELY} == LIKELY


def test_a_character_of_several_tokens_begins_where_its_first_does() -> None:
    told = [{"token": "\ufffd", "logprob": -1.0, "top": [], "bytes": [b]} for b in "€".encode()]
    log = TokenLog(10).add([*told, {"token": "!", "logprob": -1.0, "top": [], "bytes": [33]}])
    assert log is not None
    assert log["text_offset"] == [10, 10, 10, 11]


def test_the_prompt_can_be_echoed(web: FlaskClient, trained: Run) -> None:
    body = {"model": f"{trained.run_id}:best", "prompt": ["Tell: "], "max_tokens": 1, "echo": True}
    told = web.post("/v1/completions", json=body).json
    assert told is not None
    assert told["choices"][0]["text"] == "Tell: Once"


def streamed(web: FlaskClient, body: dict[str, Any]) -> list[Any]:
    answer = web.post("/v1/completions", json=body | {"stream": True})
    assert answer.mimetype == "text/event-stream"
    events = answer.text.split("\n\n")
    assert (events[-2], events[-1]) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def test_a_text_can_be_streamed(web: FlaskClient, trained: Run) -> None:
    body = {"model": trained.run_id, "prompt": "Tell", "stream_options": {"include_usage": True}}
    pieces = streamed(web, body)
    choices = [(p["choices"][0]["text"], p["choices"][0]["finish_reason"]) for p in pieces[:-1]]
    assert choices == [
        ("Once", None),
        (" upon", None),
        (" a", None),
        (" time", None),
        ("", "length"),
    ]
    assert (pieces[-1]["choices"], pieces[-1]["usage"]) == ([], USAGE)
    assert len({piece["id"] for piece in pieces}) == 1


def test_a_failure_in_a_stream_is_told_in_it(web: FlaskClient, trained: Run) -> None:
    [told] = streamed(web, {"model": trained.run_id, "prompt": "fail"})
    assert told["error"]["message"] == "The checkpoint is damaged."


def test_a_stream_that_nobody_reads_gives_its_place_back(
    web: FlaskClient, trained: Run, parts: Services
) -> None:
    body = {"model": trained.run_id, "prompt": "wait", "stream": True}
    for _ in range(MAX_WRITINGS + 1):
        answer = web.post("/v1/completions", json=body)
        assert answer.status_code == 200
        answer.close()
    with parts.writers.begin("a", trained.run_id, "latest", GenerationSettings()) as writing:
        assert writing.finish()["tokens"] == 4


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"model": "gpt-4"}, 404, "There is no run 'gpt-4'"),
        ({"model": "../x"}, 404, "is not a run id"),
        ({"model": None}, 422, "'model' is wrong: expected str, got null."),
        ({"prompt": [1, 2]}, 422, "'prompt[0]' is wrong: expected str, got int."),
        ({"prompt": ["a", "b"]}, 400, "'prompt' holds several texts."),
        ({"n": 0}, 400, "n = 0 is not a whole number from 1 to 32."),
        ({"n": 2, "stream": True}, 400, "'n' = 2 texts cannot be streamed."),
        ({"best_of": 2}, 400, "'best_of' = 2 is not supported."),
        ({"logprobs": 21}, 400, "logprobs = 21 is not a whole number from 0 to 20."),
        ({"logprobs": 1, "echo": True}, 400, "'logprobs' are told of written tokens only"),
        ({"suffix": "end"}, 400, "'suffix' = 'end' is not supported."),
        ({"frequency_penalty": 0.5}, 400, "'frequency_penalty' = 0.5 is not supported."),
        ({"temperature": -1}, 400, "temperature = -1.0 is not a number of 0 or more."),
        ({"max_tokens": 0}, 400, "max_new_tokens = 0 is not a whole number"),
        ({"beam_width": 3}, 422, "'beam_width' is not a field."),
    ],
)
def test_what_cannot_be_done_is_refused(
    web: FlaskClient, trained: Run, change: dict[str, Any], status: int, message: str
) -> None:
    answer = web.post("/v1/completions", json={"model": trained.run_id} | change)
    assert answer.status_code == status
    assert answer.json is not None
    assert message in answer.json["error"]["message"]


def test_neutral_settings_are_taken(web: FlaskClient, trained: Run) -> None:
    neutral = {"n": 1, "best_of": 1, "presence_penalty": 0.0, "logit_bias": {}, "user": "me"}
    body = {"model": trained.run_id, "prompt": "Tell"} | neutral
    assert web.post("/v1/completions", json=body).status_code == 200


def test_there_is_no_chat(web: FlaskClient) -> None:
    answer = web.post("/v1/chat/completions", json={"model": "x", "messages": []})
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"]["message"].startswith("These are base models")
    assert "/v1/completions" in answer.json["error"]["hint"]


def test_settings_have_the_defaults_of_the_interface() -> None:
    plain = generation_settings(CompletionRequest(model="m"))
    assert plain == GenerationSettings(max_new_tokens=16, temperature=1.0)
    full = CompletionRequest(model="m", prompt="p", max_tokens=5, top_p=0.5, seed=3, stop="x")
    assert generation_settings(full) == GenerationSettings(
        prompt="p", max_new_tokens=5, temperature=1.0, top_p=0.5, seed=3, stop=("x",)
    )
