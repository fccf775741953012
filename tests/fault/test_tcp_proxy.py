"""The proxy that breaks connections does each thing that it is asked to do, to real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.tcp_proxy import REQUEST_BYTES, Answer, Connection, TcpProxy, tcp_proxy
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST = bytes(range(256)) * 4
SHORT = b"are there news?"
assert len(REQUEST) >= REQUEST_BYTES > len(SHORT)


class Line:
    """A client and a server that are joined by the proxy."""

    def __init__(self, proxy: TcpProxy, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.proxy = proxy
        self.reader, self.writer = client
        self.heard = bytearray()

    @property
    def connection(self) -> Connection:
        return self.proxy.live[0]

    async def ask(self, request: bytes = REQUEST) -> bytes:
        """Send, and give what comes back: the server sends everything back; b"" when the line broke."""
        self.writer.write(request)
        return await self.hear(len(request))

    async def hear(self, size: int) -> bytes:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                try:
                    return await self.reader.readexactly(size)
                except asyncio.IncompleteReadError as error:
                    return error.partial
        return b""

    async def silent(self, request: bytes = REQUEST, seconds: float = 0.2) -> bool:
        """Send, and tell whether nothing comes back for a while although nobody closed."""
        self.writer.write(request)
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, tcp_proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        found = Line(proxy, await asyncio.open_connection("127.0.0.1", proxy.port))
        assert await found.ask(SHORT) == SHORT
        yield found
        found.writer.transport.abort()


async def test_what_is_not_disturbed_goes_through(line: Line):
    assert await line.ask() == REQUEST
    assert (line.connection.up.passed, line.connection.down.passed) == (len(SHORT + REQUEST),) * 2


async def test_a_reset_ends_the_connection_on_both_sides(line: Line):
    line.connection.reset()
    assert await line.ask() == b""
    assert line.reader.at_eof() or line.reader.exception() is not None
    assert line.proxy.live == []


async def test_a_half_open_connection_is_silent_and_stays_open_until_it_is_let_through(line: Line):
    line.connection.freeze()
    assert await line.silent()
    line.connection.thaw()
    assert await line.hear(len(REQUEST)) == REQUEST


async def test_a_partition_holds_old_and_new_connections_until_it_is_healed(line: Line):
    line.proxy.partition()
    new = Line(line.proxy, await asyncio.open_connection("127.0.0.1", line.proxy.port))
    assert await line.silent()
    assert await new.silent()
    line.proxy.heal()
    assert await line.hear(len(REQUEST)) == REQUEST
    assert await new.hear(len(REQUEST)) == REQUEST
    new.writer.transport.abort()


async def test_who_is_refused_is_hung_up_on_and_who_is_there_stays(line: Line):
    line.proxy.refuse()
    new = Line(line.proxy, await asyncio.open_connection("127.0.0.1", line.proxy.port))
    assert await new.ask() == b""
    assert await line.ask() == REQUEST
    line.proxy.admit()
    again = Line(line.proxy, await asyncio.open_connection("127.0.0.1", line.proxy.port))
    assert await again.ask() == REQUEST
    again.writer.transport.abort()


async def test_a_delay_is_at_least_what_was_asked_for_in_both_directions(line: Line):
    line.connection.slow(delay_s=0.05)
    began_s = time.monotonic()
    assert await line.ask() == REQUEST
    assert time.monotonic() - began_s >= 0.1


async def test_a_slow_line_takes_its_time(line: Line):
    line.connection.slow(bytes_per_s=len(REQUEST) * 10)
    assert await line.ask() == REQUEST
    began_s = time.monotonic()
    assert await line.ask() == REQUEST  # waits for what the line still owes of the first
    assert time.monotonic() - began_s >= 0.1


async def test_corruption_changes_one_bit_and_no_more(line: Line):
    line.connection.down.corrupt(random.Random(1))
    found = await line.ask()
    changed = [(a ^ b).bit_count() for a, b in zip(found, REQUEST, strict=True) if a != b]
    assert changed == [1]
    assert await line.ask() == REQUEST


async def test_duplication_sends_a_piece_twice(line: Line):
    line.connection.up.duplicate()
    assert await line.ask() == REQUEST
    assert await line.hear(len(REQUEST)) == REQUEST


async def test_dropping_leaves_bytes_out(line: Line):
    line.connection.up.drop(random.Random(2))
    line.writer.write(REQUEST)
    async with asyncio.timeout(DEADLINE_S):
        await line.connection.up.edited.wait()
    assert len(SHORT) < line.connection.up.passed < len(SHORT + REQUEST)
    found = await line.hear(line.connection.up.passed - len(SHORT))
    assert 1 <= len(REQUEST) - len(found) <= 16


async def test_reordering_swaps_two_parts(line: Line):
    line.connection.down.reorder(random.Random(3))
    found = await line.ask()
    assert found != REQUEST
    assert any(found == REQUEST[place:] + REQUEST[:place] for place in range(len(REQUEST)))


async def test_a_cut_after_some_bytes_lets_exactly_those_through(line: Line):
    line.connection.down.cut_at = len(SHORT) + 100
    found = await line.ask()
    assert found in (REQUEST[:100], b"")  # a reset may overtake what it follows
    assert line.proxy.live == []


async def test_a_cut_when_the_answer_begins_happens_after_the_request_has_arrived(line: Line):
    line.connection.cut_on_answer(Answer.BEGUN)
    connection = line.connection
    assert await line.ask(SHORT) == SHORT  # too short to be a batch
    assert await line.ask() == b""
    assert connection.closed.is_set()
    assert connection.up.passed == len(SHORT + SHORT + REQUEST)
    assert connection.down.passed == len(SHORT + SHORT)


async def test_a_cut_when_the_answer_is_finished_has_delivered_it(line: Line):
    line.connection.cut_on_answer(Answer.FINISHED)
    connection = line.connection
    assert await line.ask() in (REQUEST, b"")  # a reset may overtake what it follows
    assert connection.down.passed == len(SHORT + REQUEST)
    assert connection.closed.is_set()


async def test_a_cloud_that_is_away_is_a_reset():
    async with tcp_proxy("127.0.0.1", 1) as proxy:
        away = Line(proxy, await asyncio.open_connection("127.0.0.1", proxy.port))
        assert await away.ask() == b""
