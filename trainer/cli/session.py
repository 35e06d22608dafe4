"""What the options shared by all commands say, and the run store they lead to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trainer.cli.output import say, say_json
from trainer.errors import UsageError

if TYPE_CHECKING:
    from trainer.inference.client import ModelClient
    from trainer.runs import Run, RunStore

PROGRAM = "llm-trainer"

_COMMAND = re.compile(
    rf"\b{PROGRAM} (?=[a-z]+(?: --|['.,]|$))(?![^']* --home\b)(?![a-z]+ --help\b)"
)
"""A command of this program in a sentence, unless it names a workspace or asks for help."""


@dataclass
class Session:
    """One call of the program."""

    home: str | None = None
    json: bool = False
    arguments: list[str] = field(default_factory=list)

    @cached_property
    def store(self) -> RunStore:
        """The runs of the workspace.

        Raises:
            UsageError: the workspace is a file, or its path leads nowhere.
        """
        from trainer.runs import RunStore

        hint = "Name a folder with --home, or with LLM_TRAINER_HOME."
        try:
            store = RunStore(self.home)
        except RuntimeError as error:  # pathlib's: an unknown ~user, or links in a circle.
            raise UsageError(f"The workspace cannot be found: {error}", hint) from error
        home = store.workspace.home
        if home.exists() and not home.is_dir():
            raise UsageError(f"The workspace '{home}' is not a folder.", hint)
        return store

    def run(self, text: str) -> Run:
        """Find a run by its id, by the beginning of its id, or as ``latest``."""
        return self.store.get(self.store.resolve(text))

    def model(self) -> ModelClient:
        """Return a way to the process that holds the workspace's models, to be closed after use."""
        from trainer.inference.client import ModelService

        return ModelService(self.store.workspace.home)

    def command(self, arguments: str) -> str:
        """Return a command line that reaches the same workspace as this one."""
        return f"{self._program} {arguments}"

    @property
    def _program(self) -> str:
        return PROGRAM if self.home is None else f"{PROGRAM} --home {shlex.quote(self.home)}"

    def reaching(self, words: str) -> str:
        """Let the commands in a sentence reach the same workspace as this one."""
        return _COMMAND.sub(lambda _: f"{self._program} ", words)

    def advice(self, run: Run) -> str:
        """Say what can be done about a run, with commands that reach this workspace."""
        from trainer.resumption import advice

        return self.reaching(advice(run.state, run.paths))

    def report(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print one JSON document when it was asked for, and lines for people otherwise."""
        if self.json:
            say_json(document)
        else:
            for line in lines:
                say(line)
