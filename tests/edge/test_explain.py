"""Why: every reason and kind has its sentence, the chain stops where the decision stopped, asking moves nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC

import pytest

from edge.asked import QuestionError, read_asked
from edge.core.companions import Need
from edge.core.credential import Form, Medium, Presentation
from edge.core.door import MUTED
from edge.core.door_state import InputLine, LineState
from edge.core.effects import CommitGrant, EventDraft
from edge.core.instant import Instant
from edge.core.tap import State, Tap, handle
from edge.core.verify import Place
from edge.explain import Foreseen, explain, why
from edge.sentences import say_line
from tests.support.enrolled import Card, roster_of
from tests.support.tenant import TenantKeys, p256, present
from wire.names import Assurance, ClockState, EventKind, PassKind, Reason, Step
from wire.settings import DoorSettings

NOW_S = int(time.time())
NOW = Instant(wall_ms=NOW_S * 1000, monotonic_ms=5_000, clock=ClockState.TRUSTED)
KEYS = TenantKeys("north", NOW_S - 60)
HOLDER = p256("holder")
PLACE = Place(tenant="north", site="hq", door="main")
DECISIVE = [Step.FORM, Step.CLOCK, Step.REVOCATION, Step.ACCESS, Step.ANTI_PASSBACK, Step.COMPANIONS]


def door(settings: DoorSettings | None = None) -> State:
    return State(
        place=PLACE,
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
    forgotten = EventDraft(kind=EventKind.PRESENCE_RESET, at=NOW, count=12)
    assert explain(forgotten).sentence == "Who is where was forgotten, as the rules order. (12 people)"


def test_a_rule_is_told_where_it_matters():
    changed = EventDraft(kind=EventKind.MODE_CHANGED, at=NOW, rule="schedule-3")
    assert explain(changed).sentence == "From now on the door rests otherwise. (schedule-3)"
    muted = EventDraft(kind=EventKind.FORCED_OPEN, at=NOW, rule=MUTED)
    assert explain(muted).sentence.endswith("(calls nobody: maintenance)")


@pytest.mark.parametrize("line", list(InputLine))
def test_every_wire_has_its_words(line: InputLine):
    words = {say_line(line, state) for state in LineState}
    assert len(words) == len(LineState)


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


def asked(state: State, payload: bytes, now: Instant = NOW) -> Foreseen:
    return why(state, Presentation("qr-1", Medium.QR, payload, now.monotonic_ms), now)


def outcomes(foreseen: Foreseen) -> dict[Step, str]:
    return {check.step: check.outcome for check in foreseen.explanation.checks}


def test_a_door_says_what_it_would_grant_and_by_which_rule():
    foreseen = asked(door(), code())
    assert (foreseen.granted, foreseen.reason, foreseen.rule) == (True, None, "level-1")
    assert foreseen.explanation.sentence == "Granted by level-1, under rules at version 1."
    assert set(outcomes(foreseen).values()) == {"passed"}
    assert list(outcomes(foreseen)) == list(Step)


def test_a_door_says_why_it_would_not():
    foreseen = asked(door(), code(9))
    assert (foreseen.granted, foreseen.reason) == (False, Reason.REVOKED)
    failed = next(check for check in foreseen.explanation.checks if check.outcome == "failed")
    assert failed.fact == "the pass was revoked (list of revoked passes at sequence 1, 60 s old)"


def test_another_moment_may_have_another_answer():
    later = replace(NOW, wall_ms=NOW.wall_ms + 60_000)
    assert asked(door(), code(), later).reason is Reason.PRESENTATION_EXPIRED


def test_garbage_is_explained_too():
    assert asked(door(), b"hello").reason is Reason.UNSUPPORTED_CREDENTIAL
    assert asked(State(place=PLACE), code()).reason is Reason.NO_TRUST


def test_asking_says_what_the_door_then_does_and_changes_nothing():
    state = door()
    for index in (1, 9):
        foreseen = asked(state, code(index))
        _, effects = handle(state, Tap(Presentation("qr-1", Medium.QR, code(index), 5_000)), NOW)
        done = [effect.draft for effect in effects if hasattr(effect, "draft")]
        assert [(draft.granted, draft.reason) for draft in done] == [(foreseen.granted, foreseen.reason)]
    assert state == door()


def test_a_flood_does_not_silence_the_answer():
    state = door()
    for _ in range(100):
        state, _ = handle(state, Tap(Presentation("qr-1", Medium.QR, b"garbage", 5_000)), NOW)
    assert asked(state, b"garbage").reason is Reason.UNSUPPORTED_CREDENTIAL
    assert asked(state, code()).granted
    assert isinstance(handle(state, Tap(Presentation("qr-1", Medium.QR, code(), 5_000)), NOW)[1][0], CommitGrant)


# --- companions: what would have to come yet ---------------------------------------------------------------------

TWO = DoorSettings(two_person=True)


def waits(state: State, payload: bytes) -> State:
    """Present a code and leave its holder waiting."""
    state, _ = handle(state, Tap(Presentation("qr-1", Medium.QR, payload, NOW.monotonic_ms)), NOW)
    assert len(state.companions.waiting) == 1
    return state


def test_a_door_says_whom_it_would_wait_for():
    foreseen = asked(door(TWO), code())
    assert (foreseen.granted, foreseen.waits_for) == (False, Need.SECOND_PERSON)
    assert foreseen.reason is Reason.SECOND_PERSON_REQUIRED
    assert foreseen.explanation.sentence == (
        "Waits at check 14 (companions), up to 30 s: a second person who may enter has to present a credential."
    )
    found = outcomes(foreseen)
    assert (found[Step.ANTI_PASSBACK], found[Step.COMPANIONS], found[Step.GRANT]) == ("passed", "waits", "not reached")


def test_somebody_who_waits_already_is_a_companion():
    other = p256("second")
    text = present(KEYS.issue(other, index=2), other, at_s=NOW_S)
    assert asked(waits(door(TWO), code()), text).granted


def test_ones_own_earlier_try_is_no_companion_and_no_answer():
    again = replace(NOW, wall_ms=NOW.wall_ms + 1_000, monotonic_ms=NOW.monotonic_ms + 1_000)
    fresh = present(KEYS.issue(HOLDER, index=1), HOLDER, at_s=NOW_S + 1)
    assert asked(waits(door(TWO), code()), fresh, again).waits_for is Need.SECOND_PERSON


def test_a_visitor_waits_for_a_host():
    text = present(KEYS.issue(HOLDER, kind=PassKind.VISITOR), HOLDER, at_s=NOW_S)
    assert asked(door(), text).waits_for is Need.HOST


CARD = Card(number=b"\x04\xa1\xb2", pin=b"1234")
CARDS = DoorSettings(minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.PRINTED)


def of_card(state: State, card: Card) -> Foreseen:
    presentation = Presentation("nfc-1", Medium.NFC, card.number, NOW.monotonic_ms, Form.CARD_NUMBER)
    return why(state, presentation, NOW)


def test_a_card_is_asked_about_and_its_pin_is_what_is_missing():
    state = replace(door(CARDS), roster=roster_of(CARD, version=3, issued_at_s=NOW_S - 60))
    foreseen = of_card(state, CARD)
    assert foreseen.waits_for is Need.PIN
    facts = {check.step: check.fact for check in foreseen.explanation.checks}
    assert facts[Step.ISSUER_KEY] == "nothing is signed: the credential is enrolled"
    assert facts[Step.REVOCATION] == "list of enrolled credentials at sequence 3, 60 s old"
    assert facts[Step.COMPANIONS] == "the holder's PIN has to be keyed in"


def test_a_card_that_nobody_enrolled_is_told():
    state = replace(door(CARDS), roster=roster_of(CARD, issued_at_s=NOW_S - 60))
    foreseen = of_card(state, Card(number=b"\x99"))
    assert foreseen.reason is Reason.CREDENTIAL_NOT_FOUND
    failed = next(check for check in foreseen.explanation.checks if check.outcome == "failed")
    assert failed.step is Step.REVOCATION
    assert failed.fact.startswith("nobody is enrolled at this door under what was read (")


def test_a_companion_who_may_not_enter_any_more_is_none():
    state = replace(waits(door(TWO), code()), trust=KEYS.trust_state(revoked={1}))
    other = p256("second")
    foreseen = asked(state, present(KEYS.issue(other, index=2), other, at_s=NOW_S))
    assert (foreseen.granted, foreseen.waits_for) == (False, None)
    assert foreseen.reason is Reason.SECOND_PERSON_REQUIRED


# --- what is written down instead of shown -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "payload"),
    [
        ("card:04a1B2c3", Form.CARD_NUMBER, b"\x04\xa1\xb2\xc3"),
        ("card:04:A1:b2 c3", Form.CARD_NUMBER, b"\x04\xa1\xb2\xc3"),
        ("message:01", Form.CARD_MESSAGE, b"\x01"),
        ("secret:02", Form.CARD_SECRET, b"\x02"),
        ("key:" + "0f" * 64, Form.CARD_KEY, b"\x0f" * 64),
        ("barcode:DW1:1", Form.CODE, b"DW1:1"),
        ("barcode:", Form.CODE, b""),
        ("DW1:ABC", Form.CODE, b"DW1:ABC"),
        ("card", Form.CODE, b"card"),
        ("4006381333931", Form.CODE, b"4006381333931"),
    ],
)
def test_a_credential_may_be_written_down(text: str, form: Form, payload: bytes):
    asked_about = read_asked(text, "in", 7)
    assert (asked_about.form, asked_about.payload) == (form, payload)
    assert (asked_about.reader, asked_about.read_at_ms) == ("in", 7)


@pytest.mark.parametrize("text", ["card:", "card:4", "card:xyz", "key:" + "0f" * 65, "secret:04a1ü"])
def test_a_number_that_is_none_is_told_how_to_write_one(text: str):
    with pytest.raises(QuestionError, match="hexadecimal digits"):
        read_asked(text, "in", 7)
