"""The policy bundle of one door: settings, access levels, schedules, areas (docs/spec/policy.md).

Invariant: an empty rule list admits nobody; a schedule that is named exists, an area that is limited is led to.
Must not: evaluate a schedule; that needs a clock and a time zone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from wire.codec import Fields, Value, array, decode, encode, member, text, uint
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import PublicKey, Signer
from wire.names import Assurance, DoorId, DoorMode, ExternalAad, Tenant
from wire.passes import MAX_ACCESS_LEVEL, MAX_TENANT_CHARACTERS, slug
from wire.settings import DoorSettings, parse_settings, settings_value

MAX_POLICY_BYTES: Final = 512 * 1024
MAX_LEVELS: Final = 4096
MAX_SCHEDULES: Final = 1024
MAX_WINDOWS: Final = 64
MAX_HOLIDAYS: Final = 512
MAX_EXCEPTIONS: Final = 128
MAX_DAY: Final = 100_000
"""In the year 2243."""
MAX_ASSURANCE_HOURS: Final = 64
MAX_AREA: Final = 0xFFFF
MAX_PASSAGES: Final = 16
"""Twice the readers that a controller takes."""
MAX_AREAS: Final = 2 * MAX_PASSAGES
"""As many as that many readers can join."""
MAX_PERSONS: Final = 1_000_000
MINUTES_A_DAY: Final = 1440
ALL_DAYS: Final = 0x7F
ALWAYS: Final = 0
"""Schedule 0 is built in: every minute of every day, holidays included."""
OUTSIDE: Final = 0
"""Area 0 is everywhere that is not counted."""

_MAX_TIMEZONE_CHARACTERS: Final = 64
_DAY_S: Final = 86_400
_FIRST_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday."""
_TIMEZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}")
_ASSURANCES: Final = {int(level): level for level in Assurance}


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly window: bit 0 of `days` is Monday; minutes of the local day, end exclusive, at most 1440."""

    days: int
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an access level admits.

    Attributes:
        windows: the usual week.
        holiday_windows: instead of it on holidays (none: closed then).
        exceptions: instead of both on single days, given as days since 1970-01-01 (none: closed then); their windows
            name ALL_DAYS, as the day stands there already.
    """

    windows: tuple[Window, ...]
    holiday_windows: tuple[Window, ...] = ()
    exceptions: Mapping[int, tuple[Window, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssuranceHours:
    """While a schedule is active, the door asks for at least this assurance."""

    schedule: int
    assurance: Assurance


@dataclass(frozen=True, slots=True)
class Passage:
    """Which area a reader leads out of, and which into; the two differ."""

    out_of: int
    into: int


@dataclass(frozen=True, slots=True)
class Area:
    """How many may be inside, and from how many on a warning is given (not beyond the limit); 0 for neither."""

    limit: int
    warning: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """All rules of one door at one version.

    Attributes:
        timezone: IANA name in which schedules are read.
        levels: access level -> the schedules in any of which it admits here.
        holidays: days as days since 1970-01-01, in local time.
        assurance_hours: stronger demands by the hour, by ascending schedule; the strongest that is active counts.
        passages: reader id -> the areas it joins; a reader that is not named leads nowhere that is counted.
        areas: those whose occupancy is limited; a passage leads into or out of each.
        locks_out: a person ordered that nobody, or nobody of before, is admitted any more (`refuse_lockout`).
    """

    tenant: Tenant
    door: DoorId
    version: int
    issued_at_s: int
    timezone: str = "UTC"
    settings: DoorSettings = field(default_factory=DoorSettings)
    levels: Mapping[int, tuple[int, ...]]
    schedules: Mapping[int, Schedule]
    holidays: frozenset[int] = frozenset()
    assurance_hours: tuple[AssuranceHours, ...] = ()
    passages: Mapping[str, Passage] = field(default_factory=dict)
    areas: Mapping[int, Area] = field(default_factory=dict)
    locks_out: bool = False


def seal_policy(bundle: PolicyBundle, signer: Signer) -> bytes:
    """Sign a policy bundle and check that it reads back.

    Raises:
        WireError: when the bundle breaks a rule of the format.
    """
    claims: dict[int | str, Value] = {
        1: str(bundle.tenant),
        2: str(bundle.door),
        3: bundle.version,
        4: bundle.issued_at_s,
        5: bundle.timezone,
        6: settings_value(bundle.settings),
        7: {level: list(ids) for level, ids in bundle.levels.items()},
        8: {number: _schedule_value(item) for number, item in bundle.schedules.items()},
        9: [*sorted(bundle.holidays)],
        10: [[each.schedule, int(each.assurance)] for each in bundle.assurance_hours],
        11: {reader: [each.out_of, each.into] for reader, each in bundle.passages.items()},
        12: {number: [each.limit, each.warning] for number, each in bundle.areas.items()},
        13: bundle.locks_out,
    }
    payload = encode(claims, field="policy")
    _parse_bundle(payload)
    return seal(payload, signer, ExternalAad.POLICY)


def _schedule_value(item: Schedule) -> list[Value]:
    exceptions: dict[int | str, Value] = {day: _windows_value(windows) for day, windows in item.exceptions.items()}
    return [_windows_value(item.windows), _windows_value(item.holiday_windows), exceptions]


def _windows_value(windows: tuple[Window, ...]) -> list[Value]:
    return [[item.days, item.start_minute, item.end_minute] for item in windows]


def open_policy(data: bytes, key: PublicKey) -> PolicyBundle:
    """Verify and read a policy bundle.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the key did not sign it, or a fault of form.
    """
    envelope = parse_envelope(data, field="policy", max_bytes=MAX_POLICY_BYTES)
    check_signed_by(envelope, key, ExternalAad.POLICY, "policy")
    return _parse_bundle(envelope.payload)


def unverified_policy(data: bytes) -> PolicyBundle:
    """Read a policy bundle without knowing who signed it: to show what it says, never to decide by it.

    Raises:
        WireError: for a fault of form.
    """
    return _parse_bundle(parse_envelope(data, field="policy", max_bytes=MAX_POLICY_BYTES).payload)


def refuse_lockout(bundle: PolicyBundle, held: PolicyBundle | None) -> None:
    """Refuse a bundle that shuts everybody out without saying that a person ordered it.

    Shut out is everybody when nobody is admitted at any time after the bundle's issue, or when no level that admits
    under the bundle held still does: nobody who came in yesterday comes in tomorrow. The second is judged from one
    version to the next only: who missed one cannot tell what was ordered in it, and the cloud has judged each
    (docs/spec/policy.md, rules 13 to 15).

    Args:
        bundle: the newer one.
        held: the one in force, None for a new door.

    Raises:
        WireError: LOCKS_OUT; the one held stays in force.
    """
    if bundle.locks_out or bundle.settings.mode is DoorMode.UNLOCKED:
        return
    since = bundle.issued_at_s // _DAY_S - 1  # what came before is over everywhere: no zone is a day behind UTC
    admitting = _admitting(bundle, since)
    if not admitting and not _unlocks(bundle, since):
        raise WireError(WireReason.LOCKS_OUT, "policy")
    before = _admitting(held, since) if held is not None and bundle.version <= held.version + 1 else set()
    if before and not admitting & before:
        raise WireError(WireReason.LOCKS_OUT, "policy.levels")


def _admitting(bundle: PolicyBundle, since: int) -> set[int]:
    """Give the levels that admit at any time from a day on."""
    if bundle.settings.mode in (DoorMode.BLOCKED, DoorMode.LOCKED_DOWN):
        return set()
    active = _ever_active(bundle, since)
    return {level for level, ids in bundle.levels.items() if active.intersection(ids)}


def _unlocks(bundle: PolicyBundle, since: int) -> bool:
    """Tell whether the door ever rests unlocked of itself, so that nobody needs a level."""
    settings = bundle.settings
    usual = settings.mode is DoorMode.LOCKED and not settings.first_person_in
    return usual and settings.unlock_schedule in _ever_active(bundle, since) - {ALWAYS}


def _ever_active(bundle: PolicyBundle, since: int) -> set[int]:
    """Give the schedules that are active at any time from a day on."""
    found = {number for number, schedule in bundle.schedules.items() if _comes(schedule, bundle.holidays, since)}
    return {ALWAYS, *found}


def _comes(schedule: Schedule, holidays: frozenset[int], since: int) -> bool:
    if schedule.windows:  # a week comes again, whatever single days say
        return True
    weekdays = {(day + _FIRST_WEEKDAY) % 7 for day in holidays if day >= since and day not in schedule.exceptions}
    bits = sum(1 << weekday for weekday in weekdays)
    on_holidays = any(window.days & bits for window in schedule.holiday_windows)
    return on_holidays or any(windows for day, windows in schedule.exceptions.items() if day >= since)


def _parse_bundle(payload: bytes) -> PolicyBundle:
    fields = Fields(decode(payload, field="policy", max_bytes=MAX_POLICY_BYTES), "policy")
    bundle = PolicyBundle(
        tenant=Tenant(slug(fields.text(1, "tenant", MAX_TENANT_CHARACTERS), "policy.tenant")),
        door=DoorId(slug(fields.text(2, "door", MAX_TENANT_CHARACTERS), "policy.door")),
        version=fields.uint(3, "version"),
        issued_at_s=fields.time(4, "iat"),
        timezone=_parse_timezone(fields.text(5, "timezone", _MAX_TIMEZONE_CHARACTERS)),
        settings=parse_settings(fields.value(6, "settings")),
        levels=_parse_levels(fields.value(7, "levels")),
        schedules=_parse_schedules(fields.value(8, "schedules")),
        holidays=_parse_holidays(fields.array(9, "holidays", MAX_HOLIDAYS)),
        assurance_hours=_parse_assurance_hours(fields.array(10, "assurance_hours", MAX_ASSURANCE_HOURS)),
        passages=_parse_passages(fields.value(11, "passages")),
        areas=_parse_areas(fields.value(12, "areas")),
        locks_out=fields.flag(13, "locks_out"),
    )
    fields.close()
    _check_named(bundle)
    return bundle


def _check_named(bundle: PolicyBundle) -> None:
    """Refuse a schedule that is named and not there, and a limit of an area that nobody enters or leaves here."""
    known = {ALWAYS, *bundle.schedules}
    if any(number not in known for ids in bundle.levels.values() for number in ids):
        raise WireError(WireReason.UNKNOWN_VALUE, "policy.levels")
    if any(each.schedule not in known for each in bundle.assurance_hours):
        raise WireError(WireReason.UNKNOWN_VALUE, "policy.assurance_hours")
    if bundle.settings.unlock_schedule not in known:
        raise WireError(WireReason.UNKNOWN_VALUE, "policy.settings.unlock_schedule")
    joined = {area for each in bundle.passages.values() for area in (each.out_of, each.into)}
    if not joined.issuperset(bundle.areas):
        raise WireError(WireReason.UNKNOWN_VALUE, "policy.areas")


def _parse_timezone(name: str) -> str:
    if _TIMEZONE.fullmatch(name) is None:  # no "..", no leading "/": the name is looked up as a path
        raise WireError(WireReason.WRONG_ALPHABET, "policy.timezone")
    return name


def _numbered(value: Value, name: str, maximum: int) -> dict[int, Value]:
    if type(value) is not dict:
        raise WireError(WireReason.WRONG_TYPE, name)
    if len(value) > maximum:
        raise WireError(WireReason.OUT_OF_RANGE, name)
    return {uint(key, name, MAX_ACCESS_LEVEL): item for key, item in value.items()}


def _parse_levels(value: Value) -> dict[int, tuple[int, ...]]:
    name = "policy.levels"
    return {
        level: tuple(uint(number, name, MAX_ACCESS_LEVEL) for number in array(ids, name, MAX_WINDOWS))
        for level, ids in _numbered(value, name, MAX_LEVELS).items()
    }


def _parse_schedules(value: Value) -> dict[int, Schedule]:
    name = "policy.schedules"
    found: dict[int, Schedule] = {}
    for number, item in _numbered(value, name, MAX_SCHEDULES).items():
        usual, holiday, exceptions = _parts(item, name, 3)
        if number == ALWAYS:
            raise WireError(WireReason.OUT_OF_RANGE, name)
        found[number] = Schedule(_parse_windows(usual), _parse_windows(holiday), _parse_exceptions(exceptions))
    return found


def _parts(value: Value, name: str, count: int) -> list[Value]:
    """Read an array of exactly so many."""
    parts = array(value, name, count)
    if len(parts) != count:
        raise WireError(WireReason.MISSING_FIELD, name)
    return parts


def _parse_exceptions(value: Value) -> dict[int, tuple[Window, ...]]:
    name = "policy.schedules.exceptions"
    if type(value) is not dict:
        raise WireError(WireReason.WRONG_TYPE, name)
    if len(value) > MAX_EXCEPTIONS:
        raise WireError(WireReason.OUT_OF_RANGE, name)
    found = {uint(day, name, MAX_DAY): _parse_windows(windows) for day, windows in value.items()}
    if any(window.days != ALL_DAYS for windows in found.values() for window in windows):
        raise WireError(WireReason.OUT_OF_RANGE, name)
    return found


def _parse_windows(value: Value) -> tuple[Window, ...]:
    return tuple(_parse_window(item) for item in array(value, "policy.schedules.windows", MAX_WINDOWS))


def _parse_window(value: Value) -> Window:
    name = "policy.schedules.window"
    days, start, end = _parts(value, name, 3)
    window = Window(uint(days, name, ALL_DAYS), uint(start, name), uint(end, name, MINUTES_A_DAY))
    if not window.days or window.start_minute >= window.end_minute:
        raise WireError(WireReason.OUT_OF_RANGE, name)
    return window


def _parse_holidays(items: list[Value]) -> frozenset[int]:
    days = [uint(item, "policy.holidays", MAX_DAY) for item in items]
    if days != sorted(set(days)):
        raise WireError(WireReason.NOT_CANONICAL, "policy.holidays")
    return frozenset(days)


def _parse_assurance_hours(items: list[Value]) -> tuple[AssuranceHours, ...]:
    name = "policy.assurance_hours"
    pairs = [_parts(item, name, 2) for item in items]
    hours = tuple(
        AssuranceHours(uint(schedule, name, MAX_ACCESS_LEVEL), member(assurance, name, _ASSURANCES))
        for schedule, assurance in pairs
    )
    if any(earlier.schedule >= later.schedule for earlier, later in pairwise(hours)):
        raise WireError(WireReason.NOT_CANONICAL, name)
    return hours


def _parse_passages(value: Value) -> dict[str, Passage]:
    name = "policy.passages"
    if type(value) is not dict:
        raise WireError(WireReason.WRONG_TYPE, name)
    if len(value) > MAX_PASSAGES:
        raise WireError(WireReason.OUT_OF_RANGE, name)
    return {slug(text(key, name, MAX_TENANT_CHARACTERS), name): _parse_passage(item) for key, item in value.items()}


def _parse_passage(value: Value) -> Passage:
    name = "policy.passages"
    out_of, into = _parts(value, name, 2)
    passage = Passage(uint(out_of, name, MAX_AREA), uint(into, name, MAX_AREA))
    if passage.out_of == passage.into:
        raise WireError(WireReason.OUT_OF_RANGE, name)
    return passage


def _parse_areas(value: Value) -> dict[int, Area]:
    name = "policy.areas"
    found: dict[int, Area] = {}
    for number, item in _numbered(value, name, MAX_AREAS).items():
        limit, warning = _parts(item, name, 2)
        area = Area(uint(limit, name, MAX_PERSONS), uint(warning, name, MAX_PERSONS))
        if number == OUTSIDE or 0 < area.limit < area.warning:
            raise WireError(WireReason.OUT_OF_RANGE, name)
        found[number] = area
    return found
