"""Faults of the broker and of the lines to it, and guests who want what is not theirs.

Doors that go through the broker go over HTTPS while they cannot; each fault waits until they are back before the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

import aiomqtt

from cloud.broker.bounds import MAX_WAITING
from cloud.settings import MIB
from sync.tasks import end
from tests.faults.devices import spare
from tests.faults.network import CHANGES, cut, edit, half_open, partition, reset, to_broker
from tests.faults.processes import SHORTLY_S
from tests.faults.service import HOST, START_S
from tests.faults.table import Fault, Injected
from tests.support.tcp_proxy import Answer
from tests.support.waiting import until
from wire.mqtt import DOWN_ANSWER, MAX_UP_BYTES, events_topic, topic
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable

    from doorward.fleet.campus import Enrolled
    from tests.faults.system import System

_HANG_S: Final = (0.5, 4.0)
_LISTEN_S: Final = 0.5
_BUFFERS_BYTES: Final = 16 * MIB
"""More than the kernel keeps of one connection beside the broker."""
_FLOOD: Final = MAX_WAITING + _BUFFERS_BYTES // MAX_UP_BYTES
_ANSWER_S: Final = 2.0
_REFUSALS: Final = tuple(f'doorward_broker_answers_total{{status="{first}' for first in "45")


def _with_doors(
    inject: Callable[[System, random.Random, int], Awaitable[Injected]], least: int = 4
) -> Callable[[System, random.Random, int], Awaitable[Injected]]:
    """Inject only while so many doors go through the broker."""

    async def injected(system: System, chance: random.Random, wanted: int) -> Injected:
        assert await system.by_broker(least), f"the doors do not come back to the broker: {system.broker_words()}"
        return await inject(system, chance, wanted)

    return injected


async def _kill(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of mosquitto and of whoever watches it; systemd would start that again."""
    del wanted
    before = system.service.mosquitto_pid()
    assert before is not None
    system.visit_all()
    await asyncio.sleep(chance.uniform(*SHORTLY_S))
    await system.service.kill_broker(before)
    await system.service.start_broker()
    return Injected(1)


