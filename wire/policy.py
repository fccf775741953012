"""The policy bundle of one door: settings, access levels, schedules (docs/spec/policy.md).

Invariant: an empty rule list admits nobody; a level or schedule that is named exists.
Must not: evaluate a schedule; that needs a clock and a time zone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from wire.codec import Fields, Value, array, decode, encode, uint
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import PublicKey, Signer
from wire.names import (
    Assurance,
    DoorId,
    DoorMode,
    ExternalAad,
    RelockRule,
    StalenessRule,
    SuspectRule,
    Tenant,
)
from wire.passes import MAX_ACCESS_LEVEL, MAX_TENANT_CHARACTERS, slug

MAX_POLICY_BYTES: Final = 512 * 1024
MAX_LEVELS: Final = 4096
MAX_SCHEDULES: Final = 1024
MAX_WINDOWS: Final = 64
MAX_HOLIDAYS: Final = 512
MINUTES_A_DAY: Final = 1440
ALL_DAYS: Final = 0x7F
ALWAYS: Final = 0
"""Schedule 0 is built in: every minute of every day, holidays included."""

_MAX_TIMEZONE_CHARACTERS: Final = 64
_MAX_MS: Final = 3_600_000
_MAX_AGE_S: Final = 90 * 86_400
_MAX_DAY: Final = 100_000
_TIMEZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}")
_MODES: Final = {int(mode): mode for mode in DoorMode}
_ASSURANCES: Final = {int(level): level for level in Assurance}
_STALENESS_RULES: Final = {int(rule): rule for rule in StalenessRule}
_SUSPECT_RULES: Final = {int(rule): rule for rule in SuspectRule}
_RELOCK_RULES: Final = {int(rule): rule for rule in RelockRule}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """How one door behaves (docs/behaviour.md); times in milliseconds unless the name says otherwise."""

    mode: DoorMode = DoorMode.LOCKED
    minimum_assurance: Assurance = Assurance.ROTATING
    max_revocation_age_s: int = 86_400
    staleness: StalenessRule = StalenessRule.DENY
    recently_issued_s: int = 14_400
    suspect: SuspectRule = SuspectRule.DENY
    release_time_ms: int = 5_000
    extended_release_time_ms: int = 15_000
    open_time_ms: int = 30_000
    pre_alarm_ms: int = 10_000
    relock: RelockRule = RelockRule.ON_CLOSE


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly window: bit 0 of `days` is Monday; minutes of the local day, end exclusive, at most 1440."""

    days: int
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an access level admits: weekly windows, and other ones on holidays (none: closed on holidays)."""

    windows: tuple[Window, ...]
    holiday_windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """All rules of one door at one version.

    Attributes:
        timezone: IANA name in which schedules are read.
        levels: access level -> the schedules in any of which it admits here.
        holidays: days as days since 1970-01-01, in local time.
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
        6: _settings_value(bundle.settings),
        7: {level: list(ids) for level, ids in bundle.levels.items()},
        8: {number: _schedule_value(item) for number, item in bundle.schedules.items()},
        9: [*sorted(bundle.holidays)],
    }
    payload = encode(claims, field="policy")
    _parse_bundle(payload)
    return seal(payload, signer, ExternalAad.POLICY)


def _settings_value(item: DoorSettings) -> dict[int | str, Value]:
    return {
        1: int(item.mode),
        2: int(item.minimum_assurance),
        3: item.max_revocation_age_s,
        4: int(item.staleness),
        5: item.recently_issued_s,
        6: int(item.suspect),
        7: item.release_time_ms,
        8: item.extended_release_time_ms,
        9: item.open_time_ms,
        10: item.pre_alarm_ms,
        11: int(item.relock),
    }


def _schedule_value(item: Schedule) -> list[Value]:
    return [_windows_value(item.windows), _windows_value(item.holiday_windows)]


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


