"""What only the way over MQTT does: it survives its broker, and says why it does not get through."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from cloud.devices.authority import open_authority
from sync.mqtt_uplink import Broker, MqttDeadlines, MqttUplink
from sync.ports import Reason, UplinkError
from sync.surroundings import SystemSurroundings
from tests.support.door_journal import DEVICE, MemoryJournal
from tests.support.memory_uplink import MemoryUplink
from tests.support.mosquitto import HOST, running_mosquitto
from tests.support.peer_cloud import DEVICE_SIGNER, TENANT, PeerCloud
from tests.support.peer_subscriber import subscribed
from tests.support.waiting import DEADLINE_S, until
from wire.batch import seal_batch
from wire.mqtt import Reply, batch_hash, encode_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.mosquitto import Mosquitto

_IMPATIENT = MqttDeadlines(connect_s=2.0, send_s=1.0, knock_s=1.0)
_ACK = f"dw/1/{TENANT}/{DEVICE}/down/ack"


@pytest.fixture
async def broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


def place(broker: Mosquitto) -> Broker:
    files = broker.door_files(TENANT, DEVICE)
    return Broker(
        url=broker.url, tenant=TENANT, device=DEVICE, certificate=files.certificate, key=files.key, ca=files.ca
    )


def batch() -> bytes:
    journal = MemoryJournal()
    journal.write(3)
    return seal_batch(device=journal.device, epoch=journal.epoch, first=1, events=journal.history, signer=DEVICE_SIGNER)


def opened(where: Broker, deadlines: MqttDeadlines = _IMPATIENT) -> MqttUplink:
    return MqttUplink(where, MemoryUplink(PeerCloud(SystemSurroundings())), deadlines)


async def fault(uplink: MqttUplink) -> UplinkError:
    try:
        with pytest.raises(UplinkError) as caught:
            await uplink.send_batch(batch())
    finally:
        await uplink.aclose()
    return caught.value


@asynccontextmanager
async def sending(
    uplink: MqttUplink, data: bytes, broker: Mosquitto
) -> AsyncIterator[tuple[aiomqtt.Client, asyncio.Task[bytes]]]:
    """Be the cloud at the broker, with a batch that has come and not been answered."""
    async with aiomqtt.Client(
        HOST,
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=broker.service_files().context(),
        timeout=DEADLINE_S,
    ) as cloud:
        await cloud.subscribe("dw/1/+/+/up/events", qos=1)
        answer = asyncio.create_task(uplink.send_batch(data))
        async with asyncio.timeout(DEADLINE_S):
            await anext(cloud.messages)
        yield cloud, answer


async def test_a_confirmation_of_the_broker_is_no_answer(broker: Mosquitto):
    """Nobody listens: mosquitto confirms the batch and forgets it."""
    assert (await fault(opened(place(broker)))).reason is Reason.DEADLINE


async def test_a_broker_that_was_killed_is_found_again(broker: Mosquitto):
    cloud = PeerCloud(SystemSurroundings())
    uplink = opened(place(broker), MqttDeadlines())
    data = batch()
    try:
        async with subscribed(cloud, broker):
            await uplink.send_batch(data)
            await broker.kill()
            with pytest.raises(UplinkError) as caught:
                await uplink.send_batch(data)
            assert caught.value.reason is Reason.UNREACHABLE
        await broker.start()
        async with subscribed(cloud, broker):
            assert await uplink.send_batch(data)
    finally:
        await uplink.aclose()


async def test_the_cloud_comes_back_when_its_broker_does(broker: Mosquitto):
    cloud = PeerCloud(SystemSurroundings())
    uplink = opened(place(broker), MqttDeadlines())
    try:
        async with subscribed(cloud, broker) as consumer:
            await broker.kill()
            await until(lambda: not consumer.following.is_set())
            await broker.start()
            async with asyncio.timeout(DEADLINE_S):
                await consumer.following.wait()
            assert await uplink.send_batch(batch())
    finally:
        await uplink.aclose()


async def test_late_foreign_and_unreadable_answers_are_dropped(broker: Mosquitto):
    uplink = opened(place(broker), MqttDeadlines())
    data = batch()
    wrong = Reply(of=bytes(16), status=200, body=b"foreign")
    right = Reply(of=batch_hash(data), status=200, body=b"right")
    try:
        async with sending(uplink, data, broker) as (cloud, answer):
            for reply in (b"\xffgarbage", b"", encode_reply(wrong), encode_reply(right), encode_reply(right)):
                await cloud.publish(_ACK, reply, qos=1)
            assert await answer == b"right"
    finally:
        await uplink.aclose()


async def test_a_refusal_says_when_to_come_back(broker: Mosquitto):
    uplink = opened(place(broker), MqttDeadlines())
    data = batch()
    busy = Reply(of=batch_hash(data), status=503, body=b"{}", retry_after_s=7)
    try:
        async with sending(uplink, data, broker) as (cloud, answer):
            await cloud.publish(_ACK, encode_reply(busy), qos=1)
            with pytest.raises(UplinkError) as caught:
                await answer
    finally:
        await uplink.aclose()
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.BUSY, 7)


async def test_a_certificate_of_another_authority_is_named_as_the_reason(broker: Mosquitto, tmp_path: Path):
    stranger = open_authority(tmp_path / "stranger", now=datetime.now(UTC)).certify_service(now=datetime.now(UTC))
    pem = tmp_path / "stranger.pem"
    pem.write_bytes(stranger.to_pem())
    found = await fault(opened(replace(place(broker), certificate=pem, key=pem)))
    assert found.reason is Reason.TLS_REFUSED
    assert "authority" in found.what


async def test_a_broker_of_another_authority_is_not_believed(broker: Mosquitto, tmp_path: Path):
    open_authority(tmp_path / "stranger", now=datetime.now(UTC))
    found = await fault(opened(replace(place(broker), ca=tmp_path / "stranger" / "ca.crt")))
    assert found.reason is Reason.TLS_REFUSED


async def test_a_broker_that_is_down_is_unreachable(broker: Mosquitto):
    where = place(broker)
    await broker.stop()
    assert (await fault(opened(where))).reason is Reason.UNREACHABLE


async def test_missing_files_are_named(broker: Mosquitto, tmp_path: Path):
    found = await fault(opened(replace(place(broker), key=tmp_path / "nothing")))
    assert found.reason is Reason.TLS_REFUSED
    assert "nothing" in found.remedy


@pytest.mark.parametrize("url", ["https://cloud:8883", "mqtts://", "mqtts://cloud:x", "mqtts://[", ""])
async def test_what_is_no_address_is_refused(broker: Mosquitto, url: str):
    assert (await fault(opened(replace(place(broker), url=url)))).reason is Reason.REFUSED
