"""The filter language, on runs whose every figure is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeRun
from trainer.errors import UsageError
from trainer.filtering import FIELDS, parse_filter, read_filter
from trainer.runs import Run
from trainer.store.records import ErrorRecord, written_time


@pytest.fixture
def runs(make_run: MakeRun) -> list[Run]:
    """Three runs: a good one of today, a failed one of three days ago, one that knows nothing."""
    at = datetime.now(UTC)
    return [
        make_run(
            run_id="20260105-good",
            name="My run",
            tags=["lr-sweep", "Keep"],
            dataset="WikiText-2",
            device="cuda:0",
            device_name="NVIDIA H200",
            precision="bf16",
            train_loss=3.2049,
            best_val_loss=3.4,
            best_val_word_perplexity=88.2,
            parameters=12_420_000,
            tokens_per_second=6120.0,
            elapsed_seconds=7300.0,
            step=1200,
            created_at=written_time(at - timedelta(hours=5)),
        ),
        make_run(
            run_id="20260103-failed",
            name="wide",
            status="failed",
            dataset="/data/book.txt",
            device="cpu",
            train_loss=5.0,
            error=ErrorRecord(kind="training", message="Out of memory at step 3."),
            created_at=written_time(at - timedelta(days=3)),
        ),
        make_run(run_id="20260101-bare", status="stopped", created_at="2026-01-01T23:59:59.000Z"),
    ]


def found(runs: list[Run], text: str) -> str:
    wanted = parse_filter(text)
    return " ".join(run.run_id.partition("-")[2] for run in runs if wanted.matches(run))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "good failed bare"),
        ("  ", "good failed bare"),
        ("my RUN wiki", "good"),
        ("-wiki", "failed bare"),
        ('"my run"', "good"),
        ('"run my"', ""),
        ("status:failed", "failed"),
        ("status:failed,stopped", "failed bare"),
        ("status!=failed", "good bare"),
        ("-status:failed", "good bare"),
        ("STATUS:Failed", "failed"),
        ("tag:lr-sweep", "good"),
        ("tag:keep", "good"),
        ("tag:lr", ""),
        ("-tag:lr-sweep wide", "failed"),
        ('name:"my run"', "good"),
        ('name:"my', "good"),
        ("id:20260103", "failed"),
        ("dataset:wiki,book", "good failed"),
        ("device:h200", "good"),
        ("precision:bf16", "good"),
        ("precision:bf", ""),
        ("error:memory", "failed"),
        ("is:named -is:tagged", "failed"),
        ("loss<4", "good"),
        ("loss>=5", "failed"),
        ("loss=3.2", "good"),
        ("loss:3.2049", "good"),
        ("loss=3.21", ""),
        ("loss!=3.2", "failed"),
        ("-loss<4", "failed bare"),
        ("perplexity<100", "good"),
        ("ppl<88.2", ""),
        ("parameters=12.4M", "good"),
        ("params>1M", "good"),
        ("speed>6.1k", "good"),
        ("step>1e3", "good"),
        ("elapsed>2h", "good"),
        ("elapsed<2h", ""),
        ("created<1d", "good"),
        ("created>1d created<1w", "failed"),
        ("created:2026-01-01", "bare"),
        ("created<=2026-01-01", "bare"),
        ("created<2026-01-01", ""),
        ("created>2026-01-01", "good failed"),
    ],
)
def test_what_a_filter_finds(runs: list[Run], text: str, names: str) -> None:
    assert found(runs, text) == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour:red", "'colour' is not a field. There are: status, tag, name,"),
        ("http://x", "Put a text with ':' into quotation marks."),
        ("status:dead", "'dead' is nothing that 'status' can be. There are: queued, preparing,"),
        ("status:", "'status:' lacks a value. Write it like status:failed,interrupted."),
        ("status<failed", "'status' cannot be compared by '<'."),
        ("tag>x", "'tag' cannot be compared by '>'. Write it like tag:lr-sweep."),
        ("loss<low", "'low' is not a number for 'loss'. Write it like loss<=3.2;"),
        ("loss<3.2.1", "'3.2.1' is not a number for 'loss'."),
        ("elapsed>2", "'2' is not a span of time for 'elapsed'. Write it like elapsed>2h,"),
        ("created>yesterday", "'yesterday' is no time for 'created'."),
        ("created>2026-02-30", "or with a day (UTC) like created>=2026-01-31."),
        ("x" * 1001, "longer than 1,000 characters"),
    ],
)
def test_what_cannot_be_understood_is_told_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_filter(text)
    assert told in str(raised.value)


def test_a_text_in_quotation_marks_is_no_field(runs: list[Run]) -> None:
    assert found(runs, '"loss<3"') == ""
    assert found(runs, "- wiki") == "good"


def test_of_a_filter_with_a_mistake_the_rest_counts(runs: list[Run]) -> None:
    understood, fault = read_filter("loss< wide colour:red")
    assert [run.run_id for run in runs if understood.matches(run)] == ["20260103-failed"]
    assert str(fault).startswith("'loss<' lacks a value.")


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("perplexty<100", "'perplexty' is not a field. Did you mean 'perplexity'?"),
        ("Statsu:failed", "'Statsu' is not a field. Did you mean 'status'?"),
        ("colour:red", "'colour' is not a field."),
    ],
)
def test_a_field_that_is_spelt_wrongly_is_guessed(term: str, words: str) -> None:
    _, fault = read_filter(term)
    assert fault is not None
    assert fault.message == words


def test_every_example_can_be_read() -> None:
    for field in FIELDS.values():
        parse_filter(field.example)
