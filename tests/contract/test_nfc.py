"""nfcpy with a PN532 at the end of a pseudo-terminal: its port, its field and its faults."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.ports import Feedback, ReaderLost, Reason
from firmware_adapters import card_reader
from firmware_adapters.catalogue import open_reader
from firmware_adapters.nfc_terminal import NfcTerminal
from tests.support.pn532 import NfcBench
from tests.support.readers import Listener, listening
from tests.support.virtual_cards import NUMBER, NumberCard, StorageCard
from tests.support.waiting import until


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[NfcBench]:
    bench = NfcBench(tmp_path)
    yield bench
    bench.dispose()


async def test_a_port_in_use_is_busy(bench: NfcBench):
    async with listening(bench.reader):
        other = open_reader(bench.address, "other")
        error = await Listener(other).failure()
    assert error.reason is Reason.BUSY
    assert not isinstance(error, ReaderLost)


async def test_a_port_at_which_no_pn532_answers_is_lost(bench: NfcBench):
    bench.chip.mute.set()
    error = await Listener(bench.reader).failure()
    assert isinstance(error, ReaderLost)
    assert "no PN532" in error.what or "timed out" in error.what
    bench.chip.mute.clear()
    async with listening(bench.reader) as listener:
        bench.chip.hold(NumberCard())
        assert await listener.next_payload() == NUMBER


async def test_a_chip_that_falls_silent_is_lost(bench: NfcBench):
    async with listening(bench.reader) as listener:
        bench.chip.mute.set()
        assert isinstance(await listener.failure(), ReaderLost)


async def test_a_driver_that_hangs_is_cut_off(bench: NfcBench):
    async with listening(bench.reader) as listener:
        assert bench.reader.worker_pid is not None
        os.kill(bench.reader.worker_pid, signal.SIGSTOP)
        error = await listener.failure()
    assert error.reason is Reason.DEADLINE
    assert bench.reader.worker_pid is None


async def test_a_usb_reader_that_is_not_there_is_lost():
    error = await Listener(open_reader("nfc:usb:1209:0001", "r")).failure()
    assert isinstance(error, ReaderLost)


async def test_a_card_that_flickers_is_one_presentation(bench: NfcBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(card_reader, "FLICKER_MS", 60_000)  # longer than this process may be kept from looking
    async with listening(bench.reader) as listener:
        bench.chip.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
        listed = bench.chip.listed
        bench.chip.flicker.set()
        await until(lambda: bench.chip.listed > listed)
        bench.chip.take_away()
        bench.chip.hold(NumberCard(b"\x04" * 7))
        assert await listener.next_payload() == b"\x04" * 7
    assert bench.reader.statistics.cards == 2


async def test_a_storage_card_is_watched_until_it_leaves(bench: NfcBench):
    async with listening(bench.reader) as listener:
        for number in (b"\x01\x02\x03\x04", b"\x05\x06\x07\x09"):
            bench.chip.hold(StorageCard(number))
            assert await listener.next_payload() == number
            bench.chip.take_away()


async def test_feedback_is_nothing_here(bench: NfcBench):
    assert bench.reader.info.capabilities == frozenset()
    async with listening(bench.reader):
        await bench.reader.show(Feedback.GRANTED)


async def test_an_answer_of_the_chip_with_a_wrong_checksum_is_passed_over(bench: NfcBench):
    async with listening(bench.reader) as listener:
        bench.chip.break_next.set()
        await until(lambda: not bench.chip.break_next.is_set())
        bench.chip.hold(NumberCard())
        assert await listener.next_payload() == NUMBER


async def test_a_card_stays_when_an_answer_about_it_is_broken(bench: NfcBench):
    async with listening(bench.reader) as listener:
        bench.chip.hold(StorageCard(b"\x01\x02\x03\x04"))
        assert await listener.next_payload() == b"\x01\x02\x03\x04"
        bench.chip.break_next.set()
        await until(lambda: not bench.chip.break_next.is_set())
        bench.chip.take_away()
        bench.chip.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
    assert bench.reader.statistics.cards == 2


def test_numbers_and_commands_never_reach_a_log(bench: NfcBench, caplog: pytest.LogCaptureFixture):
    caplog.set_level(0)
    with contextlib.closing(NfcTerminal(str(bench.link))) as terminal:
        bench.chip.hold(NumberCard())
        while (found := terminal.wait(most_ms=100)) is None:
            pass
        assert found.number == NUMBER
        assert terminal.transmit(bytes.fromhex("00a4040003aabbcc00")) == b"\x6a\x82"
    assert NUMBER.hex() not in caplog.text.lower()
    assert "aabbcc" not in caplog.text.lower()
