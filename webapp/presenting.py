"""What the pages show of runs: pure functions from records to words, rows and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from trainer import config as configuration
from trainer import formats
from trainer.config import SECTIONS, SETTINGS, Config, Setting
from trainer.foresight.outlook import foreseen_rest
from trainer.runs import Run, phase_words, progress_percent, status_word, warning
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import ACTIVE, State, Status
from trainer.store.truth import NOTHING_SAVED
from webapp.guide import short
from webapp.planning import seconds_words

Tone = Literal["quiet", "busy", "active", "good", "warning", "bad"]


FORMATS: dict[str, Callable[[Any], str]] = {
    "count": formats.count,
    "dataset": formats.dataset,
    "duration": formats.duration,
    "learning_rate": formats.learning_rate,
    "loss": formats.loss,
    "name": lambda value: value or formats.ABSENT,
    "perplexity": formats.perplexity,
    "precision": lambda value: "fp32" if value == "off" else str(value or ""),
    "size": formats.size,
    "speed": formats.speed,
    "text": lambda value: str(value or ""),
}
"""The formats that a live value can have, by the name that its node carries."""


# ---------------------------------------------------------------------- status


@dataclass(frozen=True)
class StatusLook:
    """How a status is told: its word, the tone of its colour, and what it means."""

    word: str
    tone: Tone
    meaning: str


STATUS_LOOKS: dict[str, StatusLook] = {
    "queued": StatusLook("Queued", "busy", "Waiting until its device is free."),
    "preparing": StatusLook("Preparing", "busy", "Getting the text, tokenizer and model ready."),
    "running": StatusLook("Running", "active", "Training."),
    "stopping": StatusLook("Stopping", "warning", "Saving a checkpoint before it ends."),
    "paused": StatusLook("Paused", "warning", "Its process is held up; kill -CONT lets it go on."),
    "stopped": StatusLook("Stopped", "quiet", "Ended on request; it can be resumed."),
    "completed": StatusLook("Completed", "good", "All of the planned training is done."),
    "failed": StatusLook("Failed", "bad", "It could not go on; the run page says why."),
    "interrupted": StatusLook(
        "Interrupted", "warning", "Its process is gone; the run page says why, and what to do."
    ),
}


def status_look(run: Run) -> StatusLook:
    """Return how a run's status is told; one whose process is held up does not run."""
    return STATUS_LOOKS[status_word(run)]


def percent_done(state: State) -> float | None:
    """Return how much of the run is done, or of its present step while training has not begun."""
    whole = progress_percent(state)
    if whole is not None or state.progress is None:
        return whole
    return formats.percent(state.progress.done, state.progress.total)


def percent_words(percent: float | None) -> str:
    """Write a share of the work without pretending that it is all done before it is."""
    return "" if percent is None else f"{int(percent)} %"


def phase_sentence(state: State) -> str:
    """Say what the run is doing now, or that it is not doing anything any more."""
    return phase_words(state) if state.status in ACTIVE else STATUS_LOOKS[state.status].word


def steps_words(state: State) -> str:
    """Say which step of how many, and which epoch."""
    if state.step is None:
        return ""
    of = f" of {state.total_steps:,}" if state.total_steps else ""
    words = f"step {state.step:,}{of}"
    if state.epoch is None or not state.epochs:
        return words
    return f"{words} · epoch {state.epoch:,} of {state.epochs:,}"


def start_words(run: Run, started: str) -> str:
    """Confirm that a run was launched: it has started, or it waits."""
    if run.state.queue is None:
        return started
    return "The run is queued: it starts by itself when its turn comes."


def stop_words(run: Run) -> str:
    """Confirm a request to stop."""
    if run.active:
        return "The run is asked to stop: it saves a checkpoint first, then ends."
    return f"The run is {run.status}."


def time_cell(state: State) -> str:
    """Return time left while a run is active and known to end, and else how long it has taken."""
    if state.status in ACTIVE and state.eta_seconds is not None:
        return formats.time_left(state.eta_seconds)
    return formats.duration(state.elapsed_seconds)


def row_note(run: Run) -> tuple[str, str] | None:
    """Say in a few words, and in full, what a row has to tell beside the status."""
    seconds_left = None if run.stop is None else run.stop.seconds_left()
    if run.paused_pid is not None and run.status != "stopping":
        return f"kill -CONT {run.paused_pid} lets it go on", formats.paused(run.paused_pid)
    if run.status == "stopping" and seconds_left is not None:
        return formats.countdown_short(seconds_left), formats.countdown(seconds_left)
    cause = _cause(run)
    if run.trouble is not None or run.damage or cause is None:
        return warning(run) or _present_phase(run)
    return cause


