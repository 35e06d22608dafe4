"""The pages that people see, and the forms on them: plain links and forms, made quick by htmx."""

from webapp.pages import (
    changes,
    compare,
    manual,
    new_run,
    one_run,
    playground,
    run_list,
    templating,
)
from webapp.pages.blueprint import pages

__all__ = [
    "changes",
    "compare",
    "manual",
    "new_run",
    "one_run",
    "pages",
    "playground",
    "run_list",
    "templating",
]
