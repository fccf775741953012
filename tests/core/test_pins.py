"""Step 14, a PIN: who is asked for one, how often it may be wrong, and what is never told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.companions import CHECK_MS, PinOutcome
from edge.core.credential import Form, PinEntry
from edge.core.effects import CheckPin, Effect, Feedback, Record, Show
from edge.core.flood import DENIALS_A_WINDOW
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.policy import PolicyState
from edge.core.tap import (
    GrantFailed,
    PinChecked,
    PinEntered,
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TimeDue,
    handle,
)
from tests.core.campus import (
    CARD,
    MONOTONIC_MS,
    NOW,
    NOW_S,
    PERSON,
    READER,
    VERIFIERS,
    answered,
    card,
    code,
    commits,
    drafts,
    durable,
    entry,
    feed,
    instant,
    kinds,
    passed,
    pin,
    policy,
    refusals,
    roster,
    shown,
    tap,
    under,
)
from tests.core.people import BARCODE, COMPANION_MS, OTHER, OTHER_CARD, OTHERS, PEOPLE, someone
from wire.names import Assurance, ClockState, DoorMode, EventKind, PassKind, Reason, Step
from wire.roster import IdentifierForm
from wire.settings import DoorSettings

SETTINGS = DoorSettings(
    minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.ROTATING, pin_attempts=3, pin_block_s=300
)
WRONG = (Step.COMPANIONS, Reason.SECOND_FACTOR_WRONG)
BLOCKED = (Step.COMPANIONS, Reason.SECOND_FACTOR_BLOCKED)
REQUIRED = (Step.COMPANIONS, Reason.SECOND_FACTOR_REQUIRED)


def rules(**changes: object) -> PolicyState:
    return policy(replace(SETTINGS, **changes))  # type: ignore[arg-type]


def keypad(**changes: object) -> State:
    """A door at which these people need a PIN."""
    return under(rules(**changes), enrolled=PEOPLE)


def questions(effects: tuple[Effect, ...]) -> list[CheckPin]:
    return [effect for effect in effects if isinstance(effect, CheckPin)]


def wrongly(state: State, times: int, *, at_ms: int = 0) -> State:
    """Present the card and key a wrong PIN in, so many times."""
    for _ in range(times):
        state, effects = handle(state, card(), instant(at_ms))
        assert shown(effects) == [Show(READER, Feedback.ENTER_PIN)]
        state, effects = answered(state, PinOutcome.WRONG, instant(at_ms))
        assert refusals(effects)[-1:] == [WRONG]
    return state


def test_an_earlier_check_is_named_before_the_pin_that_nobody_could_give():
    _, effects = handle(keypad(pin_below=Assurance.NONCE_BOUND, mode=DoorMode.BLOCKED), tap(code()), NOW)
    assert refusals(effects) == [(Step.DOOR_MODE, Reason.DOOR_BLOCKED)]


# --- who is asked ----------------------------------------------------------------------------------------------


def test_a_card_is_asked_for_its_pin_and_passes_with_the_right_one():
    state, effects = handle(keypad(), card(), NOW)
    assert effects == (Show(READER, Feedback.ENTER_PIN),)
    state, effects = handle(state, pin(b"4711"), NOW)
    assert effects == (CheckPin(0, VERIFIERS, b"4711"),)
    state, effects = handle(state, PinChecked(0, PinOutcome.RIGHT), NOW)
    (commit,) = commits(effects)
    assert (commit.grant.credential, commit.memos, state.companions.waiting) == (PERSON, (), ())


@pytest.mark.parametrize(
    ("form", "below", "asked"),
    [
        (Form.CARD_NUMBER, Assurance.IDENTIFIER, False),
        (Form.CARD_NUMBER, Assurance.PRINTED, True),
        (Form.CARD_MESSAGE, Assurance.DYNAMIC_TAG, False),
        (Form.CARD_MESSAGE, Assurance.ROTATING, True),
        (Form.CARD_SECRET, Assurance.ROTATING, False),
        (Form.CARD_SECRET, Assurance.NONCE_BOUND, True),
    ],
)
def test_credentials_below_the_doors_limit_need_a_pin(form: Form, below: Assurance, *, asked: bool):
    _, effects = handle(keypad(pin_below=below), card(form=form), NOW)
    assert bool(commits(effects)) is not asked
    assert shown(effects) == ([Show(READER, Feedback.ENTER_PIN)] if asked else [])


def test_whoever_has_no_pin_is_refused_at_once():
    _, effects = handle(keypad(), card(b"no-pin"), NOW)
    assert refusals(effects) == [REQUIRED]


def test_a_pass_has_no_pin_and_is_refused_where_one_is_needed():
    _, effects = handle(keypad(pin_below=Assurance.NONCE_BOUND), tap(code()), NOW)
    assert refusals(effects) == [REQUIRED]


def test_an_emergency_kind_is_asked_too():
    people = roster({(IdentifierForm.CARD_UID, CARD): entry(kind=PassKind.EMERGENCY, pin=VERIFIERS)})
    _, effects = handle(replace(keypad(), roster=people), card(), NOW)
    assert shown(effects) == [Show(READER, Feedback.ENTER_PIN)]


def test_a_pin_that_nobody_was_asked_for_is_not_checked():
    assert handle(keypad(), pin(), NOW) == (keypad(), (Show(READER, Feedback.TRY_AGAIN),))


def test_a_pin_at_another_reader_is_not_the_cards():
    state, _ = handle(keypad(), card(), NOW)
    assert handle(state, pin(reader="inside"), NOW) == (state, (Show("inside", Feedback.TRY_AGAIN),))


def test_a_pin_at_a_reader_where_somebody_waits_for_others_is_nobodys():
    state, _ = handle(under(policy(DoorSettings(two_person=True))), someone(1), NOW)
    assert handle(state, pin(), NOW) == (state, (Show(READER, Feedback.TRY_AGAIN),))


def test_a_second_pin_while_the_first_is_checked_is_not_checked():
    state, _ = feed(keypad(), card(), pin())
    assert handle(state, pin(), NOW) == (state, (Show(READER, Feedback.TRY_AGAIN),))


# --- right, and under duress -----------------------------------------------------------------------------------


def test_a_pin_under_duress_does_the_same_and_calls_for_help():
    asked, _ = handle(keypad(), card(), NOW)
    right, told = answered(asked, PinOutcome.RIGHT)
    forced, effects = answered(asked, PinOutcome.DURESS)
    assert right == forced
    assert kinds(effects) == [EventKind.DURESS, EventKind.ACCESS_GRANTED]
    assert effects[1:] == told
    (call, _) = drafts(effects)
    assert (call.credential, call.reader, call.at, call.granted) == (PERSON, READER, NOW, None)


def test_duress_is_told_also_when_the_door_refuses():
    state, _ = handle(keypad(), card(), NOW)
    state, _ = handle(state, PolicyReplaced(rules(mode=DoorMode.BLOCKED)), NOW)
    _, effects = answered(state, PinOutcome.DURESS)
    assert kinds(effects) == [EventKind.DURESS, EventKind.ACCESS_DENIED]


def test_a_right_pin_is_one_of_several_things_that_may_be_missing():
    state, _ = handle(keypad(two_person=True), card(), NOW)
    state, effects = answered(state, PinOutcome.RIGHT)
    assert effects == (Show(READER, Feedback.NEXT_PERSON),)
    state, _ = handle(state, card(OTHER_CARD), NOW)
    _, effects = answered(state, PinOutcome.RIGHT)
    assert [commit.grant.credential for commit in commits(effects)] == [PERSON, OTHER]


def test_whoever_is_second_needs_their_own_pin():
    state, _ = handle(keypad(two_person=True), card(), NOW)
    state, _ = answered(state, PinOutcome.RIGHT)
    state, _ = handle(state, card(OTHER_CARD), NOW)
    state, effects = answered(state, PinOutcome.WRONG)
    assert (refusals(effects), commits(effects)) == ([WRONG], [])
    assert len(state.companions.waiting) == 1


# --- wrong -----------------------------------------------------------------------------------------------------


def test_a_wrong_pin_is_refused_counted_and_asked_for_again_only_with_the_card():
    state, _ = handle(keypad(), card(), NOW)
    state, effects = answered(state, PinOutcome.WRONG)
    memo = Memo(MemoKind.WRONG_PINS, PERSON, (1, NOW_S))
    (record,) = (effect for effect in effects if isinstance(effect, Record))
    assert record.memos == (memo,)
    assert shown(effects) == [Show(READER, Feedback.TRY_AGAIN)]
    assert handle(state, pin(), NOW) == (state, (Show(READER, Feedback.TRY_AGAIN),))


@pytest.mark.parametrize(("times", "blocked"), [(2, False), (3, True)])
def test_after_so_many_wrong_pins_none_is_taken(times: int, *, blocked: bool):
    state = wrongly(keypad(), times)
    _, effects = handle(state, card(), NOW)
    assert refusals(effects) == ([BLOCKED] if blocked else [])
    assert shown(effects) == [Show(READER, Feedback.DENIED_NOT_NOW if blocked else Feedback.ENTER_PIN)]


@pytest.mark.parametrize(("later_ms", "blocked"), [(299_999, True), (300_000, False)])
def test_a_block_ends_after_its_time(later_ms: int, *, blocked: bool):
    state = wrongly(keypad(), 3)
    _, effects = handle(state, card(), instant(later_ms))
    assert refusals(effects) == ([BLOCKED] if blocked else [])


def test_after_a_block_all_attempts_are_there_again():
    state = wrongly(keypad(), 3)
    state = wrongly(state, 2, at_ms=300_000)
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (2, NOW_S + 300)
    state = wrongly(state, 1, at_ms=300_000)
    assert refusals(handle(state, card(), instant(300_000))[1]) == [BLOCKED]


@pytest.mark.parametrize(("later_ms", "counted"), [(299_000, 3), (300_000, 1)])
def test_wrong_pins_of_long_ago_do_not_count(later_ms: int, counted: int):
    state = wrongly(wrongly(keypad(), 2), 1, at_ms=later_ms)
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (counted, NOW_S + later_ms // 1000)


def test_a_right_pin_ends_the_count_once_the_grant_is_committed():
    state = wrongly(keypad(), 2)
    state, _ = handle(state, card(), NOW)
    state, effects = answered(state, PinOutcome.RIGHT)
    (commit,) = commits(effects)
    assert commit.memos == (Memo(MemoKind.WRONG_PINS, PERSON, None),)
    assert state.memory == Memory()
    state, _ = handle(state, GrantFailed(commit.grant), NOW)
    assert state.memory == Memory()  # the PIN was right, whatever became of the grant


def test_a_right_pin_without_a_grant_ends_no_count():
    state = wrongly(keypad(two_person=True), 2)
    state, _ = handle(state, card(), NOW)
    state, effects = answered(state, PinOutcome.RIGHT)
    assert commits(effects) == []
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (2, NOW_S)


def test_a_grant_without_pin_ends_no_count():
    """At hours, or with a card, that need none."""
    state = wrongly(keypad(), 2)
    state, effects = handle(state, card(form=Form.CARD_SECRET), NOW)
    assert len(commits(effects)) == 1
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (2, NOW_S)


def test_a_persons_attempts_are_counted_over_all_readers_and_identifiers():
    state = wrongly(keypad(), 2)
    state, _ = handle(state, Tap(replace(tap(BARCODE).presentation, reader="inside")), NOW)
    state, _ = answered(state, PinOutcome.WRONG, reader="inside")
    assert refusals(handle(state, card(), NOW)[1]) == [BLOCKED]


def test_two_readers_give_no_second_attempt_at_once():
    """The card at both readers, a PIN at both: only the newer presentation still counts."""
    state, _ = feed(keypad(), card(), card(reader="inside"))
    state, effects = feed(state, pin(), pin(reader="inside"))
    assert len(questions(effects)) == 1


def test_another_persons_wrong_pins_block_nobody():
    state = wrongly(keypad(), 3)
    _, effects = handle(state, card(OTHER_CARD), NOW)
    assert shown(effects) == [Show(READER, Feedback.ENTER_PIN)]


def test_wrong_pins_outlive_a_restart():
    """A daemon that starts again has the memory that the journal gave it."""
    blocked = wrongly(keypad(), 3)
    _, effects = handle(replace(keypad(), memory=blocked.memory), card(), NOW)
    assert refusals(effects) == [BLOCKED]


@pytest.mark.parametrize("set_s", [-86_400, -1, 0, 299])
def test_setting_the_clock_back_ends_no_block(set_s: int):
    state = wrongly(keypad(), 3)
    _, effects = handle(state, card(), instant(400_000, wall_ms=(NOW_S + set_s) * 1000))
    assert refusals(effects) == [BLOCKED]


@pytest.mark.parametrize("set_s", [-86_400, 0])
def test_setting_the_clock_back_gains_no_attempt(set_s: int):
    state = wrongly(keypad(), 2)
    state, _ = handle(state, card(), instant(wall_ms=(NOW_S + set_s) * 1000))
    state, _ = answered(state, PinOutcome.WRONG, instant(wall_ms=(NOW_S + set_s) * 1000))
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (3, NOW_S + set_s)


def test_wrong_pins_are_counted_and_journaled_in_a_flood_and_not_twice():
    state, _ = feed(keypad(), *[tap(b"DW1:junk")] * DENIALS_A_WINDOW)
    state, _ = handle(state, card(), NOW)
    before = state.flood
    state, effects = answered(state, PinOutcome.WRONG)
    assert refusals(effects) == [WRONG]
    assert state.flood == before
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (1, NOW_S)


def test_fewer_attempts_while_a_pin_is_keyed_in_give_none_back():
    state, _ = handle(wrongly(keypad(), 2), card(), NOW)
    state, _ = handle(state, PolicyReplaced(rules(pin_attempts=2)), NOW)
    state, _ = answered(state, PinOutcome.WRONG)
    assert state.memory.get(MemoKind.WRONG_PINS, PERSON) == (3, NOW_S)
    assert refusals(handle(state, card(), NOW)[1]) == [BLOCKED]


def test_a_policy_with_fewer_attempts_blocks_whoever_had_them():
    state = wrongly(keypad(), 2)
    state, _ = handle(state, PolicyReplaced(rules(pin_attempts=2)), NOW)
    assert refusals(handle(state, card(), NOW)[1]) == [BLOCKED]


# --- too late, and in between ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("later_ms", "in_time"), [(29_999, True), (30_000, False)])
def test_a_pin_has_to_be_checked_in_time(later_ms: int, *, in_time: bool):
    state, _ = feed(keypad(), card(), pin())
    state, effects = handle(state, PinChecked(0, PinOutcome.RIGHT), instant(later_ms))
    assert bool(commits(effects)) is in_time
    assert refusals(effects) == ([] if in_time else [REQUIRED])


@pytest.mark.parametrize(("later_ms", "in_time"), [(CHECK_MS - 1, True), (CHECK_MS, False)])
@pytest.mark.parametrize("outcome", [PinOutcome.RIGHT, PinOutcome.DURESS])
def test_a_pin_that_was_keyed_in_at_the_last_moment_is_still_judged(
    later_ms: int, outcome: PinOutcome, *, in_time: bool
):
    last = COMPANION_MS - 1
    keyed = PinEntered(PinEntry(READER, b"1234", MONOTONIC_MS + last))
    state, _ = handle(keypad(), card(), NOW)
    state, _ = handle(state, keyed, instant(last))
    _, effects = handle(state, PinChecked(0, outcome), instant(last + later_ms))
    assert bool(commits(effects)) is in_time
    assert (EventKind.DURESS in kinds(effects)) is (in_time and outcome is PinOutcome.DURESS)


@pytest.mark.parametrize("outcome", list(PinOutcome))
def test_an_answer_that_comes_too_late_or_twice_or_for_nobody_changes_nothing(outcome: PinOutcome):
    state, _ = feed(keypad(), card(), pin())
    late, _ = handle(state, TimeDue(), instant(30_000))
    assert handle(late, PinChecked(0, outcome), instant(30_000)) == (late, ())
    state, _ = handle(state, PinChecked(0, PinOutcome.WRONG), NOW)
    assert handle(state, PinChecked(0, outcome), NOW) == (state, ())
    assert handle(keypad(), PinChecked(7, outcome), NOW) == (keypad(), ())


def test_the_next_card_at_a_keypad_takes_it_over():
    state, _ = feed(keypad(), card(), pin())
    state, effects = handle(state, card(OTHER_CARD), NOW)
    assert refusals(effects) == [REQUIRED]
    assert shown(effects)[-1] == Show(READER, Feedback.ENTER_PIN)
    assert handle(state, PinChecked(0, PinOutcome.RIGHT), NOW) == (state, ())
    _, effects = handle(state, pin(), NOW)
    assert questions(effects) == [CheckPin(1, OTHERS, b"1234")]


def test_a_card_at_another_keypad_leaves_the_first_alone():
    state, _ = feed(keypad(), card(), card(OTHER_CARD, reader="inside"))
    assert len(state.companions.waiting) == 2
    state, effects = feed(state, pin(reader="inside"), pin())
    assert [each.verifiers for each in questions(effects)] == [OTHERS, VERIFIERS]
    _, effects = handle(state, PinChecked(1, PinOutcome.RIGHT), NOW)
    assert [commit.grant.credential for commit in commits(effects)] == [PERSON]


def test_somebody_who_waits_for_others_at_the_same_reader_goes_on_waiting():
    state, _ = handle(keypad(two_person=True), someone(1), NOW)
    state, effects = handle(state, card(), NOW)
    assert (refusals(effects), len(state.companions.waiting)) == ([], 2)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (PolicyReplaced(rules(mode=DoorMode.LOCKED_DOWN)), (Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN)),
        (PolicyReplaced(rules(mode=DoorMode.BLOCKED)), (Step.DOOR_MODE, Reason.DOOR_BLOCKED)),
        (PolicyReplaced(rules(interlock=True)), (Step.DOOR_MODE, Reason.DOOR_INTERLOCKED)),
        (PolicyReplaced(rules(minimum_assurance=Assurance.PRINTED)), (Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)),
        (RosterReplaced(roster({}), None), (Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND)),
    ],
)
def test_what_changed_while_a_pin_was_keyed_in_decides(
    change: PolicyReplaced | RosterReplaced, refused: tuple[Step, Reason]
):
    state, _ = feed(keypad(), card(), change)
    _, effects = answered(state, PinOutcome.RIGHT)
    assert (refusals(effects), commits(effects)) == ([refused], [])


def test_a_pin_that_was_changed_while_it_was_keyed_in_is_not_right_any_more():
    newer = roster({(IdentifierForm.CARD_UID, CARD): entry(pin=OTHERS)})
    state, _ = feed(keypad(), card(), RosterReplaced(newer, None))
    _, effects = answered(state, PinOutcome.RIGHT)
    assert refusals(effects) == [(Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND)]


def test_a_time_that_is_lost_meanwhile_refuses_no_card_but_its_schedule():
    state, _ = handle(keypad(), card(), NOW)
    _, effects = answered(state, PinOutcome.RIGHT, instant(clock=ClockState.SUSPECT))
    assert refusals(effects) == [(Step.ACCESS, Reason.CLOCK_SUSPECT)]


def test_a_card_whose_pin_was_right_is_carried_out_like_any():
    state, _ = handle(keypad(), card(), NOW)
    state, effects = answered(state, PinOutcome.RIGHT)
    _, effects = durable(state, commits(effects)[0])
    assert shown(effects) == [Show(READER, Feedback.GRANTED)]


def test_nobody_waits_at_the_keypad_after_passing_another_way():
    """The card waits for its PIN; its holder passes with the card's secret at once instead."""
    state, _ = handle(keypad(), card(), NOW)
    state = passed(state, card(form=Form.CARD_SECRET))
    assert state.companions.waiting == ()


def test_a_pin_is_in_no_text():
    entered = PinEntered(PinEntry(READER, b"4711", MONOTONIC_MS))
    assert "4711" not in repr(entered)
    assert READER in repr(entered)
    state, effects = feed(keypad(), card(), entered)
    assert b"4711" not in repr(state).encode()
    assert all(b"4711" not in repr(draft).encode() for draft in drafts(effects))
