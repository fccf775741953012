"""What doors send through the broker: batches are stored and answered, reports of health handed on.

Invariant: an answer is published only after the batch's fate is known; what is in work and what waits are bounded, and
what does not fit is not answered, so that the door sends it again.
Must not: rely on the broker to keep, order or deliver anything.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import aiomqtt
import structlog

from wire.errors import WireError
from wire.mqtt import ALL_HEALTH, DOWN_ANSWER, LANES, UP_EVENTS, Reply, encode_reply, lane_filter, parse_up_topic, topic
from wire.names import DeviceId, Tenant

MAX_IN_WORK: Final = 256
"""Messages that are worked on at once: several groups of the ingest; the others wait (`bounds.MAX_WAITING`)."""
FILTERS: Final = (*map(lane_filter, range(LANES)), ALL_HEALTH)
"""What the processes of a cloud divide between them: the lanes, and the reports of health as one more."""
_REFUSED: Final = 0x80
_LOG: Final = structlog.get_logger(__name__)

Take = Callable[[Tenant, DeviceId, bytes], Awaitable[Reply]]
"""Stores a batch and says how that went; it raises nothing. The names are the topic's: the broker lets a door write to
its own topics only, and the batch's signature has the last word."""
TakeHealth = Callable[[Tenant, DeviceId, bytes], Awaitable[None]]
"""Keeps a report of health."""


class Consumer:
    """Hears what doors send, and answers.

    Args:
        take: does the work for a batch.
        take_health: does it for a report of health.
    """

    def __init__(self, take: Take, take_health: TakeHealth) -> None:
        self._take = take
        self._take_health = take_health
        self._slots = asyncio.Semaphore(MAX_IN_WORK)

    async def run(self, client: aiomqtt.Client) -> None:
        """Work on what comes by a connection until it breaks.

        Raises:
            ExceptionGroup: of MqttError.
        """
        async with asyncio.TaskGroup() as answering:
            async for message in client.messages:
                await self._slots.acquire()
                answering.create_task(self._work(client, message))

    async def _work(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        try:
            tenant, device, leaf = parse_up_topic(str(message.topic))
            payload = bytes(message.payload)
            if leaf == UP_EVENTS:
                reply = await self._take(tenant, device, payload)
                await client.publish(topic(tenant, device, DOWN_ANSWER), encode_reply(reply), qos=0)
            else:
                await self._take_health(tenant, device, payload)
        except WireError as error:
            _LOG.warning("message_unusable", error=str(error))
        except aiomqtt.MqttError as error:
            _LOG.info("answer_lost", error=str(error))  # the door asks again
        finally:
            self._slots.release()


class Subscriptions:
    """Follows filters on a connection: what `lanes.Leases` lease.

    Args:
        client: the connection.
    """

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def follow(self, lane: int) -> None:
        """Hear what comes by a lane.

        Raises:
            MqttError: the connection is broken, or the broker forbids it.
        """
        if _REFUSED in await self._client.subscribe(FILTERS[lane], qos=0):
            raise aiomqtt.MqttError("the broker forbids the cloud to hear its doors")

    async def leave(self, lane: int) -> None:
        """Hear it no more.

        Raises:
            MqttError: the connection is broken.
        """
        await self._client.unsubscribe(FILTERS[lane])
