"""A webhook, tried out."""

from __future__ import annotations

import os

from trainer.cli.options import command
from trainer.cli.session import Session
from trainer.cli.settings import config_options, load
from trainer.errors import NotificationError, UsageError
from trainer.notify import hook_address
from trainer.notify.notification import URL_VARIABLE, trial_message


@command("notify", "notify --set notify.url=https://hooks.example.org/T0/B0/xyz")
@config_options
def notify_command(session: Session, config: str | None, assignments: tuple[str, ...]) -> None:
    """Send a test message to the webhook of a configuration.

    Without a notify.url of its own: to the one in LLM_TRAINER_NOTIFY_URL.
    """
    from trainer.notify.webhook import deliver

    url = load(config, assignments).notify.url or os.environ.get(URL_VARIABLE)
    if not url:
        raise UsageError(
            "There is no webhook to try.",
            f"Give one with --set notify.url=https://…, in the file, or in {URL_VARIABLE}.",
        )
    delivery = deliver(url, trial_message(), pauses_seconds=())
    to, answer = hook_address.masked(url), delivery.answer
    if not answer.taken:
        raise NotificationError(
            f"The webhook {to} did not take the message: {answer.words}.",
            "Check the address, and that this machine reaches it.",
        )
    session.report(
        {"to": to, "status": answer.status}, [f"The webhook {to} took the message: {answer.words}."]
    )
