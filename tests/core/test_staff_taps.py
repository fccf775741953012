"""Staff who tap twice: what keeps a door unlocked, what ends that, and what is no double tap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.door_state import Mode, recalled
from edge.core.effects import EventDraft, Secure
from edge.core.orders import STAFF_HOLD_MS, Orders
from edge.core.tap import PolicyReplaced, State, TimeDue, handle
from tests.core.campus import DAY_S, NOW_MS, drafts, instant, policy, printed
from tests.core.doors import BASE, kinds, moves
from tests.core.running import BEGINS_MS, ENDS_MS, MINUTE_MS, RunningDoor, hours, running
from wire.names import Assurance, ClockState, DoorMode, EventKind, PassKind
from wire.passes import make_pass_id
from wire.policy import ALL_DAYS, Schedule, Window
from wire.settings import DoorSettings

# --- by staff who tap twice ------------------------------------------------------------------------------------

TWICE_MS = 3_000
TWICE = DoorSettings(minimum_assurance=Assurance.PRINTED, double_tap_ms=TWICE_MS)
STAFF = printed(kind=PassKind.STAFF)
COLLEAGUE = printed(kind=PassKind.STAFF, pass_id=make_pass_id(0, 43))
STUDENT = printed(pass_id=make_pass_id(0, 44))


def tapped_twice(settings: DoorSettings = TWICE) -> RunningDoor:
    here = running(policy(settings))
    here.admit(STAFF, 0)
    here.admit(STAFF, 1_000)
    return here


@pytest.mark.parametrize(("apart_ms", "second"), [(0, True), (TWICE_MS, True), (TWICE_MS + 1, False)])
def test_staff_who_tap_twice_in_time_keep_the_door_unlocked(apart_ms: int, *, second: bool):
    here = running(policy(TWICE))
    here.admit(STAFF, 0)
    here.admit(STAFF, apart_ms)
    assert here.changes() == ([(apart_ms, "staff")] if second else [])
    here.wait(60_000)
    assert here.mode() is (Mode.UNLOCKED if second else Mode.LOCKED)


@pytest.mark.parametrize(("double_tap_ms", "second"), [(0, False), (1, True)])
def test_the_shortest_time_for_two_taps_is_a_millisecond(double_tap_ms: int, *, second: bool):
    here = running(policy(replace(TWICE, double_tap_ms=double_tap_ms)))
    here.admit(STAFF, 0)
    here.admit(STAFF, double_tap_ms)
    assert here.changes() == ([(1, "staff")] if second else [])


ALL_DAY = Schedule((Window(ALL_DAYS, 534, 1440),))


def test_staff_are_first_persons_too():
    rules = hours(ALL_DAY, replace(TWICE, unlock_schedule=3, first_person_in=True))
    here = running(rules)
    here.admit(STAFF, BEGINS_MS + 1)
    assert here.changes() == [(BEGINS_MS + 1, "schedule-3")]
    # The first of two taps came before the schedule began, so the second is the first person.
    here = running(rules)
    here.admit(STAFF, BEGINS_MS - 500)
    here.admit(STAFF, BEGINS_MS + 500)
    here.wait(BEGINS_MS + 500 + STAFF_HOLD_MS)
    assert (here.mode(), here.changes()) == (Mode.UNLOCKED, [(BEGINS_MS + 500, "staff")])


def test_a_tap_that_came_too_late_may_be_the_first_of_two():
    here = running(policy(TWICE))
    for later_ms in (0, TWICE_MS + 1, 2 * TWICE_MS + 1):
        here.admit(STAFF, later_ms)
    assert here.changes() == [(2 * TWICE_MS + 1, "staff")]


def test_three_taps_are_no_more_than_two():
    here = tapped_twice()
    here.admit(STAFF, 2_000)
    assert here.changes() == [(1_000, "staff")]


@pytest.mark.parametrize("between", [COLLEAGUE, STUDENT])
def test_somebody_who_is_admitted_between_makes_it_two_single_taps(between: bytes):
    here = running(policy(TWICE))
    for later_ms, payload in ((0, STAFF), (1, between), (2, STAFF)):
        here.admit(payload, later_ms)
    assert here.changes() == []


def test_somebody_who_is_refused_between_changes_nothing():
    here = running(policy(TWICE))
    for later_ms, payload in ((0, STAFF), (1, b"garbage"), (2, STAFF)):
        here.admit(payload, later_ms)
    assert here.changes() == [(2, "staff")]


@pytest.mark.parametrize("kind", [kind for kind in PassKind if kind not in (PassKind.STAFF, PassKind.VISITOR)])
def test_only_staff_keep_a_door_unlocked(kind: PassKind):
    here = running(policy(TWICE))
    here.admit(printed(kind=kind), 0)
    here.admit(printed(kind=kind), 1)
    assert here.changes() == []


def test_a_door_without_a_time_for_two_taps_takes_them_as_single_ones():
    here = tapped_twice(replace(TWICE, double_tap_ms=0))
    assert (here.changes(), here.state.orders) == ([], Orders())


def test_another_double_tap_secures_the_door_after_the_time_to_pass():
    here = tapped_twice()
    here.wait(20_000)
    here.admit(STAFF, 20_000)
    here.admit(STAFF, 21_000)
    assert here.changes() == [(1_000, "staff"), (21_000, "policy")]
    assert here.mode() is Mode.ACCESSED  # whoever tapped may still go in
    here.wait(26_000)
    assert here.mode() is Mode.LOCKED


def test_any_staff_may_end_what_others_began():
    here = tapped_twice()
    here.admit(COLLEAGUE, 20_000)
    here.admit(COLLEAGUE, 21_000)
    assert here.changes()[1:] == [(21_000, "policy")]


def test_what_staff_unlocked_ends_by_itself():
    here = tapped_twice()
    here.wait(1_000 + STAFF_HOLD_MS - 1)
    assert here.mode() is Mode.UNLOCKED
    here.wait(1_000 + STAFF_HOLD_MS)
    assert (here.mode(), here.changes()[1:]) == (Mode.LOCKED, [(1_000 + STAFF_HOLD_MS, "policy")])


def test_a_clock_that_is_set_or_not_believed_ends_nothing_that_staff_unlocked():
    here = tapped_twice()
    later = instant(20_000, wall_ms=NOW_MS + 30 * DAY_S * 1000, clock=ClockState.SUSPECT)
    here.feed(TimeDue(), later)
    assert here.mode() is Mode.UNLOCKED


@pytest.mark.parametrize(
    "settings",
    [replace(TWICE, mode=mode) for mode in DoorMode if mode is not DoorMode.LOCKED] + [replace(TWICE, double_tap_ms=0)],
    ids=["unlocked", "blocked", "locked_down", "no double tap"],
)
def test_another_mode_or_the_end_of_the_rule_ends_what_staff_unlocked_for_good(settings: DoorSettings):
    here = tapped_twice()
    here.wait(20_000)
    here.feed(PolicyReplaced(policy(settings), None), instant(20_000))
    assert here.mode() is BASE[settings.mode]
    here.feed(PolicyReplaced(policy(TWICE), None), instant(20_001))
    assert here.mode() is Mode.LOCKED


def test_a_policy_that_changes_neither_leaves_the_door_unlocked():
    here = tapped_twice()
    here.wait(20_000)
    effects = here.feed(PolicyReplaced(policy(replace(TWICE, double_tap_ms=1)), None), instant(20_000))
    assert (here.mode(), kinds(effects)) == (Mode.UNLOCKED, [])


def test_staff_may_unlock_beyond_a_schedules_end():
    settings = replace(TWICE, unlock_schedule=3)
    here = running(hours(settings=settings), instant(BEGINS_MS))
    here.admit(STAFF, BEGINS_MS + 1)
    here.admit(STAFF, BEGINS_MS + 2)
    here.wait(ENDS_MS + MINUTE_MS)
    assert (here.mode(), here.changes()) == (Mode.UNLOCKED, [(BEGINS_MS, "schedule-3")])


def test_a_daemon_that_starts_knows_neither_a_first_person_nor_staff_who_tapped_twice():
    here = tapped_twice()
    assert here.state.orders.rest is DoorMode.UNLOCKED
    started = State(place=here.state.place, memory=here.state.memory, door=recalled(here.state.memory))
    state, effects = handle(started, PolicyReplaced(policy(TWICE), None), instant(20_000))
    assert (state.door.mode, moves(effects)) == (Mode.LOCKED, [Secure()])


def test_every_change_names_its_rule_and_its_policy():
    here = tapped_twice()
    (draft,) = (each for each in drafts(here.seen) if each.kind is EventKind.MODE_CHANGED)
    expected = EventDraft(
        kind=EventKind.MODE_CHANGED, at=instant(1_000), rule="staff", policy_version=17, trust_version=1
    )
    assert draft == expected
