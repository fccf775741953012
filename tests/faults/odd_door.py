"""A door that believes a broker: it takes a PUBACK for the cloud's acknowledgement. NEVER to be done.

A negative control of the suite, like the odd clouds. It signs and sends real batches; only what it believes is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

import aiomqtt

from sync.ports import Reason, UplinkError
from sync.tasks import end
from wire.batch import Acknowledgement, seal_batch
from wire.mqtt import events_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from doorward.fleet.campus import Campus
    from doorward.fleet.door import FleetDoor

HOST: Final = "127.0.0.1"
_POLL_S: Final = 0.01
_BATCH: Final = 100
_TIMEOUT_S: Final = 5.0


@contextlib.asynccontextmanager
async def believing_a_broker(doors: Iterable[FleetDoor], campus: Campus, port: int) -> AsyncIterator[None]:
    """Have doors send through the broker alone, and believe it, until the block ends."""
    tasks = []
    for door in doors:
        setattr(door.parts.uplink, "send_batch", _nowhere)  # noqa: B010 - a part that its class does not offer
        tasks.append(asyncio.create_task(_believe(door, campus, port)))
    try:
        yield
    finally:
        await end(tasks)


async def _nowhere(data: bytes) -> bytes:
    del data
    raise UplinkError(Reason.UNREACHABLE, what="this door knows the broker alone", remedy="believe it")


async def _believe(door: FleetDoor, campus: Campus, port: int) -> None:
    name = next(each.door for each in campus.doors if each.device == door.parts.device)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(campus.ca)
    context.load_cert_chain(campus.certificate(name), campus.key(name))
    while True:
        with contextlib.suppress(aiomqtt.MqttError, OSError):
            async with aiomqtt.Client(
                HOST,
                port,
                identifier=f"{door.parts.tenant}/{door.parts.device}",
                protocol=aiomqtt.ProtocolVersion.V311,
                tls_context=context,
                timeout=_TIMEOUT_S,
            ) as client:
                await _send(door, client)
        await asyncio.sleep(_POLL_S)


async def _send(door: FleetDoor, client: aiomqtt.Client) -> None:
    journal = door.journal
    while True:
        events = await journal.events_after(journal.durable, _BATCH)
        if not events:
            await asyncio.sleep(_POLL_S)
            continue
        last = events[-1][0]
        batch = seal_batch(
            device=journal.device,
            epoch=journal.epoch,
            first=events[0][0],
            events=[data for _, data in events],
            signer=door.parts.signer,
        )
        await client.publish(events_topic(door.parts.tenant, door.parts.device), batch, qos=1)
        believed = Acknowledgement(
            device=journal.device,
            epoch=journal.epoch,
            durable=last,
            head=journal.head(last),
            backed_up=last,
            issued_at_ms=0,
        )
        await journal.acknowledge(believed)
