"""Text written by a trained model."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from trainer import formats
from trainer.cli.failures import INTERRUPTED_STATUS
from trainer.cli.options import checkpoint_option, command, run_id_option
from trainer.cli.output import faint, note, of_others, say
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.inference.request import FinishReason, GenerationSettings

if TYPE_CHECKING:
    from trainer.inference.client import Job

DOCUMENT = ("text", "tokens", "tokens_per_second", "seed", "finish_reason")
_ENDINGS: dict[FinishReason, str] = {
    "length": "as long as asked for",
    "end_of_text": "the text had ended",
    "stop": "met a stop text",
    "cancelled": "cancelled",
}


@command(
    "generate",
    "generate --run-id latest --prompt 'The history of'",
    "generate --run-id latest --prompt - --top-k 50 < opening.txt",
)
@run_id_option()
@click.option(
    "--prompt", metavar="TEXT", required=True, help="The beginning; '-' reads standard input."
)
@click.option("--max-new-tokens", type=int, metavar="N", help="Most tokens to write.")
@click.option("--temperature", type=float, metavar="X", help="0: always the likeliest token.")
@click.option("--top-k", type=int, metavar="N", help="Choose among the N likeliest tokens.")
@click.option("--top-p", type=float, metavar="X", help="Choose among tokens of this total share.")
@click.option("--min-p", type=float, metavar="X", help="Leave out tokens below X of the likeliest.")
@click.option("--repetition-penalty", type=float, metavar="X", help="Above 1: repeat less.")
@click.option("--seed", type=int, metavar="N", help="The same seed writes the same text again.")
@checkpoint_option
def generate_command(
    session: Session, run_id: str, prompt: str, checkpoint: str, **sampling: Any
) -> int:
    """Continue a text with a trained model.

    The text is shown as it is written; Ctrl+C ends it and keeps what came. A small model trained
    on a small corpus writes nonsense with style.
    """
    from trainer.inference.client import ModelProcess

    given = {name: value for name, value in sampling.items() if value is not None}
    settings = GenerationSettings.from_values({"prompt": read_prompt(prompt), **given})
    path = session.store.checkpoint_path(session.store.resolve(run_id), checkpoint)
    with ModelProcess() as model, model.generate(path, settings) as job:
        show = _shower(settings.prompt, session.json)
        with cancelled_by_ctrl_c(job) as cancelled:
            done = _written(job, show)
    _conclude(session, done)
    return INTERRUPTED_STATUS if cancelled.is_set() else 0


def read_prompt(given: str) -> str:
    """Return the prompt, read from standard input where it is ``-`` (without its last newline).

    Raises:
        UsageError: it is not text in UTF-8.
    """
    try:
        if given == "-":
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        given.encode("utf-8")
    except UnicodeError as error:
        raise UsageError("The prompt is not text in UTF-8.", "Give it in UTF-8.") from error
    return given


def _shower(prompt: str, silent: bool) -> Callable[[str], None]:
    """Return what shows text: as it is in a pipe; after its prompt, and made safe, on a screen."""
    if silent:
        return lambda _: None
    if sys.stdout.isatty():
        say(faint(of_others(prompt)), newline=False)
    return lambda text: say(of_others(text), newline=False)


@contextmanager
def cancelled_by_ctrl_c(job: Job) -> Iterator[Event]:
    """Let the first Ctrl+C cancel a job, so that all it has written still comes; a second ends.

    The event that is returned tells whether that has happened.
    """
    pressed = Event()

    def cancel(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        job.cancel()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _written(job: Job, show: Callable[[str], None]) -> dict[str, Any]:
    """Show text as it is written, and return the last event."""
    last: dict[str, Any] = {}
    for event in job:
        if event["type"] == "token":
            show(event["text"])
        last = event
    return last


def _conclude(session: Session, done: dict[str, Any]) -> None:
    session.report({name: done[name] for name in DOCUMENT}, [""])
    if not session.json:
        speed = formats.speed(done["tokens_per_second"])
        why = _ENDINGS[done["finish_reason"]]
        note(faint(f"{done['tokens']:,} tokens · {speed} · {why} · seed {done['seed']}"))
