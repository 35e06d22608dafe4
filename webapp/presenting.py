"""What the pages show of runs: pure functions from records to words, rows and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from trainer import config as configuration
from trainer import formats
from trainer.config import SECTIONS, SETTINGS, Config, Setting
from trainer.queueing import place_words
from trainer.runs import Run, phase_words, progress_percent
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import ACTIVE, State, Status
from trainer.store.truth import NOTHING_SAVED

Tone = Literal["quiet", "busy", "active", "good", "warning", "bad"]


FORMATS: dict[str, Callable[[Any], str]] = {
    "count": formats.count,
    "duration": formats.duration,
    "learning_rate": formats.learning_rate,
    "loss": formats.loss,
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


STATUS_LOOKS: dict[Status, StatusLook] = {
    "queued": StatusLook("Queued", "busy", "Waiting until its device is free."),
    "preparing": StatusLook("Preparing", "busy", "Getting the text, tokenizer and model ready."),
    "running": StatusLook("Running", "active", "Training."),
    "stopping": StatusLook("Stopping", "warning", "Saving a checkpoint before it ends."),
    "stopped": StatusLook("Stopped", "quiet", "Ended on request; it can be resumed."),
    "completed": StatusLook("Completed", "good", "All of the planned training is done."),
    "failed": StatusLook("Failed", "bad", "It could not go on; the run page says why."),
    "interrupted": StatusLook(
        "Interrupted", "warning", "Its process is gone; the run page says why, and what to do."
    ),
}


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
    place = place_words(run.state.queue)
    return f"The run is queued, {place}. It starts by itself when its turn comes."


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
    Column("loss", "Training loss", "train_loss", number=True, help="Nats a token, last step."),
    Column(
        "val_loss", "Best val. loss", "val_loss", number=True, help="Nats a token on unseen text."
    ),
    Column(
        "perplexity",
        "Best perplexity",
        "perplexity",
        number=True,
        help="Per word, on unseen text.",
    ),
    Column("speed", "Speed", "speed", number=True, first_down=True, help="Tokens a second."),
    Column("device", "Device"),
    Column("time", "Time", "elapsed", number=True, help="Time left while it trains, else taken."),
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


@dataclass(frozen=True)
class ListView:
    """What the run list shows, as its address says it."""

    query: str = ""
    status: str = ""
    tag: str = ""
    sort: str = "-created"
    archived: bool = False
    cursor: str = ""
    show: tuple[str, ...] = ()

    @classmethod
    def from_query(cls, values: Mapping[str, Sequence[str]]) -> ListView:
        """Read the address; unknown columns are left out."""

        def last(name: str) -> str:
            return (values.get(name) or [""])[-1].strip()

        known = {column.key for column in COLUMNS}
        return cls(
            query=last("q"),
            status=last("status"),
            tag=last("tag"),
            sort=last("sort") or "-created",
            archived=last("archived") == "true",
            cursor=last("cursor"),
            show=tuple(key for key in values.get("show", ()) if key in known),
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
        } | changes
        pairs = [(name, value) for name, value in values.items() if value]
        return pairs + [("show", key) for key in self.show]

    def address(self, **changes: Any) -> str:
        """Return the address of this view with some of it changed, from its first page on."""
        query = urlencode(self.parameters(**{"cursor": "", **changes}))
        return f"/?{query}" if query else "/"

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
    key: Chart(key, title, text)
    for key, title, text in (
        ("loss", "Loss", "Nats a token: how surprised the model is by the next token."),
        ("learning_rate", "Learning rate", "How far each step moves the weights."),
        ("grad_norm", "Gradient norm", "Length of the gradient before it is clipped."),
        ("throughput", "Throughput", "Tokens trained on in a second."),
        ("perplexity", "Word perplexity", "Among how many words the model wavers, on unseen text."),
        ("gpu_utilization", "GPU use", "Share of time in which the GPU was busy."),
        ("gpu_memory", "GPU memory", "Memory in use on the GPU, by all programs."),
        ("gpu_temperature", "GPU temperature", "Of the chip, in degrees Celsius."),
        ("gpu_power", "GPU power", "Drawn by the whole card, in watts."),
        ("cpu", "Processor", "Load of all cores together."),
        ("memory", "Memory", "Main memory in use: by the whole machine, and by this run."),
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
        row = ConfigurationRow(setting, shown(value), shown(default), value != default)
        rows[setting.section].append(row)
    return rows


def shown(value: Any) -> str:
    """Write a setting's value for reading."""
    if value is None:
        return "empty"
    if isinstance(value, list | tuple):
        return ", ".join(f"“{item}”" for item in value) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def resume_sentence(state: State, config: Config, checkpoint: Checkpoint, more_epochs: int) -> str:
    """Say what will happen when a run is resumed from a checkpoint with more epochs."""
    epochs = (state.epochs or config.training.epochs) + more_epochs
    start = f"Goes on from step {checkpoint.step:,} (epoch {checkpoint.epoch})"
    target = _target_step(state, more_epochs)
    if target is None:
        return f"{start} to the end of epoch {epochs}."
    steps = target - checkpoint.step
    if steps <= 0 and state.status != "completed":
        return f"{start}, where all steps are done: runs the evaluation that was due."
    if steps <= 0:
        return f"{start}, where training is already complete: add epochs."
    sentence = f"{start} and trains {steps:,} more steps, to step {target:,}"
    seconds = _seconds_for(state, config, steps)
    sentence += f": about {formats.duration(seconds)} at the last speed." if seconds else "."
    if more_epochs and config.training.max_steps is not None:
        added = target - (state.total_steps or 0)
        sentence += f" This adds {added:,} steps: the run was limited by max_steps."
    dropped = (state.step or 0) - checkpoint.step
    if dropped > 0:
        sentence += f" The curve after step {checkpoint.step:,} is drawn anew."
    return sentence


