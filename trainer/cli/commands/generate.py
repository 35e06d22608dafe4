"""Text written by a trained model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from trainer.cli.batch import Batch, cancelled_by_ctrl_c
from trainer.cli.failures import INTERRUPTED_STATUS
from trainer.cli.options import checkpoint_option, command, run_id_option
from trainer.cli.output import emphasis, faint, note, of_others, say, say_json
from trainer.cli.reading import (
    STANDARD_INPUT,
    Number,
    awaits_typing,
    file_text,
    option_text,
    piped_text,
)
from trainer.cli.session import Session
from trainer.errors import TrainerError, UsageError
from trainer.inference.request import GenerationSettings
from trainer.inference.telling import broken_off_words, report_words, unread_prompt_words

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
"""What is told of one prompt, with the prompt itself."""
OPTIONS = {
    name: "--" + name.replace("_", "-")
    for name in GenerationSettings.__struct_fields__
    if name != "n"
} | {"n": "--num-samples"}
"""What is typed for each setting."""
ON_REQUEST = ("logprobs", "continuations")
"""Only there where they were asked for."""


@command(
    "generate",
    "generate --run-id latest --prompt 'The history of'",
    "generate --run-id latest --num-samples 4 --stop . < opening.txt",
    "generate --run-id latest --prompts-file openings.txt --json",
)
@run_id_option()
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="The beginning; '-' reads standard input. Repeatable: one text each.",
)
@click.option(
    "--prompt-file",
    "prompt_files",
    multiple=True,
    metavar="FILE",
    help="A prompt from a file, all of it. Repeatable.",
)
@click.option(
    "--prompts-file",
    "prompts_files",
    multiple=True,
    metavar="FILE",
    help="Many prompts, one a line; empty lines are left out.",
)
@checkpoint_option
@click.option("--max-new-tokens", type=Number(), metavar="N", help="Most tokens to write [200].")
@click.option("--num-samples", "--n", "n", type=Number(), metavar="N", help="Texts a prompt [1].")
@click.option("--seed", type=Number(), metavar="N", help="The same seed writes the same again.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text. Repeatable.")
@click.option("--temperature", type=Number(), metavar="X", help="0: the likeliest token [0.8].")
@click.option(
    "--top-k", type=Number(), metavar="N", help="Choose among the N likeliest tokens; 0: all."
)
@click.option(
    "--top-p", type=Number(), metavar="X", help="Choose among tokens of this share; 1: all."
)
@click.option(
    "--min-p", type=Number(), metavar="X", help="Leave out tokens below X of the best; 0: none."
)
@click.option("--repetition-penalty", type=Number(), metavar="X", help="Above 1: repeat less.")
@click.option("--presence-penalty", type=Number(), metavar="X", help="Against tokens used before.")
@click.option("--frequency-penalty", type=Number(), metavar="X", help="The same, for each use.")
@click.option(
    "--logprobs",
    type=Number(),
    metavar="N",
    help="With --json: how likely each token was, and the N likeliest.",
)
def generate_command(
    session: Session,
    run_id: str,
    prompts: Sequence[str],
    prompt_files: Sequence[str],
    prompts_files: Sequence[str],
    checkpoint: str,
    **sampling: Any,
) -> int:
    """Continue a text with a trained model.

    The text is shown as it is written; Ctrl+C ends it and keeps what came. Without a prompt it
    is read from a pipe. Several prompts are written at the same time, each with the given seed.
    --json prints one document; of several prompts it has "results", one such document each. Where
    the model fails midway, the document has what came, and "error".

    A small model trained on a small corpus writes nonsense with style.
    """
    given = {name: value for name, value in sampling.items() if value not in (None, ())}
    if GenerationSettings.from_values(given, OPTIONS).logprobs is not None and not session.json:
        raise UsageError("--logprobs is told as JSON only.", "Add --json.")
    texts = read_prompts(prompts, prompt_files, prompts_files)
    found = session.store.resolve(run_id)
    path = session.store.checkpoint_path(found, checkpoint)
    requests = [
        GenerationSettings.from_values({"prompt": text, **given}, OPTIONS) for text in texts
    ]
    with (
        session.model() as model,
        Batch(lambda settings: model.generate(path, settings), requests) as batch,
        cancelled_by_ctrl_c(batch),
    ):
        answer = _Answer(len(requests), {"run_id": found, "checkpoint": checkpoint})
        with answer.told() if session.json else nullcontext():
            for result in _written(batch, requests, silent=session.json):
                answer.results.append(result)
    return INTERRUPTED_STATUS if batch.cancelled else 0


def read_prompts(
    prompts: Sequence[str], prompt_files: Sequence[str], prompts_files: Sequence[str]
) -> list[str]:
    """Return all prompts: options, then files, then lines of files, else from a pipe.

    Raises:
        UsageError: there is none, or one cannot be read.
    """
    if (*prompts, *prompt_files, *prompts_files).count(STANDARD_INPUT) > 1:
        raise UsageError("Standard input can be read only once.", "Give '-' once.")
    texts = [option_text(prompt) for prompt in prompts]
    texts += [file_text(name) for name in prompt_files]
    texts += [line for name in prompts_files for line in _lines(name)]
    return texts or [_piped_prompt()]


def _lines(name: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in file_text(name).split("\n") if line.strip()]
    if not lines:
        raise UsageError(f"There is no prompt in '{name}'.", "Write one a line.")
    return lines


def _piped_prompt() -> str:
    text = "" if awaits_typing() else piped_text()
    if not text:
        raise UsageError(
            "There is no prompt.",
            "For example: llm-trainer generate --run-id latest --prompt 'The history of'",
        )
    return text


# ------------------------------------------------------------------ what is shown


def _written(
    batch: Batch, requests: Sequence[GenerationSettings], *, silent: bool
) -> Iterator[dict[str, Any]]:
    """Show the texts in order, unless they are told as a document, and yield what each is told as.

    Raises:
        TrainerError: of the class that fits the failure.
    """
    for number, (job, settings) in enumerate(zip(batch.jobs(), requests, strict=False), start=1):
        of_several = f"prompt {number} of {len(requests)}" if len(requests) > 1 else ""
        text = _Text(job)
        try:
            begin = number == 1
            done = text.read() if silent else _show(text, settings, of_several, begin=begin)
        except TrainerError:
            if text.tokens:
                if not silent:
                    note(faint(broken_off_words(text.tokens, text.seed)))
                yield {"prompt": settings.prompt, **text.broken_off()}
            raise
        if unread := unread_prompt_words(done):
            note(unread)
        yield {"prompt": settings.prompt, **done}


class _Text:
    """The first text of a prompt as it comes, so that it is not lost where the model fails."""

    def __init__(self, job: Job) -> None:
        self._job, self.seed = job, job.seed
        self._parts: list[str] = []
        self.tokens = 0

    def read(self, show: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """Read it to its end, and return what is told of it then.

        Raises:
            TrainerError: of the class that fits the failure.
        """
        done: dict[str, Any] = {}
        for done in self._job:
            if done["type"] == "token" and done["row"] == 0:
                show(done["text"])
                self._parts.append(done["text"])
                self.tokens = done["tokens"]
        return done

    def broken_off(self) -> dict[str, Any]:
        """Tell of what came, as of a text that has ended."""
        told = {"text": "".join(self._parts), "tokens": self.tokens, "seed": self.seed}
        return told | {"finish_reason": "failed"}


def _show(
    text: _Text, settings: GenerationSettings, of_several: str, *, begin: bool
) -> dict[str, Any]:
    """Show the texts of one prompt: the first as it is written, the others when all are done."""
    _begin_text(settings, of_several, 1, begin=begin)
    try:
        done = text.read(lambda part: say(of_others(part), newline=False))
    finally:
        say()
    note(faint(report_words(done, done["tokens_per_second"])))
    for place, told in enumerate(done.get("continuations", [])[1:], start=2):
        _begin_text(settings, of_several, place, begin=False)
        say(of_others(told["text"]))
        note(faint(report_words(told)))
    return done


def _begin_text(settings: GenerationSettings, of_several: str, place: int, *, begin: bool) -> None:
    """Write the heading of one of several texts, and on a screen the prompt."""
    if not begin:
        say()
    of_samples = f"text {place} of {settings.n}" if settings.n > 1 else ""
    if heading := ", ".join(filter(None, (of_several, of_samples))):
        say(emphasis(f"[{heading}]"))
    if sys.stdout.isatty():
        say(faint(of_others(settings.prompt)), newline=False)


@dataclass
class _Answer:
    """What is told as JSON of all prompts: of those before a failure too."""

    asked: int
    model: Mapping[str, str]
    results: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Print the document at the end of the block, where there is anything to tell."""
        try:
            yield
        except TrainerError as error:
            self._tell(error=error.as_dict())
            raise
        self._tell()

    def _tell(self, **more: Any) -> None:
        if self.results:
            say_json({**_document(self.results, self.asked), **self.model, **more})


def _document(results: Sequence[Mapping[str, Any]], asked: int) -> dict[str, Any]:
    """Return what one prompt is told as; of several, one such document each."""
    names = (*DOCUMENT, "prompt", *ON_REQUEST)
    told = [{name: result[name] for name in names if name in result} for result in results]
    return told[0] if asked == 1 and told else {"results": told}
