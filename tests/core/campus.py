"""A small campus with real keys: passes, presentations, trust, status and policy as a door would hold them.

Invariant: everything here goes through `wire`'s own sealing and opening; nothing is faked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from edge.core.companions import PinOutcome
from edge.core.credential import (
    Form,
    Medium,
    PinEntry,
    Presentation,
    PresentedCredential,
    read_code,
)
from edge.core.door_state import InputLine, LineState
from edge.core.effects import CheckPin, CommitCommand, CommitGrant, Effect, EventDraft, Journaling, Show
from edge.core.instant import Instant
from edge.core.orders import Orders
from edge.core.policy import PolicyState
from edge.core.tap import (
    CommandDurable,
    CommandReceived,
    GrantDurable,
    Input,
    LineChanged,
    PinChecked,
    PinEntered,
    State,
    Tap,
    handle,
)
from edge.core.trust import HeldStatus, TrustState
from edge.core.verify import Place
from wire.command import Command, seal_command
from wire.keys import Ed25519Signer, P256Signer
from wire.names import (
    Action,
    ClockState,
    DoorId,
    DoorMode,
    EventKind,
    KeyPurpose,
    PassFlags,
    PassId,
    PassKind,
    Reason,
    Step,
    Tenant,
)
from wire.passes import Pass, make_pass_id, seal_pass
from wire.policy import ALWAYS, PolicyBundle, Schedule, open_policy, seal_policy
from wire.presentation import seal_presentation
from wire.roster import IdentifierForm, PinVerifiers, Roster, RosterEntry, identifier_key, make_roster
from wire.settings import DoorSettings
from wire.status_list import StatusList, open_status_list, seal_status_list
from wire.text import from_text, to_text
from wire.trust import TrustBundle, TrustedKey, open_trust, seal_trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from wire.keys import Signer

TENANT = Tenant("north-campus")
SITE = "library"
DOOR = DoorId("main-entrance")
PLACE = Place(tenant=TENANT, site=SITE, door=DOOR)
READER = "outside"

NOW_S = 1_760_000_000
"""Thursday 2025-10-09 08:53:20 UTC."""
NOW_MS = NOW_S * 1000
MONOTONIC_MS = 5_000_000
DAY_S = 86_400

LEVEL = 7
"""The access level that standard passes hold and the door admits always."""


def p256_signer(secret: int) -> P256Signer:
    """A P-256 signer whose private key is this number."""
    return P256Signer(ec.derive_private_key(secret, ec.SECP256R1()))


@dataclass(frozen=True)
class Keys:
    """The signers of a campus."""

    root: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x01" * 32))
    issuer: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x02" * 32))
    status: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x03" * 32))
    policy: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x04" * 32))
    command: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x07" * 32))
    stranger: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x05" * 32))
    holder: P256Signer = field(default_factory=lambda: p256_signer(0xA11CE))
    thief: P256Signer = field(default_factory=lambda: p256_signer(0xB0B))
    holder_ed: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(b"\x06" * 32))


KEYS = Keys()


def claims(**changes: object) -> Pass:
    """A standard pass of one week, issued an hour ago, with the changes asked for."""
    usual = Pass(
        issuer=TENANT,
        pass_id=make_pass_id(0, 42),
        issued_at_s=NOW_S - 3600,
        not_before_s=None,
        expires_at_s=NOW_S - 3600 + 7 * DAY_S,
        holder_key=KEYS.holder.public_key,
        kind=PassKind.STANDARD,
        flags=PassFlags.NONE,
        access_levels=(LEVEL,),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def issue(*, signer: Signer = KEYS.issuer, **changes: object) -> bytes:
    """Sign a pass."""
    return seal_pass(claims(**changes), signer)


def printed(*, signer: Signer = KEYS.issuer, **changes: object) -> bytes:
    """A printed pass, as a code holds it."""
    return to_text(issue(signer=signer, holder_key=None, **changes))


def present(
    pass_bytes: bytes,
    *,
    signer: Signer = KEYS.holder,
    signed_at_s: int = NOW_S,
    audience: str = SITE,
    nonce: bytes | None = None,
) -> bytes:
    """A rotating presentation, as a code holds it."""
    return to_text(seal_presentation(pass_bytes, signer, issued_at_s=signed_at_s, audience=audience, nonce=nonce))


@lru_cache
def code(
    *,
    signed_at_s: int = NOW_S,
    kind: PassKind = PassKind.STANDARD,
    index: int = 42,
    person: int = 0xA11CE,
) -> bytes:
    """A valid rotating code, signed once and remembered; `person` is the secret of the phone's key."""
    signer = p256_signer(person)
    pass_bytes = issue(
        kind=kind,
        pass_id=make_pass_id(0, index),
        issued_at_s=signed_at_s - 3600,
        expires_at_s=signed_at_s - 3600 + 7 * DAY_S,
        holder_key=signer.public_key,
    )
    return present(pass_bytes, signer=signer, signed_at_s=signed_at_s)


