"""The chosen points: where in a training a worker is killed or asked to stop.

All names of functions of the program that a point stands at are in this module. Most points are
in the case ``everything``: 30 steps of two micro-batches, 13 an epoch, an evaluation every 5 steps
and at the ends of epochs, a checkpoint every 2 steps and after each evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.victim import Deed, Fate

MICRO_BATCH = "trainer.engine.model:GPT.loss"
CLIP = "torch.nn.utils:clip_grad_norm_"
MOVE = "trainer.engine.optimizer:Optimizers.step"
RECORD = "trainer.engine.reporting:record_step"
DUE = "trainer.engine.milestones:evaluate_and_keep"
EVALUATE = "trainer.engine.evaluation:evaluate"
SCORE = "trainer.engine.evaluation:_score_batch"
EVALUATED = "trainer.engine.milestones:_record_evaluation"
SAMPLE = "trainer.engine.generation:sample"
TOKEN = "trainer.engine.continuation:Continuation.advance"
SAVE = "trainer.engine.milestones:save"
SERIALISE = "torch:save"
SYNC = "os:fsync"
PUBLISH = "os:replace"
LINK = "os:link"
REMOVE = "os:unlink"
LOAD = "trainer.engine.checkpoint:load"
RESTORE = "trainer.engine.setup:restore"
CUT = "trainer.store.recorder:Recorder.cut_after"
REHEARSE = "trainer.engine.rehearsal:measure"
READ_TEXT = "trainer.engine.corpus:load"
TRAIN_TOKENIZER = "trainer.engine.tokenization:Tokenizer.train"
TOKENIZE = "trainer.engine.tokenization:_write_split"
BUILD = "trainer.engine.setup:_build_model"
COUNT = "trainer.engine.cooccurrence:embedding"
CLOSE = "trainer.store.recorder:Recorder.close"
FOLD = "trainer.store.metrics:MetricsWriter.close"
GO_BACK = "trainer.engine.recovery:go_back"
CHECKPOINTS = "checkpoints/"


@dataclass(frozen=True)
class Point:
    """One way to interrupt a run: the fates of its lives one after the other, then it goes on."""

    name: str
    case: str
    fates: tuple[Fate, ...]
    in_short: bool = False
    settings: tuple[str, ...] = ()


def _at(function: str, *calls: int, deed: Deed = "kill", about: str = "") -> Iterator[Fate]:
    for call in calls:
        for after in (False, True):
            yield Fate(deed, function, call, after, about)


def name_of(fate: Fate) -> str:
    """Describe a fate in few words."""
    assert fate.function is not None
    where = f"{'after' if fate.after else 'before'} {fate.function.partition(':')[2]}"
    about = f" of {fate.about}" if fate.about else ""
    return f"{fate.deed} {where}{about} {fate.call}"


def _points() -> Iterator[Point]:
    everything = [
        *_at(MICRO_BATCH, 1, 2, 7, 8, 26, 27, 28, 59, 60),
        *_at(CLIP, 3, 13),
        *_at(MOVE, 1, 13, 14, 30),
        *_at(RECORD, 5, 13, 30),
        *_at(EVALUATE, 1, 3),
        *_at(EVALUATED, 1, 4),
        *_at(SAMPLE, 1, 3),
        *_at(TOKEN, 10, 11),
        *_at(SAVE, 3, 6),
        *_at(SERIALISE, 2, 4),
        *_at(SYNC, 1, 9, about=CHECKPOINTS),
        *_at(PUBLISH, 1, 2, 5, 6, about="/latest.pt"),
        *_at(PUBLISH, 1, 2, about="/best.pt"),
        *_at(PUBLISH, 1, 2, 3, 4, about="/epoch-"),
        *_at(LINK, 1, 2, about=CHECKPOINTS),
        *_at(REMOVE, 1, about="/epoch-1.pt"),
        *_at(MICRO_BATCH, 7, 8, 27, 60, deed="stop"),
        *_at(EVALUATE, 2, deed="stop"),
        *_at(SCORE, 5, deed="stop"),
        *_at(SAVE, 4, deed="stop"),
    ]
    for fate in everything:
        yield Point(name_of(fate), "everything", (fate,), in_short=fate in SHORT)
    for fate in (*_at(MICRO_BATCH, 15, 31, 32, 61), *_at(MICRO_BATCH, 30, deed="stop")):
        yield Point(f"growing context: {name_of(fate)}", "growing context", (fate,))
    # What follows the last best, or an epoch whose checkpoint is kept, comes only once.
    for fate in (*_at(PUBLISH, 3, 4, about="/best.pt"), *_at(PUBLISH, 1, 2, about="/epoch-1")):
        yield Point(f"growing worse: {name_of(fate)}", "growing worse", (fate,), fate in SHORT)
    for fate in (Fate("kill", EVALUATED, 3), Fate("kill", SAMPLE, 3, True)):
        yield Point(f"growing worse: {name_of(fate)}", "growing worse", (fate,))
    yield from _repeated()


def _repeated() -> Iterator[Point]:
    """Interruptions of a run that was interrupted before."""
    stop_evaluating = Fate("stop", SCORE, 5)
    for fate in (*_at(EVALUATED, 1), *_at(SAMPLE, 1), *_at(SERIALISE, 1), *_at(SAVE, 1)):
        name = f"stop evaluating, then {name_of(fate)}"
        yield Point(name, "everything", (stop_evaluating, fate), in_short=fate in SHORT)
    thrice = (Fate("kill", RECORD, 7), Fate("kill", MICRO_BATCH, 6), Fate("stop", RECORD, 9))
    yield Point("three in a row", "everything", thrice, in_short=True)
    for fate in (*_at(LOAD, 1), *_at(RESTORE, 1), *_at(CUT, 1), *_at(REHEARSE, 1)):
        name = f"killed, then {name_of(fate)}"
        yield Point(name, "everything", (Fate("kill", RECORD, 8), fate))
    gone_back = ("numbers_lost_once",)
    for fate in (*_at(RECORD, 25), *_at(GO_BACK, 1), *_at(RECORD, 34)):
        altered = Fate(fate.deed, fate.function, fate.call, fate.after, alterations=gone_back)
        yield Point(f"going back: {name_of(fate)}", "everything", (altered,))


SHORT = (
    Fate("kill", MICRO_BATCH, 8),
    Fate("kill", MICRO_BATCH, 27),
    Fate("kill", EVALUATED, 1),
    Fate("kill", SAMPLE, 3),
    Fate("kill", PUBLISH, 6, False, "/latest.pt"),
    Fate("kill", PUBLISH, 3, False, "/best.pt"),
    Fate("kill", SERIALISE, 1),
    Fate("stop", MICRO_BATCH, 8),
)
"""Fates that even the short tests try."""

POINTS = tuple(_points())
PREPARING = (
    Fate("kill", TOKENIZE, 2),
    *_at(READ_TEXT, 1),
    *_at(TRAIN_TOKENIZER, 1),
    *_at(TOKENIZE, 1, 3),
    *_at(PUBLISH, 1, about="data/tokens"),
    *_at(BUILD, 1),
    *_at(COUNT, 1),
    *_at(REHEARSE, 1),
)
FINISHING = (*_at(CLOSE, 1), *_at(FOLD, 1))
COMPILED = tuple(
    Point(f"compiled: {name_of(fate)}", "everything", (fate,), settings=("training.compile=on",))
    for fate in (
        Fate("kill", "trainer.engine.step:take_step", 1, True),
        Fate("kill", "trainer.engine.step:take_step", 15),
        Fate("kill", PUBLISH, 6, False, "/latest.pt"),
        Fate("stop", "trainer.engine.step:take_step", 23),
    )
)
