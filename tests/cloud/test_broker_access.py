"""Whom a real mosquitto lets in with our configuration, and to what."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from cloud.broker.bounds import MAX_MESSAGE_BYTES
from cloud.broker.names import SEATS, WATCH_NAME, cloud_name
from cloud.devices.authority import open_authority
from tests.support.mosquitto import HOST, ClientFiles, running_mosquitto
from tests.support.waiting import DEADLINE_S
from wire.mqtt import MAX_UP_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.mosquitto import Mosquitto


@pytest.fixture
async def broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


@asynccontextmanager
async def connected(
    broker: Mosquitto, files: ClientFiles, identifier: str = "any", *, wait_s: float = DEADLINE_S
) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(
        HOST,
        broker.port,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=files.context(),
        timeout=wait_s,
    ) as client:
        yield client


async def following(client: aiomqtt.Client) -> tuple[str, object]:
    async with asyncio.timeout(DEADLINE_S):
        message = await anext(client.messages)
    return str(message.topic), message.payload


async def test_a_door_reaches_the_cloud_and_the_cloud_the_door(broker: Mosquitto):
    files = broker.door_files("north", "gate-1")
    async with connected(broker, broker.service_files()) as cloud, connected(broker, files) as door:
        await cloud.subscribe("dw/1/+/+/up/#", qos=1)
        await door.subscribe("dw/1/north/gate-1/down/ack", qos=1)
        await door.publish("dw/1/north/gate-1/up/events/3", b"batch", qos=1)
        assert await following(cloud) == ("dw/1/north/gate-1/up/events/3", b"batch")
        await cloud.publish("dw/1/north/gate-1/down/ack", b"answer", qos=1)
        assert await following(door) == ("dw/1/north/gate-1/down/ack", b"answer")


async def test_a_door_cannot_speak_for_another(broker: Mosquitto):
    """The forbidden messages are confirmed like any other, which is why a confirmation means nothing."""
    async with (
        connected(broker, broker.service_files()) as cloud,
        connected(broker, broker.door_files("north", "gate-1")) as door,
    ):
        await cloud.subscribe("dw/1/+/+/up/#", qos=1)
        for foreign in ("north/gate-2", "south/gate-1", "_cloud/gate-1"):
            await door.publish(f"dw/1/{foreign}/up/events/3", b"forged", qos=1)
        await door.publish("dw/1/north/gate-1/up/events/3", b"own", qos=1)
        assert await following(cloud) == ("dw/1/north/gate-1/up/events/3", b"own")


async def test_a_door_writes_to_its_own_topics_only_and_leaves_nothing_at_the_broker(broker: Mosquitto):
    """A broker keeps a retained message for each topic, and counts it in no queue."""
    files = broker.door_files("north", "gate-1")
    async with connected(broker, broker.service_files()) as cloud:
        await cloud.subscribe("dw/1/+/+/up/#", qos=1)
        async with connected(broker, files) as door:
            for odd in ("up/events/16", "up/events", "up/events/3/x", "up/x", "up", "down/ack"):
                await door.publish(f"dw/1/north/gate-1/{odd}", b"odd", qos=1)
            await door.publish("dw/1/north/gate-1/up/events/15", b"batch", qos=1)
            await door.publish("dw/1/north/gate-1/up/health", b"well", qos=1)
            assert [await following(cloud) for _ in range(2)] == [
                ("dw/1/north/gate-1/up/events/15", b"batch"),
                ("dw/1/north/gate-1/up/health", b"well"),
            ]
            with pytest.raises(aiomqtt.MqttError):
                await door.publish("dw/1/north/gate-1/up/health", b"kept", qos=1, retain=True)
        async with connected(broker, broker.service_files(cloud_name(1))) as later, connected(broker, files) as door:
            await later.subscribe("dw/1/+/+/up/#", qos=1)
            await door.publish("dw/1/north/gate-1/up/health", b"new", qos=1)
            assert await following(later) == ("dw/1/north/gate-1/up/health", b"new")


async def test_a_door_of_the_same_name_in_another_institution_hears_nothing(broker: Mosquitto):
    """Here mosquitto grants a foreign subscription and then delivers nothing; other brokers refuse it."""
    async with (
        connected(broker, broker.service_files()) as cloud,
        connected(broker, broker.door_files("south", "gate-1")) as door,
    ):
        for wanted in ("dw/1/north/gate-1/down/ack", "dw/1/+/+/down/ack", "#"):
            await door.subscribe(wanted, qos=1)
        await cloud.publish("dw/1/north/gate-1/down/ack", b"not yours", qos=1)
        await cloud.publish("dw/1/south/gate-1/down/ack", b"yours", qos=1)
        assert await following(door) == ("dw/1/south/gate-1/down/ack", b"yours")


async def test_a_door_cannot_take_the_client_id_of_another(broker: Mosquitto):
    async with connected(broker, broker.door_files("north", "gate-1")) as door:
        async with connected(broker, broker.door_files("north", "gate-2"), identifier="north/gate-1"):
            await door.subscribe("dw/1/north/gate-1/down/ack", qos=1)
        async with connected(broker, broker.service_files()) as cloud:
            await cloud.publish("dw/1/north/gate-1/down/ack", b"still here", qos=1)
            assert await following(door) == ("dw/1/north/gate-1/down/ack", b"still here")


async def test_nobody_gets_in_without_a_certificate_of_this_authority(broker: Mosquitto, tmp_path: Path):
    """TLS 1.3 tells a client that its certificate is refused only after its side of the handshake is over."""
    stranger = open_authority(tmp_path / "stranger", now=datetime.now(UTC))
    identity = stranger.certify_service(now=datetime.now(UTC))
    own = broker.door_files("north", "gate-1")
    pem = tmp_path / "stranger.pem"
    pem.write_bytes(identity.to_pem())
    with pytest.raises(aiomqtt.MqttError):
        async with connected(broker, ClientFiles(pem, pem, own.ca), wait_s=3.0):
            pass
    async with connected(broker, own):
        pass


async def test_two_processes_of_the_cloud_are_there_at_a_time(broker: Mosquitto):
    """A broker ends a session when its name comes a second time, so each process has a name of its own."""
    files = broker.door_files("north", "gate-1")
    async with (
        connected(broker, broker.service_files(cloud_name(0))) as first,
        connected(broker, broker.service_files(cloud_name(SEATS - 1))) as last,
        connected(broker, files) as door,
    ):
        await door.subscribe("dw/1/north/gate-1/down/ack", qos=1)
        for cloud, lane in ((first, 3), (last, 4)):
            await cloud.subscribe(f"dw/1/+/+/up/events/{lane}", qos=1)
            await door.publish(f"dw/1/north/gate-1/up/events/{lane}", b"batch", qos=1)
            assert await following(cloud) == (f"dw/1/north/gate-1/up/events/{lane}", b"batch")
            await cloud.publish("dw/1/north/gate-1/down/ack", b"answer", qos=1)
            assert await following(door) == ("dw/1/north/gate-1/down/ack", b"answer")


async def test_who_watches_the_broker_neither_hears_nor_speaks(broker: Mosquitto):
    async with (
        connected(broker, broker.service_files(WATCH_NAME)) as watch,
        connected(broker, broker.service_files()) as cloud,
    ):
        await watch.subscribe("#", qos=1)
        await cloud.subscribe("dw/1/+/+/up/#", qos=1)
        await watch.publish("dw/1/north/gate-1/up/health", b"forged", qos=1)
        async with connected(broker, broker.door_files("north", "gate-1")) as door:
            await door.publish("dw/1/north/gate-1/up/health", b"own", qos=1)
        assert await following(cloud) == ("dw/1/north/gate-1/up/health", b"own")
        assert len(watch.messages) == 0


async def test_a_message_larger_than_any_batch_ends_the_session_of_who_sent_it(broker: Mosquitto):
    async with connected(broker, broker.door_files("north", "gate-1")) as door:
        sending = asyncio.create_task(
            door.publish("dw/1/north/gate-1/up/events/0", bytes(MAX_MESSAGE_BYTES + 1_024), qos=0, timeout=1.0)
        )
        with pytest.raises(aiomqtt.MqttError, match="Disconnected"):
            await following(door)
        await asyncio.wait((sending,))
        sending.exception()  # that depends on how much of it was on its way
    async with connected(broker, broker.door_files("north", "gate-2")) as door:
        await door.publish("dw/1/north/gate-2/up/events/0", bytes(MAX_UP_BYTES), qos=1)
