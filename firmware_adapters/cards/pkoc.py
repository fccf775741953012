"""PKOC cards: a key pair that the card made itself, its public key as the credential (PSIA PKOC NFC Card 1.0 and 1.1).

Invariant: a public key comes out only when the card has signed this transaction's random identifier with it.
Must not: cut the key to the bits that older panels take; the whole of it is hashed.
"""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from firmware_adapters.cards.apdu import SHORT_LE, Command, Transceiver, exchange, require, select
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.cards.tlv import encode_tlv, parse_tlv, value_of

APPLICATION: Final = bytes.fromhex("A000000898000001")
VERSIONS: Final = (bytes((1, 1)), bytes((1, 0)))
"""Spoken here, the newest first; the exchange is the same in both."""
TRANSACTION_BYTES: Final = 16
READER_BYTES: Final = 32
"""16 for the site, 16 for the reader."""

PROTOCOL_VERSION: Final = 0x5C
TRANSACTION: Final = 0x4C
READER: Final = 0x4D
PUBLIC_KEY: Final = 0x5A
SIGNATURE: Final = 0x9E
AUTHENTICATE: Final = 0x80
VERSION_BYTES: Final = 2
_KEY_BYTES: Final = 65
_HALF: Final = 32
_UNCOMPRESSED: Final = 0x04


async def prove_key(card: Transceiver, *, transaction: bytes, reader: bytes) -> bytes:
    """Have a card prove its key, and return the SHA-256 of the public key.

    Args:
        card: in the field.
        transaction: 16 random bytes, for this exchange alone.
        reader: 32 bytes that name site and reader.

    Raises:
        CardError: ABSENT when it is no PKOC card, UNPROVEN when the signature is wrong, MALFORMED, REFUSED.
    """
    version = choose_version(await select(card, APPLICATION), VERSIONS)
    request = encode_tlv(((PROTOCOL_VERSION, version), (TRANSACTION, transaction), (READER, reader)))
    command = Command(cla=0x80, ins=AUTHENTICATE, p2=0x01, data=request, le=SHORT_LE)
    return verify_answer(require(await exchange(card, command, most_bytes=SHORT_LE)), transaction)


def choose_version(selected: bytes, spoken: tuple[bytes, ...]) -> bytes:
    """Return the first version of `spoken` among those that an answer to SELECT lists.

    Raises:
        CardError: MALFORMED, or ABSENT when both sides have none in common.
    """
    listed = parse_tlv(selected).get(PROTOCOL_VERSION, b"")
    if not listed or len(listed) % VERSION_BYTES:
        raise CardError(CardFault.MALFORMED, "an application does not tell its versions")
    theirs = {listed[at : at + VERSION_BYTES] for at in range(0, len(listed), VERSION_BYTES)}
    for version in spoken:
        if version in theirs:
            return version
    raise CardError(CardFault.ABSENT, "an application speaks other versions")


def verify_answer(answer: bytes, transaction: bytes) -> bytes:
    """Verify a card's answer and return the SHA-256 of its public key.

    Raises:
        CardError: MALFORMED, or UNPROVEN when the key did not sign the transaction.
    """
    values = parse_tlv(answer)
    point = value_of(values, PUBLIC_KEY, size=_KEY_BYTES)
    signature = value_of(values, SIGNATURE, size=2 * _HALF)
    r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    try:
        if point[0] != _UNCOMPRESSED:
            raise ValueError("another form of a point")  # noqa: TRY301 - one exit for all that is no key
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError as error:
        raise CardError(CardFault.MALFORMED, "a card's public key is no point of P-256") from error
    try:
        key.verify(encode_dss_signature(r, s), transaction, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise CardError(CardFault.UNPROVEN, "a card did not sign the door's challenge") from error
    return hashlib.sha256(point).digest()
