"""What a run measures before its first step, and what it tells of that."""

from __future__ import annotations

import re

import msgspec

from tests.engine.bench import Bench
from trainer.store.records import State


def test_a_run_tells_its_peak_and_what_its_pauses_will_cost(bench: Bench) -> None:
    run = bench.run()
    (peak,) = bench.events(run, "peak")
    assert re.fullmatch(r"Matrix products: \S+ [GT]FLOP/s in fp32 here\.", peak["message"])
    (rehearsed,) = bench.events(run, "rehearsed")
    expected = [float(seconds) for seconds in re.findall(r"([\d.]+) s", rehearsed["message"])]
    assert len(expected) == 4
    evaluation, keeping, save, writing = expected
    assert evaluation > 0.0
    assert keeping >= save
    assert writing > save


def test_the_state_holds_the_share_of_the_peak(bench: Bench) -> None:
    share = bench.run().state.utilisation
    assert share is not None
    assert 0.0 < share < 1.0


def test_a_run_without_prompts_or_with_a_short_validation_text_rehearses_too(bench: Bench) -> None:
    run = bench.run("evaluation.prompts=[]", "training.seq_length=512", "training.batch_size=1")
    assert run.status == "completed"


def test_a_state_written_before_there_was_a_utilisation_still_loads() -> None:
    old = b'{"run_id": "old", "created_at": "2026-01-02T03:04:05Z", "updated_at": "x"}'
    assert msgspec.json.decode(old, type=State).utilisation is None
