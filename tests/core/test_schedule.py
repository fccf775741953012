"""Schedules: windows of local time, holidays, single days, and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge.core.policy import PolicyState, schedule_is_active
from edge.core.schedule import is_active, local_time
from edge.core.tap import handle
from tests.core.campus import LEVEL, NOW, NOW_MS, code, commits, policy, refusals, tap, under
from wire.names import Reason, Step
from wire.policy import ALL_DAYS, ALWAYS, MINUTES_A_DAY, Schedule, Window

THURSDAY = date(2025, 10, 9)
THURSDAY_BIT = 1 << 3
EPOCH = date(1970, 1, 1)
BERLIN, NEW_YORK, AUCKLAND = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("Pacific/Auckland")
NOT_NOW = (Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME)


def admits(schedule: Schedule, local: datetime, holidays: frozenset[int] = frozenset()) -> bool:
    return is_active(schedule, holidays, local)


def day_of(day: date) -> int:
    """As policies give days."""
    return (day - EPOCH).days


def by_schedule(*windows: Window, zone: ZoneInfo, holidays: list[date] | None = None) -> PolicyState:
    """A door that one schedule opens."""
    days = [] if holidays is None else [day_of(day) for day in holidays]
    return policy(levels={LEVEL: (1,)}, schedules={1: Schedule(windows)}, zone=zone, holidays=days)


def active(rules: PolicyState, moment: datetime) -> bool:
    return schedule_is_active(1, rules, local_time(round(moment.timestamp() * 1000), rules.zone))


# --- windows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock_time", "inside"),
    [("07:59:59.999", False), ("08:00:00", True), ("17:59:59.999", True), ("18:00:00", False)],
)
def test_a_window_holds_from_its_first_minute_until_before_its_end(clock_time: str, *, inside: bool):
    office = Schedule((Window(THURSDAY_BIT, 480, 1080),))
    assert admits(office, datetime.fromisoformat(f"2025-10-09 {clock_time}+00:00")) is inside


def test_a_whole_day_ends_at_midnight():
    thursday = Schedule((Window(THURSDAY_BIT, 0, MINUTES_A_DAY),))
    inside = [admits(thursday, datetime(2025, 10, 9, tzinfo=UTC) + timedelta(minutes=m)) for m in (-1, 0, 1439, 1440)]
    assert inside == [False, True, True, False]


@pytest.mark.parametrize("day", range(7))
def test_each_bit_is_its_weekday(day: int):
    monday = datetime(2025, 10, 6, 12, tzinfo=UTC)
    only = Schedule((Window(1 << day, 0, MINUTES_A_DAY),))
    assert [admits(only, monday + timedelta(days=n)) for n in range(7)] == [n == day for n in range(7)]


def test_on_a_holiday_only_its_holiday_windows_count():
    schedule = Schedule((Window(ALL_DAYS, 480, 1080),), (Window(THURSDAY_BIT, 600, 660),))
    holiday = frozenset({day_of(THURSDAY)})
    at_nine, at_ten = datetime(2025, 10, 9, 9, tzinfo=UTC), datetime(2025, 10, 9, 10, tzinfo=UTC)
    assert (admits(schedule, at_nine), admits(schedule, at_ten)) == (True, True)
    assert (admits(schedule, at_nine, holiday), admits(schedule, at_ten, holiday)) == (False, True)
    assert admits(schedule, at_nine + timedelta(days=1), holiday)


def test_a_schedule_without_holiday_windows_is_closed_on_holidays():
    schedule = Schedule((Window(ALL_DAYS, 0, MINUTES_A_DAY),))
    assert not admits(schedule, datetime(2025, 10, 9, 12, tzinfo=UTC), frozenset({day_of(THURSDAY)}))


def test_the_built_in_schedule_is_always_active():
    rules = policy(holidays=[day_of(THURSDAY)])
    assert schedule_is_active(ALWAYS, rules, local_time(NOW_MS, rules.zone))
    assert commits(handle(under(rules), tap(code()), NOW)[1])


def test_any_window_of_several_is_enough():
    schedule = Schedule((Window(ALL_DAYS, 60, 120), Window(THURSDAY_BIT, 480, 540)))
    hours = [admits(schedule, datetime(2025, 10, 9, hour, tzinfo=UTC)) for hour in (0, 1, 2, 8, 9)]
    assert hours == [False, True, False, True, False]


def test_no_window_is_never():
    assert not admits(Schedule(()), datetime(2025, 10, 9, 12, tzinfo=UTC))


# --- single days -----------------------------------------------------------------------------------------------

OFFICE = (Window(ALL_DAYS, 480, 1080),)


@pytest.mark.parametrize("holiday", [False, True])
def test_on_the_day_of_an_exception_only_its_windows_count(*, holiday: bool):
    schedule = Schedule(OFFICE, (Window(ALL_DAYS, 600, 660),), {day_of(THURSDAY): (Window(ALL_DAYS, 1200, 1260),)})
    holidays = frozenset({day_of(THURSDAY)} if holiday else set[int]())
    hours = [admits(schedule, datetime(2025, 10, 9, hour, tzinfo=UTC), holidays) for hour in (9, 10, 19, 20, 21)]
    assert hours == [False, False, False, True, False]


def test_an_exception_without_windows_closes_the_day():
    schedule = Schedule(OFFICE, OFFICE, {day_of(THURSDAY): ()})
    assert not admits(schedule, datetime(2025, 10, 9, 12, tzinfo=UTC))
    assert not admits(schedule, datetime(2025, 10, 9, 12, tzinfo=UTC), frozenset({day_of(THURSDAY)}))


@pytest.mark.parametrize(("day", "open_"), [(8, True), (9, False), (10, True)])
def test_an_exception_holds_for_its_day(day: int, *, open_: bool):
    schedule = Schedule(OFFICE, (), {day_of(THURSDAY): ()})
    assert admits(schedule, datetime(2025, 10, day, 12, tzinfo=UTC)) is open_


def test_an_exception_has_weekdays_like_any_window():
    friday_only = Schedule((), (), {day_of(THURSDAY): (Window(1 << 4, 0, MINUTES_A_DAY),)})
    assert not admits(friday_only, datetime(2025, 10, 9, 12, tzinfo=UTC))


# --- time zones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "admitted"),
    [("UTC", True), ("Europe/Berlin", True), ("America/New_York", False), ("Pacific/Auckland", False)],
)
def test_schedules_are_read_in_the_doors_time_zone(zone: str, *, admitted: bool):
    rules = by_schedule(Window(THURSDAY_BIT, 480, 1080), zone=ZoneInfo(zone))
    _, effects = handle(under(rules), tap(code()), NOW)  # 08:53 UTC, 10:53 in Berlin, 04:53 in New York, 21:53 there
    assert refusals(effects) == ([] if admitted else [NOT_NOW])


@pytest.mark.parametrize(
    ("zone", "utc_hour", "holiday"),
    [(UTC, 23, True), (AUCKLAND, 10, True), (AUCKLAND, 11, False), (NEW_YORK, 3, False), (NEW_YORK, 4, True)],
)
def test_days_are_those_of_the_door(zone: ZoneInfo, utc_hour: int, *, holiday: bool):
    """Thursday begins on Wednesday at 11:00 UTC in Auckland, and at 04:00 UTC in New York."""
    rules = by_schedule(Window(ALL_DAYS, 0, MINUTES_A_DAY), zone=zone, holidays=[THURSDAY])
    assert active(rules, datetime(2025, 10, 9, utc_hour, tzinfo=UTC)) is not holiday


def test_local_time_has_the_millisecond():
    assert local_time(NOW_MS + 999, UTC) == datetime(2025, 10, 9, 8, 53, 20, 999_000, tzinfo=UTC)
    assert local_time(0, BERLIN) == datetime(1970, 1, 1, 1, tzinfo=BERLIN)


# --- the days on which clocks change ---------------------------------------------------------------------------

# When clocks go forward and back, by UTC: at 02:00 local standard time and 03:00 local summer time in Berlin (EU
# directive 2000/84/EC), at 02:00 local time in New York (15 U.S.C. 260a).
FORWARD = {BERLIN: datetime(2026, 3, 29, 1, tzinfo=UTC), NEW_YORK: datetime(2026, 3, 8, 7, tzinfo=UTC)}
BACK = {BERLIN: datetime(2026, 10, 25, 1, tzinfo=UTC), NEW_YORK: datetime(2026, 11, 1, 6, tzinfo=UTC)}
TWICE = {BERLIN: 2, NEW_YORK: 1}
"""The hour that comes twice, local."""


def minutes_active(rules: PolicyState, start: datetime, hours: int) -> list[int]:
    """The minutes from `start` in which the schedule is active."""
    return [minute for minute in range(hours * 60) if active(rules, start + timedelta(minutes=minute))]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=str)
@pytest.mark.parametrize("change", [FORWARD, BACK], ids=["forward", "back"])
@pytest.mark.parametrize("days", [-1, 0, 1])
def test_eight_o_clock_stays_eight_o_clock(zone: ZoneInfo, change: dict[ZoneInfo, datetime], days: int):
    rules = by_schedule(Window(ALL_DAYS, 480, 481), zone=zone)
    day = change[zone].astimezone(zone).date() + timedelta(days=days)
    eight = datetime(day.year, day.month, day.day, 8, tzinfo=zone).astimezone(UTC)
    assert [active(rules, eight + timedelta(seconds=second)) for second in (-1, 0, 59, 60)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=str)
def test_a_window_in_the_hour_that_does_not_exist_is_not_active(zone: ZoneInfo):
    start = FORWARD[zone] - timedelta(hours=3)
    assert minutes_active(by_schedule(Window(ALL_DAYS, 120, 180), zone=zone), start, 8) == []
    day_before = minutes_active(by_schedule(Window(ALL_DAYS, 120, 180), zone=zone), start - timedelta(days=1), 8)
    assert len(day_before) == 60


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=str)
def test_a_window_across_the_hour_that_does_not_exist_is_an_hour_shorter(zone: ZoneInfo):
    rules = by_schedule(Window(ALL_DAYS, 90, 210), zone=zone)  # 01:30 to 03:30
    found = minutes_active(rules, FORWARD[zone] - timedelta(hours=1), 3)
    assert found == list(range(30, 90))


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=str)
def test_a_window_in_the_hour_that_comes_twice_is_active_twice(zone: ZoneInfo):
    hour = TWICE[zone] * 60
    rules = by_schedule(Window(ALL_DAYS, hour + 15, hour + 30), zone=zone)
    found = minutes_active(rules, BACK[zone] - timedelta(hours=1), 2)
    assert found == [*range(15, 30), *range(75, 90)]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=str)
def test_a_window_across_the_hour_that_comes_twice_is_an_hour_longer(zone: ZoneInfo):
    hour = TWICE[zone] * 60
    rules = by_schedule(Window(ALL_DAYS, hour - 30, hour + 90), zone=zone)
    found = minutes_active(rules, BACK[zone] - timedelta(hours=2), 5)
    assert found == list(range(30, 30 + 180))


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK], ids=str)
@pytest.mark.parametrize(("change", "hours"), [(FORWARD, 23), (BACK, 25)], ids=["forward", "back"])
def test_a_whole_day_is_as_long_as_it_is(zone: ZoneInfo, change: dict[ZoneInfo, datetime], hours: int):
    day = change[zone].astimezone(zone).date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    rules = by_schedule(Window(1 << day.weekday(), 0, MINUTES_A_DAY), zone=zone)
    found = minutes_active(rules, midnight - timedelta(hours=1), hours + 2)
    assert found == list(range(60, 60 + hours * 60))
