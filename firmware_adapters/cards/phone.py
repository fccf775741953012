"""The exchange with a phone: it signs a presentation that names this door and its nonce (docs/spec/phone-exchange.md).

Invariant: a nonce is given to one phone, once. Must not: interpret the presentation; the core verifies it.
"""

from dataclasses import replace
from typing import Final

from firmware_adapters.cards.apdu import SHORT_LE, Command, Transceiver, exchange, require, select
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.cards.pkoc import AUTHENTICATE, PROTOCOL_VERSION, READER, TRANSACTION, choose_version
from firmware_adapters.cards.tlv import encode_tlv

APPLICATION: Final = b"\xf0DOORWARD"
"""F0: a proprietary application without registration (ISO/IEC 7816-4 §12.2.3)."""
VERSIONS: Final = (bytes((1, 0)),)
NONCE_BYTES: Final = 16
MOST_ANSWER: Final = 448
"""The longest presentation (docs/spec/presentation.md)."""
_WRONG_LENGTH: Final = 0x6700


async def exchange_presentation(card: Transceiver, *, nonce: bytes, door: str) -> bytes:
    """Give a phone the nonce, and return the presentation that it answers with, not verified.

    Args:
        card: in the field.
        nonce: 16 random bytes, for this exchange alone.
        door: tenant, site and door, with slashes between.

    Raises:
        CardError: ABSENT when it is no wallet, REFUSED when its holder has to do something first.
    """
    version = choose_version(await select(card, APPLICATION), VERSIONS)
    request = encode_tlv(((PROTOCOL_VERSION, version), (TRANSACTION, nonce), (READER, door.encode("ascii"))))
    command = Command(cla=0x80, ins=AUTHENTICATE, p2=0x01, data=request, le=SHORT_LE)
    response = await exchange(card, command, most_bytes=MOST_ANSWER)
    if response.status == _WRONG_LENGTH:  # it does not answer in pieces: asked again for all of it at once
        response = await exchange(card, replace(command, le=MOST_ANSWER), most_bytes=MOST_ANSWER)
    answer = require(response)
    if not answer:
        raise CardError(CardFault.MALFORMED, "a wallet answered with nothing")
    return answer
