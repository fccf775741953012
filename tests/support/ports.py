"""Ports for servers that a test ends and starts again, or that cannot be asked which port they found."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = "127.0.0.1"


def take_port(port: int = 0) -> socket.socket:
    """Take a free port until the socket is closed.

    It is bound and does not listen: connections are refused, a server that reuses addresses, as they all do, can listen
    there, and the system gives the port to nobody who asks for any.
    """
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((_HOST, port))
    except BaseException:
        taken.close()
        raise
    return taken


@contextmanager
def kept_port() -> Iterator[int]:
    """Keep a port for the servers of the block."""
    with take_port() as taken:
        yield taken.getsockname()[1]