def _parse_bundle(payload: bytes) -> PolicyBundle:
    fields = Fields(decode(payload, field="policy", max_bytes=MAX_POLICY_BYTES), "policy")
    bundle = PolicyBundle(
        tenant=Tenant(slug(fields.text(1, "tenant", MAX_TENANT_CHARACTERS), "policy.tenant")),
        door=DoorId(slug(fields.text(2, "door", MAX_TENANT_CHARACTERS), "policy.door")),
        version=fields.uint(3, "version"),
        issued_at_s=fields.time(4, "iat"),
        timezone=_parse_timezone(fields.text(5, "timezone", _MAX_TIMEZONE_CHARACTERS)),
        settings=_parse_settings(fields.value(6, "settings")),
        levels=_parse_levels(fields.value(7, "levels")),
        schedules=_parse_schedules(fields.value(8, "schedules")),
        holidays=_parse_holidays(fields.array(9, "holidays", MAX_HOLIDAYS)),
    )
    fields.close()
    known = {ALWAYS, *bundle.schedules}
    if any(number not in known for ids in bundle.levels.values() for number in ids):
        raise WireError(WireReason.UNKNOWN_VALUE, "policy.levels")
    return bundle


def _parse_timezone(name: str) -> str:
    if _TIMEZONE.fullmatch(name) is None:  # no "..", no leading "/": the name is looked up as a path
        raise WireError(WireReason.WRONG_ALPHABET, "policy.timezone")
    return name


def _parse_settings(value: Value) -> DoorSettings:
    fields = Fields(value, "policy.settings")
    settings = DoorSettings(
        mode=fields.member(1, "mode", _MODES),
        minimum_assurance=fields.member(2, "minimum_assurance", _ASSURANCES),
        max_revocation_age_s=fields.uint(3, "max_revocation_age_s", _MAX_AGE_S),
        staleness=fields.member(4, "staleness", _STALENESS_RULES),
        recently_issued_s=fields.uint(5, "recently_issued_s", _MAX_AGE_S),
        suspect=fields.member(6, "suspect", _SUSPECT_RULES),
        release_time_ms=fields.uint(7, "release_time_ms", _MAX_MS),
        extended_release_time_ms=fields.uint(8, "extended_release_time_ms", _MAX_MS),
        open_time_ms=fields.uint(9, "open_time_ms", _MAX_MS),
        pre_alarm_ms=fields.uint(10, "pre_alarm_ms", _MAX_MS),
        relock=fields.member(11, "relock", _RELOCK_RULES),
    )
    fields.close()
    if settings.release_time_ms == 0 or settings.pre_alarm_ms > settings.open_time_ms:
        raise WireError(WireReason.OUT_OF_RANGE, "policy.settings")
    return settings


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
        parts = array(item, name, 2)
        if len(parts) != 2 or number == ALWAYS:  # noqa: PLR2004 - windows and holiday windows
            raise WireError(WireReason.OUT_OF_RANGE, name)
        found[number] = Schedule(_parse_windows(parts[0]), _parse_windows(parts[1]))
    return found


def _parse_windows(value: Value) -> tuple[Window, ...]:
    return tuple(_parse_window(item) for item in array(value, "policy.schedules.windows", MAX_WINDOWS))


def _parse_window(value: Value) -> Window:
    name = "policy.schedules.window"
    parts = array(value, name, 3)
    if len(parts) != 3:  # noqa: PLR2004 - days, start, end
        raise WireError(WireReason.MISSING_FIELD, name)
    days, start, end = uint(parts[0], name, ALL_DAYS), uint(parts[1], name), uint(parts[2], name, MINUTES_A_DAY)
    if not days or start >= end:
        raise WireError(WireReason.OUT_OF_RANGE, name)
    return Window(days, start, end)


def _parse_holidays(items: list[Value]) -> frozenset[int]:
    days = [uint(item, "policy.holidays", _MAX_DAY) for item in items]
    if days != sorted(set(days)):
        raise WireError(WireReason.NOT_CANONICAL, "policy.holidays")
    return frozenset(days)
