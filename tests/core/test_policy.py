"""Steps 10 to 15: who may pass when, and schedules in local time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.memory import Memory
from edge.core.policy import Granted, PolicyState, Situation, decide
from edge.core.schedule import is_active
from edge.core.verify import VerifiedCredential, verify
from tests.core.campus import LEVEL, NOW, PLACE, instant, issue, pass_id, policy, present, printed, read, trust
from wire.names import Assurance, ClockState, DoorMode, PassFlags, PassKind, Reason, Step, SuspectRule
from wire.policy import ALL_DAYS, ALWAYS, MINUTES_A_DAY, Schedule, Window
from wire.settings import DoorSettings

THURSDAY = date(2025, 10, 9)
THURSDAY_BIT, FRIDAY_BIT = 1 << 3, 1 << 4
EPOCH = date(1970, 1, 1)


def verified(payload: bytes) -> VerifiedCredential:
    found = verify(read(payload), trust(), PLACE, DoorSettings(), NOW)
    assert isinstance(found, VerifiedCredential)
    return found


def holder(
    *, kind: PassKind = PassKind.STANDARD, flags: PassFlags = PassFlags.NONE, levels: tuple[int, ...] = (LEVEL,)
) -> VerifiedCredential:
    return verified(present(issue(kind=kind, flags=flags, access_levels=levels)))


SITUATION = Situation(reader="outside", interlocked=False, memory=Memory())


def outcome(credential: VerifiedCredential, rules: PolicyState, now: Instant = NOW) -> Granted | tuple[Step, Reason]:
    found = decide(credential, rules, SITUATION, now)
    return (found.step, found.reason) if isinstance(found, Denied) else found


def moment(local: datetime, *, clock: ClockState = ClockState.TRUSTED) -> Instant:
    return instant(wall_ms=round(local.timestamp() * 1000), clock=clock)


# --- 10 mode ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.UNLOCKED])
@pytest.mark.parametrize("kind", list(PassKind))
def test_every_kind_passes_a_door_in_a_usual_mode(mode: DoorMode, kind: PassKind):
    assert isinstance(outcome(holder(kind=kind), policy(DoorSettings(mode=mode))), Granted)


@pytest.mark.parametrize("kind", list(PassKind))
def test_nobody_passes_a_blocked_door(kind: PassKind):
    found = outcome(holder(kind=kind), policy(DoorSettings(mode=DoorMode.BLOCKED)))
    assert found == (Step.DOOR_MODE, Reason.DOOR_BLOCKED)


@pytest.mark.parametrize("kind", list(PassKind))
def test_only_the_emergency_kind_passes_a_door_in_lockdown(kind: PassKind):
    found = outcome(holder(kind=kind), policy(DoorSettings(mode=DoorMode.LOCKED_DOWN)))
    admitted = kind is PassKind.EMERGENCY
    assert isinstance(found, Granted) if admitted else found == (Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN)


def test_an_emergency_pass_still_needs_an_access_level():
    rules = policy(DoorSettings(mode=DoorMode.LOCKED_DOWN))
    assert outcome(holder(kind=PassKind.EMERGENCY, levels=()), rules) == (Step.ACCESS, Reason.UNAUTHORIZED)


# --- 11 assurance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minimum", list(Assurance))
@pytest.mark.parametrize("level", [Assurance.PRINTED, Assurance.ROTATING])
def test_a_credential_must_reach_the_doors_minimum_assurance(minimum: Assurance, level: Assurance):
    credential = holder() if level is Assurance.ROTATING else verified(printed())
    found = outcome(credential, policy(DoorSettings(minimum_assurance=minimum)))
    enough = level >= minimum
    assert isinstance(found, Granted) if enough else found == (Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)


# --- 12 access levels ------------------------------------------------------------------------------------------


def test_an_empty_rule_list_admits_nobody():
    assert outcome(holder(), policy(levels={})) == (Step.ACCESS, Reason.UNAUTHORIZED)


def test_a_pass_without_levels_is_admitted_nowhere():
    assert outcome(holder(levels=()), policy()) == (Step.ACCESS, Reason.UNAUTHORIZED)


def test_a_level_without_schedule_admits_at_no_time():
    found = outcome(holder(), policy(levels={LEVEL: ()}))
    assert found == (Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME)


def test_the_lowest_level_that_admits_is_the_rule_that_is_named():
    rules = policy(levels={3: (), 8: (ALWAYS,), 9: (ALWAYS,)})
    assert outcome(holder(levels=(1, 3, 8, 9)), rules) == Granted("level-8", 5_000)


def test_any_schedule_of_a_level_admits():
    never, office = Schedule(()), Schedule((Window(ALL_DAYS, 480, 1080),))
    rules = policy(levels={LEVEL: (1, 2)}, schedules={1: never, 2: office})
    assert isinstance(outcome(holder(), rules), Granted)


def test_a_denial_names_the_credential_and_its_assurance():
    found = decide(holder(levels=()), policy(), SITUATION, NOW)
    assert found == Denied(Step.ACCESS, Reason.UNAUTHORIZED, pass_id(), Assurance.ROTATING)


# --- 12 when the time is not known -----------------------------------------------------------------------------

ALWAYS_LEVEL = {LEVEL: (ALWAYS,)}
CLOSED_LEVEL = {LEVEL: (1,)}
CLOSED = {1: Schedule(())}


@pytest.mark.parametrize(
    ("rule", "always", "scheduled"),
    [
        (SuspectRule.DENY, False, False),
        (SuspectRule.IGNORE_SCHEDULES, True, True),
        (SuspectRule.ALWAYS_LEVELS_ONLY, True, False),
    ],
)
def test_schedules_follow_the_doors_rule_while_the_time_is_not_known(
    rule: SuspectRule, *, always: bool, scheduled: bool
):
    suspect = instant(clock=ClockState.SUSPECT)
    settings = DoorSettings(suspect=rule)
    refused = (Step.ACCESS, Reason.CLOCK_SUSPECT)
    granted = Granted(f"level-{LEVEL}", 5_000)
    at_any_time = policy(settings, levels=ALWAYS_LEVEL)
    by_schedule = policy(settings, levels=CLOSED_LEVEL, schedules=CLOSED)
    assert outcome(holder(), at_any_time, suspect) == (granted if always else refused)
    assert outcome(holder(), by_schedule, suspect) == (granted if scheduled else refused)


@pytest.mark.parametrize("rule", list(SuspectRule))
def test_the_rule_for_a_suspect_clock_means_nothing_to_one_that_is_known(rule: SuspectRule):
    rules = policy(DoorSettings(suspect=rule), levels=CLOSED_LEVEL, schedules=CLOSED)
    holdover = instant(clock=ClockState.HOLDOVER)
    assert outcome(holder(), rules, holdover) == (Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME)


@pytest.mark.parametrize("rule", list(SuspectRule))
def test_a_suspect_clock_gives_nobody_a_level(rule: SuspectRule):
    suspect = instant(clock=ClockState.SUSPECT)
    found = outcome(holder(levels=()), policy(DoorSettings(suspect=rule)), suspect)
    assert found == (Step.ACCESS, Reason.UNAUTHORIZED)


# --- 15 obligations --------------------------------------------------------------------------------------------


def test_a_holder_who_needs_longer_gets_the_extended_release():
    assert outcome(holder(flags=PassFlags.EXTENDED_RELEASE), policy()) == Granted(f"level-{LEVEL}", 15_000)


@pytest.mark.parametrize("extended_ms", [0, 4_999])
def test_a_holder_who_needs_longer_never_gets_less_than_others(extended_ms: int):
    rules = policy(DoorSettings(extended_release_time_ms=extended_ms))
    assert outcome(holder(flags=PassFlags.EXTENDED_RELEASE), rules) == Granted(f"level-{LEVEL}", 5_000)


# --- schedules -------------------------------------------------------------------------------------------------


def admits(schedule: Schedule, local: datetime, holidays: frozenset[int] = frozenset()) -> bool:
    return is_active(schedule, holidays, local)


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
    holiday = frozenset({(THURSDAY - EPOCH).days})
    at_nine, at_ten = datetime(2025, 10, 9, 9, tzinfo=UTC), datetime(2025, 10, 9, 10, tzinfo=UTC)
    assert (admits(schedule, at_nine), admits(schedule, at_ten)) == (True, True)
    assert (admits(schedule, at_nine, holiday), admits(schedule, at_ten, holiday)) == (False, True)
    assert admits(schedule, at_nine + timedelta(days=1), holiday)


def test_a_schedule_without_holiday_windows_is_closed_on_holidays():
    schedule = Schedule((Window(ALL_DAYS, 0, MINUTES_A_DAY),))
    assert not admits(schedule, datetime(2025, 10, 9, 12, tzinfo=UTC), frozenset({(THURSDAY - EPOCH).days}))


def test_the_built_in_schedule_admits_on_holidays_too():
    assert isinstance(outcome(holder(), policy(holidays=[(THURSDAY - EPOCH).days])), Granted)


@pytest.mark.parametrize(
    ("zone", "admitted"),
    [("UTC", True), ("Europe/Berlin", True), ("America/New_York", False), ("Pacific/Auckland", False)],
)
def test_schedules_are_read_in_the_doors_time_zone(zone: str, *, admitted: bool):
    rules = policy(
        levels={LEVEL: (1,)}, schedules={1: Schedule((Window(THURSDAY_BIT, 480, 1080),))}, zone=ZoneInfo(zone)
    )
    found = outcome(holder(), rules)  # Thursday 08:53 UTC: 10:53 in Berlin, 04:53 in New York, 21:53 in Auckland
    assert isinstance(found, Granted) if admitted else found == (Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME)


@pytest.mark.parametrize("day", [date(2025, 3, 29), date(2025, 3, 31), date(2025, 10, 25), date(2025, 10, 27)])
def test_eight_o_clock_stays_eight_o_clock_across_summer_time(day: date):
    berlin = ZoneInfo("Europe/Berlin")
    rules = policy(levels={LEVEL: (1,)}, schedules={1: Schedule((Window(ALL_DAYS, 480, 481),))}, zone=berlin)
    eight = datetime(day.year, day.month, day.day, 8, tzinfo=berlin)
    found = [outcome(holder(), rules, moment(eight + timedelta(seconds=s))) for s in (-1, 0, 59, 60)]
    assert [isinstance(each, Granted) for each in found] == [False, True, True, False]


def test_both_passes_of_an_hour_that_comes_twice_are_inside():
    berlin = ZoneInfo("Europe/Berlin")
    rules = policy(levels={LEVEL: (1,)}, schedules={1: Schedule((Window(ALL_DAYS, 150, 151),))}, zone=berlin)
    twice = [datetime(2025, 10, 26, 2, 30, fold=fold, tzinfo=berlin) for fold in (0, 1)]
    assert [isinstance(outcome(holder(), rules, moment(each)), Granted) for each in twice] == [True, True]
