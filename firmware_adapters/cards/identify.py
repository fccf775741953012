"""What a card proves: the strongest that it can, tried in the order of one table.

Invariant: what comes out says by its form what was proven, and nothing weaker passes for it.
Must not: decide whether a door takes it; a door has its least assurance for that.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from edge.ports import Form
from firmware_adapters.cards import ev2, ndef, phone, pkoc, sun
from firmware_adapters.cards.apdu import Transceiver, select
from firmware_adapters.cards.counters import CardCounters, row_of
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.cards.keys import CardKey, CardKeys

PASS_PREFIX: Final = b"DW1:"
"""A printed pass in a text record begins as its code does (docs/spec/presentation.md)."""
NTAG424_KEY: Final = 3
DESFIRE_APPLICATION: Final = bytes.fromhex("57 44 F4")
"""F44457, least significant byte first as it is sent."""
DESFIRE_KEY: Final = 1
RANDOM_NUMBER: Final = 0x08
"""A UID of 4 bytes that begins so was drawn for this tap alone (ISO/IEC 14443-3 §6.5.4)."""
MOST_NUMBER: Final = 10

Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Card:
    """A card in the field.

    Attributes:
        number: its UID as the reader says it; not printed.
        speaks: whether it takes APDUs (ISO/IEC 14443-4); otherwise it has its number only.
    """

    number: bytes = field(repr=False)
    speaks: bool
    transceiver: Transceiver

    @property
    def own_number(self) -> bytes | None:
        """The UID when it is the card's own of 7 bytes: what keys are diversified by."""
        return self.number if len(self.number) == ev2.NUMBER_BYTES else None

    @property
    def is_random(self) -> bool:
        """Whether the UID means nothing beyond this tap."""
        return len(self.number) == 4 and self.number[0] == RANDOM_NUMBER  # noqa: PLR2004 - a single-size UID


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the door brings to an exchange.

    Attributes:
        keys: for cards; without one, its kind is not tried.
        counters: of tags.
        entropy: gives random bytes.
        door: tenant, site and door with slashes between, None for a reader that works for no door.
        reader: the reader's id.
    """

    keys: CardKeys
    counters: CardCounters
    entropy: Entropy
    door: str | None
    reader: str

    @property
    def reader_identifier(self) -> bytes:
        """32 bytes for PKOC: 16 for the site, 16 for the door and the reader."""
        tenant_site, _, door = (self.door or "//").rpartition("/")
        site, place = tenant_site.encode(), f"{door}/{self.reader}".encode()
        return hashlib.sha256(site).digest()[:16] + hashlib.sha256(place).digest()[:16]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a card proved.

    Attributes:
        payload: of a presentation of this form; not printed.
        nonce: for EXCHANGE, what the door gave out.
    """

    form: Form
    payload: bytes = field(repr=False)
    nonce: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Miss:
    """An attempt that a card began and did not pass."""

    attempt: str
    fault: CardFault


@dataclass(frozen=True, slots=True)
class Identification:
    """What came of a card: the proof, None when it left before it gave any, and what went wrong before."""

    proof: Proof | None
    misses: tuple[Miss, ...] = ()


async def _phone(card: Card, desk: Desk) -> Proof | None:
    if desk.door is None:
        return None
    nonce = desk.entropy(phone.NONCE_BYTES)
    answer = await phone.exchange_presentation(card.transceiver, nonce=nonce, door=desk.door)
    return Proof(Form.EXCHANGE, answer, nonce)


async def _pkoc(card: Card, desk: Desk) -> Proof | None:
    transaction = desk.entropy(pkoc.TRANSACTION_BYTES)
    key = await pkoc.prove_key(card.transceiver, transaction=transaction, reader=desk.reader_identifier)
    return Proof(Form.CARD_KEY, key)


async def _ntag424(card: Card, desk: Desk) -> Proof | None:
    if card.own_number is None or not desk.keys.has(CardKey.NTAG424):
        return None
    key = desk.keys.of_card(CardKey.NTAG424, card.own_number)
    await select(card.transceiver, ndef.APPLICATION)
    return await _mutual(card, desk, key, NTAG424_KEY)


