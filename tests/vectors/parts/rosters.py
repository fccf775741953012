"""Vectors of rosters and their deltas, of identifiers' keys and of PINs' verifiers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    MAX_UINT,
    POLICY,
    SITE,
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
    plain,
    refused,
    sign1,
    text,
)
from wire.codec import MAX_TIME_S
from wire.errors import WireReason
from wire.names import ExternalAad, PassFlags, PassKind, Tenant
from wire.roster import (
    IdentifierForm,
    PinVerifiers,
    Roster,
    RosterEntry,
    content_hash,
    identifier_key,
    make_roster,
    pin_verifier,
    seal_roster,
)
from wire.roster_delta import RosterDelta, make_roster_delta, seal_roster_delta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import Signer

KEY: Final = {"key": cose_key(POLICY.public_key).hex()}
PEPPER: Final = hashlib.sha256(b"pepper").digest()
SALT: Final = hashlib.sha256(b"salt").digest()[:16]
BARCODE: Final = b"0100482117"
CARD: Final = bytes.fromhex("04a2b3c4d5e680")
FOB: Final = bytes.fromhex("5e9a11f0")
_PIN: Final = pin_verifier("2468", SALT)
_DURESS: Final = pin_verifier("2469", SALT)


def key_of(form: IdentifierForm, identifier: bytes) -> bytes:
    """The key of an identifier at this site."""
    return identifier_key(PEPPER, form, identifier)


def entry(
    number: int,
    *levels: int,
    kind: PassKind = PassKind.STANDARD,
    flags: PassFlags = PassFlags.NONE,
    pin: PinVerifiers | None = None,
) -> RosterEntry:
    """An entry whose roster id is a number."""
    return RosterEntry(roster_id=number.to_bytes(8, "big"), kind=kind, flags=flags, access_levels=levels, pin=pin)


ENTRIES: Final[Mapping[bytes, RosterEntry]] = {
    key_of(IdentifierForm.BARCODE, BARCODE): entry(1, 1, 7),
    key_of(IdentifierForm.CARD_UID, CARD): entry(1, 1, 7, pin=PinVerifiers(SALT, _PIN, None)),
    key_of(IdentifierForm.CARD_UID, FOB): entry(
        2, kind=PassKind.STAFF, flags=PassFlags.EXTENDED_RELEASE, pin=PinVerifiers(SALT, _PIN, _DURESS)
    ),
}


def roster(
    entries: Mapping[bytes, RosterEntry], *, version: int = 12, level_sets: tuple[tuple[int, ...], ...] = ()
) -> Roster:
    """The site's roster with these entries."""
    return make_roster(
        entries,
        tenant=Tenant(TENANT),
        site=SITE,
        version=version,
        issued_at_s=AT - 3600 + version,
        pepper=PEPPER,
        level_sets=level_sets,
    )


USUAL: Final = roster(ENTRIES)
_BARCODE_KEY, _CARD_KEY, _FOB_KEY = ENTRIES
_NEXT_ENTRIES: Final = {
    _CARD_KEY: entry(1, 1, 7),
    _FOB_KEY: ENTRIES[_FOB_KEY],
    key_of(IdentifierForm.CARD_UID, b"\x01\x02\x03\x04"): entry(3, 9, pin=PinVerifiers(SALT, _PIN, None)),
}
NEXT: Final = roster(_NEXT_ENTRIES, version=13, level_sets=USUAL.level_sets)
"""The barcode gone, the card without its PIN, another card with a level set of its own."""


# --- rosters -----------------------------------------------------------------------------------------------


def record(
    key: bytes = bytes(16),
    *,
    kind: int = 0,
    flags: int = 0,
    pin: int = 0,
    level_set: int = 0,
    roster_id: bytes = bytes(8),
) -> bytes:
    """A record of any content."""
    return key + roster_id + bytes((kind, flags, pin)) + level_set.to_bytes(2, "big")


def _claims(changes: Entries | None = None) -> bytes:
    entries = {
        1: text(TENANT),
        2: text(SITE),
        3: num(USUAL.version),
        4: num(USUAL.issued_at_s),
        5: octets(PEPPER),
        6: _level_sets(*USUAL.level_sets),
        7: octets(USUAL.records),
        8: octets(USUAL.pins),
    }
    return mapping(entries, changes)


