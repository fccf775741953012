"""A `PeerCloud` behind a real broker, joined by the product's own consumer."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cloud.broker.consumer import Consumer
from tests.support.mosquitto import HOST
from tests.support.peer_cloud import Refusal
from tests.support.waiting import DEADLINE_S
from wire.mqtt import Reply, batch_hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.mosquitto import Mosquitto
    from tests.support.peer_cloud import PeerCloud
    from wire.names import DeviceId, Tenant


@asynccontextmanager
async def subscribed(cloud: PeerCloud, broker: Mosquitto) -> AsyncIterator[Consumer]:
    """Let the cloud answer what comes through the broker."""

    async def take(_tenant: Tenant, _device: DeviceId, data: bytes) -> Reply:
        try:
            return Reply(of=batch_hash(data), status=200, body=cloud.take_batch(data))
        except Refusal as refusal:
            body = json.dumps({"reason": refusal.reason, "durable": refusal.durable}).encode()
            return Reply(of=batch_hash(data), status=refusal.status, body=body)

    consumer = Consumer(HOST, broker.port, broker.service_files().context(), take)
    work = asyncio.create_task(consumer.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await consumer.following.wait()
        yield consumer
    finally:
        work.cancel()
        await asyncio.wait((work,))