async def _desfire(card: Card, desk: Desk) -> Proof | None:
    if card.own_number is None or not desk.keys.has(CardKey.DESFIRE):
        return None
    key = desk.keys.of_card(CardKey.DESFIRE, card.own_number)
    await ev2.select_native(card.transceiver, DESFIRE_APPLICATION)
    return await _mutual(card, desk, key, DESFIRE_KEY)


async def _mutual(card: Card, desk: Desk, key: bytes, key_number: int) -> Proof:
    session = await ev2.authenticate(card.transceiver, key, key_number=key_number, entropy=desk.entropy)
    number = await ev2.read_number(card.transceiver, session)
    if number != card.number:
        raise CardError(CardFault.UNPROVEN, "a card says another number inside its session than outside")
    return Proof(Form.CARD_SECRET, number)


async def _message(card: Card, desk: Desk) -> Proof | None:
    """Read a tag's NDEF message: an address with a SUN message in it, or the text of a printed pass."""
    for record in ndef.parse_message(await ndef.read_message(card.transceiver)):
        text, address = ndef.text_of(record), ndef.address_of(record)
        if text is not None and text.startswith(PASS_PREFIX):
            return Proof(Form.CODE, text)
        message = None if address is None else sun.parse_address(address)
        if message is not None:
            return await _sun(card, desk, message)
    return None


async def _sun(card: Card, desk: Desk, message: sun.SunMessage) -> Proof | None:
    keys = desk.keys
    if not keys.has(CardKey.SUN_META, CardKey.SUN_FILE):
        return None
    reading = sun.verify_sun(
        message, meta=keys.masters[CardKey.SUN_META], key_of=lambda number: keys.of_card(CardKey.SUN_FILE, number)
    )
    if card.number != reading.number and not card.is_random:
        raise CardError(CardFault.UNPROVEN, "a tag shows the message of another")
    await desk.counters.advance(row_of(keys.masters[CardKey.SUN_FILE], reading.number), reading.counter)
    return Proof(Form.CARD_MESSAGE, reading.number)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that a card may be able to prove.

    Attributes:
        name: for technicians.
        deadline_ms: for all of its APDUs; a person holds a card still for about a second.
        run: tries it; None when the card or the door has not what it takes.
    """

    name: str
    deadline_ms: int
    run: Callable[[Card, Desk], Awaitable[Proof | None]]


ATTEMPTS: Final = (
    # A phone has to wake a secure element and sign: 300 to 900 ms.
    Attempt("phone", 3000, _phone),
    # A Java card signs in 100 to 400 ms.
    Attempt("pkoc", 2000, _pkoc),
    # Three commands of 10 to 30 ms each, and selecting.
    Attempt("ntag424", 1000, _ntag424),
    Attempt("desfire", 1000, _desfire),
    # Up to ten commands for the longest message.
    Attempt("message", 1500, _message),
)
"""The strongest first: a card is asked for its number only when it proves nothing more."""

_OVER: Final = frozenset({CardFault.REMOVED, CardFault.DEADLINE})
"""Faults after which there is no card to try anything else with."""


async def identify(card: Card, desk: Desk) -> Identification:
    """Have a card prove the strongest that it and this door can.

    Raises:
        ReaderError: the reader failed.
    """
    misses: list[Miss] = []
    for attempt in ATTEMPTS if card.speaks else ():
        try:
            async with asyncio.timeout(attempt.deadline_ms / 1000):
                proof = await attempt.run(card, desk)
        except CardError as error:
            fault = error.fault
        except TimeoutError:
            fault = CardFault.DEADLINE
        else:
            if proof is not None:
                return Identification(proof, tuple(misses))
            continue
        if fault is not CardFault.ABSENT:
            misses.append(Miss(attempt.name, fault))
        if fault in _OVER:
            return Identification(None, tuple(misses))
    return Identification(_number(card), tuple(misses))


def _number(card: Card) -> Proof | None:
    """Take what the card says of itself; a reader that knows no number has nothing to present."""
    if not 1 <= len(card.number) <= MOST_NUMBER:
        return None
    return Proof(Form.CARD_NUMBER, card.number)
