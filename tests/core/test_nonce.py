"""A phone that answers this door's nonce: fresh whatever the clocks say, and good for this door and exchange alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.credential import Form, Medium, Presentation, PresentedCredential, read_credential
from edge.core.effects import Denied
from edge.core.tap import State, Tap, handle
from tests.core.campus import (
    DAY_S,
    DOOR,
    KEYS,
    MONOTONIC_MS,
    NOW,
    NOW_S,
    READER,
    SITE,
    code,
    commits,
    door,
    drafts,
    exchanged,
    instant,
    issue,
    policy,
    present,
    printed,
    refusals,
    status,
    tap,
    trust,
    under,
)
from tests.core.denials import NONCE
from wire.errors import WireReason
from wire.names import Assurance, ClockState, Reason, StalenessRule, Step, SuspectRule
from wire.settings import DoorSettings
from wire.text import from_text

HERE = f"{SITE}/{DOOR}"
MISMATCH = (Step.HOLDER, Reason.NONCE_MISMATCH)
ANSWER = present(issue(), audience=HERE, nonce=NONCE)
BOUND_ONLY = DoorSettings(minimum_assurance=Assurance.NONCE_BOUND)


def outcome(state: State, event: Tap, **moment: object) -> list[tuple[Step | None, Reason | None]]:
    """How the door refuses; nothing for a grant."""
    _, effects = handle(state, event, instant(**moment))  # type: ignore[arg-type]
    assert bool(commits(effects)) is not bool(refusals(effects))
    return refusals(effects)


def test_the_right_answer_is_the_strongest_credential():
    _, effects = handle(door(BOUND_ONLY), exchanged(ANSWER, nonce=NONCE), NOW)
    (commit,) = commits(effects)
    assert (commit.grant.assurance, commit.mark) == (Assurance.NONCE_BOUND, None)


@pytest.mark.parametrize("given", [None, bytes(16), NONCE[:-1] + b"\xff", b"\xff" + NONCE[1:], NONCE[:-1], b""])
def test_the_answer_to_another_nonce_or_to_none_is_refused(given: bytes | None):
    assert outcome(door(), exchanged(ANSWER, nonce=given)) == [MISMATCH]


def test_an_answer_that_was_photographed_as_a_code_answers_nothing():
    assert outcome(door(), tap(ANSWER)) == [MISMATCH]


@pytest.mark.parametrize("audience", [f"{SITE}/side-entrance", f"gym/{DOOR}", f"{DOOR}/{SITE}", f"{HERE}x"])
def test_the_answer_is_for_this_door(audience: str):
    answer = present(issue(), audience=audience, nonce=NONCE)
    assert outcome(door(), exchanged(answer, nonce=NONCE)) == [(Step.HOLDER, Reason.WRONG_AUDIENCE)]


def test_the_nonce_is_looked_at_before_the_door():
    answer = present(issue(), audience=f"gym/{DOOR}", nonce=NONCE)
    assert outcome(door(), exchanged(answer, nonce=bytes(16))) == [MISMATCH]


def test_another_phone_answers_nothing():
    answer = present(issue(), signer=KEYS.thief, audience=HERE, nonce=NONCE)
    assert outcome(door(), exchanged(answer, nonce=NONCE)) == [(Step.HOLDER, Reason.SIGNATURE_INVALID)]


@pytest.mark.parametrize("signed_at_s", [0, NOW_S - 86_400, NOW_S + 86_400])
def test_the_phones_clock_does_not_matter(signed_at_s: int):
    answer = present(issue(), audience=HERE, nonce=NONCE, signed_at_s=signed_at_s)
    assert outcome(door(), exchanged(answer, nonce=NONCE)) == []


def test_the_same_answer_to_the_same_nonce_is_the_adapters_to_refuse():
    """A nonce is given out once (edge/ports.py); the core remembers no answers."""
    state, _ = handle(door(), exchanged(ANSWER, nonce=NONCE), NOW)
    assert state.replay == door().replay
    assert outcome(state, exchanged(ANSWER, nonce=NONCE)) == []


# --- without the time, with an old list ------------------------------------------------------------------------


@pytest.mark.parametrize("clock", list(ClockState))
def test_a_clock_that_does_not_know_the_time_admits_an_answer(clock: ClockState):
    state = door(DoorSettings(suspect=SuspectRule.ALWAYS_LEVELS_ONLY))
    assert outcome(state, exchanged(ANSWER, nonce=NONCE), clock=clock) == []


def test_schedules_still_follow_the_doors_rule():
    assert outcome(door(), exchanged(ANSWER, nonce=NONCE), clock=ClockState.SUSPECT) == [
        (Step.ACCESS, Reason.CLOCK_SUSPECT)
    ]


@pytest.mark.parametrize("ends_s", [NOW_S, NOW_S + 1])
def test_the_pass_still_has_to_be_valid(ends_s: int):
    answer = present(issue(expires_at_s=ends_s), audience=HERE, nonce=NONCE)
    expected = [] if ends_s > NOW_S else [(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED)]
    assert outcome(door(), exchanged(answer, nonce=NONCE)) == expected


@pytest.mark.parametrize("rule", list(StalenessRule))
@pytest.mark.parametrize("bound", [True, False])
def test_an_old_list_may_admit_answers_only(rule: StalenessRule, *, bound: bool):
    settings = DoorSettings(staleness=rule, recently_issued_s=60)
    state = replace(door(settings), trust=trust(lists={0: status(issued_at_s=NOW_S - DAY_S - 1)}))
    event = exchanged(ANSWER, nonce=NONCE) if bound else tap(code())
    admitted = bound and rule is StalenessRule.NONCE_BOUND_ONLY
    assert outcome(state, event) == ([] if admitted else [(Step.REVOCATION, Reason.REVOCATION_STALE)])


def test_a_revoked_pass_answers_in_vain():
    settings = DoorSettings(staleness=StalenessRule.NONCE_BOUND_ONLY)
    state = replace(door(settings), trust=trust(lists={0: status(42, issued_at_s=NOW_S - DAY_S - 1)}))
    assert outcome(state, exchanged(ANSWER, nonce=NONCE)) == [(Step.REVOCATION, Reason.REVOKED)]


# --- what is no answer -----------------------------------------------------------------------------------------


def exchange(payload: bytes) -> Presentation:
    return Presentation(READER, Medium.NFC, payload, MONOTONIC_MS, Form.EXCHANGE, NONCE)


@pytest.mark.parametrize("payload", [code(), printed()], ids=["rotating", "printed"])
def test_what_signs_no_nonce_is_no_answer(payload: bytes):
    found = read_credential(exchange(from_text(payload)), takes_barcodes=True)
    assert found == Denied(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL)


def test_an_answer_comes_as_bare_bytes():
    found = read_credential(exchange(from_text(ANSWER)), takes_barcodes=False)
    assert isinstance(found, PresentedCredential)
    assert (found.assurance, found.nonce) == (Assurance.NONCE_BOUND, NONCE)
    refused = read_credential(exchange(ANSWER[:400]), takes_barcodes=False)
    assert isinstance(refused, Denied)
    assert (refused.step, refused.reason) == (Step.FORM, Reason.MALFORMED)


@pytest.mark.parametrize(
    ("payload", "reason", "fault"),
    [
        (b"", Reason.MALFORMED, WireReason.EMPTY),
        (b"\x00" * 449, Reason.TOO_LARGE, WireReason.TOO_LARGE),
    ],
)
def test_bytes_that_cannot_be_read_are_refused_by_form(payload: bytes, reason: Reason, fault: WireReason):
    assert read_credential(exchange(payload), takes_barcodes=True) == Denied(Step.FORM, reason, fault=fault.value)


def test_an_answer_names_its_pass_in_a_refusal():
    _, effects = handle(under(policy(levels={})), exchanged(ANSWER, nonce=NONCE), NOW)
    (draft,) = drafts(effects)
    assert (draft.assurance, draft.reason) == (Assurance.NONCE_BOUND, Reason.UNAUTHORIZED)