def _target_step(state: State, more_epochs: int) -> int | None:
    if state.total_steps is None or state.steps_per_epoch is None:
        return state.total_steps if not more_epochs else None
    return state.total_steps + more_epochs * state.steps_per_epoch


def _seconds_for(state: State, config: Config, steps: int) -> float | None:
    training = config.training
    tokens = steps * training.batch_size * training.seq_length * training.grad_accum_steps
    return tokens / state.tokens_per_second if state.tokens_per_second else None


# ---------------------------------------------------------------------- the playground

MOST_PROMPT_SHOWN = 1200


def clipped(prompt: str, most: int = MOST_PROMPT_SHOWN) -> str:
    """Return the end of a prompt that is too long to be shown, and how much came before."""
    left_out = len(prompt) - most
    return prompt if left_out <= 0 else f"… {left_out:,} characters before {prompt[-most:]}"


# ---------------------------------------------------------------------- several runs


@dataclass(frozen=True)
class Cell:
    """One figure of one run; ``best`` marks the one that wins the row."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class FigureRow:
    """One figure of every compared run."""

    title: str
    cells: tuple[Cell, ...]


_FIGURES: tuple[tuple[str, str, Any, Literal["low", "high", ""]], ...] = (
    ("Best validation loss", "best_val_loss", formats.loss, "low"),
    ("Best word perplexity", "best_val_word_perplexity", formats.perplexity, "low"),
    ("Bits per byte", "val_bits_per_byte", formats.loss, "low"),
    ("Training loss", "train_loss", formats.loss, "low"),
    ("Speed", "tokens_per_second", formats.speed, "high"),
    ("Time taken", "elapsed_seconds", formats.duration, ""),
    ("Tokens seen", "tokens", formats.count, ""),
    ("Steps", "step", formats.count, ""),
    ("Parameters", "parameters", formats.count, ""),
)


def have_comparable_losses(configs: Sequence[Config]) -> bool:
    """Say whether runs were measured on the same text, in the same number of different tokens."""
    measured = {
        (data.dataset_name, data.dataset_config, data.text_column, data.held_out_fraction,
         data.vocab_size)
        for data in (config.data for config in configs)
    }  # fmt: skip
    return len(measured) <= 1


def figure_rows(runs: Sequence[Run], *, comparable: bool = True) -> list[FigureRow]:
    """Put the figures of several runs side by side and mark the best of each.

    Args:
        comparable: whether losses of these runs can be ranked; of the figures, only they are
            better when they are low.
    """
    return [
        FigureRow(
            title,
            _figure_cells(
                [getattr(run.state, key) for run in runs],
                write,
                better if comparable or better == "high" else "",
            ),
        )
        for title, key, write, better in _FIGURES
    ]


def _figure_cells(values: Sequence[Any], write: Any, better: str) -> tuple[Cell, ...]:
    known = [value for value in values if value is not None]
    pick = {"low": min, "high": max}.get(better)
    best = pick(known) if pick and len(set(known)) > 1 else None
    return tuple(Cell(write(value), best is not None and value == best) for value in values)


def different_settings(configs: Sequence[Config]) -> list[tuple[str, tuple[str, ...]]]:
    """List the settings in which several configurations are not all alike."""
    flat = [configuration.as_flat(configuration.resolved(config)) for config in configs]
    rows = ((key, [values[key] for values in flat]) for key in SETTINGS)
    return [
        (key, tuple(shown(value) for value in values))
        for key, values in rows
        if any(value != values[0] for value in values[1:])
    ]
