"""The training loop on real English, in this process: points, evaluations, checkpoints, resume."""

from __future__ import annotations

import pytest

from tests.engine.bench import Bench, model_of, same
from tests.texts import write_text
from trainer import config as configuration
from trainer.engine import checkpoint
from trainer.engine.step import step_seed
from trainer.errors import CheckpointError, DataError
from trainer.store.files import replace_file


def test_a_run_learns_and_leaves_everything_behind(bench: Bench) -> None:
    run = bench.run("training.max_steps=null", "training.learning_rate=0.01")
    state = run.state
    assert run.status == "completed"
    assert state.step == state.total_steps == state.steps_per_epoch
    losses = bench.losses(run)
    assert len(losses) == state.total_steps
    assert sum(losses[-5:]) < sum(losses[:5])
    assert state.best_val_loss == state.val_loss
    assert state.val_word_perplexity is not None
    names = [found.name for found in bench.store.checkpoints(run.run_id)]
    assert names == ["latest", "best", "epoch-1"]
    with bench.store.metrics(run.run_id) as reader:
        assert [s["prompt"] for s in reader.samples()] == ["The"]
        assert len(reader.latest_evaluations()) == 1


def test_the_same_seed_gives_the_same_run_and_another_seed_another(bench: Bench) -> None:
    one, two = bench.run("model.dropout=0.1"), bench.run("model.dropout=0.1")
    other = bench.run("model.dropout=0.1", "training.seed=1")
    assert bench.losses(one) == bench.losses(two)
    assert same(model_of(one), model_of(two))
    assert bench.losses(one) != bench.losses(other)


@pytest.mark.parametrize("stop_at", [1, 5, 6, 11])
def test_a_resumed_run_is_the_uninterrupted_run(bench: Bench, stop_at: int) -> None:
    settings = ("model.dropout=0.2", "training.grad_accum_steps=2", "evaluation.every_steps=5")
    whole = bench.run(*settings)
    parts = bench.run(*settings, stop_at=stop_at)
    assert parts.status == "stopped"
    assert parts.state.step == stop_at
    latest = bench.store.checkpoints(parts.run_id)[0]
    # An evaluation that was due when it was stopped is made up for by the resume.
    assert (latest.step, latest.evaluated_step) == (stop_at, (stop_at - 1) // 5 * 5 or None)
    bench.train(parts, source="latest")
    assert bench.losses(parts) == bench.losses(whole)
    assert same(model_of(parts), model_of(whole))
    with (
        bench.store.metrics(parts.run_id) as reader,
        bench.store.metrics(whole.run_id) as expected,
    ):
        names = ("step", "val_loss", "val_word_perplexity")
        assert [[e[n] for n in names] for e in reader.latest_evaluations()] == [
            [e[n] for n in names] for e in expected.latest_evaluations()
        ]


@pytest.mark.parametrize("stop_at", [2, 4])
def test_a_context_that_grows_is_resumed_where_it_was(bench: Bench, stop_at: int) -> None:
    settings = ("training.seq_length=64", "training.max_steps=8", "training.context_ramp=0.5")
    whole = bench.run(*settings)
    parts = bench.run(*settings, stop_at=stop_at)
    bench.train(parts, source="latest")
    assert bench.points(parts) == bench.points(whole)
    assert same(model_of(parts), model_of(whole))
    never_cut = bench.run(*settings[:2], "training.context_ramp=0")
    assert bench.losses(never_cut)[0] != bench.losses(whole)[0]


def test_embeddings_begin_from_the_text_where_that_is_asked_for(bench: Bench) -> None:
    counted, random = (
        bench.run(f"model.embedding_init={how}", "training.max_steps=1", "training.epochs=1")
        for how in ("cooccurrence", "normal")
    )
    assert bench.losses(counted) != bench.losses(random)


def test_more_epochs_go_on_with_the_same_curve(bench: Bench) -> None:
    run = bench.run("training.max_steps=8")
    before = bench.losses(run)
    longer = configuration.replace(bench.store.config(run.run_id), training__max_steps=14)
    replace_file(run.paths.config, configuration.to_toml(longer).encode())
    bench.train(run, source="latest")
    after = bench.losses(run)
    assert after[:8] == before
    assert len(after) == 14
    with bench.store.metrics(run.run_id) as reader:
        rates = reader.series(["learning_rate"])["series"]["learning_rate"]["value"]
    highest = longer.training.learning_rate
    assert max(rates) <= highest
    assert rates[8] < highest / 2  # It begins where the old plan had ended, not at the top.


def test_going_back_to_an_epoch_cuts_what_lay_past_it(bench: Bench) -> None:
    small = write_text(bench.text.with_name("small.txt"), 12_000)
    bench.text = small
    run = bench.run("training.max_steps=null", "training.epochs=2")
    per_epoch = run.state.steps_per_epoch
    assert per_epoch is not None
    whole = bench.losses(run)
    assert checkpoint.load(run.paths.checkpoint("epoch-1"))["step"] == per_epoch
    bench.train(run, source="epoch-1", stop_at=per_epoch + 1)
    assert bench.losses(run) == whole[: per_epoch + 1]
    assert checkpoint.load(run.paths.checkpoint("latest"))["step"] == per_epoch + 1


def test_only_the_newest_epochs_are_kept(bench: Bench) -> None:
    bench.text = write_text(bench.text.with_name("small.txt"), 12_000)
    run = bench.run("training.max_steps=null", "training.epochs=3", "checkpoint.keep_last=2")
    names = {found.name for found in bench.store.checkpoints(run.run_id)}
    assert names == {"latest", "best", "epoch-2", "epoch-3"}


def test_a_checkpoint_every_few_steps(bench: Bench) -> None:
    run = bench.run("checkpoint.every_steps=5", "training.max_steps=7", stop_at=None)
    with bench.store.metrics(run.run_id) as reader:
        saved = [event["step"] for event in reader.events() if event["kind"] == "saved"]
    assert saved == [5, 7]


def test_deleted_token_files_are_made_again_for_a_resume(bench: Bench) -> None:
    run = bench.run(stop_at=4)
    for path in sorted(bench.store.workspace.data_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert bench.train(run, source="latest") == "completed"


def test_a_run_does_not_go_on_with_another_text(bench: Bench) -> None:
    run = bench.run(stop_at=4)
    for path in sorted(bench.store.workspace.data_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bench.text.write_text(bench.text.read_text()[::-1])
    with pytest.raises(DataError, match="not the one this run learned from"):
        bench.train(run, source="latest")


def test_a_checkpoint_of_another_size_does_not_fit(bench: Bench) -> None:
    run = bench.run(stop_at=4)
    wider = configuration.replace(bench.store.config(run.run_id), model__width=64)
    replace_file(run.paths.config, configuration.to_toml(wider).encode())
    with pytest.raises(CheckpointError, match="does not fit"):
        bench.train(run, source="latest")


@pytest.mark.parametrize("too_much", ["training.batch_size=60000", "training.seq_length=30000"])
def test_a_step_larger_than_the_text_is_refused_with_numbers(bench: Bench, too_much: str) -> None:
    with pytest.raises(DataError, match=too_much.replace("=", " ")):
        bench.run(too_much)


def test_seeds_of_steps_differ() -> None:
    seeds = {step_seed(seed, step) for seed in range(20) for step in range(200)}
    assert len(seeds) == 4000
    assert all(0 <= seed < 2**64 for seed in seeds)
