"""What each kind of card proves to a door, card and door talking directly."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from random import Random
from typing import Final

import pytest

from edge.ports import Form
from firmware_adapters.cards import identify as module
from firmware_adapters.cards.counters import CardCounters, FileCounters, MemoryCounters
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.cards.identify import DESFIRE_APPLICATION, Card, Desk, Identification, Miss, identify
from firmware_adapters.cards.keys import CardKey, CardKeys
from firmware_adapters.cards.ndef import MOST_MESSAGE, MOST_RECORDS, parse_message
from firmware_adapters.cards.phone import MOST_ANSWER
from tests.conftest import Effort
from tests.support.virtual_cards import (
    NUMBER,
    Ev2Card,
    Held,
    LrpTag,
    NdefTag,
    NumberCard,
    Phone,
    PkocCard,
    StorageCard,
    SunTag,
    VirtualCard,
    address_record,
    card_key,
    text_record,
)

_MASTERS: Final = {key: bytes([40 + place]) * 16 for place, key in enumerate(CardKey)}
_OTHER: Final = bytes.fromhex("04aabbccddeeff")


def _desk(
    *,
    keys: CardKeys | None = None,
    counters: CardCounters | None = None,
    door: str | None = "oakfield/campus/main-entrance",
    reader: str = "outside",
) -> Desk:
    return Desk(
        keys=keys or CardKeys(_MASTERS),
        counters=counters or MemoryCounters(),
        entropy=secrets.token_bytes,
        door=door,
        reader=reader,
    )


async def _present(card: VirtualCard, desk: Desk, *, stays: int | None = None) -> Identification:
    return await identify(Card(card.number, card.speaks, Held(card, stays=stays)), desk)


def _sun_tag(counter: int = 0) -> SunTag:
    return SunTag(meta=_MASTERS[CardKey.SUN_META], file=_MASTERS[CardKey.SUN_FILE], counter=counter)


def _ntag() -> Ev2Card:
    return Ev2Card(key=card_key(_MASTERS[CardKey.NTAG424], 2))


def _desfire() -> Ev2Card:
    return Ev2Card(key=card_key(_MASTERS[CardKey.DESFIRE], 3), key_number=1, application=DESFIRE_APPLICATION)


def _phone() -> Phone:
    return Phone(lambda nonce, door: nonce + door.encode())


# --- what proves what ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", [NumberCard(), StorageCard(), NdefTag()])
async def test_a_card_that_proves_nothing_has_its_number(card: VirtualCard):
    found = await _present(card, _desk())
    assert found.proof == module.Proof(Form.CARD_NUMBER, NUMBER)
    assert found.misses == ()


@pytest.mark.parametrize("size", [1, 10])
async def test_a_number_has_up_to_ten_bytes(size: int):
    assert (await _present(NumberCard(bytes(size)), _desk())).proof == module.Proof(Form.CARD_NUMBER, bytes(size))


@pytest.mark.parametrize("size", [0, 11])
async def test_a_number_of_another_size_is_none(size: int):
    assert (await _present(NumberCard(bytes(size)), _desk())).proof is None


async def test_a_printed_pass_in_a_tag_is_a_code():
    found = await _present(NdefTag(text_record(b"DW1:ABC")), _desk())
    assert found.proof == module.Proof(Form.CODE, b"DW1:ABC")


async def test_the_text_of_something_else_is_no_code():
    found = await _present(NdefTag(text_record(b"HELLO")), _desk())
    assert found.proof == module.Proof(Form.CARD_NUMBER, NUMBER)


async def test_a_tags_message_is_a_card_message():
    assert (await _present(_sun_tag(), _desk())).proof == module.Proof(Form.CARD_MESSAGE, NUMBER)


async def test_a_tag_is_read_again_and_again():
    tag, desk = _sun_tag(), _desk()
    for _ in range(3):
        found = await _present(tag, desk)
        assert found.proof is not None
        assert found.proof.form is Form.CARD_MESSAGE


@pytest.mark.parametrize("card", [_ntag(), _desfire()], ids=["NTAG 424", "DESFire"])
async def test_a_card_with_its_own_key_proves_its_secret(card: Ev2Card):
    found = await _present(card, _desk())
    assert found == Identification(module.Proof(Form.CARD_SECRET, NUMBER))


async def test_a_pkoc_card_proves_its_key_for_this_door_and_reader():
    card = PkocCard()
    found = await _present(card, _desk())
    assert found.proof == module.Proof(Form.CARD_KEY, card.credential)
    assert card.reader == _desk().reader_identifier
    assert _desk(reader="inside").reader_identifier[:16] == card.reader[:16]
    assert _desk(reader="inside").reader_identifier != card.reader
    assert _desk(door="oakfield/campus/side-door").reader_identifier[:16] == card.reader[:16]
    assert _desk(door="oakfield/library/main-entrance").reader_identifier[:16] != card.reader[:16]


@pytest.mark.parametrize("versions", [b"\x01\x00", b"\x01\x01", b"\x01\x00\x01\x01", b"\x02\x00\x01\x00"])
async def test_a_pkoc_card_of_either_version_is_read(versions: bytes):
    found = await _present(PkocCard(versions=versions), _desk())
    assert found.proof is not None
    assert found.proof.form is Form.CARD_KEY


async def test_a_phone_answers_the_nonce_and_the_name_of_the_door():
    proof = (await _present(_phone(), _desk())).proof
    assert proof is not None
    assert proof.form is Form.EXCHANGE
    assert proof.nonce is not None
    assert len(proof.nonce) == 16
    assert proof.payload == proof.nonce + b"oakfield/campus/main-entrance"


async def test_no_two_phones_get_the_same_nonce():
    proofs = [(await _present(_phone(), _desk())).proof for _ in range(2)]
    assert len({proof.nonce for proof in proofs if proof is not None}) == 2


@pytest.mark.parametrize("piece", [32, 200, 256, None])
async def test_a_phone_may_answer_in_pieces_or_at_once(piece: int | None):
    phone = Phone(lambda _nonce, _door: bytes(range(224)) * 2, piece=piece)
    proof = (await _present(phone, _desk())).proof
    assert proof is not None
    assert proof.payload == bytes(range(224)) * 2
    assert len(proof.payload) == MOST_ANSWER


async def test_proofs_are_not_printed():
    found = await _present(_phone(), _desk())
    assert "main-entrance" not in repr(found)
    assert "SECRET" not in repr(Card(b"SECRETS", speaks=True, transceiver=Held(NumberCard())))


# --- the strongest first ------------------------------------------------------------------------------------


class _Everything(NumberCard):
    """Several cards in one, each answering when its application is selected."""

    def __init__(self, *cards: VirtualCard) -> None:
        super().__init__()
        self._cards = cards
        self._chosen: VirtualCard | None = None

    def answer(self, apdu: bytes) -> bytes:
        if apdu[1] != 0xA4 or apdu[2] != 4:
            return super().answer(apdu) if self._chosen is None else self._chosen.answer(apdu)
        for card in self._cards:
            if (answer := card.answer(apdu)).endswith(b"\x90\x00"):
                self._chosen = card
                return answer
        return super().answer(apdu)


async def test_the_strongest_proof_is_taken():
    phone, pkoc, ntag = _phone(), PkocCard(), _ntag()
    for cards, form in [
        ((ntag, pkoc, phone), Form.EXCHANGE),
        ((ntag, pkoc), Form.CARD_KEY),
        ((NdefTag(text_record(b"DW1:A")), ntag), Form.CODE),
        ((ntag,), Form.CARD_SECRET),
    ]:
        proof = (await _present(_Everything(*cards), _desk())).proof
        assert proof is not None
        assert proof.form is form


@pytest.mark.parametrize(
    ("card", "key"), [(_ntag(), CardKey.NTAG424), (_desfire(), CardKey.DESFIRE), (_sun_tag(), CardKey.SUN_FILE)]
)
async def test_without_the_key_a_kind_of_card_is_not_tried(card: VirtualCard, key: CardKey):
    masters = {purpose: master for purpose, master in _MASTERS.items() if purpose is not key}
    found = await _present(card, _desk(keys=CardKeys(masters)))
    assert found == Identification(module.Proof(Form.CARD_NUMBER, NUMBER))


async def test_a_reader_of_no_door_gives_no_phone_a_nonce():
    phone = _phone()
    found = await _present(phone, _desk(door=None))
    assert found.proof == module.Proof(Form.CARD_NUMBER, phone.number)
    assert phone.served == 0


# --- what is refused ----------------------------------------------------------------------------------------


def _missed(found: Identification) -> tuple[Miss, ...]:
    """Give what went wrong, seeing that the card fell back to its bare number."""
    assert found.proof is not None
    assert found.proof.form is Form.CARD_NUMBER
    return found.misses


async def test_a_message_with_a_wrong_mac_proves_nothing():
    tag = _sun_tag()
    tag.wrong_mac = True
    assert _missed(await _present(tag, _desk())) == (Miss("message", CardFault.UNPROVEN),)


async def test_the_message_of_another_tag_proves_nothing():
    tag = _sun_tag()
    tag.number = _OTHER
    assert _missed(await _present(tag, _desk())) == (Miss("message", CardFault.UNPROVEN),)


async def test_a_tag_with_a_random_number_is_known_by_its_message():
    tag = _sun_tag()
    tag.number = b"\x08\x01\x02\x03"
    assert (await _present(tag, _desk())).proof == module.Proof(Form.CARD_MESSAGE, NUMBER)


async def test_a_counter_that_does_not_rise_is_a_replay():
    desk, tag = _desk(), _sun_tag(counter=10)
    assert (await _present(tag, desk)).misses == ()
    for counter in (10, 9):
        tag.counter = counter
        assert _missed(await _present(tag, desk)) == (Miss("message", CardFault.REPLAYED),)
    tag.counter = 11
    assert (await _present(tag, desk)).misses == ()


async def test_a_tag_is_not_accepted_when_its_counter_cannot_be_kept(tmp_path: Path):
    found = await _present(_sun_tag(), _desk(counters=FileCounters(tmp_path / "missing")))
    assert _missed(found) == (Miss("message", CardFault.STORE),)


async def test_a_card_with_another_key_proves_nothing():
    card = Ev2Card(key=bytes(16))
    assert _missed(await _present(card, _desk())) == (Miss("ntag424", CardFault.REFUSED),)


async def test_a_tag_in_lrp_mode_proves_nothing_and_is_told_from_a_forged_one():
    misses = (Miss("ntag424", CardFault.UNSUPPORTED), Miss("message", CardFault.UNSUPPORTED))
    assert _missed(await _present(LrpTag(), _desk())) == misses


async def test_a_card_that_does_not_return_the_challenge_proves_nothing():
    card = _ntag()
    card.lies = True
    assert _missed(await _present(card, _desk())) == (Miss("ntag424", CardFault.UNPROVEN),)


async def test_a_card_that_says_another_number_inside_proves_nothing():
    card = _ntag()
    card.said_number = _OTHER
    assert _missed(await _present(card, _desk())) == (Miss("ntag424", CardFault.UNPROVEN),)


async def test_a_pkoc_card_that_signs_something_else_proves_nothing():
    card = PkocCard()
    card.forged = True
    assert _missed(await _present(card, _desk())) == (Miss("pkoc", CardFault.UNPROVEN),)


@pytest.mark.parametrize(
    ("versions", "misses"),
    [
        (b"\x02\x00", ()),
        (b"", (Miss("pkoc", CardFault.MALFORMED),)),
        (b"\x01", (Miss("pkoc", CardFault.MALFORMED),)),
    ],
)
async def test_a_pkoc_card_of_other_versions_is_not_read(versions: bytes, misses: tuple[Miss, ...]):
    assert _missed(await _present(PkocCard(versions=versions), _desk())) == misses


async def test_a_phone_whose_holder_has_to_unlock_it_proves_nothing():
    phone = _phone()
    phone.refuses = b"\x69\x85"
    assert _missed(await _present(phone, _desk())) == (Miss("phone", CardFault.REFUSED),)


@pytest.mark.parametrize(("size", "fault"), [(0, CardFault.MALFORMED), (MOST_ANSWER + 1, CardFault.TOO_LARGE)])
async def test_a_phone_that_answers_too_little_or_too_much_proves_nothing(size: int, fault: CardFault):
    assert _missed(await _present(Phone(lambda _nonce, _door: bytes(size)), _desk())) == (Miss("phone", fault),)


def _kinds() -> list[VirtualCard]:
    return [_phone(), PkocCard(), _ntag(), _desfire(), _sun_tag(), NdefTag(text_record(b"DW1:A"))]


@pytest.mark.parametrize("card", _kinds())
async def test_a_card_that_leaves_at_any_moment_presents_nothing(card: VirtualCard):
    whole = Held(card)
    await identify(Card(card.number, card.speaks, whole), _desk())
    assert whole.commands > 1
    for stays in range(whole.commands):
        found = await _present(card, _desk(), stays=stays)
        assert found.proof is None
        assert [miss.fault for miss in found.misses] == [CardFault.REMOVED]


class _Silent(NumberCard):
    """Takes a command and never answers."""

    async def transceive(self, command: bytes) -> bytes:
        assert command
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_card_that_does_not_answer_is_given_up_at_its_deadline():
    card = _Silent()
    found = await identify(Card(card.number, speaks=True, transceiver=card), _desk(door=None))
    assert found == Identification(None, (Miss("pkoc", CardFault.DEADLINE),))


# --- NDEF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 200, 247, 248, MOST_MESSAGE - 10])
async def test_a_message_of_any_length_is_read_in_pieces(size: int):
    text = b"DW1:" + b"A" * (size - 4 if size > 4 else 0)
    for piece in (15, 0xFF, 0xFFFF):
        found = await _present(NdefTag(text_record(text), piece=piece), _desk())
        assert found.proof == module.Proof(Form.CODE, text)


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        (NdefTag(bytes(MOST_MESSAGE + 1)), CardFault.TOO_LARGE),
        (NdefTag(text_record(b"DW1:A"), piece=14), CardFault.MALFORMED),
        (NdefTag(text_record(b"DW1:A"), capacity=8), CardFault.MALFORMED),
    ],
)
async def test_a_tag_that_breaks_its_bounds_is_not_read(tag: NdefTag, fault: CardFault):
    assert _missed(await _present(tag, _desk())) == (Miss("message", fault),)


async def test_the_pass_may_stand_behind_other_records():
    first = b"\x91" + address_record(b"example.org")[1:]
    second = b"\x51" + text_record(b"DW1:A")[1:]
    assert (await _present(NdefTag(first + second), _desk())).proof == module.Proof(Form.CODE, b"DW1:A")


@pytest.mark.parametrize(
    "message",
    [
        b"\xd1",
        b"\xd1\x01\x05T\x02en",
        b"\x51\x01\x00T",  # not begun
        b"\x91\x01\x00T",  # not ended
        b"\xd1\x01\x00T\x00",  # goes on after its end
        b"\xf1\x01\x00T",  # a chunk
        b"\xd9\x01\x00",  # an id's length is missing
        b"\xc1\x01\x00\x00",  # a length of four bytes is cut
    ],
)
def test_what_is_not_whole_records_is_malformed(message: bytes):
    with pytest.raises(CardError) as caught:
        parse_message(message)
    assert caught.value.fault is CardFault.MALFORMED


def test_the_number_of_records_is_bounded():
    def of(count: int) -> bytes:
        flags = [0x10] * count
        flags[0] |= 0x80
        flags[-1] |= 0x40
        return b"".join(bytes((flag, 0, 0)) for flag in flags)

    assert len(parse_message(of(MOST_RECORDS))) == MOST_RECORDS
    with pytest.raises(CardError) as caught:
        parse_message(of(MOST_RECORDS + 1))
    assert caught.value.fault is CardFault.TOO_LARGE


@pytest.mark.parametrize(
    "message",
    [
        b"\xd1\x01\x00T",  # no status byte
        b"\xd1\x01\x05T\x80DW1:",  # UTF-16
        b"\xd2\x01\x04TDW1:",  # a MIME type named T
        b"\xd1\x01\x00U",
        b"\xd1\x01\x02U\x06a",  # mailto:
        b"\xd9\x01\x00\x01Tx",  # an id
    ],
)
async def test_other_records_prove_nothing(message: bytes):
    found = await _present(NdefTag(message), _desk())
    assert found.proof == module.Proof(Form.CARD_NUMBER, NUMBER)


# --- anything at all ----------------------------------------------------------------------------------------


class _Mutant:
    """A right card whose answers arrive changed."""

    def __init__(self, card: VirtualCard, random: Random) -> None:
        self._card = card
        self._random = random
        card.reset()

    async def transceive(self, command: bytes) -> bytes:
        answer = bytearray(self._card.answer(command))
        match self._random.randrange(6):
            case 0:
                answer = answer[: self._random.randrange(len(answer) + 1)]
            case 1 if answer:
                answer[self._random.randrange(len(answer))] ^= 1 << self._random.randrange(8)
            case 2:
                answer = bytearray(self._random.randbytes(self._random.randrange(300)))
            case _:
                pass
        return bytes(answer)


_STRONG: Final = frozenset({Form.CARD_SECRET, Form.CARD_MESSAGE, Form.CARD_KEY})


@pytest.mark.fuzz
async def test_no_mutant_proves_what_its_card_is_not(effort: Effort):
    """Whatever arrives, nothing but a `CardError` happens inside, and every strong proof is that of the right card."""
    random = Random(20_251_126)
    for number in range(effort.pick(usual=3_000, long=300_000)):
        card = random.choice(_kinds())
        found = await identify(Card(card.number, speaks=True, transceiver=_Mutant(card, random)), _desk())
        assert CardFault.REMOVED not in {miss.fault for miss in found.misses}, number
        if found.proof is not None and found.proof.form in _STRONG:
            assert found.proof.payload == (card.credential if isinstance(card, PkocCard) else NUMBER)
