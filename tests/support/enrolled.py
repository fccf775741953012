"""Enrolled credentials for tests: a roster as a door has it once it was verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nacl.pwhash import argon2id

from wire.names import PassFlags, PassKind, Tenant
from wire.roster import (
    ARGON2_MEM_BYTES,
    ARGON2_OPS,
    IdentifierForm,
    PinVerifiers,
    Roster,
    RosterEntry,
    identifier_key,
    make_roster,
)

TENANT, SITE = Tenant("north"), "hq"
PEPPER = bytes(range(32))
SALT = bytes(16)


@dataclass(frozen=True, kw_only=True)
class Card:
    """Somebody's card, or another identifier; `pin` and `duress` as keyed in."""

    number: bytes
    form: IdentifierForm = IdentifierForm.CARD_UID
    kind: PassKind = PassKind.STANDARD
    pin: bytes | None = None
    duress: bytes | None = None

    @property
    def roster_id(self) -> bytes:
        """The holder's pseudonym."""
        return hashlib.sha256(self.number).digest()[:8]


def roster_of(*cards: Card, version: int = 1, issued_at_s: int) -> Roster:
    """Enrol cards with access level 1."""
    entries = {identifier_key(PEPPER, each.form, each.number): _entry(each) for each in cards}
    return make_roster(entries, tenant=TENANT, site=SITE, version=version, issued_at_s=issued_at_s, pepper=PEPPER)


def _entry(card: Card) -> RosterEntry:
    return RosterEntry(
        roster_id=card.roster_id,
        kind=card.kind,
        flags=PassFlags.NONE,
        access_levels=(1,),
        pin=None if card.pin is None else verifiers(card.pin, card.duress),
    )


def verifiers(pin: bytes, duress: bytes | None = None) -> PinVerifiers:
    """Make what checks a PIN."""
    return PinVerifiers(SALT, _hash(pin), None if duress is None else _hash(duress))


def _hash(pin: bytes) -> bytes:
    return argon2id.kdf(16, pin, SALT, ARGON2_OPS, ARGON2_MEM_BYTES)  # also of what no roster would take
