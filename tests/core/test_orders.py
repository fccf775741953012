"""How a door is to rest: unlocked by a schedule or its first person, never against its mode or by a clock that lies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from edge.core.door import UNLOCKED_HOLD_MS
from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import Energise, Feedback, Secure, Show
from edge.core.orders import Orders, follow
from edge.core.tap import GrantFailed, LineChanged, PolicyReplaced, TimeDue, next_deadline_ms
from tests.core.campus import (
    DAY_S,
    LEVEL,
    MONOTONIC_MS,
    NOW_MS,
    NOW_S,
    READER,
    code,
    command,
    commanded,
    commits,
    drafts,
    instant,
    policy,
    printed,
    shown,
    tap,
)
from tests.core.doors import BASE, kinds, moves
from tests.core.running import BEGINS_MS, ENDS_MS, MINUTE_MS, SCHEDULED, TWO_MINUTES, hours, running
from wire.names import Action, Assurance, ClockState, DoorMode, EventKind
from wire.policy import ALL_DAYS, ALWAYS, MINUTES_A_DAY, Passage, Schedule, Window

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge.core.instant import Instant

TODAY = (date(2025, 10, 9) - date(1970, 1, 1)).days


# --- by a schedule ---------------------------------------------------------------------------------------------


def test_a_door_is_unlocked_from_a_windows_first_minute_until_before_its_end():
    here = running(hours())
    here.wait(BEGINS_MS - 1)
    assert (here.mode(), here.changes()) == (Mode.LOCKED, [])
    here.wait(BEGINS_MS)
    assert here.mode() is Mode.UNLOCKED
    assert Energise(UNLOCKED_HOLD_MS) in here.seen
    here.wait(ENDS_MS - 1)
    assert here.mode() is Mode.UNLOCKED
    here.seen.clear()
    here.wait(ENDS_MS)
    assert (here.mode(), moves(here.seen)) == (Mode.LOCKED, [Secure()])


def test_what_unlocked_a_door_and_what_ended_it_is_journaled():
    here = running(hours())
    here.wait(DAY_S * 1000)
    assert here.changes() == [(BEGINS_MS, "schedule-3"), (ENDS_MS, "policy")]


def test_a_door_that_learns_of_its_schedule_within_a_window_is_unlocked_at_once():
    here = running(hours(), instant(BEGINS_MS))
    assert (here.mode(), here.changes()) == (Mode.UNLOCKED, [(BEGINS_MS, "schedule-3")])


def test_a_schedule_that_ends_with_the_policy_that_named_it_secures_the_door_at_once():
    here = running(hours(), instant(BEGINS_MS))
    here.feed(PolicyReplaced(policy(), None), instant(BEGINS_MS + 1))
    assert (here.mode(), next_deadline_ms(here.state)) == (Mode.LOCKED, None)


def test_two_schedules_that_follow_each_other_leave_the_door_unlocked():
    here = running(hours(), instant(BEGINS_MS))
    whole_day = hours(Schedule((Window(ALL_DAYS, 0, MINUTES_A_DAY),)))
    effects = here.feed(PolicyReplaced(whole_day, None), instant(BEGINS_MS + 1))
    assert (here.mode(), kinds(effects)) == (Mode.UNLOCKED, [])


def test_taps_at_a_door_that_a_schedule_unlocked_are_still_decided():
    here = running(hours(), instant(BEGINS_MS))
    here.admit(code(signed_at_s=NOW_S + BEGINS_MS // 1000), BEGINS_MS)
    assert shown(here.seen)[-1] == Show(READER, Feedback.GRANTED)


@pytest.mark.parametrize("mode", [DoorMode.UNLOCKED, DoorMode.BLOCKED, DoorMode.LOCKED_DOWN])
def test_the_mode_of_the_policy_is_stronger_than_its_schedule(mode: DoorMode):
    here = running(hours(settings=replace(SCHEDULED, mode=mode)))
    before = here.changes()
    here.wait(ENDS_MS)
    assert (here.mode(), here.changes()) == (BASE[mode], before)


@pytest.mark.parametrize("mode", [DoorMode.BLOCKED, DoorMode.LOCKED_DOWN])
def test_a_lockdown_secures_a_door_that_a_schedule_unlocked_and_its_end_gives_it_back(mode: DoorMode):
    here = running(hours(), instant(BEGINS_MS))
    here.feed(PolicyReplaced(hours(settings=replace(SCHEDULED, mode=mode)), None), instant(BEGINS_MS + 1))
    assert here.mode() is BASE[mode]
    here.feed(PolicyReplaced(hours(), None), instant(BEGINS_MS + 2))
    assert here.mode() is Mode.UNLOCKED


def test_a_door_without_a_schedule_is_never_woken_for_one():
    assert next_deadline_ms(running(policy()).state) is None
    assert next_deadline_ms(running(hours()).state) == MONOTONIC_MS + BEGINS_MS


# --- holidays, exceptions, zones -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "holidays", "expected"),
    [
        (TWO_MINUTES, [TODAY], []),
        (TWO_MINUTES, [TODAY + 1], [BEGINS_MS, ENDS_MS]),
        (Schedule((), TWO_MINUTES.windows), [TODAY], [BEGINS_MS, ENDS_MS]),
        (Schedule((), TWO_MINUTES.windows), [], []),
        (Schedule(TWO_MINUTES.windows, (), {TODAY: ()}), [], []),
        (Schedule((), (), {TODAY: TWO_MINUTES.windows}), [TODAY], [BEGINS_MS, ENDS_MS]),
        (Schedule((), (), {TODAY + 1: TWO_MINUTES.windows}), [], []),
    ],
)
def test_holidays_and_exceptions_unlock_a_door_as_they_admit_people(
    schedule: Schedule, holidays: list[int], expected: list[int]
):
    here = running(hours(schedule, holidays=holidays))
    here.wait(12 * 3_600_000)
    assert [later_ms for later_ms, _ in here.changes()] == expected


def test_a_window_until_midnight_and_one_from_midnight_are_one():
    here = running(hours(Schedule((Window(ALL_DAYS, 0, 60), Window(ALL_DAYS, 1380, MINUTES_A_DAY)))))
    here.wait(DAY_S * 1000)
    eleven_ms = (1380 - 533) * MINUTE_MS - 20_000
    assert [later_ms for later_ms, _ in here.changes()] == [eleven_ms, eleven_ms + 120 * MINUTE_MS]


def walked(schedule: Schedule, zone: tzinfo, begin: datetime, hours_long: int) -> list[str]:
    """Let a door follow its schedule, woken when it asks for it; gives when its order changed, as UTC."""
    start_ms = round(begin.timestamp() * 1000)

    def then(later_ms: int) -> Instant:
        return instant(later_ms, wall_ms=start_ms + later_ms)

    here = running(hours(schedule, zone=zone), then(0))
    while (due := (next_deadline_ms(here.state) or 0) - MONOTONIC_MS) <= hours_long * 3_600_000:
        here.feed(TimeDue(), then(due))
    changed = [draft.at.wall_s for draft in drafts(here.seen) if draft.kind is EventKind.MODE_CHANGED]
    return [f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S}" for at_s in changed]


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (UTC, ["08:54:00", "08:56:00"]),
        (BERLIN, ["06:54:00", "06:56:00"]),
        (ZoneInfo("Asia/Kathmandu"), ["03:09:00", "03:11:00"]),
    ],
)
def test_a_schedule_unlocks_in_the_doors_time_zone(zone: tzinfo, expected: list[str]):
    assert walked(TWO_MINUTES, zone, datetime(2025, 10, 9, tzinfo=UTC), 23) == expected


@pytest.mark.parametrize(
    ("begin", "window", "expected"),
    [
        # 30 March 2025: 02:00 is followed by 03:00, at 01:00 UTC
        (datetime(2025, 3, 29, 23, tzinfo=UTC), (150, 210), ["01:00:00", "01:30:00"]),
        (datetime(2025, 3, 29, 23, tzinfo=UTC), (120, 180), []),
        (datetime(2025, 3, 29, 23, tzinfo=UTC), (90, 240), ["00:30:00", "02:00:00"]),
        # 26 October 2025: 03:00 is followed by 02:00, at 01:00 UTC
        (datetime(2025, 10, 25, 22, tzinfo=UTC), (150, 180), ["00:30:00", "01:00:00", "01:30:00", "02:00:00"]),
        (datetime(2025, 10, 25, 22, tzinfo=UTC), (120, 180), ["00:00:00", "02:00:00"]),
        (datetime(2025, 10, 25, 22, tzinfo=UTC), (90, 240), ["23:30:00", "03:00:00"]),
    ],
)
def test_a_schedule_follows_local_time_on_the_days_when_clocks_change(
    begin: datetime, window: tuple[int, int], expected: list[str]
):
    assert walked(Schedule((Window(ALL_DAYS, *window),)), BERLIN, begin, 12) == expected


# --- clocks ----------------------------------------------------------------------------------------------------


def test_a_door_that_does_not_know_the_time_is_never_unlocked_by_a_schedule():
    suspect = instant(BEGINS_MS, clock=ClockState.SUSPECT)
    here = running(hours(), suspect)
    assert (here.mode(), here.changes()) == (Mode.LOCKED, [])
    assert next_deadline_ms(here.state) == MONOTONIC_MS + BEGINS_MS + MINUTE_MS


@pytest.mark.parametrize("clock", [ClockState.TRUSTED, ClockState.HOLDOVER])
def test_a_door_that_counts_on_from_a_known_time_follows_its_schedule(clock: ClockState):
    assert running(hours(), instant(BEGINS_MS, clock=clock)).mode() is Mode.UNLOCKED


def test_a_clock_that_is_no_longer_believed_secures_the_door_and_one_that_is_again_unlocks_it():
    here = running(hours(), instant(BEGINS_MS))
    here.feed(TimeDue(), instant(BEGINS_MS + 1, clock=ClockState.SUSPECT))
    assert here.mode() is Mode.LOCKED
    here.feed(TimeDue(), instant(BEGINS_MS + 2))
    assert [rule for _, rule in here.changes()] == ["schedule-3", "policy", "schedule-3"]


def test_a_clock_that_jumps_into_a_window_or_out_of_it_is_noticed_within_a_minute():
    here = running(hours())
    due = next_deadline_ms(here.state)
    assert due is not None
    assert due <= MONOTONIC_MS + MINUTE_MS
    here.feed(TimeDue(), instant(due - MONOTONIC_MS, wall_ms=NOW_MS + ENDS_MS - 1))
    assert here.mode() is Mode.UNLOCKED
    assert next_deadline_ms(here.state) == due + 1
    here.feed(TimeDue(), instant(due + 1 - MONOTONIC_MS, wall_ms=NOW_MS - DAY_S * 500))
    assert here.mode() is Mode.LOCKED


def test_a_clock_that_was_slowed_just_before_the_minute_is_looked_at_again():
    here = running(hours())
    here.feed(TimeDue(), instant(BEGINS_MS, wall_ms=NOW_MS + BEGINS_MS - 30))
    assert (here.mode(), next_deadline_ms(here.state)) == (Mode.LOCKED, MONOTONIC_MS + BEGINS_MS + 30)


# --- by its first person ---------------------------------------------------------------------------------------

FIRST = replace(SCHEDULED, first_person_in=True, minimum_assurance=Assurance.PRINTED)
PAPER = printed()


def test_a_door_that_waits_for_its_first_person_is_unlocked_when_one_is_admitted():
    here = running(hours(settings=FIRST), instant(BEGINS_MS))
    assert here.mode() is Mode.LOCKED
    here.admit(PAPER, BEGINS_MS + 1)
    assert (here.mode(), here.changes()) == (Mode.ACCESSED, [(BEGINS_MS + 1, "schedule-3")])
    here.wait(BEGINS_MS + 5_001)
    assert here.mode() is Mode.UNLOCKED
    here.wait(ENDS_MS)
    assert here.mode() is Mode.LOCKED


@pytest.mark.parametrize(("passage", "counts"), [(Passage(1, 2), True), (Passage(2, 1), True), (Passage(1, 0), False)])
def test_whoever_leaves_is_no_first_person(passage: Passage, *, counts: bool):
    rules = hours(settings=FIRST)
    here = running(replace(rules, bundle=replace(rules.bundle, passages={READER: passage})), instant(BEGINS_MS))
    here.admit(PAPER, BEGINS_MS + 1)
    assert here.changes() == ([(BEGINS_MS + 1, "schedule-3")] if counts else [])


def test_nobody_who_came_before_the_schedule_was_its_first_person():
    here = running(hours(settings=FIRST))
    here.admit(PAPER, BEGINS_MS - 1)
    here.wait(ENDS_MS)
    assert here.changes() == []


def test_each_window_waits_for_a_first_person_of_its_own():
    windows = (Window(ALL_DAYS, 534, 536), Window(ALL_DAYS, 537, 539))
    here = running(hours(Schedule(windows), FIRST), instant(BEGINS_MS))
    here.admit(PAPER, BEGINS_MS + 1)
    here.wait(BEGINS_MS + 4 * MINUTE_MS)
    assert here.changes() == [(BEGINS_MS + 1, "schedule-3"), (ENDS_MS, "policy")]
    here.admit(PAPER, BEGINS_MS + 4 * MINUTE_MS)
    assert len(here.changes()) == 3


def test_neither_a_refusal_nor_a_way_out_nor_a_command_is_a_first_person():
    here = running(hours(settings=FIRST), instant(BEGINS_MS))
    here.feed(tap(b"garbage"), instant(BEGINS_MS))
    here.feed(LineChanged(InputLine.REX, LineState.ACTIVE), instant(BEGINS_MS))
    here.feed(LineChanged(InputLine.REX, LineState.INACTIVE), instant(BEGINS_MS))
    (commit,) = commits(here.feed(tap(PAPER), instant(BEGINS_MS)))
    here.feed(GrantFailed(commit.grant), instant(BEGINS_MS))
    unlock = command(Action.UNLOCK, issued_at_s=NOW_S + BEGINS_MS // 1000)
    here.state, _ = commanded(here.state, unlock, instant(BEGINS_MS))
    here.wait(ENDS_MS)
    assert here.changes() == []


def test_who_is_admitted_before_the_rule_was_there_is_no_first_person():
    here = running(hours(settings=replace(FIRST, first_person_in=False)), instant(BEGINS_MS))
    here.admit(PAPER, BEGINS_MS)
    here.feed(PolicyReplaced(hours(settings=FIRST), None), instant(BEGINS_MS + 10_000))
    assert here.mode() is Mode.LOCKED


def test_a_clock_that_was_not_believed_meanwhile_asks_for_another_first_person():
    here = running(hours(settings=FIRST), instant(BEGINS_MS))
    here.admit(PAPER, BEGINS_MS)
    here.feed(TimeDue(), instant(BEGINS_MS + 6_000, clock=ClockState.SUSPECT))
    here.feed(TimeDue(), instant(BEGINS_MS + 7_000))
    assert here.mode() is Mode.LOCKED


# --- otherwise -------------------------------------------------------------------------------------------------


def test_a_door_without_a_policy_rests_locked():
    unlocked = Orders(rest=DoorMode.UNLOCKED, rule="staff", unlocked_until_ms=MONOTONIC_MS + 1)
    assert follow(unlocked, None, instant()) == Orders()
    assert follow(Orders(), None, instant()) == Orders()


def test_the_usual_orders_are_made_once():
    """Most doors never rest otherwise: following their orders costs nothing."""
    here = running(policy())
    before = here.state.orders
    here.admit(code(), 0)
    assert here.state.orders is before


def test_a_level_of_schedule_hours_admits_and_unlocks_by_the_same_clock():
    rules = policy(SCHEDULED, levels={LEVEL: (3,), LEVEL + 1: (ALWAYS,)}, schedules={3: TWO_MINUTES})
    here = running(rules)
    here.admit(code(), BEGINS_MS - 15_000)
    here.wait(BEGINS_MS)
    here.admit(code(signed_at_s=NOW_S + BEGINS_MS // 1000), BEGINS_MS)
    assert [draft.granted for draft in drafts(here.seen) if draft.granted is not None] == [False, True]
