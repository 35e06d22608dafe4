"""``generate`` and ``eval``: what is shown as it comes, one document, and Ctrl+C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Call
from tests.cli.test_process import TIMEOUT_SECONDS, on_terminal, variables
from tests.conftest import MakeRun
from trainer.cli.batch import AT_ONCE
from trainer.inference import client
from trainer.store.process import identify

STAND_IN = "tests.cli.echo_service"


@pytest.fixture
def trained(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with a checkpoint, and a process that pretends to hold its model."""
    monkeypatch.setattr(client, "SERVICE_MODULE", STAND_IN)
    monkeypatch.setattr(client, "ModelService", lambda _: client.ModelProcess())
    monkeypatch.setattr("trainer.inference.request.secrets.randbelow", lambda _: 7)
    run = make_run(run_id="a")
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").touch()
    return run.run_id


def test_the_text_goes_to_standard_output_and_the_facts_beside_it(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "once upon a time")
    assert (answer.status, answer.out) == (0, "ONCEUPONATIME\n")
    assert answer.err == "4 tokens · 50 tok/s · seed 7 · reached the length\n"


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
        "prompt": "once upon",
        "run_id": "a",
        "checkpoint": "latest",
    }


@pytest.mark.parametrize("option", ["--num-samples", "--n"])
def test_of_several_texts_each_has_a_heading_and_its_own_facts(
    call: Call, trained: str, option: str
) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a b", option, "3")
    assert answer.out == "[text 1 of 3]\nAB\n\n[text 2 of 3]\nAB\n\n[text 3 of 3]\nAB\n"
    assert answer.err.splitlines() == [
        "2 tokens · 50 tok/s · seed 7 · reached the length",
        "2 tokens · seed 8 · reached the length",
        "2 tokens · seed 9 · reached the length",
    ]


def test_of_several_texts_the_document_has_the_first_and_then_all(call: Call, trained: str) -> None:
    told = call("generate", "--run-id", trained, "--prompt", "a", "--n", "2", "--json").json
    assert (told["text"], told["seed"]) == ("A", 7)
    assert told["continuations"] == [
        {"text": "A", "tokens": 1, "seed": seed, "finish_reason": "length"} for seed in (7, 8)
    ]


def test_several_prompts_are_answered_in_order(call: Call, trained: str, tmp_path: Path) -> None:
    lines, whole = tmp_path / "lines.txt", tmp_path / "whole.txt"
    lines.write_bytes(b"\xef\xbb\xbfthree\r\n\n \nfour\r\n")
    whole.write_text("two\nlines\n")
    files = ["--prompts-file", str(lines), "--prompt-file", str(whole)]
    answer = call("generate", "--run-id", trained, *files, "--prompt", "one")
    assert answer.out.split("\n\n") == [
        "[prompt 1 of 4]\nONE",
        "[prompt 2 of 4]\nTWO\nLINES",
        "[prompt 3 of 4]\nTHREE",
        "[prompt 4 of 4]\nFOUR\n",
    ]


def test_many_prompts_make_one_document_of_results(
    call: Call, trained: str, tmp_path: Path
) -> None:
    words = [f"w{number}" for number in range(3 * AT_ONCE)]
    (tmp_path / "lines.txt").write_text("\n".join(words))
    given = ["--prompts-file", str(tmp_path / "lines.txt"), "--seed", "5", "--n", "2"]
    told = call("generate", "--run-id", trained, *given, "--json").json
    assert (told["run_id"], told["checkpoint"]) == ("a", "latest")
    assert [result["prompt"] for result in told["results"]] == words
    assert [result["text"] for result in told["results"]] == [word.upper() for word in words]
    assert {result["seed"] for result in told["results"]} == {5}
    assert {len(result["continuations"]) for result in told["results"]} == {2}


