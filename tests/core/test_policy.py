"""Steps 10 to 12: who may pass in which mode, with which credential, by which access level."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.memory import Memory
from edge.core.policy import Granted, PolicyState, Situation, decide, minimum_assurance
from edge.core.schedule import local_time
from edge.core.verify import VerifiedCredential, verify
from tests.core.campus import (
    LEVEL,
    NOW,
    NOW_S,
    PLACE,
    changed,
    instant,
    issue,
    pass_id,
    policy,
    present,
    printed,
    read,
    trust,
)
from wire.names import Assurance, ClockState, DoorMode, PassFlags, PassKind, Reason, Step, SuspectRule
from wire.policy import ALL_DAYS, ALWAYS, AssuranceHours, Schedule, Window
from wire.settings import DoorSettings


def verified(payload: bytes) -> VerifiedCredential:
    found = verify(read(payload), trust(), PLACE, DoorSettings(), NOW)
    assert isinstance(found, VerifiedCredential)
    return found


def holder(
    *, kind: PassKind = PassKind.STANDARD, flags: PassFlags = PassFlags.NONE, levels: tuple[int, ...] = (LEVEL,)
) -> VerifiedCredential:
    return verified(present(issue(kind=kind, flags=flags, access_levels=levels)))


HERE = local_time(NOW.wall_ms, UTC)
SITUATION = Situation(reader="outside", interlocked=False, memory=Memory())


def outcome(credential: VerifiedCredential, rules: PolicyState, now: Instant = NOW) -> Granted | tuple[Step, Reason]:
    found = decide(credential, rules, SITUATION, now)
    return (found.step, found.reason) if isinstance(found, Denied) else found


# --- 10 mode ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.UNLOCKED])
@pytest.mark.parametrize("kind", list(PassKind))
def test_every_kind_passes_a_door_in_a_usual_mode(mode: DoorMode, kind: PassKind):
    assert isinstance(outcome(holder(kind=kind), policy(DoorSettings(mode=mode))), Granted)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (DoorMode.LOCKED, Reason.DOOR_INTERLOCKED),
        (DoorMode.UNLOCKED, Reason.DOOR_INTERLOCKED),
        (DoorMode.BLOCKED, Reason.DOOR_BLOCKED),
        (DoorMode.LOCKED_DOWN, Reason.DOOR_LOCKED_DOWN),
    ],
)
def test_the_mode_is_named_before_the_door_that_must_be_closed(mode: DoorMode, reason: Reason):
    rules = policy(DoorSettings(mode=mode))
    found = decide(holder(), rules, replace(SITUATION, interlocked=True), NOW)
    assert found == Denied(Step.DOOR_MODE, reason, pass_id(), Assurance.ROTATING)


def test_an_emergency_pass_waits_for_the_other_door_too():
    found = decide(holder(kind=PassKind.EMERGENCY), policy(), replace(SITUATION, interlocked=True), NOW)
    assert isinstance(found, Denied)
    assert found.reason is Reason.DOOR_INTERLOCKED


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


def test_nobody_says_when_a_printed_pass_was_shown():
    assert verified(printed()).signed_at_s == 0


# --- 11 assurance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minimum", list(Assurance))
@pytest.mark.parametrize("level", [Assurance.PRINTED, Assurance.ROTATING])
def test_a_credential_must_reach_the_doors_minimum_assurance(minimum: Assurance, level: Assurance):
    credential = holder() if level is Assurance.ROTATING else verified(printed())
    found = outcome(credential, policy(DoorSettings(minimum_assurance=minimum)))
    enough = level >= minimum
    assert isinstance(found, Granted) if enough else found == (Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)


def hours(*demands: tuple[int, Assurance], minimum: Assurance = Assurance.PRINTED) -> PolicyState:
    """Demands by the hour: schedule 1 is active now, 2 is not, 0 always is."""
    rules = policy(
        DoorSettings(minimum_assurance=minimum),
        schedules={1: Schedule((Window(ALL_DAYS, 480, 540),)), 2: Schedule((Window(ALL_DAYS, 540, 600),))},
    )
    return changed(rules, assurance_hours=tuple(AssuranceHours(number, level) for number, level in demands))


@pytest.mark.parametrize(
    ("demands", "minimum", "expected"),
    [
        ([], Assurance.PRINTED, Assurance.PRINTED),
        ([(1, Assurance.ROTATING)], Assurance.PRINTED, Assurance.ROTATING),
        ([(2, Assurance.ROTATING)], Assurance.PRINTED, Assurance.PRINTED),
        ([(ALWAYS, Assurance.ROTATING)], Assurance.PRINTED, Assurance.ROTATING),
        ([(1, Assurance.IDENTIFIER)], Assurance.PRINTED, Assurance.PRINTED),  # no hour asks for less
        ([(ALWAYS, Assurance.ROTATING), (1, Assurance.NONCE_BOUND)], Assurance.PRINTED, Assurance.NONCE_BOUND),
        ([(ALWAYS, Assurance.NONCE_BOUND), (1, Assurance.ROTATING)], Assurance.PRINTED, Assurance.NONCE_BOUND),
        ([(1, Assurance.DYNAMIC_TAG), (2, Assurance.NONCE_BOUND)], Assurance.PRINTED, Assurance.DYNAMIC_TAG),
        ([(1, Assurance.ROTATING)], Assurance.NONCE_BOUND, Assurance.NONCE_BOUND),
    ],
)
def test_the_strongest_demand_of_the_hour_counts(
    demands: list[tuple[int, Assurance]], minimum: Assurance, expected: Assurance
):
    assert minimum_assurance(hours(*demands, minimum=minimum), HERE, ClockState.TRUSTED) is expected


@pytest.mark.parametrize(
    ("minute", "admitted"), [(8 * 60 - 1, True), (8 * 60, False), (9 * 60 - 1, False), (9 * 60, True)]
)
def test_a_demand_holds_for_its_hours(minute: int, *, admitted: bool):
    now = instant(wall_ms=(NOW_S // 86_400 * 86_400 + minute * 60) * 1000)
    found = outcome(verified(printed()), hours((1, Assurance.ROTATING)), now)
    assert isinstance(found, Granted) if admitted else found == (Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)


@pytest.mark.parametrize("clock", list(ClockState))
def test_while_the_time_is_not_known_the_strongest_demand_of_any_hour_counts(clock: ClockState):
    rules = hours((1, Assurance.ROTATING), (2, Assurance.NONCE_BOUND))
    expected = Assurance.NONCE_BOUND if clock is ClockState.SUSPECT else Assurance.ROTATING
    assert minimum_assurance(rules, HERE, clock) is expected


@pytest.mark.parametrize(("clock", "admitted"), [(ClockState.TRUSTED, True), (ClockState.SUSPECT, False)])
def test_a_tap_meets_the_demand_of_any_hour_while_the_time_is_not_known(clock: ClockState, *, admitted: bool):
    found = outcome(verified(printed()), hours((2, Assurance.ROTATING)), instant(clock=clock))
    assert isinstance(found, Granted) if admitted else found == (Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)


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
