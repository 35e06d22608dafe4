"""The help page."""

from __future__ import annotations

from flask import render_template, request

from trainer.filtering import FIELDS
from trainer.notify.notification import URL_VARIABLE
from webapp import guide, services
from webapp.openai.request import MAX_PROMPTS
from webapp.pages.blueprint import Answer, pages
from webapp.pages.run_list import EXAMPLES
from webapp.writing import MAX_WRITINGS_A_CLIENT


@pages.get("/help")
def help_page() -> Answer:
    """What the numbers mean, where the files are, which command does the same."""
    return render_template(
        "help.html",
        here="help",
        terms=guide.TERMS,
        commands=guide.COMMANDS,
        files=list(guide.files_of(services().store.workspace)),
        troubles=guide.TROUBLES,
        filter_fields=FIELDS.values(),
        filter_examples=EXAMPLES,
        url_variable=URL_VARIABLE,
        most_prompts=MAX_PROMPTS,
        most_at_once=MAX_WRITINGS_A_CLIENT,
        callers=guide.callers_of(f"{request.host_url}v1"),
    )