def test_headings_tell_prompts_from_texts(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a", "--prompt", "b", "--n", "2")
    assert answer.out.splitlines()[::3] == [
        "[prompt 1 of 2, text 1 of 2]",
        "[prompt 1 of 2, text 2 of 2]",
        "[prompt 2 of 2, text 1 of 2]",
        "[prompt 2 of 2, text 2 of 2]",
    ]


def test_a_prompt_that_is_read_in_part_is_told(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a b c d e f g", "--json")
    assert answer.err == "The prompt has 7 tokens; the model read the last 5.\n"
    assert (answer.json["prompt_tokens"], answer.json["prompt_tokens_read"]) == (7, 5)


def test_likelihoods_are_told_as_json_only(call: Call, trained: str) -> None:
    options = ["generate", "--run-id", trained, "--prompt", "a", "--logprobs", "0"]
    (likelihood,) = call(*options, "--json").json["logprobs"]
    assert (likelihood["token"], likelihood["bytes"]) == ("A", [65])
    assert (call(*options).status, call(*options).err.splitlines()[0]) == (
        2,
        "Error: --logprobs is told as JSON only.",
    )


@pytest.mark.parametrize(
    "options", [[], ["--prompt", "-"], ["--prompt-file", "-"], ["--prompts-file", "-"]]
)
def test_the_prompt_can_come_from_standard_input(
    call: Call, trained: str, options: list[str]
) -> None:
    answer = call("generate", "--run-id", trained, *options, stdin="zwei Wörter\n")
    assert answer.out == "ZWEIWÖRTER\n"


def test_what_was_typed_as_a_prompt_is_not_read_from_a_pipe(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "typed", stdin="piped")
    assert answer.out == "TYPED\n"


def test_a_failure_of_the_model_is_told(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "fail", "--json")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "Error: It is damaged.\nTake another.\n"


BREAKING_OFF = ("--prompt", "break off", "--seed", "3")


def test_what_came_before_a_failure_is_kept_with_its_seed(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, *BREAKING_OFF)
    assert (answer.status, answer.out) == (1, "BEGUN\n")
    assert answer.err.startswith("1 token · seed 3 · broken off\nError: It is damaged.")


def test_the_document_of_a_failure_midway_has_what_came_and_the_error(
    call: Call, trained: str
) -> None:
    answer = call("generate", "--run-id", trained, *BREAKING_OFF, "--json")
    assert (answer.status, answer.err.count("Error:")) == (1, 1)
    told = (answer.json["text"], answer.json["seed"], answer.json["finish_reason"])
    assert told == ("BEGUN", 3, "failed")
    assert answer.json["error"]["message"] == "It is damaged."
    several = call("generate", "--run-id", trained, "--prompt", "whole", *BREAKING_OFF, "--json")
    assert [one["text"] for one in several.json["results"]] == ["WHOLE", "BEGUN"]
    assert several.json["error"]["kind"] == "checkpoint"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--temperature", "-1"], 2, "--temperature = -1 is not a number of 0 or more"),
        (["--temperature", "nan"], 2, "--temperature = nan"),
        (["--temperature", "warm"], 2, "--temperature = 'warm' is not a number of 0 or more"),
        (["--top-k", "-1"], 2, "--top-k = -1 is not a whole number of 0 or more"),
        (["--top-k", "1.5"], 2, "--top-k = 1.5 is not a whole number of 0 or more"),
        (["--top-p", "1.5"], 2, "--top-p = 1.5 is not a number above 0 and up to 1"),
        (["--min-p", "inf"], 2, "--min-p = inf"),
        (["--repetition-penalty", "0"], 2, "--repetition-penalty = 0"),
        (["--presence-penalty", "x"], 2, "--presence-penalty = 'x'"),
        (["--frequency-penalty", "inf"], 2, "--frequency-penalty = inf"),
        (["--max-new-tokens", "-1"], 2, "--max-new-tokens = -1"),
        (["--max-new-tokens", "0"], 2, "--max-new-tokens = 0 is not a whole number from 1 to"),
        (["--seed", "-5"], 2, "--seed = -5"),
        (["--stop", ""], 2, "--stop has an empty text: it would end every text"),
        (["--n", "0"], 2, "--num-samples = 0 is not a whole number from 1 to 32"),
        (["--logprobs", "21"], 2, "--logprobs = 21 is not a whole number from 0 to 20"),
        (["--checkpoint", "worst"], 2, "'worst' is not a checkpoint"),
        (["--checkpoint", "best"], 3, "no checkpoint 'best'"),
        (["--prompt", "-", "--prompt-file", "-"], 2, "Standard input can be read only once"),
        (["--prompts-file", "-"], 2, "no prompt in '-'"),
        (["--prompt-file", "nowhere.txt"], 2, "'nowhere.txt' cannot be read: No such file"),
        (["--prompt-file", "."], 2, "'.' cannot be read: Is a directory"),
        (["--prompt-file", "a\0b"], 2, "cannot be read: embedded null"),
        (
            ["--prompt-file", "/dev/zero"],
            2,
            "'/dev/zero' is too long: more than 4,194,304 characters",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    call: Call, trained: str, options: list[str], status: int, words: str
) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "x", *options, "--json")
    assert (answer.status, answer.out) == (status, "")
    assert words in answer.err


def test_all_that_is_wrong_is_told_at_once(call: Call, trained: str) -> None:
    wrong = ["--temperature", "warm", "--top-k", "-1", "--seed", "x"]
    answer = call("generate", "--run-id", trained, "--prompt", "x", *wrong)
    assert answer.status == 2
    assert answer.err.splitlines()[0].count(" is not ") == 3


def test_a_prompt_that_is_not_text_is_refused(call: Call, trained: str) -> None:
    answer = call("generate", "--run-id", trained, "--prompt", "a\udcff")
    assert (answer.status, answer.err.splitlines()[0]) == (
        2,
        "Error: What was typed is not text in UTF-8.",
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"abc\xff", "not text in UTF-8 (byte 4)"), (b"a\0b", "not text: it has a byte of value 0")],
)
def test_a_file_that_is_not_text_is_refused(
    call: Call, trained: str, tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    answer = call("generate", "--run-id", trained, "--prompt-file", str(tmp_path / "x.bin"))
    assert answer.status == 2
    assert f"x.bin' is {words}" in answer.err


def test_without_a_run_or_a_prompt_nothing_is_written(call: Call, trained: str) -> None:
    assert call("generate", "--run-id", "nope", "--prompt", "x").status == 3
    answer = call("generate", "--run-id", trained)
    assert (answer.status, answer.err.splitlines()) == (
        2,
        [
            "Error: There is no prompt.",
            "For example: llm-trainer generate --run-id latest --prompt 'The history of'",
        ],
    )


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("running", "It saves its first one while it trains: 'llm-trainer status --run-id b'"),
        ("failed", "It had done no step that was saved. To start it anew: llm-trainer train"),
    ],
)
def test_of_a_run_without_a_checkpoint_it_is_told_what_to_do(
    call: Call, make_run: MakeRun, status: str, hint: str
) -> None:
    make_run(run_id="b", status=status, process=identify(os.getpid()))
    answer = call("generate", "--run-id", "b", "--prompt", "x")
    first, second = answer.err.splitlines()
    assert (answer.status, first) == (3, "Error: Run b has no checkpoint 'latest'.")
    assert second.startswith(hint)


