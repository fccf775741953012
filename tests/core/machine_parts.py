"""What the machine of test_machine.py is made of: people, rules of a door, and an oracle of what may release it.

Invariant: the oracle never asks the core; it knows wires, orders, grants and commands by what happened to the door, and
keeps the relay as a lock does, with its own deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache

from edge.core.credential import Form, Medium, Presentation
from edge.core.effects import Grant
from edge.core.policy import PolicyState
from tests.core.campus import (
    DAY_S,
    DOOR,
    KEYS,
    LEVEL,
    MONOTONIC_MS,
    NOW_S,
    READER,
    SITE,
    TENANT,
    issue,
    p256_signer,
    present,
    printed,
)
from wire.names import (
    AntiPassbackRule,
    Assurance,
    DoorMode,
    PassFlags,
    PassKind,
    RelockRule,
    SuspectRule,
)
from wire.passes import make_pass_id
from wire.policy import (
    ALL_DAYS,
    ALWAYS,
    OUTSIDE,
    Area,
    Passage,
    PolicyBundle,
    Schedule,
    Window,
    open_policy,
    seal_policy,
)
from wire.roster import IdentifierForm, PinVerifiers, Roster, RosterEntry, identifier_key, make_roster
from wire.settings import DoorSettings
from wire.text import from_text

RELEASE_MS = 5_000
INSIDE = "inside"
"""The reader that leads out."""
NONCE = bytes(range(16))

# --- people ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A holder with a phone."""

    kind: PassKind
    index: int
    flags: PassFlags = PassFlags.NONE
    ends_s: int = NOW_S + 6 * DAY_S
    enrolled: bool = False

    @property
    def credential(self) -> bytes:
        """What events name: the pass id, or the roster id."""
        return bytes(2 if self.enrolled else 0) + make_pass_id(0, self.index)


STUDENT = Person(PassKind.STANDARD, 42)
SLOW = Person(PassKind.TEMPORARY, 41, PassFlags.EXTENDED_RELEASE)
LEAVER = Person(PassKind.STANDARD, 40, ends_s=NOW_S + 180)
RESCUER = Person(PassKind.EMERGENCY, 43)
JANITOR = Person(PassKind.STAFF, 44)
PORTER = Person(PassKind.STAFF, 45)
GUEST = Person(PassKind.VISITOR, 46)
PEOPLE = [STUDENT, SLOW, LEAVER, RESCUER, JANITOR, PORTER, GUEST]
ON_PAPER = [
    Person(PassKind.STANDARD, 50),
    Person(PassKind.EMERGENCY, 51),
    Person(PassKind.STAFF, 52),
    Person(PassKind.VISITOR, 53),
]


@lru_cache
def _pass_of(person: Person) -> bytes:
    return issue(
        kind=person.kind,
        flags=person.flags,
        pass_id=make_pass_id(0, person.index),
        holder_key=p256_signer(person.index).public_key,
        expires_at_s=person.ends_s,
    )


@lru_cache(maxsize=4096)
def wallet(person: Person, signed_at_s: int) -> bytes:
    """The code that a phone shows."""
    return present(_pass_of(person), signer=p256_signer(person.index), signed_at_s=signed_at_s)


@lru_cache
def paper(person: Person) -> bytes:
    """A printed pass."""
    return printed(kind=person.kind, pass_id=make_pass_id(0, person.index), expires_at_s=person.ends_s)


@lru_cache
def _bound() -> bytes:
    return from_text(
        present(_pass_of(STUDENT), signer=p256_signer(STUDENT.index), audience=f"{SITE}/{DOOR}", nonce=NONCE)
    )


CARD, PIN = b"\x04\xa2\x19\x5c\x7f\x31\x80", PinVerifiers(b"s" * 16, b"p" * 16, b"d" * 16)
_PEPPER = b"\x0a" * 32


@dataclass(frozen=True)
class Shown:
    """Something at a reader, with what the oracle has to know of it."""

    presentation: Presentation
    person: Person | None
    assurance: Assurance

    @property
    def once(self) -> bool:
        """Whether the door must not grant it twice."""
        return self.assurance is Assurance.ROTATING and self.presentation.form is Form.CODE


def _shown(payload: bytes, person: Person | None, assurance: Assurance, reader: str) -> Shown:
    return Shown(Presentation(reader, Medium.QR, payload, MONOTONIC_MS), person, assurance)


