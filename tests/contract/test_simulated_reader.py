"""What the simulated reader reads and shows, and what it answers to lines that are none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from edge.ports import Feedback, Form, Medium, PinEntry, Presentation, ReaderError, Reason
from firmware_adapters.catalogue import open_lock, open_reader
from firmware_adapters.simulated_reader import MAX_PAYLOAD_BYTES, MOST_READINGS, send_reading
from tests.support.readers import Listener, SimulatedReaderBench, listening
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path) -> AsyncIterator[SimulatedReaderBench]:
    bench = SimulatedReaderBench(tmp_path)
    yield bench
    async with asyncio.timeout(DEADLINE_S):
        await bench.reader.aclose()
    bench.dispose()


@pytest.mark.parametrize(
    ("line", "medium", "form", "payload"),
    [
        (b"code DW1:AB C", Medium.QR, Form.CODE, b"DW1:AB C"),
        (b"code 4006381333931", Medium.QR, Form.CODE, b"4006381333931"),
        (b"card 04a1B2c3", Medium.NFC, Form.CARD_NUMBER, b"\x04\xa1\xb2\xc3"),
        (b"message 01", Medium.NFC, Form.CARD_MESSAGE, b"\x01"),
        (b"secret 02", Medium.NFC, Form.CARD_SECRET, b"\x02"),
        (b"key 03", Medium.NFC, Form.CARD_KEY, b"\x03"),
    ],
)
async def test_each_kind_of_line_is_read_as_what_it_says(
    bench: SimulatedReaderBench, line: bytes, medium: Medium, form: Form, payload: bytes
):
    async with listening(bench.reader) as listener:
        await send_reading(bench.folder, "reader-1", line)
        read = await listener.next()
    assert (read.medium, read.form, read.payload, read.hashed) == (medium, form, payload, False)


@pytest.mark.parametrize("digits", [b"1", b"0123456789012345"])
async def test_a_pin_is_an_entry_of_its_own(bench: SimulatedReaderBench, digits: bytes):
    async with listening(bench.reader) as listener:
        await send_reading(bench.folder, "reader-1", b"pin " + digits)
        read = await listener.next_reading()
    assert isinstance(read, PinEntry)
    assert (read.reader, read.digits) == ("reader-1", digits)


@pytest.mark.parametrize(
    "line",
    [
        b"pin",
        b"pin 7351a",
        b"pin 73510000000000000",
        b"card 735",
        b"card 7351xy",
        b"card \xff",
        b"badge 7351",
        b"pin7351",
    ],
)
async def test_a_line_that_is_none_is_refused_and_not_repeated(bench: SimulatedReaderBench, line: bytes):
    async with listening(bench.reader) as listener:
        with pytest.raises(ReaderError) as caught:
            await send_reading(bench.folder, "reader-1", line)
        assert caught.value.reason is Reason.UNSUPPORTED
        assert "735" not in str(caught.value)
        await send_reading(bench.folder, "reader-1", b"code NEXT")
        assert await listener.next_payload() == b"NEXT"


async def test_a_code_that_is_too_long_is_cut_to_one_byte_more(bench: SimulatedReaderBench):
    async with listening(bench.reader) as listener:
        bench.present(b"A" * MAX_PAYLOAD_BYTES)
        bench.present(b"B" * (2 * MAX_PAYLOAD_BYTES))
        assert await listener.next_payload() == b"A" * MAX_PAYLOAD_BYTES
        assert await listener.next_payload() == b"B" * (MAX_PAYLOAD_BYTES + 1)


async def test_what_a_reader_shows_is_on_record_while_it_is_open(bench: SimulatedReaderBench):
    await bench.reader.show(Feedback.WAIT)
    async with listening(bench.reader):
        await bench.reader.show(Feedback.ENTER_PIN)
        await bench.reader.show(Feedback.GRANTED)
    shown = [json.loads(line) for line in (bench.folder / "reader-reader-1.jsonl").read_text().splitlines()]
    assert [line["feedback"] for line in shown] == ["enter_pin", "granted"]
    assert all(line["t_wall_ms"] > 0 for line in shown)


async def test_a_door_has_its_lock_and_several_readers_in_one_folder(bench: SimulatedReaderBench):
    lock = open_lock(f"simulated://{bench.folder}")
    other = open_reader(f"simulated://{bench.folder}", "out")
    async with listening(bench.reader) as first, listening(other) as second:
        await send_reading(bench.folder, "out", b"code OUT")
        await send_reading(bench.folder, "reader-1", b"code IN")
        assert (await first.next_payload(), await second.next_payload()) == (b"IN", b"OUT")
    await other.aclose()
    await lock.aclose()


async def test_a_reader_in_use_is_not_read_by_another(bench: SimulatedReaderBench):
    same = open_reader(f"simulated://{bench.folder}", "reader-1")
    async with listening(bench.reader) as listener:
        error = await Listener(same).failure()
        assert error.reason is Reason.BUSY
        await send_reading(bench.folder, "reader-1", b"code STILL")
        assert await listener.next_payload() == b"STILL"
    await same.aclose()


async def _send_when_open(bench: SimulatedReaderBench, line: bytes) -> None:
    await bench.reader.opened()
    await send_reading(bench.folder, "reader-1", line)


async def test_more_than_the_daemon_takes_is_refused(bench: SimulatedReaderBench):
    readings = bench.reader.presentations()
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(_send_when_open(bench, b"code FIRST"))
        assert isinstance(await anext(readings), Presentation)
        for _ in range(MOST_READINGS):
            await send_reading(bench.folder, "reader-1", b"code MORE")
        with pytest.raises(ReaderError, match="wait and try again"):
            await send_reading(bench.folder, "reader-1", b"code TOO MANY")
        await bench.reader.aclose()
        assert len([each async for each in readings]) <= 1


async def test_without_a_daemon_nobody_reads(tmp_path: Path):
    with pytest.raises(ReaderError) as caught:
        await send_reading(tmp_path, "reader-1", b"code LOST")
    assert caught.value.reason is Reason.LOST
