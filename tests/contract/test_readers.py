"""What every reader promises (edge/ports.py), tried on each of them with a real peer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.ports import Feedback, ReaderError, ReaderLost, Reason
from tests.support.hid_bench import HidBench
from tests.support.osdp_bench import OsdpBench
from tests.support.pcsc import PcscBench
from tests.support.pn532 import NfcBench
from tests.support.readers import (
    CsiBench,
    FolderBench,
    HttpBench,
    Listener,
    ReaderBench,
    SerialBench,
    SimulatedReaderBench,
    listening,
)
from tests.support.video_pipe import VideoBench
from tests.support.waiting import DEADLINE_S
from tests.support.wiegand_bench import WiegandBench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_BENCHES: dict[str, Callable[[Path], ReaderBench]] = {
    "serial": SerialBench,
    "camera": VideoBench,
    "camera+files": FolderBench,
    "camera+http": HttpBench,
    "camera+csi": CsiBench,
    "simulated": SimulatedReaderBench,
    "pcsc": PcscBench,
    "nfc": NfcBench,
    "hid": HidBench,
    "osdp": OsdpBench,
    "wiegand": WiegandBench,
}


@pytest.fixture(params=_BENCHES, name="bench")
async def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReaderBench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    async with asyncio.timeout(DEADLINE_S):
        await bench.reader.aclose()
    bench.dispose()


async def test_info_is_known_before_the_device_is_opened(bench: ReaderBench):
    info = bench.reader.info
    assert info.id in {"reader-1", "camera-1"}
    assert info.media
    assert info.max_payload_bytes >= 64


async def test_a_payload_is_presented_unchanged_with_its_reader_medium_and_time(bench: ReaderBench):
    async with listening(bench.reader) as listener:
        before_ms = time.monotonic_ns() // 1_000_000
        bench.present(b"DW1:ABC $%*+-./:")
        presentation = await listener.next()
    assert presentation.payload == bench.read_as(b"DW1:ABC $%*+-./:")
    assert presentation.reader == bench.reader.info.id
    assert presentation.medium in bench.reader.info.media
    assert before_ms <= presentation.read_at_ms <= time.monotonic_ns() // 1_000_000


async def test_payloads_come_in_the_order_they_were_presented_each_once(bench: ReaderBench):
    payloads = [f"CODE-{number}".encode() for number in range(5)]
    async with listening(bench.reader) as listener:
        for payload in payloads:
            bench.present(payload)
        assert [await listener.next_payload() for _ in payloads] == [*map(bench.read_as, payloads)]


async def test_a_lost_device_raises_and_is_read_again_after_its_return(bench: ReaderBench):
    async with listening(bench.reader) as listener:
        bench.present(b"BEFORE")
        assert await listener.next_payload() == bench.read_as(b"BEFORE")
        bench.lose()
        error = await listener.failure()
    assert isinstance(error, ReaderLost)
    assert error.reason is Reason.LOST
    assert error.remedy in str(error)
    bench.restore()
    async with listening(bench.reader) as listener:
        bench.present(b"ZZZ-AFTER")
        assert await listener.next_payload() == bench.read_as(b"ZZZ-AFTER")


async def test_a_device_that_is_missing_at_first_is_read_once_it_is_there(bench: ReaderBench):
    bench.lose()
    for _ in range(2):
        error = await Listener(bench.reader).failure()
        assert isinstance(error, ReaderLost)
        assert error.reason is Reason.LOST
    bench.restore()
    async with listening(bench.reader) as listener:
        bench.present(b"THERE")
        assert await listener.next_payload() == bench.read_as(b"THERE")


async def test_a_missing_device_is_not_tried_in_a_busy_loop(bench: ReaderBench):
    bench.lose()
    began_s = time.monotonic()
    for _ in range(4):
        await Listener(bench.reader).failure()
    # Pauses of 0, 0.1, 0.2 and 0.4 s.
    assert time.monotonic() - began_s >= 0.7


async def test_closing_ends_the_iteration_without_an_error(bench: ReaderBench):
    async with listening(bench.reader) as listener:
        await bench.reader.aclose()
        await listener.ended()


async def test_closing_twice_is_harmless_and_nothing_is_read_afterwards(bench: ReaderBench):
    await bench.reader.aclose()
    await bench.reader.aclose()
    await Listener(bench.reader).ended()


async def test_closing_ends_a_wait_for_a_missing_device(bench: ReaderBench):
    bench.lose()
    for _ in range(3):
        await Listener(bench.reader).failure()
    waiting = Listener(bench.reader)
    await asyncio.sleep(0)
    await bench.reader.aclose()
    await waiting.ended()


async def test_a_second_iteration_at_the_same_time_is_refused(bench: ReaderBench):
    async with listening(bench.reader) as listener:
        error = await Listener(bench.reader).failure()
        assert error.reason is Reason.BUSY
        bench.present(b"STILL READ")
        assert await listener.next_payload() == bench.read_as(b"STILL READ")


async def test_a_cancelled_iteration_frees_the_device_for_the_next(bench: ReaderBench):
    async with listening(bench.reader) as listener:
        await listener.cancel()
    async with listening(bench.reader) as listener:
        bench.present(b"AGAIN")
        assert await listener.next_payload() == bench.read_as(b"AGAIN")


@pytest.mark.parametrize("feedback", Feedback)
async def test_every_feedback_can_be_shown(bench: ReaderBench, feedback: Feedback):
    async with asyncio.timeout(DEADLINE_S):
        await bench.reader.show(feedback)


async def test_errors_are_of_the_ports_kind_and_say_what_to_do(bench: ReaderBench):
    bench.lose()
    error = await Listener(bench.reader).failure()
    assert isinstance(error, ReaderError)
    assert str(error) == f"{error.what}; {error.remedy}"
    assert len(error.remedy.split()) >= 3