def test_ctrl_c_keeps_what_came(home: Path, trained: str) -> None:
    assert interrupted(home, trained) == (130, "BEGUN\n")
    status, out = interrupted(home, trained, "--json")
    assert status == 130
    assert json.loads(out)["finish_reason"] == "cancelled"


STAND_IN_PROGRAM = (
    "import sys\n"
    "from trainer.inference import client\n"
    "from trainer.cli import main\n"
    f"client.SERVICE_MODULE = '{STAND_IN}'\n"
    "client.ModelService = lambda _: client.ModelProcess()\n"
)
"""The program, with a process that pretends to hold models."""

TELLING_WHEN_BEGUN = (
    "deliver = client.Job.deliver\n"
    "def deliver_and_tell(job, event):\n"
    "    deliver(job, event)\n"
    "    sys.stderr.write('begun\\n'); sys.stderr.flush()\n"
    "client.Job.deliver = deliver_and_tell\n"
)


def interrupted(home: Path, run_id: str, *options: str) -> tuple[int, str]:
    """Generate with a process that waits to be cancelled, and press Ctrl+C once it has begun."""
    script = f"{STAND_IN_PROGRAM}{TELLING_WHEN_BEGUN}main(sys.argv[1:])"
    line = ["generate", "--run-id", run_id, "--prompt", "wait", *options]
    writing = subprocess.Popen(
        [sys.executable, "-c", script, *line],
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


def test_of_several_prompts_ctrl_c_ends_all(home: Path, trained: str) -> None:
    status, out = interrupted(home, trained, "--prompt", "wait", "--json")
    assert status == 130
    results = json.loads(out)["results"]
    assert [(told["text"], told["finish_reason"]) for told in results] == [
        ("BEGUN", "cancelled"),
        ("BEGUN", "cancelled"),
    ]


@pytest.mark.parametrize(
    ("no_color", "begin"),
    [(None, "\x1b[2ma\ufffd[31m b\x1b[0mA\ufffd[31MB"), ("1", "a\ufffd[31m bA\ufffd[31MB")],
)
def test_on_a_terminal_the_text_follows_its_prompt_and_cannot_drive_it(
    home: Path, trained: str, no_color: str | None, begin: str
) -> None:
    script = f"{STAND_IN_PROGRAM}main(sys.argv[1:])"
    shown = on_terminal(
        home,
        *["generate", "--run-id", trained, "--prompt", "a\x1b[31m b"],
        program=[sys.executable, "-c", script],
        changes={"NO_COLOR": no_color},
    )
    assert shown.splitlines()[0] == begin


def test_on_a_terminal_a_missing_prompt_is_not_waited_for(home: Path, trained: str) -> None:
    shown = on_terminal(home, "generate", "--run-id", trained, changes={})
    assert click.unstyle(shown).splitlines()[0] == "Error: There is no prompt."


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
