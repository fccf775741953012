"""Revocation: a Token Status List as CWT, one bit a pass (docs/spec/status-list.md).

Invariant: a bit only ever says "revoked"; what lies beyond the list counts as revoked.
Must not: inflate beyond the declared size.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, decode, encode, octets, uint
from wire.envelope import (
    HEADER_ALGORITHM,
    HEADER_KEY_ID,
    Envelope,
    algorithm,
    check_key,
    parse_envelope,
    seal_with,
)
from wire.errors import WireError, WireReason
from wire.keys import KEY_ID_BYTES, Algorithm, PublicKey, Signer
from wire.names import ExternalAad, KeyId
from wire.passes import MAX_STATUS_LIST, MAX_TENANT_CHARACTERS, slug

MAX_LIST_BYTES: Final = 2 * 1024 * 1024
"""Uncompressed: 16.7 million passes; ten million take 1.25 MB."""
MAX_TOKEN_BYTES: Final = MAX_LIST_BYTES + 4096
MAX_LIST_ID: Final = MAX_STATUS_LIST
STATUS_TYPE: Final = "application/statuslist+cwt"

_HEADER_TYPE: Final = 16
_SUB, _EXP, _IAT = 2, 4, 6
_STATUS_LIST, _TTL, _DOORWARD = 65533, 65534, -65537
_SUBJECT: Final = "urn:doorward:status:"
_MAX_SUBJECT: Final = len(_SUBJECT) + MAX_TENANT_CHARACTERS + len(":65535")
_MAX_HEADER_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusList:
    """One status list at one sequence number.

    Attributes:
        bits: the inflated list; bit `i & 7` of byte `i >> 3` is pass index i (draft-ietf-oauth-status-list §4.1).
        sequence: rises by at least 1 with every change.
        issued_at_s, expires_at_s: Unix seconds; ttl_s: how long a reader may keep it without asking.
    """

    tenant: str
    list_id: int
    sequence: int
    issued_at_s: int
    expires_at_s: int
    ttl_s: int
    bits: bytes

    def is_set(self, index: int) -> bool:
        """Tell whether the bit of a pass is set; an index beyond the list counts as set (fail closed)."""
        return is_set(self.bits, index)


def is_set(bits: bytes | bytearray, index: int) -> bool:
    """Look one bit up; beyond the end counts as set."""
    place = index >> 3
    return place >= len(bits) or bits[place] >> (index & 7) & 1 == 1


def seal_status_list(status: StatusList, signer: Signer) -> bytes:
    """Sign a status list as CWT and check that it reads back; external_aad is empty, as the draft has it.

    Raises:
        WireError: when the list breaks a rule of the format.
    """
    compressed = zlib.compress(status.bits, 9)
    claims: dict[int | str, Value] = {
        _SUB: f"{_SUBJECT}{status.tenant}:{status.list_id}",
        _EXP: status.expires_at_s,
        _IAT: status.issued_at_s,
        _STATUS_LIST: {"bits": 1, "lst": compressed},
        _TTL: status.ttl_s,
        _DOORWARD: [status.list_id, status.sequence, len(status.bits)],
    }
    key = signer.public_key
    header: dict[int | str, Value] = {
        HEADER_ALGORITHM: int(key.algorithm),
        HEADER_KEY_ID: bytes(key.key_id),
        _HEADER_TYPE: STATUS_TYPE,
    }
    payload = encode(claims, field="status")
    _parse(payload)
    return seal_with(header, payload, signer, ExternalAad.STATUS_LIST)


def status_key_id(data: bytes) -> KeyId:
    """Tell which key is said to have signed a status list token.

    Raises:
        WireError: when it is none.
    """
    return _header(parse_envelope(data, field="status", max_bytes=MAX_TOKEN_BYTES))[1]


def _header(envelope: Envelope) -> tuple[Algorithm, KeyId]:
    fields = Fields(decode(envelope.protected, field="status", max_bytes=_MAX_HEADER_BYTES), "status")
    found = algorithm(fields.value(HEADER_ALGORITHM, "alg"), "status")
    key_id = fields.octets(HEADER_KEY_ID, "kid", KEY_ID_BYTES, KEY_ID_BYTES)
    if fields.value(_HEADER_TYPE, "typ") != STATUS_TYPE:
        raise WireError(WireReason.UNKNOWN_VALUE, "status.typ")
    fields.close()
    return found, KeyId(key_id)


def open_status_list(data: bytes, key: PublicKey) -> StatusList:
    """Verify and read a status list token.

    Raises:
        WireError: KEY_INVALID when another key is named, ALGORITHM_MISMATCH, SIGNATURE_INVALID, or a fault of form.
    """
    envelope = parse_envelope(data, field="status", max_bytes=MAX_TOKEN_BYTES)
    found, key_id = _header(envelope)
    check_key(key, found, key_id, "status")
    envelope.verify(key, ExternalAad.STATUS_LIST, "status")
    return _parse(envelope.payload)


def _parse(payload: bytes) -> StatusList:
    fields = Fields(decode(payload, field="status", max_bytes=MAX_TOKEN_BYTES), "status")
    subject = fields.text(_SUB, "sub", _MAX_SUBJECT)
    expires, issued = fields.time(_EXP, "exp"), fields.time(_IAT, "iat")
    compressed = _compressed(fields.value(_STATUS_LIST, "status_list"))
    ttl = fields.uint(_TTL, "ttl")
    list_id, sequence, size = _numbers(fields.array(_DOORWARD, "doorward", 3))
    fields.close()
    tenant = slug(subject.removeprefix(_SUBJECT).partition(":")[0], "status.sub")
    if subject != f"{_SUBJECT}{tenant}:{list_id}":
        raise WireError(WireReason.UNKNOWN_VALUE, "status.sub")
    check_times(issued_at_s=issued, expires_at_s=expires, ttl_s=ttl, field="status")
    return StatusList(
        tenant=tenant,
        list_id=list_id,
        sequence=sequence,
        issued_at_s=issued,
        expires_at_s=expires,
        ttl_s=ttl,
        bits=_inflate(compressed, size),
    )


def check_times(*, issued_at_s: int, expires_at_s: int, ttl_s: int, field: str) -> None:
    """Refuse a list that expires before it starts or that may not be kept at all."""
    if issued_at_s >= expires_at_s:
        raise WireError(WireReason.OUT_OF_RANGE, f"{field}.exp")
    if ttl_s < 1:
        raise WireError(WireReason.OUT_OF_RANGE, f"{field}.ttl")


def _compressed(value: Value) -> bytes:
    if type(value) is not dict or set(value) != {"bits", "lst"}:
        raise WireError(WireReason.WRONG_TYPE, "status.status_list")
    if uint(value["bits"], "status.status_list.bits") != 1:
        raise WireError(WireReason.UNKNOWN_VALUE, "status.status_list.bits")
    return octets(value["lst"], "status.status_list.lst", 1, MAX_TOKEN_BYTES)


def _numbers(parts: Sequence[Value]) -> tuple[int, int, int]:
    if len(parts) != 3:  # noqa: PLR2004 - list, sequence, size
        raise WireError(WireReason.MISSING_FIELD, "status.doorward")
    return (
        uint(parts[0], "status.list", MAX_LIST_ID),
        uint(parts[1], "status.sequence"),
        uint(parts[2], "status.size", MAX_LIST_BYTES),
    )


def _inflate(compressed: bytes, size: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        bits = engine.decompress(compressed, size + 1)
    except zlib.error as error:
        raise WireError(WireReason.NOT_CANONICAL, "status.lst") from error
    if len(bits) != size or not engine.eof or engine.unused_data:
        raise WireError(WireReason.OUT_OF_RANGE, "status.lst")
    return bits
