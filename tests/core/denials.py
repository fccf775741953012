"""One presentation for each step and reason by which a door can refuse it.

`docs/behaviour.md` lists what running these gives; `tests/core/test_denials.py` proves that none is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edge.core.companions import PinOutcome
from edge.core.effects import CheckPin, ReplayMark
from edge.core.replay import MAX_MARKS, ReplayMarks, make_mark
from edge.core.tap import GrantFailed, Input, PinChecked, State, TimeDue, handle
from tests.core.campus import (
    CARD,
    DAY_S,
    KEYS,
    LEVEL,
    NOW,
    NOW_S,
    PERSON,
    PLACE,
    READER,
    TENANT,
    VERIFIERS,
    bundle,
    card,
    changed,
    claims,
    code,
    commits,
    door,
    drafts,
    entry,
    instant,
    issue,
    pass_id,
    passed,
    pin,
    policy,
    present,
    printed,
    read,
    roster,
    status,
    tap,
    trust,
    trusted,
    under,
)
from wire.codec import encode
from wire.envelope import HEADER_ALGORITHM, HEADER_KEY_ID, parse_envelope, seal_with
from wire.names import (
    AntiPassbackRule,
    Assurance,
    ClockState,
    DoorMode,
    ExternalAad,
    KeyPurpose,
    PassKind,
    Reason,
    Step,
    Tenant,
)
from wire.passes import MAX_PASS_BYTES, seal_pass
from wire.policy import ALL_DAYS, Area, Passage, Schedule, Window
from wire.roster import IdentifierForm
from wire.settings import DoorSettings
from wire.text import MAX_TEXT_CHARACTERS, to_text

if TYPE_CHECKING:
    from edge.core.instant import Instant
    from wire.codec import Value
    from wire.keys import Signer
    from wire.passes import Pass

NONCE = bytes(range(16))


@dataclass(frozen=True)
class Case:
    """An input that is refused, where and why; `credential` is what the refusal names."""

    step: Step
    reason: Reason
    state: State
    event: Input
    now: Instant = NOW
    credential: bytes | None = pass_id()


def forge(pass_claims: Pass, *, signer: Signer, named: Signer) -> bytes:
    """A pass that one key signed and that names another."""
    header: dict[int | str, Value] = {
        HEADER_ALGORITHM: int(named.public_key.algorithm),
        HEADER_KEY_ID: bytes(named.public_key.key_id),
    }
    honest = parse_envelope(seal_pass(pass_claims, named), field="pass", max_bytes=MAX_PASS_BYTES)
    return seal_with(header, honest.payload, signer, ExternalAad.PASS)


def replay_key(payload: bytes) -> bytes:
    """What a door remembers of a rotating code."""
    rotating = read(payload).rotating
    assert rotating is not None
    return rotating.replay_key


def full_of_marks(count: int = MAX_MARKS, *, now: Instant = NOW) -> ReplayMarks:
    """As many marks as asked for, all in force."""
    keys = [number.to_bytes(32, "big") for number in range(count)]
    marks: dict[bytes, ReplayMark] = {key: make_mark(key, now) for key in keys}
    return ReplayMarks(MappingProxyType(marks))


def _form_and_kind() -> list[Case]:
    state = door()
    too_large = tap(b"DW1:" + b"0" * (MAX_TEXT_CHARACTERS - 3))
    return [
        Case(Step.FORM, Reason.TOO_LARGE, state, too_large, credential=None),
        Case(Step.FORM, Reason.MALFORMED, state, tap(b""), credential=None),
        Case(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL, state, tap(b"https://example.org/pass"), credential=None),
    ]


def _issuer() -> list[Case]:
    expired_key = bundle(trusted(KEYS.issuer, KeyPurpose.PASS, ends_s=NOW_S))
    foreign = seal_pass(claims(issuer=Tenant("south-campus")), KEYS.issuer)
    forged = forge(claims(), signer=KEYS.stranger, named=KEYS.issuer)
    return [
        Case(Step.CLOCK, Reason.CLOCK_SUSPECT, door(), tap(code()), instant(clock=ClockState.SUSPECT)),
        Case(Step.ISSUER_KEY, Reason.NO_TRUST, replace(door(), trust=None), tap(code())),
        Case(Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY, door(), tap(present(issue(signer=KEYS.stranger)))),
        Case(Step.ISSUER_KEY, Reason.ISSUER_KEY_NOT_VALID, replace(door(), trust=trust(expired_key)), tap(code())),
        Case(Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID, door(), tap(present(forged))),
        Case(Step.VALIDITY, Reason.WRONG_ISSUER, door(), tap(present(foreign))),
        Case(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED, door(), tap(present(issue(expires_at_s=NOW_S)))),
        Case(Step.VALIDITY, Reason.CREDENTIAL_NOT_ACTIVE, door(), tap(present(issue(not_before_s=NOW_S + 1)))),
    ]


def _holder() -> list[Case]:
    site_and_door = f"{PLACE.site}/{PLACE.door}"
    return [
        Case(Step.HOLDER, Reason.SIGNATURE_INVALID, door(), tap(present(issue(), signer=KEYS.thief))),
        Case(Step.HOLDER, Reason.PRESENTATION_EXPIRED, door(), tap(present(issue(), signed_at_s=NOW_S - 31))),
        Case(Step.HOLDER, Reason.PRESENTATION_FROM_FUTURE, door(), tap(present(issue(), signed_at_s=NOW_S + 11))),
        Case(Step.HOLDER, Reason.WRONG_AUDIENCE, door(), tap(present(issue(), audience="gym"))),
        Case(Step.HOLDER, Reason.NONCE_MISMATCH, door(), tap(present(issue(), audience=site_and_door, nonce=NONCE))),
    ]


def _revocation_and_replay() -> list[Case]:
    old = status(issued_at_s=NOW_S - DAY_S - 1)
    used = ReplayMarks().add(make_mark(replay_key(code()), NOW), NOW)
    once = DoorSettings(minimum_assurance=Assurance.PRINTED, printed_uses=1)
    return [
        Case(Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND, door(), card(), credential=None),
        Case(Step.REVOCATION, Reason.REVOKED, replace(door(), trust=trust(lists={0: status(42)})), tap(code())),
        Case(Step.REVOCATION, Reason.REVOCATION_STALE, replace(door(), trust=trust(lists={0: old})), tap(code())),
        Case(Step.REPLAY, Reason.REPLAYED, replace(door(), replay=used), tap(code())),
        Case(Step.REPLAY, Reason.REPLAY_CACHE_FULL, replace(door(), replay=full_of_marks()), tap(code())),
        Case(Step.REPLAY, Reason.USES_EXHAUSTED, passed(door(once), tap(printed())), tap(printed())),
    ]


def _policy() -> list[Case]:
    never = policy(levels={LEVEL: ()})
    no_level = policy(levels={LEVEL + 1: (0,)})
    by_night = policy(levels={LEVEL: (1,)}, schedules={1: Schedule((Window(ALL_DAYS, 0, 300),))})
    return [
        Case(Step.DOOR_MODE, Reason.DOOR_BLOCKED, door(DoorSettings(mode=DoorMode.BLOCKED)), tap(code())),
        Case(Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN, door(DoorSettings(mode=DoorMode.LOCKED_DOWN)), tap(code())),
        Case(Step.DOOR_MODE, Reason.DOOR_INTERLOCKED, door(DoorSettings(interlock=True)), tap(code())),
        Case(Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW, door(), tap(printed())),
        Case(Step.ACCESS, Reason.NO_POLICY, replace(door(), policy=None), tap(code())),
        Case(Step.ACCESS, Reason.UNAUTHORIZED, under(no_level), tap(code())),
        Case(Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME, under(never), tap(code())),
        Case(Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME, under(by_night), tap(code())),
    ]


def _areas() -> list[Case]:
    inside = {READER: Passage(0, 1)}
    enforced = under(changed(policy(DoorSettings(anti_passback=AntiPassbackRule.ENFORCE)), passages=inside))
    small = under(changed(policy(), passages=inside, areas={1: Area(1, 0)}))
    again, another = code(signed_at_s=NOW_S + 1), code(index=43, person=0xB0B)
    second = pass_id(43)
    return [
        Case(Step.ANTI_PASSBACK, Reason.ANTIPASSBACK_VIOLATION, passed(enforced, tap(code())), tap(again)),
        Case(Step.ANTI_PASSBACK, Reason.OCCUPANCY_LIMIT, passed(small, tap(code())), tap(another), credential=second),
    ]


def _companions() -> list[Case]:
    """Refusals of who lacks a PIN or somebody else; waiting in vain is told when the time is over."""
    two, late = DoorSettings(two_person=True), instant(DoorSettings().companion_ms)
    visitor = tap(code(kind=PassKind.VISITOR))
    with_pin = DoorSettings(
        minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.PRINTED, pin_attempts=1, pin_block_s=60
    )
    keypad = under(policy(with_pin), enrolled=roster({(IdentifierForm.CARD_UID, CARD): entry(pin=VERIFIERS)}))
    asked, question = handle(handle(keypad, card(), NOW)[0], pin(), NOW)
    (check,) = (effect for effect in question if isinstance(effect, CheckPin))
    wrong = PinChecked(check.check_id, PinOutcome.WRONG)
    blocked, _ = handle(asked, wrong, NOW)
    unenrolled = under(policy(with_pin), enrolled=roster())
    return [
        Case(Step.COMPANIONS, Reason.SECOND_FACTOR_REQUIRED, unenrolled, card(), credential=PERSON),
        Case(Step.COMPANIONS, Reason.SECOND_FACTOR_WRONG, asked, wrong, credential=PERSON),
        Case(Step.COMPANIONS, Reason.SECOND_FACTOR_BLOCKED, blocked, card(), credential=PERSON),
        Case(Step.COMPANIONS, Reason.SECOND_PERSON_REQUIRED, handle(door(two), tap(code()), NOW)[0], TimeDue(), late),
        Case(Step.COMPANIONS, Reason.ESCORT_REQUIRED, handle(door(), visitor, NOW)[0], TimeDue(), late),
    ]


def _storage() -> list[Case]:
    state, effects = handle(door(), tap(code()), NOW)
    return [Case(Step.GRANT, Reason.STORAGE_FAULT, state, GrantFailed(commits(effects)[0].grant))]


def cases() -> list[Case]:
    """Every refusal of a presentation, in the order of the steps."""
    early = [*_form_and_kind(), *_issuer(), *_holder(), *_revocation_and_replay()]
    return [*early, *_policy(), *_areas(), *_companions(), *_storage()]


def refusals() -> dict[Step, list[Reason]]:
    """Run everything that can refuse; gives the reasons that were seen, by step."""
    seen: dict[Step, list[Reason]] = {step: [] for step in Step}
    for case in cases():
        for draft in drafts(handle(case.state, case.event, case.now)[1]):
            if draft.step is not None and draft.reason is not None and draft.reason not in seen[draft.step]:
                seen[draft.step].append(draft.reason)
    return seen


def not_a_pass() -> bytes:
    """Canonical CBOR in the text form that is no message of ours."""
    return to_text(encode([str(TENANT)]))
