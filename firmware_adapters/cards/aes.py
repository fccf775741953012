"""AES as cards use it: CBC without padding, CMAC, its truncation, and keys diversified per card.

Must not: compare secrets other than in constant time.
"""

from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from firmware_adapters.cards.errors import CardError, CardFault

KEY_BYTES: Final = 16
BLOCK: Final = 16
MOST_DIVERSIFICATION: Final = 31
_ZEROES: Final = bytes(BLOCK)
_POLYNOMIAL: Final = 0x87
"""Of the field in which CMAC doubles (NIST SP 800-38B §5.3)."""


def encrypt(key: bytes, data: bytes, vector: bytes = _ZEROES) -> bytes:
    """Encrypt whole blocks in CBC mode."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt(key: bytes, data: bytes, vector: bytes = _ZEROES) -> bytes:
    """Decrypt whole blocks in CBC mode."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def cmac(key: bytes, data: bytes) -> bytes:
    """Return the 16 bytes of the CMAC (NIST SP 800-38B)."""
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def short_cmac(key: bytes, data: bytes) -> bytes:
    """Return the 8 bytes of it that NXP's cards send: every second one (AN12196, truncation of the MAC)."""
    return cmac(key, data)[1::2]


def require_equal(given: bytes, expected: bytes, what: str) -> None:
    """Return when a proof is what it has to be.

    Raises:
        CardError: UNPROVEN.
    """
    if not compare_digest(given, expected):
        raise CardError(CardFault.UNPROVEN, what)


def diversify(master: bytes, diversification: bytes) -> bytes:
    """Derive a card's key from the site's (NXP AN10922, AES-128).

    It is the CMAC over 01 and the input, but always of two blocks: for inputs below 16 bytes it is no plain CMAC.

    Args:
        master: 16 bytes.
        diversification: 1 to 31 bytes that differ between cards.

    Raises:
        ValueError: the input has another length.
    """
    if not 1 <= len(diversification) <= MOST_DIVERSIFICATION:
        raise ValueError("the diversification input has 1 to 31 bytes")
    first = _doubled(encrypt(master, _ZEROES))
    message = b"\x01" + diversification
    whole = len(message) == 2 * BLOCK
    padded = message if whole else (message + b"\x80").ljust(2 * BLOCK, b"\x00")
    last = _xor(padded[BLOCK:], first if whole else _doubled(first))
    return encrypt(master, padded[:BLOCK] + last)[BLOCK:]


def key_check_value(key: bytes) -> str:
    """Return the usual 6 digits by which two people compare a key without seeing it: a block of zeroes, encrypted."""
    return encrypt(key, _ZEROES)[:3].hex().upper()


def _doubled(block: bytes) -> bytes:
    shifted = int.from_bytes(block, "big") << 1
    carried = shifted >> (8 * BLOCK)
    return ((shifted ^ (_POLYNOMIAL if carried else 0)) & ((1 << 8 * BLOCK) - 1)).to_bytes(BLOCK, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