def _level_sets(*sets: tuple[int, ...]) -> bytes:
    return array(*(array(*map(num, levels)) for levels in sets))


def _roster(changes: Entries | None = None, *, signer: Signer = POLICY, aad: ExternalAad = ExternalAad.ROSTER) -> bytes:
    return sign1(header(POLICY), _claims(changes), signer, aad)


def _packed(records: bytes, pins: bytes = b"") -> Entries:
    return {6: _level_sets((), (1, 7)), 7: octets(records), 8: octets(pins)}


def read(found: Roster) -> Json:
    """A roster as it is read, with what each key finds."""
    keys = [found.records[start : start + 16] for start in range(0, len(found.records), 29)]
    entries: Json = {key.hex(): plain(found.find(key)) for key in keys}
    return {"roster": plain(found), "entries": entries}


def rosters() -> dict[str, Json]:
    """roster.json."""
    return collection(
        "Rosters of one site, read under context.key; `entries` is what each key finds.",
        "docs/spec/roster.md",
        [*_accepted(), *_claim_faults(), *_record_faults(), *_pin_faults(), *_signature_faults()],
    )


def _accepted() -> list[Case]:
    odd = [
        entry(0, *range(0xFFF0, 0x10000), kind=PassKind.EMERGENCY),
        entry(2**64 - 1, 0, kind=PassKind.VISITOR),
        entry(5, 0, kind=PassKind.TEMPORARY, pin=PinVerifiers(bytes(16), bytes(16), bytes(16))),
    ]
    ends = roster(dict(zip((bytes(16), bytes(15) + b"\x01", b"\xff" * 16), odd, strict=True)), version=MAX_UINT)
    found = {
        "usual": USUAL,
        "after the delta": NEXT,
        "nobody enrolled": roster({}, version=1),
        "level set that nobody has": roster(ENTRIES, level_sets=((5,), (5,))),
        "ends of every range": replace(ends, tenant=Tenant("t" * 32), site="s" * 32, issued_at_s=MAX_TIME_S),
    }
    return [accepted(name, seal_roster(value, POLICY), read(value), **KEY) for name, value in found.items()]


def _claim_faults() -> list[Case]:
    names = ("tenant", "site", "version", "iat", "pepper", "level_sets", "records", "pins")
    sets = "roster.level_sets"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        *(
            (f"no {name}", {number: None}, WireReason.MISSING_FIELD, f"roster.{name}")
            for number, name in enumerate(names, 1)
        ),
        ("member added", {9: num(0)}, WireReason.UNKNOWN_FIELD, "roster"),
        ("tenant in upper case", {1: text("North")}, WireReason.WRONG_ALPHABET, "roster.tenant"),
        ("site that is none", {2: text("a/b")}, WireReason.WRONG_ALPHABET, "roster.site"),
        ("version 0", {3: num(0)}, WireReason.OUT_OF_RANGE, "roster.version"),
        ("version true", {3: TRUE}, WireReason.WRONG_TYPE, "roster.version"),
        ("iat beyond the latest moment", {4: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "roster.iat"),
        ("pepper of 31 bytes", {5: octets(bytes(31))}, WireReason.OUT_OF_RANGE, "roster.pepper"),
        ("pepper of 33 bytes", {5: octets(bytes(33))}, WireReason.OUT_OF_RANGE, "roster.pepper"),
        ("level set as a number", {6: array(num(1), array())}, WireReason.WRONG_TYPE, sets),
        ("17 levels in a set", {6: _level_sets((), tuple(range(17)))}, WireReason.OUT_OF_RANGE, sets),
        ("level beyond 16 bits", {6: _level_sets((), (0x10000,))}, WireReason.OUT_OF_RANGE, sets),
        ("levels out of order", {6: _level_sets((), (7, 1))}, WireReason.NOT_CANONICAL, sets),
        ("level twice", {6: _level_sets((), (7, 7))}, WireReason.NOT_CANONICAL, sets),
    ]
    return [refused(name, _roster(changes), reason, field, **KEY) for name, changes, reason, field in faults]


