"""The configuration: one schema from which the files, the options, the form and the docs are made.

A :class:`Config` is built from layers, later ones winning: the defaults below, a TOML file, then
``section.key=value`` pairs. Every fault of every layer is collected and refused in one message.
This module imports neither torch nor datasets.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from trainer.assets import asset_dir
from trainer.errors import ConfigurationError, Fault, UsageError
from trainer.notify import hook_address

Precision = Literal["auto", "off", "fp16", "bf16"]
CompileMode = Literal["auto", "on", "off"]
Preset = Literal["tiny", "small", "medium"]
End = Literal["completed", "failed", "interrupted", "stopped"]

NULL_WORDS = frozenset({"null", "none"})
"""Bare words that clear a setting which may be empty (TOML itself has no null)."""

OR_NULL = " (or null)"
"""How a message says that a setting may be empty, where it is written as TOML."""


def _basic(text: str, *, empty: str = "", **limits: Any) -> Meta:
    """Describe a setting that the short forms show first; see :func:`_described`."""
    return Meta(description=text, extra={"basic": True, "empty": empty}, **limits)


def _described(text: str, *, empty: str = "", **limits: Any) -> Meta:
    """Describe a setting, and what it means to leave it empty where that is possible."""
    return Meta(description=text, extra={"empty": empty}, **limits)


def _secret(text: str, *, empty: str) -> Meta:
    """Describe a setting that is stored, and shown to nobody in full."""
    return Meta(description=text, extra={"empty": empty, "secret": True})


class DataSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn from."""

    dataset_name: Annotated[
        str,
        _basic(
            "What to train on: wikitext-2, wikitext-2-v1, wikitext-103, python-docs, a hub id "
            "owner/name, or a path to a text file, a glob or a folder.",
            min_length=1,
        ),
    ] = "wikitext-2"
    dataset_config: Annotated[
        str | None,
        _described(
            "Which configuration of the dataset, where it has several.", empty="the only one"
        ),
    ] = None
    fallback: Annotated[
        Literal["python-docs"] | None,
        _described("What to train on instead when the hub does not answer.", empty="fail"),
    ] = None
    text_column: Annotated[
        str, _described("Column that holds the text in a dataset of rows.", min_length=1)
    ] = "text"
    held_out_fraction: Annotated[
        float,
        _described(
            "Share of the text kept for validation, and as much again for the test, where the "
            "dataset has no such splits of its own.",
            ge=0.001,
            le=0.4,
        ),
    ] = 0.05
    vocab_size: Annotated[
        int,
        _described(
            "Entries of the byte-level BPE vocabulary trained on the text.", ge=257, le=65536
        ),
    ] = 8192


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of the network. Sizes left empty come from the preset."""

    preset: Annotated[
        Preset,
        _basic("Size of the model: tiny 4 x 256, small 6 x 384, medium 8 x 512 (layers x width)."),
    ] = "tiny"
    layers: Annotated[
        int | None, _described("Number of decoder blocks.", empty="the preset's", ge=1, le=128)
    ] = None
    width: Annotated[
        int | None,
        _described("Size of the residual stream.", empty="the preset's", ge=8, le=16384),
    ] = None
    heads: Annotated[
        int | None, _described("Attention heads.", empty="the preset's", ge=1, le=256)
    ] = None
    kv_heads: Annotated[
        int | None,
        _described(
            "Key and value heads shared by groups of heads.", empty="one a head", ge=1, le=256
        ),
    ] = None
    hidden: Annotated[
        int | None,
        _described("Inner size of the SwiGLU block.", empty="8/3 of the width", ge=8, le=65536),
    ] = None
    dropout: Annotated[
        float,
        _described("Share of activations dropped while training.", ge=0.0, le=0.9),
    ] = 0.0
    embedding_init: Annotated[
        Literal["cooccurrence", "normal"],
        _described(
            "First token embeddings; cooccurrence: from which tokens stand near each other in the "
            "text; normal: at random."
        ),
    ] = "cooccurrence"


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to learn."""

    epochs: Annotated[int, _basic("Passes over the training text.", ge=1, le=100_000)] = 3
    max_steps: Annotated[
        int | None,
        _basic(
            "End after this many optimizer steps even if epochs remain.",
            empty="all",
            ge=1,
            le=10**12,
        ),
    ] = None
    batch_size: Annotated[int, _basic("Sequences in one forward pass.", ge=1, le=65536)] = 16
    seq_length: Annotated[
        int, _basic("Tokens in a sequence: the context the model sees.", ge=8, le=32768)
    ] = 256
    grad_accum_steps: Annotated[
        int,
        _described("Forward passes whose gradients make one optimizer step.", ge=1, le=65536),
    ] = 1
    context_ramp: Annotated[
        float,
        _described(
            "Share of the steps, at the beginning, whose sequences are cut in eight, then in four.",
            ge=0.0,
            le=1.0,
        ),
    ] = 0.5
    learning_rate: Annotated[
        float, _basic("Highest learning rate of the schedule.", gt=0.0, le=10.0)
    ] = 6e-3
    optimizer: Annotated[
        Literal["muon", "adamw"],
        _described("muon: Muon for the matrices, AdamW for the rest; adamw: AdamW for all."),
    ] = "muon"
    weight_decay: Annotated[
        float, _described("Decoupled weight decay of the matrices.", ge=0.0, le=10.0)
    ] = 0.1
    clip_grad_norm: Annotated[
        float | None,
        _described("Longest gradient allowed, by its global norm.", empty="no clipping", gt=0.0),
    ] = 1.0
    schedule: Annotated[
        Literal["wsd", "cosine"],
        _described(
            "wsd: warm up, stay, then decay in a straight line; cosine: warm up, then a cosine."
        ),
    ] = "wsd"
    warmup_fraction: Annotated[
        float, _described("Share of the steps spent warming up.", ge=0.0, le=0.5)
    ] = 0.02
    decay_fraction: Annotated[
        float, _described("Share of the steps spent decaying (wsd only).", ge=0.0, le=1.0)
    ] = 0.5
    final_lr_fraction: Annotated[
        float, _described("Learning rate at the end, as a share of the highest.", ge=0.0, le=1.0)
    ] = 0.0
    precision: Annotated[
        Precision,
        _basic(
            "Number format of the matrix products: auto, off (fp32, on a GPU TF32), fp16 or bf16."
        ),
    ] = "auto"
    compile: Annotated[
        CompileMode,
        _described("torch.compile: auto compiles where the run is long enough to pay for it."),
    ] = "auto"
    seed: Annotated[
        int, _described("Seed of weights, batch order and dropout.", ge=0, le=2**63 - 1)
    ] = 1337
    dataloader_workers: Annotated[
        int, _described("Processes that prepare batches; 0: the training process.", ge=0, le=256)
    ] = 0
    dataloader_prefetch_factor: Annotated[
        int | None,
        _described("Batches each such process keeps ready.", empty="2", ge=1, le=1024),
    ] = None
    dataloader_pin_memory: Annotated[
        bool | None,
        _described("Page-locked batches for faster copies to a GPU.", empty="on with CUDA"),
    ] = None


class CheckpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept on disk."""

    every_steps: Annotated[
        int | None,
        _described(
            "Save latest.pt every so many steps too.",
            empty="at the end of an epoch",
            ge=1,
            le=10**12,
        ),
    ] = None
    every_minutes: Annotated[
        float | None,
        _described(
            "Save latest.pt after so many minutes without a save.", empty="never", gt=0.0, le=1e6
        ),
    ] = 5.0
    keep_last: Annotated[
        int, _described("Newest epoch checkpoints that are kept.", ge=1, le=100_000)
    ] = 10
    keep_every: Annotated[
        int | None,
        _described(
            "Checkpoints of every so many epochs are kept for good.",
            empty="of none",
            ge=1,
            le=100_000,
        ),
    ] = None


DEFAULT_PROMPTS = (
    "The history of",
    "In the first half of the century ,",
    "The song was written by",
)


class EvaluationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How progress is judged."""

    every_steps: Annotated[
        int | None,
        _described(
            "Evaluate every so many steps too.",
            empty="at the end of an epoch",
            ge=1,
            le=10**12,
        ),
    ] = None
    stride: Annotated[
        int | None,
        _described(
            "Tokens scored in each window, whose rest is their context.",
            empty="half of seq_length",
            ge=1,
            le=32768,
        ),
    ] = None
    prompts: Annotated[
        tuple[str, ...],
        _described("Beginnings that the model continues at every evaluation."),
    ] = DEFAULT_PROMPTS
    sample_tokens: Annotated[
        int, _described("Tokens in each such continuation.", ge=1, le=4096)
    ] = 64
    sample_temperature: Annotated[
        float, _described("Temperature of those continuations.", ge=0.0, le=10.0)
    ] = 0.8


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where to train."""

    preference: Annotated[
        str,
        _basic("auto, cpu, cuda, cuda:N, or a part of a GPU's name such as A30.", min_length=1),
    ] = "auto"
    strict: Annotated[
        bool,
        _described("Refuse to train when the preferred device is not there, instead of the CPU."),
    ] = False


class NotifySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told when the run has ended."""

    url: Annotated[
        str | None,
        _secret(
            "Webhook that a JSON message is posted to when the run ends, http or https.",
            empty="what LLM_TRAINER_NOTIFY_URL says, or nobody",
        ),
    ] = None
    events: Annotated[tuple[End, ...], _described("Ends of a run that the webhook is told of.")] = (
        "completed",
        "failed",
        "interrupted",
    )


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration. Build one with :func:`load`, never by hand in product code."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    device: DeviceSettings = DeviceSettings()
    notify: NotifySettings = NotifySettings()

    def get(self, key: str) -> Any:
        """Return the value of ``section.key``."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "data": DataSettings,
    "model": ModelSettings,
    "training": TrainingSettings,
    "checkpoint": CheckpointSettings,
    "evaluation": EvaluationSettings,
    "device": DeviceSettings,
    "notify": NotifySettings,
}

_LATER_SECTIONS = frozenset({"notify"})
"""Sections that files of older versions lack. None of them decides how training goes on."""


# --------------------------------------------------------------------------- model sizes


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a network with every blank filled in."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def parameters(self, vocab_size: int) -> int:
        """Count the weights, with input embedding and output head shared."""
        attention = self.width * self.head_width * 2 * (self.heads + self.kv_heads)
        norms = 2 * self.width + 2 * self.head_width
        block = attention + 3 * self.width * self.hidden + norms
        return self.layers * block + self.width + vocab_size * self.width


PRESET_SHAPES: dict[str, tuple[int, int, int]] = {
    "tiny": (4, 256, 4),
    "small": (6, 384, 6),
    "medium": (8, 512, 8),
}
"""Layers, width and heads of each preset."""

_SIZE_KEYS = ("layers", "width", "heads", "kv_heads", "hidden")


def model_shape(model: ModelSettings) -> ModelShape:
    """Fill the sizes that were left empty from the preset.

    The inner size of the SwiGLU block is 8/3 of the width, which keeps the parameter count of a
    plain 4x block (Shazeer, 2020, arXiv 2002.05202), rounded up to a multiple of 64.
    """
    layers, width, heads = PRESET_SHAPES[model.preset]
    width = model.width or width
    heads = model.heads or heads
    hidden = model.hidden or -(-8 * width // (3 * 64)) * 64
    return ModelShape(model.layers or layers, width, heads, model.kv_heads or heads, hidden)


# --------------------------------------------------------------------------- the schema, described


@dataclass(frozen=True)
class Setting:
    """One setting as the form, the options and the documentation need it."""

    section: str
    name: str
    type: Any
    kind: Literal["int", "float", "bool", "str", "choice", "list"]
    default: Any
    help: str
    nullable: bool
    empty: str
    """What it means to leave it empty, in a few words: ``all``; nothing where it cannot be."""
    basic: bool
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    exclusive: bool
    """Whether the minimum itself is too small."""
    secret: bool
    """Whether the value is shown to nobody in full."""

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def allowed(self) -> str:
        """Say in words which values are allowed."""
        words = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "str": "text",
            "list": "a list of "
            + (", ".join(self.choices) or 'texts such as ["Once upon a time"]'),
            "choice": "one of " + ", ".join(self.choices),
        }[self.kind]
        if self.minimum is not None:
            start = (
                "above" if self.exclusive else "from" if self.maximum is not None else "at least"
            )
            words += f" {start} {plain_number(self.minimum)}"
        if self.maximum is not None:
            words += f" {'up ' if self.exclusive else ''}to {plain_number(self.maximum)}"
        return words + (OR_NULL if self.nullable else "")


def plain_number(value: float) -> str:
    """Write a limit for reading: ``100,000``, ``0.9``, ``2^63 - 1``."""
    if value == 2**63 - 1:
        return "2^63 - 1"
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


_KINDS: dict[type, Literal["int", "float", "bool", "str"]] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
}


def _describe(section: str, field: msgspec.structs.FieldInfo, hint: Any) -> Setting:
    base, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    meta = next((extra for extra in extras if isinstance(extra, Meta)), Meta())
    text, more = meta.description or "", meta.extra or {}
    empty = more.get("empty", "")
    nullable = type(None) in get_args(base) and get_origin(base) in (types.UnionType, typing.Union)
    if nullable:
        base = next(arg for arg in get_args(base) if arg is not type(None))
    item = get_args(base)[0] if get_origin(base) is tuple else base
    choices = tuple(str(arg) for arg in get_args(item)) if get_origin(item) is Literal else ()
    kind: Any = "list" if item is not base else "choice" if choices else _KINDS[base]
    return Setting(
        section=section,
        name=field.name,
        type=Annotated[base, meta],
        kind=kind,
        default=field.default,
        help=f"{text.removesuffix('.')}; empty: {empty}." if empty else text,
        nullable=nullable,
        empty=empty,
        basic=bool(more.get("basic")),
        choices=choices,
        minimum=meta.ge if meta.ge is not None else meta.gt,
        maximum=meta.le if meta.le is not None else meta.lt,
        exclusive=meta.gt is not None,
        secret=bool(more.get("secret")),
    )


def _read_schema() -> dict[str, Setting]:
    settings = {}
    for section, struct in SECTIONS.items():
        hints = typing.get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            setting = _describe(section, field, hints[field.name])
            settings[setting.key] = setting
    return settings


SETTINGS: dict[str, Setting] = _read_schema()
"""Every setting by its ``section.key``, in the order of the schema."""

SECRETS = tuple(key for key, setting in SETTINGS.items() if setting.secret)
"""The settings that are shown to nobody in full."""

_SECRET_ARGUMENT = re.compile(rf"\b((?:{'|'.join(map(re.escape, SECRETS))})\s*=\s*[\"']?)([^\"']+)")
_SECRET_LINE = re.compile(
    rf"^((?:{'|'.join(key.partition('.')[2] for key in SECRETS)})\s*=\s*[\"'])([^\"']+)",
    re.MULTILINE,
)


# --------------------------------------------------------------------------- layers


@dataclass(frozen=True)
class Layer:
    """Settings from one place, by ``section.key``; ``source`` names the place in messages."""

    source: str
    values: Mapping[str, Any]


def parse_assignment(text: str) -> tuple[str, Any]:
    """Read ``section.key=value``; the value is TOML, and what is not TOML is a plain string.

    Raises:
        UsageError: there is no ``=`` or no key.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(
            f"'{text}' is not an assignment.",
            "Write --set section.key=value, for example --set training.epochs=5.",
        )
    return key, parse_value(value.strip())


