"""Policies: what operators write, what doors read, and which version is in force."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import msgspec
import pytest

from cloud.errors import CloudError, Reason
from cloud.issuing.keys import KeyRole
from cloud.issuing.policy_models import PolicyDocument, to_bundle
from tests.support.cloud_parts import DOOR, Parts, cloud_parts
from wire.names import Assurance, DoorId, DoorMode, RelockRule, StalenessRule, SuspectRule, Tenant
from wire.policy import PolicyBundle, Schedule, Window, open_policy
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_FULL = b"""{
    "settings": {
        "mode": "unlocked", "minimumAssurance": "printed", "maxRevocationAgeS": 600, "staleness": "recently_issued",
        "recentlyIssuedS": 300, "suspect": "ignore_schedules", "releaseTimeMs": 3000,
        "extendedReleaseTimeMs": 9000, "openTimeMs": 20000, "preAlarmMs": 5000, "relock": "on_open"
    },
    "accessLevels": [{"id": 7, "schedules": [2, 0, 2]}, {"id": 9, "schedules": []}],
    "schedules": [{
        "id": 2,
        "windows": [{"days": ["mon", "fri"], "start": "08:00", "end": "18:30"}],
        "holidayWindows": [{"days": ["sun"], "start": "00:00", "end": "24:00"}]
    }],
    "holidays": ["2026-12-25", "1970-01-01"]
}"""


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
        ),
        levels={7: (0, 2), 9: ()},
        schedules={2: Schedule((Window(0b0010001, 480, 1110),), (Window(0b1000000, 0, 1440),))},
        holidays=frozenset({0, (date(2026, 12, 25) - date(1970, 1, 1)).days}),
    )


def test_an_empty_document_has_the_defaults_and_admits_nobody():
    made = bundle(read(b"{}"))
    assert (made.settings, made.levels, made.schedules) == (DoorSettings(), {}, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"accessLevels": [{"id": 1, "schedules": [5]}]}', "level 1 names schedule 5"),
        (b'{"accessLevels": [{"id": 1, "schedules": []}, {"id": 1, "schedules": []}]}', "1 stands there twice"),
        (b'{"schedules": [{"id": 1, "windows": []}, {"id": 1, "windows": []}]}', "1 stands there twice"),
        (b'{"settings": {"openTimeMs": 5000, "preAlarmMs": 5001}}', "preAlarmMs"),
        (b'{"holidays": ["1969-12-31"]}', "before 1970"),
        (
            b'{"schedules": [{"id": 1, "windows": [{"days": ["mon"], "start": "22:00", "end": "06:00"}]}]}',
            "over midnight as two",
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
    ],
)
def test_a_document_of_the_wrong_form_does_not_parse(text: bytes):
    with pytest.raises(msgspec.ValidationError):
        read(text)


async def test_versions_rise_only_with_changes(parts: Parts):
    tenant = await parts.make_tenant()
    empty, full = read(b"{}"), read(_FULL)
    versions = [await parts.issuing.put_policy(tenant, DOOR, each) for each in (empty, empty, full, full, empty)]
    assert versions == [1, 1, 2, 2, 3]
    key = (await parts.issuing.keyring.signer(tenant, KeyRole.POLICY)).public_key
    signed = await parts.issuing.policies.current(tenant, DOOR)
    assert (signed.version, open_policy(signed.data, key).version) == (3, 3)
    assert (await parts.issuing.policies.show(tenant, DOOR)).policy == empty


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
    huge = {"schedules": [{"id": number, "windows": [window] * 64} for number in range(1, 1025)]}
    with pytest.raises(CloudError, match="could not read") as caught:
        await parts.issuing.put_policy(tenant, DOOR, msgspec.convert(huge, PolicyDocument))
    assert caught.value.reason is Reason.POLICY_INVALID
