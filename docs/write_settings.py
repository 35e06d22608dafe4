"""Write the configuration table of README.md from the schema: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from trainer.config import SETTINGS, Setting, toml_value

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- settings: written by `make docs` -->"
END = "<!-- /settings -->"


def settings_table() -> str:
    """Return every setting, its default, what is allowed and what it is for, as Markdown."""
    lines = ["| setting | default | allowed | what it is |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_row(setting) for setting in SETTINGS.values())])


def _row(setting: Setting) -> str:
    default = "null" if setting.default is None else toml_value(setting.default)
    cells = (f"`{setting.key}`", f"`{default}`", setting.allowed, setting.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def with_table(readme: str) -> str:
    """Return the text of the README with the table renewed.

    Raises:
        ValueError: the two marks that enclose the table are not there.
    """
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8")), "utf-8")