def parse_value(text: str) -> Any:
    """Read one value in TOML syntax; bare words are strings."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return document["value"] if document.keys() == {"value"} else text


def assignments(pairs: Iterable[str], source: str = "--set") -> Layer:
    """Make a layer from ``section.key=value`` texts."""
    return Layer(source, dict(parse_assignment(pair) for pair in pairs))


def find_file(name: str) -> Path:
    """Find a configuration by path, or a shipped one by its bare name such as ``quickstart``.

    Raises:
        UsageError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    what = "is a folder" if path.is_dir() else "does not exist"
    raise UsageError(
        f"The configuration file '{name}' {what}.",
        f"Give a TOML file, or one of the shipped names: {', '.join(sorted(shipped))}.",
    )


def shipped_configs() -> dict[str, Path]:
    """Map the name of each configuration that comes with the program to its file."""
    return {path.stem: path for path in sorted(asset_dir("configs").glob("*.toml"))}


def opening_words(path: Path) -> str:
    """Return what a shipped configuration says of itself: the first paragraph of its comments.

    The sentence that they share, on what is not named in them, is left out.
    """
    lines = itertools.takewhile(
        lambda line: line.startswith("#"), path.read_text("utf-8").splitlines()
    )
    told = (line.removeprefix("#").strip() for line in lines)
    return " ".join(line for line in told if not line.startswith("What is not named here"))