def show_wallet(person: Person, signed_at_s: int, reader: str = READER) -> Shown:
    """A phone's code at a reader."""
    return _shown(wallet(person, signed_at_s), person, Assurance.ROTATING, reader)


def show_paper(person: Person, reader: str = READER) -> Shown:
    """A printed pass at a reader."""
    return _shown(paper(person), person, Assurance.PRINTED, reader)


def show_garbage(payload: bytes) -> Shown:
    """What is no credential."""
    return _shown(payload, None, Assurance.IDENTIFIER, READER)


def show_bound() -> Shown:
    """A phone's answer to the nonce that the door gave it."""
    presentation = Presentation(READER, Medium.NFC, _bound(), MONOTONIC_MS, Form.EXCHANGE, NONCE)
    return Shown(presentation, STUDENT, Assurance.NONCE_BOUND)


CARD_HOLDER = Person(PassKind.STANDARD, 60, enrolled=True)


def show_card() -> Shown:
    """A card with a counter, whose holder has a PIN."""
    presentation = Presentation(READER, Medium.NFC, CARD, MONOTONIC_MS, Form.CARD_MESSAGE)
    return Shown(presentation, CARD_HOLDER, Assurance.DYNAMIC_TAG)


def roster(*, enrolled: bool, version: int = 1) -> Roster:
    """The enrolled credentials: one card, or none."""
    entry = RosterEntry(
        roster_id=CARD_HOLDER.credential,
        kind=CARD_HOLDER.kind,
        flags=PassFlags.NONE,
        access_levels=(LEVEL,),
        pin=PIN,
    )
    entries = {identifier_key(_PEPPER, IdentifierForm.CARD_UID, CARD): entry} if enrolled else {}
    return make_roster(entries, tenant=TENANT, site=SITE, version=version, issued_at_s=NOW_S - 60, pepper=_PEPPER)


_BY_CREDENTIAL = {person.credential: person for person in (*PEOPLE, *ON_PAPER, CARD_HOLDER)}


def person_of(grant: Grant) -> Person:
    """Whose grant it is."""
    return _BY_CREDENTIAL[grant.credential]


# --- rules of a door -------------------------------------------------------------------------------------------

SCHEDULE = 3
WINDOWS = ((534, 536), (538, 540), (545, 600))
"""Local minutes, UTC, of every day; the usual moment is 20 s past minute 533."""


@lru_cache(maxsize=1024)
def rules(settings: DoorSettings, *, admits: bool = True) -> PolicyState:
    """The rules of a door between outside and one area for four; `admits` False is no access level at all."""
    made = PolicyBundle(
        tenant=TENANT,
        door=DOOR,
        version=17,
        issued_at_s=NOW_S - DAY_S,
        settings=settings,
        levels={LEVEL: (ALWAYS,)} if admits else {},
        schedules={SCHEDULE: Schedule(tuple(Window(ALL_DAYS, *window) for window in WINDOWS))},
        passages={READER: Passage(OUTSIDE, 1), INSIDE: Passage(1, OUTSIDE)},
        areas={1: Area(4, 2)},
    )
    return PolicyState(open_policy(seal_policy(made, KEYS.policy), KEYS.policy.public_key), UTC)


USUAL = DoorSettings(
    release_time_ms=RELEASE_MS,
    minimum_assurance=Assurance.PRINTED,
    max_revocation_age_s=30 * DAY_S,
    suspect=SuspectRule.IGNORE_SCHEDULES,  # so that only step 3 stands between a suspect clock and a grant
    anti_passback=AntiPassbackRule.OFF,
)
CHOICES: dict[str, list[object]] = {
    "mode": [*DoorMode, DoorMode.LOCKED_DOWN, DoorMode.LOCKED_DOWN],
    "relock": list(RelockRule),
    "minimum_assurance": [Assurance.PRINTED, Assurance.ROTATING],
    "unlock_schedule": [0, SCHEDULE, SCHEDULE],
    "first_person_in": [False, True],
    "double_tap_ms": [0, 20_000],
    "maintenance": [False, True],
    "interlock": [False, True, True],
    "lock_time_ms": [0, 1_000],
    "two_person": [False, True],
    "escorts": [0, 1, 2],
    "pin_below": [Assurance.IDENTIFIER, Assurance.ROTATING],
    "anti_passback": [AntiPassbackRule.OFF, AntiPassbackRule.ALERT, AntiPassbackRule.ENFORCE],
    "printed_uses": [0, 2],
}
"""What an order may change, one or a few at a time: a door of which everything is unusual admits nobody."""
