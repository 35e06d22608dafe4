"""The new-run form, made from the configuration schema: fields, what was typed, what it means."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from trainer import config as configuration
from trainer.annotating import check_annotations, split_tags
from trainer.config import SECTIONS, SETTINGS, Config, Layer, Setting, model_shape
from trainer.datasource import DATASET_NAMES, DatasetNameError, check_at_launch
from trainer.errors import (
    ConfigurationError,
    DataError,
    DeviceError,
    Fault,
    TrainerError,
    UsageError,
)
from trainer.store.records import Annotations
from trainer.store.workspace import is_run_id

Widget = Literal["segments", "select", "switch", "number", "text", "lines"]

_SPELLED_OUT = {
    "vocab": "vocabulary",
    "seq": "sequence",
    "grad": "gradient",
    "accum": "accumulation",
    "lr": "learning rate",
    "kv": "key and value",
    "url": "URL",
    "config": "configuration",
}
_SECTION_TITLES = {
    "data": "Data",
    "model": "Model",
    "training": "Training",
    "checkpoint": "Checkpoints",
    "evaluation": "Evaluation and samples",
    "device": "Device",
    "notify": "Notification",
}
_SUGGESTIONS = {"data.dataset_name": DATASET_NAMES, "device.preference": ("auto", "cpu", "cuda")}
_MOST_SEGMENTS = 4


@dataclass(frozen=True)
class Field:
    """One setting as the form shows it: what was typed, and what is wrong with it."""

    setting: Setting
    text: str
    errors: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.setting.key

    @property
    def id(self) -> str:
        return self.key.replace(".", "-")

    @property
    def label(self) -> str:
        return label(self.setting.name)

    @property
    def help(self) -> str:
        return self.setting.help

    @property
    def range(self) -> str:
        """Which numbers are allowed: ``From 1 to 100,000.``"""
        return number_range(self.setting)

    @property
    def widget(self) -> Widget:
        return widget(self.setting)

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """Values and words of a choice, with an empty one where the setting may be empty."""
        return choices(self.setting)

    @property
    def suggestions(self) -> tuple[str, ...]:
        return _SUGGESTIONS.get(self.key, ())

    @property
    def default(self) -> str:
        """The default as it would be typed."""
        return typed(self.setting.default)

    @property
    def default_words(self) -> str:
        """The default as it is read: ``3``, ``all``, ``off``."""
        return dict(self.choices).get(self.default) or self.default or self.setting.empty

    @property
    def placeholder(self) -> str:
        """What an empty field means, or what would stand in it."""
        return self.setting.empty or self.default

    @property
    def changed(self) -> bool:
        # A browser ends lines in its own way, and 0.10 is 0.1.
        return bool(read(self.setting, self.text) != read(self.setting, self.default))


@dataclass(frozen=True)
class Section:
    """The fields of one section of the configuration."""

    name: str
    fields: tuple[Field, ...]

    @property
    def title(self) -> str:
        return section_title(self.name)

    @property
    def wrong(self) -> int:
        return sum(bool(field.errors) for field in self.fields)

    @property
    def changed(self) -> int:
        return sum(field.changed for field in self.fields)


@dataclass(frozen=True)
class RunForm:
    """Everything typed into the new-run form, and the configuration that it makes, if it does."""

    texts: Mapping[str, str]
    name: str = ""
    tags: str = ""
    parent: str | None = None
    now_anyway: bool = False
    config: Config | None = None
    faults: tuple[Fault, ...] = ()
    refusal: TrainerError | None = None
    told: tuple[str, ...] = ()
    """What was wrong with a pasted configuration, of which nothing was taken over then."""

    def fields(self, keys: Iterable[str]) -> tuple[Field, ...]:
        """Return the fields of some settings with the faults that belong to them."""
        return tuple(
            Field(SETTINGS[key], self.texts[key], tuple(problems(self.faults, key))) for key in keys
        )

    @property
    def basic(self) -> tuple[Section, ...]:
        """The few settings that matter first, by section; those of one setting lead."""
        sections = self._sections(basic=True)
        return tuple(sorted(sections, key=lambda section: len(section.fields) > 1))

    @property
    def advanced(self) -> tuple[Section, ...]:
        """All the others, by section."""
        return self._sections(basic=False)

    def _sections(self, basic: bool) -> tuple[Section, ...]:
        chosen = [setting for setting in SETTINGS.values() if setting.basic == basic]
        made = (
            Section(name, self.fields(s.key for s in chosen if s.section == name))
            for name in SECTIONS
        )
        return tuple(section for section in made if section.fields)

    @property
    def wrong_fields(self) -> tuple[Field, ...]:
        """The fields that are marked."""
        wrong = {fault.key for fault in self.faults}
        return self.fields(key for key in SETTINGS if key in wrong)

    @property
    def wrong(self) -> int:
        return len(self.wrong_fields)

    @property
    def changed(self) -> int:
        """How many settings are not as they are by default."""
        return sum(field.changed for field in self.fields(SETTINGS))

    @property
    def tag_list(self) -> tuple[str, ...]:
        return split_tags(self.tags)


# ---------------------------------------------------------------------- making a form


def filled(
    config: Config, *, name: str = "", tags: Sequence[str] = (), parent: str | None = None
) -> RunForm:
    """Make a form that holds a configuration."""
    short = short_of_preset(config)
    texts = {key: typed(value) for key, value in configuration.as_flat(short).items()}
    return RunForm(texts, name=name, tags=", ".join(tags), parent=parent, config=short)


def submitted(values: Mapping[str, Sequence[str]], beneath: Layer | None = None) -> RunForm:
    """Read what a browser sent; a setting that was not sent keeps its default.

    A switch is sent as its hidden ``false`` and, when it is on, ``true`` after it: the last counts.

    Args:
        beneath: the secrets of the run that is cloned; the form shows them masked.
    """
    texts = {
        key: values[key][-1] if values.get(key) else typed(setting.default)
        for key, setting in SETTINGS.items()
    }
    parent = _last(values, "parent")
    form = RunForm(
        texts,
        name=_last(values, "name").strip(),
        tags=_last(values, "tags"),
        parent=parent if is_run_id(parent) else None,
        now_anyway=_last(values, "now_anyway") == "true",
    )
    return _checked(form, (beneath,) if beneath else ())


def _checked(form: RunForm, beneath: Sequence[Layer] = ()) -> RunForm:
    """Add the configuration that a form makes, or every fault that keeps it from making one."""
    meant = {key: read(SETTINGS[key], text) for key, text in form.texts.items()}
    try:
        return replace(form, config=configuration.build(*beneath, Layer("form", meant)))
    except ConfigurationError as error:
        return replace(form, faults=error.faults)


def pasted(toml: str, form: RunForm) -> RunForm:
    """Fill a form from a configuration file: what it does not name has its default.

    A file with a mistake fills in nothing: the form stays as it was typed, and all that is wrong
    with the file is told, names that are no settings with the one that was probably meant.
    """
    if not toml.strip():
        return replace(form, told=("There is nothing to read: choose a file, or paste its text.",))
    try:
        values = configuration.read_text(toml, "form", "This text").values
    except UsageError as error:
        return replace(form, told=(str(error),))
    known = {key: value for key, value in values.items() if key in SETTINGS}
    texts = {
        key: typed(_or_none(setting, known[key]) if key in known else setting.default)
        for key, setting in SETTINGS.items()
    }
    found = _checked(replace(form, texts=texts, parent=None, config=None, faults=()))
    wrong = [f"{fault.key} {fault.problem}" for fault in found.faults]
    wrong += [f"{key} {configuration.unknown(key)}" for key in values.keys() - known.keys()]
    return replace(form, told=tuple(map(_ended, sorted(wrong)))) if wrong else found


def _or_none(setting: Setting, value: Any) -> Any:
    """Read the bare word that stands for an empty setting, since TOML has no null."""
    return None if setting.nullable and configuration.is_null_word(value) else value


def refused(form: RunForm, error: TrainerError) -> RunForm:
    """Mark what the launcher refused at the field it is about, or above the form."""
    if isinstance(error, ConfigurationError):
        return replace(form, faults=error.faults)
    if isinstance(error, DataError | DatasetNameError):
        return _with_fault(form, "data.dataset_name", error)
    if isinstance(error, DeviceError):
        return _with_fault(form, "device.preference", error)
    return replace(form, refusal=error)


def with_data_checked(form: RunForm) -> RunForm:
    """Look also at the text itself when other settings are wrong, so that all is told together."""
    texts = {key: text for key, text in form.texts.items() if SETTINGS[key].section == "data"}
    meant = {key: read(SETTINGS[key], text) for key, text in texts.items()}
    try:
        check_at_launch(configuration.build(Layer("form", meant)).data)
    except ConfigurationError:
        return form  # Which text is meant is not known: its settings are marked already.
    except DatasetNameError as error:
        return _with_fault(form, "data.dataset_name", error)
    return form


def _with_fault(form: RunForm, key: str, error: TrainerError) -> RunForm:
    return replace(form, faults=(*form.faults, Fault("form", key, str(error))))


def short_of_preset(config: Config) -> Config:
    """Empty the sizes that the preset implies, so that choosing another preset has effect."""
    bare = msgspec.structs.replace(
        config.model, layers=None, width=None, heads=None, kv_heads=None, hidden=None
    )
    if model_shape(bare) != model_shape(config.model):
        return config
    return msgspec.structs.replace(config, model=bare)


# ---------------------------------------------------------------------- one setting


def section_title(name: str) -> str:
    """Name a section of the configuration."""
    return _SECTION_TITLES.get(name) or label(name)


def label(name: str) -> str:
    """Write ``seq_length`` as ``Sequence length``."""
    words = " ".join(_SPELLED_OUT.get(word, word) for word in name.split("_"))
    return words[:1].upper() + words[1:]


def widget(setting: Setting) -> Widget:
    """Choose how a setting is entered."""
    if setting.kind == "choice" or (setting.kind == "bool" and setting.nullable):
        return "segments" if len(choices(setting)) <= _MOST_SEGMENTS else "select"
    if setting.kind == "bool":
        return "switch"
    if setting.kind == "list":
        return "lines"
    return "number" if setting.kind in ("int", "float") else "text"


def choices(setting: Setting) -> tuple[tuple[str, str], ...]:
    """List the values of a choice with their words."""
    if setting.kind == "bool":
        values = [("true", "on"), ("false", "off")]
    else:
        values = [(choice, choice) for choice in setting.choices]
    return ((("", setting.empty),) if setting.nullable else ()) + tuple(values)


def number_range(setting: Setting) -> str:
    """Write which numbers a setting takes: ``From 1 to 100,000.``, ``Above 0.``; or nothing."""
    low, high = setting.minimum, setting.maximum
    if low is None or setting.kind not in ("int", "float"):
        return ""
    start = f"{'Above' if setting.exclusive else 'From'} {configuration.plain_number(low)}"
    if high is None:
        return f"{start}."
    return f"{start}{', up' if setting.exclusive else ''} to {configuration.plain_number(high)}."


def typed(value: Any) -> str:
    """Write a value as a person would type it into the form."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "\n".join(_line(str(item)) for item in value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