def _record_faults() -> list[Case]:
    low, high = bytes(15) + b"\x01", bytes(15) + b"\x02"
    unknown, here = WireReason.UNKNOWN_VALUE, "roster.records"
    faults = [
        ("records out of order", record(high) + record(low), WireReason.NOT_CANONICAL),
        ("record twice", record(low) + record(low, level_set=1), WireReason.NOT_CANONICAL),
        ("record cut", record(low)[:-1], WireReason.OUT_OF_RANGE),
        ("byte after the records", record(low) + b"\x00", WireReason.OUT_OF_RANGE),
        ("kind 5", record(low, kind=5), unknown),
        ("unknown flag", record(low, flags=2), unknown),
        ("PIN byte of 3", record(low, pin=3), unknown),
        ("level set that is not there", record(low) + record(high, level_set=2), unknown),
        ("level set 256 of two", record(low, level_set=256), unknown),
    ]
    good = record(low, level_set=1) + record(high)
    return [
        accepted(
            "two records",
            _roster(_packed(good)),
            read(replace(USUAL, level_sets=((), (1, 7)), records=good, pins=b"")),
            **KEY,
        ),
        *(refused(name, _roster(_packed(data)), reason, here, **KEY) for name, data, reason in faults),
        refused("level set of none", _roster({**_packed(record()), 6: array()}), unknown, here, **KEY),
        refused("records as text", _roster({7: text("")}), WireReason.WRONG_TYPE, here, **KEY),
    ]


def _pin_faults() -> list[Case]:
    low, high = bytes(15) + b"\x01", bytes(15) + b"\x02"
    one, with_duress, without = record(low, pin=1), record(high, pin=2), record(high)
    rest, empty = _PIN + SALT, bytes(16)
    faults = [
        ("row of PINs missing", one + with_duress, low + rest + empty, WireReason.OUT_OF_RANGE),
        ("row of PINs too many", one + without, (low + rest + empty) + (high + rest + empty), WireReason.OUT_OF_RANGE),
        ("row of PINs cut", one, low + rest, WireReason.OUT_OF_RANGE),
        ("PIN of another entry", one + without, high + rest + empty, WireReason.NOT_CANONICAL),
        (
            "PINs out of order",
            one + with_duress,
            (high + rest + _DURESS) + (low + rest + empty),
            WireReason.NOT_CANONICAL,
        ),
        ("duress PIN where the record names none", one, low + rest + _DURESS, WireReason.NOT_CANONICAL),
    ]
    return [
        refused(name, _roster(_packed(records, pins)), reason, "roster.pins", **KEY)
        for name, records, pins, reason in faults
    ]


def _signature_faults() -> list[Case]:
    stranger, as_delta = _roster(signer=STRANGER), _roster(aad=ExternalAad.ROSTER_DELTA)
    named = sign1(header(STRANGER), _claims(), STRANGER, ExternalAad.ROSTER)
    return [
        refused("signed by a stranger", stranger, WireReason.SIGNATURE_INVALID, "roster", **KEY),
        refused("signed by a stranger, and so named", named, WireReason.KEY_INVALID, "roster.kid", **KEY),
        refused("signed as a delta", as_delta, WireReason.SIGNATURE_INVALID, "roster", **KEY),
        refused("empty", b"", WireReason.EMPTY, "roster", **KEY),
    ]


# --- deltas ------------------------------------------------------------------------------------------------

_MADE: Final = make_roster_delta(USUAL, NEXT)
_ON_USUAL: Final = {**KEY, "roster": seal_roster(USUAL, POLICY).hex()}


def _delta(
    changes: Entries | None = None, *, signer: Signer = POLICY, aad: ExternalAad = ExternalAad.ROSTER_DELTA
) -> bytes:
    entries = {
        1: text(TENANT),
        2: text(SITE),
        3: num(12),
        4: num(13),
        5: num(NEXT.issued_at_s),
        6: octets(content_hash(USUAL)),
        7: octets(content_hash(NEXT)),
        8: _level_sets((9,)),
        9: octets(_BARCODE_KEY),
        10: octets(_MADE.upserts),
        11: octets(_MADE.pins),
    }
    return sign1(header(POLICY), mapping(entries, changes), signer, aad)


