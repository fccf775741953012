"""The policy of a door as operators write it (docs/spec/policy.md is what the door reads).

Invariant: what is accepted here can be sealed; names are those of `wire.names` in lower case.
Must not: know the database.
"""

from collections.abc import Iterable
from datetime import date
from enum import IntEnum
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from cloud.errors import CloudError, Reason
from wire.names import Assurance, DoorId, DoorMode, RelockRule, StalenessRule, SuspectRule, Tenant
from wire.policy import (
    MAX_HOLIDAYS,
    MAX_LEVELS,
    MAX_SCHEDULES,
    MAX_WINDOWS,
    MINUTES_A_DAY,
    PolicyBundle,
    Schedule,
    Window,
)
from wire.settings import DoorSettings

_UNIX_DAY: Final = date(1970, 1, 1)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_Number = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]
_AgeS = Annotated[int, msgspec.Meta(ge=0, le=90 * 86_400)]
_Time = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", examples=["08:00"])]
_E = TypeVar("_E", bound=IntEnum)


class SettingsDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How a door behaves; what is left out has the default of docs/behaviour.md."""

    mode: Literal["locked", "unlocked", "blocked", "locked_down"] = "locked"
    minimum_assurance: Literal["identifier", "printed", "dynamic_tag", "rotating", "nonce_bound"] = "rotating"
    max_revocation_age_s: _AgeS = 86_400
    staleness: Literal["deny", "recently_issued", "nonce_bound_only"] = "deny"
    recently_issued_s: _AgeS = 14_400
    suspect: Literal["deny", "ignore_schedules", "always_levels_only"] = "deny"
    release_time_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)] = 5_000
    extended_release_time_ms: _Ms = 15_000
    open_time_ms: _Ms = 30_000
    pre_alarm_ms: _Ms = 10_000
    relock: Literal["after_release_time", "on_open", "on_close"] = "on_close"


class WindowDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A weekly window in the institution's time zone, from `start` until before `end` ("24:00" is midnight)."""

    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], msgspec.Meta(min_length=1)]
    start: _Time
    end: _Time


_Windows = Annotated[list[WindowDocument], msgspec.Meta(max_length=MAX_WINDOWS)]


class ScheduleDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When an access level admits. Schedule 0 is built in: always."""

    id: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
    windows: _Windows
    holiday_windows: _Windows = []


class LevelDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An access level and the schedules in any of which it admits here."""

    id: _Number
    schedules: Annotated[list[_Number], msgspec.Meta(max_length=MAX_WINDOWS)]


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """All rules of one door. Without access levels nobody is admitted."""

    settings: SettingsDocument = SettingsDocument()
    access_levels: Annotated[list[LevelDocument], msgspec.Meta(max_length=MAX_LEVELS)] = []
    schedules: Annotated[list[ScheduleDocument], msgspec.Meta(max_length=MAX_SCHEDULES)] = []
    holidays: Annotated[list[date], msgspec.Meta(max_length=MAX_HOLIDAYS)] = []


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The version under which doors know a policy."""

    version: int


class StoredPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A door's policy as it is in force."""

    version: int
    policy: PolicyDocument


def to_bundle(
    document: PolicyDocument, *, tenant: Tenant, door: DoorId, timezone: str, version: int, issued_at_s: int
) -> PolicyBundle:
    """Translate a document to what is signed.

    Raises:
        CloudError: POLICY_INVALID, naming what is wrong.
    """
    schedules = {item.id: _schedule(item) for item in document.schedules}
    levels = {item.id: tuple(sorted(set(item.schedules))) for item in document.access_levels}
    _refuse_twice("schedules", [item.id for item in document.schedules])
    _refuse_twice("accessLevels", [item.id for item in document.access_levels])
    for level, ids in levels.items():
        missing = [number for number in ids if number and number not in schedules]
        if missing:
            raise _invalid(f"accessLevels: level {level} names schedule {missing[0]}, which is not in schedules.")
    if document.settings.pre_alarm_ms > document.settings.open_time_ms:
        raise _invalid("settings: preAlarmMs may not be longer than openTimeMs.")
    return PolicyBundle(
        tenant=tenant,
        door=door,
        version=version,
        issued_at_s=issued_at_s,
        timezone=timezone,
        settings=_settings(document.settings),
        levels=levels,
        schedules=schedules,
        holidays=frozenset(_holiday(day) for day in document.holidays),
    )


def _settings(item: SettingsDocument) -> DoorSettings:
    return DoorSettings(
        mode=_named(DoorMode, item.mode),
        minimum_assurance=_named(Assurance, item.minimum_assurance),
        max_revocation_age_s=item.max_revocation_age_s,
        staleness=_named(StalenessRule, item.staleness),
        recently_issued_s=item.recently_issued_s,
        suspect=_named(SuspectRule, item.suspect),
        release_time_ms=item.release_time_ms,
        extended_release_time_ms=item.extended_release_time_ms,
        open_time_ms=item.open_time_ms,
        pre_alarm_ms=item.pre_alarm_ms,
        relock=_named(RelockRule, item.relock),
    )


def _named(kind: type[_E], name: str) -> _E:
    return kind[name.upper()]


def _schedule(item: ScheduleDocument) -> Schedule:
    return Schedule(
        tuple(_window(item.id, window) for window in item.windows),
        tuple(_window(item.id, window) for window in item.holiday_windows),
    )


def _window(schedule: int, item: WindowDocument) -> Window:
    start, end = _minute(item.start), _minute(item.end)
    if start >= end:
        detail = f"schedules: in schedule {schedule} the window {item.start}-{item.end} does not end after its start"
        raise _invalid(f"{detail}; write a window over midnight as two.")
    return Window(sum(1 << _DAYS.index(day) for day in set(item.days)), start, end)


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return min(int(hours) * 60 + int(minutes), MINUTES_A_DAY)


def _holiday(day: date) -> int:
    if day < _UNIX_DAY:
        raise _invalid(f"holidays: {day} is before 1970.")
    return (day - _UNIX_DAY).days


def _refuse_twice(field: str, numbers: Iterable[int]) -> None:
    seen: set[int] = set()
    for number in numbers:
        if number in seen:
            raise _invalid(f"{field}: {number} stands there twice.")
        seen.add(number)


def _invalid(detail: str) -> CloudError:
    return CloudError(Reason.POLICY_INVALID, detail)
