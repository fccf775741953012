"""Events over real TLS with client certificates, to a running service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.cloud_parts import keys_of
from tests.support.clouds import trusting
from tests.support.door_batches import Journal
from tests.support.waiting import DEADLINE_S
from wire.batch import MAX_BATCH_BYTES, open_acknowledgement
from wire.keys import P256Signer
from wire.messages import DEVICE_EVENTS, MEDIA_COSE
from wire.names import DeviceId, EventKind, KeyPurpose
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from tests.support.clouds import Device, RunningCloud


def journal_of(device: Device, count: int) -> Journal:
    made = Journal(DeviceId(device.name), P256Signer(device.key))
    made.grow(count)
    return made


async def post(device: Device, body: bytes) -> httpx.Response:
    async with device.client() as client:
        return await client.post(DEVICE_EVENTS, content=body)


async def test_a_door_gets_a_signed_acknowledgement_and_operators_see_its_events(cloud: RunningCloud):
    device = await cloud.enrolled("http-1")
    journal = journal_of(device, 3)
    answer = await post(device, journal.batch(1, 3))
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_COSE)
    trust = parse_pinned((await cloud.api.get("/api/v1/institutions/http-1/trust")).content).open()
    (key,) = keys_of(trust, KeyPurpose.ACKNOWLEDGEMENT)
    assert open_acknowledgement(answer.content, key.key).head == journal.head
    seen = (await cloud.api.get("/api/v1/institutions/http-1/events")).json()
    assert [event["seq"] for event in seen["data"]] == [1, 2, 3]
    chain = (await cloud.api.get(f"/api/v1/institutions/http-1/devices/{device.name}/chain")).json()
    assert (chain["ok"], chain["last"], chain["head"]) == (True, 3, journal.head.hex())


async def test_a_gap_tells_the_door_where_to_go_on(cloud: RunningCloud):
    device = await cloud.enrolled("http-2")
    journal = journal_of(device, 9)
    assert (await post(device, journal.batch(1, 4))).status_code == 200
    answer = await post(device, journal.batch(6, 9))
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert (answer.json()["reason"], answer.json()["durable"]) == ("SEQUENCE_GAP", 4)


async def test_a_fork_is_answered_with_what_is_stored(cloud: RunningCloud):
    device = await cloud.enrolled("http-3")
    journal = journal_of(device, 4)
    assert (await post(device, journal.batch(1, 4))).status_code == 200
    copied = journal.branched(3)
    copied.grow(4, kind=EventKind.ACCESS_DENIED)
    answer = await post(device, copied.batch(3, 6))
    assert (answer.status_code, answer.json()["reason"], answer.json()["durable"]) == (409, "CHAIN_BROKEN", 4)
    metrics = (await cloud.api.get("/metrics")).text
    assert 'doorward_ingest_alarms_total{reason="CHAIN_BROKEN"} 1.0' in metrics
    assert "doorward_ingest_events_total 4.0" in metrics


@pytest.mark.parametrize(
    ("tenant", "body", "status", "reason"),
    [
        ("http-empty", b"", 422, "BATCH_INVALID"),
        ("http-garbage", b"garbage", 422, "BATCH_INVALID"),
        ("http-large", bytes(MAX_BATCH_BYTES + 1), 413, "BODY_TOO_LARGE"),
    ],
)
async def test_unusable_bodies_are_refused(cloud: RunningCloud, tenant: str, body: bytes, status: int, reason: str):
    device = await cloud.enrolled(tenant)
    answer = await post(device, body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_a_batch_of_one_door_sent_by_another_is_refused(cloud: RunningCloud):
    one, two = await cloud.enrolled("http-4"), await cloud.enrolled("http-5")
    answer = await post(two, journal_of(one, 2).batch(1, 2))
    assert (answer.status_code, answer.json()["reason"]) == (403, "BATCH_SIGNATURE_INVALID")


async def test_without_a_client_certificate_nothing_is_taken(cloud: RunningCloud):
    device = await cloud.enrolled("http-6")
    async with httpx.AsyncClient(base_url=device.url, verify=trusting(device.ca), timeout=DEADLINE_S) as client:
        answer = await client.post(DEVICE_EVENTS, content=journal_of(device, 1).batch(1, 1))
    assert (answer.status_code, answer.json()["reason"]) == (401, "DEVICE_CERTIFICATE_REQUIRED")


async def test_a_revoked_door_is_refused_at_once(cloud: RunningCloud):
    device = await cloud.enrolled("http-7")
    journal = journal_of(device, 2)
    assert (await post(device, journal.batch(1, 1))).status_code == 200
    await cloud.api.post(f"/api/v1/institutions/http-7/devices/{device.name}/revoke")
    answer = await post(device, journal.batch(2, 2))
    assert (answer.status_code, answer.json()["reason"]) == (403, "DEVICE_REVOKED")