_NEEDS_QUOTES = re.compile(r"[\x00-\x1f\x7f]|^\".*\"$|^\s|\s$", re.DOTALL)


def _line(text: str) -> str:
    """Write one text of a list as a line: in TOML's quotes where it would not survive bare."""
    return configuration.toml_value(text) if not text or _NEEDS_QUOTES.search(text) else text


def _from_line(line: str) -> str:
    """Read one text of a list; in quotation marks it is TOML."""
    stripped = line.strip()
    if len(stripped) > 1 and stripped.startswith('"') and stripped.endswith('"'):
        try:
            return str(tomllib.loads(f"text = {stripped}")["text"])
        except tomllib.TOMLDecodeError:
            return stripped
    return stripped


def read(setting: Setting, text: str) -> Any:
    """Turn what was typed into a value; what cannot be read stays text, to be refused."""
    if setting.kind == "list":
        return [_from_line(line) for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    stripped = text.strip()
    if not stripped and setting.nullable:
        return None
    if setting.kind == "bool":
        return {"true": True, "false": False}.get(stripped, stripped)
    if setting.kind in ("int", "float"):
        return _read_number(setting.kind, stripped)
    return stripped


def _read_number(kind: str, text: str) -> int | float | str:
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        return text


def problems(faults: Iterable[Fault], key: str) -> Iterable[str]:
    """Word the faults of one setting as they stand beside its field."""
    for fault in faults:
        if fault.key == key:
            text = fault.problem.removeprefix("= ").replace(configuration.OR_NULL, " (or empty)")
            yield _ended(text[:1].upper() + text[1:])


def _ended(words: str) -> str:
    return words if words.endswith((".", "?")) else f"{words}."


def _last(values: Mapping[str, Sequence[str]], name: str) -> str:
    given = values.get(name) or [""]
    return given[-1]


# ---------------------------------------------------------------------- name, tags and notes


@dataclass(frozen=True)
class AnnotationForm:
    """The name, tags and notes of a run as they were typed, and what is wrong with each."""

    name: str
    tags: str
    notes: str
    errors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, notes: Annotations) -> AnnotationForm:
        """Make a form that holds what is said about a run."""
        return cls(notes.name or "", ", ".join(notes.tags), notes.notes)

    @classmethod
    def submitted(cls, values: Mapping[str, str], before: Annotations) -> AnnotationForm:
        """Read what a browser sent; what was not sent stays as it was."""
        old = cls.of(before)
        form = cls(
            values.get("name", old.name).strip(),
            values.get("tags", old.tags),
            values.get("notes", old.notes).replace("\r\n", "\n"),
        )
        problems = form._problems()
        return replace(form, errors={one: words for one, words in problems if one in values})

    def _problems(self) -> Iterator[tuple[str, str]]:
        checks: dict[str, dict[str, Any]] = {
            "name": {"name": self.name},
            "tags": {"tags": split_tags(self.tags)},
            "notes": {"notes": self.notes},
        }
        for one, given in checks.items():
            try:
                check_annotations(**given)
            except UsageError as error:
                yield one, str(error)
