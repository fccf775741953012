"""What a card reader promises whatever its stack: every kind of card, at pcscd and at nfcpy's PN532."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.ports import Form, Medium, ReaderError, Reason
from firmware_adapters.card_reader import CardReader
from firmware_adapters.cards.errors import CardFault
from firmware_adapters.cards.identify import DESFIRE_APPLICATION
from firmware_adapters.cards.keys import CardKey
from firmware_adapters.catalogue import open_reader
from firmware_adapters.sealed_store import SealedStore
from tests.support.pcsc import CardBench, PcscBench, home_in
from tests.support.pn532 import NfcBench
from tests.support.readers import Listener, listening
from tests.support.virtual_cards import (
    NUMBER,
    CutCard,
    Ev2Card,
    LrpTag,
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

_MASTERS: Final = {key: bytes([40 + place]) * 16 for place, key in enumerate(CardKey)}


_BENCHES: Final[dict[str, Callable[[Path], CardBench]]] = {"pcsc": PcscBench, "nfc": NfcBench}


@pytest.fixture(params=_BENCHES, name="bench")
def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CardBench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    bench.dispose()


@pytest.fixture(name="keyed")
def _keyed(bench: CardBench) -> CardBench:
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
async def test_a_card_proves_what_it_can(keyed: CardBench, kind: str):
    card, form, payload = _cards()[kind]
    if isinstance(card, PkocCard):
        payload = card.credential
    async with listening(keyed.reader) as listener:
        keyed.field.hold(card)
        presentation = await listener.next()
    assert (presentation.form, presentation.payload, presentation.medium) == (form, payload, Medium.NFC)
    assert keyed.reader.statistics.proofs == {form: 1}
    assert not keyed.reader.statistics.misses


async def test_a_phone_answers_the_nonce_that_comes_with_its_presentation(bench: CardBench):
    longest = secrets.token_bytes(448 - 16)
    async with listening(bench.reader) as listener:
        bench.field.hold(Phone(lambda nonce, _door: nonce + longest))
        presentation = await listener.next()
    assert presentation.form is Form.EXCHANGE
    assert presentation.nonce is not None
    assert presentation.payload == presentation.nonce + longest


async def test_a_phone_that_answers_at_once_only_is_asked_in_the_extended_form(bench: CardBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(Phone(lambda _nonce, _door: bytes(448), piece=None))
        assert await listener.next_payload() == bytes(448)


async def test_a_card_that_stays_is_one_presentation(bench: CardBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
        bench.field.take_away()
        bench.field.hold(NumberCard(b"\x04" * 7))
        assert await listener.next_payload() == b"\x04" * 7
    assert bench.reader.statistics.cards == 2


async def test_a_counter_that_went_back_is_a_miss_and_is_remembered_by_another_reader(keyed: CardBench):
    """The tag lies there while the daemon starts anew, and tells an older counter then."""
    tag = SunTag(meta=_MASTERS[CardKey.SUN_META], file=_MASTERS[CardKey.SUN_FILE], counter=10)
    async with listening(keyed.reader) as listener:
        keyed.field.hold(tag)
        assert (await listener.next()).form is Form.CARD_MESSAGE
    await keyed.reader.aclose()
    tag.counter = 10
    again = open_reader(keyed.address, "again", home_in(keyed.state_folder))
    assert isinstance(again, CardReader)
    async with listening(again) as listener:
        assert (await listener.next()).form is Form.CARD_NUMBER
    assert again.statistics.misses == {CardFault.REPLAYED: 1}
    await again.aclose()


async def test_a_key_that_was_just_provisioned_counts_from_the_next_card_on(bench: CardBench):
    other = bytes.fromhex("04aabbccddeeff")
    async with listening(bench.reader) as listener:
        bench.field.hold(Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2)))
        assert (await listener.next()).form is Form.CARD_NUMBER
        bench.field.take_away()
        SealedStore(bench.state_folder).write("ntag424", _MASTERS[CardKey.NTAG424])
        bench.field.hold(Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2, other), number=other))
        assert (await listener.next()).form is Form.CARD_SECRET


def _wrong_mac() -> SunTag:
    tag = SunTag(meta=_MASTERS[CardKey.SUN_META], file=_MASTERS[CardKey.SUN_FILE])
    tag.wrong_mac = True
    return tag


def _wrong_session_mac() -> Ev2Card:
    card = Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2))
    card.wrong_mac = True
    return card


def _unable() -> dict[str, tuple[VirtualCard, dict[CardFault, int], str]]:
    """Cards that prove nothing, each with its misses and what a technician is told."""
    ev2 = Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2))
    return {
        "SUN message with a wrong CMAC": (_wrong_mac(), {CardFault.UNPROVEN: 1}, "card proof wrong"),
        "number with a wrong CMAC": (_wrong_session_mac(), {CardFault.UNPROVEN: 1}, "card proof wrong"),
        "LRP mode": (LrpTag(), {CardFault.UNSUPPORTED: 2}, "card in LRP mode"),
        "a step cut short": (CutCard(ev2, 17), {CardFault.REFUSED: 1}, "card refused the door"),
        "an answer of one byte": (
            CutCard(PkocCard(NUMBER), 1),
            {CardFault.MALFORMED: 5},
            "card answer cut or malformed",
        ),
    }


@pytest.mark.parametrize("kind", _unable())
async def test_a_card_that_cannot_prove_itself_is_a_number_and_the_next_is_read(keyed: CardBench, kind: str):
    card, misses, told = _unable()[kind]
    async with listening(keyed.reader) as listener:
        keyed.field.hold(card)
        presentation = await listener.next()
        assert (presentation.form, presentation.payload) == (Form.CARD_NUMBER, card.number)
        assert keyed.reader.statistics.misses == misses
        assert keyed.reader.troubles() == {told: sum(misses.values())}
        keyed.field.take_away()
        keyed.field.hold(NumberCard(b"\x04" * 7))
        assert await listener.next_payload() == b"\x04" * 7
    assert keyed.reader.statistics.worker_restarts == 0


class _Leaving(Phone):
    """A phone that is taken away while it should answer."""

    def __init__(self, bench: CardBench) -> None:
        super().__init__(lambda _nonce, _door: b"")
        self._bench = bench

    def answer(self, apdu: bytes) -> bytes:
        if apdu[1] == 0x80:
            self._bench.field.take_away()
        return super().answer(apdu)


async def test_a_card_that_leaves_in_the_middle_presents_nothing_and_the_next_is_read(bench: CardBench):
    async with listening(bench.reader) as listener:
        bench.field.hold(_Leaving(bench))
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
    assert bench.reader.statistics.misses == {CardFault.REMOVED: 1}
    assert bench.reader.statistics.worker_restarts == 0


async def test_a_killed_driver_is_replaced_and_reading_goes_on(bench: CardBench):
    async with listening(bench.reader) as listener:
        assert bench.reader.worker_pid is not None
        os.kill(bench.reader.worker_pid, signal.SIGKILL)
        bench.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER
    assert bench.reader.statistics.worker_restarts == 1


@pytest.mark.parametrize(("place", "mode"), [("", 0o750), ("ntag424", 0o640), ("ntag424", 0o602)])
async def test_keys_that_others_may_read_stop_the_reader(keyed: CardBench, place: str, mode: int):
    path = SealedStore(keyed.state_folder).folder / place
    path.chmod(mode)
    error = await Listener(keyed.reader).failure()
    assert error.reason is Reason.PERMISSION
    assert str(path) in error.what
    path.chmod(0o700 if not place else 0o600)
    async with listening(keyed.reader) as listener:
        keyed.field.hold(NumberCard())
        assert await listener.next_payload() == NUMBER


async def test_keys_that_are_opened_to_others_later_stop_the_reader_at_the_next_card(keyed: CardBench):
    async with listening(keyed.reader) as listener:
        (SealedStore(keyed.state_folder).folder / "ntag424").chmod(0o644)
        keyed.field.hold(NumberCard())
        assert (await listener.failure()).reason is Reason.PERMISSION


async def test_a_wrong_key_in_the_store_is_a_fault(keyed: CardBench):
    path = SealedStore(keyed.state_folder).folder / "ntag424"
    path.write_bytes(bytes(15))
    with pytest.raises(ReaderError):
        async for _ in keyed.reader.presentations():
            pass
