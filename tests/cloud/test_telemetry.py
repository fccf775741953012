"""What doors say about themselves: taken over real TLS, kept, judged, shown, counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from cloud.database import Pool, close_pool, open_pool
from cloud.devices.last_seen import LastSeen
from cloud.errors import CloudError, Reason
from cloud.telemetry import desk as desks
from cloud.telemetry.condition import Condition, condition_of, faults
from cloud.telemetry.desk import HealthDesk
from cloud.telemetry.shown import read_report
from tests.support.clouds import RunningCloud, trusting
from tests.support.waiting import DEADLINE_S
from tests.vectors.parts.reports import USUAL_HEALTH
from wire.health import MAX_HEALTH_BYTES, DeviceHealth, DeviceKind, DeviceState, Health, encode_health
from wire.messages import DEVICE_HEALTH, MEDIA_HEALTH
from wire.names import ClockState, DeviceId, EventKind, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKING = replace(
    USUAL_HEALTH, devices=(DeviceHealth("entry", DeviceKind.READER, DeviceState.WORKING),), alarms=(EventKind.FIRE,)
)
LOST = replace(WORKING, devices=(DeviceHealth("entry", DeviceKind.READER, DeviceState.LOST),))


@pytest.fixture(name="cloud")
def _cloud(shared_cloud: RunningCloud) -> RunningCloud:
    return shared_cloud


@pytest_asyncio.fixture(name="pool", loop_scope="module")
async def _pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, size=2)
    yield pool
    await close_pool(pool, deadline_s=DEADLINE_S)


def _now() -> datetime:
    return datetime.now(UTC)


def _desk(pool: Pool, registry: CollectorRegistry | None = None) -> HealthDesk:
    return HealthDesk(pool, LastSeen(pool, now=_now), registry or CollectorRegistry(), now=_now)


async def _listed(cloud: RunningCloud, tenant: str, **query: str) -> list[dict[str, Any]]:
    answer = await cloud.api.get(f"/api/v1/institutions/{tenant}/devices", params=query)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


@pytest.mark.parametrize(
    ("health", "condition", "words"),
    [
        (WORKING, Condition.WORKING, []),
        (LOST, Condition.ERROR, ["reader entry is gone"]),
        (
            replace(WORKING, devices=(DeviceHealth("lock", DeviceKind.LOCK, DeviceState.FAULT),)),
            Condition.ERROR,
            ["lock lock is there but cannot be used"],
        ),
        (
            replace(WORKING, alarms=(EventKind.STORAGE_FAULT, EventKind.FORCED_OPEN)),
            Condition.ERROR,
            ["the memory card cannot be written"],
        ),
        (replace(WORKING, clock=ClockState.SUSPECT), Condition.ERROR, ["it does not know the time"]),
        (replace(LOST, alarms=(EventKind.MAINTENANCE_STARTED,)), Condition.MAINTENANCE, ["reader entry is gone"]),
    ],
)
async def test_a_report_amounts_to_a_condition_and_says_why(health: Health, condition: Condition, words: list[str]):
    assert condition_of(health) is condition
    assert list(faults(health)) == words


async def test_a_report_over_tls_is_shown_with_what_the_door_said(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("telling")
    async with device.client() as client:
        answer = await client.post(
            DEVICE_HEALTH, content=encode_health(USUAL_HEALTH), headers={"content-type": MEDIA_HEALTH}
        )
    assert (answer.status_code, answer.content) == (204, b"")
    (listed,) = await _listed(cloud, "telling")
    while not (listed["report"] and listed["lastSeen"]):  # written every few seconds
        await asyncio.sleep(0.1)
        (listed,) = await _listed(cloud, "telling")
    shown = (await cloud.api.get(f"/api/v1/institutions/telling/devices/{device.name}")).json()
    assert {**shown, "lastSeen": ""} == {**listed, "lastSeen": ""}
    assert listed["status"] == "error"
    assert listed["firmware"] == {"version": "1.0.0"}
    assert listed["capabilities"] == ["inputs", "reader"]
    assert listed["metrics"] == {"rss_mb": 71, "temperature_c": -4}
    report = listed["report"]
    assert report["parts"][1] == {"name": "gpio-1", "kind": "inputs", "state": "lost"}
    assert (report["queued"], report["way"], report["clock"]) == (2, "mqtt", "trusted")
    assert report["versions"] == {"trust": 12, "policy": 17, "status": {"0": 881}, "roster": 9, "commands": 3}
    assert report["faults"] == ["inputs gpio-1 is gone"]
    assert report["alarms"] == ["forced_open"]
    stored = await pool.fetchval("SELECT report FROM device_health WHERE device_id = $1", device.name)
    assert stored == encode_health(USUAL_HEALTH)


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 422), (b"\xa0", 422), (b"x" * 40, 422), (bytes(MAX_HEALTH_BYTES + 1), 413)]
)
async def test_what_is_no_report_is_refused_and_keeps_the_one_before(
    cloud: RunningCloud, pool: Pool, body: bytes, status: int
):
    tenant = f"garbage-{len(body)}-{status}"
    device = await cloud.enrolled(tenant)
    async with device.client() as client:
        answer = await client.post(DEVICE_HEALTH, content=body)
    assert answer.status_code == status
    assert await pool.fetchval("SELECT count(*) FROM device_health WHERE tenant_id = $1", tenant) == 0


async def test_without_a_certificate_there_is_no_report(cloud: RunningCloud):
    device = await cloud.enrolled("nobody-tells")
    async with httpx.AsyncClient(base_url=device.url, verify=trusting(device.ca), timeout=DEADLINE_S) as stranger:
        answer = await stranger.post(DEVICE_HEALTH, content=encode_health(WORKING))
    assert answer.status_code == 401


async def test_the_newest_report_counts_and_decides_the_word(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("words")
    tenant, name = Tenant("words"), DeviceId(device.name)
    last_seen = LastSeen(pool, now=_now)
    desk = HealthDesk(pool, last_seen, CollectorRegistry(), now=_now)
    for health, word in (
        (LOST, "error"),
        (WORKING, "online"),
        (replace(LOST, alarms=(EventKind.MAINTENANCE_STARTED,)), "maintenance"),
    ):
        desk.take(tenant, name, encode_health(LOST))
        desk.take(tenant, name, encode_health(health))
        await last_seen.flush()
        await desk.flush()
        assert [each["status"] for each in await _listed(cloud, "words")] == [word]
        assert len(await _listed(cloud, "words", status=word)) == 1
        assert await _listed(cloud, "words", status="offline") == []
    await pool.execute("UPDATE devices SET last_seen = now() - interval '1 hour' WHERE id = $1", device.name)
    assert [each["status"] for each in await _listed(cloud, "words")] == ["offline"]


async def test_an_older_report_never_replaces_a_newer_one(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("order")
    tenant, name = Tenant("order"), DeviceId(device.name)
    early = HealthDesk(
        pool, LastSeen(pool, now=_now), CollectorRegistry(), now=lambda: datetime(2020, 1, 1, tzinfo=UTC)
    )
    late = _desk(pool)
    late.take(tenant, name, encode_health(WORKING))
    await late.flush()
    early.take(tenant, name, encode_health(LOST))
    await early.flush()
    assert (await _listed(cloud, "order"))[0]["report"]["faults"] == []


async def test_a_report_from_a_clock_that_was_ahead_is_replaced_once_that_is_right(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("ahead")
    tenant, name = Tenant("ahead"), DeviceId(device.name)
    ahead = HealthDesk(
        pool, LastSeen(pool, now=_now), CollectorRegistry(), now=lambda: datetime(2200, 1, 1, tzinfo=UTC)
    )
    for desk, health in ((ahead, LOST), (_desk(pool), WORKING)):
        desk.take(tenant, name, encode_health(health))
        await desk.flush()
    assert (await _listed(cloud, "ahead"))[0]["report"]["faults"] == []


async def test_unknown_devices_are_passed_over_and_devices_are_counted(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("counted")
    registry = CollectorRegistry()
    last_seen = LastSeen(pool, now=_now)
    desk = HealthDesk(pool, last_seen, registry, now=_now)
    desk.take(Tenant("counted"), DeviceId("never-enrolled"), encode_health(LOST))
    desk.take(Tenant("counted"), DeviceId(device.name), encode_health(LOST))
    await last_seen.flush()
    await desk.flush()
    await desk.count()
    assert (registry.get_sample_value("doorward_devices", {"status": "error"}) or 0) >= 1
    assert registry.get_sample_value("doorward_health_reports_total") == 2
    assert (await _listed(cloud, "counted"))[0]["status"] == "error"


async def test_a_database_that_is_away_loses_no_report_and_too_many_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(desks, "_MAX_WAITING", 1)
    pool = await open_pool(database_url, size=1)
    desk = _desk(pool)
    desk.take(Tenant("away"), DeviceId("a"), encode_health(LOST))
    await close_pool(pool, deadline_s=DEADLINE_S)
    await desk.flush()
    await desk.count()
    desk.take(Tenant("away"), DeviceId("a"), encode_health(WORKING))
    with pytest.raises(CloudError) as refused:
        desk.take(Tenant("away"), DeviceId("b"), encode_health(WORKING))
    assert refused.value.reason is Reason.SERVICE_BUSY
    assert refused.value.retry_after_s


async def test_a_stored_report_of_another_version_is_none():
    assert read_report(b"\xa0") is None
    assert read_report(None) is None