def holder(person: int = 0xA11CE) -> bytes:
    """Who the phone with this secret stands for."""
    return hashlib.sha256(p256_signer(person).public_key.point).digest()[:8]


def read(payload: bytes) -> PresentedCredential:
    """What a code of good form holds."""
    credential = read_code(payload)
    assert isinstance(credential, PresentedCredential)
    return credential


def instant(
    later_ms: int = 0,
    *,
    wall_ms: int | None = None,
    clock: ClockState = ClockState.TRUSTED,
    uncertainty_ms: int = 0,
) -> Instant:
    """A moment `later_ms` after the usual one; `wall_ms` when the two clocks disagree."""
    return Instant(
        wall_ms=NOW_MS + later_ms if wall_ms is None else wall_ms,
        monotonic_ms=MONOTONIC_MS + later_ms,
        clock=clock,
        uncertainty_ms=uncertainty_ms,
    )


NOW = instant()


def trusted(signer: Signer, purpose: KeyPurpose, *, starts_s: int = 0, ends_s: int = NOW_S + 365 * DAY_S) -> TrustedKey:
    """A key of the bundle."""
    return TrustedKey(key=signer.public_key, purpose=purpose, not_before_s=starts_s, expires_at_s=ends_s)


def bundle(*keys: TrustedKey, version: int = 1) -> TrustBundle:
    """A trust bundle as a door reads it; the campus's own keys when none are given."""
    usual = (
        trusted(KEYS.issuer, KeyPurpose.PASS),
        trusted(KEYS.status, KeyPurpose.STATUS),
        trusted(KEYS.policy, KeyPurpose.POLICY),
        trusted(KEYS.command, KeyPurpose.COMMAND),
    )
    made = TrustBundle(tenant=TENANT, version=version, issued_at_s=NOW_S - DAY_S, keys=keys or usual)
    return open_trust(seal_trust(made, KEYS.root), KEYS.root.public_key)


