"""What a configuration amounts to, before it is started: what is certain, and what is foreseen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer import config as configuration
from trainer import formats
from trainer.choosing import Choice, Device
from trainer.config import Config, ModelShape, model_shape
from trainer.foresight import workload
from trainer.foresight.outlook import Foreseen, Outlook
from trainer.notify.notification import URL_VARIABLE
from webapp.forms import RunForm, short_of_preset
from webapp.trials import Trial

Tone = Literal["quiet", "warning", "bad"]


@dataclass(frozen=True)
class RunPlan:
    """What a configuration makes, for certain."""

    config: Config
    name: str = ""
    tags: Sequence[str] = field(default_factory=tuple)
    now_anyway: bool = False

    @property
    def shape(self) -> ModelShape:
        return model_shape(self.config.model)

    @property
    def parameters(self) -> int:
        return self.shape.parameters(self.config.data.vocab_size)

    @property
    def tokens_per_step(self) -> int:
        return workload.tokens_per_step(self.config.training)

    @property
    def length(self) -> str:
        """Say how long training lasts, in the words of the settings."""
        training = self.config.training
        passes = f"{training.epochs:,} {'pass' if training.epochs == 1 else 'passes'}"
        if training.max_steps is None:
            return f"{passes} over the text"
        most = training.max_steps * self.tokens_per_step
        return f"at most {training.max_steps:,} steps ({formats.count(most)} tokens)"

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments that start the same run from a terminal."""
        words = ["llm-trainer", "train"]
        bare = configuration.bare_of_secrets(self.config)
        for option in configuration.command_options(short_of_preset(bare)):
            words += ["--set", option]
        if self.name:
            words += ["--name", self.name]
        for tag in self.tags:
            words += ["--tag", tag]
        return (*words, "--now-anyway") if self.now_anyway else tuple(words)

    @property
    def command_line(self) -> str:
        """The same as a line for a shell, one option a line."""
        words = [shlex.quote(word) for word in self.command]
        pairs = [" ".join(words[i : i + 2]) for i in range(2, len(words), 2)]
        return " \\\n  ".join([" ".join(words[:2]), *pairs])

    @property
    def toml(self) -> str:
        return configuration.to_toml(configuration.bare_of_secrets(self.config), comments=False)

    @property
    def left_out(self) -> str:
        """Say which secret is neither in the command nor in the file, and where it goes."""
        if self.config.notify.url is None:
            return ""
        return (
            "The webhook's address is left out here and in the file below: "
            f"set {URL_VARIABLE}, or add notify.url yourself."
        )


def plan_of(form: RunForm) -> RunPlan | None:
    """Return what a form makes, or None while something in it is wrong."""
    if form.config is None:
        return None
    return RunPlan(form.config, form.name, form.tag_list, form.now_anyway)


@dataclass(frozen=True)
class Note:
    """A remark at a field that is not a mistake of the form's own."""

    text: str
    tone: Tone = "quiet"


@dataclass(frozen=True)
class Line:
    """One foreseen figure: its value in words, where it is from, and whether it was measured."""

    title: str
    value: str
    basis: str
    measured: bool = False
    run_id: str | None = None

    @property
    def known(self) -> bool:
        return self.value != NOT_KNOWN


NOT_KNOWN = "not known yet"


@dataclass(frozen=True)
class Prospect:
    """All that is shown before a run is started.

    Attributes:
        plan: None while something in the form is wrong.
        lines: steps, time and memory.
        notes: remarks by the key of their field.
        trial: the trying out of this very configuration, under way or over.
        other_trial: another configuration is being tried out.
        busy: the run that trains meanwhile and would be slowed, by its title.
    """

    plan: RunPlan | None
    lines: tuple[Line, ...] = ()
    notes: dict[str, Note] = field(default_factory=dict)
    trial: Trial | None = None
    other_trial: bool = False
    busy: str | None = None

    @property
    def told(self) -> str:
        """What a screen reader says when the form has changed."""
        if self.plan is None:
            return ""
        time = next((line for line in self.lines if line.title == "Duration"), None)
        words = f"{formats.count(self.plan.parameters)} parameters"
        return f"{words}, {time.value}" if time is not None and time.known else words


# ---------------------------------------------------------------------- figures in words


def foreseen_lines(outlook: Outlook) -> tuple[Line, ...]:
    """Write what earlier runs let foresee."""
    return (
        _line("Steps", outlook.steps, steps_words),
        _line("Duration", outlook.seconds, seconds_words),
        _line("Memory", outlook.memory_bytes, lambda found: f"about {formats.size(found.middle)}"),
    )


def _line(title: str, found: Foreseen, write: Any) -> Line:
    if not found.known:
        return Line(title, NOT_KNOWN, found.basis)
    return Line(title, write(found), found.basis, run_id=found.run_id)


def steps_words(found: Foreseen) -> str:
    """Write ``1,878``, ``at most 3,900`` or ``about 1,240``."""
    low, high = round(found.low or 0), round(found.high or 0)
    if low == high:
        return f"at most {high:,}" if found.at_most else f"{high:,}"
    return f"about {round_to(found.middle, 3):,}"


def seconds_words(found: Foreseen) -> str:
    """Write ``36 to 66 min`` as ``about 36 min to 1 h 6 min``, no finer than it is known."""
    low, high = (formats.duration(round_to(x or 0.0, 2)) for x in (found.low, found.high))
    if found.at_most:
        return f"at most {high}"
    return f"about {low}" if low == high else f"about {low} to {high}"


def round_to(value: float, digits: int) -> int:
    """Round to so many significant digits: a guess is not known to the second."""
    if value < 1:
        return round(value)
    factor: int = 10 ** max(0, math.floor(math.log10(value)) + 1 - digits)
    return round(value / factor) * factor


def measured_lines(found: dict[str, Any]) -> tuple[Line, ...]:
    """Write what a trial on this machine has found; see :mod:`trainer.engine.estimate`."""
    on = f"tried out on {found['device_name']}"
    speed = formats.speed(found["tokens_per_second"])
    training = formats.duration(found["tokens"] / found["tokens_per_second"])
    return (
        Line("Steps", f"{found['steps']:,}", f"{found['dataset']}, counted", True),
        Line(
            "Duration",
            f"about {formats.duration(found['estimated_seconds'])}",
            f"{on}: {training} of steps at {speed}, and evaluations, samples and saving",
            True,
        ),
        Line("Memory", f"about {formats.size(found['estimated_memory_bytes'])}", on, True),
    )


# ---------------------------------------------------------------------- remarks at fields


def device_note(choice: Choice, here: Sequence[Device]) -> Note:
    """Say which device would be taken, or that the wish means none of those that are here."""
    if choice.fell_back:
        there = ", ".join(f"{device.id} ({device.name})" for device in here)
        words = f"{choice.reason[:1].upper()}{choice.reason[1:]}"
        return Note(f"{words} Here is: {there}.", "warning")
    name = choice.device if choice.name == choice.device else f"{choice.name} ({choice.device})"
    return Note(f"Takes {name}: {choice.reason}")
