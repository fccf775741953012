"""Every step and reason by which a door refuses, and the order of the steps."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from edge.core import tap as taps
from edge.core.credential import read_code
from edge.core.effects import CommitGrant, Denied, Energise, EventDraft, Feedback, Record, Show, feedback_of
from edge.core.replay import ReplayMarks, make_mark
from edge.core.tap import GrantFailed, handle, judge
from tests.core import denials
from tests.core.campus import (
    DAY_S,
    KEYS,
    NOW,
    NOW_S,
    PERSON,
    READER,
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
    presented,
    status,
    tap,
    trust,
    trusted,
)
from tests.core.denials import Case, cases, forge, refusals, replay_key
from wire.errors import WireReason
from wire.names import Assurance, ClockState, DoorMode, EventKind, KeyPurpose, Reason, Step
from wire.passes import seal_pass
from wire.settings import DoorSettings

_CORE = Path(taps.__file__).parent
_CASES = cases()
_READABLE = [case for case in _CASES if case.credential is not None]


def _name(case: Case) -> str:
    return f"{case.step.name}-{case.reason.name}"


def _refused(case: Case) -> EventDraft:
    """The one refusal that a case gives."""
    _, effects = handle(case.state, case.event, case.now)
    (draft,) = (draft for draft in drafts(effects) if draft.kind is EventKind.ACCESS_DENIED)
    return draft


@pytest.mark.parametrize("case", _CASES, ids=_name)
def test_refusal_names_its_step_and_reason_and_is_journaled_once(case: Case):
    draft = _refused(case)
    assert (draft.step, draft.reason, draft.granted, draft.reader) == (case.step, case.reason, False, READER)


@pytest.mark.parametrize("case", _CASES, ids=_name)
def test_refusal_moves_nothing_and_uses_nothing_up(case: Case):
    state, effects = handle(case.state, case.event, case.now)
    assert not any(isinstance(effect, Energise | CommitGrant) for effect in effects)
    assert (state.door, state.replay) == (case.state.door, case.state.replay)


@pytest.mark.parametrize("case", _CASES, ids=_name)
def test_refusal_shows_its_reason_class_before_anything_is_journaled(case: Case):
    _, effects = handle(replace(case.state, clock=case.now.clock), case.event, case.now)
    assert effects[0] == Show(READER, feedback_of(case.reason))


@pytest.mark.parametrize("case", _CASES, ids=_name)
def test_refusal_names_the_credential_that_was_read(case: Case):
    assert _refused(case).credential == case.credential


@pytest.mark.parametrize("case", _READABLE, ids=_name)
def test_refusal_of_a_readable_credential_names_its_assurance(case: Case):
    draft = _refused(case)
    assert draft.assurance is not None
    assert (draft.assurance is Assurance.IDENTIFIER) == (case.credential == PERSON)


@pytest.mark.parametrize("case", _CASES, ids=_name)
def test_refusal_from_the_revocation_check_on_tells_the_age_of_the_list(case: Case):
    draft = _refused(case)
    later_s = (case.now.wall_ms - NOW.wall_ms) // 1000
    expected: tuple[int | None, int | None] = (881, 60 + later_s)
    if case.step < Step.REVOCATION or case.credential is None:
        expected = (None, None)
    elif case.credential == PERSON:
        expected = (5, 60 + later_s)
    elif case.reason is Reason.REVOCATION_STALE:
        expected = (881, DAY_S + 1)
    assert (draft.status_sequence, draft.status_age_s) == expected


def test_a_roster_that_went_away_has_no_age():
    (case,) = (case for case in _CASES if case.reason is Reason.SECOND_FACTOR_WRONG)
    _, effects = handle(replace(case.state, roster=None), case.event, case.now)
    assert [(draft.status_sequence, draft.status_age_s) for draft in drafts(effects)] == [(None, None)]


def test_a_refusal_without_trust_has_no_age():
    state, effects = handle(door(), tap(code()), NOW)
    state = replace(state, trust=None)
    _, effects = handle(state, GrantFailed(commits(effects)[0].grant), NOW)
    assert [(draft.status_sequence, draft.status_age_s) for draft in drafts(effects)] == [(None, None)]


def test_list_that_is_not_held_has_no_age():
    state = replace(door(), trust=trust(lists={}))
    _, effects = handle(state, tap(code()), NOW)
    (draft,) = (effect.draft for effect in effects if isinstance(effect, Record))
    assert (draft.reason, draft.status_sequence, draft.status_age_s) == (Reason.REVOCATION_STALE, None, None)


def test_what_a_door_cannot_read_is_journaled_without_a_credential():
    _, effects = handle(door(), tap(b"garbage"), NOW)
    (draft,) = (effect.draft for effect in effects if isinstance(effect, Record))
    assert (draft.credential, draft.assurance) == (None, None)


def test_every_reason_that_the_core_names_has_its_case():
    named = {
        node.attr
        for path in _CORE.glob("*.py")
        if path.name != "effects.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }
    of_commands = {name for name in named if name.startswith(("COMMAND_", "FIRE_"))}
    assert named - of_commands == {reason.name for reasons in refusals().values() for reason in reasons}


def test_every_step_refuses_something():
    assert all(refusals().values())


def _world(step: Step) -> tuple[taps.State, bytes, ClockState]:
    """A tap at which every check before `step` holds and every check from it on would fail."""

    def fails(check: Step) -> bool:
        return check >= step

    key = bundle(trusted(KEYS.issuer, KeyPurpose.PASS, ends_s=NOW_S if fails(Step.ISSUER_KEY) else NOW_S + 1))
    ends = {"expires_at_s": NOW_S} if fails(Step.VALIDITY) else {}
    level = {"access_levels": ()} if fails(Step.ACCESS) else {}
    made = claims(**ends, **level)
    forged = fails(Step.ISSUER_SIGNATURE)
    token = forge(made, signer=KEYS.stranger, named=KEYS.issuer) if forged else seal_pass(made, KEYS.issuer)
    payload = present(token, signer=KEYS.thief if fails(Step.HOLDER) else KEYS.holder)
    used = make_mark(replay_key(payload), NOW)
    settings = DoorSettings(
        mode=DoorMode.BLOCKED if fails(Step.DOOR_MODE) else DoorMode.LOCKED,
        minimum_assurance=Assurance.NONCE_BOUND if fails(Step.ASSURANCE) else Assurance.ROTATING,
    )
    state = replace(
        door(),
        trust=trust(key, lists={0: status(42) if fails(Step.REVOCATION) else status()}),
        policy=policy(settings),
        replay=ReplayMarks().add(used, NOW) if fails(Step.REPLAY) else ReplayMarks(),
    )
    return state, payload, ClockState.SUSPECT if fails(Step.CLOCK) else ClockState.TRUSTED


_JUDGED = [step for step in Step if Step.CLOCK <= step <= Step.ACCESS]


@pytest.mark.parametrize("step", _JUDGED, ids=lambda step: step.name)
def test_first_check_that_fails_is_the_one_that_is_named(step: Step):
    state, payload, clock = _world(step)
    _, effects = handle(state, tap(payload), instant(clock=clock))
    denied = [effect.draft for effect in effects if isinstance(effect, Record) and effect.draft.granted is False]
    assert [draft.step for draft in denied] == [step]


def test_a_tap_at_which_every_check_holds_is_granted():
    state, payload, clock = _world(Step.ANTI_PASSBACK)
    _, effects = handle(state, tap(payload), instant(clock=clock))
    assert [type(effect).__name__ for effect in effects] == ["CommitGrant"]


@pytest.mark.parametrize("without", ["trust", "policy"])
def test_a_door_that_was_never_told_refuses_in_the_order_of_the_steps(without: str):
    state = replace(door(), trust=None) if without == "trust" else replace(door(), policy=None)
    _, effects = handle(state, tap(code()), instant(clock=ClockState.SUSPECT))
    denied = [effect.draft for effect in effects if isinstance(effect, Record) and effect.draft.granted is False]
    assert [(draft.step, draft.reason) for draft in denied] == [(Step.CLOCK, Reason.CLOCK_SUSPECT)]


def test_a_forgery_at_a_door_without_policy_is_named_as_a_forgery():
    forged = present(forge(claims(), signer=KEYS.stranger, named=KEYS.issuer))
    _, effects = handle(replace(door(), policy=None), tap(forged), NOW)
    (draft,) = (effect.draft for effect in effects if isinstance(effect, Record))
    assert (draft.step, draft.reason) == (Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID)


_CLASSES = {
    Feedback.DENIED_EXPIRED: {
        Reason.CREDENTIAL_EXPIRED,
        Reason.REVOKED,
        Reason.ISSUER_KEY_NOT_VALID,
        Reason.USES_EXHAUSTED,
    },
    Feedback.DENIED_NOT_NOW: {
        Reason.NOT_PERMITTED_AT_THIS_TIME,
        Reason.CREDENTIAL_NOT_ACTIVE,
        Reason.DOOR_LOCKED_DOWN,
        Reason.DOOR_BLOCKED,
        Reason.DOOR_INTERLOCKED,
        Reason.ANTIPASSBACK_VIOLATION,
        Reason.OCCUPANCY_LIMIT,
        Reason.SECOND_FACTOR_BLOCKED,
    },
    Feedback.DENIED_NOT_HERE: {
        Reason.UNAUTHORIZED,
        Reason.WRONG_ISSUER,
        Reason.WRONG_AUDIENCE,
        Reason.UNKNOWN_ISSUER_KEY,
        Reason.ASSURANCE_TOO_LOW,
        Reason.CREDENTIAL_NOT_FOUND,
    },
}


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_each_reason_has_its_class(reason: Reason):
    expected = next((shown for shown, reasons in _CLASSES.items() if reason in reasons), Feedback.TRY_AGAIN)
    assert feedback_of(reason) is expected


@pytest.mark.parametrize(
    ("payload", "step", "reason", "fault"),
    [
        (b"", Step.FORM, Reason.MALFORMED, WireReason.EMPTY),
        (b"DW1:abc", Step.FORM, Reason.MALFORMED, WireReason.WRONG_ALPHABET),
        (denials.not_a_pass(), Step.FORM, Reason.MALFORMED, WireReason.WRONG_TYPE),
        (b"DW1:" + b"0" * 637, Step.FORM, Reason.TOO_LARGE, WireReason.TOO_LARGE),
        (b"garbage", Step.KIND, Reason.UNSUPPORTED_CREDENTIAL, WireReason.WRONG_PREFIX),
    ],
)
def test_a_form_that_cannot_be_read_names_the_parsers_fault(
    payload: bytes, step: Step, reason: Reason, fault: WireReason
):
    assert read_code(payload) == Denied(step, reason, fault=fault.value)


def test_a_signature_that_does_not_hold_names_the_parsers_fault():
    forged = present(forge(claims(), signer=KEYS.stranger, named=KEYS.issuer))
    found = judge(door(), presented(forged), NOW)
    assert isinstance(found, Denied)
    assert found.fault == WireReason.SIGNATURE_INVALID.value
    stolen = judge(door(), presented(present(issue(), signer=KEYS.thief)), NOW)
    assert isinstance(stolen, Denied)
    assert stolen.fault == WireReason.SIGNATURE_INVALID.value


@pytest.mark.parametrize("payload", [denials.not_a_pass(), b"DW1:", b"DW1:0", b"DW1:::::", b"DW1:abc", b"\xff" * 700])
def test_bytes_of_no_known_form_are_refused_by_form(payload: bytes):
    _, effects = handle(door(), tap(payload), NOW)
    (draft,) = (effect.draft for effect in effects if isinstance(effect, Record))
    assert draft.step is Step.FORM