def status(
    *revoked: int,
    list_id: int = 0,
    issued_at_s: int = NOW_S - 60,
    expires_at_s: int = NOW_S + 30 * DAY_S,
    passes: int = 1024,
) -> HeldStatus:
    """A revocation list as a door holds it, after the way through its signed form."""
    bits = bytearray(passes // 8)
    for index in revoked:
        bits[index >> 3] |= 1 << (index & 7)
    made = StatusList(
        tenant=TENANT,
        list_id=list_id,
        sequence=881,
        issued_at_s=issued_at_s,
        expires_at_s=expires_at_s,
        ttl_s=300,
        bits=bytes(bits),
    )
    read = open_status_list(seal_status_list(made, KEYS.status), KEYS.status.public_key)
    return HeldStatus(
        sequence=read.sequence, issued_at_s=read.issued_at_s, expires_at_s=read.expires_at_s, bits=read.bits
    )


def trust(held: TrustBundle | None = None, *, lists: Mapping[int, HeldStatus] | None = None) -> TrustState:
    """What a door believes."""
    return TrustState(bundle() if held is None else held, {0: status()} if lists is None else lists)


def policy(
    settings: DoorSettings | None = None,
    *,
    levels: Mapping[int, tuple[int, ...]] | None = None,
    schedules: Mapping[int, Schedule] | None = None,
    holidays: Iterable[int] = (),
    zone: tzinfo = UTC,
    version: int = 17,
) -> PolicyState:
    """The rules in force, after the way through their signed form."""
    made = PolicyBundle(
        tenant=TENANT,
        door=DOOR,
        version=version,
        issued_at_s=NOW_S - DAY_S,
        settings=DoorSettings() if settings is None else settings,
        levels={LEVEL: (ALWAYS,)} if levels is None else levels,
        schedules={} if schedules is None else schedules,
        holidays=frozenset(holidays),
    )
    return _signed(made, zone)


def changed(rules: PolicyState, **changes: object) -> PolicyState:
    """The same rules with the changes asked for."""
    return _signed(replace(rules.bundle, **changes), rules.zone)  # type: ignore[arg-type]


def _signed(made: PolicyBundle, zone: tzinfo) -> PolicyState:
    return PolicyState(open_policy(seal_policy(made, KEYS.policy), KEYS.policy.public_key), zone)


def door(settings: DoorSettings | None = None) -> State:
    """A door with the campus's trust and a policy with these settings."""
    return under(policy(settings))


def under(rules: PolicyState, *, enrolled: Roster | None = None) -> State:
    """A door with the campus's trust, these rules and perhaps a roster."""
    return State(
        place=PLACE,
        trust=trust(),
        policy=rules,
        roster=enrolled,
        orders=Orders(rest=rules.bundle.settings.mode),
        clock=ClockState.TRUSTED,
    )


def closed(state: State) -> State:
    """The door, after its contact said that it is closed."""
    return handle(state, LineChanged(InputLine.CONTACT, LineState.INACTIVE), NOW)[0]


# --- enrolled credentials --------------------------------------------------------------------------------------

PEPPER = b"\x0a" * 32
PERSON = b"person-1"
CARD = b"\x04\xa2\x19\x5c\x7f\x31\x80"
"""The identifier under which PERSON is usually enrolled."""
VERIFIERS = PinVerifiers(b"s" * 16, b"p" * 16, b"d" * 16)
"""What checks a PIN; the core passes it on and never looks inside."""


def entry(
    roster_id: bytes = PERSON,
    *,
    kind: PassKind = PassKind.STANDARD,
    flags: PassFlags = PassFlags.NONE,
    levels: tuple[int, ...] = (LEVEL,),
    pin: PinVerifiers | None = None,
) -> RosterEntry:
    """An enrolled person."""
    return RosterEntry(roster_id=roster_id, kind=kind, flags=flags, access_levels=levels, pin=pin)


def roster(
    entries: Mapping[tuple[IdentifierForm, bytes], RosterEntry] | None = None,
    *,
    version: int = 5,
    issued_at_s: int = NOW_S - 60,
) -> Roster:
    """The enrolled credentials of the campus; PERSON's card when none are given. The one place that makes a roster."""
    people = {(IdentifierForm.CARD_UID, CARD): entry()} if entries is None else entries
    keys = {identifier_key(PEPPER, form, identifier): person for (form, identifier), person in people.items()}
    return make_roster(keys, tenant=TENANT, site=SITE, version=version, issued_at_s=issued_at_s, pepper=PEPPER)


def card(identifier: bytes = CARD, *, form: Form = Form.CARD_NUMBER, reader: str = READER) -> Tap:
    """A card at a reader."""
    return Tap(Presentation(reader, Medium.NFC, identifier, MONOTONIC_MS, form))


def exchanged(payload: bytes, *, nonce: bytes | None, reader: str = READER) -> Tap:
    """What a phone answered to the nonce that the door gave it, as its adapter delivers it."""
    return Tap(Presentation(reader, Medium.NFC, from_text(payload), MONOTONIC_MS, Form.EXCHANGE, nonce))


def pin(digits: bytes = b"1234", reader: str = READER) -> PinEntered:
    """A PIN that is keyed in."""
    return PinEntered(PinEntry(reader, digits, MONOTONIC_MS))


def answered(
    state: State, outcome: PinOutcome, now: Instant = NOW, *, reader: str = READER
) -> tuple[State, tuple[Effect, ...]]:
    """Key a PIN in and tell what checking it found."""
    state, effects = handle(state, pin(reader=reader), now)
    (question,) = (effect for effect in effects if isinstance(effect, CheckPin))
    return handle(state, PinChecked(question.check_id, outcome), now)


def presented(payload: bytes, reader: str = READER) -> Presentation:
    """Something as a reader of codes delivers it."""
    return Presentation(reader, Medium.QR, payload, MONOTONIC_MS)


def tap(payload: bytes, reader: str = READER) -> Tap:
    """Something read at a reader."""
    return Tap(presented(payload, reader))


def command(
    action: Action = Action.RESET_FIRE,
    *,
    counter: int = 1,
    issued_at_s: int = NOW_S,
    lifetime_s: int = 60,
    target: DoorId = DOOR,
    signer: Signer | None = None,
    mode: DoorMode | None = None,
    hold_s: int | None = None,
) -> bytes:
    """A signed command; a MODE is to free the door unless it says otherwise."""
    if action is Action.MODE and mode is None:
        mode = DoorMode.UNLOCKED
    made = Command(
        command_id=counter.to_bytes(16, "big"),
        target=target,
        action=action,
        issued_at_s=issued_at_s,
        expires_at_s=issued_at_s + lifetime_s,
        counter=counter,
        mode=mode,
        hold_s=hold_s,
    )
    return seal_command(made, KEYS.command if signer is None else signer)


def commanded(state: State, data: bytes, now: Instant = NOW, *, seq: int = 1) -> tuple[State, tuple[Effect, ...]]:
    """Give a door a command, and its place in the journal if it took it."""
    state, effects = handle(state, CommandReceived(data), now)
    taken = [effect for effect in effects if isinstance(effect, CommitCommand)]
    if not taken:
        return state, effects
    state, more = handle(state, CommandDurable(taken[0].command, seq), now)
    return state, (*effects, *more)


def durable(state: State, commit: CommitGrant, now: Instant = NOW, *, seq: int = 1) -> tuple[State, tuple[Effect, ...]]:
    """Tell the core that a grant is in the journal."""
    return handle(state, GrantDurable(commit.grant, seq), now)


def feed(state: State, *inputs: Input, now: Instant = NOW) -> tuple[State, tuple[Effect, ...]]:
    """Feed inputs at one moment; gives the last state and all effects."""
    effects: list[Effect] = []
    for event in inputs:
        state, more = handle(state, event, now)
        effects.extend(more)
    return state, tuple(effects)


def commits(effects: Iterable[Effect]) -> list[CommitGrant]:
    """The grants among effects."""
    return [effect for effect in effects if isinstance(effect, CommitGrant)]


def drafts(effects: Iterable[Effect]) -> list[EventDraft]:
    """The events among effects, in order; each says when."""
    found = [effect.draft for effect in effects if isinstance(effect, Journaling)]
    assert all(isinstance(draft.at, Instant) for draft in found)
    return found


def kinds(effects: Iterable[Effect]) -> list[EventKind]:
    """The events among effects, by their kind."""
    return [draft.kind for draft in drafts(effects)]


def refusals(effects: Iterable[Effect]) -> list[tuple[Step | None, Reason | None]]:
    """Step and reason of each refusal among effects."""
    return [(draft.step, draft.reason) for draft in drafts(effects) if draft.granted is False]


def passed(state: State, event: Input, now: Instant = NOW) -> State:
    """Feed what must be granted, and let the door open and close for it."""
    state, effects = handle(state, event, now)
    assert commits(effects), refusals(effects)
    for seq, commit in enumerate(commits(effects), start=1):
        state, _ = durable(state, commit, now, seq=seq)
    for line in (LineState.ACTIVE, LineState.INACTIVE):
        state, _ = handle(state, LineChanged(InputLine.CONTACT, line), now)
    return state


def shown(effects: Iterable[Effect]) -> list[Show]:
    """What people are told."""
    return [effect for effect in effects if isinstance(effect, Show)]


def pass_id(index: int = 42) -> PassId:
    """The id of a pass of list 0."""
    return make_pass_id(0, index)