async def _kill_server(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of mosquitto alone: `doorward cloud broker` starts another."""
    del wanted
    before = system.service.mosquitto_pid()
    assert before is not None
    system.visit_all()
    await asyncio.sleep(chance.uniform(*SHORTLY_S))
    os.kill(before, signal.SIGKILL)
    await until(lambda: system.service.mosquitto_pid() not in (None, before), deadline_s=START_S)
    return Injected(1)


async def _hang(system: System, chance: random.Random, wanted: int) -> Injected:
    """The broker stands still for a while, and takes what it has missed late."""
    del wanted
    pid = system.service.mosquitto_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    system.visit_all()
    await asyncio.sleep(chance.uniform(*_HANG_S))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    return Injected(1)


async def _overflow(system: System, chance: random.Random, wanted: int) -> Injected:
    """More comes than the broker may keep for a cloud that stands still: it drops batches, without a word to doors."""
    del wanted
    thief = await spare(system)
    before = _refused(system)
    system.service.suspend()
    try:
        async with _guest(system, thief, _name(thief, system)) as client:
            own = events_topic(Tenant(system.campus.tenant), DeviceId(thief.device))
            for _ in range(_FLOOD):
                await client.publish(own, chance.randbytes(MAX_UP_BYTES), qos=0)
            system.visit_all()
            await asyncio.sleep(1.0)
    finally:
        system.service.resume()
    return Injected(int(await _refused_at_last(system) - before < _FLOOD))


async def _refused_at_last(system: System) -> int:
    """Wait until the cloud has refused all of the flood that the broker has kept for it; gives what `_refused` does."""
    before, now = -1, _refused(system)
    while now > before:
        await asyncio.sleep(_ANSWER_S)
        before, now = now, _refused(system)
    return now


def _refused(system: System) -> int:
    """How many messages through the broker the cloud has refused; the batches of doors are not among them."""
    with system.service.api() as api:
        return sum(map(api.counted, _REFUSALS))


async def _forbidden(system: System, chance: random.Random, wanted: int) -> Injected:
    """A device writes to and listens on the topics of another: nothing of it is heard, nothing of it is told."""
    del wanted
    thief, victim = await spare(system), chance.choice(system.broker_doors)
    tenant, target = victim.parts.tenant, victim.parts.device
    heard = asyncio.Event()
    async with _guest(system, thief, _name(thief, system)) as client:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.subscribe([(topic(tenant, target, "down/#"), 0), ("dw/#", 0)])
        listening = asyncio.create_task(_hear(client, heard))
        for name in (events_topic(tenant, target), topic(tenant, target, DOWN_ANSWER)):
            await client.publish(name, chance.randbytes(500), qos=0)
        system.visit_all()
        await asyncio.sleep(_LISTEN_S)
        await end((listening,))
    assert not heard.is_set(), "a device heard what was meant for another"
    return Injected(1)


async def _client_id(system: System, chance: random.Random, wanted: int) -> Injected:
    """A device logs in with the client id of another, which would end the session of that one at many brokers."""
    del wanted
    thief, victim = await spare(system), chance.choice(system.broker_doors)
    await until(victim.parts.by_broker, deadline_s=START_S)
    heard = asyncio.Event()
    with contextlib.suppress(aiomqtt.MqttError):
        async with _guest(system, thief, f"{victim.parts.tenant}/{victim.parts.device}") as client:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.subscribe(topic(victim.parts.tenant, victim.parts.device, "down/#"), qos=0)
            listening = asyncio.create_task(_hear(client, heard))
            system.visit_all()
            await asyncio.sleep(_LISTEN_S)
            await end((listening,))
    assert not heard.is_set(), "the thief of a client id heard what was meant for its owner"
    assert victim.parts.by_broker(), "the thief of a client id ended its owner's session"
    return Injected(1)


def _name(each: Enrolled, system: System) -> str:
    return f"{system.campus.tenant}/{each.device}"


@contextlib.asynccontextmanager
async def _guest(system: System, each: Enrolled, identifier: str) -> AsyncIterator[aiomqtt.Client]:
    """Log in at the broker with a device's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(system.campus.ca)
    context.load_cert_chain(system.campus.certificate(each.door), system.campus.key(each.door))
    async with aiomqtt.Client(
        HOST,
        system.service.broker_port,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=context,
        timeout=START_S / 12,
    ) as client:
        yield client


async def _hear(client: aiomqtt.Client, heard: asyncio.Event) -> None:
    with contextlib.suppress(aiomqtt.MqttError):
        async for _ in client.messages:
            heard.set()


BROKERS: Final = (
    Fault("kill -9 of the broker and its watcher", 6, _with_doors(_kill)),
    Fault("kill -9 of the broker", 3, _with_doors(_kill_server)),
    Fault("broker hangs", 4, _with_doors(_hang)),
    Fault("broker's queue overflows", 2, _with_doors(_overflow)),
    Fault(
        "MQTT: acknowledgement lost after the commit",
        20,
        _with_doors(partial(cut, answer=Answer.BEGUN, line=to_broker)),
    ),
    Fault("MQTT: connection reset", 20, _with_doors(partial(reset, line=to_broker))),
    Fault("MQTT: bytes corrupted", 8, _with_doors(partial(edit, change=CHANGES["corrupted"], line=to_broker))),
    Fault("MQTT: bytes lost", 6, _with_doors(partial(edit, change=CHANGES["lost"], line=to_broker))),
    Fault("MQTT: bytes duplicated", 6, _with_doors(partial(edit, change=CHANGES["duplicated"], line=to_broker))),
    Fault("MQTT: bytes reordered", 6, _with_doors(partial(edit, change=CHANGES["reordered"], line=to_broker))),
    Fault("MQTT: half-open connection", 8, _with_doors(partial(half_open, line=to_broker))),
    Fault("MQTT: partition, then late arrival", 3, _with_doors(partial(partition, line=to_broker))),
    Fault("MQTT: topic of another device", 6, _with_doors(_forbidden)),
    Fault("MQTT: client id of another device", 6, _with_doors(_client_id)),
)
