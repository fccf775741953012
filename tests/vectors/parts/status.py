"""Vectors of status lists and their deltas."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    DAY_S,
    HOLDER,
    STATUS,
    STRANGER,
    TENANT,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
    header,
    mapping,
    num,
    octets,
    pairs,
    plain,
    refused,
    sign1,
    signed,
    text,
)
from wire.codec import MAX_TIME_S
from wire.errors import WireReason
from wire.names import ExternalAad
from wire.status_delta import StatusDelta, make_delta, seal_delta
from wire.status_list import MAX_LIST_BYTES, StatusList

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import Signer

KEY: Final = {"key": cose_key(STATUS.public_key).hex()}
DRAFT_BITS: Final = b"\xb9\xa3"
"""The example of the Token Status List draft §4.1: 1,0,0,1,1,1,0,1, 1,1,0,0,0,1,0,1."""
DRAFT_COMPRESSED: Final = bytes.fromhex("78dadbb918000217015d")
_WITH_DICTIONARY: Final = bytes.fromhex("78bb0f4c0363dbb918000217015d")
"""The same two bytes, with the preset dictionary "doorward"."""
USUAL: Final = StatusList(
    tenant=TENANT,
    list_id=0,
    sequence=41,
    issued_at_s=AT - 600,
    expires_at_s=AT - 600 + 7 * DAY_S,
    ttl_s=300,
    bits=DRAFT_BITS,
)
NEXT: Final = replace(USUAL, sequence=43, issued_at_s=AT, expires_at_s=AT + 7 * DAY_S, bits=b"\xb9\x2a")


def stored(bits: bytes) -> bytes:
    """Frame bits as zlib without compressing: the one form that every zlib writes alike."""
    return zlib.compress(bits, 0)


def token(status: StatusList) -> bytes:
    """A status list token with its list stored."""
    return _token(
        {
            2: text(f"urn:doorward:status:{status.tenant}:{status.list_id}"),
            4: num(status.expires_at_s),
            6: num(status.issued_at_s),
            65533: _status_list(lst=octets(stored(status.bits))),
            65534: num(status.ttl_s),
            -65537: _numbers(status.list_id, status.sequence, len(status.bits)),
        }
    )


def _list_header(signer: Signer = STATUS, **changes: bytes | None) -> bytes:
    entries: dict[str, bytes | None] = {
        "alg": num(int(signer.public_key.algorithm)),
        "kid": octets(signer.public_key.key_id),
        "typ": text("application/statuslist+cwt"),
        **changes,
    }
    return mapping({1: entries["alg"], 4: entries["kid"], 16: entries["typ"]})


def _status_list(bits: bytes | None = None, lst: bytes | None = None) -> bytes:
    return pairs((text("lst"), lst or octets(DRAFT_COMPRESSED)), (text("bits"), bits or num(1)))


def _numbers(list_id: int = 0, sequence: int = 41, size: int = 2) -> bytes:
    return array(num(list_id), num(sequence), num(size))


def _claims(changes: Entries | None = None) -> bytes:
    """The usual claims, with some replaced, added or left out."""
    entries = {
        2: text(f"urn:doorward:status:{TENANT}:0"),
        4: num(USUAL.expires_at_s),
        6: num(USUAL.issued_at_s),
        65533: _status_list(),
        65534: num(300),
        -65537: _numbers(),
    }
    return mapping(entries, changes)


def _token(changes: Entries | None = None, *, protected: bytes | None = None, signer: Signer = STATUS) -> bytes:
    return sign1(protected or _list_header(), _claims(changes), signer, ExternalAad.STATUS_LIST)


def status_lists() -> dict[str, Json]:
    """status-list.json."""
    return collection(
        "Status list tokens, read under context.key.",
        "docs/spec/status-list.md; bit order and compression: example of draft-ietf-oauth-status-list §4",
        [*_lists_accepted(), *_list_faults(), *_inflate_faults(), *_list_header_faults()],
    )


def _lists_accepted() -> list[Case]:
    bit_by_bit = [DRAFT_BITS[index >> 3] >> (index & 7) & 1 == 1 for index in range(16)]
    usual: Json = {**_plain(USUAL), "revoked": [index for index, revoked in enumerate(bit_by_bit) if revoked]}
    empty = replace(USUAL, list_id=0xFFFF, sequence=0, bits=b"")
    long_name = replace(USUAL, tenant="a" * 32, list_id=0xFFFF)
    return [
        accepted("the draft's example", _token(), usual, **KEY),
        accepted("list that holds nothing", token(empty), _plain(empty), **KEY),
        accepted("longest subject", token(long_name), _plain(long_name), **KEY),
        accepted("ttl of one second", _token({65534: num(1)}), _plain(replace(USUAL, ttl_s=1)), **KEY),
        accepted(
            "stored, not compressed",
            _token({65533: _status_list(lst=octets(stored(DRAFT_BITS)))}),
            _plain(USUAL),
            **KEY,
        ),
    ]


def _plain(status: StatusList | StatusDelta) -> dict[str, Json]:
    found = plain(status)
    assert isinstance(found, dict)
    return found


def _list_faults() -> list[Case]:
    here = "status"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("no sub", {2: None}, WireReason.MISSING_FIELD, f"{here}.sub"),
        ("no exp", {4: None}, WireReason.MISSING_FIELD, f"{here}.exp"),
        ("no iat", {6: None}, WireReason.MISSING_FIELD, f"{here}.iat"),
        ("no ttl", {65534: None}, WireReason.MISSING_FIELD, f"{here}.ttl"),
        ("no list", {65533: None}, WireReason.MISSING_FIELD, f"{here}.status_list"),
        ("no numbers", {-65537: None}, WireReason.MISSING_FIELD, f"{here}.doorward"),
        ("iss added", {1: text(TENANT)}, WireReason.UNKNOWN_FIELD, here),
        ("ttl of 0", {65534: num(0)}, WireReason.OUT_OF_RANGE, f"{here}.ttl"),
        ("exp beyond the latest moment", {4: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, f"{here}.exp"),
        ("exp equal to iat", {4: num(USUAL.issued_at_s)}, WireReason.OUT_OF_RANGE, f"{here}.exp"),
        (
            "sub of another list",
            {2: text(f"urn:doorward:status:{TENANT}:1")},
            WireReason.UNKNOWN_VALUE,
            f"{here}.sub",
        ),
        (
            "sub with a leading zero",
            {2: text(f"urn:doorward:status:{TENANT}:00")},
            WireReason.UNKNOWN_VALUE,
            f"{here}.sub",
        ),
        (
            "sub with more after it",
            {2: text(f"urn:doorward:status:{TENANT}:0:0")},
            WireReason.UNKNOWN_VALUE,
            f"{here}.sub",
        ),
        ("sub of another scheme", {2: text("https://example.org/0")}, WireReason.UNKNOWN_VALUE, f"{here}.sub"),
        ("sub without tenant", {2: text("urn:doorward:status::0")}, WireReason.OUT_OF_RANGE, f"{here}.sub"),
        ("sub beyond its length", {2: text("u" * 59)}, WireReason.OUT_OF_RANGE, f"{here}.sub"),
        ("list id of 65536", {-65537: _numbers(list_id=0x10000)}, WireReason.OUT_OF_RANGE, f"{here}.list"),
        ("two numbers", {-65537: array(num(0), num(41))}, WireReason.MISSING_FIELD, f"{here}.doorward"),
        ("four numbers", {-65537: array(*map(num, range(4)))}, WireReason.OUT_OF_RANGE, f"{here}.doorward"),
        (
            "two bits a pass",
            {65533: _status_list(bits=num(2))},
            WireReason.UNKNOWN_VALUE,
            f"{here}.status_list.bits",
        ),
        (
            "true instead of one bit a pass",
            {65533: _status_list(bits=TRUE)},
            WireReason.WRONG_TYPE,
            f"{here}.status_list.bits",
        ),
        (
            "lst as text",
            {65533: _status_list(lst=text("eNrbuRgAAhcBXQ"))},
            WireReason.WRONG_TYPE,
            f"{here}.status_list.lst",
        ),
        ("lst empty", {65533: _status_list(lst=octets(b""))}, WireReason.OUT_OF_RANGE, f"{here}.status_list.lst"),
        (
            "list without bits",
            {65533: pairs((text("lst"), octets(DRAFT_COMPRESSED)))},
            WireReason.WRONG_TYPE,
            f"{here}.status_list",
        ),
        (
            "the draft's own order of bits and lst",
            {65533: pairs((text("bits"), num(1)), (text("lst"), octets(DRAFT_COMPRESSED)))},
            WireReason.NOT_CANONICAL,
            here,
        ),
    ]
    return [refused(name, _token(changes), reason, field, **KEY) for name, changes, reason, field in faults]


def _inflate_faults() -> list[Case]:
    place = "status.lst"
    faults = [
        ("bytes after the compressed list", DRAFT_COMPRESSED + b"\x00", 2, WireReason.OUT_OF_RANGE, place),
        ("compressed list cut", DRAFT_COMPRESSED[:-1], 2, WireReason.OUT_OF_RANGE, place),
        ("checksum wrong", DRAFT_COMPRESSED[:-1] + b"\x5c", 2, WireReason.NOT_CANONICAL, place),
        ("deflate without zlib's frame", DRAFT_COMPRESSED[2:-4], 2, WireReason.NOT_CANONICAL, place),
        ("zlib with a preset dictionary", _WITH_DICTIONARY, 2, WireReason.NOT_CANONICAL, place),
        ("inflates to more than it says", stored(DRAFT_BITS * 2), 2, WireReason.OUT_OF_RANGE, place),
        ("inflates to one byte more than it says", stored(DRAFT_BITS), 1, WireReason.OUT_OF_RANGE, place),
        ("inflates to one byte less than it says", stored(DRAFT_BITS), 3, WireReason.OUT_OF_RANGE, place),
        (
            "says one byte more than a list may have",
            DRAFT_COMPRESSED,
            MAX_LIST_BYTES + 1,
            WireReason.OUT_OF_RANGE,
            "status.size",
        ),
    ]
    return [
        refused(
            name, _token({65533: _status_list(lst=octets(data)), -65537: _numbers(size=size)}), reason, field, **KEY
        )
        for name, data, size, reason, field in faults
    ]


def _list_header_faults() -> list[Case]:
    here = "status"
    good = _token()
    faults = [
        ("no typ", _token(protected=_list_header(typ=None)), WireReason.MISSING_FIELD, f"{here}.typ"),
        (
            "typ of another message",
            _token(protected=_list_header(typ=num(294))),
            WireReason.UNKNOWN_VALUE,
            f"{here}.typ",
        ),
        ("no kid", _token(protected=_list_header(kid=None)), WireReason.MISSING_FIELD, f"{here}.kid"),
        ("another kid", _token(protected=_list_header(STRANGER)), WireReason.KEY_INVALID, f"{here}.kid"),
        (
            "alg that is not the key's",
            _token(protected=_list_header(alg=num(-9))),
            WireReason.ALGORITHM_MISMATCH,
            f"{here}.alg",
        ),
        ("signed by a stranger", _token(signer=STRANGER), WireReason.SIGNATURE_INVALID, here),
        (
            "signed by a stranger, and so named",
            _token(protected=_list_header(HOLDER), signer=HOLDER),
            WireReason.ALGORITHM_MISMATCH,
            f"{here}.alg",
        ),
        (
            "signed as a delta",
            sign1(_list_header(), _claims(), STATUS, ExternalAad.STATUS_DELTA),
            WireReason.SIGNATURE_INVALID,
            here,
        ),
        ("last bit flipped", good[:-1] + bytes((good[-1] ^ 1,)), WireReason.SIGNATURE_INVALID, here),
        ("empty", b"", WireReason.EMPTY, here),
        ("plain header", signed(_claims(), STATUS, ExternalAad.STATUS_LIST), WireReason.MISSING_FIELD, f"{here}.typ"),
    ]
    return [refused(name, data, reason, field, **KEY) for name, data, reason, field in faults]


# --- deltas ------------------------------------------------------------------------------------------------

_BEFORE: Final = hashlib.sha256(DRAFT_BITS).digest()
_AFTER: Final = hashlib.sha256(NEXT.bits).digest()
_ON_USUAL: Final = {**KEY, "status_list": token(USUAL).hex()}


def _delta(
    changes: Entries | None = None, *, signer: Signer = STATUS, aad: ExternalAad = ExternalAad.STATUS_DELTA
) -> bytes:
    """The usual delta with some members replaced, added or left out."""
    entries = {
        1: num(0),
        2: num(41),
        3: num(43),
        4: octets(_BEFORE),
        5: octets(_AFTER),
        6: octets(bytes((8, 2, 3))),
        7: num(NEXT.issued_at_s),
        8: num(NEXT.expires_at_s),
        9: num(NEXT.ttl_s),
    }
    return sign1(header(STATUS), mapping(entries, changes), signer, aad)


def status_deltas() -> dict[str, Json]:
    """status-delta.json."""
    return collection(
        "Deltas, read under context.key and, where context.status_list is given, applied to that list.",
        "docs/spec/status-list.md",
        [*_deltas_accepted(), *_delta_faults(), *_apply_faults()],
    )


def _deltas_accepted() -> list[Case]:
    made = make_delta(USUAL, NEXT)
    refresh = make_delta(USUAL, replace(NEXT, sequence=42, bits=USUAL.bits))
    refreshed = replace(NEXT, sequence=42, bits=USUAL.bits)
    far = replace(made, flips=(0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 8 * MAX_LIST_BYTES - 1))
    return [
        accepted("three bits", _delta(), {"delta": plain(made), "list": plain(NEXT)}, **_ON_USUAL),
        accepted(
            "no bit, a newer time",
            seal_delta(refresh, STATUS),
            {"delta": plain(refresh), "list": plain(refreshed)},
            **_ON_USUAL,
        ),
        accepted("gaps of every length", seal_delta(far, STATUS), {"delta": plain(far)}, **KEY),
        accepted("gap of 127", _delta({6: octets(b"\x7f")}), {"delta": plain(replace(made, flips=(127,)))}, **KEY),
        accepted("gap of 128", _delta({6: octets(b"\x80\x01")}), {"delta": plain(replace(made, flips=(128,)))}, **KEY),
    ]


def _delta_faults() -> list[Case]:
    gaps = "delta.gaps"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("gap of 127 in two bytes", {6: octets(b"\xff\x00")}, WireReason.NOT_CANONICAL, gaps),
        ("gap that does not end", {6: octets(b"\x08\x80")}, WireReason.NOT_CANONICAL, gaps),
        ("gap of five bytes", {6: octets(b"\x80\x80\x80\x80\x01")}, WireReason.OUT_OF_RANGE, gaps),
        ("bit beyond the largest list", {6: octets(b"\x80\x80\x80\x08")}, WireReason.OUT_OF_RANGE, gaps),
        (
            "two gaps to a bit beyond the largest list",
            {6: octets(b"\xfe\xff\xff\x07\x00\x00")},
            WireReason.OUT_OF_RANGE,
            gaps,
        ),
        ("sequence that stays", {3: num(41)}, WireReason.OUT_OF_RANGE, "delta.sequence"),
        ("sequence that goes back", {3: num(40)}, WireReason.OUT_OF_RANGE, "delta.sequence"),
        ("exp equal to iat", {8: num(NEXT.issued_at_s)}, WireReason.OUT_OF_RANGE, "delta.exp"),
        ("exp beyond the latest moment", {8: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "delta.exp"),
        ("ttl of 0", {9: num(0)}, WireReason.OUT_OF_RANGE, "delta.ttl"),
        ("hash of 31 bytes", {4: octets(bytes(31))}, WireReason.OUT_OF_RANGE, "delta.before"),
        ("hash of 33 bytes", {5: octets(bytes(33))}, WireReason.OUT_OF_RANGE, "delta.after"),
        ("list id of 65536", {1: num(0x10000)}, WireReason.OUT_OF_RANGE, "delta.list"),
        ("list id true", {1: TRUE}, WireReason.WRONG_TYPE, "delta.list"),
        ("gaps missing", {6: None}, WireReason.MISSING_FIELD, gaps),
        ("member added", {10: num(0)}, WireReason.UNKNOWN_FIELD, "delta"),
    ]
    stranger = _delta(signer=STRANGER)
    as_list = _delta(aad=ExternalAad.STATUS_LIST)
    return [
        *(refused(name, _delta(changes), reason, field, **KEY) for name, changes, reason, field in faults),
        refused("signed by a stranger", stranger, WireReason.SIGNATURE_INVALID, "delta", **KEY),
        refused("signed as a list", as_list, WireReason.SIGNATURE_INVALID, "delta", **KEY),
    ]


def _apply_faults() -> list[Case]:
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("for an older list", {2: num(40)}, WireReason.ROLLBACK, "delta.base_sequence"),
        ("for a newer list", {2: num(42)}, WireReason.ROLLBACK, "delta.base_sequence"),
        ("for another list", {1: num(1)}, WireReason.ROLLBACK, "delta.base_sequence"),
        ("for other bits", {4: octets(bytes(32))}, WireReason.HASH_MISMATCH, "delta.before"),
        ("to other bits", {5: octets(bytes(32))}, WireReason.HASH_MISMATCH, "delta.after"),
        ("bit 15 of 16 too, so other bits", {6: octets(bytes((15,)))}, WireReason.HASH_MISMATCH, "delta.after"),
        ("bit 16 of 16", {6: octets(bytes((16,)))}, WireReason.OUT_OF_RANGE, "delta.gaps"),
    ]
    return [refused(name, _delta(changes), reason, field, **_ON_USUAL) for name, changes, reason, field in faults]
