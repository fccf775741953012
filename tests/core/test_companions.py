"""Step 14, a second person: a door that asks for two opens for two, or for nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.effects import Effect, Energise, Feedback, Show
from edge.core.grants import LATE_MS
from edge.core.tap import (
    GrantFailed,
    PolicyReplaced,
    State,
    TimeDue,
    handle,
    next_deadline_ms,
)
from tests.core.campus import (
    MONOTONIC_MS,
    NOW,
    READER,
    card,
    changed,
    closed,
    commits,
    door,
    durable,
    feed,
    instant,
    pass_id,
    passed,
    policy,
    refusals,
    roster,
    shown,
    under,
)
from tests.core.people import (
    ALONE,
    COMPANION_MS,
    INTO,
    OUT_OF,
    STORAGE,
    TWO,
    all_durable,
    granted,
    someone,
)
from wire.names import (
    Assurance,
    DoorMode,
    PassKind,
    Reason,
    Step,
)
from wire.policy import Area, Passage

# --- two people ------------------------------------------------------------------------------------------------


def test_the_first_of_two_waits_and_the_second_lets_both_in():
    state, effects = handle(door(TWO), someone(1), NOW)
    assert effects == (Show(READER, Feedback.NEXT_PERSON),)
    state, effects = handle(state, someone(2), instant(1_000))
    assert granted(effects) == [pass_id(1), pass_id(2)]
    assert state.companions.waiting == ()
    state, effects = all_durable(state, effects, instant(1_000))
    assert [effect for effect in effects if isinstance(effect, Energise)] == [Energise(5_000, 1), Energise(5_000, 2)]
    assert shown(effects) == [Show(READER, Feedback.GRANTED)] * 2


@pytest.mark.parametrize("kind", [PassKind.STANDARD, PassKind.TEMPORARY, PassKind.STAFF])
def test_every_usual_kind_needs_a_second_person(kind: PassKind):
    _, effects = handle(door(TWO), someone(1, kind=kind), NOW)
    assert shown(effects) == [Show(READER, Feedback.NEXT_PERSON)]


def test_an_emergency_pass_needs_nobody_and_is_nobodys_second_person():
    state, effects = handle(door(TWO), someone(1, kind=PassKind.EMERGENCY), NOW)
    assert granted(effects) == [pass_id(1)]
    state, _ = handle(door(TWO), someone(1), NOW)
    state, effects = handle(state, someone(2, kind=PassKind.EMERGENCY), NOW)
    assert granted(effects) == [pass_id(2)]
    assert len(state.companions.waiting) == 1


def test_a_door_that_asks_for_one_lets_nobody_wait():
    assert granted(handle(door(), someone(1), NOW)[1]) == [pass_id(1)]


@pytest.mark.parametrize(("later_ms", "together"), [(COMPANION_MS - 1, True), (COMPANION_MS, False)])
def test_the_second_person_has_to_come_in_time(later_ms: int, *, together: bool):
    state, _ = handle(door(TWO), someone(1), NOW)
    assert next_deadline_ms(state) == MONOTONIC_MS + COMPANION_MS
    _, effects = handle(state, someone(2, later_s=20), instant(later_ms))
    assert bool(granted(effects)) is together
    assert refusals(effects) == ([] if together else [ALONE])
    assert shown(effects)[-1:] == ([] if together else [Show(READER, Feedback.NEXT_PERSON)])


def test_whoever_waited_in_vain_is_refused_once():
    state, _ = handle(door(TWO), someone(1), NOW)
    assert handle(state, TimeDue(), instant(COMPANION_MS - 1)) == (state, ())
    state, effects = handle(state, TimeDue(), instant(COMPANION_MS))
    assert refusals(effects) == [ALONE]
    assert shown(effects) == [Show(READER, Feedback.TRY_AGAIN)]
    assert state.companions.waiting == ()


@pytest.mark.parametrize("index", [1, 9])
def test_one_phone_with_two_codes_or_two_passes_is_one_person(index: int):
    state, _ = handle(door(TWO), someone(1), NOW)
    state, effects = handle(state, someone(1, later_s=5, index=index), NOW)
    assert granted(effects) == []
    assert refusals(effects) == [ALONE]  # the earlier try
    assert shown(effects)[-1] == Show(READER, Feedback.NEXT_PERSON)
    assert len(state.companions.waiting) == 1


def test_a_card_that_is_read_twice_is_one_person():
    state = under(policy(replace(TWO, minimum_assurance=Assurance.IDENTIFIER)), enrolled=roster())
    state, _ = handle(state, card(), NOW)
    state, effects = handle(state, card(), NOW)
    assert (granted(effects), len(state.companions.waiting)) == ([], 1)


def test_the_same_code_is_nobodys_second_person():
    state, _ = handle(door(TWO), someone(1), NOW)
    state, effects = handle(state, someone(1), NOW)
    assert refusals(effects) == [(Step.REPLAY, Reason.REPLAYED)]
    assert len(state.companions.waiting) == 1


def test_a_code_that_was_used_to_wait_is_used_up():
    state, _ = handle(door(TWO), someone(1), NOW)
    state, _ = handle(state, TimeDue(), instant(COMPANION_MS))
    _, effects = handle(state, someone(1), instant(COMPANION_MS))
    assert refusals(effects) == [(Step.REPLAY, Reason.REPLAYED)]


def test_a_third_person_waits_for_a_fourth():
    state, _ = feed(door(TWO), someone(1), someone(2))
    state, effects = handle(state, someone(3), NOW)
    assert granted(effects) == []
    _, effects = handle(state, someone(4), NOW)
    assert granted(effects) == [pass_id(3), pass_id(4)]


def test_whoever_went_in_on_an_emergency_pass_is_nobodys_second_person():
    state, _ = handle(door(TWO), someone(1), NOW)
    state = passed(state, someone(1, kind=PassKind.EMERGENCY, later_s=1))
    assert state.companions.waiting == ()
    _, effects = handle(state, someone(2), NOW)
    assert granted(effects) == []


# --- on one side of the door -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passages", "reader", "together"),
    [
        ({}, READER, True),
        ({}, "inside", False),
        ({READER: INTO, "inside": OUT_OF}, "inside", False),
        ({READER: INTO, "camera": INTO}, "camera", True),
        ({READER: INTO}, "camera", False),
        ({"camera": INTO}, "camera", False),
    ],
)
def test_two_people_stand_on_the_same_side(passages: dict[str, Passage], reader: str, *, together: bool):
    state, _ = handle(under(changed(policy(TWO), passages=passages)), someone(1), NOW)
    state, effects = handle(state, someone(2, reader=reader), NOW)
    assert bool(granted(effects)) is together
    assert len(state.companions.waiting) == (0 if together else 2)


def test_of_those_who_wait_the_one_on_the_same_side_is_found():
    state, _ = feed(door(TWO), someone(1, reader="inside"), someone(2), someone(3, reader="inside"))
    assert [each.candidate.reader for each in state.companions.waiting] == [READER]


# --- both or neither -------------------------------------------------------------------------------------------


def together() -> tuple[State, tuple[Effect, ...]]:
    """Two people who are granted, at a closed door; their commits are awaited."""
    state, _ = handle(closed(door(TWO)), someone(1), NOW)
    return handle(state, someone(2), NOW)


@pytest.mark.parametrize("first", [0, 1])
def test_nothing_moves_before_both_grants_are_durable(first: int):
    state, effects = together()
    people = commits(effects)
    state, effects = durable(state, people[first], seq=7)
    assert effects == ()
    assert durable(state, people[first], seq=9) == (state, ())
    assert handle(state, GrantFailed(people[first].grant), NOW) == (state, ())
    _, effects = durable(state, people[1 - first], seq=8)
    assert [each.cause_seq for each in effects if isinstance(each, Energise)] == [7, 8]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("after_the_other", [False, True])
def test_if_one_grant_fails_both_are_taken_back(failing: int, *, after_the_other: bool):
    state, effects = together()
    people = commits(effects)
    if after_the_other:
        state, _ = durable(state, people[1 - failing])
    state, effects = handle(state, GrantFailed(people[failing].grant), NOW)
    assert refusals(effects) == [STORAGE, STORAGE]
    assert not any(isinstance(effect, Energise) for effect in effects)
    assert state.awaited == ()
    assert durable(state, people[1 - failing]) == (state, ())


@pytest.mark.parametrize(("late_ms", "in_time"), [(LATE_MS, True), (LATE_MS + 1, False)])
def test_the_second_grant_has_to_become_durable_in_time_for_both(late_ms: int, *, in_time: bool):
    state, effects = together()
    one, other = commits(effects)
    state, _ = durable(state, one)
    _, effects = durable(state, other, instant(late_ms))
    assert any(isinstance(effect, Energise) for effect in effects) is in_time
    assert refusals(effects) == ([] if in_time else [STORAGE, STORAGE])


def test_a_lockdown_between_the_two_grants_refuses_both():
    state, effects = together()
    one, other = commits(effects)
    state, _ = durable(state, one)
    state, _ = handle(state, PolicyReplaced(policy(replace(TWO, mode=DoorMode.LOCKED_DOWN), version=18)), NOW)
    _, effects = durable(state, other)
    assert refusals(effects) == [(Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN)] * 2


def test_two_people_have_room_in_an_area_or_neither_enters():
    rules = changed(policy(TWO), passages={READER: INTO}, areas={1: Area(1, 0)})
    state, _ = handle(under(rules), someone(1), NOW)
    state, effects = handle(state, someone(2), NOW)
    assert granted(effects) == []
    assert refusals(effects) == [ALONE, (Step.ANTI_PASSBACK, Reason.OCCUPANCY_LIMIT)]
    assert state.companions.waiting == ()
    _, effects = feed(under(changed(rules, areas={1: Area(2, 0)})), someone(1), someone(2))
    assert granted(effects) == [pass_id(1), pass_id(2)]
