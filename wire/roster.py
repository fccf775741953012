"""The roster: credentials that are enrolled rather than signed, by the hash of their identifier (docs/spec/roster.md).

Invariant: an identifier stands here only as HMAC-SHA-256 under the roster's own pepper, never as read.
Must not: decide; whether a door takes identifiers at all is its policy's to say.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final

from nacl.pwhash import argon2id

from wire.codec import Fields, Value, array, byte_string, decode, encode, head, octets, text, uint
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import PublicKey, Signer
from wire.names import ExternalAad, PassFlags, PassKind, Tenant
from wire.passes import MAX_ACCESS_LEVEL, MAX_ACCESS_LEVELS, MAX_TENANT_CHARACTERS, slug
from wire.roster_table import (
    KEY_BYTES,
    NO_DURESS,
    NO_PIN,
    ONE_PIN,
    PIN_BYTES,
    PIN_ROW,
    RECORD,
    RECORD_BYTES,
    WITH_DURESS,
    check_level_sets,
    check_pins,
    check_records,
    row_of,
)

MAX_ENTRIES: Final = 262_144
"""The largest site that is planned for has 240,000 cardholders."""
MAX_LEVEL_SETS: Final = 65_536
"""What two bytes number."""
MAX_ROSTER_BYTES: Final = 32 * 1024 * 1024
"""All entries with PINs take 24.4 MB, all level sets 3.2 MB."""
PEPPER_BYTES: Final = 32
ROSTER_ID_BYTES: Final = 8
VERIFIER_BYTES: Final = 16
"""Of a salt, a PIN's and a duress PIN's argon2id."""
MAX_IDENTIFIER_BYTES: Final = 64
MAX_FORM: Final = 0xFF
MIN_PIN_DIGITS: Final = 4
MAX_PIN_DIGITS: Final = 8
ARGON2_OPS: Final = 2
ARGON2_MEM_BYTES: Final = 19 * 1024 * 1024
"""Passes and memory of argon2id, one lane: the least that OWASP recommends, a tenth of a second on a Raspberry Pi. They
belong to the format: another choice is another version of it."""

_DIGITS: Final = frozenset("0123456789")


@unique
class IdentifierForm(IntEnum):
    """Kinds of identifiers, so that a printed text is never taken for a card with the same bytes."""

    BARCODE = 1
    CARD_UID = 2
    PUBLIC_KEY = 3


@dataclass(frozen=True, slots=True)
class PinVerifiers:
    """What checks a PIN without telling it.

    Attributes:
        salt: 16 bytes for both.
        pin: argon2id of the PIN, 16 bytes.
        duress: argon2id of the PIN that also calls for help, 16 bytes; None when there is none.
    """

    salt: bytes
    pin: bytes
    duress: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterEntry:
    """One enrolled credential.

    Attributes:
        roster_id: 8 bytes, the holder's pseudonym in events.
        access_levels: ascending, at most 16.
        pin: None when this holder has none.
    """

    roster_id: bytes
    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    pin: PinVerifiers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """The enrolled credentials of one site at one version, packed: 29 bytes an entry and 64 more for a PIN.

    Attributes:
        site: the slug that its doors share.
        version: from 1 on, rises with every issue.
        issued_at_s: Unix seconds; up to here the issuer vouches for it.
        pepper: 32 bytes, the key of the identifiers' HMAC; stays the same for the site's life.
        level_sets: what records name by number; each ascending.
        records: 29 bytes each, ascending by key (`wire.roster_table.RECORD`).
        pins: 64 bytes for each record that has a PIN, in the same order (`wire.roster_table.PIN_ROW`).
    """

    tenant: Tenant
    site: str
    version: int
    issued_at_s: int
    pepper: bytes = field(repr=False)
    level_sets: tuple[tuple[int, ...], ...] = field(repr=False)
    records: bytes = field(repr=False)
    pins: bytes = field(repr=False)

    @property
    def count(self) -> int:
        """How many credentials are enrolled."""
        return len(self.records) // RECORD_BYTES

    def find(self, key: bytes) -> RosterEntry | None:
        """Give the entry with this key (`identifier_key`), None when there is none."""
        row = row_of(self.records, RECORD_BYTES, key)
        if row is None:
            return None
        _, roster_id, kind, flags, pin, level_set = RECORD.unpack(row)
        return RosterEntry(
            roster_id=roster_id,
            kind=PassKind(kind),
            flags=PassFlags(flags),
            access_levels=self.level_sets[level_set],
            pin=None if pin == NO_PIN else self._verifiers(key, with_duress=pin == WITH_DURESS),
        )

    def _verifiers(self, key: bytes, *, with_duress: bool) -> PinVerifiers:
        _, salt, pin, duress = PIN_ROW.unpack(row_of(self.pins, PIN_BYTES, key) or b"")
        return PinVerifiers(salt, pin, duress if with_duress else None)


def identifier_key(pepper: bytes, form: int, identifier: bytes) -> bytes:
    """Give the key under which an identifier is enrolled: 16 bytes of HMAC-SHA-256(pepper, form ‖ identifier).

    Args:
        pepper: of the roster.
        form: `IdentifierForm`, one byte.
        identifier: 1 to 64 bytes, as the reader gives them.

    Raises:
        WireError: OUT_OF_RANGE.
    """
    uint(int(form), "identifier.form", MAX_FORM)
    octets(identifier, "identifier", 1, MAX_IDENTIFIER_BYTES)
    return hmac.digest(pepper, bytes((form,)) + identifier, "sha256")[:KEY_BYTES]


def pin_verifier(pin: str, salt: bytes) -> bytes:
    """Give argon2id of a PIN, 16 bytes; takes 19 MiB and a while, so not for an event loop.

    Args:
        pin: 4 to 8 digits.
        salt: 16 bytes.

    Raises:
        WireError: OUT_OF_RANGE or WRONG_ALPHABET.
    """
    text(pin, "pin", MAX_PIN_DIGITS)
    octets(salt, "pin.salt", VERIFIER_BYTES, VERIFIER_BYTES)
    if len(pin) < MIN_PIN_DIGITS:
        raise WireError(WireReason.OUT_OF_RANGE, "pin")
    if not _DIGITS.issuperset(pin):
        raise WireError(WireReason.WRONG_ALPHABET, "pin")
    return argon2id.kdf(VERIFIER_BYTES, pin.encode(), salt, opslimit=ARGON2_OPS, memlimit=ARGON2_MEM_BYTES)


def make_roster(
    entries: Mapping[bytes, RosterEntry],
    *,
    tenant: Tenant,
    site: str,
    version: int,
    issued_at_s: int,
    pepper: bytes,
    level_sets: tuple[tuple[int, ...], ...] = (),
) -> Roster:
    """Pack entries by their keys; `level_sets` come first in the table, as a delta from a roster with them needs it.

    Raises:
        WireError: OUT_OF_RANGE for a part of another length than the format has.
    """
    missing = {entry.access_levels for entry in entries.values()}.difference(level_sets)
    table = (*level_sets, *sorted(missing))
    numbers = {levels: number for number, levels in enumerate(table)}
    ordered = sorted(entries.items())
    return Roster(
        tenant=tenant,
        site=site,
        version=version,
        issued_at_s=issued_at_s,
        pepper=pepper,
        level_sets=table,
        records=b"".join([pack_record(key, entry, numbers[entry.access_levels]) for key, entry in ordered]),
        pins=b"".join([pack_pin(key, entry.pin) for key, entry in ordered if entry.pin is not None]),
    )


def pack_record(key: bytes, entry: RosterEntry, level_set: int) -> bytes:
    """Write one record, 29 bytes.

    Raises:
        WireError: OUT_OF_RANGE.
    """
    octets(key, "roster.key", KEY_BYTES, KEY_BYTES)
    octets(entry.roster_id, "roster.roster_id", ROSTER_ID_BYTES, ROSTER_ID_BYTES)
    flags = uint(int(entry.flags), "roster.flags", 0xFF)
    pin = NO_PIN if entry.pin is None else ONE_PIN if entry.pin.duress is None else WITH_DURESS
    number = uint(level_set, "roster.level_set", MAX_LEVEL_SETS - 1)
    return RECORD.pack(key, entry.roster_id, entry.kind, flags, pin, number)


def pack_pin(key: bytes, pin: PinVerifiers) -> bytes:
    """Write one row of the table of PINs, 64 bytes.

    Raises:
        WireError: OUT_OF_RANGE.
    """
    parts = (pin.salt, pin.pin, NO_DURESS if pin.duress is None else pin.duress)
    return key + b"".join([octets(part, "roster.pins", VERIFIER_BYTES, VERIFIER_BYTES) for part in parts])


def content_hash(roster: Roster) -> bytes:
    """Give SHA-256 of the encoded array [pepper, level sets, records, pins]: what deltas start from and lead to."""
    digest = hashlib.sha256(head(4, 4) + byte_string(roster.pepper) + encode(level_sets_value(roster.level_sets)))
    for table in (roster.records, roster.pins):
        digest.update(head(2, len(table)))
        digest.update(table)
    return digest.digest()


def seal_roster(roster: Roster, signer: Signer) -> bytes:
    """Sign a roster and check that it reads back.

    Raises:
        WireError: when the roster breaks a rule of the format.
    """
    claims: dict[int | str, Value] = {
        1: str(roster.tenant),
        2: roster.site,
        3: roster.version,
        4: roster.issued_at_s,
        5: roster.pepper,
        6: level_sets_value(roster.level_sets),
        7: roster.records,
        8: roster.pins,
    }
    payload = encode(claims, field="roster")
    _parse(payload)
    return seal(payload, signer, ExternalAad.ROSTER)


def open_roster(data: bytes, key: PublicKey) -> Roster:
    """Verify and read a roster; 240,000 entries take a part of a second, so not for an event loop.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the key did not sign it, or a fault of form.
    """
    envelope = parse_envelope(data, field="roster", max_bytes=MAX_ROSTER_BYTES)
    check_signed_by(envelope, key, ExternalAad.ROSTER, "roster")
    return _parse(envelope.payload)


def _parse(payload: bytes) -> Roster:
    fields = Fields(decode(payload, field="roster", max_bytes=MAX_ROSTER_BYTES), "roster")
    roster = Roster(
        tenant=Tenant(slug(fields.text(1, "tenant", MAX_TENANT_CHARACTERS), "roster.tenant")),
        site=slug(fields.text(2, "site", MAX_TENANT_CHARACTERS), "roster.site"),
        version=fields.uint(3, "version"),
        issued_at_s=fields.time(4, "iat"),
        pepper=fields.octets(5, "pepper", PEPPER_BYTES, PEPPER_BYTES),
        level_sets=parse_level_sets(fields.array(6, "level_sets", MAX_LEVEL_SETS), "roster.level_sets"),
        records=fields.octets(7, "records", 0, MAX_ENTRIES * RECORD_BYTES),
        pins=fields.octets(8, "pins", 0, MAX_ENTRIES * PIN_BYTES),
    )
    fields.close()
    if not roster.version:
        raise WireError(WireReason.OUT_OF_RANGE, "roster.version")
    check_records(roster.records, "roster.records")
    check_level_sets(roster.records, len(roster.level_sets), "roster.records")
    check_pins(roster.records, roster.pins, "roster.pins")
    return roster


def level_sets_value(level_sets: tuple[tuple[int, ...], ...]) -> list[Value]:
    """Give level sets as they are encoded."""
    return [list(levels) for levels in level_sets]


def parse_level_sets(items: list[Value], name: str) -> tuple[tuple[int, ...], ...]:
    """Read level sets, each ascending and of at most 16.

    Raises:
        WireError: WRONG_TYPE, OUT_OF_RANGE or NOT_CANONICAL.
    """
    known: dict[int, int] = {}  # one object for a level, however many sets it is in
    return tuple(_parse_levels(array(item, name, MAX_ACCESS_LEVELS), name, known) for item in items)


def _parse_levels(items: list[Value], name: str, known: dict[int, int]) -> tuple[int, ...]:
    levels = [uint(item, name, MAX_ACCESS_LEVEL) for item in items]
    if levels != sorted(set(levels)):
        raise WireError(WireReason.NOT_CANONICAL, name)
    return tuple([known.setdefault(level, level) for level in levels])
