"""A TCP proxy between doors and cloud that misbehaves on demand: as networks do, and worse.

Between two ends that speak TLS it cannot change a byte without breaking the connection, which is what is to be shown.
Everything is done to live connections or to the whole proxy; chance is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CHUNK_BYTES: Final = 64 * 1024
REQUEST_BYTES: Final = 600
"""A batch of one event is larger than this on the line, a question for changes smaller."""


@unique
class Answer(Enum):
    """When a connection is cut, of an answer to a request that went up."""

    BEGUN = "begun"  # nothing of it is delivered: the work is done, and nobody is told
    FINISHED = "finished"  # all of it is delivered, then the line breaks


@dataclass
class Pipe:
    """One direction of a connection.

    Attributes:
        delay_s: each piece waits so long (pieces keep their order).
        bytes_per_s: None for as fast as it goes.
        open: cleared, nothing is forwarded any more and nothing is closed.
        cut_at: the connection is reset before this byte of the direction, counted from its start.
        passed: bytes forwarded.
    """

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cut_at: int | None = None
    passed: int = 0
    edits: deque[Callable[[bytes], list[bytes]]] = field(default_factory=deque)
    edited: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def corrupt(self, chance: random.Random) -> None:
        """Flip one bit of the next piece."""
        self.edits.append(lambda data: [_flipped(data, chance)])

    def duplicate(self) -> None:
        """Send the next piece twice."""
        self.edits.append(lambda data: [data, data])

    def drop(self, chance: random.Random) -> None:
        """Leave some bytes of the next piece out, at least one."""
        self.edits.append(lambda data: [_without(data, chance)])

    def reorder(self, chance: random.Random) -> None:
        """Send the second part of the next piece before its first."""
        self.edits.append(lambda data: _swapped(data, chance))

    def edit(self, data: bytes) -> list[bytes]:
        """Do what was asked for to a piece."""
        if not self.edits or not data:
            return [data]
        found = self.edits.popleft()(data)
        self.edited.set()
        return found


class Connection:
    """A connection that goes through: `up` to the cloud, `down` to the door."""

    def __init__(self, door: asyncio.StreamWriter, cloud: asyncio.StreamWriter) -> None:
        self.up = Pipe()
        self.down = Pipe()
        self.closed = asyncio.Event()
        self._door = door
        self._cloud = cloud
        self._cut_on: Answer | None = None
        self._requested = 0

    def reset(self) -> None:
        """End it as a crashed machine or an impatient firewall does (RST to both)."""
        for writer in (self._door, self._cloud):
            _reset(writer)
        self.closed.set()

    def freeze(self) -> None:
        """Let it be half-open: nothing goes through, nobody is told."""
        self.up.open.clear()
        self.down.open.clear()

    def thaw(self) -> None:
        """Let everything that waited go through."""
        self.up.open.set()
        self.down.open.set()

    def slow(self, *, delay_s: float = 0.0, bytes_per_s: float | None = None) -> None:
        """Delay each piece, in both directions, and let so many bytes a second through."""
        for pipe in (self.up, self.down):
            pipe.delay_s, pipe.bytes_per_s = delay_s, bytes_per_s

    def cut_on_answer(self, answer: Answer) -> None:
        """Reset when the answer to the next request of `REQUEST_BYTES` or more comes; `closed` tells that it did."""
        self._cut_on, self._requested = answer, 0

    def spare(self) -> None:
        """End `cut_on_answer`."""
        self._cut_on = None

    async def forward(self, up: asyncio.StreamReader, down: asyncio.StreamReader) -> None:
        """Forward both directions until one ends."""
        pumps = [
            asyncio.create_task(self._pump(up, self._cloud, self.up, self._sent)),
            asyncio.create_task(self._pump(down, self._door, self.down, self._answered)),
        ]
        closing = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait((*pumps, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First the connections: the wait below may be cut short.
            self.closed.set()
            for writer in (self._door, self._cloud):
                writer.transport.abort()
            for task in (*pumps, closing):
                task.cancel()
            await asyncio.wait((*pumps, closing))

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pipe: Pipe,
        seen: Callable[[bytes], bytes | None],
    ) -> None:
        """Forward one direction; ends with the first end or break on either side."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if pipe.delay_s:
                    await asyncio.sleep(pipe.delay_s)
                await pipe.open.wait()
                kept = seen(data)
                if kept is not None:
                    await self._send(writer, pipe, kept)
                    self.reset()
                    return
                for piece in pipe.edit(data):
                    if not await self._send(writer, pipe, piece):
                        return
            writer.write_eof()

    async def _send(self, writer: asyncio.StreamWriter, pipe: Pipe, piece: bytes) -> bool:
        """Forward a piece; False when the connection had to be cut within it."""
        room = None if pipe.cut_at is None else pipe.cut_at - pipe.passed
        whole = room is None or len(piece) < room
        piece = piece if whole else piece[: max(0, room or 0)]
        writer.write(piece)
        pipe.passed += len(piece)
        await writer.drain()
        if pipe.bytes_per_s:
            await asyncio.sleep(len(piece) / pipe.bytes_per_s)
        if not whole:
            self.reset()
        return whole

    def _sent(self, data: bytes) -> bytes | None:
        self._requested += len(data)
        return None

    def _answered(self, data: bytes) -> bytes | None:
        """Give what is still delivered when the connection is to be cut now, None when it is not."""
        asked, self._requested = self._requested >= REQUEST_BYTES, 0
        if self._cut_on is None or not asked:
            return None
        return b"" if self._cut_on is Answer.BEGUN else data


class TcpProxy:
    """Forwards connections to a place; made by `tcp_proxy`.

    Attributes:
        accepted: how many there were.
        greet: is given each new connection before anything is forwarded.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self._connections: list[Connection] = []
        self.accepted = 0
        self.greet: Callable[[Connection], None] = lambda _: None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._refusing = False
        self._partitioned = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """As a door is given it."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def live(self) -> list[Connection]:
        """The connections that are open, oldest first."""
        return [connection for connection in self._connections if not connection.closed.is_set()]

    def refuse(self) -> None:
        """Hang up on whoever connects; what is open stays."""
        self._refusing = True

    def admit(self) -> None:
        """End `refuse`."""
        self._refusing = False

    def partition(self) -> None:
        """Let nothing through any more, in no connection, new ones included, and tell nobody."""
        self._partitioned = True
        for connection in self.live:
            connection.freeze()

    def heal(self) -> None:
        """End the partition."""
        self._partitioned = False
        for connection in self.live:
            connection.thaw()

    def reset_all(self) -> int:
        """Reset all connections; gives how many there were."""
        for connection in (found := self.live):
            connection.reset()
        return len(found)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            _reset(writer)
            return
        try:
            up, cloud = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        connection = Connection(writer, cloud)
        if self._partitioned:
            connection.freeze()
        self.greet(connection)
        self._connections.append(connection)
        try:
            await connection.forward(reader, up)
        finally:
            self._connections.remove(connection)


@asynccontextmanager
async def tcp_proxy(host: str, port: int) -> AsyncIterator[TcpProxy]:
    """Run a proxy to a place until the block ends."""
    proxy = TcpProxy(host, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.aclose()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN (SO_LINGER of zero seconds)."""
    peer: socket.socket | None = writer.get_extra_info("socket")
    if peer is not None:
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _flipped(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << chance.randrange(8),)) + data[place + 1 :]


def _without(data: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(data))
    return data[:begin] + data[begin + chance.randint(1, 16) :]


def _swapped(data: bytes, chance: random.Random) -> list[bytes]:
    place = chance.randrange(len(data))
    return [data[place:], data[:place]]