def read_file(path: Path, label: str | None = None) -> Layer:
    """Read a TOML file as a layer.

    Raises:
        UsageError: it cannot be read.
        ConfigurationError: it is not TOML, or holds settings outside a section.
    """
    source = label or str(path)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"Cannot read '{source}': {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"'{source}' is not a text file in UTF-8.", "A configuration is a TOML file."
        ) from error
    return read_text(text, source)


def read_text(text: str, source: str, called: str = "") -> Layer:
    """Read TOML as a layer.

    Args:
        called: how an error names it; by default by its source in quotation marks.

    Raises:
        UsageError: it is not TOML.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            f"{called or repr(source)} is not valid TOML: {error}.",
            'Write [section] lines and key = value lines; texts stand in "quotes".',
        ) from error
    return Layer(source, _flatten(document))


def _flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Turn sections into ``section.key``; what is not in a section keeps its bare name."""
    flat: dict[str, Any] = {}
    for name, content in document.items():
        if isinstance(content, Mapping):
            flat.update({f"{name}.{key}": value for key, value in content.items()})
        else:
            flat[name] = content
    return flat


def load(file: str | Path | None = None, *layers: Layer) -> Config:
    """Build a configuration from the defaults, a file and further layers, later ones winning.

    Raises:
        UsageError: the file cannot be read as TOML.
        ConfigurationError: one or more settings are wrong; every fault is in it.
    """
    first = () if file is None else (read_file(find_file(str(file)), str(file)),)
    return build(*first, *layers)


