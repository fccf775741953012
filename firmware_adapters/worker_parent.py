"""A worker process's end of its socket to the daemon.

Light: it loads neither the ports nor the core.
Invariant: a daemon that is gone is an end of lines, and nothing else is.
"""

import select
import socket

from firmware_adapters.worker_records import MAX_RECORD_BYTES

# How often a worker says that it is alive; the daemon's deadline is twelve times that.
BEAT_S = 0.25
# The daemon reads at once; one that has not for so long is dead or as good as dead.
TELL_DEADLINE_S = 5.0


class Parent:
    """The daemon, as its worker sees it."""

    def __init__(self, descriptor: int) -> None:
        """Take over the socket that the worker was started with."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(TELL_DEADLINE_S)
        self._held = bytearray()
        self._waiting: list[bytes] = []
        self.gone = False

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def tell(self, line: bytes) -> None:
        """Send one record; nothing once the daemon is gone."""
        if self.gone:
            return
        try:
            self._socket.sendall(line)
        except OSError:
            self.gone = True

    def first_line(self) -> bytes:
        """Wait for the settings; empty when the daemon went instead."""
        while not self.gone:
            if lines := self.lines(wait_s=TELL_DEADLINE_S):
                self._waiting = lines[1:]
                return lines[0]
        return b""

    def lines(self, *, wait_s: float) -> list[bytes]:
        """Wait at most `wait_s` for orders and return them; `gone` tells when no more can come."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            return waiting
        if self.gone or not select.select([self._socket], [], [], wait_s)[0]:
            return []
        try:
            data = self._socket.recv(MAX_RECORD_BYTES)
        except OSError:
            data = b""
        if not data:
            self.gone = True
            return []
        self._held += data
        *whole, rest = self._held.split(b"\n")
        self._held = bytearray(rest)
        return [bytes(line) for line in whole]
