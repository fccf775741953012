"""One presentation for each step and reason by which a door can refuse it.

`docs/behaviour.md` lists what running these gives; `tests/core/test_denials.py` proves that none is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edge.core.effects import ReplayMark
from edge.core.replay import MAX_MARKS, ReplayMarks, make_mark
from edge.core.tap import GrantFailed, State, handle
from tests.core.campus import (
    DAY_S,
    KEYS,
    LEVEL,
    NOW,
    NOW_S,
    PLACE,
    TENANT,
    bundle,
    claims,
    code,
    commits,
    door,
    drafts,
    instant,
    issue,
    policy,
    present,
    printed,
    read,
    status,
    tap,
    trust,
    trusted,
)
from wire.codec import encode
from wire.envelope import HEADER_ALGORITHM, HEADER_KEY_ID, parse_envelope, seal_with
from wire.names import ClockState, DoorMode, ExternalAad, KeyPurpose, Reason, Step, Tenant
from wire.passes import MAX_PASS_BYTES, seal_pass
from wire.policy import ALL_DAYS, Schedule, Window
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
    """A presentation that is refused, where and why."""

    step: Step
    reason: Reason
    state: State
    payload: bytes
    now: Instant = NOW


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
    return [
        Case(Step.FORM, Reason.TOO_LARGE, state, b"DW1:" + b"0" * (MAX_TEXT_CHARACTERS - 3)),
        Case(Step.FORM, Reason.MALFORMED, state, b""),
        Case(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL, state, b"https://example.org/pass"),
    ]


def _issuer() -> list[Case]:
    expired_key = bundle(trusted(KEYS.issuer, KeyPurpose.PASS, ends_s=NOW_S))
    foreign = seal_pass(claims(issuer=Tenant("south-campus")), KEYS.issuer)
    forged = forge(claims(), signer=KEYS.stranger, named=KEYS.issuer)
    return [
        Case(Step.CLOCK, Reason.CLOCK_SUSPECT, door(), code(), instant(clock=ClockState.SUSPECT)),
        Case(Step.ISSUER_KEY, Reason.NO_TRUST, replace(door(), trust=None), code()),
        Case(Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY, door(), present(issue(signer=KEYS.stranger))),
        Case(Step.ISSUER_KEY, Reason.ISSUER_KEY_NOT_VALID, replace(door(), trust=trust(expired_key)), code()),
        Case(Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID, door(), present(forged)),
        Case(Step.VALIDITY, Reason.WRONG_ISSUER, door(), present(foreign)),
        Case(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED, door(), present(issue(expires_at_s=NOW_S))),
        Case(Step.VALIDITY, Reason.CREDENTIAL_NOT_ACTIVE, door(), present(issue(not_before_s=NOW_S + 1))),
    ]


def _holder() -> list[Case]:
    site_and_door = f"{PLACE.site}/{PLACE.door}"
    return [
        Case(Step.HOLDER, Reason.SIGNATURE_INVALID, door(), present(issue(), signer=KEYS.thief)),
        Case(Step.HOLDER, Reason.PRESENTATION_EXPIRED, door(), present(issue(), signed_at_s=NOW_S - 31)),
        Case(Step.HOLDER, Reason.PRESENTATION_FROM_FUTURE, door(), present(issue(), signed_at_s=NOW_S + 11)),
        Case(Step.HOLDER, Reason.WRONG_AUDIENCE, door(), present(issue(), audience="gym")),
        Case(Step.HOLDER, Reason.NONCE_MISMATCH, door(), present(issue(), audience=site_and_door, nonce=NONCE)),
    ]


def _revocation_and_replay() -> list[Case]:
    old = status(issued_at_s=NOW_S - DAY_S - 1)
    used = ReplayMarks().add(make_mark(replay_key(code()), NOW), NOW)
    return [
        Case(Step.REVOCATION, Reason.REVOKED, replace(door(), trust=trust(lists={0: status(42)})), code()),
        Case(Step.REVOCATION, Reason.REVOCATION_STALE, replace(door(), trust=trust(lists={0: old})), code()),
        Case(Step.REPLAY, Reason.REPLAYED, replace(door(), replay=used), code()),
        Case(Step.REPLAY, Reason.REPLAY_CACHE_FULL, replace(door(), replay=full_of_marks()), code()),
    ]


def _policy() -> list[Case]:
    never = policy(levels={LEVEL: ()})
    no_level = policy(levels={LEVEL + 1: (0,)})
    by_night = policy(levels={LEVEL: (1,)}, schedules={1: Schedule((Window(ALL_DAYS, 0, 300),))})
    return [
        Case(Step.DOOR_MODE, Reason.DOOR_BLOCKED, door(DoorSettings(mode=DoorMode.BLOCKED)), code()),
        Case(Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN, door(DoorSettings(mode=DoorMode.LOCKED_DOWN)), code()),
        Case(Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW, door(), printed()),
        Case(Step.ACCESS, Reason.NO_POLICY, replace(door(), policy=None), code()),
        Case(Step.ACCESS, Reason.UNAUTHORIZED, replace(door(), policy=no_level), code()),
        Case(Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME, replace(door(), policy=never), code()),
        Case(Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME, replace(door(), policy=by_night), code()),
    ]


def cases() -> list[Case]:
    """Every refusal of a presentation, in the order of the steps."""
    return [*_form_and_kind(), *_issuer(), *_holder(), *_revocation_and_replay(), *_policy()]


def refusals() -> dict[Step, list[Reason]]:
    """Run everything that can refuse; gives the reasons that were seen, by step."""
    seen: dict[Step, list[Reason]] = {step: [] for step in Step}
    for case in cases():
        for draft in drafts(handle(case.state, tap(case.payload), case.now)[1]):
            _remember(seen, draft.step, draft.reason)
    state, effects = handle(door(), tap(code()), NOW)
    for draft in drafts(handle(state, GrantFailed(commits(effects)[0].grant), NOW)[1]):
        _remember(seen, draft.step, draft.reason)
    return seen


def _remember(seen: dict[Step, list[Reason]], step: Step | None, reason: Reason | None) -> None:
    if step is not None and reason is not None and reason not in seen[step]:
        seen[step].append(reason)


def not_a_pass() -> bytes:
    """Canonical CBOR in the text form that is no message of ours."""
    return to_text(encode([str(TENANT)]))
