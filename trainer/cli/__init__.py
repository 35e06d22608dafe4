"""The command line: one of three equal viewers of the run store.

Importing this package reads no run and imports no part of torch; a command imports what it needs
when it is called, so that ``--help`` and ``status`` answer at once.
"""

from trainer.cli.application import application, main

__all__ = ["application", "main"]
