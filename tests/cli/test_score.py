"""``score``: figures with what they mean, each token with its surprise, one document."""

from __future__ import annotations

import math
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Call
from tests.conftest import MakeRun
from trainer.cli.tokens import interlinear, listed
from trainer.inference import client

STAND_IN = "tests.cli.echo_service"
FIGURES = [
    "  perplexity       11.31   tokens the model wavered between, on average",
    "  word perplexity  –       the same by words, whatever the vocabulary",
    "  bits a byte      1.2500  of 8: the size of the text if the model packed it",
    "  loss             2.4260  nats a token: the logarithm of the perplexity",
    "  length           2 tokens, 2 words, 8 bytes",
]


@pytest.fixture
def trained(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with a checkpoint, and a process that pretends to hold its model."""
    monkeypatch.setattr(client, "SERVICE_MODULE", STAND_IN)
    monkeypatch.setattr(client, "ModelService", lambda _: client.ModelProcess())
    run = make_run(run_id="a")
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").touch()
    return run.run_id


def test_the_figures_stand_with_what_they_mean(call: Call, trained: str) -> None:
    answer = call("score", "--run-id", trained, "--text", "to words")
    assert (answer.status, answer.err) == (0, "scoring\n")
    assert answer.out.splitlines() == FIGURES
    assert max(map(len, FIGURES)) <= 80


def test_each_token_stands_above_its_surprise(call: Call, trained: str) -> None:
    answer = call("score", "--run-id", trained, "--text", "to words", "--tokens")
    assert answer.out.splitlines() == [
        "to  ·words",
        "2.0 5.0",
        "",
        "Below each token its surprise in bits: 1 is one in 2, 10 is one in 1,000.",
        "",
        *FIGURES,
    ]


def test_alternatives_are_listed_a_token_a_line(call: Call, trained: str) -> None:
    answer = call("score", "--run-id", trained, "--text", "to words", "--alternatives", "1")
    assert answer.out.splitlines()[:4] == [
        "bits  share  token   likeliest there",
        " 2.0   25 %  to      ·so 50 %",
        " 5.0  3.1 %  ·words  ·so 50 %",
        "",
    ]


def test_score_json_is_one_document(call: Call, trained: str) -> None:
    options = ["score", "--run-id", trained, "--text", "to words", "--json"]
    told = call(*options).json
    assert told == {
        "perplexity": pytest.approx(2**3.5),
        "word_perplexity": None,
        "bits_per_byte": 1.25,
        "loss": pytest.approx(3.5 * math.log(2)),
        "words": 2,
        "bytes": 8,
        "tokens": 2,
        "run_id": "a",
        "checkpoint": "latest",
    }
    with_tokens = call(*options, "--tokens").json
    assert [token["token"] for token in with_tokens.pop("logprobs")] == ["to", " words"]
    assert with_tokens == told


def test_the_text_can_come_from_a_file_or_a_pipe(call: Call, trained: str, tmp_path: Path) -> None:
    """One line break at the end of it is left out, wherever it comes from."""
    (tmp_path / "text.txt").write_text("to words\n")
    from_file, typed = ["--file", str(tmp_path / "text.txt")], ["--text", "to words\n"]
    for given in (from_file, typed, ["--file", "-"], ["--text", "-"], []):
        answer = call("score", "--run-id", trained, *given, stdin="to words\n")
        assert answer.out.splitlines() == FIGURES


def test_only_one_line_break_is_left_out(call: Call, trained: str) -> None:
    answer = call("score", "--run-id", trained, "--json", stdin="to words\n\n")
    assert answer.json["bytes"] == len("to words\n")


@pytest.mark.parametrize("letters", [2**20 + 1, 2**22 + 1])
def test_a_text_that_is_too_long_is_refused_in_the_same_words(
    call: Call, trained: str, tmp_path: Path, letters: int
) -> None:
    path = tmp_path / "huge.txt"
    path.write_text("a" * letters)
    answer = call("score", "--run-id", trained, "--file", str(path))
    told = f"Error: '{path}' is too long: more than 1,048,576 characters.\nScore a part of it.\n"
    assert (answer.status, answer.err) == (2, told)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ([], 2, "There is no text."),
        (["--text", ""], 2, "There is no text."),
        (["--text", "\n"], 2, "text is empty: there is nothing to score."),
        (["--text", "x", "--file", "y"], 2, "--text and --file do not go together."),
        (["--file", "nowhere.txt"], 2, "'nowhere.txt' cannot be read: No such file"),
        (
            ["--text", "x", "--alternatives", "21"],
            2,
            "alternatives = 21 is not a whole number from 0 to 20",
        ),
        (
            ["--text", "x", "--alternatives", "many"],
            2,
            "alternatives = 'many' is not a whole number",
        ),
        (["--text", "x", "--checkpoint", "best"], 3, "no checkpoint 'best'"),
        (["--text", "fail"], 1, "It is damaged."),
    ],
)
def test_what_cannot_be_scored_is_refused(
    call: Call, trained: str, options: list[str], status: int, words: str
) -> None:
    answer = call("score", "--run-id", trained, *options, "--json")
    assert (answer.status, answer.out) == (status, "")
    assert words in answer.err


def token(text: str, bits: float, *top: tuple[str, float]) -> dict[str, object]:
    """An entry of ``logprobs``, its surprise given in bits."""
    found = {"token": text, "bytes": list(text.encode()), "logprob": -bits * math.log(2)}
    return found | {"top": [token(one, b) for one, b in top]}


def test_rows_of_tokens_fit_the_width_and_break_where_the_text_does() -> None:
    tokens = [token("The", 0.5), token(" cat\n", 12.25), token("世界", 3), token(" sat", 1)]
    lines = [click.unstyle(line) for line in interlinear(tokens, 10)]
    assert lines == ["The ·cat↵", "0.5 12.2", "世界 ·sat", "3.0  1.0"]
    narrow = [click.unstyle(line) for line in interlinear(tokens, 8)]
    assert narrow[::2] == ["The", "·cat↵", "世界", "·sat"]


def test_tokens_are_tinted_by_their_surprise() -> None:
    tokens = [token("a", 0), token("b", 3), token("c\n", 40)]
    plain, pale, strong = interlinear(tokens, 80)[0].split()
    assert plain == "a"
    assert pale == click.style("b", fg="cyan")
    assert strong == click.style("c↵", fg="red", bold=True, underline=True)


def test_a_long_list_of_alternatives_is_cut_to_the_width() -> None:
    wide = [token("a", 1, *[(f" word{number}", 4.0) for number in range(20)])]
    lines = [click.unstyle(line) for line in listed(wide, 80)]
    assert {len(line) for line in lines[1:]} == {80}
    assert lines[1].endswith("…")
