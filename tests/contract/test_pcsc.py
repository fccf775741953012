"""A card reader behind a real pcscd, with virtual cards of every kind held to it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.ports import Capability, Feedback, ReaderLost, Reason
from firmware_adapters.card_reader import MOST_FAILED_STARTS
from firmware_adapters.cards.errors import CardFault
from firmware_adapters.cards.keys import CardKey
from firmware_adapters.catalogue import open_reader
from tests.support.pcsc import PcscBench
from tests.support.readers import Listener, listening
from tests.support.virtual_cards import (
    NUMBER,
    NumberCard,
)
from tests.support.waiting import until

_MASTERS: Final = {key: bytes([40 + place]) * 16 for place, key in enumerate(CardKey)}


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[PcscBench]:
    bench = PcscBench(tmp_path)
    yield bench
    bench.dispose()


async def test_a_pcscd_that_hangs_is_cut_off_and_read_again_when_it_answers(bench: PcscBench):
    async with listening(bench.reader) as listener:
        os.kill(bench.pcscd.pid, signal.SIGSTOP)
        error = await listener.failure()
    assert isinstance(error, ReaderLost)
    assert error.reason is Reason.DEADLINE
    assert bench.reader.worker_pid is None
    os.kill(bench.pcscd.pid, signal.SIGCONT)
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER


async def test_a_driver_that_never_starts_is_a_fault_and_not_tried_for_ever(
    bench: PcscBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "smartcard.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = await Listener(bench.reader).failure()
    assert error.reason is Reason.FAULT
    assert "code 3" in error.what
    assert bench.reader.statistics.worker_restarts == MOST_FAILED_STARTS + 1


async def test_a_missing_library_is_told_with_its_name_and_remedy(
    bench: PcscBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "smartcard.py").write_text("raise ImportError('libpcsclite.so is missing', name='smartcard')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = await Listener(bench.reader).failure()
    assert error.reason is Reason.UNSUPPORTED
    assert "smartcard" in error.what
    assert "pip install 'doorward[pcsc]'" in error.remedy


async def test_a_reader_that_pcscd_does_not_have_is_lost(bench: PcscBench):
    assert bench.pcscd.pid
    error = await Listener(open_reader("pcsc:No%20Such%20Reader", "r")).failure()
    assert isinstance(error, ReaderLost)
    assert "'No Such Reader'" in error.what


async def test_a_card_that_another_program_holds_is_busy(bench: PcscBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
        other = open_reader("pcsc:any", "other")
        error = await Listener(other).failure()
    assert error.reason is Reason.BUSY
    assert not isinstance(error, ReaderLost)
    await other.aclose()


@pytest.fixture(name="lit")
def _lit(tmp_path: Path) -> Iterator[PcscBench]:
    bench = PcscBench(tmp_path, "?acr122=1")
    yield bench
    bench.dispose()


async def test_feedback_is_shown_on_the_reader_while_the_card_lies_there(lit: PcscBench):
    bench = lit
    assert bench.reader.info.capabilities == {Capability.LED, Capability.BUZZER}
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        await listener.next()
        for feedback in Feedback:
            await bench.reader.show(feedback)
            shown = await asyncio.to_thread(bench.field.signals.get, timeout=10)
            # FF 00 40, the LEDs' last state, four bytes: how long on and off, how often, with the buzzer or not.
            assert shown[:3].hex() == "ff0040"
            assert shown[3] == {"granted": 0x0E}.get(feedback.value, 0x0D if "denied" in feedback.value else 0x0F)
            assert shown[4] == len(shown[5:]) == 4
        bench.field.take_away()
        await bench.reader.show(Feedback.GRANTED)
        bench.field.hold(NumberCard(b"\x04" * 7))
        await listener.next()
    assert bench.field.signals.empty()
    await bench.reader.show(Feedback.GRANTED)


async def test_a_reader_without_signals_is_sent_none(bench: PcscBench):
    assert bench.reader.info.capabilities == frozenset()
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        await listener.next()
        await bench.reader.show(Feedback.GRANTED)
        bench.field.take_away()
        bench.field.hold(NumberCard(b"\x04" * 7))
        await listener.next()
    assert bench.field.signals.empty()


async def test_an_answer_to_an_attempt_that_was_given_up_is_not_taken_for_the_next(bench: PcscBench):
    """A card that is slower than its attempt presents nothing; what it says at last disturbs nobody."""
    slow = _Slow()
    async with listening(bench.reader) as listener:
        bench.field.hold(slow)
        await until(lambda: bench.reader.statistics.misses[CardFault.DEADLINE] == 1)
        slow.may_answer.set()
        bench.field.take_away()
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER


class _Slow(NumberCard):
    """Takes its first command and answers when it may."""

    def __init__(self) -> None:
        super().__init__(b"\x04" * 7)
        self.may_answer = threading.Event()

    def answer(self, apdu: bytes) -> bytes:
        assert self.may_answer.wait(30)
        return super().answer(apdu)
