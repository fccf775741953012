"""The QR scanner on a serial line, on a real pseudo-terminal: its framing, its port and its errors."""

from __future__ import annotations

import asyncio
import logging
import os
import tty
from typing import TYPE_CHECKING

import pytest

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.catalogue import open_reader
from firmware_adapters.line_reader import MAX_LINE_BYTES, LineReader
from firmware_adapters.link import MemoryLink, open_serial
from tests.support.readers import Listener, SerialBench, listening
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from firmware_adapters.link import ByteLink


@pytest.fixture(name="scanner")
def _scanner(tmp_path: Path) -> Iterator[SerialBench]:
    bench = SerialBench(tmp_path)
    yield bench
    bench.dispose()


@pytest.mark.parametrize("terminator", [b"\r", b"\n", b"\r\n"])
async def test_each_terminator_ends_a_code(scanner: SerialBench, terminator: bytes):
    async with listening(scanner.reader) as listener:
        scanner.send(b"ONE" + terminator + b"TWO" + terminator)
        assert [await listener.next_payload(), await listener.next_payload()] == [b"ONE", b"TWO"]


async def test_several_codes_in_one_read_are_several_presentations(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        scanner.send(b"A\rB\nC\r\n\r\nD\n")
        assert [await listener.next_payload() for _ in range(4)] == [b"A", b"B", b"C", b"D"]


async def test_a_scanner_without_a_terminator_is_read_after_silence(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        scanner.send(b"NO TERMINATOR")
        assert await listener.next_payload() == b"NO TERMINATOR"
        scanner.send(b"NOR HERE")
        assert await listener.next_payload() == b"NOR HERE"


async def test_the_silence_that_ends_a_code_is_an_option(tmp_path: Path):
    scanner = SerialBench(tmp_path, "?idle_ms=1000")
    async with listening(scanner.reader) as listener:
        scanner.send(b"FIRST ")
        # Longer than the usual 50 ms, shorter than the second that was asked for.
        await asyncio.sleep(0.15)
        scanner.send(b"HALF")
        assert await listener.next_payload() == b"FIRST HALF"
    scanner.dispose()


async def test_garbage_is_presented_as_it_is_and_what_follows_is_read(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        scanner.send(b"\x00\xff\x11\x13\x03\x04\x1a\x7f\nGOOD\n")
        assert await listener.next_payload() == b"\x00\xff\x11\x13\x03\x04\x1a\x7f"
        assert await listener.next_payload() == b"GOOD"


async def test_an_overlong_code_is_one_presentation_cut_to_one_byte_too_many(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        # More than the terminal holds: the reader has to take some meanwhile.
        await asyncio.to_thread(scanner.send, b"X" * 20_000 + b"\nGOOD\n")
        oversize = await listener.next_payload()
        assert oversize == b"X" * (MAX_LINE_BYTES + 1)
        assert len(oversize) > scanner.reader.info.max_payload_bytes
        assert await listener.next_payload() == b"GOOD"


async def test_a_code_of_the_longest_length_is_whole(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        scanner.send(b"X" * MAX_LINE_BYTES + b"\n")
        assert await listener.next_payload() == b"X" * MAX_LINE_BYTES


async def test_another_device_under_the_same_link_is_read_after_an_unplug(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        scanner.restore()
        assert (await listener.failure()).reason is Reason.LOST
    async with listening(scanner.reader) as listener:
        scanner.present(b"SECOND SCANNER")
        assert await listener.next_payload() == b"SECOND SCANNER"


async def test_codes_sent_before_the_opening_are_discarded(scanner: SerialBench):
    scanner.send(b"STALE\n")
    async with listening(scanner.reader) as listener:
        scanner.send(b"FRESH\n")
        assert await listener.next_payload() == b"FRESH"


async def test_passes_never_reach_a_log(scanner: SerialBench, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with listening(scanner.reader) as listener:
        scanner.send(b"DW1:SECRET\n")
        assert await listener.next_payload() == b"DW1:SECRET"
        scanner.lose()
        await listener.failure()
    assert "SECRET" not in caplog.text


async def test_a_port_in_use_is_busy(scanner: SerialBench):
    async with listening(scanner.reader):
        error = await Listener(open_reader(f"serial://{scanner.link}", "other")).failure()
    assert error.reason is Reason.BUSY
    assert not isinstance(error, ReaderLost)


async def test_a_file_is_no_serial_port(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"text\n")
    for path in (tmp_path / "file", tmp_path):
        error = await Listener(open_reader(f"serial://{path}", "r")).failure()
        assert error.reason is Reason.UNSUPPORTED
        assert str(path) in error.what


async def test_what_is_written_arrives(scanner: SerialBench):
    link = await open_serial(str(scanner.link), baud=115_200)
    await link.write(b"\x07beep")
    assert scanner.received() == b"\x07beep"
    await link.aclose()


async def test_a_scanner_that_takes_no_bytes_fails_at_the_deadline(scanner: SerialBench):
    link = await open_serial(str(scanner.link), baud=115_200)
    with pytest.raises(ReaderError) as caught:
        await link.write(b"X" * 1_000_000)
    assert caught.value.reason is Reason.DEADLINE
    await link.aclose()


async def test_a_write_to_an_unplugged_scanner_is_a_loss(scanner: SerialBench):
    link = await open_serial(str(scanner.link), baud=115_200)
    scanner.lose()
    with pytest.raises(ReaderLost):
        await link.read()
    with pytest.raises(ReaderLost):
        await link.write(b"X")
    await link.aclose()


async def test_a_closed_link_wakes_its_reader(scanner: SerialBench):
    link = await open_serial(str(scanner.link), baud=115_200)
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    await link.aclose()
    with pytest.raises(ReaderLost) as caught:
        await reading
    assert caught.value.reason is Reason.CLOSED


async def test_the_port_is_set_raw_whatever_it_was_before(scanner: SerialBench):
    """A cooked terminal would swallow control bytes, echo, and turn CR into LF."""
    slave = os.open(scanner.link, os.O_RDWR | os.O_NOCTTY)
    tty.setcbreak(slave)
    os.close(slave)
    async with listening(scanner.reader) as listener:
        scanner.send(b"\x03\x04\x16\x1a\n")
        assert await listener.next_payload() == b"\x03\x04\x16\x1a"


def _memory_reader(*links: MemoryLink) -> LineReader:
    waiting = list(links)

    async def open_link() -> ByteLink:
        return waiting.pop(0)

    return LineReader("memory", open_link, idle_ms=50)


async def test_a_reader_works_on_any_link():
    first, second = MemoryLink(), MemoryLink()
    reader = _memory_reader(first, second)
    async with listening(reader) as listener:
        await first.feed(b"ON")
        await first.feed(b"E\r\nTWO\r\n")
        await first.unplug()
        assert [await listener.next_payload(), await listener.next_payload()] == [b"ONE", b"TWO"]
        assert (await listener.failure()).reason is Reason.LOST
        with pytest.raises(ReaderLost):
            await first.write(b"gone")
    async with listening(reader) as listener:
        await second.write(b"\x07")
        await second.feed(b"THREE\n")
        assert await listener.next_payload() == b"THREE"
        await reader.aclose()
        await listener.ended()
    assert bytes(second.written) == b"\x07"


class PausedLink(MemoryLink):
    """A link within whose first code the process stands still for longer than a silence; the rest comes meanwhile."""

    reads = 0

    async def read(self) -> bytes:
        loop = asyncio.get_running_loop()
        self.reads += 1
        if self.reads == 2:
            over_s = loop.time() + 0.06
            while loop.time() < over_s:
                pass
            loop.call_soon(self._chunks.put_nowait, b"VE\n")  # as from a port: in the turn in which the time is over
        return await super().read()


async def test_a_code_is_whole_although_the_machine_stood_still_within_it():
    link = PausedLink()
    async with listening(_memory_reader(link)) as listener:
        await link.feed(b"FI")
        assert await listener.next_payload() == b"FIVE"


async def test_closing_while_the_port_is_being_opened_frees_it():
    link, may_open = MemoryLink(), asyncio.Event()

    async def open_link() -> ByteLink:
        await may_open.wait()
        return link

    reader = LineReader("memory", open_link, idle_ms=50)
    listener = Listener(reader)
    await asyncio.sleep(0.01)
    await reader.aclose()
    may_open.set()
    await listener.ended()
    with pytest.raises(ReaderLost):
        async with asyncio.timeout(DEADLINE_S):
            await link.read()


async def test_opened_waits_again_after_a_loss(scanner: SerialBench):
    async with listening(scanner.reader) as listener:
        scanner.lose()
        await listener.failure()
        returned = asyncio.create_task(scanner.reader.opened())
        scanner.restore()
        await asyncio.sleep(0)
        assert not returned.done()
        async with listening(scanner.reader):
            await until(returned.done)
