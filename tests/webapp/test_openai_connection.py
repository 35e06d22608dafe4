"""Whether anybody is left to be answered, and takes what it is sent."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import pytest

from webapp.openai.connection import ClientGoneError, Connection


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


def test_who_waits_or_sends_more_is_there_and_who_closes_is_gone(ends: Ends) -> None:
    ours, theirs = ends
    connection = Connection({"gunicorn.socket": ours})
    assert not connection.gone
    theirs.sendall(b"the next request")
    assert not connection.gone
    assert ours.recv(16) == b"the next request"
    theirs.close()
    assert connection.gone


def test_nothing_more_is_taken_for_who_is_gone(ends: Ends) -> None:
    ours, theirs = ends
    told = itertools.count()
    passed = Connection({"gunicorn.socket": ours}).while_there(told)
    assert [next(passed), next(passed)] == [0, 1]
    theirs.close()
    with pytest.raises(ClientGoneError):
        next(passed)
    assert next(told) == 3


def test_who_takes_nothing_is_cut_off(ends: Ends) -> None:
    ours, theirs = ends
    ours.setblocking(False)
    pieces = Connection({"gunicorn.socket": ours}).paced(itertools.repeat(b"x"), 0)
    while next(pieces, None) is not None:
        ours.send(b"x" * 65536)
    assert theirs.recv(1, socket.MSG_PEEK) == b"x"
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")


def test_without_a_socket_all_seems_well() -> None:
    connection = Connection({})
    assert not connection.gone
    assert list(connection.paced(iter([b"a", b"b"]))) == [b"a", b"b"]
