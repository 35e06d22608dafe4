"""The options that stand for settings: layers over a configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from trainer import config as configuration
from trainer.config import SETTINGS, Config, Layer
from trainer.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

SHORTCUTS = {
    "device": "device.preference",
    "strict_device": "device.strict",
    "precision": "training.precision",
    "grad_accum_steps": "training.grad_accum_steps",
    "dataloader_workers": "training.dataloader_workers",
    "dataloader_prefetch_factor": "training.dataloader_prefetch_factor",
    "dataloader_pin_memory": "training.dataloader_pin_memory",
}
"""The option of ``train`` that is short for each of these settings."""

_FLAGS = {
    "strict_device": "--strict-device",
    "dataloader_pin_memory": "--dataloader-pin-memory/--no-dataloader-pin-memory",
}
_METAVARS = {"int": "N", "str": "TEXT"}


def _complete_config(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    shipped = [name for name in configuration.shipped_configs() if name.startswith(incomplete)]
    return [CompletionItem(n) for n in shipped] or [CompletionItem(incomplete, type="file")]


def _complete_setting(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(f"{key}=") for key in SETTINGS if key.startswith(incomplete)]


def config_options(function: Function) -> Function:
    """``--config FILE`` and ``--set section.key=value``."""
    assign = click.option(
        "--set",
        "assignments",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        shell_complete=_complete_setting,
        help="Change one setting; may be repeated. Values in TOML syntax, bare words are text.",
    )
    file = click.option(
        "--config",
        metavar="FILE",
        shell_complete=_complete_config,
        help="TOML file, or the name of a shipped one such as 'quickstart'. [default: 'default']",
    )
    return file(assign(function))


def shortcut_options(function: Function) -> Function:
    """An option for each of :data:`SHORTCUTS`, with the help text of its setting."""
    for name, key in reversed(SHORTCUTS.items()):
        setting = SETTINGS[key]
        flag = name in _FLAGS
        option = click.option(
            _FLAGS.get(name, _option(name)),
            name,
            metavar=None if flag else "|".join(setting.choices) or _METAVARS[setting.kind],
            is_flag=flag,
            default=None,
            help=setting.help,
        )
        function = option(function)
    return function


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def shortcut_layers(given: Mapping[str, str | bool | None]) -> list[Layer]:
    """Make a layer of each option that was given, named after the option itself."""
    return [
        Layer(_option(name), {SHORTCUTS[name]: _value(SHORTCUTS[name], value)})
        for name, value in given.items()
        if value is not None
    ]


def _value(key: str, given: str | bool) -> Any:
    is_text = isinstance(given, bool) or SETTINGS[key].kind in ("str", "choice")
    return given if is_text else configuration.parse_value(str(given))


def load(config: str | None, assignments: tuple[str, ...], *layers: Layer) -> Config:
    """Build the configuration of a command; without a file it is the shipped default.

    Raises:
        UsageError: the file cannot be read, or an assignment is none.
        ConfigurationError: one or more settings are wrong.
    """
    file = config if config is not None else configuration.shipped_configs()["default"]
    changes = configuration.assignments(assignments)
    try:
        return configuration.load(file, changes, *layers)
    except OSError as error:
        raise UsageError(
            f"The configuration file '{str(file)[:80]}' cannot be read: {error.strerror}.",
            "Give a TOML file, or the name of a shipped one such as 'quickstart'.",
        ) from error
