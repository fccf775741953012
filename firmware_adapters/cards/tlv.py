"""Tag, length, value: the simple kind that PKOC cards and phones answer with (ISO/IEC 7816-4 §5.2.2).

Invariant: what parses has no tag twice and no byte left over. Must not: know what a tag means.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from firmware_adapters.cards.errors import CardError, CardFault

MOST_VALUE: Final = 0x7F
"""Every length in these exchanges is one byte; 80 and above begin the long forms of BER."""
MOST_TAGS: Final = 16
_LONGER_TAG: Final = 0x1F


def parse_tlv(data: bytes) -> Mapping[int, bytes]:
    """Read values by tag; tags that the caller does not know are for it to ignore.

    Raises:
        CardError: MALFORMED for truncated values, long forms, tags of several bytes and a tag that comes twice.
    """
    values: dict[int, bytes] = {}
    rest = data
    while rest:
        if len(rest) < 2 or rest[0] & _LONGER_TAG == _LONGER_TAG or rest[1] > MOST_VALUE:  # noqa: PLR2004 - tag, length
            raise _malformed()
        tag, size = rest[0], rest[1]
        value, rest = rest[2 : 2 + size], rest[2 + size :]
        if len(value) < size or tag in values or len(values) == MOST_TAGS:
            raise _malformed()
        values[tag] = value
    return values


def value_of(values: Mapping[int, bytes], tag: int, *, size: int) -> bytes:
    """Return the value of a tag that has to be there with this size.

    Raises:
        CardError: MALFORMED.
    """
    value = values.get(tag)
    if value is None or len(value) != size:
        raise _malformed()
    return value


def encode_tlv(values: Iterable[tuple[int, bytes]]) -> bytes:
    """Write values, each of at most 127 bytes, in this order.

    Raises:
        ValueError: one is longer.
    """
    written = bytearray()
    for tag, value in values:
        if len(value) > MOST_VALUE:
            raise ValueError("a value of this kind has at most 127 bytes")
        written += bytes((tag, len(value))) + value
    return bytes(written)


def _malformed() -> CardError:
    return CardError(CardFault.MALFORMED, "an answer is not made of tags with their values")
