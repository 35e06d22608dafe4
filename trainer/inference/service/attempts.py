"""The border of a job: whatever goes wrong behind it ends that job and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from trainer.errors import TrainerError

T = TypeVar("T")

log = logging.getLogger(__name__)


def attempt(call: Callable[[], T]) -> T | TrainerError:
    """Return what a call returns, or the error that a client is told when it fails."""
    try:
        return call()
    except TrainerError as error:
        return error
    except Exception as error:
        log.exception("A job failed.")
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return TrainerError(f"The model failed: {line}", "Try again, with another text or model.")
