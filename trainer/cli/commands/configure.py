"""Configurations: shown in full, and checked before a run."""

from __future__ import annotations

from typing import Any

import click

from trainer import config as configuration
from trainer import formats
from trainer.cli.options import HELP_NAMES, command
from trainer.cli.output import aligned, screen_width
from trainer.cli.session import Session
from trainer.cli.settings import config_options, load
from trainer.config import SECTIONS, Config


@click.group("config", context_settings=HELP_NAMES)
def config_command() -> None:
    """Show or check a configuration."""


@command("show", "config show --config quickstart --set training.epochs=5")
@config_options
def show_command(session: Session, config: str | None, assignments: tuple[str, ...]) -> None:
    """Print every setting with its value, as a TOML file that can be loaded again.

    The path of a webhook is left out: it is a secret.
    """
    settings = configuration.resolved(load(config, assignments))
    session.report(nested(settings), configuration.to_toml(settings).splitlines())


def nested(config: Config) -> dict[str, dict[str, Any]]:
    """Return every value by section and name, as people may see it."""
    document: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in configuration.as_flat(config).items():
        section, _, name = key.partition(".")
        document[section][name] = value
    return document


@command("check", "config check --config my.toml")
@config_options
def check_command(session: Session, config: str | None, assignments: tuple[str, ...]) -> None:
    """Say whether a run could be started with a configuration; starts nothing."""
    from trainer import datasource

    settings = load(config, assignments)
    datasource.check_at_launch(settings.data, settings.training)
    facts = size_facts(settings)
    session.report(
        {"ok": True} | facts | {"differences": configuration.differences(settings)},
        ["The configuration is good.", *_fact_lines(facts), *_difference_lines(settings)],
    )


def size_facts(config: Config) -> dict[str, int]:
    """Return the number of parameters and of tokens in one optimizer step."""
    training = config.training
    shape = configuration.model_shape(config.model)
    return {
        "parameters": shape.parameters(config.data.vocab_size),
        "tokens_per_step": training.batch_size * training.grad_accum_steps * training.seq_length,
    }


def _fact_lines(facts: dict[str, int]) -> list[str]:
    pairs = [(name.replace("_", " "), formats.count(value)) for name, value in facts.items()]
    return aligned(pairs, screen_width())


def _difference_lines(config: Config) -> list[str]:
    pairs = configuration.command_options(config)
    if not pairs:
        return ["Every setting has its default."]
    return ["Not the defaults:", *(f"  {pair}" for pair in pairs)]


config_command.add_command(show_command)
config_command.add_command(check_command)