def roster_deltas() -> dict[str, Json]:
    """roster-delta.json."""
    return collection(
        "Deltas, read under context.key and, where context.roster is given, applied to that roster.",
        "docs/spec/roster.md",
        [*_deltas_accepted(), *_delta_faults(), *_apply_faults()],
    )


def _deltas_accepted() -> list[Case]:
    later = replace(USUAL, version=14, issued_at_s=AT)
    refresh = make_roster_delta(replace(USUAL, version=13), later)
    emptied = roster({}, version=13, level_sets=USUAL.level_sets)
    absent = replace(refresh, removals=bytes(16))
    led: list[tuple[str, RosterDelta, Roster]] = [
        ("one removed, one changed, one added", _MADE, NEXT),
        ("nothing but a newer time, from a later version with the same content", refresh, later),
        ("everybody removed", make_roster_delta(USUAL, emptied), emptied),
        ("removal of what is not there", absent, later),
    ]
    return [
        *(
            accepted(name, seal_roster_delta(delta, POLICY), {"delta": plain(delta), "roster": plain(to)}, **_ON_USUAL)
            for name, delta, to in led
        ),
        accepted("not applied", _delta(), {"delta": plain(_MADE)}, **KEY),
    ]


def _delta_faults() -> list[Case]:
    here, low, high = "roster_delta", bytes(15) + b"\x01", bytes(15) + b"\x02"
    names = (
        *("tenant", "site", "base_version", "version", "iat", "before", "after"),
        *("level_sets", "removals", "upserts", "pins"),
    )
    faults: list[tuple[str, Entries, WireReason, str]] = [
        *(
            (f"no {name}", {number: None}, WireReason.MISSING_FIELD, f"{here}.{name}")
            for number, name in enumerate(names, 1)
        ),
        ("member added", {12: num(0)}, WireReason.UNKNOWN_FIELD, here),
        ("site in upper case", {2: text("Library")}, WireReason.WRONG_ALPHABET, f"{here}.site"),
        ("base version 0", {3: num(0)}, WireReason.OUT_OF_RANGE, f"{here}.version"),
        ("version that stays", {4: num(12)}, WireReason.OUT_OF_RANGE, f"{here}.version"),
        ("iat beyond the latest moment", {5: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, f"{here}.iat"),
        ("hash of 31 bytes", {6: octets(bytes(31))}, WireReason.OUT_OF_RANGE, f"{here}.before"),
        ("hash of 33 bytes", {7: octets(bytes(33))}, WireReason.OUT_OF_RANGE, f"{here}.after"),
        ("levels out of order", {8: _level_sets((2, 1))}, WireReason.NOT_CANONICAL, f"{here}.level_sets"),
        ("removals out of order", {9: octets(high + low)}, WireReason.NOT_CANONICAL, f"{here}.removals"),
        ("removal twice", {9: octets(low + low)}, WireReason.NOT_CANONICAL, f"{here}.removals"),
        ("removal cut", {9: octets(low[1:])}, WireReason.OUT_OF_RANGE, f"{here}.removals"),
        ("removed and written", {9: octets(_CARD_KEY)}, WireReason.NOT_CANONICAL, f"{here}.removals"),
        ("record cut", {10: octets(record()[:-1])}, WireReason.OUT_OF_RANGE, f"{here}.upserts"),
        ("records out of order", {10: octets(record(high) + record(low))}, WireReason.NOT_CANONICAL, f"{here}.upserts"),
        ("kind 5", {10: octets(record(kind=5))}, WireReason.UNKNOWN_VALUE, f"{here}.upserts"),
        ("PIN missing", {11: octets(b"")}, WireReason.OUT_OF_RANGE, f"{here}.pins"),
    ]
    stranger, as_roster = _delta(signer=STRANGER), _delta(aad=ExternalAad.ROSTER)
    return [
        *(refused(name, _delta(changes), reason, field, **KEY) for name, changes, reason, field in faults),
        refused("signed by a stranger", stranger, WireReason.SIGNATURE_INVALID, here, **KEY),
        refused("signed as a roster", as_roster, WireReason.SIGNATURE_INVALID, here, **KEY),
    ]


def _apply_faults() -> list[Case]:
    here = "roster_delta"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("to the version that is held", {3: num(11), 4: num(12)}, WireReason.ROLLBACK, f"{here}.version"),
        ("of another tenant", {1: text("elsewhere")}, WireReason.OUT_OF_RANGE, f"{here}.site"),
        ("of another site", {2: text("gym")}, WireReason.OUT_OF_RANGE, f"{here}.site"),
        ("for other content", {6: octets(bytes(32))}, WireReason.HASH_MISMATCH, f"{here}.before"),
        ("to other content", {7: octets(bytes(32))}, WireReason.HASH_MISMATCH, f"{here}.after"),
        ("one level set more, so other content", {8: _level_sets((9,), ())}, WireReason.HASH_MISMATCH, f"{here}.after"),
        ("without the removal, so other content", {9: octets(b"")}, WireReason.HASH_MISMATCH, f"{here}.after"),
        ("without the level set that a record names", {8: array()}, WireReason.UNKNOWN_VALUE, f"{here}.upserts"),
    ]
    return [refused(name, _delta(changes), reason, field, **_ON_USUAL) for name, changes, reason, field in faults]


