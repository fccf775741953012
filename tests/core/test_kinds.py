"""The five kinds of pass at doors of every sort; bookings; levels by schedules by doors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from edge.core.effects import Feedback, Show
from edge.core.policy import PolicyState
from edge.core.tap import State, handle
from tests.core.campus import (
    NOW,
    NOW_S,
    READER,
    changed,
    code,
    commits,
    door,
    instant,
    issue,
    policy,
    present,
    printed,
    refusals,
    shown,
    status,
    tap,
    trust,
    under,
)
from tests.core.people import TWO
from wire.names import Assurance, DoorId, DoorMode, PassKind, Reason, Step
from wire.policy import ALL_DAYS, ALWAYS, Schedule, Window
from wire.settings import DoorSettings

USUAL = {PassKind.STANDARD, PassKind.TEMPORARY, PassKind.STAFF}
LOCKED_DOWN = (Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN)
NOT_NOW = (Step.ACCESS, Reason.NOT_PERMITTED_AT_THIS_TIME)
UNAUTHORIZED = (Step.ACCESS, Reason.UNAUTHORIZED)


@pytest.mark.parametrize("kind", list(PassKind))
@pytest.mark.parametrize(
    ("settings", "passes", "waits"),
    [
        (DoorSettings(), USUAL | {PassKind.EMERGENCY}, {PassKind.VISITOR}),
        (DoorSettings(escorts=0), set(PassKind), set[PassKind]()),
        (TWO, {PassKind.EMERGENCY}, set(PassKind) - {PassKind.EMERGENCY}),
        (DoorSettings(mode=DoorMode.LOCKED_DOWN), {PassKind.EMERGENCY}, set[PassKind]()),
        (DoorSettings(mode=DoorMode.BLOCKED), set[PassKind](), set[PassKind]()),
    ],
    ids=["usual", "no-escorts", "two-person", "locked-down", "blocked"],
)
def test_each_kind_passes_waits_or_is_refused(
    kind: PassKind, settings: DoorSettings, passes: set[PassKind], waits: set[PassKind]
):
    _, effects = handle(door(settings), tap(code(kind=kind)), NOW)
    assert bool(commits(effects)) is (kind in passes)
    assert (Show(READER, Feedback.NEXT_PERSON) in shown(effects)) is (kind in waits)
    assert bool(refusals(effects)) is (kind not in passes | waits)


@pytest.mark.parametrize("kind", list(PassKind))
@pytest.mark.parametrize("rotating", [True, False])
def test_each_kind_may_be_on_a_phone_or_on_paper(kind: PassKind, *, rotating: bool):
    payload = code(kind=kind) if rotating else printed(kind=kind)
    _, effects = handle(door(DoorSettings(minimum_assurance=Assurance.PRINTED, escorts=0)), tap(payload), NOW)
    assert commits(effects)[0].grant.assurance is (Assurance.ROTATING if rotating else Assurance.PRINTED)


# --- bookings --------------------------------------------------------------------------------------------------

ROOM = 301


def booked(signed_at_s: int | None = NOW_S) -> bytes:
    """A booking of the room for an hour from now, as a phone shows it; None for one on paper."""
    make = printed if signed_at_s is None else issue
    made = make(
        kind=PassKind.TEMPORARY,
        access_levels=(ROOM,),
        issued_at_s=NOW_S - 86_400,
        not_before_s=NOW_S,
        expires_at_s=NOW_S + 3600,
    )
    return made if signed_at_s is None else present(made, signed_at_s=signed_at_s)


def room(level: int = ROOM) -> State:
    """The door of a room: a level of its own, always."""
    return under(policy(DoorSettings(minimum_assurance=Assurance.PRINTED), levels={level: (ALWAYS,)}))


@pytest.mark.parametrize(
    ("at_s", "refused"),
    [
        (-1, [(Step.VALIDITY, Reason.CREDENTIAL_NOT_ACTIVE)]),
        (0, []),
        (3599, []),
        (3600, [(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED)]),
    ],
)
@pytest.mark.parametrize("rotating", [True, False])
def test_a_booking_opens_its_room_in_its_time(at_s: int, refused: list[tuple[Step, Reason]], *, rotating: bool):
    payload = booked(NOW_S + at_s if rotating else None)
    _, effects = handle(room(), tap(payload), instant(at_s * 1000))
    assert refusals(effects) == refused
    assert bool(commits(effects)) is not bool(refused)


def test_a_booking_opens_no_other_room():
    _, effects = handle(room(302), tap(booked()), NOW)
    assert refusals(effects) == [UNAUTHORIZED]


def test_a_booking_that_was_cancelled_is_revoked():
    state = replace(room(), trust=trust(lists={0: status(42)}))
    _, effects = handle(state, tap(booked()), NOW)
    assert refusals(effects) == [(Step.REVOCATION, Reason.REVOKED)]


# --- levels by schedules by doors ------------------------------------------------------------------------------

STAFF_LEVEL, STUDENT_LEVEL, CLEANER_LEVEL = 3, 7, 9
DAY, NIGHT, HOLIDAYS_ONLY = 1, 2, 3
SCHEDULES = {
    DAY: Schedule((Window(ALL_DAYS, 480, 1080),)),
    NIGHT: Schedule((Window(ALL_DAYS, 0, 300), Window(ALL_DAYS, 1320, 1440))),
    HOLIDAYS_ONLY: Schedule((), (Window(ALL_DAYS, 0, 1440),)),
}
DOORS: dict[str, dict[int, tuple[int, ...]]] = {
    "front": {STAFF_LEVEL: (ALWAYS,), STUDENT_LEVEL: (DAY,), CLEANER_LEVEL: (NIGHT, HOLIDAYS_ONLY)},
    "laboratory": {STAFF_LEVEL: (DAY, NIGHT)},
    "archive": {STAFF_LEVEL: ()},
}
HOURS = [0, 4, 5, 8, 12, 18, 22]
THURSDAY, HOLIDAY = 9, 10
"""Days of October 2025."""


def admitted(name: str, level: int, hour: int, *, holiday: bool) -> bool:
    """What the table above says, in words of its own."""
    day, night = 8 <= hour < 18, hour < 5 or hour >= 22
    open_ = {ALWAYS: True, DAY: day and not holiday, NIGHT: night and not holiday, HOLIDAYS_ONLY: holiday}
    return any(open_[schedule] for schedule in DOORS[name].get(level, ()))


def rules_of(name: str) -> PolicyState:
    rules = policy(levels=DOORS[name], schedules=SCHEDULES, holidays=[_day(HOLIDAY)])
    return changed(rules, door=DoorId(name))


def _day(day: int) -> int:
    return (datetime(2025, 10, day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


@pytest.mark.parametrize("name", list(DOORS))
@pytest.mark.parametrize("level", [STAFF_LEVEL, STUDENT_LEVEL, CLEANER_LEVEL])
def test_a_level_admits_at_its_doors_in_its_hours(name: str, level: int):
    for hour, day in product(HOURS, [THURSDAY, HOLIDAY]):
        at_s = round(datetime(2025, 10, day, hour, tzinfo=UTC).timestamp())
        payload = present(issue(access_levels=(level,), issued_at_s=at_s - 60), signed_at_s=at_s)
        held = trust(lists={0: status(issued_at_s=at_s - 60)})
        state = replace(under(rules_of(name)), trust=held)
        _, effects = handle(state, tap(payload), instant(wall_ms=at_s * 1000))
        expected = admitted(name, level, hour, holiday=day == HOLIDAY)
        unknown = level not in DOORS[name]
        assert refusals(effects) == ([] if expected else [UNAUTHORIZED if unknown else NOT_NOW]), (hour, day)


def test_the_table_of_doors_has_both_answers_for_each_level_somewhere():
    for level in (STAFF_LEVEL, STUDENT_LEVEL, CLEANER_LEVEL):
        answers = {admitted(name, level, hour, holiday=h) for name, hour, h in product(DOORS, HOURS, [False, True])}
        assert answers == {True, False}
