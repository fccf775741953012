"""A `PeerCloud` at a real broker: it answers batches, keeps reports, announces versions, and lies."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiomqtt

from sync.tasks import end
from tests.support.door_journal import DEVICE
from tests.support.mosquitto import HOST
from tests.support.peer_cloud import TENANT, PeerCloud, Refusal
from tests.support.waiting import DEADLINE_S
from wire.mqtt import DOWN_ANSWER, DOWN_VERSIONS, UP_EVENTS, Reply, batch_hash, encode_reply, parse_up_topic, topic
from wire.names import DeviceId, Tenant
from wire.versions import Versions, encode_versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.mosquitto import Mosquitto


@dataclass(slots=True)
class BrokerPeer:
    """The cloud's client at the broker.

    Attributes:
        cloud: what stands behind it.
        silent: batches are taken and not answered.
        instead: makes another answer than the cloud's.
        batches: how many have come.
    """

    cloud: PeerCloud
    client: aiomqtt.Client
    silent: bool = False
    instead: Callable[[bytes], Reply] | None = None
    batches: int = 0
    topics: list[str] = field(default_factory=list)

    async def announce(self, versions: Versions | None = None) -> None:
        """Tell the door what there is, or something else."""
        await self.send(DOWN_VERSIONS, encode_versions(versions or self.cloud.versions()))

    async def send(self, leaf: str, payload: bytes) -> None:
        """Publish to a topic of the door."""
        await self.client.publish(topic(Tenant(TENANT), DeviceId(DEVICE), leaf), payload, qos=1)

    async def follow(self) -> None:
        """Take what comes until the broker goes."""
        try:
            async for message in self.client.messages:
                await self._take(message.topic.value, message.payload)
        except aiomqtt.MqttError:
            return

    async def _take(self, name: str, payload: object) -> None:
        assert isinstance(payload, bytes)
        self.topics.append(name)
        tenant, device, kind = parse_up_topic(name)
        if kind != UP_EVENTS:
            self.cloud.reports.append(payload)
            return
        self.batches += 1
        if not self.silent:
            reply = self._answer(payload) if self.instead is None else self.instead(payload)
            await self.client.publish(topic(tenant, device, DOWN_ANSWER), encode_reply(reply), qos=1)

    def _answer(self, data: bytes) -> Reply:
        try:
            return Reply(of=batch_hash(data), status=200, body=self.cloud.take_batch(data))
        except Refusal as refusal:
            body = json.dumps({"reason": refusal.reason, "durable": refusal.durable}).encode()
            return Reply(of=batch_hash(data), status=refusal.status, body=body)


@asynccontextmanager
async def cloud_at(broker: Mosquitto, cloud: PeerCloud) -> AsyncIterator[BrokerPeer]:
    """Be the cloud at the broker inside the block."""
    client = aiomqtt.Client(
        HOST,
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=broker.service_files().context(),
        timeout=DEADLINE_S,
    )
    try:
        async with client:
            await client.subscribe("dw/1/+/+/up/#", qos=1)
            peer = BrokerPeer(cloud, client)
            following = asyncio.create_task(peer.follow())
            try:
                yield peer
            finally:
                await end((following,))  # the library may lose a cancellation
    except aiomqtt.MqttError:  # a broker that was killed inside the block cannot be left in order
        return
