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
from trainer.cli.output import emphasis, faint, note, of_others, say
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.inference.request import FinishReason, GenerationSettings

if TYPE_CHECKING:
    from trainer.inference.client import Job

DOCUMENT = (
    "text",
    "tokens",
    "tokens_per_second",
    "seed",
    "finish_reason",
    "prompt_tokens",
    "prompt_tokens_read",
)
ON_REQUEST = ("logprobs", "continuations")
"""Only there where they were asked for."""

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
    "generate --run-id latest --prompt 'In 1990' --n 4 --stop '.'",
)
@run_id_option()
@click.option(
    "--prompt",
    metavar="TEXT",
    required=True,
    help="The beginning; '-' reads standard input. The model reads as much of its end as it can.",
)
@click.option("--max-new-tokens", type=int, metavar="N", help="Most tokens to write [200].")
@click.option("--temperature", type=float, metavar="X", help="0: always the likeliest token [0.8].")
@click.option("--top-k", type=int, metavar="N", help="Choose among the N likeliest tokens.")
@click.option("--top-p", type=float, metavar="X", help="Choose among tokens of this total share.")
@click.option("--min-p", type=float, metavar="X", help="Leave out tokens below X of the likeliest.")
@click.option("--repetition-penalty", type=float, metavar="X", help="Above 1: repeat less.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable.")
@click.option("--seed", type=int, metavar="N", help="The same seed writes the same text again.")
@click.option("--n", type=int, metavar="N", help="Write N texts, with seeds that count up.")
@click.option(
    "--logprobs",
    type=int,
    metavar="N",
    help="With --json: how likely each token was, and the N likeliest.",
)
@checkpoint_option
def generate_command(
    session: Session, run_id: str, prompt: str, checkpoint: str, **sampling: Any
) -> int:
    """Continue a text with a trained model.

    The text is shown as it is written; Ctrl+C ends it and keeps what came. A small model trained
    on a small corpus writes nonsense with style.
    """
    from trainer.inference.client import ModelProcess

    given = {name: value for name, value in sampling.items() if value not in (None, ())}
    settings = GenerationSettings.from_values({"prompt": read_prompt(prompt), **given})
    if settings.logprobs is not None and not session.json:
        raise UsageError("--logprobs is told as JSON only.", "Add --json.")
    path = session.store.checkpoint_path(session.store.resolve(run_id), checkpoint)
    with ModelProcess() as model, model.generate(path, settings) as job:
        show = _shower(settings, session.json)
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


def _shower(settings: GenerationSettings, silent: bool) -> Callable[[str], None]:
    """Return what shows text: as it is in a pipe; after its prompt, and made safe, on a screen."""
    if silent:
        return lambda _: None
    if settings.n > 1:
        say(_heading(1, settings.n))
    if sys.stdout.isatty():
        say(faint(of_others(settings.prompt)), newline=False)
    return lambda text: say(of_others(text), newline=False)


def _heading(number: int, count: int) -> str:
    return emphasis(f"[{number} of {count}]")


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
    asked = [name for name in ON_REQUEST if name in done]
    session.report({name: done[name] for name in (*DOCUMENT, *asked)}, [""])
    if done["prompt_tokens_read"] < done["prompt_tokens"]:
        note(
            f"The prompt has {done['prompt_tokens']:,} tokens; "
            f"the model read the last {done['prompt_tokens_read']:,}."
        )
    if not session.json:
        speed = formats.speed(done["tokens_per_second"])
        note(_facts(done, speed))
        _show_others(done.get("continuations", []))


def _show_others(continuations: list[dict[str, Any]]) -> None:
    """Show all texts but the first, which was shown as it was written."""
    for number, told in enumerate(continuations[1:], start=2):
        say(f"\n{_heading(number, len(continuations))}")
        say(of_others(told["text"]))
        note(_facts(told))


def _facts(told: dict[str, Any], *more: str) -> str:
    tokens, why = f"{told['tokens']:,} tokens", _ENDINGS[told["finish_reason"]]
    return faint(" · ".join([tokens, *more, why, f"seed {told['seed']}"]))
