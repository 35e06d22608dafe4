"""The keyboard shortcuts: one table for the handler in the browser, the ``?`` help and the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shortcut:
    """A key, what it does in words, and the name by which the scripts know the action."""

    key: str
    action: str
    words: str


@dataclass(frozen=True)
class ShortcutGroup:
    """Shortcuts that work in one place."""

    title: str
    shortcuts: tuple[Shortcut, ...]


SHORTCUTS: tuple[ShortcutGroup, ...] = (
    ShortcutGroup(
        "Everywhere",
        (
            Shortcut("?", "help", "Show the shortcuts"),
            Shortcut("r", "runs", "Go to the runs"),
            Shortcut("n", "new", "New run"),
            Shortcut("p", "playground", "Go to the playground"),
            Shortcut("t", "theme", "Change the theme: dark, light, as the system"),
        ),
    ),
    ShortcutGroup(
        "Runs",
        (
            Shortcut("/", "search", "Search the runs"),
            Shortcut("j", "next", "Next run"),
            Shortcut("k", "previous", "Previous run"),
            Shortcut("Enter", "open", "Open the run"),
            Shortcut("x", "select", "Select the run"),
            Shortcut("e", "rename", "Rename the run"),
            Shortcut("c", "compare", "Compare the selected runs"),
        ),
    ),
    ShortcutGroup(
        "A run",
        (
            Shortcut("s", "stop", "Go to its Stop button"),
            Shortcut("u", "resume", "Resume it"),
            Shortcut("g", "generate", "Write with it"),
            Shortcut("l", "log-axis", "Switch the loss between linear and logarithmic"),
            Shortcut("+", "zoom-in", "Zoom into the curves, at the cursor"),
            Shortcut("-", "zoom-out", "Zoom out again"),
            Shortcut("0", "reset-zoom", "Show the whole curve"),
            Shortcut("[", "earlier", "Earlier samples"),
            Shortcut("]", "later", "Later samples"),
        ),
    ),
    ShortcutGroup(
        "Playground",
        (
            Shortcut("Ctrl+Enter", "write", "Write"),
            Shortcut("Escape", "halt", "Stop writing and keep what came"),
        ),
    ),
)
