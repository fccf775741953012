"""Why: every reason and kind has its sentence, the chain stops where the decision stopped, asking moves nothing."""

from __future__ import annotations

import time
from datetime import UTC

import pytest

from edge.core.credential import Medium, Presentation
from edge.core.effects import CommitGrant, EventDraft
from edge.core.instant import Instant
from edge.core.tap import State, Tap, handle
from edge.core.verify import Place
from edge.explain import explain, why
from tests.support.tenant import TenantKeys, p256, present
from wire.names import Assurance, ClockState, EventKind, Reason, Step
from wire.settings import DoorSettings

NOW_S = int(time.time())
NOW = Instant(wall_ms=NOW_S * 1000, monotonic_ms=5_000, clock=ClockState.TRUSTED)
KEYS = TenantKeys("north", NOW_S - 60)
HOLDER = p256("holder")
DECISIVE = [Step.FORM, Step.CLOCK, Step.REVOCATION, Step.ACCESS]


def door(settings: DoorSettings | None = None) -> State:
    return State(
        place=Place(tenant="north", site="hq", door="main"),
        trust=KEYS.trust_state(revoked={9}),
        policy=KEYS.policy_state(UTC, settings=settings),
    )


def code(index: int = 1) -> bytes:
    return present(KEYS.issue(HOLDER, index=index), HOLDER, at_s=NOW_S)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason: Reason):
    draft = EventDraft(kind=EventKind.ACCESS_DENIED, at=NOW, step=Step.FORM, reason=reason, granted=False)
    sentence = explain(draft).sentence
    assert sentence.startswith("Denied at check 1 (")
    assert sentence.endswith(".")


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_event_has_a_sentence(kind: EventKind):
    assert explain(EventDraft(kind=kind, at=NOW)).sentence
    assert explain(EventDraft(kind=kind, at=NOW)).checks == ()


def test_a_count_and_a_reason_are_told():
    assert "17" in explain(EventDraft(kind=EventKind.DENIALS_SUPPRESSED, at=NOW, count=17)).sentence
    refused = EventDraft(kind=EventKind.COMMAND_REFUSED, at=NOW, reason=Reason.COMMAND_EXPIRED)
    assert explain(refused).sentence == "A command was refused: the command came too late."


@pytest.mark.parametrize("step", DECISIVE)
def test_the_chain_stops_where_the_decision_stopped(step: Step):
    draft = EventDraft(
        kind=EventKind.ACCESS_DENIED,
        at=NOW,
        step=step,
        reason=Reason.REVOKED,
        granted=False,
        assurance=Assurance.ROTATING,
        status_sequence=7,
        status_age_s=12,
    )
    outcomes = {check.step: check.outcome for check in explain(draft).checks}
    assert outcomes[step] == "failed"
    assert {outcome for each, outcome in outcomes.items() if each < step} <= {"passed"}
    assert {outcome for each, outcome in outcomes.items() if each > step} <= {"not reached"}


def test_a_door_says_what_it_would_grant_and_by_which_rule():
    draft, explanation = why(door(), code(), NOW)
    assert draft.granted
    assert explanation.sentence == "Granted by level-1, under rules at version 1."
    assert {check.outcome for check in explanation.checks} == {"passed"}


def test_a_door_says_why_it_would_not():
    draft, explanation = why(door(), code(9), NOW)
    assert (draft.granted, draft.reason) == (False, Reason.REVOKED)
    failed = next(check for check in explanation.checks if check.outcome == "failed")
    assert failed.fact == "the pass was revoked (list of revoked passes at sequence 1, 60 s old)"


def test_another_moment_may_have_another_answer():
    later = Instant(wall_ms=NOW.wall_ms + 60_000, monotonic_ms=5_000, clock=ClockState.TRUSTED)
    assert why(door(), code(), later)[0].reason is Reason.PRESENTATION_EXPIRED


def test_garbage_is_explained_too():
    assert why(door(), b"hello", NOW)[0].reason is Reason.UNSUPPORTED_CREDENTIAL
    assert why(State(place=Place(tenant="n", site="s", door="d")), code(), NOW)[0].reason is Reason.NO_TRUST


def test_asking_says_what_the_door_then_does_and_changes_nothing():
    state = door()
    for index in (1, 9):
        asked = why(state, code(index), NOW)[0]
        _, effects = handle(state, Tap(Presentation("asked", Medium.QR, code(index), 5_000)), NOW)
        done = [effect.draft for effect in effects if hasattr(effect, "draft")]
        assert [(draft.granted, draft.reason) for draft in done] == [(asked.granted, asked.reason)]
    assert state == door()


def test_a_flood_does_not_silence_the_answer():
    state = door()
    for _ in range(100):
        state, _ = handle(state, Tap(Presentation("qr-1", Medium.QR, b"garbage", 5_000)), NOW)
    draft, _ = why(state, b"garbage", NOW)
    assert draft.reason is Reason.UNSUPPORTED_CREDENTIAL
    granted, _ = why(state, code(), NOW)
    assert granted.granted
    assert isinstance(handle(state, Tap(Presentation("qr-1", Medium.QR, code(), 5_000)), NOW)[1][0], CommitGrant)
