"""A `PeerCloud` behind a real broker, joined by the product's own consumer."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiomqtt

from cloud.broker.client import connect
from cloud.broker.consumer import FILTERS, Consumer, Subscriptions
from cloud.broker.names import cloud_name
from cloud.settings import Address
from sync.tasks import end
from tests.support.mosquitto import HOST
from tests.support.peer_cloud import Refusal
from tests.support.waiting import DEADLINE_S
from wire.mqtt import Reply, batch_hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.mosquitto import Mosquitto
    from tests.support.peer_cloud import PeerCloud
    from wire.names import DeviceId, Tenant

_PAUSE_S = 0.1


@dataclass(slots=True)
class Subscriber:
    """What follows the broker; `following` is set while it does."""

    broker: Mosquitto
    consumer: Consumer
    following: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Follow all lanes, and come back whenever the connection breaks; runs until cancelled."""
        while True:
            try:
                await self._session()
            except* (aiomqtt.MqttError, OSError):
                self.following.clear()
            await asyncio.sleep(_PAUSE_S)

    async def _session(self) -> None:
        context = self.broker.service_files().context()
        async with connect(Address(HOST, self.broker.port), context, cloud_name(0)) as client:
            subscriptions = Subscriptions(client)
            for lane in range(len(FILTERS)):
                await subscriptions.follow(lane)
            self.following.set()
            await self.consumer.run(client)


async def drop_health(_tenant: Tenant, _device: DeviceId, _report: bytes) -> None:
    """Keep no reports of health."""


@asynccontextmanager
async def subscribed(cloud: PeerCloud, broker: Mosquitto) -> AsyncIterator[Subscriber]:
    """Let the cloud answer what comes through the broker."""

    async def take(_tenant: Tenant, _device: DeviceId, data: bytes) -> Reply:
        try:
            return Reply(of=batch_hash(data), status=200, body=cloud.take_batch(data))
        except Refusal as refusal:
            body = json.dumps({"reason": refusal.reason, "durable": refusal.durable}).encode()
            return Reply(of=batch_hash(data), status=refusal.status, body=body)

    subscriber = Subscriber(broker, Consumer(take, drop_health))
    work = asyncio.create_task(subscriber.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await subscriber.following.wait()
        yield subscriber
    finally:
        await end((work,))
