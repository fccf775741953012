"""Policies: what operators write, what doors read, and which version is in force."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from datetime import date
from enum import IntEnum
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec
import pytest

from cloud.errors import CloudError, Reason
from cloud.issuing.keyring import OVERLAP
from cloud.issuing.keys import KeyRole
from cloud.issuing.policy_bundle import to_bundle
from cloud.issuing.policy_models import (
    LevelDocument,
    PolicyDocument,
    SettingsDocument,
)
from tests.support.cloud_parts import DOOR, Parts, cloud_parts
from tests.support.waiting import DEADLINE_S
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
from wire.policy import ALL_DAYS, MAX_DAY, Area, AssuranceHours, Passage, PolicyBundle, Schedule, Window, open_policy
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine
    from pathlib import Path

_FULL = b"""{
    "settings": {
        "mode": "unlocked", "minimumAssurance": "printed", "maxRevocationAgeS": 600, "staleness": "recently_issued",
        "recentlyIssuedS": 300, "suspect": "ignore_schedules", "releaseTimeMs": 3000,
        "extendedReleaseTimeMs": 9000, "openTimeMs": 20000, "preAlarmMs": 5000, "relock": "on_open",
        "unlockSchedule": 2, "firstPersonIn": true, "doubleTapMs": 3001, "maintenance": true, "interlock": true,
        "lockTimeMs": 1000, "antiPassback": "timed", "antiPassbackS": 60, "forgetPresenceBeforeS": 1760000000,
        "twoPerson": true, "escorts": 2, "companionMs": 20001, "pinBelow": "dynamic_tag", "pinAttempts": 5,
        "pinBlockS": 301, "printedUses": 4
    },
    "accessLevels": [{"id": 7, "schedules": [2, 0, 2]}, {"id": 9, "schedules": []}],
    "schedules": [{
        "id": 2,
        "windows": [{"days": ["mon", "fri"], "start": "08:00", "end": "18:30"}],
        "holidayWindows": [{"days": ["sun"], "start": "00:00", "end": "24:00"}],
        "exceptions": [
            {"date": "2026-12-24", "windows": [{"start": "08:00", "end": "12:00"}, {"start": "13:00", "end": "24:00"}]},
            {"date": "1970-01-01"}
        ]
    }],
    "holidays": ["2026-12-25", "1970-01-01"],
    "assuranceHours": [{"schedule": 2, "assurance": "nonce_bound"}, {"schedule": 0, "assurance": "rotating"}],
    "passages": [{"reader": "outside", "outOf": 0, "into": 1}, {"reader": "inside", "outOf": 1, "into": 0}],
    "areas": [{"id": 1, "limit": 200, "warning": 180}],
    "lockOut": true
}"""
_NOBODY = PolicyDocument(lock_out=True)


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


def read(text: bytes) -> PolicyDocument:
    return msgspec.json.decode(text, type=PolicyDocument)


def bundle(document: PolicyDocument) -> PolicyBundle:
    return to_bundle(
        document, tenant=Tenant("north"), door=DOOR, timezone="Europe/Vienna", version=3, issued_at_s=1_760_000_000
    )


def test_every_member_arrives_at_the_door():
    assert bundle(read(_FULL)) == PolicyBundle(
        tenant=Tenant("north"),
        door=DOOR,
        version=3,
        issued_at_s=1_760_000_000,
        timezone="Europe/Vienna",
        settings=DoorSettings(
            mode=DoorMode.UNLOCKED,
            minimum_assurance=Assurance.PRINTED,
            max_revocation_age_s=600,
            staleness=StalenessRule.RECENTLY_ISSUED,
            recently_issued_s=300,
            suspect=SuspectRule.IGNORE_SCHEDULES,
            release_time_ms=3_000,
            extended_release_time_ms=9_000,
            open_time_ms=20_000,
            pre_alarm_ms=5_000,
            relock=RelockRule.ON_OPEN,
            unlock_schedule=2,
            first_person_in=True,
            double_tap_ms=3_001,
            maintenance=True,
            interlock=True,
            lock_time_ms=1_000,
            anti_passback=AntiPassbackRule.TIMED,
            anti_passback_s=60,
            forget_presence_before_s=1_760_000_000,
            two_person=True,
            escorts=2,
            companion_ms=20_001,
            pin_below=Assurance.DYNAMIC_TAG,
            pin_attempts=5,
            pin_block_s=301,
            printed_uses=4,
        ),
        levels={7: (0, 2), 9: ()},
        schedules={
            2: Schedule(
                (Window(0b0010001, 480, 1110),),
                (Window(0b1000000, 0, 1440),),
                {0: (), day_of(2026, 12, 24): (Window(ALL_DAYS, 480, 720), Window(ALL_DAYS, 780, 1440))},
            )
        },
        holidays=frozenset({0, day_of(2026, 12, 25)}),
        assurance_hours=(AssuranceHours(0, Assurance.ROTATING), AssuranceHours(2, Assurance.NONCE_BOUND)),
        passages={"outside": Passage(0, 1), "inside": Passage(1, 0)},
        areas={1: Area(200, 180)},
        locks_out=True,
    )


def test_the_last_day_that_can_be_named_is_taken():
    assert bundle(read(b'{"holidays": ["2243-10-17"]}')).holidays == {MAX_DAY}


def test_no_setting_of_the_full_document_is_left_at_its_default():
    settings, default = bundle(read(_FULL)).settings, DoorSettings()
    assert [each.name for each in fields(default) if getattr(settings, each.name) == getattr(default, each.name)] == []


def day_of(year: int, month: int, day: int) -> int:
    """Count the days since 1970-01-01."""
    return (date(year, month, day) - date(1970, 1, 1)).days


def test_what_is_left_out_has_the_defaults_of_a_door():
    assert to_names(SettingsDocument()) == to_names(DoorSettings())


def to_names(settings: SettingsDocument | DoorSettings) -> dict[str, object]:
    """Write settings as operators do."""
    return {
        each.name: value.name.lower() if isinstance(value := getattr(settings, each.name), IntEnum) else value
        for each in fields(DoorSettings)
    }


def test_every_name_of_a_rule_is_one_that_operators_may_write():
    kinds = {each.name: type(getattr(DoorSettings(), each.name)) for each in fields(DoorSettings)}
    rules = {name: kind for name, kind in kinds.items() if issubclass(kind, IntEnum)}
    hints = get_type_hints(SettingsDocument)
    assert {name: set(get_args(hints[name])) for name in rules} == {
        name: {each.name.lower() for each in kind} for name, kind in rules.items()
    }


def test_an_empty_document_has_the_defaults_and_admits_nobody():
    made = bundle(read(b"{}"))
    assert made == PolicyBundle(
        tenant=made.tenant,
        door=made.door,
        version=made.version,
        issued_at_s=made.issued_at_s,
        timezone=made.timezone,
        levels={},
        schedules={},
    )


def _exceptions(days: bytes) -> bytes:
    return b'{"schedules": [{"id": 1, "windows": [], "exceptions": [' + days + b"]}]}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"accessLevels": [{"id": 1, "schedules": [5]}]}', "level 1 names schedule 5"),
        (b'{"accessLevels": [{"id": 1, "schedules": []}, {"id": 1, "schedules": []}]}', "1 stands there twice"),
        (b'{"schedules": [{"id": 1, "windows": []}, {"id": 1, "windows": []}]}', "1 stands there twice"),
        (b'{"settings": {"openTimeMs": 5000, "preAlarmMs": 5001}}', "preAlarmMs"),
        (b'{"holidays": ["1969-12-31"]}', "before 1970"),
        (b'{"holidays": ["2243-10-18"]}', "after 2243"),
        (
            b'{"schedules": [{"id": 1, "windows": [{"days": ["mon"], "start": "22:00", "end": "06:00"}]}]}',
            "over midnight as two",
        ),
        (
            _exceptions(b'{"date": "2026-12-24", "windows": [{"start": "12:00", "end": "12:00"}]}'),
            "schedule 1 the window 12:00-12:00",
        ),
        (
            _exceptions(b'{"date": "2026-12-24"}, {"date": "2026-12-24"}'),
            "schedule 1 the exception: 2026-12-24 stands there twice",
        ),
        (_exceptions(b'{"date": "1969-12-31"}'), "schedule 1: 1969-12-31 is before 1970"),
        (b'{"settings": {"unlockSchedule": 1}}', "unlockSchedule names schedule 1"),
        (b'{"settings": {"antiPassback": "timed"}}', "needs antiPassbackS"),
        (b'{"assuranceHours": [{"schedule": 4, "assurance": "rotating"}]}', "an entry names schedule 4"),
        (
            b'{"assuranceHours": [{"schedule": 0, "assurance": "rotating"}, {"schedule": 0, "assurance": "printed"}]}',
            "assuranceHours: schedule: 0 stands there twice",
        ),
        (b'{"passages": [{"reader": "in", "outOf": 1, "into": 1}]}', "reader in leads back into area 1"),
        (
            b'{"passages": [{"reader": "in", "outOf": 0, "into": 1}, {"reader": "in", "outOf": 1, "into": 0}]}',
            "passages: reader: in stands there twice",
        ),
        (b'{"areas": [{"id": 1, "limit": 2}]}', "no passage leads into or out of area 1"),
        (
            b'{"passages": [{"reader": "in", "outOf": 0, "into": 1}], "areas": [{"id": 1, "limit": 2, "warning": 3}]}',
            "warning of area 1",
        ),
        (
            b'{"passages": [{"reader": "in", "outOf": 0, "into": 1}], "areas": [{"id": 1}, {"id": 1}]}',
            "areas: 1 stands there twice",
        ),
    ],
)
def test_a_document_that_makes_no_sense_says_where(text: bytes, words: str):
    with pytest.raises(CloudError, match=words) as caught:
        bundle(read(text))
    assert caught.value.reason is Reason.POLICY_INVALID


@pytest.mark.parametrize(
    "text",
    [
        b'{"unknown": 1}',
        b'{"settings": {"mode": "ajar"}}',
        b'{"settings": {"releaseTimeMs": 0}}',
        b'{"schedules": [{"id": 0, "windows": []}]}',
        b'{"schedules": [{"id": 1, "windows": [{"days": [], "start": "08:00", "end": "09:00"}]}]}',
        b'{"schedules": [{"id": 1, "windows": [{"days": ["mon"], "start": "8:00", "end": "09:00"}]}]}',
        b'{"accessLevels": [{"id": 65536, "schedules": []}]}',
        b'{"settings": {"companionMs": 0}}',
        b'{"settings": {"pinAttempts": 0}}',
        b'{"settings": {"pinAttempts": 1001}}',
        b'{"settings": {"pinBlockS": 0}}',
        b'{"settings": {"printedUses": -1}}',
        b'{"settings": {"printedUses": 1001}}',
        b'{"settings": {"escorts": 3}}',
        b'{"settings": {"twoPerson": 1}}',
        b'{"settings": {"antiPassback": "sometimes"}}',
        b'{"settings": {"forgetPresenceBeforeS": 252887674389}}',
        _exceptions(b'{"date": "2026-02-30"}'),
        _exceptions(b'{"date": "2026-12-24", "windows": [{"days": ["thu"], "start": "08:00", "end": "09:00"}]}'),
        b'{"assuranceHours": [{"schedule": 0, "assurance": "absolute"}]}',
        b'{"passages": [{"reader": "In", "outOf": 0, "into": 1}]}',
        b'{"passages": [{"reader": "in", "outOf": 0, "into": 65536}]}',
        b'{"areas": [{"id": 0, "limit": 1}]}',
        b'{"areas": [{"id": 1, "limit": 1000001}]}',
        b'{"lockOut": "yes"}',
    ],
)
def test_a_document_of_the_wrong_form_does_not_parse(text: bytes):
    with pytest.raises(msgspec.ValidationError):
        read(text)


async def test_versions_rise_only_with_changes(parts: Parts):
    tenant = await parts.make_tenant()
    full = read(_FULL)
    versions = [await parts.issuing.put_policy(tenant, DOOR, each) for each in (_NOBODY, _NOBODY, full, full, _NOBODY)]
    assert versions == [1, 1, 2, 2, 3]
    key = (await parts.issuing.keyring.signer(tenant, KeyRole.POLICY)).public_key
    signed = await parts.issuing.policies.current(tenant, DOOR)
    assert (signed.version, open_policy(signed.data, key).version) == (3, 3)
    assert (await parts.issuing.policies.show(tenant, DOOR)).policy == PolicyDocument()


async def test_a_door_without_policy_has_none(parts: Parts):
    tenant = await parts.make_tenant()
    for ask in (parts.issuing.policies.current(tenant, DOOR), parts.issuing.policies.show(tenant, DOOR)):
        with pytest.raises(CloudError) as caught:
            await ask
        assert caught.value.reason is Reason.POLICY_UNKNOWN


async def test_a_door_that_is_not_there_gets_no_policy(parts: Parts):
    tenant = await parts.make_tenant()
    with pytest.raises(CloudError) as caught:
        await parts.issuing.put_policy(tenant, DoorId("nowhere"), PolicyDocument())
    assert caught.value.reason is Reason.DOOR_UNKNOWN


async def test_a_policy_larger_than_a_door_reads_is_refused(parts: Parts):
    tenant = await parts.make_tenant()
    window = {"days": ["mon"], "start": "08:00", "end": "09:00"}
    levels = [{"id": 1, "schedules": [0]}]
    huge = {
        "accessLevels": levels,
        "schedules": [{"id": number, "windows": [window] * 64} for number in range(1, 1025)],
    }
    with pytest.raises(CloudError, match="could not read") as caught:
        await parts.issuing.put_policy(tenant, DOOR, msgspec.convert(huge, PolicyDocument))
    assert caught.value.reason is Reason.POLICY_INVALID


async def test_what_an_operator_gives_while_policies_are_signed_again_stays(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.issuing.put_policy(tenant, DOOR, admitting(7, 9))
    await parts.issuing.rotate(tenant, [KeyRole.POLICY])
    parts.clock.advance(OVERLAP)
    given, again = await one_after_the_other(
        parts, tenant, parts.issuing.put_policy(tenant, DOOR, admitting(7)), parts.issuing.policies.sign_again(tenant)
    )
    assert (given, again) == (2, 0)
    assert await shown(parts, tenant) == (2, admitting(7))


async def test_what_an_operator_gives_while_a_door_is_locked_down_stays(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.issuing.put_policy(tenant, DOOR, admitting(7, 9))
    await parts.issuing.policies.order_lockdown(tenant, [DOOR], on=True)
    given, signed = await one_after_the_other(
        parts,
        tenant,
        parts.issuing.put_policy(tenant, DOOR, admitting(7)),
        parts.issuing.policies.sign_lockdown(tenant, DOOR),
    )
    assert (given, signed) == (2, 2)
    assert await shown(parts, tenant) == (2, admitting(7))


async def test_an_order_of_lockdown_locks_doors_in_one_order(parts: Parts):
    """Two orders at a time would wait for each other else; DOOR's row lies before that of a-door."""
    tenant = await parts.make_tenant()
    first = DoorId("a-door")
    await parts.pool.execute(
        "INSERT INTO doors SELECT tenant_id, $2, site, name, access_point, created_at FROM doors WHERE tenant_id = $1",
        tenant,
        first,
    )
    lock = "SELECT FROM doors WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE"
    async with parts.pool.acquire() as connection, connection.transaction():
        await connection.execute(lock, tenant, first)
        ordering = asyncio.create_task(parts.issuing.policies.order_lockdown(tenant, [DOOR, first], on=True))
        await parts.until_waiting()
        async with asyncio.timeout(DEADLINE_S):
            await connection.execute(lock, tenant, DOOR)
    await ordering
    assert await parts.pool.fetchval("SELECT count(*) FROM doors WHERE tenant_id = $1 AND locked_down", tenant) == 2


def admitting(*levels: int) -> PolicyDocument:
    return PolicyDocument(access_levels=[LevelDocument(id=level, schedules=[0]) for level in levels])


async def shown(parts: Parts, tenant: Tenant) -> tuple[int, PolicyDocument]:
    found = await parts.issuing.policies.show(tenant, DOOR)
    return found.version, found.policy


async def one_after_the_other(parts: Parts, tenant: Tenant, *work: Coroutine[Any, Any, int]) -> list[int]:
    """Let each begin while the one before waits for the door, and then let them go on in this order."""
    tasks: list[Awaitable[int]] = []
    async with parts.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM doors WHERE tenant_id = $1 FOR UPDATE", tenant)
        for each in work:
            tasks.append(asyncio.create_task(each))
            await parts.until_waiting(len(tasks))
    return await asyncio.gather(*tasks)
