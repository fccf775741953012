"""A worker process by itself, and the daemon's end of its socket: never killed, it ends in its own order."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, TypeVar

from firmware_adapters.worker_records import decode, encode
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import DataclassInstance

_Record = TypeVar("_Record", bound="DataclassInstance")


class WorkerBench:
    """A running worker; leaving the context is the daemon's end, at which it has to end well."""

    def __init__(self, module: str, settings: DataclassInstance) -> None:
        """Start it with its settings."""
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(DEADLINE_S)
        self._lines = self._socket.makefile("rb")
        with theirs:
            command = [sys.executable, "-P", "-m", module, str(theirs.fileno())]
            self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        self.tell(settings)

    def tell(self, record: DataclassInstance) -> None:
        """Send it settings or an order."""
        self.send(encode(record))

    def send(self, data: bytes) -> None:
        """Send it bytes."""
        self._socket.sendall(data)

    def next(self, kinds: Mapping[str, type[_Record]]) -> _Record:
        """Return what it tells next.

        Raises:
            EOFError: it has ended.
        """
        line = self._lines.readline()
        if not line:
            raise EOFError
        return decode(line, kinds)

    def end(self) -> None:
        """End as the daemon does, and wait for the worker to end well; a second call does nothing."""
        self._lines.close()
        self._socket.close()
        assert self.process.wait(DEADLINE_S) == 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End."""
        self.end()
