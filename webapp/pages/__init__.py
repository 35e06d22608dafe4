"""The pages that people see, and the forms on them: plain links and forms, made quick by htmx."""

from webapp.pages import (
    changes,
    compare,
    deleted,
    exporting,
    manual,
    new_run,
    one_run,
    playground,
    resume,
    run_list,
    several_runs,
    templating,
)
from webapp.pages.blueprint import pages

__all__ = [
    "changes",
    "compare",
    "deleted",
    "exporting",
    "manual",
    "new_run",
    "one_run",
    "pages",
    "playground",
    "resume",
    "run_list",
    "several_runs",
    "templating",
]
