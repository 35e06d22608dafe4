"""The address of a webhook: which ones are taken, and how one is shown without its secret.

Whoever knows the address may post to it: path, query, name and password all count as the secret.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_SCHEMES = ("http", "https")
_HIDDEN = "…"


def masked(url: str) -> str:
    """Return the scheme and the host of an address: ``https://hooks.example.org/…``."""
    try:
        parts = urlsplit(url.strip())
        host = _host(parts)
    except ValueError:
        return _HIDDEN
    return f"{parts.scheme}://{host}/{_HIDDEN}" if parts.scheme and host else _HIDDEN


def _host(parts: SplitResult) -> str:
    """Return host and port.

    Raises:
        ValueError: the port is no number.
    """
    name = parts.hostname or ""
    shown = f"[{name}]" if ":" in name else name
    return shown if parts.port is None else f"{shown}:{parts.port}"


def problem(url: str) -> str | None:
    """Say why nothing can be posted to an address, without the address itself."""
    if url.endswith(_HIDDEN):
        return "is shown without its secret part here: write the whole address"
    if not re.fullmatch(r"[\x21\x23-\x26\x28-\x7e]+", url):
        return "holds characters that an address cannot: write them percent-encoded"
    try:
        parts = urlsplit(url)
        host = _host(parts)
    except ValueError:
        return "is not an address"
    if parts.scheme not in _SCHEMES or not host:
        return "is not an address that begins with http:// or https://"
    return None