BEFORE: dict[str, Any] = {
    "model.embedding_init": "normal",
    "training.context_ramp": 0.0,
    "training.learning_rate": 3e-3,
}
"""What training did before a setting existed, or before its default was changed.

A run's own file spells out every setting there was when the run was made. One that it lacks came
later, and must not change how the run goes on.
"""


def load_stored(path: Path) -> Config:
    """Read the configuration with which a run was made, maybe by an older version.

    Raises:
        UsageError: the file cannot be read as TOML, or is only a part of one.
        ConfigurationError: one or more settings are wrong, or of a newer version.
    """
    layer = read_file(path)
    # Nothing may take the place of settings that were lost: they decide how the run goes on.
    there = {key.partition(".")[0] for key in layer.values}
    if missing := SECTIONS.keys() - _LATER_SECTIONS - there:
        raise UsageError(f"'{path}' is cut short: it lacks [{min(missing)}].")
    return build(Layer("an older version", BEFORE), layer)


def from_checkpoint(values: Mapping[str, Any], source: str) -> Config:
    """Return the configuration that a checkpoint holds, maybe one of an older version.

    Raises:
        ConfigurationError: one or more settings are wrong, or of a newer version.
    """
    return build(Layer("an older version", BEFORE), Layer(source, values))


def build(*layers: Layer) -> Config:
    """Check and merge layers over the defaults.

    A secret in the form in which it is shown stands for the value beneath it, so that a form that
    shows one can be sent back.

    Raises:
        ConfigurationError: one or more settings are wrong; every fault is in it.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    faults: list[Fault] = []
    for layer in layers:
        if "model.preset" in layer.values:
            # A preset chosen later would otherwise be overruled by sizes spelled out before it.
            for name in _SIZE_KEYS:
                values.pop(f"model.{name}", None)
        if "data.dataset_name" in layer.values:
            # What may stand in for one data set does not stand in for another, chosen later.
            values.pop("data.fallback", None)
        for key, raw in layer.values.items():
            if _is_masked(key, raw, values.get(key)):
                continue
            fault, value = _check_value(layer.source, key, raw)
            if fault:
                faults.append(fault)
            else:
                values[key], sources[key] = value, layer.source
    config = _assemble(values)
    faults += [
        Fault(sources.get(key, "defaults"), key, problem) for key, problem in _check_pairs(config)
    ]
    if faults:
        raise ConfigurationError(faults, "See 'llm-trainer config show' for every setting.")
    return config


def _is_masked(key: str, raw: Any, beneath: Any) -> bool:
    return beneath is not None and key in SECRETS and raw == hook_address.masked(beneath)


def _assemble(values: Mapping[str, Any]) -> Config:
    sections: dict[str, Any] = {}
    for section, struct in SECTIONS.items():
        prefix = f"{section}."
        given = {key[len(prefix) :]: v for key, v in values.items() if key.startswith(prefix)}
        sections[section] = struct(**given)
    return Config(**sections)


def _check_value(source: str, key: str, raw: Any) -> tuple[Fault | None, Any]:
    setting = SETTINGS.get(key)
    if setting is None:
        return Fault(source, key, unknown(key)), None
    if setting.nullable and (raw is None or is_null_word(raw)):
        return None, None
    shown = hook_address.masked(str(raw)) if setting.secret else _shown(raw)
    if isinstance(raw, float) and not math.isfinite(raw):
        return Fault(source, key, f"= {shown} is not a finite number: {setting.allowed}"), None
    try:
        value = msgspec.convert(raw, setting.type)
    except msgspec.ValidationError:
        return Fault(source, key, f"= {shown} is not allowed: {setting.allowed}"), None
    if isinstance(value, str) and "\x00" in value:
        return Fault(source, key, f"= {shown} holds a NUL character: {setting.allowed}"), None
    return None, value


def is_null_word(raw: Any) -> bool:
    """Say whether a value is the bare word that clears a setting."""
    return isinstance(raw, str) and raw.lower() in NULL_WORDS


def _shown(raw: Any) -> str:
    text = repr(raw) if not isinstance(raw, bool) else str(raw).lower()
    return text if len(text) <= 80 else text[:77] + "..."


def unknown(key: str) -> str:
    """Say that a key is unknown, and guess which one was meant."""
    section, dot, name = key.partition(".")
    name = name if dot else key
    guess = _guess(key, name)
    if guess is not None:
        return f"is not a setting; did you mean {guess}?"
    if section in SECTIONS:
        names = ", ".join(field.name for field in msgspec.structs.fields(SECTIONS[section]))
        return f"is not a setting; [{section}] has {names}"
    return f"is not a setting; the sections are {', '.join(SECTIONS)}"


def _guess(key: str, name: str) -> str | None:
    """Find the setting that was probably meant: same name, initials (lr), or a near spelling."""
    short = {known.partition(".")[2]: known for known in SETTINGS}
    initials = {"".join(part[0] for part in known.split("_")): known for known in short}
    exact = short.get(name) or short.get(initials.get(name, ""))
    if exact is not None:
        return exact
    near = difflib.get_close_matches(key, SETTINGS, n=1, cutoff=0.75)
    near += [short[match] for match in difflib.get_close_matches(name, short, n=1, cutoff=0.6)]
    return near[0] if near else None


def _check_pairs(config: Config) -> list[tuple[str, str]]:
    """Find settings that are fine alone and impossible together."""
    shape, training = model_shape(config.model), config.training
    problems: list[tuple[str, str]] = []
    if shape.width % shape.heads:
        problems.append(
            ("model.heads", f"= {shape.heads} does not divide model.width = {shape.width}")
        )
    elif shape.head_width % 2:
        problems.append(
            (
                "model.heads",
                f"= {shape.heads} leaves {shape.head_width} of model.width = {shape.width} a head; "
                "rotary positions need an even number",
            )
        )
    if shape.heads % shape.kv_heads:
        problems.append(
            ("model.kv_heads", f"= {shape.kv_heads} does not divide model.heads = {shape.heads}")
        )
    if training.dataloader_prefetch_factor is not None and training.dataloader_workers == 0:
        problems.append(
            (
                "training.dataloader_prefetch_factor",
                f"= {training.dataloader_prefetch_factor} needs training.dataloader_workers of 1 "
                "or more: without such processes nothing is prefetched",
            )
        )
    stride = config.evaluation.stride
    if stride is not None and stride > training.seq_length:
        problems.append(
            (
                "evaluation.stride",
                f"= {stride} is more than training.seq_length = {training.seq_length}; lower it "
                f"too, for example evaluation.stride={max(1, training.seq_length // 2)}",
            )
        )
    if config.training.precision == "fp16" and config.device.preference == "cpu":
        problems.append(
            (
                "training.precision",
                "= 'fp16' needs a GPU, but device.preference = 'cpu': use bf16, off or auto",
            )
        )
    if not re.fullmatch(r"[^\x00-\x1f]+", config.device.preference.strip()):
        problems.append(("device.preference", "is empty: auto, cpu, cuda, cuda:N or a GPU's name"))
    if config.notify.url is not None and (wrong := hook_address.problem(config.notify.url)):
        problems.append(("notify.url", wrong))
    return problems


# --------------------------------------------------------------------------- out again


def resolved(config: Config) -> Config:
    """Spell out the sizes that the preset implies, so that a stored file stands for itself."""
    shape = model_shape(config.model)
    sizes = {name: getattr(shape, name) for name in _SIZE_KEYS}
    return msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, **sizes))


def replace(config: Config, **values: Any) -> Config:
    """Return a copy with ``section__key=value`` replaced, checked like any other layer."""
    named = {key.replace("__", ".", 1): value for key, value in values.items()}
    return build(Layer("stored", as_flat(config, secrets=True)), Layer("change", named))


def as_flat(config: Config, *, secrets: bool = False) -> dict[str, Any]:
    """Return every value by its ``section.key``.

    Args:
        secrets: in full, for a run's own files; otherwise as people may see them.
    """
    values = {key: config.get(key) for key in SETTINGS}
    hidden = (key for key in SECRETS if values[key] is not None and not secrets)
    return values | {key: hook_address.masked(values[key]) for key in hidden}


def secrets_of(config: Config) -> Layer:
    """Return the secrets alone, to lie beneath a form that shows them masked."""
    return Layer("secrets", {key: config.get(key) for key in SECRETS})


def bare_of_secrets(config: Config) -> Config:
    """Return a copy in which the secrets have their defaults, to be handed on."""
    values = as_flat(config, secrets=True)
    return build(Layer("stored", {key: values[key] for key in values if key not in SECRETS}))


def without_secrets(words: Iterable[str]) -> list[str]:
    """Mask the secrets among the arguments of a command line."""
    return [_masked_after(_SECRET_ARGUMENT, word) for word in words]


def text_without_secrets(toml: str) -> str:
    """Mask the secrets in a configuration file as :func:`to_toml` writes it."""
    return _masked_after(_SECRET_LINE, toml)


def _masked_after(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: found[1] + hook_address.masked(found[2]), text)


def differences(config: Config) -> dict[str, Any]:
    """Return the values that are not the defaults, by ``section.key``."""
    base = as_flat(resolved(Config()))
    return {key: value for key, value in as_flat(resolved(config)).items() if value != base[key]}


def to_toml(config: Config, comments: bool = True, *, secrets: bool = False) -> str:
    """Write a configuration as TOML that loads again to the same values.

    Args:
        comments: what each setting is, above it.
        secrets: in full, for a run's own file; otherwise as people may see them.
    """
    lines: list[str] = []
    values = as_flat(config, secrets=secrets)
    for section in SECTIONS:
        lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        for setting in (s for s in SETTINGS.values() if s.section == section):
            if comments:
                lines.append(f"# {setting.help}")
            lines.append(_toml_line(setting, values[setting.key]))
    return "\n".join(lines) + "\n"


def _toml_line(setting: Setting, value: Any) -> str:
    """Write a setting; TOML has no null, so one that is empty by default is left out."""
    if value is not None:
        return f"{setting.name} = {toml_value(value)}"
    return f"# {setting.name} = null" if setting.default is None else f'{setting.name} = "null"'


def toml_value(value: Any) -> str:
    """Write one value in TOML syntax."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return _toml_string(value)
    return repr(value)


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'


def command_options(config: Config) -> Sequence[str]:
    """Return the ``--set`` options that would make this configuration from the defaults."""
    return [f"{key}={toml_value(value)}" for key, value in differences(config).items()]
