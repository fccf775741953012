"""Vectors of the policy bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    DOOR,
    FALSE,
    NULL,
    POLICY,
    STRANGER,
    TENANT,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
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
from wire.codec import MAX_TIME_S
from wire.errors import WireReason
from wire.names import Assurance, DoorId, DoorMode, ExternalAad, RelockRule, StalenessRule, SuspectRule, Tenant
from wire.policy import ALL_DAYS, ALWAYS, PolicyBundle, Schedule, Window, seal_policy
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import Signer

KEY: Final = {"key": cose_key(POLICY.public_key).hex()}
_WEEKDAYS: Final = Schedule((Window(0b0011111, 7 * 60, 19 * 60),))
USUAL: Final = PolicyBundle(
    tenant=Tenant(TENANT),
    door=DoorId(DOOR),
    version=17,
    issued_at_s=AT - 86_400,
    timezone="Europe/Vienna",
    levels={1: (3,), 7: (ALWAYS,)},
    schedules={3: _WEEKDAYS},
    holidays=frozenset({20_515, 20_549}),
)
_OTHER: Final = replace(
    USUAL,
    settings=DoorSettings(
        mode=DoorMode.LOCKED_DOWN,
        minimum_assurance=Assurance.IDENTIFIER,
        max_revocation_age_s=90 * 86_400,
        staleness=StalenessRule.NONCE_BOUND_ONLY,
        recently_issued_s=0,
        suspect=SuspectRule.ALWAYS_LEVELS_ONLY,
        release_time_ms=1,
        extended_release_time_ms=3_600_000,
        open_time_ms=3_600_000,
        pre_alarm_ms=3_600_000,
        relock=RelockRule.ON_OPEN,
    ),
)


def _settings(changes: Entries | None = None) -> bytes:
    usual = {1: 0, 2: 3, 3: 86_400, 4: 0, 5: 14_400, 6: 0, 7: 5_000, 8: 15_000, 9: 30_000, 10: 10_000, 11: 2}
    return mapping({key: num(value) for key, value in usual.items()}, changes)


def _schedule(*windows: bytes) -> bytes:
    return mapping({3: array(array(*windows), array())})


def _window(days: bytes | None = None, start: bytes | None = None, end: bytes | None = None) -> bytes:
    return array(days or num(0b0011111), start or num(7 * 60), end or num(19 * 60))


def _claims(changes: Entries | None = None) -> bytes:
    entries = {
        1: text(TENANT),
        2: text(DOOR),
        3: num(17),
        4: num(USUAL.issued_at_s),
        5: text("Europe/Vienna"),
        6: _settings(),
        7: mapping({1: array(num(3)), 7: array(num(0))}),
        8: _schedule(_window()),
        9: array(num(20_515), num(20_549)),
    }
    return mapping(entries, changes)


def _policy(changes: Entries | None = None, *, signer: Signer = POLICY, aad: ExternalAad = ExternalAad.POLICY) -> bytes:
    return sign1(header(POLICY), _claims(changes), signer, aad)


def policies() -> dict[str, Json]:
    """policy.json."""
    return collection(
        "Policy bundles of one door, read under context.key.",
        "docs/spec/policy.md",
        [*_accepted(), *_claim_faults(), *_settings_cases(), *_schedule_cases(), *_signature_faults()],
    )


def _accepted() -> list[Case]:
    nobody = replace(USUAL, levels={}, schedules={}, holidays=frozenset())
    two = replace(
        USUAL, schedules={3: Schedule((Window(1, 0, 1440), Window(ALL_DAYS, 1439, 1440)), (Window(64, 0, 1),))}
    )
    levels = {0: (0,), 0xFFFF: (3, 0, 3)}
    found = {
        "usual": USUAL,
        "nobody may enter": nobody,
        "other settings, each at an end of its range": _OTHER,
        "windows at the ends of the day, and on holidays": two,
        "first and last access level": replace(USUAL, levels=levels),
        "time zone of three parts": replace(USUAL, timezone="America/Argentina/Buenos_Aires"),
        "time zone with a sign": replace(USUAL, timezone="Etc/GMT+5"),
    }
    return [accepted(name, seal_policy(bundle, POLICY), plain(bundle), **KEY) for name, bundle in found.items()]


def _claim_faults() -> list[Case]:
    zone = "policy.timezone"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        *(
            (f"no {name}", {number: None}, WireReason.MISSING_FIELD, f"policy.{name}")
            for number, name in enumerate(
                ("tenant", "door", "version", "iat", "timezone", "settings", "levels", "schedules", "holidays"), 1
            )
        ),
        ("iat beyond the latest moment", {4: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "policy.iat"),
        ("member added", {10: NULL}, WireReason.UNKNOWN_FIELD, "policy"),
        ("door with a slash", {2: text("north/door")}, WireReason.WRONG_ALPHABET, "policy.door"),
        ("time zone that climbs", {5: text("../../etc/passwd")}, WireReason.WRONG_ALPHABET, zone),
        ("time zone from the root", {5: text("/etc/localtime")}, WireReason.WRONG_ALPHABET, zone),
        ("time zone with a zero byte", {5: text("UTC\x00")}, WireReason.WRONG_ALPHABET, zone),
        ("time zone of 65 characters", {5: text("a" * 65)}, WireReason.OUT_OF_RANGE, zone),
        ("version true", {3: TRUE}, WireReason.WRONG_TYPE, "policy.version"),
        ("levels as array", {7: array()}, WireReason.WRONG_TYPE, "policy.levels"),
        ("level of 65536", {7: mapping({0x10000: array()})}, WireReason.OUT_OF_RANGE, "policy.levels"),
        ("level as text", {7: pairs((text("7"), array()))}, WireReason.WRONG_TYPE, "policy.levels"),
        ("level twice", {7: pairs((num(7), array()), (num(7), array()))}, WireReason.DUPLICATE_KEY, "policy"),
        ("levels out of order", {7: pairs((num(7), array()), (num(1), array()))}, WireReason.NOT_CANONICAL, "policy"),
        (
            "level with a schedule that is not there",
            {7: mapping({1: array(num(4))})},
            WireReason.UNKNOWN_VALUE,
            "policy.levels",
        ),
        ("level with 65 schedules", {7: mapping({1: array(*[num(0)] * 65)})}, WireReason.OUT_OF_RANGE, "policy.levels"),
        ("holidays out of order", {9: array(num(2), num(1))}, WireReason.NOT_CANONICAL, "policy.holidays"),
        ("holiday twice", {9: array(num(1), num(1))}, WireReason.NOT_CANONICAL, "policy.holidays"),
        ("holiday too far", {9: array(num(100_001))}, WireReason.OUT_OF_RANGE, "policy.holidays"),
        ("513 holidays", {9: array(*map(num, range(513)))}, WireReason.OUT_OF_RANGE, "policy.holidays"),
    ]
    return [refused(name, _policy(changes), reason, field, **KEY) for name, changes, reason, field in faults]


def _settings_cases() -> list[Case]:
    here = "policy.settings"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("mode 4", {1: num(4)}, WireReason.UNKNOWN_VALUE, f"{here}.mode"),
        ("mode false", {1: FALSE}, WireReason.WRONG_TYPE, f"{here}.mode"),
        ("minimum assurance 5", {2: num(5)}, WireReason.UNKNOWN_VALUE, f"{here}.minimum_assurance"),
        (
            "revocation age beyond 90 days",
            {3: num(90 * 86_400 + 1)},
            WireReason.OUT_OF_RANGE,
            f"{here}.max_revocation_age_s",
        ),
        ("staleness rule 3", {4: num(3)}, WireReason.UNKNOWN_VALUE, f"{here}.staleness"),
        (
            "recently issued beyond 90 days",
            {5: num(90 * 86_400 + 1)},
            WireReason.OUT_OF_RANGE,
            f"{here}.recently_issued_s",
        ),
        ("suspect rule 3", {6: num(3)}, WireReason.UNKNOWN_VALUE, f"{here}.suspect"),
        ("release time of 0", {7: num(0)}, WireReason.OUT_OF_RANGE, here),
        ("release time beyond an hour", {7: num(3_600_001)}, WireReason.OUT_OF_RANGE, f"{here}.release_time_ms"),
        (
            "extended release time beyond an hour",
            {8: num(3_600_001)},
            WireReason.OUT_OF_RANGE,
            f"{here}.extended_release_time_ms",
        ),
        ("open time beyond an hour", {9: num(3_600_001)}, WireReason.OUT_OF_RANGE, f"{here}.open_time_ms"),
        ("pre-alarm after the alarm", {10: num(30_001)}, WireReason.OUT_OF_RANGE, here),
        ("relock rule 3", {11: num(3)}, WireReason.UNKNOWN_VALUE, f"{here}.relock"),
        ("setting missing", {11: None}, WireReason.MISSING_FIELD, f"{here}.relock"),
        ("setting added", {12: num(0)}, WireReason.UNKNOWN_FIELD, here),
    ]
    return [
        refused(name, _policy({6: _settings(changes)}), reason, field, **KEY) for name, changes, reason, field in faults
    ]


def _schedule_cases() -> list[Case]:
    here = "policy.schedules"
    faults = [
        ("schedule 0, which is built in", mapping({0: array(array(), array())}), WireReason.OUT_OF_RANGE, here),
        ("schedule without holiday windows", mapping({3: array(array())}), WireReason.OUT_OF_RANGE, here),
        ("schedule of three parts", mapping({3: array(array(), array(), array())}), WireReason.OUT_OF_RANGE, here),
        ("schedules as array", array(), WireReason.WRONG_TYPE, here),
        ("windows as map", mapping({3: array(mapping({}), array())}), WireReason.WRONG_TYPE, f"{here}.windows"),
        ("65 windows", _schedule(*[_window()] * 65), WireReason.OUT_OF_RANGE, f"{here}.windows"),
        ("window of two parts", _schedule(array(num(1), num(0))), WireReason.MISSING_FIELD, f"{here}.window"),
        ("window on no day", _schedule(_window(num(0))), WireReason.OUT_OF_RANGE, f"{here}.window"),
        ("window on an eighth day", _schedule(_window(num(0x80))), WireReason.OUT_OF_RANGE, f"{here}.window"),
        (
            "window that ends as it starts",
            _schedule(_window(None, num(60), num(60))),
            WireReason.OUT_OF_RANGE,
            f"{here}.window",
        ),
        (
            "window past midnight",
            _schedule(_window(None, num(1380), num(1441))),
            WireReason.OUT_OF_RANGE,
            f"{here}.window",
        ),
        (
            "window with a start as text",
            _schedule(_window(None, text("07:00"))),
            WireReason.WRONG_TYPE,
            f"{here}.window",
        ),
    ]
    return [refused(name, _policy({8: value}), reason, field, **KEY) for name, value, reason, field in faults]


def _signature_faults() -> list[Case]:
    other = sign1(header(POLICY, kid=octets(STRANGER.public_key.key_id)), _claims(), POLICY, ExternalAad.POLICY)
    as_trust = _policy(aad=ExternalAad.TRUST)
    return [
        refused("signed by a stranger", _policy(signer=STRANGER), WireReason.SIGNATURE_INVALID, "policy", **KEY),
        refused("another kid", other, WireReason.KEY_INVALID, "policy.kid", **KEY),
        refused("signed as a trust bundle", as_trust, WireReason.SIGNATURE_INVALID, "policy", **KEY),
        refused("empty", b"", WireReason.EMPTY, "policy", **KEY),
    ]
