"""From the policy that operators write to the one that is signed.

Invariant: what is accepted here a door can read; whatever is refused is named, with what to do.
Must not: know the database.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from enum import IntEnum
from typing import Final

import msgspec

from cloud.errors import CloudError, Reason
from cloud.issuing.policy_models import (
    AreaDocument,
    AssuranceHoursDocument,
    DayWindowDocument,
    ExceptionDocument,
    PassageDocument,
    PolicyDocument,
    ScheduleDocument,
    SettingsDocument,
    WindowDocument,
)
from wire.names import (
    AntiPassbackRule,
    Assurance,
    DoorId,
    DoorMode,
    RelockRule,
    StalenessRule,
    SuspectRule,
    Tenant,
)
from wire.policy import (
    ALL_DAYS,
    ALWAYS,
    MAX_DAY,
    MINUTES_A_DAY,
    Area,
    AssuranceHours,
    Passage,
    PolicyBundle,
    Schedule,
    Window,
)
from wire.settings import DoorSettings

_UNIX_DAY: Final = date(1970, 1, 1)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMED: Final[Mapping[str, type[IntEnum]]] = {
    "mode": DoorMode,
    "minimum_assurance": Assurance,
    "staleness": StalenessRule,
    "suspect": SuspectRule,
    "relock": RelockRule,
    "anti_passback": AntiPassbackRule,
    "pin_below": Assurance,
}
"""The settings that doors know by number; the others stand there as they are."""


def to_bundle(
    document: PolicyDocument, *, tenant: Tenant, door: DoorId, timezone: str, version: int, issued_at_s: int
) -> PolicyBundle:
    """Translate a document to what is signed.

    Raises:
        CloudError: POLICY_INVALID, naming what is wrong.
    """
    _refuse_twice("schedules", [item.id for item in document.schedules])
    _refuse_twice("accessLevels", [item.id for item in document.access_levels])
    _refuse_unknown_schedules(document)
    return PolicyBundle(
        tenant=tenant,
        door=door,
        version=version,
        issued_at_s=issued_at_s,
        timezone=timezone,
        settings=_settings(document.settings),
        levels={item.id: tuple(sorted(set(item.schedules))) for item in document.access_levels},
        schedules={item.id: _schedule(item) for item in document.schedules},
        holidays=frozenset(_day("holidays", day) for day in document.holidays),
        assurance_hours=_assurance_hours(document.assurance_hours),
        passages=_passages(document.passages),
        areas=_areas(document.areas, document.passages),
        locks_out=document.lock_out,
    )


def _refuse_unknown_schedules(document: PolicyDocument) -> None:
    known = {ALWAYS, *(item.id for item in document.schedules)}
    named = [
        *((f"accessLevels: level {item.id}", number) for item in document.access_levels for number in item.schedules),
        *(("assuranceHours: an entry", item.schedule) for item in document.assurance_hours),
        ("settings: unlockSchedule", document.settings.unlock_schedule),
    ]
    for place, number in named:
        if number not in known:
            raise _invalid(f"{place} names schedule {number}, which is not in schedules.")


def _settings(item: SettingsDocument) -> DoorSettings:
    if item.pre_alarm_ms > item.open_time_ms:
        raise _invalid("settings: preAlarmMs may not be longer than openTimeMs.")
    if item.anti_passback == "timed" and not item.anti_passback_s:
        raise _invalid("settings: antiPassback timed needs antiPassbackS, the seconds between two grants.")
    given = msgspec.structs.asdict(item)
    named = {name: kind[given[name].upper()] for name, kind in _NAMED.items()}
    return DoorSettings(**{**given, **named})


def _schedule(item: ScheduleDocument) -> Schedule:
    place = f"schedules: in schedule {item.id}"
    _refuse_twice(f"{place} the exception", [each.date for each in item.exceptions])
    return Schedule(
        tuple(_window(place, window) for window in item.windows),
        tuple(_window(place, window) for window in item.holiday_windows),
        dict(_exception(place, each) for each in item.exceptions),
    )


def _exception(place: str, item: ExceptionDocument) -> tuple[int, tuple[Window, ...]]:
    return _day(place, item.date), tuple(_window(place, window) for window in item.windows)


def _window(place: str, item: WindowDocument | DayWindowDocument) -> Window:
    start, end = _minute(item.start), _minute(item.end)
    if start >= end:
        detail = f"{place} the window {item.start}-{item.end} does not end after its start"
        raise _invalid(f"{detail}; write a window over midnight as two.")
    days = sum(1 << _DAYS.index(day) for day in set(item.days)) if isinstance(item, WindowDocument) else ALL_DAYS
    return Window(days, start, end)


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return min(int(hours) * 60 + int(minutes), MINUTES_A_DAY)


def _day(place: str, day: date) -> int:
    number = (day - _UNIX_DAY).days
    if not 0 <= number <= MAX_DAY:
        raise _invalid(f"{place}: {day} is before 1970 or after 2243-10-17.")
    return number


def _assurance_hours(items: list[AssuranceHoursDocument]) -> tuple[AssuranceHours, ...]:
    _refuse_twice("assuranceHours: schedule", [item.schedule for item in items])
    ordered = sorted(items, key=lambda item: item.schedule)
    return tuple(AssuranceHours(item.schedule, Assurance[item.assurance.upper()]) for item in ordered)


def _passages(items: list[PassageDocument]) -> dict[str, Passage]:
    _refuse_twice("passages: reader", [item.reader for item in items])
    for item in items:
        if item.out_of == item.into:
            raise _invalid(f"passages: reader {item.reader} leads back into area {item.into}; leave it out.")
    return {item.reader: Passage(item.out_of, item.into) for item in items}


def _areas(items: list[AreaDocument], passages: list[PassageDocument]) -> dict[int, Area]:
    _refuse_twice("areas", [item.id for item in items])
    joined = {area for each in passages for area in (each.out_of, each.into)}
    for item in items:
        if item.id not in joined:
            raise _invalid(f"areas: no passage leads into or out of area {item.id}; add one, or leave the area out.")
        if 0 < item.limit < item.warning:
            raise _invalid(f"areas: the warning of area {item.id} may not be beyond its limit.")
    return {item.id: Area(item.limit, item.warning) for item in items}


def _refuse_twice(place: str, members: Iterable[int | str | date]) -> None:
    seen: set[int | str | date] = set()
    for each in members:
        if each in seen:
            raise _invalid(f"{place}: {each} stands there twice.")
        seen.add(each)


def _invalid(detail: str) -> CloudError:
    return CloudError(Reason.POLICY_INVALID, detail)
