"""A new run as it is being typed: fields on top of a base, checked like any other layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer import config as configuration
from trainer.config import SETTINGS, Config, Layer, Setting
from trainer.errors import ConfigurationError, TrainerError, UsageError
from trainer.runs import RunStore

FORM = "form"
MORE = "more settings"
MORE_HINT = "Write section.key = value, one a line, for example model.dropout = 0.1."

BASIC_SETTINGS = tuple(setting for setting in SETTINGS.values() if setting.basic)
"""What the form asks for, in the order of the schema; the rest can be written as lines."""


@dataclass(frozen=True)
class Base:
    """Where the values come from that are not typed: a shipped file, or another run."""

    name: str
    label: str
    layer: Layer

    def text(self, setting: Setting) -> str:
        """Return a setting's value as a field shows it."""
        return field_text(self.layer.values.get(setting.key, setting.default))


def shipped_bases() -> list[Base]:
    """Return a base for each configuration that comes with the program, quickstart first, and
    the defaults alone last.

    Raises:
        TrainerError: one cannot be read.
    """
    found = [
        Base(name, f"{name}.toml", configuration.read_file(path, f"{name}.toml"))
        for name, path in configuration.shipped_configs().items()
    ]
    found.sort(key=lambda base: base.name != "quickstart")
    return [*found, Base("defaults", "the defaults alone", Layer("defaults", {}))]


def base_of_run(store: RunStore, run_id: str, title: str) -> Base:
    """Return the settings of a run as a base for another.

    Raises:
        TrainerError: its configuration cannot be read.
    """
    values = configuration.as_flat(store.config(run_id), secrets=True)
    return Base(run_id, f"the settings of {title}", Layer(run_id, values))


def field_text(value: Any) -> str:
    """Write a value as a person types it: empty for null, bare words for texts."""
    if value is None:
        return ""
    return value if isinstance(value, str) else configuration.toml_value(value)


def typed_value(setting: Setting, text: str) -> Any:
    """Read what was typed into a field; texts need no quotes, and empty means null."""
    text = text.strip()
    if not text and setting.nullable:
        return None
    if setting.kind in ("str", "choice"):
        return text
    return configuration.parse_value(text)


def build_config(base: Base, typed: Mapping[str, str], more: str) -> Config:
    """Check and merge a base, the typed fields and the lines of further settings.

    Only fields that differ from the base count, so that a preset that nobody touched does not
    overrule sizes that the base spells out.

    Raises:
        UsageError: a line is not an assignment.
        ConfigurationError: one or more settings are wrong; every fault is in it.
    """
    changed = {
        key: typed_value(SETTINGS[key], text)
        for key, text in typed.items()
        if text.strip() != base.text(SETTINGS[key])
    }
    return configuration.build(base.layer, Layer(FORM, changed), _more_layer(more))


def _more_layer(more: str) -> Layer:
    lines = [line for line in map(str.strip, more.splitlines()) if line and line[0] != "#"]
    try:
        return configuration.assignments(lines, MORE)
    except UsageError as error:
        # The hint that comes with it is for the command line.
        raise UsageError(error.message, MORE_HINT) from error


def problems(error: TrainerError) -> dict[str, str]:
    """Sort an error by the field it belongs to; what fits no field is under ``""``."""
    if not isinstance(error, ConfigurationError):
        return {"": str(error)}
    asked = {setting.key for setting in BASIC_SETTINGS}
    found: dict[str, list[str]] = {}
    for fault in error.faults:
        at_field = fault.key in asked and fault.source != MORE
        words = fault.problem if at_field else f"{fault.key} {fault.problem}"
        found.setdefault(fault.key if at_field else "", []).append(words)
    return {key: "; ".join(words) for key, words in found.items()}


def check(base: Base, typed: Mapping[str, str], more: str) -> Config | dict[str, str]:
    """Return the configuration, or the problems by field."""
    try:
        return build_config(base, typed, more)
    except (UsageError, ConfigurationError) as error:
        return problems(error)


def parse_tags(text: str) -> list[str]:
    """Read tags parted by commas; each once, in the order given."""
    return list(dict.fromkeys(tag for tag in map(str.strip, text.split(",")) if tag))


def command_line(config: Config, name: str | None, tags: list[str]) -> list[str]:
    """Return the command that would have started the same run."""
    command = ["llm-trainer", "train"]
    for option in configuration.command_options(config):
        command += ["--set", option]
    if name:
        command += ["--name", name]
    for tag in tags:
        command += ["--tag", tag]
    return command
