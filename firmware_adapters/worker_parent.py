"""A worker process's end of its socket to the daemon.

Light: it loads neither the ports nor the core.
Invariant: a daemon that is gone is an end of lines, and so is one that sends a line without end; nothing else is.
"""

import select
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from firmware_adapters.worker_records import MAX_RECORD_BYTES, by_name, decode, encode

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# How often a worker says that it is alive; the daemon's deadline is twelve times that.
BEAT_S = 0.25
# The daemon reads at once; one that has not for so long is dead or as good as dead.
TELL_DEADLINE_S = 5.0

_Record = TypeVar("_Record", bound="DataclassInstance")


class ParentGoneError(Exception):
    """The daemon is gone, or says what no daemon says."""


class Parent:
    """The daemon, as its worker sees it."""

    def __init__(self, descriptor: int, *, tell_deadline_s: float | None = TELL_DEADLINE_S) -> None:
        """Take over the socket that the worker was started with.

        Args:
            descriptor: of the socket.
            tell_deadline_s: how long the daemon may take to read, None for a worker whose work can wait for it.
        """
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(tell_deadline_s)
        self._held = bytearray()
        self._waiting: list[bytes] = []
        self.gone = False

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def tell(self, record: "DataclassInstance") -> None:
        """Send one record; nothing once the daemon is gone."""
        if self.gone:
            return
        try:
            self._socket.sendall(encode(record))
        except OSError:
            self.gone = True

    def settings(self, kind: type[_Record]) -> _Record:
        """Wait for the settings, the first line.

        Raises:
            ParentGoneError: the daemon went instead.
        """
        while not self.gone:
            if lines := self.lines(wait_s=TELL_DEADLINE_S):
                self._waiting = lines[1:]
                return _decoded(lines[0], by_name(kind))
        raise ParentGoneError

    def orders(self, kinds: Mapping[str, type[_Record]], *, wait_s: float) -> list[_Record]:
        """Wait at most `wait_s` for orders and return them.

        Raises:
            ParentGoneError: no more can come.
        """
        lines = self.lines(wait_s=wait_s)
        if self.gone:
            raise ParentGoneError
        return [_decoded(line, kinds) for line in lines]

    def lines(self, *, wait_s: float) -> list[bytes]:
        """Wait at most `wait_s` for orders and return them as they came; `gone` tells when no more can come."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            return waiting
        if self.gone or not select.select([self._socket], [], [], wait_s)[0]:
            return []
        try:
            data = self._socket.recv(MAX_RECORD_BYTES)
        except OSError:
            data = b""
        self._held += data
        *whole, rest = self._held.split(b"\n")
        self._held = bytearray(rest)
        self.gone = not data or len(rest) > MAX_RECORD_BYTES
        return [bytes(line) for line in whole]


def _decoded(line: bytes, kinds: Mapping[str, type[_Record]]) -> _Record:
    try:
        return decode(line, kinds)
    except ValueError as error:
        raise ParentGoneError from error
