"""Byte links: a serial port or memory, with one set of errors.

Serial ports go through `serialx`: it reads and writes on the event loop without a thread a port, takes an
exclusive lock, and turns a hang-up into an error instead of an endless stream of empty reads.

Invariant: every fault of a link is a `ReaderError`. This module must not log or interpret what it carries.
"""

import asyncio
import contextlib
import errno
import logging
from types import MappingProxyType
from typing import Protocol

import serialx

from edge.ports import ReaderError, ReaderLost, Reason

# One read never returns more: 2,048 one-character lines at most are then framed at once.
READ_BYTES = 4096
# os.open() on a healthy port takes microseconds; a driver that resets its chip needs up to two seconds.
OPEN_DEADLINE_S = 5.0
# The longest message to a scanner is far below 1 KiB: 0.9 s at 9,600 baud.
WRITE_DEADLINE_S = 2.0
CLOSE_DEADLINE_S = 2.0
# What a test may queue in a memory link before its reader has to take some.
MEMORY_CHUNKS = 64

_REASONS = MappingProxyType(
    {
        errno.EACCES: Reason.PERMISSION,
        errno.EPERM: Reason.PERMISSION,
        errno.EBUSY: Reason.BUSY,
        errno.ENOTTY: Reason.UNSUPPORTED,
        errno.EISDIR: Reason.UNSUPPORTED,
        errno.EINVAL: Reason.UNSUPPORTED,
    },
)
_REMEDIES = MappingProxyType(
    {
        Reason.LOST: "plug it in, or correct the address; it is opened again by itself",
        Reason.PERMISSION: "give the daemon's user the group that owns the port (usually dialout)",
        Reason.BUSY: "stop the other program that uses the port, or give each reader its own",
        Reason.UNSUPPORTED: "give the address of a serial port and a speed it has",
        Reason.DEADLINE: "unplug it and plug it in again",
    },
)


class ByteLink(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """Wait for bytes, without a deadline of its own, and return 1 to `READ_BYTES` of them.

        Raises:
            ReaderLost: the other end is gone, or the link was closed.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Send all of `data` within `WRITE_DEADLINE_S`.

        Raises:
            ReaderLost: the other end is gone.
            ReaderError: it does not take them in time.
        """
        ...

    async def aclose(self) -> None:
        """Free the link; pending and later reads raise. A second call does nothing."""
        ...


class SerialLink:
    """A serial port, already open."""

    def __init__(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over the streams of the port at `path`."""
        self._path = path
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Wait for bytes and return 1 to `READ_BYTES` of them; see `ByteLink.read`."""
        try:
            data = await self._reader.read(READ_BYTES)
        except (OSError, serialx.SerialException) as error:
            raise _error(Reason.LOST, f"{self._path} is gone") from error
        if not data:
            raise ReaderLost(Reason.CLOSED, what=f"{self._path} was closed", remedy="open it again")
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`; see `ByteLink.write`."""
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError as error:
            raise _error(Reason.DEADLINE, f"{self._path} takes no bytes") from error
        except (OSError, serialx.SerialException) as error:
            raise _error(Reason.LOST, f"{self._path} is gone") from error

    async def aclose(self) -> None:
        """Free the port; bytes that it has not taken are dropped."""
        self._writer.transport.abort()
        # A port that is gone reports its loss once more here, and a stuck driver may never report.
        with contextlib.suppress(OSError, serialx.SerialException):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._writer.wait_closed()


async def open_serial(path: str, *, baud: int) -> SerialLink:
    """Open the serial port at `path`, 8 data bits, no parity, for this process alone.

    What was received before the opening is discarded.

    Raises:
        ReaderLost: there is no such device (now).
        ReaderError: it is busy, forbidden, no serial port, or does not open within `OPEN_DEADLINE_S`.
    """
    # serialx logs the bytes it receives at DEBUG: they are passes, which must never reach a log.
    logging.getLogger("serialx").setLevel(logging.INFO)
    try:
        async with asyncio.timeout(OPEN_DEADLINE_S):
            reader, writer = await serialx.open_serial_connection(path, baudrate=baud)
    except TimeoutError as error:
        raise _error(Reason.DEADLINE, f"{path} does not open within {OPEN_DEADLINE_S:g} s") from error
    except serialx.SerialException as error:
        raise _error(Reason.UNSUPPORTED, f"{path} cannot be set to {baud} baud ({error})") from error
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, Reason.LOST)
        raise _error(reason, f"{path} cannot be opened ({error.strerror})") from error
    # A write is over when the port has taken every byte, so that one that takes none is found out.
    writer.transport.set_write_buffer_limits(high=0)
    return SerialLink(path, reader, writer)


def _error(reason: Reason, what: str) -> ReaderError:
    kind = ReaderLost if reason is Reason.LOST else ReaderError
    return kind(reason, what=what, remedy=_REMEDIES[reason])


class MemoryLink:
    """A link whose other end is the caller: for tests of what sits on top of a link."""

    def __init__(self) -> None:
        """Start connected and empty."""
        self.written = bytearray()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(MEMORY_CHUNKS)
        self._gone = False

    async def feed(self, data: bytes) -> None:
        """Let the reading side receive `data` as one read."""
        await self._chunks.put(data)

    async def unplug(self) -> None:
        """Let the reading side find the link gone once it has read everything fed before."""
        self._gone = True
        await self._chunks.put(b"")

    async def read(self) -> bytes:
        """Wait for the next chunk fed; see `ByteLink.read`."""
        data = await self._chunks.get() if not (self._gone and self._chunks.empty()) else b""
        if not data:
            raise ReaderLost(Reason.LOST, what="the memory link is gone", remedy="make a new one")
        return data

    async def write(self, data: bytes) -> None:
        """Append to `written`; see `ByteLink.write`."""
        if self._gone:
            raise ReaderLost(Reason.LOST, what="the memory link is gone", remedy="make a new one")
        self.written += data

    async def aclose(self) -> None:
        """Wake the reading side with a loss."""
        self._gone = True
        if not self._chunks.full():
            self._chunks.put_nowait(b"")
