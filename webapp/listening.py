"""Where the server listens, and under which names and with which token it answers there."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
import time

import psutil

from trainer.errors import ConflictError, UsageError
from webapp.security import Policy, allowed_names

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
PORTS_TRIED = 100

PATIENCE_SECONDS = 2.0
"""A dashboard that was just ended may hold its port a little longer."""

_BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; in place of the default port, on the next free one.

    Raises:
        UsageError: this machine has no such address, or the port needs more rights.
        ConflictError: another program listens there.
    """
    family, address = resolved(host)
    if port == DEFAULT_PORT:
        tries = (_try_port(family, address, port + more) for more in range(PORTS_TRIED))
        listener = next((found for found in tries if found is not None), None)
    else:
        listener = _wait_for_port(family, address, port)
    if listener is None:
        raise ConflictError(
            f"Port {port} of {host} is taken by another program.",
            "Choose another with --port, or leave it out to get the next free one.",
        )
    return listener


def _wait_for_port(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    listener = _try_port(family, address, port)
    while listener is None and time.monotonic() < deadline:
        time.sleep(0.1)
        listener = _try_port(family, address, port)
    return listener


def _try_port(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    """Listen on one port, or return None when it is taken."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return None
        raise UsageError(
            f"Cannot listen on {address}, port {port}: {error}.",
            "Choose another address with --host, or another port with --port.",
        ) from error
    return listener


def resolved(host: str) -> tuple[socket.AddressFamily, str]:
    """Return the address family and the numeric address of a host name, IPv4 first.

    Raises:
        UsageError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(
            f"'{host[:80]}' is not an address of this machine.",
            "Use 127.0.0.1, or 0.0.0.0 to be reached from the network.",
        ) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return found[0][0], str(found[0][4][0])


def policy_for(host: str, extra_hosts: tuple[str, ...] = ()) -> Policy:
    """Decide which names are answered; beyond loopback a new access token is asked for."""
    address = resolved(host)[1]
    parsed = ipaddress.ip_address(address)
    if parsed.is_loopback:
        return Policy(allowed_names([host, address]), extra_hosts)
    own = own_addresses() if parsed.is_unspecified else [host, address]
    names = allowed_names([*own, socket.gethostname()])
    return Policy(names, extra_hosts, access_token=secrets.token_urlsafe(24))


def own_addresses() -> list[str]:
    """Return this machine's addresses, without the zone of link-local ones."""
    families = (socket.AF_INET, socket.AF_INET6)
    interfaces = psutil.net_if_addrs().values()
    return [a.address.partition("%")[0] for i in interfaces for a in i if a.family in families]


def address_for_people(host: str, port: int) -> str:
    """Return the address to open; a server that listens everywhere has many, and names one."""
    if host in ("0.0.0.0", "::"):
        outside = [a for a in own_addresses() if not ipaddress.ip_address(a).is_loopback]
        host = min(outside, key=lambda name: (":" in name, name), default="127.0.0.1")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