def _cause(run: Run) -> tuple[str, str] | None:
    """Say why a run is silent, or why it ended before its end."""
    error = run.state.error
    if run.silent_seconds is not None:
        silent = run.silent_seconds
        return f"no word for {formats.duration(silent)}", formats.silence(silent)
    if run.active or error is None or error.kind == "store":
        return None
    return _short_cause(run.status, error.message), f"{error.message} {error.hint}".strip()


def _short_cause(status: Status, message: str) -> str:
    """Return how an error's message begins; of an interruption, why the process is gone."""
    first = message.splitlines()[0] if message else ""
    told = first.rpartition(": ")[2] if status == "interrupted" else first
    return told.rstrip(".")


def _present_phase(run: Run) -> tuple[str, str] | None:
    """Say what an active run does while it does not train."""
    phase = run.state.phase
    if not run.active or run.state.queue or phase in (None, "training", run.status):
        return None
    return phase, phase_words(run.state)


def next_step(run: Run, checkpoints: Sequence[Checkpoint]) -> str:
    """Say in a sentence what a person can do with a run that has ended."""
    if run.active:
        return ""
    if not checkpoints:
        return "There is no checkpoint, so it cannot be resumed: clone it to start again."
    if run.status == "completed":
        return "Generate text with it, or resume with more epochs."
    newest = checkpoints[0]
    return f"Resume to go on from {newest.name}.pt (step {newest.step:,})."


def first_checkpoint_words(config: Config | None) -> str:
    """Say of a run that has saved nothing yet when it will."""
    if config is None:
        return "None yet."
    evaluated, minutes = config.evaluation.every_steps, config.checkpoint.every_minutes
    steps = [step for step in (evaluated, config.checkpoint.every_steps) if step]
    moments = []
    if steps:
        first = min(steps)
        moments.append(f"at step {first:,}" + (" (evaluation)" if first == evaluated else ""))
    if minutes:
        moments.append(f"after {minutes:g} min")
    moments.append("at the end of the first epoch")
    return (
        f"None yet. The first is saved {', '.join(moments)} or when the run is stopped, "
        "whichever comes first."
    )


def hint_words(state: State) -> str:
    """Return what to do about an error, but for what :func:`next_step` says better: to clone."""
    hint = state.error.hint if state.error else ""
    return hint.partition(NOTHING_SAVED)[0].strip()


# ---------------------------------------------------------------------- the list


@dataclass(frozen=True)
class Column:
    """One column of the run table; ``sort`` is its key in the store's sorts."""

    key: str
    title: str
    sort: str | None = None
    number: bool = False
    first_down: bool = False
    help: str = ""


COLUMNS: tuple[Column, ...] = (
    Column("name", "Name", "name"),
    Column("status", "Status", "status"),
    Column("loss", "Training loss", "train_loss", number=True, help=short("train_loss")),
    Column("val_loss", "Best val. loss", "val_loss", number=True, help=short("val_loss")),
    Column(
        "perplexity",
        "Best perplexity",
        "perplexity",
        number=True,
        help=short("perplexity"),
    ),
    Column("speed", "Speed", "speed", number=True, first_down=True, help=short("throughput")),
    Column("device", "Device"),
    Column("time", "Time", "elapsed", number=True, help=short("time")),
    Column("created", "Started", "created", number=True, first_down=True),
)
ALWAYS_SHOWN = ("name", "status")
STATUS_FILTERS: tuple[tuple[str, str], ...] = (
    ("", "All"),
    ("active", "Active"),
    ("completed", "Completed"),
    ("stopped", "Stopped"),
    ("failed", "Failed"),
    ("interrupted", "Interrupted"),
)


ROWS_A_PAGE = 100
MOST_ROWS = 1000
"""Rows that a page shows at first, and at most, by a hundred more at a time."""


