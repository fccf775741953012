"""Mutual authentication by AES with an NTAG 424 DNA or DESFire EV2 and later, and the number from inside that session.

Sources: NXP AN12196 (AuthenticateEV2First, GetCardUID) and NT4H2421Gx §9 (secure messaging); docs/spec/cards.md.
Invariant: a number comes out only when the card has returned the door's challenge and its MAC over the number is right.
Must not: keep a session; the next card starts anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from firmware_adapters.cards.aes import BLOCK, cmac, decrypt, encrypt, require_equal, short_cmac
from firmware_adapters.cards.apdu import Command, Response, Transceiver, exchange, require
from firmware_adapters.cards.errors import CardError, CardFault

NUMBER_BYTES: Final = 7

_NATIVE: Final = 0x90
_AUTHENTICATE: Final = 0x71
_MORE: Final = 0xAF
_GET_CARD_UID: Final = 0x51
_SELECT_APPLICATION: Final = 0x5A
_OK: Final = 0x9100
_ADDITIONAL_FRAME: Final = 0x91AF
_PERMISSION_DENIED: Final = 0x919D
_NATIVE_ABSENT: Final = frozenset({0x911C, 0x9140, 0x91A0})
"""Unknown command, key and application (NT4H2421Gx, status words)."""
_ENCRYPTION: Final = bytes.fromhex("A55A00010080")
_AUTHENTICATION: Final = bytes.fromhex("5AA500010080")
"""What the session vectors SV1 and SV2 begin with (AN12196, session keys)."""
_RESPONSE_VECTOR: Final = bytes.fromhex("5AA5")
_TRANSACTION_BYTES: Final = 4
_MAC_BYTES: Final = 8
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Session:
    """An authenticated session; its keys are not printed.

    Attributes:
        transaction: 4 bytes that the card chose.
    """

    encryption: bytes = field(repr=False)
    authentication: bytes = field(repr=False)
    transaction: bytes


async def select_native(card: Transceiver, application: bytes) -> None:
    """Select a DESFire application by its three bytes, least significant first.

    Raises:
        CardError: REFUSED or ABSENT when the card does not have it.
    """
    _require_native(await _native(card, _SELECT_APPLICATION, application), _OK)


async def authenticate(card: Transceiver, key: bytes, *, key_number: int, entropy: Callable[[int], bytes]) -> Session:
    """Prove to the card that the door holds its key, and have the card prove the same.

    Args:
        card: with the application selected.
        key: the card's own key, 16 bytes.
        key_number: which of the application's keys it is.
        entropy: gives as many random bytes as it is asked for.

    Raises:
        CardError: REFUSED when the card does not accept the door's proof, UNPROVEN when its own is wrong, UNSUPPORTED
            when it is in LRP mode.
    """
    # 1 the card's challenge; one in LRP mode denies to begin in AES (NT4H2421Gx table 19)
    first = await _native(card, _AUTHENTICATE, bytes((key_number, 0)))
    if first.status == _PERMISSION_DENIED:
        raise CardError(CardFault.UNSUPPORTED, "the card is in LRP mode", status=first.status)
    theirs = decrypt(key, _whole(_require_native(first, _ADDITIONAL_FRAME), BLOCK))
    # 2 the door's challenge, and the card's turned by one byte
    ours = entropy(BLOCK)
    second = await _native(card, _MORE, encrypt(key, ours + _turned(theirs)))
    answer = decrypt(key, _whole(_require_native(second, _OK), 2 * BLOCK))
    # 3 the door's challenge comes back turned, behind the transaction's number
    transaction, returned = answer[:_TRANSACTION_BYTES], answer[_TRANSACTION_BYTES : _TRANSACTION_BYTES + BLOCK]
    require_equal(returned, _turned(ours), "a card did not return the door's challenge")
    return Session(
        _session_key(key, _ENCRYPTION, ours, theirs), _session_key(key, _AUTHENTICATION, ours, theirs), transaction
    )


async def read_number(card: Transceiver, session: Session) -> bytes:
    """Ask for the card's number inside the session: the first command after the authentication.

    Raises:
        CardError: UNPROVEN when the MAC is wrong; REFUSED, MALFORMED.
    """
    # 1 the command has no data: its MAC covers instruction, counter and transaction
    covered = bytes((_GET_CARD_UID,)) + _counter(0) + session.transaction
    mac = short_cmac(session.authentication, covered)
    answer = _require_native(await _native(card, _GET_CARD_UID, mac), _OK)
    # 2 the answer's MAC, before anything is decrypted
    encrypted, given = _whole(answer, BLOCK + _MAC_BYTES)[:BLOCK], answer[BLOCK:]
    covered = b"\x00" + _counter(1) + session.transaction + encrypted
    require_equal(given, short_cmac(session.authentication, covered), "the MAC over a card's number is wrong")
    # 3 the number, padded with 80 00 …
    vector = encrypt(session.encryption, (_RESPONSE_VECTOR + session.transaction + _counter(1)).ljust(BLOCK, b"\x00"))
    plain = decrypt(session.encryption, encrypted, vector)
    if plain[NUMBER_BYTES:] != b"\x80".ljust(BLOCK - NUMBER_BYTES, b"\x00"):
        raise CardError(CardFault.MALFORMED, "a card's number has not 7 bytes")
    return plain[:NUMBER_BYTES]


async def _native(card: Transceiver, instruction: int, data: bytes) -> Response:
    """Send a native command in ISO 7816-4's wrapping."""
    return await exchange(card, Command(cla=_NATIVE, ins=instruction, data=data, le=256), most_bytes=_MOST)


def _require_native(response: Response, status: int) -> bytes:
    if response.status in _NATIVE_ABSENT:
        raise CardError(CardFault.ABSENT, f"the card answered {response.status:04X}", status=response.status)
    return require(response, status=status)


def _session_key(key: bytes, begin: bytes, ours: bytes, theirs: bytes) -> bytes:
    """Derive a session key from both challenges (AN12196, session keys)."""
    middle = bytes(a ^ b for a, b in zip(ours[2:8], theirs[:6], strict=True))
    return cmac(key, begin + ours[:2] + middle + theirs[6:] + ours[8:])


def _turned(block: bytes) -> bytes:
    return block[1:] + block[:1]


def _counter(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _whole(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise CardError(CardFault.MALFORMED, "a card's answer has another length than its step of the authentication")
    return data
