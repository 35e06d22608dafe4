"""A form that is sent twice starts one thing: the second sending gets the answer of the first."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_REMEMBERED = 500


@dataclass
class _Submission:
    under_way: threading.Lock = field(default_factory=threading.Lock)
    answer: str | None = None


class Submissions:
    """Remembers what the latest submissions led to, by the token that their form carried."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Submission] = OrderedDict()
        self._guard = threading.Lock()

    @staticmethod
    def new_token() -> str:
        """Return a token for one form."""
        return secrets.token_urlsafe(12)

    def once(self, token: str, act: Callable[[], str], contents: object = None) -> str:
        """Act, or return what the same submission led to before.

        A second sending waits while the first is under way. When ``act`` raises, nothing is
        remembered and the form can be sent again. Without a token every sending acts.

        Args:
            contents: what the form held. Who goes back, changes something and sends the form
                again means something else, though its token is the same.
        """
        if not token:
            return act()
        submission = self._find(f"{token} {contents!r}")
        with submission.under_way:
            if submission.answer is None:
                submission.answer = act()
            return submission.answer

    def _find(self, token: str) -> _Submission:
        with self._guard:
            submission = self._known.setdefault(token, _Submission())
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
            return submission