# --- identifiers and PINs ----------------------------------------------------------------------------------


def identifier_keys() -> dict[str, Json]:
    """identifier-key.json."""
    cases = [
        ("barcode", IdentifierForm.BARCODE, BARCODE),
        ("card with the barcode's bytes", IdentifierForm.CARD_UID, BARCODE),
        ("card UID of seven bytes", IdentifierForm.CARD_UID, CARD),
        ("card UID of four bytes", IdentifierForm.CARD_UID, FOB),
        ("one byte of form 0", 0, b"\x00"),
        ("64 bytes of form 255", 255, bytes(range(64))),
    ]
    faults = [
        ("nothing", 1, b"", "identifier"),
        ("65 bytes", 1, bytes(65), "identifier"),
        ("form 256", 256, b"\x00", "identifier.form"),
        ("form below 0", -1, b"\x00", "identifier.form"),
    ]
    pepper = PEPPER.hex()
    return collection(
        "Identifiers and their keys in a roster with context.pepper; context.form is one byte before them.",
        "docs/spec/roster.md; RFC 2104, FIPS 180-4",
        [
            *(
                accepted(name, data, identifier_key(PEPPER, form, data).hex(), pepper=pepper, form=int(form))
                for name, form, data in cases
            ),
            *(
                refused(name, data, WireReason.OUT_OF_RANGE, field, pepper=pepper, form=form)
                for name, form, data, field in faults
            ),
        ],
    )


def pin_verifiers() -> dict[str, Json]:
    """pin-verifier.json."""
    salt = SALT.hex()
    faults = [
        ("three digits", "246", SALT, WireReason.OUT_OF_RANGE, "pin"),
        ("nine digits", "246824682", SALT, WireReason.OUT_OF_RANGE, "pin"),
        ("nothing", "", SALT, WireReason.OUT_OF_RANGE, "pin"),
        ("letter", "24a8", SALT, WireReason.WRONG_ALPHABET, "pin"),
        ("digits of another script", "\u0662\u0664\u0666\u0668", SALT, WireReason.WRONG_ALPHABET, "pin"),
        ("sign", "-2468", SALT, WireReason.WRONG_ALPHABET, "pin"),
        ("salt of 15 bytes", "2468", SALT[1:], WireReason.OUT_OF_RANGE, "pin.salt"),
        ("salt of 17 bytes", "2468", SALT + b"\x00", WireReason.OUT_OF_RANGE, "pin.salt"),
    ]
    return collection(
        "PINs (UTF-8) and their argon2id under context.salt.",
        "docs/spec/roster.md; RFC 9106",
        [
            *(
                accepted(f"PIN {pin}", pin.encode(), pin_verifier(pin, SALT).hex(), salt=salt)
                for pin in ("2468", "2469", "0000", "24682468")
            ),
            *(
                refused(name, pin.encode(), reason, field, salt=found.hex())
                for name, pin, found, reason, field in faults
            ),
        ],
    )
