"""Tells a full disk from other trouble."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

NO_SPACE = "no space left"
WAITING_FOR_SPACE = "waiting for free space"
"""The phase of a run that has nothing left to do but to save."""

_CODES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SQLITE_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


def is_no_space(error: BaseException) -> bool:
    """Say whether an error, or one that led to it, means that nothing more can be written."""
    return any(_says_full(link) for link in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _CODES
    return (
        isinstance(error, sqlite3.Error)
        and getattr(error, "sqlite_errorcode", None) in _SQLITE_CODES
    )


def reason(error: OSError | sqlite3.Error) -> str:
    """Say in a few words, without a full stop, why something cannot be written."""
    if is_no_space(error):
        return NO_SPACE
    return (isinstance(error, OSError) and error.strerror) or str(error)
