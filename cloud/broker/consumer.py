"""The cloud as a client of its broker: batches come in, answers go out.

Invariant: an answer is published only after the batch's fate is known; what is in work is bounded, and what does not
fit is not answered, so that the door sends it again.
Must not: rely on the broker to keep, order or deliver anything.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import aiomqtt
import structlog

from wire.errors import WireError
from wire.mqtt import ALL_EVENTS, DOWN_ANSWER, Reply, encode_reply, parse_up_topic, topic
from wire.names import DeviceId, Tenant

MAX_IN_WORK: Final = 256
_MAX_QUEUED: Final = 256
_CONNECT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 15.0
_REFUSED: Final = 0x80
_LOG: Final = structlog.get_logger(__name__)

Take = Callable[[Tenant, DeviceId, bytes], Awaitable[Reply]]
"""Stores a batch and says how that went; it raises nothing. The names are the topic's: the broker lets a door write to
its own topic only, and the batch's signature has the last word."""


class Consumer:
    """Follows the doors' topics.

    Args:
        host, port: of the broker.
        context: with the certificate that names us as the cloud.
        take: does the work.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext, take: Take) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._take = take
        self._slots = asyncio.Semaphore(MAX_IN_WORK)
        self.following = asyncio.Event()
        """Set while the broker has us among its subscribers."""

    async def run(self) -> None:
        """Follow, and come back whenever the connection breaks; runs until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._session()
            except* (aiomqtt.MqttError, OSError) as faults:  # the task group wraps them
                if self.following.is_set():
                    pause_s = _FIRST_PAUSE_S
                _LOG.warning("broker_unreachable", host=self._host, port=self._port, error=str(faults.exceptions[0]))
            finally:
                self.following.clear()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _session(self) -> None:
        client = aiomqtt.Client(
            self._host,
            self._port,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            tls_context=self._context,
            timeout=_CONNECT_S,
            max_queued_incoming_messages=_MAX_QUEUED,
        )
        async with client, asyncio.TaskGroup() as answering:
            if _REFUSED in tuple(await client.subscribe(ALL_EVENTS, qos=1)):
                refused = "the broker forbids the cloud to hear its doors"
                raise aiomqtt.MqttError(refused)
            self.following.set()
            async for message in client.messages:
                await self._slots.acquire()
                answering.create_task(self._answer(client, message))

    async def _answer(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        try:
            tenant, device = parse_up_topic(str(message.topic))
            if isinstance(message.payload, bytes):
                reply = await self._take(tenant, device, message.payload)
                await client.publish(topic(tenant, device, DOWN_ANSWER), encode_reply(reply), qos=1)
        except WireError as error:
            _LOG.warning("message_unusable", error=str(error))
        except aiomqtt.MqttError as error:
            _LOG.info("answer_lost", error=str(error))  # the door asks again
        finally:
            self._slots.release()
