"""The part of OpenAI's interface that base models can serve: requests, answers and refusals."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeRun
from trainer.inference.request import GenerationSettings
from trainer.runs import Run, RunStore
from trainer.store.files import write_record
from webapp import Services, create_app
from webapp.openai.answer import Completion
from webapp.openai.likelihoods import TokenLog, mean_logprob, text_of, token_text
from webapp.openai.request import CompletionRequest, read_request, settings_of
from webapp.security import MAX_PROMPT_BODY_BYTES, Policy
from webapp.writing import MAX_WRITINGS_A_CLIENT

CREATED = 1767323045  # CREATED_AT in seconds since 1970
COMPLETIONS = "/v1/completions"


def with_checkpoints(run: Run) -> Run:
    """Give a run two checkpoints that nobody reads."""
    run.paths.checkpoints.mkdir(parents=True)
    for name in ("latest", "best"):
        run.paths.checkpoint(name).write_bytes(b"weights")
        sidecar = run.paths.checkpoints / f"{name}.pt.json"
        sidecar.write_text('{"step": 5, "epoch": 1}')
    return run


@pytest.fixture
def trained(make_run: MakeRun) -> Run:
    return with_checkpoints(make_run())


def completed(web: FlaskClient, run: Run, **body: Any) -> Any:
    answer = web.post(COMPLETIONS, json={"model": run.run_id, "prompt": "Tell"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json


def streamed(web: FlaskClient, run: Run, **body: Any) -> list[Any]:
    body = {"model": run.run_id, "prompt": "Tell", "stream": True} | body
    answer = web.post(COMPLETIONS, json=body)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    events = answer.text.split("\n\n")
    assert (events[-2], events[-1]) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


# ---------------------------------------------------------------------- models


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


def test_more_models_are_listed_than_a_page_of_the_list_has(
    web: FlaskClient, trained: Run, store: RunStore
) -> None:
    run_ids = [f"20260102-030405-{number:04}" for number in range(1001)]
    for run_id in run_ids:
        paths = store.workspace.paths(run_id)
        paths.checkpoints.mkdir(parents=True)
        paths.folder.mkdir(parents=True)
        write_record(paths.state, msgspec.structs.replace(trained.state, run_id=run_id))
        paths.checkpoint("latest").touch()
        (paths.checkpoints / "latest.pt.json").write_text('{"step": 5, "epoch": 1}')
    told = web.get("/v1/models").json
    assert told is not None
    assert {model["id"] for model in told["data"]} > set(run_ids)


def test_latest_is_the_newest_run(web: FlaskClient, trained: Run) -> None:
    told = web.get("/v1/models/latest").json
    assert told is not None
    assert told["id"] == trained.run_id
    named = completed(web, trained, model="latest:best")
    assert named["model"] == f"{trained.run_id}:best"


# ---------------------------------------------------------------------- whole answers


def test_a_prompt_is_continued(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, max_tokens=3, temperature=0)
    assert (told["object"], told["model"]) == ("text_completion", trained.run_id)
    assert told["choices"] == [
        {"index": 0, "text": "Once upon a", "logprobs": None, "finish_reason": "length"}
    ]
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def test_the_choices_of_a_prompt_stand_together(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, prompt=["A", "B"], n=2, max_tokens=1, echo=True)
    choices = [(choice["index"], choice["text"]) for choice in told["choices"]]
    assert choices == [(0, "AOnce"), (1, "AOnce"), (2, "BOnce"), (3, "BOnce")]
    assert told["usage"] == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}


def test_more_prompts_are_written_than_go_at_once(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, prompt=[str(n) for n in range(70)], max_tokens=1, echo=True)
    assert [choice["text"] for choice in told["choices"]] == [f"{n}Once" for n in range(70)]


@pytest.mark.parametrize(
    ("prompt", "text", "tokens"),
    [
        ("", "Once", 3),
        (None, "Once", 3),
        ([], "Once", 3),
        (["Tell"], "TellOnce", 3),
        ([5, 6], "<5><6>Once", 2),
        ([[5, 6, 7]], "<5><6><7>Once", 3),
    ],
)
def test_a_prompt_is_text_or_ids_alone_or_in_a_list(
    web: FlaskClient, trained: Run, prompt: Any, text: str, tokens: int
) -> None:
    told = completed(web, trained, prompt=prompt, max_tokens=1, echo=True)
    assert [choice["text"] for choice in told["choices"]] == [text]
    assert told["usage"]["prompt_tokens"] == tokens


def test_a_text_ends_at_a_stop_text(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, stop=[" a", "?"])
    assert (told["choices"][0]["text"], told["choices"][0]["finish_reason"]) == (
        "Once upon",
        "stop",
    )


def test_the_best_of_several_is_answered(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, best_of=3, n=2, max_tokens=2)
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    assert told["choices"][0]["logprobs"] is None
    assert told["usage"]["completion_tokens"] == 6


def test_the_best_text_has_the_likeliest_tokens_on_average() -> None:
    assert mean_logprob([{"logprob": -1.0}, {"logprob": -3.0}]) == -2.0
    assert mean_logprob([]) < -1e300


# ---------------------------------------------------------------------- likelihoods


LIKELY = {
    "tokens": ["Once", " upon"],
    "token_logprobs": [-0.5, -0.5],
    "top_logprobs": [{"Once": -0.5}, {" upon": -0.5}],
    "text_offset": [4, 8],
}


def test_the_likelihood_of_tokens_is_told(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, max_tokens=2, logprobs=1)
    assert told["choices"][0]["logprobs"] == LIKELY
    *parts, last = [
        piece["choices"][0]["logprobs"]
        for piece in streamed(web, trained, max_tokens=2, logprobs=1)
    ]
    assert last is None
    assert {name: [one for part in parts for one in part[name]] for name in LIKELY} == LIKELY


def test_a_token_is_told_beside_the_likeliest(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, max_tokens=1, logprobs=0)
    assert told["choices"][0]["logprobs"]["top_logprobs"] == [{"Once": -0.5}]
    told = completed(web, trained, max_tokens=1, logprobs=2)
    assert told["choices"][0]["logprobs"]["top_logprobs"] == [{"Once": -0.5, " else": -1.5}]


SCORED = {
    "tokens": ["<5>", "<6>", "Once"],
    "token_logprobs": [None, -0.5, -0.5],
    "top_logprobs": [None, {"<6>": -0.5}, {"Once": -0.5}],
    "text_offset": [0, 3, 6],
}


def test_an_echoed_prompt_is_told_token_by_token(web: FlaskClient, trained: Run) -> None:
    asked = {"prompt": [5, 6], "echo": True, "logprobs": 1, "max_tokens": 1}
    [choice] = completed(web, trained, **asked)["choices"]
    assert (choice["text"], choice["logprobs"]) == ("<5><6>Once", SCORED)
    [piece] = streamed(web, trained, **asked)
    assert piece["choices"] == [choice]


def test_a_prompt_can_be_scored_without_writing(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, echo=True, logprobs=0, max_tokens=0, n=2, prompt=["abc", "def"])
    assert [choice["text"] for choice in told["choices"]] == ["abc", "abc", "def", "def"]
    assert told["choices"][0]["logprobs"] == {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [None, -0.5, -0.5],
        "top_logprobs": [None, {"b": -0.5}, {"c": -0.5}],
        "text_offset": [0, 1, 2],
    }
    assert told["usage"] == {"prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6}
    [choice] = completed(web, trained, max_tokens=0)["choices"]
    assert (choice["text"], choice["logprobs"], choice["finish_reason"]) == ("", None, "length")


def test_a_new_text_has_no_prompt_to_tell_of(web: FlaskClient, trained: Run) -> None:
    told = completed(web, trained, prompt="", echo=True, logprobs=1, max_tokens=1)
    assert told["choices"][0]["logprobs"]["tokens"] == ["Once"]
    assert told["choices"][0]["logprobs"]["text_offset"] == [0]


def entry(data: bytes) -> dict[str, Any]:
    return {"bytes": list(data), "logprob": -1.0, "top": []}


ENDED = {
    "type": "done",
    "text": "Hi",
    "tokens": 1,
    "finish_reason": "end_of_text",
    "prompt_tokens": 1,
    "prompt_tokens_read": 1,
    "logprobs": [entry(b"Hi")],
    "end_logprob": entry(b""),
}


def test_the_mark_that_ends_a_text_is_told_of_too() -> None:
    completion = Completion(request(prompt="A", logprobs=0), "m")
    [choice] = completion.whole([(0, ENDED)])["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("Hi", "stop")
    assert choice["logprobs"]["tokens"] == ["Hi", "<|endoftext|>"]
    assert choice["logprobs"]["text_offset"] == [1, 3]
    [piece] = Completion(request(prompt="A", logprobs=0, stream=True), "m").pieces([(0, ENDED)])
    assert json.loads(piece.removeprefix(b"data: "))["choices"][0]["logprobs"]["tokens"] == [
        "<|endoftext|>"
    ]


def test_a_text_that_ends_likely_is_better_than_one_that_does_not() -> None:
    likely, unlikely = entry(b"") | {"logprob": -0.1}, entry(b"") | {"logprob": -9.0}
    rows = [ENDED | {"end_logprob": unlikely}, ENDED | {"text": "Ho", "end_logprob": likely}]
    done = ENDED | {"continuations": rows}
    [choice] = Completion(request(prompt="A", best_of=2), "m").whole([(0, done)])["choices"]
    assert choice["text"] == "Ho"


def test_bytes_that_are_no_character_are_told_apart() -> None:
    told = [*(entry(bytes([byte])) for byte in "€".encode()), entry(b"!")]
    assert [token_text(one) for one in told] == ["bytes:\\xe2", "bytes:\\x82", "bytes:\\xac", "!"]
    log = TokenLog(10).add(told)
    assert log is not None
    assert log["text_offset"] == [10, 10, 10, 11]
    assert text_of(told) == "€!"


# ---------------------------------------------------------------------- streams


def test_a_text_can_be_streamed(web: FlaskClient, trained: Run) -> None:
    pieces = streamed(web, trained)
    choices = [(p["choices"][0]["text"], p["choices"][0]["finish_reason"]) for p in pieces]
    assert "".join(text for text, _ in choices) == "Once upon a time"
    assert [reason for _, reason in choices if reason] == ["length"]
    assert choices[-1] == ("", "length")
    assert len({piece["id"] for piece in pieces}) == 1
    assert "usage" not in pieces[0]


def test_a_stream_can_end_with_the_usage(web: FlaskClient, trained: Run) -> None:
    *pieces, last = streamed(web, trained, stream_options={"include_usage": True}, n=2)
    assert {piece["usage"] for piece in pieces} == {None}
    usage = {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11}
    assert (last["choices"], last["usage"]) == ([], usage)


def test_each_choice_of_a_stream_is_whole(web: FlaskClient, trained: Run) -> None:
    texts: dict[int, str] = {}
    reasons: dict[int, list[str]] = {}
    for piece in streamed(web, trained, prompt=["A", "B"], n=2, max_tokens=2, echo=True):
        [choice] = piece["choices"]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        if choice["finish_reason"]:
            reasons.setdefault(choice["index"], []).append(choice["finish_reason"])
    assert texts == {0: "AOnce upon", 1: "AOnce upon", 2: "BOnce upon", 3: "BOnce upon"}
    assert reasons == {index: ["length"] for index in range(4)}


def test_what_fails_at_once_has_a_status_in_a_stream_too(web: FlaskClient, trained: Run) -> None:
    body = {"model": trained.run_id, "prompt": "fail", "stream": True}
    answer = web.post(COMPLETIONS, json=body)
    assert answer.status_code == 422
    assert answer.json == {
        "error": {
            "message": "The checkpoint is damaged. GET /v1/models lists the models.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_damaged",
        }
    }


def test_a_failure_in_a_stream_is_told_in_it(web: FlaskClient, trained: Run) -> None:
    *pieces, told = streamed(web, trained, prompt=["Tell", "fail"])
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == "Once upon a time"
    assert told["error"]["code"] == "model_damaged"


def test_a_stream_that_nobody_reads_gives_its_place_back(
    web: FlaskClient, trained: Run, parts: Services
) -> None:
    body = {"model": trained.run_id, "prompt": "wait", "stream": True}
    for _ in range(MAX_WRITINGS_A_CLIENT + 1):
        answer = web.post(COMPLETIONS, json=body)
        assert answer.status_code == 200
        answer.close()
    with parts.writers.begin("a", trained.run_id, "latest", GenerationSettings()) as writing:
        assert writing.finish()["tokens"] == 4


# ---------------------------------------------------------------------- what is refused

LONG = "x" * (2**22 + 1)


@pytest.mark.parametrize(
    ("change", "status", "param", "code", "message"),
    [
        ({"model": "gpt-4"}, 404, "model", "model_not_found", "There is no run 'gpt-4'"),
        ({"model": "../x"}, 404, "model", "model_not_found", "There is no run '../x'"),
        ({"model": ""}, 404, "model", "model_not_found", "GET /v1/models lists the models"),
        ({"model": None}, 400, "model", "invalid_type", "'model' is wrong: expected a text, got"),
        ({"prompt": 5}, 400, "prompt", "invalid_type", "'prompt' is wrong"),
        ({"prompt": [1.5]}, 400, "prompt[0]", "invalid_type", "'prompt[0]' is wrong"),
        ({"prompt": [True]}, 400, "prompt[0]", "invalid_type", "got true or false"),
        ({"prompt": [[1, -1]]}, 400, "prompt[0][1]", "invalid_value", "a whole number >= 0"),
        ({"prompt": [[[1]]]}, 400, "prompt[0][0]", "invalid_type", "got a list"),
        ({"prompt": ["a", 1]}, 400, "prompt", "invalid_type", "'prompt' mixes texts"),
        ({"prompt": [[]]}, 400, "prompt", "invalid_value", "an empty list of token ids"),
        ({"prompt": ["a"] * 1025}, 400, "prompt", "invalid_value", "1,025 prompts: at most 1,024"),
        ({"prompt": LONG}, 400, "prompt", "invalid_value", "a text of length <= 4194304"),
        ({"max_tokens": -1}, 400, "max_tokens", "invalid_value", "a whole number >= 0"),
        ({"max_tokens": 100_001}, 400, "max_tokens", "invalid_value", "<= 100000"),
        ({"max_tokens": 1.5}, 400, "max_tokens", "invalid_type", "a whole number, got a number"),
        ({"max_tokens": "9"}, 400, "max_tokens", "invalid_type", "a whole number, got a text"),
        ({"temperature": -0.1}, 400, "temperature", "invalid_value", "a number >= 0.0"),
        ({"temperature": 2.1}, 400, "temperature", "invalid_value", "a number <= 2.0"),
        ({"temperature": True}, 400, "temperature", "invalid_type", "got true or false"),
        ({"top_p": 1.1}, 400, "top_p", "invalid_value", "a number <= 1.0"),
        ({"n": 0}, 400, "n", "invalid_value", "a whole number >= 1"),
        ({"n": 1000}, 400, "n", "invalid_value", "a whole number <= 32"),
        ({"best_of": 1, "n": 2}, 400, "best_of", "invalid_value", "is less than 'n' = 2"),
        ({"best_of": 2, "stream": True}, 400, "best_of", "unsupported_value", "leave out 'stream'"),
        ({"logprobs": 21}, 400, "logprobs", "invalid_value", "a whole number <= 20"),
        ({"logprobs": True}, 400, "logprobs", "invalid_type", "got true or false"),
        ({"seed": 2**63}, 400, "seed", "invalid_value", "a whole number <="),
        ({"stop": ""}, 400, "stop", "invalid_value", "a text of length >= 1"),
        ({"stop": ["a", ""]}, 400, "stop[1]", "invalid_value", "a text of length >= 1"),
        ({"stop": ["a"] * 17}, 400, "stop", "invalid_value", "a list of length <= 16"),
        ({"stop": 1}, 400, "stop", "invalid_type", "'stop' is wrong"),
        ({"stream": "yes"}, 400, "stream", "invalid_type", "true or false, got a text"),
        ({"stream_options": {}}, 400, "stream_options", "unsupported_value", "only allowed with"),
        (
            {"stream": True, "stream_options": {"x": 1}},
            400,
            "stream_options.x",
            "unknown_parameter",
            "Unrecognized request argument supplied: stream_options.x",
        ),
        ({"suffix": "end"}, 400, "suffix", "unsupported_value", "they fill no gap"),
        ({"presence_penalty": 3}, 400, "presence_penalty", "invalid_value", "<= 2.0"),
        ({"frequency_penalty": -3}, 400, "frequency_penalty", "invalid_value", ">= -2.0"),
        ({"logit_bias": {"5": 101}}, 400, "logit_bias", "invalid_value", "<= 100.0"),
        ({"logit_bias": {"the": 1}}, 400, "logit_bias", "invalid_value", "'the', which is not"),
        ({"logit_bias": [5]}, 400, "logit_bias", "invalid_type", "an object, got a list"),
        ({"user": 5}, 400, "user", "invalid_type", "a text, got a whole number"),
        ({"top_k": -2}, 400, "top_k", "invalid_value", "a whole number >= -1"),
        ({"min_p": 2}, 400, "min_p", "invalid_value", "a number <= 1.0"),
        ({"repetition_penalty": 0}, 400, "repetition_penalty", "invalid_value", "a number > 0.0"),
        (
            {"beam_width": 3},
            400,
            "beam_width",
            "unknown_parameter",
            "Unrecognized request argument supplied: beam_width",
        ),
        (
            {"prompt": list(range(9)), "echo": True},
            400,
            "prompt",
            "context_length_exceeded",
            "This model reads 8 tokens at once, and the prompt has 9",
        ),
    ],
)
def test_a_wrong_field_is_named(
    web: FlaskClient,
    trained: Run,
    change: dict[str, Any],
    status: int,
    param: str,
    code: str,
    message: str,
) -> None:
    answer = web.post(COMPLETIONS, json={"model": trained.run_id} | change)
    assert answer.status_code == status
    assert answer.json is not None
    told = answer.json["error"]
    expected = {"type": "invalid_request_error", "param": param, "code": code}
    assert told == expected | {"message": told["message"]}
    assert message in told["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model": "a"} x', "trailing characters"),
        (b'{"model": "a", "temperature": NaN}', "invalid character"),
        (b'{"model": "a", "temperature": Infinity}', "invalid character"),
        (b'{"model": "a", "prompt": "\\ud800"}', "not valid JSON"),
        (b'{"model": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "The request is wrong: expected an object, got a list."),
    ],
)
def test_what_is_no_json_is_refused(web: FlaskClient, body: bytes, message: str) -> None:
    answer = web.post(COMPLETIONS, data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json is not None
    assert message in answer.json["error"]["message"]
    assert answer.json["error"]["param"] is None


def test_a_number_out_of_range_names_its_field(web: FlaskClient) -> None:
    body = b'{"model": "a", "temperature": 1e999}'
    answer = web.post(COMPLETIONS, data=body, content_type="application/json")
    assert answer.json is not None
    assert answer.json["error"]["param"] == "temperature"


def test_a_run_without_a_checkpoint_yet_is_no_model(web: FlaskClient, make_run: MakeRun) -> None:
    run_id = make_run(status="running").run_id
    for answer in (
        web.post(COMPLETIONS, json={"model": run_id}),
        web.get(f"/v1/models/{run_id}"),
    ):
        assert answer.status_code == 404
        assert answer.json is not None
        told = answer.json["error"]
        assert told["message"] == (
            f"Run {run_id} has no checkpoint 'latest'. GET /v1/models lists the models."
        )
        assert (told["param"], told["code"]) == ("model", "model_not_found")


def test_the_beginning_of_a_run_id_is_enough(web: FlaskClient, trained: Run) -> None:
    answer = web.get(f"/v1/models/{trained.run_id[:-1]}:latest")
    assert answer.json is not None
    assert answer.json["id"] == f"{trained.run_id}:latest"


@pytest.mark.parametrize("name", ["gpt-4", "{}:epoch-7", "{}:", "{}:x", "{}:../best", ":best"])
def test_a_model_that_is_not_there(web: FlaskClient, trained: Run, name: str) -> None:
    answer = web.get(f"/v1/models/{name.format(trained.run_id)}")
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        ("GET", "/v1", 404, "unknown_url", "they answer GET /v1/models"),
        ("POST", "/v1/embeddings", 404, "unknown_url", "they answer GET /v1/models"),
        ("POST", "/v1/responses", 404, "unknown_url", "POST /v1/completions"),
        ("GET", "/v1/completions", 405, "method_not_allowed", "does not take that method"),
        ("POST", "/v1/models", 405, "method_not_allowed", "does not take that method"),
        ("POST", "/v1/chat/completions", 400, "unsupported_model", "These are base models"),
    ],
)
def test_other_addresses_are_refused_in_the_same_shape(
    web: FlaskClient, method: str, path: str, status: int, code: str, message: str
) -> None:
    answer = web.open(path, method=method, json={} if method == "POST" else None)
    assert answer.status_code == status
    assert answer.json is not None
    told = answer.json["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert (told["type"], told["code"]) == ("invalid_request_error", code)
    assert message in told["message"]


def test_what_is_not_declared_as_json_is_refused(web: FlaskClient) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""):
        answer = web.post(COMPLETIONS, data=b'{"model": "a"}', content_type=kind)
        assert answer.status_code == 415
        assert answer.json is not None
        assert answer.json["error"]["code"] == "unsupported_media_type"
        assert "Content-Type: application/json" in answer.json["error"]["message"]


def test_a_long_prompt_is_taken_and_a_larger_body_is_not(web: FlaskClient, trained: Run) -> None:
    assert completed(web, trained, prompt="x" * 2**20)["usage"]["prompt_tokens"] == 3
    answer = web.post(COMPLETIONS, json={"model": "x", "prompt": "x" * MAX_PROMPT_BODY_BYTES})
    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["error"]["code"] == "too_large"


def test_too_much_at_once_is_told_with_when_to_ask_again(
    web: FlaskClient, trained: Run, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.writing.MAX_WRITINGS", 1)
    settings = GenerationSettings(prompt="wait")
    with parts.writers.begin("another", trained.run_id, "latest", settings):
        answer = web.post(COMPLETIONS, json={"model": trained.run_id})
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "1"
        assert answer.json is not None
        told = answer.json["error"]
        assert (told["type"], told["code"]) == ("requests", "rate_limit_exceeded")
    assert web.post(COMPLETIONS, json={"model": trained.run_id}).status_code == 200


def test_programs_with_different_keys_or_users_have_places_of_their_own(
    web: FlaskClient, trained: Run, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.writing.MAX_WRITINGS_A_CLIENT", 1)
    body = {"model": trained.run_id, "prompt": "wait", "stream": True}
    mine = {"Authorization": "Bearer mine"}
    held = [web.post(COMPLETIONS, json=body, headers=mine)]
    assert web.post(COMPLETIONS, json=body, headers=mine).status_code == 429
    held.append(web.post(COMPLETIONS, json=body | {"user": "b"}, headers=mine))
    held.append(web.post(COMPLETIONS, json=body, headers={"Authorization": "Bearer theirs"}))
    assert [answer.status_code for answer in held] == [200, 200, 200]
    for answer in held:
        answer.close()


# ---------------------------------------------------------------------- any body at all

NAMES = st.sampled_from([*CompletionRequest.__struct_fields__, "x", ""])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.printable, max_size=5)
    | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
BODIES = VALUES | st.dictionaries(NAMES, VALUES) | st.dictionaries(NAMES, st.integers(0, 2))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES, named=st.booleans())
def test_no_body_is_answered_with_an_unforeseen_error(
    web: FlaskClient, trained: Run, body: Any, named: bool
) -> None:
    if named and isinstance(body, dict):
        body = body | {"model": trained.run_id}
    answer = web.post(COMPLETIONS, data=json.dumps(body), content_type="application/json")
    assert answer.status_code in (200, 400, 404)
    assert answer.mimetype in ("application/json", "text/event-stream")
    if answer.status_code != 200:
        assert answer.json is not None
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}


# ---------------------------------------------------------------------- strangers


def test_another_sites_page_is_refused_in_the_same_shape(web: FlaskClient, trained: Run) -> None:
    body = {"model": trained.run_id}
    for headers in ({"Origin": "http://evil.example"}, {"Host": "rebound.example"}):
        answer = web.post(COMPLETIONS, json=body, headers=headers)
        assert answer.status_code == 403
        assert answer.json is not None
        assert answer.json["error"]["code"] == "forbidden"
        assert "Access-Control-Allow-Origin" not in answer.headers
    asked = web.options(COMPLETIONS, headers={"Origin": "http://evil.example"})
    assert not [name for name, _ in asked.headers if name.startswith("Access-Control")]


def test_the_key_is_the_token_of_a_dashboard_that_has_one(app: Any, trained: Run) -> None:
    home = app.extensions["llm_trainer"].store.workspace.home
    web = create_app(home, policy=Policy(access_token="secret")).test_client()
    asked = [
        web.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
        for key in ("secret", "guess", "")
    ]
    assert [answer.status_code for answer in asked] == [200, 401, 401]
    assert asked[1].json is not None
    told = asked[1].json["error"]
    assert (told["type"], told["code"]) == ("invalid_request_error", "invalid_api_key")


# ---------------------------------------------------------------------- settings


def request(**fields: Any) -> CompletionRequest:
    return read_request(json.dumps({"model": "m"} | fields).encode())


def test_settings_have_the_defaults_of_the_interface() -> None:
    assert settings_of(request()) == [GenerationSettings(max_new_tokens=16, temperature=1.0)]
    full = request(
        prompt=["p", "q"],
        max_tokens=5,
        top_p=0.5,
        seed=3,
        stop="x",
        n=2,
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"7": -100},
        top_k=4,
        min_p=0.1,
        repetition_penalty=1.2,
    )
    [first, second] = settings_of(full)
    assert first == GenerationSettings(
        prompt="p",
        max_new_tokens=5,
        temperature=1.0,
        top_p=0.5,
        seed=3,
        stop=("x",),
        n=2,
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={7: -100},
        top_k=4,
        min_p=0.1,
        repetition_penalty=1.2,
    )
    assert second.prompt == "q"
    assert first.validate() is first


def test_what_changes_nothing_is_left_out() -> None:
    neutral = {"n": 1, "best_of": 1, "suffix": "", "logit_bias": {}, "user": "me", "stop": []}
    more = {"presence_penalty": 0, "frequency_penalty": 0.0, "top_k": -1, "min_p": 0}
    assert settings_of(request(**neutral, **more)) == settings_of(request())


def test_extremes_of_the_interface_are_values_of_ours() -> None:
    [low] = settings_of(request(top_p=0, seed=-1, temperature=0))
    assert low.validate() is low
    assert (low.seed, low.temperature) == (2**63 - 1, 0)
    [ids] = settings_of(request(prompt=[1, 2]))
    assert (ids.prompt, ids.prompt_tokens) == ("", (1, 2))
