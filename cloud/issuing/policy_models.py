"""The policy of a door as operators write it (docs/spec/policy.md is what the door reads).

Invariant: members that a door knows by number have the names of `wire.names` in lower case, and the same defaults.
Must not: judge how members belong together; `cloud.issuing.policy_bundle` does.
"""

from datetime import date
from typing import Annotated, Literal

import msgspec

from wire.codec import MAX_TIME_S
from wire.policy import (
    MAX_AREA,
    MAX_AREAS,
    MAX_ASSURANCE_HOURS,
    MAX_EXCEPTIONS,
    MAX_HOLIDAYS,
    MAX_LEVELS,
    MAX_PASSAGES,
    MAX_PERSONS,
    MAX_SCHEDULES,
    MAX_WINDOWS,
)
from wire.settings import MAX_AGE_S, MAX_COUNT, MAX_ESCORTS, MAX_MS

_Number = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
_SomeMs = Annotated[int, msgspec.Meta(ge=1, le=MAX_MS)]
_AgeS = Annotated[int, msgspec.Meta(ge=0, le=MAX_AGE_S)]
_Area = Annotated[int, msgspec.Meta(ge=0, le=MAX_AREA)]
_Persons = Annotated[int, msgspec.Meta(ge=0, le=MAX_PERSONS)]
_Time = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", examples=["08:00"])]
_Reader = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,32}$", examples=["entry"])]
_Assurance = Literal["identifier", "printed", "dynamic_tag", "rotating", "nonce_bound"]


class SettingsDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How a door behaves; what is left out has the default of docs/behaviour.md."""

    mode: Literal["locked", "unlocked", "blocked", "locked_down"] = "locked"
    minimum_assurance: _Assurance = "rotating"
    max_revocation_age_s: _AgeS = 86_400
    staleness: Literal["deny", "recently_issued", "nonce_bound_only"] = "deny"
    recently_issued_s: _AgeS = 14_400
    suspect: Literal["deny", "ignore_schedules", "always_levels_only"] = "deny"
    release_time_ms: _SomeMs = 5_000
    extended_release_time_ms: _Ms = 15_000
    open_time_ms: _Ms = 30_000
    pre_alarm_ms: _Ms = 10_000
    relock: Literal["after_release_time", "on_open", "on_close"] = "on_close"
    unlock_schedule: _Number = 0
    first_person_in: bool = False
    double_tap_ms: _Ms = 0
    maintenance: bool = False
    interlock: bool = False
    lock_time_ms: _Ms = 0
    anti_passback: Literal["off", "alert", "enforce", "timed"] = "off"
    anti_passback_s: _AgeS = 0
    forget_presence_before_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_S)] = 0
    two_person: bool = False
    escorts: Annotated[int, msgspec.Meta(ge=0, le=MAX_ESCORTS)] = 1
    companion_ms: _SomeMs = 30_000
    pin_below: _Assurance = "identifier"
    pin_attempts: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 3
    pin_block_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_AGE_S)] = 300
    printed_uses: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)] = 0


class DayWindowDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of one day in the institution's time zone, from `start` until before `end` ("24:00" is midnight)."""

    start: _Time
    end: _Time


class WindowDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The same part of these days of every week."""

    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], msgspec.Meta(min_length=1)]
    start: _Time
    end: _Time


_Windows = Annotated[list[WindowDocument], msgspec.Meta(max_length=MAX_WINDOWS)]


class ExceptionDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A single day with windows of its own, or none: closed then."""

    date: date
    windows: Annotated[list[DayWindowDocument], msgspec.Meta(max_length=MAX_WINDOWS)] = []


class ScheduleDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When an access level admits. Schedule 0 is built in: always. An exception beats a holiday, a holiday the week."""

    id: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
    windows: _Windows
    holiday_windows: _Windows = []
    exceptions: Annotated[list[ExceptionDocument], msgspec.Meta(max_length=MAX_EXCEPTIONS)] = []


class LevelDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An access level and the schedules in any of which it admits here."""

    id: _Number
    schedules: Annotated[list[_Number], msgspec.Meta(max_length=MAX_WINDOWS)]


class AssuranceHoursDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """While the schedule is active, the door asks for at least this assurance."""

    schedule: _Number
    assurance: _Assurance


class PassageDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which area a reader leads out of, and which into. Area 0 is everywhere that is not counted."""

    reader: _Reader
    out_of: _Area
    into: _Area


class AreaDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How many may be inside, and from how many on a warning is given; 0 for neither."""

    id: Annotated[int, msgspec.Meta(ge=1, le=MAX_AREA)]
    limit: _Persons = 0
    warning: _Persons = 0


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """All rules of one door. Without access levels nobody is admitted.

    `lockOut` confirms that nobody, or nobody of before, is to be admitted any more. It counts for the request that it
    stands in and is not kept.
    """

    settings: SettingsDocument = SettingsDocument()
    access_levels: Annotated[list[LevelDocument], msgspec.Meta(max_length=MAX_LEVELS)] = []
    schedules: Annotated[list[ScheduleDocument], msgspec.Meta(max_length=MAX_SCHEDULES)] = []
    holidays: Annotated[list[date], msgspec.Meta(max_length=MAX_HOLIDAYS)] = []
    assurance_hours: Annotated[list[AssuranceHoursDocument], msgspec.Meta(max_length=MAX_ASSURANCE_HOURS)] = []
    passages: Annotated[list[PassageDocument], msgspec.Meta(max_length=MAX_PASSAGES)] = []
    areas: Annotated[list[AreaDocument], msgspec.Meta(max_length=MAX_AREAS)] = []
    lock_out: bool = False


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The version under which doors know a policy."""

    version: int


class StoredPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A door's policy as it is in force."""

    version: int
    policy: PolicyDocument
