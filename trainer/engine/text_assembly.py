"""Text from the bytes of tokens, as they come."""

from __future__ import annotations

import codecs


class TextAssembler:
    """Turns bytes into text as they come, never half a character, and watches for stop texts."""

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self.stopped = False
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, data: bytes, final: bool = False) -> str:
        """Take bytes and return the text that is certain now."""
        self._held += self._decoder.decode(data, final)
        return self._release()

    def finish(self, *, cut: bool = False) -> str:
        """Return the rest; bytes that make no character become U+FFFD.

        Args:
            cut: the text ends because no more was asked for: a character that was only begun is
                left out, since nobody knows which it would have been.
        """
        text = self.add(b"", final=not cut)
        rest, self._held = self._held, ""
        return text + rest

    def _release(self) -> str:
        found = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        self.stopped = bool(found)
        cut = min(found) if found else len(self._held) - self._possible_stop_length()
        text, self._held = self._held[:cut], "" if found else self._held[cut:]
        return text

    def _possible_stop_length(self) -> int:
        """Return the length of the longest end of the text that may become a stop text."""
        longest = max((len(text) - 1 for text in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-length:]) for text in self._stop):
                return length
        return 0
