"""The help page."""

from __future__ import annotations

from flask import render_template

from webapp.pages.blueprint import Answer, pages


@pages.get("/help")
def help_page() -> Answer:
    """What the numbers mean, where the files are, which command does the same."""
    return render_template("help.html", here="help")
