"""Vectors of the policy bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    FALSE,
    NULL,
    POLICY,
    STRANGER,
    TRUE,
    accepted,
    array,
    collection,
    header,
    mapping,
    num,
    octets,
    pairs,
    plain,
    refused,
    sign1,
    text,
)
from tests.vectors.parts.policies import KEY, NOBODY, USUAL, claims, policy, schedule, settings, window
from wire.codec import MAX_TIME_S
from wire.errors import WireReason
from wire.names import (
    AntiPassbackRule,
    Assurance,
    DoorMode,
    ExternalAad,
    RelockRule,
    StalenessRule,
    SuspectRule,
)
from wire.policy import (
    ALL_DAYS,
    MAX_AREAS,
    MAX_ASSURANCE_HOURS,
    MAX_EXCEPTIONS,
    MAX_PASSAGES,
    MAX_PERSONS,
    Area,
    AssuranceHours,
    Passage,
    PolicyBundle,
    Schedule,
    Window,
    seal_policy,
)
from wire.settings import MAX_AGE_S, MAX_COUNT, MAX_ESCORTS, MAX_MS, MAX_SCHEDULE, DoorSettings

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json

_HIGHEST: Final = DoorSettings(
    mode=DoorMode.LOCKED_DOWN,
    minimum_assurance=Assurance.NONCE_BOUND,
    max_revocation_age_s=MAX_AGE_S,
    staleness=StalenessRule.NONCE_BOUND_ONLY,
    recently_issued_s=MAX_AGE_S,
    suspect=SuspectRule.ALWAYS_LEVELS_ONLY,
    release_time_ms=MAX_MS,
    extended_release_time_ms=MAX_MS,
    open_time_ms=MAX_MS,
    pre_alarm_ms=MAX_MS,
    relock=RelockRule.ON_CLOSE,
    unlock_schedule=MAX_SCHEDULE,
    first_person_in=True,
    double_tap_ms=MAX_MS,
    maintenance=True,
    interlock=True,
    lock_time_ms=MAX_MS,
    anti_passback=AntiPassbackRule.TIMED,
    anti_passback_s=MAX_AGE_S,
    forget_presence_before_s=MAX_TIME_S,
    two_person=True,
    escorts=MAX_ESCORTS,
    companion_ms=MAX_MS,
    pin_below=Assurance.NONCE_BOUND,
    pin_attempts=MAX_COUNT,
    pin_block_s=MAX_AGE_S,
    printed_uses=MAX_COUNT,
)
_LOWEST: Final = DoorSettings(
    minimum_assurance=Assurance.IDENTIFIER,
    max_revocation_age_s=0,
    recently_issued_s=0,
    release_time_ms=1,
    extended_release_time_ms=0,
    open_time_ms=0,
    pre_alarm_ms=0,
    relock=RelockRule.AFTER_RELEASE_TIME,
    escorts=0,
    companion_ms=1,
    pin_attempts=1,
    pin_block_s=1,
)


def policies() -> dict[str, Json]:
    """policy.json."""
    faults = [*_claim_faults(), *_level_faults(), *_settings_faults(), *_schedule_faults(), *_area_faults()]
    return collection(
        "Policy bundles of one door, read under context.key.",
        "docs/spec/policy.md",
        [
            *_accepted(),
            *(refused(name, policy(changes), reason, field, **KEY) for name, changes, reason, field in faults),
            *_signature_faults(),
        ],
    )


# --- what is read ------------------------------------------------------------------------------------------


def _accepted() -> list[Case]:
    found = {**_accepted_settings(), **_accepted_schedules(), **_accepted_areas()}
    return [accepted(name, seal_policy(bundle, POLICY), plain(bundle), **KEY) for name, bundle in found.items()]


def _accepted_settings() -> dict[str, PolicyBundle]:
    last = {**USUAL.schedules, MAX_SCHEDULE: Schedule((Window(1, 0, 1),))}
    timed = replace(_LOWEST, anti_passback=AntiPassbackRule.TIMED, anti_passback_s=1)
    return {
        "usual": USUAL,
        "nobody may enter": NOBODY,
        "nobody may enter, as a person ordered": replace(NOBODY, locks_out=True),
        "settings at their highest": replace(USUAL, settings=_HIGHEST, schedules=last),
        "settings at their lowest": replace(USUAL, settings=_LOWEST),
        "timed anti-passback of a second": replace(USUAL, settings=timed),
        "time zone of three parts": replace(USUAL, timezone="America/Argentina/Buenos_Aires"),
        "time zone with a sign": replace(USUAL, timezone="Etc/GMT+5"),
    }


def _accepted_schedules() -> dict[str, PolicyBundle]:
    two = Schedule((Window(1, 0, 1440), Window(ALL_DAYS, 1439, 1440)), (Window(64, 0, 1),))
    short, closed = (Window(ALL_DAYS, 0, 1), Window(ALL_DAYS, 1439, 1440)), ()
    single = replace(two, exceptions={0: short, 20_515: closed, 100_000: short})
    hours = (AssuranceHours(0, Assurance.IDENTIFIER), AssuranceHours(3, Assurance.NONCE_BOUND))
    return {
        "windows at the ends of the day, and on holidays": _with(two),
        "exceptions on the first day, a holiday and the last day": _with(single),
        "first and last access level": replace(USUAL, levels={0: (0,), 0xFFFF: (3, 0, 3)}),
        "assurance by the hour, the weakest always": replace(USUAL, assurance_hours=hours),
    }


def _accepted_areas() -> dict[str, PolicyBundle]:
    ends = {"a": Passage(0, 0xFFFF), "z" * 32: Passage(0xFFFF, 1)}
    return {
        "passages that nobody counts": replace(USUAL, areas={}),
        "first and last area, at their limits": replace(
            USUAL, passages=ends, areas={1: Area(1, 1), 0xFFFF: Area(MAX_PERSONS, MAX_PERSONS)}
        ),
        "an area with a warning and no limit": replace(USUAL, areas={1: Area(0, 1)}),
        "an area with a limit and no warning": replace(USUAL, areas={1: Area(1, 0)}),
    }


def _with(third: Schedule) -> PolicyBundle:
    return replace(USUAL, schedules={**USUAL.schedules, 3: third})


# --- what is refused ---------------------------------------------------------------------------------------

_Fault = tuple[str, "Entries", WireReason, str]
_MEMBERS: Final = (
    *("tenant", "door", "version", "iat", "timezone", "settings", "levels", "schedules", "holidays"),
    *("assurance_hours", "passages", "areas", "locks_out"),
)


def _claim_faults() -> list[_Fault]:
    zone = "policy.timezone"
    missing: list[_Fault] = [
        (f"no {name}", {number: None}, WireReason.MISSING_FIELD, f"policy.{name}")
        for number, name in enumerate(_MEMBERS, 1)
    ]
    return [
        *missing,
        ("iat beyond the latest moment", {4: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "policy.iat"),
        ("member added", {14: NULL}, WireReason.UNKNOWN_FIELD, "policy"),
        ("door with a slash", {2: text("north/door")}, WireReason.WRONG_ALPHABET, "policy.door"),
        ("time zone that climbs", {5: text("../../etc/passwd")}, WireReason.WRONG_ALPHABET, zone),
        ("time zone from the root", {5: text("/etc/localtime")}, WireReason.WRONG_ALPHABET, zone),
        ("time zone with a zero byte", {5: text("UTC\x00")}, WireReason.WRONG_ALPHABET, zone),
        ("time zone of 65 characters", {5: text("a" * 65)}, WireReason.OUT_OF_RANGE, zone),
        ("version true", {3: TRUE}, WireReason.WRONG_TYPE, "policy.version"),
        ("lock-out as number", {13: num(1)}, WireReason.WRONG_TYPE, "policy.locks_out"),
        ("lock-out null", {13: NULL}, WireReason.WRONG_TYPE, "policy.locks_out"),
    ]


def _level_faults() -> list[_Fault]:
    here = "policy.levels"
    twice, reversed_ = (pairs((num(7), array()), (num(number), array())) for number in (7, 1))
    return [
        ("levels as array", {7: array()}, WireReason.WRONG_TYPE, here),
        ("level of 65536", {7: mapping({0x10000: array()})}, WireReason.OUT_OF_RANGE, here),
        ("level as text", {7: pairs((text("7"), array()))}, WireReason.WRONG_TYPE, here),
        ("level twice", {7: twice}, WireReason.DUPLICATE_KEY, "policy"),
        ("levels out of order", {7: reversed_}, WireReason.NOT_CANONICAL, "policy"),
        ("level with a schedule that is not there", {7: mapping({1: array(num(4))})}, WireReason.UNKNOWN_VALUE, here),
        ("level with 65 schedules", {7: mapping({1: array(*[num(0)] * 65)})}, WireReason.OUT_OF_RANGE, here),
        ("holidays out of order", {9: array(num(2), num(1))}, WireReason.NOT_CANONICAL, "policy.holidays"),
        ("holiday twice", {9: array(num(1), num(1))}, WireReason.NOT_CANONICAL, "policy.holidays"),
        ("holiday too far", {9: array(num(100_001))}, WireReason.OUT_OF_RANGE, "policy.holidays"),
        ("513 holidays", {9: array(*map(num, range(513)))}, WireReason.OUT_OF_RANGE, "policy.holidays"),
    ]


_TOO_HIGH: Final = {
    3: ("max_revocation_age_s", MAX_AGE_S),
    5: ("recently_issued_s", MAX_AGE_S),
    7: ("release_time_ms", MAX_MS),
    8: ("extended_release_time_ms", MAX_MS),
    9: ("open_time_ms", MAX_MS),
    10: ("pre_alarm_ms", MAX_MS),
    12: ("unlock_schedule", MAX_SCHEDULE),
    14: ("double_tap_ms", MAX_MS),
    17: ("lock_time_ms", MAX_MS),
    19: ("anti_passback_s", MAX_AGE_S),
    20: ("forget_presence_before_s", MAX_TIME_S),
    22: ("escorts", MAX_ESCORTS),
    23: ("companion_ms", MAX_MS),
    25: ("pin_attempts", MAX_COUNT),
    26: ("pin_block_s", MAX_AGE_S),
    27: ("printed_uses", MAX_COUNT),
}
_FIRST_UNKNOWN: Final = {
    1: ("mode", 4),
    2: ("minimum_assurance", 5),
    4: ("staleness", 3),
    6: ("suspect", 3),
    11: ("relock", 3),
    18: ("anti_passback", 4),
    24: ("pin_below", 5),
}
_FLAGS: Final = {13: "first_person_in", 15: "maintenance", 16: "interlock", 21: "two_person"}


def _settings_faults() -> list[_Fault]:
    here = "policy.settings"
    names = {key: name for key, (name, _) in (_TOO_HIGH | _FIRST_UNKNOWN).items()} | _FLAGS
    faults: list[_Fault] = [
        *((f"{name} missing", {key: None}, WireReason.MISSING_FIELD, f"{here}.{name}") for key, name in names.items()),
        *(
            (f"{name} too high", {key: num(most + 1)}, WireReason.OUT_OF_RANGE, f"{here}.{name}")
            for key, (name, most) in _TOO_HIGH.items()
        ),
        *(
            (f"{name} {number}", {key: num(number)}, WireReason.UNKNOWN_VALUE, f"{here}.{name}")
            for key, (name, number) in _FIRST_UNKNOWN.items()
        ),
        *(
            (f"{name} as number", {key: num(0)}, WireReason.WRONG_TYPE, f"{here}.{name}")
            for key, name in _FLAGS.items()
        ),
        ("mode false", {1: FALSE}, WireReason.WRONG_TYPE, f"{here}.mode"),
        ("escorts true", {22: TRUE}, WireReason.WRONG_TYPE, f"{here}.escorts"),
        ("printed uses below 0", {27: num(-1)}, WireReason.OUT_OF_RANGE, f"{here}.printed_uses"),
        ("setting added", {28: num(0)}, WireReason.UNKNOWN_FIELD, here),
        ("unlock schedule that is not there", {12: num(4)}, WireReason.UNKNOWN_VALUE, f"{here}.unlock_schedule"),
        ("release time of 0", {7: num(0)}, WireReason.OUT_OF_RANGE, here),
        ("no time to wait for companions", {23: num(0)}, WireReason.OUT_OF_RANGE, here),
        ("no attempt at a PIN", {25: num(0)}, WireReason.OUT_OF_RANGE, here),
        ("attempts at a PIN without end", {26: num(0)}, WireReason.OUT_OF_RANGE, here),
        ("pre-alarm after the alarm", {10: num(30_001)}, WireReason.OUT_OF_RANGE, here),
        ("timed anti-passback without a time", {18: num(3), 19: num(0)}, WireReason.OUT_OF_RANGE, here),
    ]
    return [
        ("settings as array", {6: array()}, WireReason.WRONG_TYPE, here),
        *((name, {6: settings(changes)}, reason, field) for name, changes, reason, field in faults),
    ]


def _schedule_faults() -> list[_Fault]:
    here = "policy.schedules"
    empty, none = array(), mapping({})
    faults = [
        ("schedule 0, which is built in", mapping({0: array(empty, empty, none)}), WireReason.OUT_OF_RANGE, here),
        ("schedule without exceptions", mapping({3: array(empty, empty)}), WireReason.MISSING_FIELD, here),
        ("schedule of four parts", mapping({3: array(empty, empty, none, empty)}), WireReason.OUT_OF_RANGE, here),
        ("schedules as array", empty, WireReason.WRONG_TYPE, here),
        ("windows as map", mapping({3: array(none, empty, none)}), WireReason.WRONG_TYPE, f"{here}.windows"),
        ("65 windows", schedule(*[window()] * 65), WireReason.OUT_OF_RANGE, f"{here}.windows"),
    ]
    windows = {
        "window of two parts": (array(num(1), num(0)), WireReason.MISSING_FIELD),
        "window of four parts": (array(num(1), num(0), num(1), num(1)), WireReason.OUT_OF_RANGE),
        "window on no day": (window(num(0)), WireReason.OUT_OF_RANGE),
        "window on an eighth day": (window(num(0x80)), WireReason.OUT_OF_RANGE),
        "window that ends as it starts": (window(None, num(60), num(60)), WireReason.OUT_OF_RANGE),
        "window past midnight": (window(None, num(1380), num(1441)), WireReason.OUT_OF_RANGE),
        "window with a start as text": (window(None, text("07:00")), WireReason.WRONG_TYPE),
    }
    return [
        *((name, {8: value}, reason, field) for name, value, reason, field in faults),
        *((name, {8: schedule(item)}, reason, f"{here}.window") for name, (item, reason) in windows.items()),
        *_exception_faults(),
        *_hours_faults(),
    ]


def _exception_faults() -> list[_Fault]:
    here = "policy.schedules.exceptions"
    whole = array(window(num(ALL_DAYS)))
    too_many = dict.fromkeys(range(MAX_EXCEPTIONS + 1), array())
    twice, reversed_ = (pairs((num(2), whole), (num(day), whole)) for day in (2, 1))
    faults = [
        ("exceptions as array", array(), WireReason.WRONG_TYPE, here),
        ("exception too far", mapping({100_001: whole}), WireReason.OUT_OF_RANGE, here),
        ("exception on a date as text", pairs((text("2026-04-02"), whole)), WireReason.WRONG_TYPE, here),
        ("exception on weekdays", mapping({1: array(window())}), WireReason.OUT_OF_RANGE, here),
        ("129 exceptions", mapping(too_many), WireReason.OUT_OF_RANGE, here),
        ("exception twice", twice, WireReason.DUPLICATE_KEY, "policy"),
        ("exceptions out of order", reversed_, WireReason.NOT_CANONICAL, "policy"),
        (
            "windows of an exception as map",
            mapping({1: mapping({})}),
            WireReason.WRONG_TYPE,
            "policy.schedules.windows",
        ),
        ("exception nested too deep", mapping({1: array(array(array(num(0))))}), WireReason.NOT_CBOR, "policy"),
    ]
    return [(name, {8: schedule(window(), exceptions=item)}, reason, field) for name, item, reason, field in faults]


def _hours_faults() -> list[_Fault]:
    here = "policy.assurance_hours"
    one = array(num(3), num(4))
    faults = [
        ("assurance hours as map", mapping({3: num(4)}), WireReason.WRONG_TYPE),
        ("assurance hours of one part", array(array(num(3))), WireReason.MISSING_FIELD),
        ("assurance hours of three parts", array(array(num(3), num(4), num(4))), WireReason.OUT_OF_RANGE),
        ("assurance hours by a schedule that is not there", array(array(num(4), num(4))), WireReason.UNKNOWN_VALUE),
        ("assurance hours by schedule 65536", array(array(num(0x10000), num(4))), WireReason.OUT_OF_RANGE),
        ("assurance hours of level 5", array(array(num(3), num(5))), WireReason.UNKNOWN_VALUE),
        ("assurance hours twice", array(one, one), WireReason.NOT_CANONICAL),
        ("assurance hours out of order", array(one, array(num(0), num(4))), WireReason.NOT_CANONICAL),
        ("65 assurance hours", array(*[one] * (MAX_ASSURANCE_HOURS + 1)), WireReason.OUT_OF_RANGE),
    ]
    return [(name, {10: value}, reason, here) for name, value, reason in faults]


def _area_faults() -> list[_Fault]:
    here, there = "policy.passages", "policy.areas"
    way, limit = array(num(0), num(1)), array(num(200), num(180))
    many = sorted(text(f"reader-{number}") for number in range(MAX_PASSAGES + 1))
    areas = dict.fromkeys(range(1, MAX_AREAS + 2), limit)
    passages = [
        ("passages as array", array(), WireReason.WRONG_TYPE),
        ("passage of a reader as number", mapping({1: way}), WireReason.WRONG_TYPE),
        ("passage of a reader in upper case", pairs((text("Outside"), way)), WireReason.WRONG_ALPHABET),
        ("passage of a reader of 33 characters", pairs((text("r" * 33), way)), WireReason.OUT_OF_RANGE),
        ("passage of a reader without name", pairs((text(""), way)), WireReason.OUT_OF_RANGE),
        ("passage of one part", pairs((text("outside"), array(num(0)))), WireReason.MISSING_FIELD),
        ("passage of three parts", pairs((text("outside"), array(*[num(0)] * 3))), WireReason.OUT_OF_RANGE),
        ("passage that leads back", pairs((text("outside"), array(num(1), num(1)))), WireReason.OUT_OF_RANGE),
        ("passage out of area 65536", pairs((text("outside"), array(num(0x10000), num(1)))), WireReason.OUT_OF_RANGE),
        ("passage into area 65536", pairs((text("outside"), array(num(1), num(0x10000)))), WireReason.OUT_OF_RANGE),
        ("17 passages", pairs(*((reader, way) for reader in many)), WireReason.OUT_OF_RANGE),
    ]
    limits = [
        ("areas as array", array(), WireReason.WRONG_TYPE),
        ("a limit outside", mapping({0: limit}), WireReason.OUT_OF_RANGE),
        ("a limit of area 65536", mapping({0x10000: limit}), WireReason.OUT_OF_RANGE),
        ("an area without warning", mapping({1: array(num(200))}), WireReason.MISSING_FIELD),
        ("an area of three parts", mapping({1: array(*[num(1)] * 3)}), WireReason.OUT_OF_RANGE),
        ("a warning beyond the limit", mapping({1: array(num(1), num(2))}), WireReason.OUT_OF_RANGE),
        ("a limit beyond a million", mapping({1: array(num(MAX_PERSONS + 1), num(0))}), WireReason.OUT_OF_RANGE),
        ("a warning beyond a million", mapping({1: array(num(0), num(MAX_PERSONS + 1))}), WireReason.OUT_OF_RANGE),
        ("a limit of an area that nobody enters", mapping({2: limit}), WireReason.UNKNOWN_VALUE),
        ("33 areas", mapping(areas), WireReason.OUT_OF_RANGE),
    ]
    return [
        *((name, {11: value}, reason, here) for name, value, reason in passages),
        *((name, {12: value}, reason, there) for name, value, reason in limits),
        ("reader twice", {11: pairs(*[(text("outside"), way)] * 2)}, WireReason.DUPLICATE_KEY, "policy"),
    ]


def _signature_faults() -> list[Case]:
    other = sign1(header(POLICY, kid=octets(STRANGER.public_key.key_id)), claims(), POLICY, ExternalAad.POLICY)
    as_trust = policy(aad=ExternalAad.TRUST)
    return [
        refused("signed by a stranger", policy(signer=STRANGER), WireReason.SIGNATURE_INVALID, "policy", **KEY),
        refused("another kid", other, WireReason.KEY_INVALID, "policy.kid", **KEY),
        refused("signed as a trust bundle", as_trust, WireReason.SIGNATURE_INVALID, "policy", **KEY),
        refused("empty", b"", WireReason.EMPTY, "policy", **KEY),
    ]
