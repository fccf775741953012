"""Secure Unique NFC messages of an NTAG 424 DNA: whose tag it is and how often it was read, authenticated.

Sources: NXP AN12196 (SUN) and NT4H2421Gx §9.3 (secure dynamic messaging); docs/spec/cards.md for what a tag is set to.
Pure. Invariant: a number comes out only when its MAC is right. Must not: judge the counter; `counters.py` does.
"""

from binascii import unhexlify
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from firmware_adapters.cards.aes import BLOCK, cmac, decrypt, require_equal, short_cmac
from firmware_adapters.cards.errors import CardError, CardFault

MOST_ADDRESS: Final = 512
NAMES: Final = (("e", "c"), ("picc_data", "cmac"))
"""What the two values are called in an address: both spellings of AN12196's examples."""
NUMBER_BYTES: Final = 7

_MAC_BYTES: Final = 8
_LRP_BYTES: Final = BLOCK + 8
"""In LRP mode 8 random bytes stand before the encrypted block (NT4H2421Gx §9.3.4.2)."""
_MOST_PARAMETERS: Final = 8
_MIRRORED: Final = 0xC7
"""PICCDataTag: UID mirrored, counter mirrored, a UID of 7 bytes (NT4H2421Gx §9.3)."""
_SESSION: Final = bytes.fromhex("3CC300010080")
"""What the session vector SV2 begins with (AN12196, session key of the file's MAC)."""


@dataclass(frozen=True, slots=True)
class SunMessage:
    """What a tag mirrored into its address, not verified; neither value is printed."""

    encrypted: bytes = field(repr=False)
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SunReading:
    """Whose message it was, verified.

    Attributes:
        number: the tag's UID, 7 bytes.
        counter: how often it was read, this time included.
    """

    number: bytes
    counter: int


def parse_address(address: bytes) -> SunMessage | None:
    """Take the message out of an address; None when the address has none.

    Raises:
        CardError: MALFORMED when it has the names of one, and not its values; UNSUPPORTED when the tag made it in LRP
            mode; TOO_LARGE.
    """
    if len(address) > MOST_ADDRESS:
        raise CardError(CardFault.TOO_LARGE, f"a tag's address has more than {MOST_ADDRESS} characters")
    try:
        query = urlsplit(address.decode("ascii")).query
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:  # also what is not ASCII
        return None
    for encrypted, mac in NAMES:
        values = [value for name, value in given if name in (encrypted, mac)]
        if {name for name, _ in given} >= {encrypted, mac}:
            if len(values) != 2:  # noqa: PLR2004 - each once
                raise _malformed()
            found = dict(given)
            if len(found[encrypted]) == 2 * _LRP_BYTES:
                raise CardError(CardFault.UNSUPPORTED, "the tag is in LRP mode")
            return SunMessage(_octets(found[encrypted], BLOCK), _octets(found[mac], _MAC_BYTES))
    return None


def verify_sun(message: SunMessage, *, meta: bytes, key_of: Callable[[bytes], bytes]) -> SunReading:
    """Verify a message.

    Args:
        message: as mirrored.
        meta: the key that says whose message it is, the same in every tag.
        key_of: derives a tag's own key from its UID.

    Raises:
        CardError: UNPROVEN when the MAC is wrong, which is also what a tag of another site looks like.
    """
    # 1 the PICC data: a tag byte, UID, counter (least significant byte first), random padding
    plain = decrypt(meta, message.encrypted)
    number, counter = plain[1 : 1 + NUMBER_BYTES], plain[1 + NUMBER_BYTES : 4 + NUMBER_BYTES]
    if plain[0] != _MIRRORED:
        raise CardError(CardFault.UNPROVEN, "a tag's message is not encrypted with this site's key")
    # 2 the session's key
    session = cmac(key_of(number), _SESSION + number + counter)
    # 3 the MAC, over nothing: UID and counter are in the session's key
    require_equal(message.mac, short_cmac(session, b""), "the MAC of a tag's message is wrong")
    return SunReading(number, int.from_bytes(counter, "little"))


def _octets(text: str, size: int) -> bytes:
    if len(text) != 2 * size:
        raise _malformed()
    try:
        return unhexlify(text)
    except ValueError as error:  # binascii.Error is one
        raise _malformed() from error


def _malformed() -> CardError:
    return CardError(CardFault.MALFORMED, "a tag's address has not the values of a message")
