"""The tests' own cloud at a broker leaves when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiomqtt

from sync.surroundings import SystemSurroundings
from tests.support.door_journal import DEVICE
from tests.support.mosquitto import HOST, running_mosquitto
from tests.support.peer_broker import cloud_at
from tests.support.peer_cloud import TENANT, PeerCloud
from tests.support.waiting import DEADLINE_S
from wire.mqtt import Reply, batch_hash, events_topic
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode


async def test_it_leaves_though_a_confirmation_comes_at_the_same_instant():
    """`asyncio.wait_for` before Python 3.12 then loses the order to end, and the block would never be left."""
    async with (
        asyncio.timeout(DEADLINE_S),
        running_mosquitto() as broker,
        aiomqtt.Client(
            HOST,
            broker.port,
            protocol=aiomqtt.ProtocolVersion.V311,
            tls_context=broker.door_files(TENANT, DEVICE).context(),
        ) as door,
        cloud_at(broker, PeerCloud(SystemSurroundings())) as peer,
    ):
        peer.instead = lambda data: Reply(of=batch_hash(data), status=503, body=b"{}")
        confirmed, usual = asyncio.Event(), peer.client._on_publish

        def told(client: Client, data: object, number: int, code: ReasonCode, properties: Properties) -> None:
            usual(client, data, number, code, properties)
            confirmed.set()

        peer.client._client.on_publish = told
        await door.publish(events_topic(Tenant(TENANT), DeviceId(DEVICE)), b"batch", qos=1)
        await confirmed.wait()
