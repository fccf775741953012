"""The NDEF message of a type 4 tag: read within bounds, and the first text or address in it.

Sources: NFC Forum Type 4 Tag (files, reading), NDEF (records), RTD Text and RTD URI.
Invariant: at most `MOST_MESSAGE` bytes are ever read. Must not: write to a tag.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from firmware_adapters.cards.apdu import Command, Transceiver, exchange, require, select
from firmware_adapters.cards.errors import CardError, CardFault

APPLICATION: Final = bytes.fromhex("D2760000850101")
"""The NDEF application, which is also the only one of an NTAG 424 DNA."""
MOST_MESSAGE: Final = 1024
"""A printed pass as text has about 193 characters, an address about 100; the largest pass has 395."""
MOST_RECORDS: Final = 8

_CAPABILITIES: Final = bytes.fromhex("E103")
_CAPABILITY_BYTES: Final = 15
_PIECE: Final = 0xF0
"""Read at once: below the 255 that every reader carries, whatever more a tag says that it can."""
_LEAST_PIECE: Final = 15
_FREE: Final = 0x00
_CONTROL: Final = bytes((0x04, 0x06))
"""Tag and length of the NDEF file control value."""

_WELL_KNOWN: Final = 0x01
_TYPE_NAME: Final = 0x07
_HAS_ID: Final = 0x08
_SHORT: Final = 0x10
_CHUNKED: Final = 0x20
_LAST: Final = 0x40
_FIRST: Final = 0x80
_LANGUAGE: Final = 0x3F
_UTF16: Final = 0x80
_PREFIXES: Final[Mapping[int, bytes]] = {
    0x00: b"",
    0x01: b"http://www.",
    0x02: b"https://www.",
    0x03: b"http://",
    0x04: b"https://",
}
"""The abbreviations of RTD URI that begin a web address; the others are of no use here."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a message."""

    type_name: int
    type: bytes
    payload: bytes


async def read_message(card: Transceiver) -> bytes:
    """Read the NDEF message of a tag, empty when it has none.

    Raises:
        CardError: ABSENT without an NDEF application, MALFORMED, TOO_LARGE, REFUSED when it may not be read.
    """
    await select(card, APPLICATION)
    await _select_file(card, _CAPABILITIES)
    file, capacity, piece = _parse_capabilities(await _read_binary(card, 0, _CAPABILITY_BYTES))
    await _select_file(card, file)
    size = int.from_bytes(await _read_binary(card, 0, 2), "big")
    if size > MOST_MESSAGE:
        raise CardError(CardFault.TOO_LARGE, f"an NDEF message has more than {MOST_MESSAGE} bytes")
    if size + 2 > capacity:
        raise CardError(CardFault.MALFORMED, "an NDEF message is longer than its file")
    message = bytearray()
    while len(message) < size:
        message += await _read_binary(card, 2 + len(message), min(piece, size - len(message)))
    return bytes(message)


def _parse_capabilities(container: bytes) -> tuple[bytes, int, int]:
    """Return the NDEF file's identifier, its size and how much may be read at once (Type 4 Tag)."""
    if container[7:9] != _CONTROL or container[2] >> 4 not in (2, 3):
        raise CardError(CardFault.MALFORMED, "a tag's capability container is none of version 2 or 3")
    if container[13] != _FREE:
        raise CardError(CardFault.REFUSED, "the NDEF file may not be read freely")
    piece = int.from_bytes(container[3:5], "big")
    if piece < _LEAST_PIECE:
        raise CardError(CardFault.MALFORMED, "a tag reads fewer bytes at once than a tag may")
    return container[9:11], int.from_bytes(container[11:13], "big"), min(piece, _PIECE)


async def _select_file(card: Transceiver, file: bytes) -> None:
    require(await exchange(card, Command(ins=0xA4, p2=0x0C, data=file), most_bytes=256))


async def _read_binary(card: Transceiver, offset: int, size: int) -> bytes:
    command = Command(ins=0xB0, p1=offset >> 8, p2=offset & 0xFF, le=size)
    data = require(await exchange(card, command, most_bytes=size))
    if len(data) != size:
        raise CardError(CardFault.MALFORMED, "a tag gave fewer bytes than its file holds")
    return data


def parse_message(message: bytes) -> tuple[Record, ...]:
    """Split a message into its records; the empty message has none.

    Raises:
        CardError: MALFORMED, also for chunked records, which tags have no need of.
    """
    records = tuple(_records(message))
    if len(records) > MOST_RECORDS:
        raise CardError(CardFault.TOO_LARGE, f"an NDEF message has more than {MOST_RECORDS} records")
    return records


def _records(message: bytes) -> Iterator[Record]:
    rest, expected = message, _FIRST
    while rest:
        header, rest = rest[0], rest[1:]
        if header & _FIRST != expected or header & _CHUNKED:
            raise _malformed()
        type_size, rest = _number(rest, 1)
        payload_size, rest = _number(rest, 1 if header & _SHORT else 4)
        id_size, rest = _number(rest, 1) if header & _HAS_ID else (0, rest)
        kind, rest = _taken(rest, type_size)
        _, rest = _taken(rest, id_size)
        payload, rest = _taken(rest, payload_size)
        yield Record(header & _TYPE_NAME, kind, payload)
        expected = 0
        if bool(header & _LAST) != (not rest):
            raise _malformed()


def _number(rest: bytes, size: int) -> tuple[int, bytes]:
    digits, rest = _taken(rest, size)
    return int.from_bytes(digits, "big"), rest


def _taken(rest: bytes, size: int) -> tuple[bytes, bytes]:
    if len(rest) < size:
        raise _malformed()
    return rest[:size], rest[size:]


def text_of(record: Record) -> bytes | None:
    """Return the text of a text record as it is stored (UTF-8); None for other records and other encodings."""
    if (record.type_name, record.type) != (_WELL_KNOWN, b"T") or not record.payload or record.payload[0] & _UTF16:
        return None
    return record.payload[1 + (record.payload[0] & _LANGUAGE) :]


def address_of(record: Record) -> bytes | None:
    """Return the address of a URI record, None for other records and abbreviations that are no web address."""
    if (record.type_name, record.type) != (_WELL_KNOWN, b"U") or not record.payload:
        return None
    prefix = _PREFIXES.get(record.payload[0])
    return None if prefix is None else prefix + record.payload[1:]


def _malformed() -> CardError:
    return CardError(CardFault.MALFORMED, "an NDEF message is not made of whole records")
