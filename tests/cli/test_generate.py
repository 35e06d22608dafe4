"""``generate`` and ``eval``: what is shown as it comes, one document, and Ctrl+C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.test_process import TIMEOUT_SECONDS, variables
from tests.conftest import MakeRun
from trainer.inference import client

STAND_IN = "tests.cli.echo_service"


@pytest.fixture
def trained(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with a checkpoint, and a process that pretends to hold its model."""
    monkeypatch.setattr(client, "SERVICE_MODULE", STAND_IN)
    run = make_run(run_id="a")
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").touch()
    return run.run_id


def test_the_text_goes_to_standard_output_and_the_facts_beside_it(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "once upon a time")
    assert (answer.status, answer.out) == (0, "ONCEUPONATIME\n")
    assert answer.err == "4 tokens · 50 tok/s · as long as asked for · seed 7\n"


def test_generate_json_is_one_document(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "once upon", "--json")
    assert answer.err == ""
    assert answer.json == {
        "text": "ONCEUPON",
        "tokens": 2,
        "tokens_per_second": 50.0,
        "seed": 7,
        "finish_reason": "length",
        "prompt_tokens": 2,
        "prompt_tokens_read": 2,
    }


def test_of_several_texts_each_has_a_heading_and_its_own_facts(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a b", "--n", "3")
    assert answer.out == "[1 of 3]\nAB\n\n[2 of 3]\nAB\n\n[3 of 3]\nAB\n"
    assert answer.err.splitlines() == [
        "2 tokens · 50 tok/s · as long as asked for · seed 7",
        "2 tokens · as long as asked for · seed 8",
        "2 tokens · as long as asked for · seed 9",
    ]


def test_of_several_texts_the_document_has_the_first_and_then_all(call: Call, trained: str) -> None:
    told = call("generate", "--run-id", trained, "--prompt", "a", "--n", "2", "--json").json
    assert (told["text"], told["seed"]) == ("A", 7)
    assert told["continuations"] == [
        {"text": "A", "tokens": 1, "seed": seed, "finish_reason": "length"} for seed in (7, 8)
    ]


def test_a_prompt_that_is_read_in_part_is_told(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a b c d e f g", "--json")
    assert answer.err == "The prompt has 7 tokens; the model read the last 5.\n"
    assert (answer.json["prompt_tokens"], answer.json["prompt_tokens_read"]) == (7, 5)


def test_likelihoods_are_told_as_json_only(call: Call, trained: str) -> None:
    options = ["generate", "--run-id", trained, "--prompt", "a", "--logprobs", "0"]
    assert call(*options, "--json").json["logprobs"] == [{"id": 5, "logprob": -0.5, "top": []}]
    assert (call(*options).status, call(*options).err.splitlines()[0]) == (
        2,
        "Error: --logprobs is told as JSON only.",
    )


def test_the_prompt_can_come_from_standard_input(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "-", stdin="zwei Wörter\n")
    assert answer.out == "ZWEIWÖRTER\n"


def test_a_failure_of_the_model_is_told(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "fail", "--json")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "Error: It is damaged.\nTake another.\n"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--temperature", "-1"], 2, "temperature = -1.0 is not a number of 0 or more"),
        (["--temperature", "nan"], 2, "temperature = nan"),
        (["--temperature", "warm"], 2, "'warm' is not a valid float"),
        (["--top-k", "0"], 2, "top_k = 0 is not a whole number of 1 or more"),
        (["--top-p", "1.5"], 2, "top_p = 1.5 is not a number above 0 and up to 1"),
        (["--min-p", "inf"], 2, "min_p = inf"),
        (["--repetition-penalty", "0"], 2, "repetition_penalty = 0.0"),
        (["--max-new-tokens", "0"], 2, "max_new_tokens = 0"),
        (["--seed", "-5"], 2, "seed = -5"),
        (["--stop", ""], 2, "stop = ('',) is not a list of at most 16 texts that are not empty"),
        (["--n", "0"], 2, "n = 0 is not a whole number from 1 to 32"),
        (["--logprobs", "21"], 2, "logprobs = 21 is not a whole number from 0 to 20"),
        (["--checkpoint", "worst"], 2, "'worst' is not a checkpoint"),
        (["--checkpoint", "best"], 3, "no checkpoint 'best'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    call: Call, trained: str, options: list[str], status: int, words: str
) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "x", *options, "--json")
    assert (answer.status, answer.out) == (status, "")
    assert words in answer.err


def test_a_prompt_that_is_not_text_is_refused(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a\udcff")
    assert answer.status == 2
    assert "not text in UTF-8" in answer.err


def test_without_a_run_or_a_prompt_nothing_is_written(call: Call, trained: str) -> None:
    assert call("generate", "--run-id", "nope", "--prompt", "x").status == 3
    assert call("generate", "--run-id", trained).status == 2


def test_ctrl_c_keeps_what_came(home: Path, trained: str) -> None:
    assert interrupted(home, trained) == (130, "BEGUN\n")
    status, out = interrupted(home, trained, "--json")
    assert status == 130
    assert json.loads(out)["finish_reason"] == "cancelled"


def interrupted(home: Path, run_id: str, *options: str) -> tuple[int, str]:
    """Generate with a process that waits to be cancelled, and press Ctrl+C once it has begun."""
    script = (
        "import sys\n"
        "from trainer.inference import client\n"
        "from trainer.cli import main\n"
        f"client.SERVICE_MODULE = '{STAND_IN}'\n"
        "deliver = client.Job.deliver\n"
        "def deliver_and_tell(job, event):\n"
        "    deliver(job, event)\n"
        "    sys.stderr.write('begun\\n'); sys.stderr.flush()\n"
        "client.Job.deliver = deliver_and_tell\n"
        "main(sys.argv[1:])\n"
    )
    writing = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script,
            "generate",
            "--run-id",
            run_id,
            "--prompt",
            "wait",
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(home),
        text=True,
    )
    assert writing.stderr is not None
    assert writing.stderr.readline() == "begun\n"
    writing.send_signal(signal.SIGINT)
    out, err = writing.communicate(timeout=TIMEOUT_SECONDS)
    assert "Traceback" not in err
    return writing.returncode, out


def test_an_evaluation_in_words_and_as_one_document(call: Call, trained: str) -> None:
    answer = call("eval", "--run-id", trained)
    assert answer.err == "evaluating\n"
    assert answer.out.splitlines() == [
        "Run a, checkpoint 'latest':",
        "  split            validation",
        "  loss             2.5000 nats a token",
        "  word perplexity  1,234",
        "  bits a byte      1.2500",
        "  words            1,000",
        "  tokens           1,500",
    ]
    assert call("eval", "--run-id", trained, "--split", "test", "--json").json == {
        "split": "test",
        "loss": 2.5,
        "word_perplexity": 1234.5,
        "bits_per_byte": 1.25,
        "words": 1000,
        "tokens": 1500,
    }


def test_only_the_splits_there_are_can_be_evaluated(call: Call, trained: str) -> None:
    answer = call("eval", "--run-id", trained, "--split", "train")
    assert answer.status == 2
    assert "'train' is not one of 'validation', 'test'" in answer.err
    assert call("eval", "--run-id", trained, "--checkpoint", "epoch-3").status == 3