@dataclass(frozen=True)
class ListView:
    """What the run list shows, as its address says it."""

    query: str = ""
    status: str = ""
    tag: str = ""
    sort: str = "-created"
    archived: bool = False
    cursor: str = ""
    rows: int = ROWS_A_PAGE
    show: tuple[str, ...] = ()

    @classmethod
    def from_query(
        cls, values: Mapping[str, Sequence[str]], chosen_before: Sequence[str] = ()
    ) -> ListView:
        """Read the address; unknown columns are left out.

        Args:
            chosen_before: the columns of an address that names none.
        """

        def last(name: str) -> str:
            return (values.get(name) or [""])[-1].strip()

        return cls(
            query=last("q"),
            status=last("status"),
            tag=last("tag"),
            sort=last("sort") or "-created",
            archived=last("archived") == "true",
            cursor=last("cursor"),
            rows=_rows(last("rows")),
            show=_chosen_columns(values.get("show"), chosen_before),
        )

    @property
    def filtered(self) -> bool:
        return bool(self.query or self.status or self.tag)

    def parameters(self, **changes: Any) -> list[tuple[str, str]]:
        """Return the address as pairs, with some of it changed; what is as usual is left out."""
        values = {
            "q": self.query,
            "status": self.status,
            "tag": self.tag,
            "sort": "" if self.sort == "-created" else self.sort,
            "archived": "true" if self.archived else "",
            "cursor": self.cursor,
            "rows": "" if self.rows == ROWS_A_PAGE else str(self.rows),
        } | changes
        pairs = [(name, value) for name, value in values.items() if value]
        return pairs + [("show", key) for key in self.show]

    def address(self, **changes: Any) -> str:
        """Return the address of this view with some of it changed, from its first page on."""
        query = urlencode(self.parameters(**{"cursor": "", "rows": "", **changes}))
        return f"/?{query}" if query else "/"

    @property
    def here(self) -> str:
        """The address of this very view, with all of its rows."""
        return self.address(cursor=self.cursor, rows=dict(self.parameters()).get("rows", ""))

    @property
    def more_rows(self) -> int | None:
        """How many rows a page with more of them has; None when it has as many as it can."""
        more = self.rows + ROWS_A_PAGE
        return more if more <= MOST_ROWS else None

    def shows(self, key: str) -> bool:
        return not self.show or key in self.show or key in ALWAYS_SHOWN

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column for column in COLUMNS if self.shows(column.key))

    def sorted_by(self, column: Column) -> Literal["ascending", "descending", "none"]:
        """Return the value of ``aria-sort``."""
        if column.sort is None or self.sort.removeprefix("-") != column.sort:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    def sort_address(self, column: Column) -> str:
        """Return where a click on the column's head leads: sorted by it, then turned round."""
        turned = {"ascending": f"-{column.sort}", "descending": str(column.sort)}
        first = f"-{column.sort}" if column.first_down else str(column.sort)
        target = turned.get(self.sorted_by(column), first)
        return self.address(sort="" if target == "-created" else target)


