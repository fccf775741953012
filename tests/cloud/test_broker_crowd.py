"""A thousand doors send at once while the cloud stands still: broker and cloud keep a batch of each."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloud.broker.client import connect, make_context
from cloud.broker.consumer import MAX_IN_WORK, Consumer, Subscriptions
from cloud.broker.names import cloud_name
from cloud.settings import Address
from sync.tasks import end
from tests.support.linked import door_at
from tests.support.mosquitto import HOST, running_mosquitto
from tests.support.peer_subscriber import drop_health
from tests.support.waiting import until
from wire.mqtt import LANES, Reply, batch_hash
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.mosquitto import Mosquitto

CROWD = 1_000
BATCH_BYTES = 26_000
"""A hundred events; of a thousand the kernel's buffers hold a quarter."""


async def send_all(broker: Mosquitto) -> None:
    """Send as many batches as a crowd does; the broker has taken each when this returns."""
    async with door_at(broker, Tenant("north"), DeviceId("gate-1")) as door:
        batches = [number.to_bytes(2, "big").ljust(BATCH_BYTES, b".") for number in range(CROWD)]
        await asyncio.gather(*map(door.send, batches))


async def test_a_batch_of_each_of_a_thousand_doors_waits_for_a_cloud_that_stands_still(tmp_path: Path):
    taken: set[bytes] = set()
    resumed = asyncio.Event()

    async def take(_tenant: Tenant, _device: DeviceId, batch: bytes) -> Reply:
        await resumed.wait()
        taken.add(batch[:2])
        return Reply(of=batch_hash(batch), status=503, body=b"{}")

    name = cloud_name(0)
    async with running_mosquitto() as broker:
        context = make_context(broker.authority, name, tmp_path, now=datetime.now(UTC))
        async with connect(Address(HOST, broker.port), context, name) as client:
            for lane in range(LANES):
                await Subscriptions(client).follow(lane)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, send_all(broker)).result()  # this event loop stands still: nothing is read
            consuming = asyncio.create_task(Consumer(take, drop_health).run(client))
            try:
                await until(lambda: len(client.messages) + MAX_IN_WORK + 1 >= CROWD)
                resumed.set()
                await until(lambda: len(taken) == CROWD)
            finally:
                await end((consuming,))
