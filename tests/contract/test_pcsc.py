"""A card reader behind a real pcscd, with virtual cards of every kind held to it."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.ports import Capability, Feedback, Form, Medium, ReaderError, ReaderLost, Reason
from firmware_adapters.card_reader import MOST_FAILED_STARTS, CardReader
from firmware_adapters.cards.errors import CardFault
from firmware_adapters.cards.identify import DESFIRE_APPLICATION
from firmware_adapters.cards.keys import CardKey
from firmware_adapters.catalogue import open_reader
from firmware_adapters.sealed_store import SealedStore
from tests.support.pcsc import PcscBench, home_in
from tests.support.readers import Listener, listening
from tests.support.virtual_cards import (
    NUMBER,
    Ev2Card,
    NdefTag,
    NumberCard,
    Phone,
    PkocCard,
    StorageCard,
    SunTag,
    VirtualCard,
    card_key,
    text_record,
)
from tests.support.waiting import until

_MASTERS: Final = {key: bytes([40 + place]) * 16 for place, key in enumerate(CardKey)}


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[PcscBench]:
    bench = PcscBench(tmp_path)
    yield bench
    bench.dispose()


@pytest.fixture(name="keyed")
def _keyed(bench: PcscBench) -> PcscBench:
    store = SealedStore(bench.state_folder)
    for purpose, key in _MASTERS.items():
        store.write(purpose.value, key)
    return bench


def _cards() -> dict[str, tuple[VirtualCard, Form, bytes]]:
    pkoc = PkocCard()
    desfire = Ev2Card(key=card_key(_MASTERS[CardKey.DESFIRE], 3), key_number=1, application=DESFIRE_APPLICATION)
    return {
        "storage": (StorageCard(bytes.fromhex("a1b2c3d4")), Form.CARD_NUMBER, bytes.fromhex("a1b2c3d4")),
        "number": (NumberCard(), Form.CARD_NUMBER, NUMBER),
        "printed pass": (NdefTag(text_record(b"DW1:ABC" * 60)), Form.CODE, b"DW1:ABC" * 60),
        "SUN": (
            SunTag(meta=_MASTERS[CardKey.SUN_META], file=_MASTERS[CardKey.SUN_FILE]),
            Form.CARD_MESSAGE,
            NUMBER,
        ),
        "NTAG 424": (Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2)), Form.CARD_SECRET, NUMBER),
        "DESFire": (desfire, Form.CARD_SECRET, NUMBER),
        "PKOC": (pkoc, Form.CARD_KEY, pkoc.credential),
    }


@pytest.mark.parametrize("kind", _cards())
async def test_a_card_proves_what_it_can(keyed: PcscBench, kind: str):
    card, form, payload = _cards()[kind]
    if isinstance(card, PkocCard):
        payload = card.credential
    async with listening(keyed.reader) as listener:
        keyed.field.hold(card)
        presentation = await listener.next()
    assert (presentation.form, presentation.payload, presentation.medium) == (form, payload, Medium.NFC)
    assert keyed.reader.statistics.proofs == {form: 1}
    assert not keyed.reader.statistics.misses


async def test_a_phone_answers_the_nonce_that_comes_with_its_presentation(bench: PcscBench):
    longest = secrets.token_bytes(448 - 16)
    async with listening(bench.reader) as listener:
        bench.field.hold(Phone(lambda nonce, _door: nonce + longest))
        presentation = await listener.next()
    assert presentation.form is Form.EXCHANGE
    assert presentation.nonce is not None
    assert presentation.payload == presentation.nonce + longest


async def test_a_phone_that_answers_at_once_only_is_asked_in_the_extended_form(bench: PcscBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(Phone(lambda _nonce, _door: bytes(448), piece=None))
        assert await listener.next_payload() == bytes(448)


async def test_a_card_that_stays_is_one_presentation(bench: PcscBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
        bench.field.take_away()
        bench.field.hold(NumberCard(b"\x04" * 7))
        assert await listener.next_payload() == b"\x04" * 7
    assert bench.reader.statistics.cards == 2


async def test_a_counter_that_went_back_is_a_miss_and_is_remembered_by_another_reader(keyed: PcscBench):
    tag = SunTag(meta=_MASTERS[CardKey.SUN_META], file=_MASTERS[CardKey.SUN_FILE], counter=10)
    async with listening(keyed.reader) as listener:
        keyed.field.hold(tag)
        assert (await listener.next()).form is Form.CARD_MESSAGE
    keyed.field.take_away()
    await keyed.reader.aclose()
    again = open_reader("pcsc:any", "again", home_in(keyed.state_folder))
    assert isinstance(again, CardReader)
    async with listening(again) as listener:
        tag.counter = 10
        keyed.field.hold(tag)
        assert (await listener.next()).form is Form.CARD_NUMBER
    assert again.statistics.misses == {CardFault.REPLAYED: 1}
    await again.aclose()


async def test_a_key_that_was_just_provisioned_counts_from_the_next_card_on(bench: PcscBench):
    card = Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2))
    async with listening(bench.reader) as listener:
        bench.field.hold(card)
        assert (await listener.next()).form is Form.CARD_NUMBER
        bench.field.take_away()
        SealedStore(bench.state_folder).write("ntag424", _MASTERS[CardKey.NTAG424])
        bench.field.hold(card)
        assert (await listener.next()).form is Form.CARD_SECRET


class _Leaving(Phone):
    """A phone that is taken away while it should answer."""

    def __init__(self, bench: PcscBench) -> None:
        super().__init__(lambda _nonce, _door: b"")
        self._bench = bench

    def answer(self, apdu: bytes) -> bytes:
        if apdu[1] == 0x80:
            self._bench.field.take_away()
        return super().answer(apdu)


async def test_a_card_that_leaves_in_the_middle_presents_nothing_and_the_next_is_read(bench: PcscBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(_Leaving(bench))
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
    assert bench.reader.statistics.misses == {CardFault.REMOVED: 1}
    assert bench.reader.statistics.worker_restarts == 0


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


async def test_a_killed_driver_is_replaced_and_reading_goes_on(bench: PcscBench):
    async with listening(bench.reader) as listener:
        assert bench.reader.worker_pid is not None
        os.kill(bench.reader.worker_pid, signal.SIGKILL)
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
    assert bench.reader.statistics.worker_restarts == 1


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


@pytest.mark.parametrize(("place", "mode"), [("", 0o750), ("ntag424", 0o640), ("ntag424", 0o602)])
async def test_keys_that_others_may_read_stop_the_reader(keyed: PcscBench, place: str, mode: int):
    path = SealedStore(keyed.state_folder).folder / place
    path.chmod(mode)
    error = await Listener(keyed.reader).failure()
    assert error.reason is Reason.PERMISSION
    assert str(path) in error.what
    path.chmod(0o700 if not place else 0o600)
    async with listening(keyed.reader) as listener:
        keyed.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER


async def test_keys_that_are_opened_to_others_later_stop_the_reader_at_the_next_card(keyed: PcscBench):
    async with listening(keyed.reader) as listener:
        (SealedStore(keyed.state_folder).folder / "ntag424").chmod(0o644)
        keyed.field.hold(NumberCard())
        assert (await listener.failure()).reason is Reason.PERMISSION


async def test_feedback_is_shown_on_the_reader_while_the_card_lies_there(tmp_path: Path):
    bench = PcscBench(tmp_path, "?acr122=1")
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
        bench.field.hold(NumberCard())
        await listener.next()
    assert bench.field.signals.empty()
    await bench.reader.show(Feedback.GRANTED)
    bench.dispose()


async def test_a_reader_without_signals_is_sent_none(bench: PcscBench):
    assert bench.reader.info.capabilities == frozenset()
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        await listener.next()
        await bench.reader.show(Feedback.GRANTED)
        bench.field.take_away()
        bench.field.hold(NumberCard())
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


async def test_a_wrong_key_in_the_store_is_a_fault(keyed: PcscBench):
    path = SealedStore(keyed.state_folder).folder / "ntag424"
    path.write_bytes(bytes(15))
    with pytest.raises(ReaderError):
        async for _ in keyed.reader.presentations():
            pass