def _chosen_columns(given: Sequence[str] | None, before: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to show; none named means all, and the name alone stands for none."""
    keys = [column.key for column in COLUMNS]
    chosen = tuple(key for key in (before if given is None else given) if key in keys)
    if not set(keys) - set(chosen) - set(ALWAYS_SHOWN):
        return ()
    return chosen or (() if given is None else ("name",))


def _rows(text: str) -> int:
    """Read a number of rows; another than the page offers is rounded up to one it does."""
    wanted = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else ROWS_A_PAGE
    hundreds = -(-wanted // ROWS_A_PAGE) * ROWS_A_PAGE
    return min(MOST_ROWS, max(ROWS_A_PAGE, hundreds))


def tags_of(runs: Iterable[Run]) -> list[str]:
    """List every tag once, in alphabetical order."""
    return sorted({tag for run in runs for tag in run.annotations.tags})


# ---------------------------------------------------------------------- pictures without scripts


def sparkline(points: Sequence[tuple[int, float]], width: int = 88, height: int = 22) -> str:
    """Return the ``points`` of an SVG polyline that fills a box, with room for its stroke.

    Args:
        points: steps and values, by step.
    """
    if len(points) < 2:
        return ""
    steps, values = zip(*points, strict=True)
    return _points(steps, values, width, height, margin=1.5)


def sparkline_data(points: Sequence[tuple[int, float]]) -> str:
    """Write the points for the scripts, which draw the line on: ``1:8.52 20:7.31``."""
    return " ".join(f"{step}:{value:.4g}" for step, value in points)


@dataclass(frozen=True)
class LossPicture:
    """The loss curves as polylines of a drawing, for a page without scripts."""

    width: int
    height: int
    train: str
    validation: str
    highest: float
    lowest: float
    last_step: int


def loss_picture(
    series: Mapping[str, Any], width: int = 960, height: int = 260
) -> LossPicture | None:
    """Draw training and validation loss over the same axes; None before there are two points."""
    train, validation = series["train_loss"], series["val_loss"]
    values = [*train["value"], *validation["value"]]
    if len(train["value"]) < 2:
        return None
    steps = (train["step"][0], max([*train["step"][-1:], *validation["step"][-1:]]))
    bounds = (min(values), max(values))

    def line(columns: Mapping[str, Any]) -> str:
        return _points(
            columns["step"], columns["value"], width, height, x_bounds=steps, y_bounds=bounds
        )

    return LossPicture(width, height, line(train), line(validation), bounds[1], bounds[0], steps[1])


def _points(
    xs: Sequence[float],
    ys: Sequence[float],
    width: int,
    height: int,
    *,
    margin: float = 2.0,
    x_bounds: tuple[float, float] | None = None,
    y_bounds: tuple[float, float] | None = None,
) -> str:
    left, right = x_bounds or (xs[0], xs[-1])
    low, high = y_bounds or (min(ys), max(ys))
    across, up = (right - left) or 1, (high - low) or 1

    def place(x: float, y: float) -> str:
        column = margin + (x - left) / across * (width - 2 * margin)
        row = margin + (high - y) / up * (height - 2 * margin)
        return f"{column:.1f},{row:.1f}"

    return " ".join(place(x, y) for x, y in zip(xs, ys, strict=True))


# ---------------------------------------------------------------------- one run


@dataclass(frozen=True)
class Chart:
    """One chart of the run page; the scripts know by its key what it draws."""

    key: str
    title: str
    help: str


CHARTS: dict[str, Chart] = {
    key: Chart(key, title, short(key))
    for key, title in (
        ("loss", "Loss"),
        ("learning_rate", "Learning rate"),
        ("grad_norm", "Gradient norm"),
        ("throughput", "Throughput"),
        ("perplexity", "Word perplexity"),
        ("gpu_utilization", "GPU use"),
        ("gpu_memory", "GPU memory"),
        ("gpu_temperature", "GPU temperature"),
        ("gpu_power", "GPU power"),
        ("cpu", "Processor"),
        ("memory", "Memory"),
    )
}


@dataclass(frozen=True)
class Moment:
    """What the model wrote at one evaluation."""

    step: int
    epoch: float | None
    val_loss: float | None
    texts: tuple[tuple[str, str], ...]


def moments(
    samples: Iterable[Mapping[str, Any]], evaluations: Iterable[Mapping[str, Any]]
) -> list[Moment]:
    """Group the continuations of the fixed prompts by the step at which they were written."""
    judged = {row["step"]: row for row in evaluations}
    written: dict[int, list[tuple[str, str]]] = {}
    for sample in samples:
        written.setdefault(sample["step"], []).append((sample["prompt"], sample["text"]))
    return [
        Moment(
            step=step,
            epoch=judged.get(step, {}).get("epoch"),
            val_loss=judged.get(step, {}).get("val_loss"),
            texts=tuple(texts),
        )
        for step, texts in sorted(written.items())
    ]


def moment_words(moment: Moment) -> str:
    """Say when something was written, and how good the model was then."""
    words = f"Step {moment.step:,}"
    if moment.epoch is not None:
        words += f" · epoch {moment.epoch:.2f}"
    if moment.val_loss is not None:
        words += f" · validation loss {formats.loss(moment.val_loss)}"
    return words


def log_parts(line: str) -> tuple[str, str]:
    """Cut a line of the log into the moment when it was written, or nothing, and the rest."""
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?= )", line)
    return (found[0], line[found.end() :]) if found else ("", line)


def event_words(message: str) -> str:
    """Return what an event tells, its exact seconds as people say them; the log keeps those."""
    return re.sub(r"\b(\d+\.\d{3}) s\b", lambda found: _about(float(found[1])), message)


def _about(seconds: float) -> str:
    return "less than a second" if seconds < 1 else formats.duration(seconds)


def log_level(line: str) -> Literal["info", "warning", "error"]:
    """Tell the level of a line of the log: its second word."""
    words = line.split(" ", 2)
    word = words[1] if len(words) > 1 else ""
    if word == "WARNING":
        return "warning"
    return "error" if word in ("ERROR", "CRITICAL") else "info"


@dataclass(frozen=True)
class ConfigurationRow:
    """One setting of a run beside its default."""

    setting: Setting
    value: str
    default: str
    changed: bool


def configuration_rows(config: Config) -> dict[str, list[ConfigurationRow]]:
    """List every setting by section, and mark those that differ from the default."""
    values = configuration.as_flat(configuration.resolved(config))
    defaults = configuration.as_flat(configuration.resolved(Config()))
    rows: dict[str, list[ConfigurationRow]] = {section: [] for section in SECTIONS}
    for key, setting in SETTINGS.items():
        value, default = values[key], defaults[key]
        row = ConfigurationRow(
            setting, shown(setting, value), shown(setting, default), value != default
        )
        rows[setting.section].append(row)
    return rows


def shown(setting: Setting, value: Any) -> str:
    """Write a setting's value for reading; an empty one as what that means."""
    if value is None:
        return setting.empty or "empty"
    if isinstance(value, list | tuple):
        return ", ".join(f"“{item}”" for item in value) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def resume_sentence(
    state: State, config: Config | None, checkpoint: Checkpoint, more_epochs: int
) -> str:
    """Say what will happen when a run is resumed from a checkpoint with more epochs.

    Args:
        config: None where it is damaged; the checkpoint holds another copy.
    """
    start = f"Goes on from step {checkpoint.step:,} (epoch {checkpoint.epoch})"
    if config is None:
        return f"{start}, with the configuration that the checkpoint holds."
    epochs = (state.epochs or config.training.epochs) + more_epochs
    target = _target_step(state, more_epochs)
    if target is None:
        return f"{start} to the end of epoch {epochs}."
    steps = target - checkpoint.step
    if steps <= 0 and state.status != "completed":
        return f"{start}, where all steps are done: runs the evaluation that was due."
    if steps <= 0:
        return f"{start}, where training is already complete: add epochs."
    sentence = f"{start} and trains {steps:,} more steps, to step {target:,}"
    time = foreseen_rest(steps, state.step or 0, state.elapsed_seconds or 0.0)
    sentence += f": {seconds_words(time)}, {time.basis}." if time.known else "."
    if more_epochs and (share := _share_planned(state, config)) is not None:
        passes = share + more_epochs
        sentence += f" That is {passes:.3g} passes over the text in all, not {epochs}."
    dropped = (state.step or 0) - checkpoint.step
    if dropped > 0:
        sentence += f" The curve after step {checkpoint.step:,} is drawn anew."
    if more_epochs and _rate_has_fallen(state, config):
        sentence += (
            " The learning rate warms up again from where it stood: the loss rises for a while "
            "before it falls."
        )
    return sentence


def _target_step(state: State, more_epochs: int) -> int | None:
    if state.total_steps is None or state.steps_per_epoch is None:
        return state.total_steps if not more_epochs else None
    return state.total_steps + more_epochs * state.steps_per_epoch


def _share_planned(state: State, config: Config) -> float | None:
    """Return how many passes were planned where max_steps had cut them short, else None."""
    if not state.total_steps or not state.steps_per_epoch:
        return None
    share = state.total_steps / state.steps_per_epoch
    return share if share < (state.epochs or config.training.epochs) else None


def _rate_has_fallen(state: State, config: Config) -> bool:
    return state.learning_rate is None or state.learning_rate < config.training.learning_rate


def plan_to_extend(state: State, config: Config) -> str:
    """Say what added epochs are added to: the planned epochs, or where max_steps ended them."""
    epochs = formats.plural(state.epochs or config.training.epochs, "epoch")
    share = _share_planned(state, config)
    if share is None:
        return f"Added to the plan of {epochs}."
    return (
        f"Added to step {state.total_steps:,}, where max_steps ends the plan of {epochs} "
        f"after {share:.2g}."
    )


# ---------------------------------------------------------------------- the playground

MOST_PROMPT_SHOWN = 1200


def clipped(prompt: str, most: int = MOST_PROMPT_SHOWN) -> str:
    """Return the end of a prompt that is too long to be shown, and how much came before."""
    left_out = len(prompt) - most
    return prompt if left_out <= 0 else f"… {left_out:,} characters before {prompt[-most:]}"


# ---------------------------------------------------------------------- where a new run begins


@dataclass(frozen=True)
class PresetCard:
    """A shipped configuration as a new run may begin with it; its words are the file's own."""

    name: str
    title: str
    first: str
    more: str


_PRESET_TITLES = {
    "quickstart": "Quickstart",
    "cpu-hour": "CPU hour",
    "default": "Default",
    "gpu": "GPU",
    "best": "Best",
}


def preset_cards() -> list[PresetCard]:
    """Return the shipped configurations, from the quickest on; ones of other names follow."""
    shipped = configuration.shipped_configs()
    names = [name for name in _PRESET_TITLES if name in shipped]
    names += [name for name in shipped if name not in _PRESET_TITLES]
    return [_preset_card(name, configuration.opening_words(shipped[name])) for name in names]


def _preset_card(name: str, words: str) -> PresetCard:
    first, stop, more = words.partition(". ")
    title = _PRESET_TITLES.get(name) or name.replace("-", " ").capitalize()
    return PresetCard(name, title, f"{first}." if stop else first, more)
