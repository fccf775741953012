"""The signed envelope: COSE_Sign1 (RFC 9052 §4.2, tag 18) with closed headers.

Invariant: the unprotected map is empty, the protected map holds exactly the headers its message type names,
and each message type has its own external_aad.
Must not: verify anything by itself when parsing; `verify` is a separate, explicit act.
"""

from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, byte_string, decode, encode, head
from wire.errors import WireError, WireReason
from wire.keys import KEY_ID_BYTES, SIGNATURE_BYTES, Algorithm, PublicKey, Signer
from wire.names import ExternalAad, KeyId

HEADER_ALGORITHM: Final = 1
HEADER_KEY_ID: Final = 4
_SIGN1: Final = b"\xd2\x84"
"""Tag 18 and an array of four (RFC 9052 §4.2)."""
_EMPTY_MAP: Final = b"\xa0"
_BYTE_STRING: Final = 2
_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
"""RFC 8949 §3: bytes that follow an initial byte with this additional information."""
_SIG_STRUCTURE: Final = b"\x84\x6aSignature1"
"""The start of RFC 9052 §4.4's Sig_structure: array of 4, text "Signature1"."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed, unverified COSE_Sign1.

    Attributes:
        protected: the protected header's bytes, as signed.
        payload: the payload's bytes, as signed.
        signature: 64 bytes.
    """

    protected: bytes
    payload: bytes
    signature: bytes

    def verify(self, key: PublicKey, aad: ExternalAad, field: str) -> None:
        """Return when `key` signed these bytes as this type of message.

        Raises:
            WireError: SIGNATURE_INVALID or KEY_INVALID.
        """
        key.verify(self.signature, to_be_signed(self.protected, self.payload, aad), field=field)


def to_be_signed(protected: bytes, payload: bytes, aad: ExternalAad) -> bytes:
    """Write the Sig_structure of RFC 9052 §4.4."""
    return _SIG_STRUCTURE + byte_string(protected) + byte_string(aad) + byte_string(payload)


def parse_envelope(data: bytes, *, field: str, max_bytes: int) -> Envelope:
    """Parse a tagged COSE_Sign1 of at most `max_bytes`.

    Read by hand rather than by the codec: whatever two megabytes hold, four items are looked at before the
    signature is checked, and nothing is built from the rest.

    Raises:
        WireError: WRONG_TYPE, UNKNOWN_FIELD (unprotected headers), OUT_OF_RANGE (empty parts, signature's length), or
            NOT_CBOR and NOT_CANONICAL for heads that do not fit.
    """
    if not data:
        raise WireError(WireReason.EMPTY, field)
    if len(data) > max_bytes:
        raise WireError(WireReason.TOO_LARGE, field)
    if not data.startswith(_SIGN1):
        raise WireError(WireReason.WRONG_TYPE, field)
    protected, place = _take(data, len(_SIGN1), field, "protected")
    if data[place : place + 1] != _EMPTY_MAP:
        raise WireError(WireReason.UNKNOWN_FIELD, f"{field}.unprotected")
    payload, place = _take(data, place + 1, field, "payload")
    signature, place = _take(data, place, field, "signature")
    if place != len(data):
        raise WireError(WireReason.NOT_CANONICAL, field)
    if len(signature) != SIGNATURE_BYTES:
        raise WireError(WireReason.OUT_OF_RANGE, f"{field}.signature")
    return Envelope(protected, payload, signature)


def _take(data: bytes, place: int, field: str, part: str) -> tuple[bytes, int]:
    """Read the byte string at a place; give it and the place after it."""
    if place >= len(data):
        raise WireError(WireReason.NOT_CBOR, field)
    first = data[place]
    if first >> 5 != _BYTE_STRING:
        raise WireError(WireReason.WRONG_TYPE, f"{field}.{part}")
    start = place + 1 + _ARGUMENT_BYTES.get(first & 0x1F, 0)
    length = int.from_bytes(data[place + 1 : start], "big") if start > place + 1 else first & 0x1F
    if start + length > len(data):
        raise WireError(WireReason.NOT_CBOR, field)
    if data[place:start] != head(_BYTE_STRING, length):
        raise WireError(WireReason.NOT_CANONICAL, field)
    if not length:
        raise WireError(WireReason.OUT_OF_RANGE, f"{field}.{part}")
    return data[start : start + length], start + length


def algorithm(value: Value, field: str) -> Algorithm:
    """Check an `alg` header against the closed list.

    Raises:
        WireError: UNKNOWN_ALGORITHM.
    """
    if type(value) is int and value in _ALGORITHMS:
        return _ALGORITHMS[value]
    raise WireError(WireReason.UNKNOWN_ALGORITHM, f"{field}.alg")


_ALGORITHMS: Final = {int(item): item for item in Algorithm}


def parse_key_header(protected: bytes, field: str) -> tuple[Algorithm, KeyId]:
    """Read the plain protected header {1: alg, 4: kid} that most messages carry.

    Raises:
        WireError: for any other header.
    """
    fields = Fields(decode(protected, field=field, max_bytes=64), field)
    found = algorithm(fields.value(HEADER_ALGORITHM, "alg"), field)
    key_id = KeyId(fields.octets(HEADER_KEY_ID, "kid", KEY_ID_BYTES, KEY_ID_BYTES))
    fields.close()
    return found, key_id


def check_signed_by(envelope: Envelope, key: PublicKey, aad: ExternalAad, field: str) -> None:
    """Return when header, algorithm and signature all belong to `key`.

    Raises:
        WireError: ALGORITHM_MISMATCH, KEY_INVALID (another key id) or SIGNATURE_INVALID.
    """
    found, key_id = parse_key_header(envelope.protected, field)
    check_key(key, found, key_id, field)
    envelope.verify(key, aad, field)


def check_key(key: PublicKey, found: Algorithm, key_id: KeyId, field: str) -> None:
    """Refuse a header that names another algorithm or key than `key`.

    Raises:
        WireError: ALGORITHM_MISMATCH or KEY_INVALID.
    """
    if found is not key.algorithm:
        raise WireError(WireReason.ALGORITHM_MISMATCH, f"{field}.alg")
    if key_id != key.key_id:
        raise WireError(WireReason.KEY_INVALID, f"{field}.kid")


def seal(payload: bytes, signer: Signer, aad: ExternalAad) -> bytes:
    """Sign a payload under {1: alg, 4: kid} and give the tagged bytes."""
    key = signer.public_key
    return seal_with({HEADER_ALGORITHM: int(key.algorithm), HEADER_KEY_ID: key.key_id}, payload, signer, aad)


def seal_with(header: dict[int | str, Value], payload: bytes, signer: Signer, aad: ExternalAad) -> bytes:
    """Sign a payload under the given protected header."""
    protected = encode(header)
    signature = signer.sign(to_be_signed(protected, payload, aad))
    return _SIGN1 + byte_string(protected) + _EMPTY_MAP + byte_string(payload) + byte_string(signature)
