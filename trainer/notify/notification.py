"""What a webhook is told of the end of a run, and what people are told of the webhook."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from trainer import formats
from trainer.annotating import read_annotations
from trainer.errors import StoreError
from trainer.notify import hook_address
from trainer.store.files import read_record
from trainer.store.records import ErrorRecord, Notification, State, Status, now
from trainer.store.workspace import RunPaths

if TYPE_CHECKING:
    from trainer.notify.webhook import Delivery

URL_VARIABLE = "LLM_TRAINER_NOTIFY_URL"
"""The environment variable with the webhook of every run that has none of its own."""

_TEXT_LENGTH = 1500
"""Chat services cut or refuse longer lines; the fields hold everything."""

_ENDINGS: dict[Status, str] = {
    "completed": "is complete",
    "stopped": "was stopped",
    "failed": "failed",
    "interrupted": "was interrupted",
}


def message(state: State, paths: RunPaths) -> bytes:
    """Return what is posted for the end of a run, as JSON in UTF-8.

    ``text`` and ``content`` hold one line for people, where Slack and Mattermost look for it and
    where Discord does.
    """
    name = read_annotations(paths).name
    return _encoded(
        {
            "event": state.status,
            "run_id": state.run_id,
            "name": name,
            "status": state.status,
            **_cause(state.error),
            **{field: getattr(state, field) for field in _FIELDS},
            "perplexity": state.val_word_perplexity,
            "best_perplexity": state.best_val_word_perplexity,
        },
        text(state, name),
    )


_FIELDS = (
    "epoch",
    "epochs",
    "step",
    "total_steps",
    "tokens",
    "train_loss",
    "val_loss",
    "best_val_loss",
    "elapsed_seconds",
    "dataset",
    "device",
    "created_at",
    "heartbeat_at",
)


def _cause(error: ErrorRecord | None) -> dict[str, str | None]:
    if error is None:
        return dict.fromkeys(("kind", "message", "hint"))
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def trial_message() -> bytes:
    """Return what is posted to try a webhook."""
    words = f"llm-trainer on {socket.gethostname()}: this webhook works."
    return _encoded({"event": "test"}, words)


def _encoded(fields: dict[str, Any], line: str) -> bytes:
    line = line if len(line) <= _TEXT_LENGTH else f"{line[: _TEXT_LENGTH - 1]}…"
    told = {"host": socket.gethostname(), "time": now(), "text": line, "content": line}
    return msgspec.json.encode(fields | told)


def text(state: State, name: str | None) -> str:
    """Tell the end of a run in one line."""
    who = state.run_id if name is None else f"{name} ({state.run_id})"
    told = ", ".join(_facts(state))
    why = "" if state.error is None else f" {state.error.message}"
    return f"{who} {_ENDINGS[state.status]}{f': {told}' if told else ''}.{why}"


def _facts(state: State) -> Iterator[str]:
    if state.step is not None:
        yield f"step {state.step:,}" + (f" of {state.total_steps:,}" if state.total_steps else "")
    if state.elapsed_seconds is not None:
        yield formats.duration(state.elapsed_seconds)
    if state.best_val_loss is not None:
        yield f"best validation loss {formats.loss(state.best_val_loss)}"
    if state.best_val_word_perplexity is not None:
        yield f"best perplexity {formats.perplexity(state.best_val_word_perplexity)}"


# ---------------------------------------------------------------------- what came of it


def outcome(waiting: Notification, event: Status, url: str, delivery: Delivery) -> Notification:
    """Return the record of a message that was sent, or could not be."""
    return msgspec.structs.replace(
        waiting,
        status="delivered" if delivery.answer.taken else "failed",
        event=event,
        to=hook_address.masked(url),
        at=now(),
        attempts=delivery.attempts,
        answer=delivery.answer.words,
    )


def read_notification(paths: RunPaths) -> Notification | None:
    """Read what came of telling the last end of a run; None where nobody was to be told."""
    try:
        return read_record(paths.notified, Notification)
    except (OSError, StoreError):
        return None


def notification_words(told: Notification | None) -> str | None:
    """Say what came of telling a webhook; nothing before that is known."""
    if told is None or told.at is None or told.status not in ("delivered", "failed"):
        return None
    when = formats.moment(told.at)
    if told.status == "delivered":
        return f"The webhook {told.to} was told at {when} that the run {_was(told)}."
    tries = f" after {formats.plural(told.attempts, 'attempt')}" if told.attempts else ""
    return (
        f"The webhook {told.to} could not be told at {when} that the run {_was(told)}: "
        f"{told.answer}{tries}. 'llm-trainer notify' tries a webhook out."
    )


def _was(told: Notification) -> str:
    return _ENDINGS[told.event] if told.event else "ended"
