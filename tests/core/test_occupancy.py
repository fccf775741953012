"""Step 13, how many an area holds: the limit, the warning, and both undone."""

from __future__ import annotations

import pytest

from edge.core.effects import Effect, Feedback, Show
from edge.core.policy import PolicyState
from edge.core.tap import GrantFailed, PolicyReplaced, State, TimeDue, handle
from tests.core.campus import (
    NOW,
    READER,
    changed,
    closed,
    commits,
    drafts,
    durable,
    instant,
    kinds,
    passed,
    policy,
    refusals,
    shown,
    under,
)
from tests.core.people import INTO, OUT_OF, TWO, someone
from wire.names import EventKind, PassKind, Reason, Step
from wire.policy import Area
from wire.settings import DoorSettings

FULL = (Step.ANTI_PASSBACK, Reason.OCCUPANCY_LIMIT)
WARNING, NORMAL = EventKind.OCCUPANCY_WARNING, EventKind.OCCUPANCY_NORMAL


def hall(*, limit: int = 0, warning: int = 0, version: int = 17, **changes: object) -> PolicyState:
    """A door into a hall that holds so many."""
    made = policy(DoorSettings(**changes), version=version)  # type: ignore[arg-type]
    return changed(made, passages={READER: INTO, "inside": OUT_OF}, areas={1: Area(limit, warning)})


def with_people(state: State, count: int) -> State:
    """The hall with persons 1 to `count` inside."""
    for person in range(1, count + 1):
        state = passed(state, someone(person))
    return state


def warnings(effects: tuple[Effect, ...]) -> list[EventKind]:
    return [kind for kind in kinds(effects) if kind in (WARNING, NORMAL)]


# --- the limit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inside", "full"), [(1, False), (2, True), (3, True)])
def test_nobody_enters_a_full_area(inside: int, *, full: bool):
    state = with_people(under(hall()), inside)
    state, _ = handle(state, PolicyReplaced(hall(limit=2, version=18)), NOW)
    _, effects = handle(state, someone(9), NOW)
    assert refusals(effects) == ([FULL] if full else [])
    assert shown(effects) == ([Show(READER, Feedback.DENIED_NOT_NOW)] if full else [])


@pytest.mark.parametrize("areas", [{}, {1: Area(0, 1)}])
def test_an_area_without_limit_is_never_full(areas: dict[int, Area]):
    state = with_people(under(changed(hall(), areas=areas)), 3)
    assert commits(handle(state, someone(9), NOW)[1])


def test_whoever_leaves_makes_room():
    state = with_people(under(hall(limit=1)), 1)
    assert refusals(handle(state, someone(2), NOW)[1]) == [FULL]
    state = passed(state, someone(1, reader="inside", later_s=1), instant(1_000))
    assert commits(handle(state, someone(2), NOW)[1])


def test_whoever_is_counted_already_takes_no_second_place():
    state = with_people(under(hall(limit=1)), 1)
    state = passed(state, someone(1, later_s=1), instant(1_000))
    assert dict(state.memory.present) == {1: 1}


def test_the_way_out_of_a_full_area_is_free():
    state = with_people(under(hall(limit=1)), 1)
    assert commits(handle(state, someone(9, reader="inside"), NOW)[1])


def test_emergency_passes_enter_a_full_area_and_count():
    state = with_people(under(hall(limit=1)), 1)
    state = passed(state, someone(2, kind=PassKind.EMERGENCY))
    assert dict(state.memory.present) == {1: 2}


# --- the warning -----------------------------------------------------------------------------------------------


def test_a_warning_begins_with_the_person_who_fills_the_area_so_far_and_ends_with_the_one_who_leaves():
    state, told = under(hall(warning=2)), []
    for turn, (person, reader) in enumerate([(1, READER), (2, READER), (3, READER), (3, "inside"), (2, "inside")]):
        now = instant(turn * 1_000)
        state, effects = handle(state, someone(person, reader=reader, later_s=turn), now)
        told.append(warnings(effects))
        state, _ = durable(state, commits(effects)[0], now)
    assert told == [[], [WARNING], [], [], [NORMAL]]


def test_a_warning_names_the_moment_and_nobody():
    state = with_people(under(hall(warning=2)), 1)
    _, effects = handle(state, someone(2), instant(7))
    (_, warning) = drafts(effects)
    assert (warning.kind, warning.at, warning.credential, warning.policy_version) == (WARNING, instant(7), None, 17)


@pytest.mark.parametrize("areas", [{}, {1: Area(5, 0)}])
def test_an_area_without_warning_gives_none(areas: dict[int, Area]):
    state, effects = handle(under(changed(hall(), areas=areas)), someone(1), NOW)
    assert warnings(effects) == []
    _, effects = handle(state, GrantFailed(commits(effects)[0].grant), NOW)
    assert warnings(effects) == []


def test_a_refusal_begins_no_warning():
    state = with_people(under(hall(limit=1, warning=1)), 1)
    assert warnings(handle(state, someone(2), NOW)[1]) == []


def test_a_warning_that_began_for_nothing_ends_when_the_grant_is_taken_back():
    state = with_people(under(hall(warning=2)), 1)
    state, effects = handle(state, someone(2), NOW)
    state, effects = handle(state, GrantFailed(commits(effects)[0].grant), NOW)
    assert kinds(effects) == [EventKind.ACCESS_DENIED, NORMAL]
    assert {draft.at for draft in drafts(effects)} == {NOW}
    assert dict(state.memory.present) == {1: 1}


def test_a_warning_that_began_for_nothing_ends_when_nobody_passed():
    state, effects = handle(closed(under(hall(warning=1))), someone(1), NOW)
    assert warnings(effects) == [WARNING]
    state, _ = durable(state, commits(effects)[0])
    state, effects = handle(state, TimeDue(), instant(5_000))
    assert kinds(effects) == [EventKind.DOOR_RELOCKED, EventKind.ACCESS_NOT_TAKEN, NORMAL]
    assert {draft.at for draft in drafts(effects)} == {instant(5_000)}


def test_a_warning_begins_again_when_nobody_left_after_all():
    state = closed(with_people(under(hall(warning=1)), 1))
    state, effects = handle(state, someone(1, reader="inside", later_s=1), NOW)
    assert warnings(effects) == [NORMAL]
    _, effects = handle(state, GrantFailed(commits(effects)[0].grant), NOW)
    assert warnings(effects) == [WARNING]


def test_a_reset_ends_the_warning():
    state = with_people(under(hall(warning=1)), 2)
    newer = hall(warning=1, version=18, forget_presence_before_s=NOW.wall_s + 1)
    _, effects = handle(state, PolicyReplaced(newer), NOW)
    assert kinds(effects) == [EventKind.POLICY_UPDATED, EventKind.PRESENCE_RESET, NORMAL]


def test_two_people_at_once_may_cross_a_warning_between_them():
    rules = changed(hall(warning=2), settings=TWO)
    state, _ = handle(under(rules), someone(1), NOW)
    _, effects = handle(state, someone(2), NOW)
    assert kinds(effects) == [EventKind.ACCESS_GRANTED, EventKind.ACCESS_GRANTED, WARNING]


@pytest.mark.parametrize(("limits", "told"), [({1: Area(0, 1)}, 1), ({1: Area(0, 2)}, 0)])
def test_a_warning_is_of_the_area_that_was_entered(limits: dict[int, Area], told: int):
    _, effects = handle(under(changed(hall(), areas=limits)), someone(1), NOW)
    assert len(warnings(effects)) == told
