"""The terminal view: one of three equal viewers of the run store."""

from __future__ import annotations

from trainer.runs import RunStore


def run(store: RunStore) -> None:
    """Show the runs of a store until the person quits; training never depends on it.

    Raises:
        UsageError: standard input, output or error is not a terminal.
    """
    from trainer.tui.terminal import prepare_environment, require_terminal

    require_terminal()
    prepare_environment()
    from trainer.tui.app import TrainerApp  # Textual reads the environment when imported.

    TrainerApp(store).run()
