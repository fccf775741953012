"""The demonstration's network: it carries, it can be cut, it comes back at the same place."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from doorward.demo.link import Link

DEADLINE_S = 30


@pytest.fixture
def echo() -> Iterator[int]:
    """Give the port of a server that sends back what it gets, to one connection after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        while data := connection.recv(65_536):
                            connection.sendall(data)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_S)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    found = b""
    while len(found) < len(data):
        more = connection.recv(65_536)
        if not more:
            break
        found += more
    return found


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_carries_both_ways(echo: int):
    with Link(echo) as link, connected(link.port) as connection:
        data = bytes(range(256)) * 4096
        assert exchange(connection, data) == data


def test_an_end_of_one_side_is_passed_on(echo: int):
    with Link(echo) as link, connected(link.port) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"last words"
        assert connection.recv(100) == b""


def test_cut_it_drops_what_is_connected_and_refuses_what_comes(echo: int):
    with Link(echo) as link, connected(link.port) as connection:
        assert exchange(connection, b"before") == b"before"
        link.cut()
        assert has_ended(connection)
        with pytest.raises(ConnectionRefusedError):
            connected(link.port)


def test_restored_it_is_at_the_same_place(echo: int):
    with Link(echo) as link:
        port = link.port
        link.cut()
        link.cut()
        link.restore()
        link.restore()
        assert link.port == port
        with connected(port) as connection:
            assert exchange(connection, b"after") == b"after"


def test_a_target_that_is_not_there_ends_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with Link(port) as link, connected(link.port) as connection:
        assert has_ended(connection)
        assert link.connections == 1
