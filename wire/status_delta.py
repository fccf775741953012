"""The delta of a status list: which bits change from one sequence number to a later one (docs/spec/status-list.md).

Invariant: a delta applies only to the list whose hash it names, and gives only the list whose hash it names.
Must not: be trusted by its numbers alone; the hashes decide.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from wire.codec import Fields, Value, decode, encode
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import PublicKey, Signer
from wire.names import ExternalAad
from wire.status_list import MAX_LIST_BYTES, MAX_LIST_ID, StatusList, check_times

MAX_FLIPS: Final = 200_000
"""More changes than this travel as a whole list."""
MAX_DELTA_BYTES: Final = 4 * MAX_FLIPS + 512
"""At most four bytes a change, and the rest."""

_HASH_BYTES: Final = 32
_VARINT_BITS, _LOW_BITS, _CONTINUES = 7, 0x7F, 0x80
_MAX_SHIFT: Final = 21
"""Four bytes hold 28 bits; an index in the largest list has 24."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDelta:
    """The bits that change from one sequence number of a list to a later one."""

    list_id: int
    base_sequence: int
    sequence: int
    before: bytes
    after: bytes
    flips: tuple[int, ...]
    issued_at_s: int
    expires_at_s: int
    ttl_s: int


def make_delta(old: StatusList, new: StatusList) -> StatusDelta:
    """Compare two states of one list of equal length.

    Raises:
        WireError: OUT_OF_RANGE when they are not such, or too much changed to be worth a delta.
    """
    same = (old.tenant, old.list_id, len(old.bits)) == (new.tenant, new.list_id, len(new.bits))
    if not same or old.sequence >= new.sequence:
        raise WireError(WireReason.OUT_OF_RANGE, "delta")
    changed = int.from_bytes(old.bits, "little") ^ int.from_bytes(new.bits, "little")
    flips = tuple(_set_bits(changed.to_bytes(len(old.bits), "little")))
    if len(flips) > MAX_FLIPS:
        raise WireError(WireReason.TOO_LARGE, "delta")
    return StatusDelta(
        list_id=old.list_id,
        base_sequence=old.sequence,
        sequence=new.sequence,
        before=hashlib.sha256(old.bits).digest(),
        after=hashlib.sha256(new.bits).digest(),
        flips=flips,
        issued_at_s=new.issued_at_s,
        expires_at_s=new.expires_at_s,
        ttl_s=new.ttl_s,
    )


def _set_bits(data: bytes) -> Iterable[int]:
    return (place << 3 | bit for place, byte in enumerate(data) if byte for bit in range(8) if byte >> bit & 1)


def seal_delta(delta: StatusDelta, signer: Signer) -> bytes:
    """Sign a delta and check that it reads back.

    Raises:
        WireError: when the delta breaks a rule of the format.
    """
    if any(low >= high for low, high in pairwise((-1, *delta.flips))):
        raise WireError(WireReason.NOT_CANONICAL, "delta.gaps")
    gaps, last = bytearray(), -1
    for index in delta.flips:
        gaps += _varint(index - last - 1)
        last = index
    claims: dict[int | str, Value] = {
        1: delta.list_id,
        2: delta.base_sequence,
        3: delta.sequence,
        4: delta.before,
        5: delta.after,
        6: bytes(gaps),
        7: delta.issued_at_s,
        8: delta.expires_at_s,
        9: delta.ttl_s,
    }
    payload = encode(claims, field="delta")
    _parse(payload)
    return seal(payload, signer, ExternalAad.STATUS_DELTA)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > _LOW_BITS:
        out.append(number & _LOW_BITS | _CONTINUES)
        number >>= _VARINT_BITS
    out.append(number)
    return bytes(out)


def _gaps(data: bytes) -> tuple[int, ...]:
    flips: list[int] = []
    number = shift = 0
    for byte in data:
        number |= (byte & _LOW_BITS) << shift
        if byte & _CONTINUES:
            shift += _VARINT_BITS
            if shift > _MAX_SHIFT:
                raise WireError(WireReason.OUT_OF_RANGE, "delta.gaps")
            continue
        if shift and not byte:
            raise WireError(WireReason.NOT_CANONICAL, "delta.gaps")
        flips.append((flips[-1] if flips else -1) + 1 + number)
        number = shift = 0
    if shift:
        raise WireError(WireReason.NOT_CANONICAL, "delta.gaps")
    if len(flips) > MAX_FLIPS or (flips and flips[-1] >= 8 * MAX_LIST_BYTES):
        raise WireError(WireReason.OUT_OF_RANGE, "delta.gaps")
    return tuple(flips)


def open_delta(data: bytes, key: PublicKey) -> StatusDelta:
    """Verify and read a delta.

    Raises:
        WireError: KEY_INVALID, ALGORITHM_MISMATCH, SIGNATURE_INVALID, or a fault of form.
    """
    envelope = parse_envelope(data, field="delta", max_bytes=MAX_DELTA_BYTES)
    check_signed_by(envelope, key, ExternalAad.STATUS_DELTA, "delta")
    return _parse(envelope.payload)


def _parse(payload: bytes) -> StatusDelta:
    fields = Fields(decode(payload, field="delta", max_bytes=MAX_DELTA_BYTES), "delta")
    delta = StatusDelta(
        list_id=fields.uint(1, "list", MAX_LIST_ID),
        base_sequence=fields.uint(2, "base_sequence"),
        sequence=fields.uint(3, "sequence"),
        before=fields.octets(4, "before", _HASH_BYTES, _HASH_BYTES),
        after=fields.octets(5, "after", _HASH_BYTES, _HASH_BYTES),
        flips=_gaps(fields.octets(6, "gaps", 0, MAX_DELTA_BYTES)),
        issued_at_s=fields.time(7, "iat"),
        expires_at_s=fields.time(8, "exp"),
        ttl_s=fields.uint(9, "ttl"),
    )
    fields.close()
    if delta.sequence <= delta.base_sequence:
        raise WireError(WireReason.OUT_OF_RANGE, "delta.sequence")
    check_times(issued_at_s=delta.issued_at_s, expires_at_s=delta.expires_at_s, ttl_s=delta.ttl_s, field="delta")
    return delta


def apply_delta(current: StatusList, delta: StatusDelta) -> StatusList:
    """Give the list that the delta leads to.

    Raises:
        WireError: ROLLBACK when the delta starts elsewhere, HASH_MISMATCH when the bits before or after are
            not those it names, OUT_OF_RANGE when it flips beyond the list.
    """
    if (delta.list_id, delta.base_sequence) != (current.list_id, current.sequence):
        raise WireError(WireReason.ROLLBACK, "delta.base_sequence")
    if hashlib.sha256(current.bits).digest() != delta.before:
        raise WireError(WireReason.HASH_MISMATCH, "delta.before")
    if delta.flips and delta.flips[-1] >= 8 * len(current.bits):
        raise WireError(WireReason.OUT_OF_RANGE, "delta.gaps")
    bits = bytearray(current.bits)
    for index in delta.flips:
        bits[index >> 3] ^= 1 << (index & 7)
    if hashlib.sha256(bits).digest() != delta.after:
        raise WireError(WireReason.HASH_MISMATCH, "delta.after")
    return replace(
        current,
        sequence=delta.sequence,
        issued_at_s=delta.issued_at_s,
        expires_at_s=delta.expires_at_s,
        ttl_s=delta.ttl_s,
        bits=bytes(bits),
    )
