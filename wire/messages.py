"""Paths, media types and small messages between a door and the cloud's device listener.

Invariant: both sides take these names from here. Source: docs/spec/sync.md, RFC 7030.
Must not: open connections or make secrets; the claim's random bytes are passed in.
"""

from typing import Final

from wire.errors import WireError, WireReason

EST_CACERTS: Final = "/.well-known/est/cacerts"
EST_ENROL: Final = "/.well-known/est/simpleenroll"
EST_REENROL: Final = "/.well-known/est/simplereenroll"
DEVICE_BOOTSTRAP: Final = "/device/v1/bootstrap"
DEVICE_TRUST: Final = "/device/v1/trust"
DEVICE_POLICY: Final = "/device/v1/policy"
DEVICE_STATUS: Final = "/device/v1/status"
DEVICE_ROSTER: Final = "/device/v1/roster"
DEVICE_COMMANDS: Final = "/device/v1/commands"
DEVICE_CHANGES: Final = "/device/v1/changes"
DEVICE_EVENTS: Final = "/device/v1/events"
DEVICE_HEALTH: Final = "/device/v1/health"

MEDIA_COSE: Final = "application/cose"
MEDIA_STATUS_LIST: Final = "application/statuslist+cwt"
MEDIA_STATUS_DELTA: Final = "application/doorward-status-delta+cose"
MEDIA_ROSTER: Final = "application/doorward-roster+cose"
MEDIA_ROSTER_DELTA: Final = "application/doorward-roster-delta+cose"
MEDIA_COMMANDS: Final = "application/doorward-commands+cbor"
MEDIA_HEALTH: Final = "application/doorward-health+cbor"

EST_CLAIM_USER: Final = "claim"
"""User name of HTTP Basic at /simpleenroll; the password is the claim's secret in hexadecimal."""

CLAIM_SECRET_BYTES: Final = 10
"""80 random bits: at 5 tries a minute a guess succeeds once in 10^17 years."""
CA_FINGERPRINT_BYTES: Final = 10
"""80 bits of SHA-256 over the CA certificate's DER: a second preimage is out of reach."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS: Final = {character: digit for digit, character in enumerate(_ALPHABET)}
_ALIASES: Final = str.maketrans({"O": "0", "I": "1", "L": "1"})
_CLAIM_CHARACTERS: Final = 32
_MAX_CLAIM_CHARACTERS: Final = 4 * _CLAIM_CHARACTERS
_GROUP: Final = 4


def encode_claim_code(*, secret: bytes, ca_fingerprint: bytes) -> str:
    """Write a claim code: 20 bytes in Crockford base32, eight groups of four joined by "-".

    Raises:
        WireError: OUT_OF_RANGE when a part is not 10 bytes long.
    """
    if len(secret) != CLAIM_SECRET_BYTES or len(ca_fingerprint) != CA_FINGERPRINT_BYTES:
        raise WireError(WireReason.OUT_OF_RANGE, "claim_code")
    number = int.from_bytes(secret + ca_fingerprint, "big")
    text = "".join(_ALPHABET[(number >> shift) & 31] for shift in reversed(range(0, 160, 5)))
    return "-".join(text[i : i + _GROUP] for i in range(0, _CLAIM_CHARACTERS, _GROUP))


def decode_claim_code(code: str) -> tuple[bytes, bytes]:
    """Read a claim code as (secret, CA fingerprint), forgiving case, spaces, hyphens and O/I/L.

    Raises:
        WireError: TOO_LARGE beyond 128 characters, OUT_OF_RANGE for another number of them than 32, WRONG_ALPHABET
            for one outside base32.
    """
    if len(code) > _MAX_CLAIM_CHARACTERS:
        raise WireError(WireReason.TOO_LARGE, "claim_code")
    if not code.isascii():  # some letters outside ASCII become one inside it in upper case
        raise WireError(WireReason.WRONG_ALPHABET, "claim_code")
    text = code.replace("-", "").replace(" ", "").upper().translate(_ALIASES)
    if len(text) != _CLAIM_CHARACTERS:
        raise WireError(WireReason.OUT_OF_RANGE, "claim_code")
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            raise WireError(WireReason.WRONG_ALPHABET, "claim_code")
        number = number << 5 | digit
    joined = number.to_bytes(CLAIM_SECRET_BYTES + CA_FINGERPRINT_BYTES, "big")
    return joined[:CLAIM_SECRET_BYTES], joined[CLAIM_SECRET_BYTES:]
