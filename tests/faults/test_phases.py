"""A worker killed before its first step or after its last leaves nothing that is in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.cases import case
from tests.faults.evidence import differences
from tests.faults.nursery import Nursery
from tests.faults.points import FINISHING, PREPARING, name_of
from tests.faults.trial import Trial
from tests.faults.victim import Fate
from trainer.errors import NotFoundError

Count = Callable[..., None]


def check_preparing(trial: Trial, fresh: Trial, fate: Fate, tally: Count) -> None:
    """Kill a worker that still prepares in an empty workspace, and train there anew."""
    config = case("everything", fresh.folder)
    killed = fresh.create(config, fate)
    run = fresh.ended(killed)
    assert run.status == "interrupted"
    assert run.state.error is not None
    assert "config.toml" in run.state.error.hint
    with pytest.raises(NotFoundError):
        fresh.resume(killed)
    again = fresh.completed(fresh.create(config))
    found = differences(again, trial.uninterrupted(case("everything", trial.folder)))
    tally("points", 1, int(not found), "; ".join(found))


@pytest.fixture
def fresh(nursery: Nursery, tmp_path: Path) -> Trial:
    """An empty workspace, in which no text was tokenized yet."""
    return Trial(nursery, tmp_path / "home")


@pytest.mark.parametrize("fate", PREPARING[:1], ids=name_of)
def test_a_worker_killed_while_it_tokenizes_leaves_nothing_in_the_way(
    trial: Trial, fresh: Trial, fate: Fate, tally: Count
) -> None:
    check_preparing(trial, fresh, fate, tally)


@pytest.mark.soak
@pytest.mark.parametrize("fate", PREPARING[1:], ids=name_of)
def test_a_worker_killed_while_it_prepares_leaves_nothing_in_the_way(
    trial: Trial, fresh: Trial, fate: Fate, tally: Count
) -> None:
    check_preparing(trial, fresh, fate, tally)


@pytest.mark.soak
def test_a_worker_killed_while_it_compiles_leaves_nothing_in_the_way(
    trial: Trial, tally: Count
) -> None:
    config = case("everything", trial.folder, "training.compile=on")
    killed = trial.create(config)
    run = trial.store.wait(killed, lambda run: run.state.phase == "compiling", 60)
    assert run.state.phase == "compiling"
    trial.life.kill()
    assert trial.ended(killed).status == "interrupted"
    found = differences(trial.completed(trial.create(config)), trial.uninterrupted(config))
    tally("points", 1, int(not found), "; ".join(found))


@pytest.mark.soak
@pytest.mark.parametrize("fate", FINISHING, ids=name_of)
def test_a_worker_killed_after_its_last_step_has_lost_nothing(
    trial: Trial, fate: Fate, tally: Count
) -> None:
    config = case("everything", trial.folder)
    run_id = trial.create(config, fate)
    if trial.ended(run_id).status == "interrupted":
        trial.resume(run_id)
    found = differences(trial.completed(run_id), trial.uninterrupted(config))
    tally("points", 1, int(not found), "; ".join(found))
