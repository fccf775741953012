"""Doors and cloud at a real NATS cluster of three: who is let in, to what, and what the death of a node does."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiomqtt
import pytest
import pytest_asyncio

from cloud.devices.authority import open_authority
from sync.mqtt_line import MqttLine
from sync.mqtt_session import Broker
from sync.ports import Reason, UplinkError
from sync.surroundings import SystemSurroundings
from tests.support.door_journal import DEVICE, MemoryJournal
from tests.support.mosquitto import HOST, ClientFiles
from tests.support.nats_cluster import running_cluster
from tests.support.peer_cloud import DEVICE_SIGNER, TENANT, PeerCloud
from tests.support.peer_subscriber import subscribed
from tests.support.waiting import DEADLINE_S
from wire.batch import seal_batch
from wire.mqtt import DOWN_ANSWER, UP_HEALTH, batch_hash, events_topic, topic
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.broker.nats import Node
    from tests.support.nats_cluster import NatsCluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

NORTH = Tenant("north")
REFUSED = 0x80
NOT_AUTHORISED = 0x87
"""What the library makes of 5 (MQTT 3.1.1 §3.2.2.3)."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(database_url: str) -> AsyncIterator[NatsCluster]:
    async with running_cluster(database_url) as made:
        yield made


@asynccontextmanager
async def connected(
    node: Node, files: ClientFiles, identifier: str, *, wait_s: float = DEADLINE_S
) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(
        HOST,
        node.mqtt.port,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=files.context(),
        timeout=wait_s,
    ) as client:
        yield client


async def heard(client: aiomqtt.Client) -> tuple[str, object]:
    async with asyncio.timeout(DEADLINE_S):
        message = await anext(client.messages)
    return str(message.topic), message.payload


async def granted(client: aiomqtt.Client, wanted: str) -> bool:
    return REFUSED not in tuple(await client.subscribe(wanted, qos=1))


async def kept_out(node: Node, files: ClientFiles, identifier: str) -> bool:
    """Tell whether the broker refuses a log-in as "not authorised", whatever else may go wrong with it."""
    try:
        async with connected(node, files, identifier):
            return False
    except aiomqtt.MqttCodeError as error:
        if error.rc != NOT_AUTHORISED:
            raise
        return True


def batch() -> bytes:
    journal = MemoryJournal()
    journal.write(3)
    return seal_batch(device=journal.device, epoch=journal.epoch, first=1, events=journal.history, signer=DEVICE_SIGNER)


def line_to(node: Node, files: ClientFiles) -> MqttLine:
    broker = Broker(
        url=f"mqtts://{HOST}:{node.mqtt.port}",
        tenant=TENANT,
        device=DEVICE,
        certificate=files.certificate,
        key=files.key,
        ca=files.ca,
    )
    return MqttLine(broker)


async def sent(line: MqttLine, data: bytes) -> bytes:
    """Deliver a batch and give the cloud's acknowledgement."""
    await line.connect()
    reply = await line.send_batch(data)
    assert (reply.of, reply.status) == (batch_hash(data), 200)
    return reply.body


async def test_a_batch_goes_in_at_one_node_and_its_answer_comes_from_another(cluster: NatsCluster):
    """The door's own way and the cloud's own consumer, as with mosquitto."""
    files = await cluster.enrol(TENANT, DEVICE)
    line = line_to(cluster.nodes[0], files)
    try:
        async with subscribed(PeerCloud(SystemSurroundings()), cluster.way(cluster.nodes[1])):
            assert await sent(line, batch())
    finally:
        await line.aclose()


async def test_a_door_writes_its_own_topics_only(cluster: NatsCluster):
    """What is forbidden is confirmed all the same, as the format's page says of brokers."""
    gate = await cluster.enrol(NORTH, "gate-1")
    node = cluster.nodes[0]
    own = events_topic(NORTH, DeviceId("gate-1"))
    async with (
        connected(node, cluster.way(node).service_files(), "_cloud-0") as cloud,
        connected(node, gate, "north/gate-1") as door,
    ):
        for wanted in ("dw/1/+/+/up/events/+", "dw/1/+/+/up/health"):
            assert await granted(cloud, wanted)
        for foreign in (
            events_topic(NORTH, DeviceId("gate-2")),
            events_topic(Tenant("south"), DeviceId("gate-1")),
            topic(NORTH, DeviceId("gate-2"), UP_HEALTH),
            f"$MQTT/msgs/{events_topic(NORTH, DeviceId('gate-2'))}",
            "$SYS/REQ/USER/AUTH",
        ):
            for quality in (0, 1):
                await door.publish(foreign, b"forged", qos=quality)
        await door.publish(own, b"own", qos=1)
        assert await heard(cloud) == (own, b"own")
        await door.publish(topic(NORTH, DeviceId("gate-1"), UP_HEALTH), b"well", qos=1)
        assert await heard(cloud) == ("dw/1/north/gate-1/up/health", b"well")


async def test_a_door_hears_its_own_topics_only(cluster: NatsCluster):
    gate = await cluster.enrol(NORTH, "gate-1")
    node = cluster.nodes[1]
    async with (
        connected(node, cluster.way(node).service_files(), "_cloud-0") as cloud,
        connected(node, gate, "north/gate-1") as door,
    ):
        for foreign in (
            "dw/1/north/gate-2/down/ack",
            "dw/1/+/+/down/ack",
            "dw/1/north/gate-1/up/health",
            "#",
            "$MQTT/sub/+",
            "$SYS/#",
        ):
            assert not await granted(door, foreign), foreign
        assert await granted(door, "dw/1/north/gate-1/down/ack")
        assert await granted(door, "dw/1/north/gate-1/down/versions")
        await cloud.publish("dw/1/north/gate-2/down/ack", b"not yours", qos=1)
        await cloud.publish("dw/1/north/gate-1/down/ack", b"yours", qos=1)
        assert await heard(door) == (topic(NORTH, DeviceId("gate-1"), DOWN_ANSWER), b"yours")


async def test_a_door_is_let_in_by_its_own_client_id_only(cluster: NatsCluster):
    """A thief of an id would end the other's session."""
    first, second = await cluster.enrol(NORTH, "gate-1"), await cluster.enrol(NORTH, "gate-2")
    node = cluster.nodes[0]
    async with connected(node, first, "north/gate-1") as door:
        assert await granted(door, "dw/1/north/gate-1/down/ack")
        assert await kept_out(node, second, "north/gate-1")
        assert await kept_out(node, cluster.way(node).service_files(), "north/gate-1")
        async with connected(node, cluster.way(node).service_files(), "_cloud-0") as cloud:
            await cloud.publish("dw/1/north/gate-1/down/ack", b"still here", qos=1)
        assert await heard(door) == ("dw/1/north/gate-1/down/ack", b"still here")
    assert not await kept_out(node, second, "north/gate-2")


async def test_a_revoked_door_and_one_with_an_old_certificate_stay_out(cluster: NatsCluster):
    node = cluster.nodes[2]
    old = await cluster.enrol(NORTH, "gate-3")
    kept = ClientFiles(old.key.with_suffix(".old"), old.certificate.with_suffix(".crt-old"), old.ca)
    old.key.rename(kept.key)
    old.certificate.rename(kept.certificate)
    new = await cluster.enrol(NORTH, "gate-3")
    assert await kept_out(node, kept, "north/gate-3")
    assert not await kept_out(node, new, "north/gate-3")
    await cluster.revoke(NORTH, "gate-3")
    assert await kept_out(node, new, "north/gate-3")


async def test_a_door_that_is_kept_out_is_told_to_enrol_again(cluster: NatsCluster):
    files = await cluster.enrol(TENANT, DEVICE)
    await cluster.revoke(TENANT, DEVICE)
    line = line_to(cluster.nodes[0], files)
    with pytest.raises(UplinkError) as caught:
        await line.connect()
    assert caught.value.reason is Reason.NOT_ENROLLED


async def test_nobody_gets_in_without_a_certificate_of_the_device_authority(cluster: NatsCluster, tmp_path: Path):
    node = cluster.nodes[0]
    own = await cluster.enrol(NORTH, "gate-1")
    stranger = tmp_path / "stranger.pem"
    now = datetime.now(UTC)
    stranger.write_bytes(open_authority(tmp_path / "ca", now=now).certify_service(now=now).to_pem())
    member = cluster.folder / "nodes" / "node-1" / "node.pem"
    for pem in (stranger, member):
        with pytest.raises(aiomqtt.MqttError):
            async with connected(node, ClientFiles(pem, pem, own.ca), "_cloud-0", wait_s=2.0):
                pass
    bare = ssl.create_default_context(cafile=own.ca)
    with pytest.raises(aiomqtt.MqttError):
        async with aiomqtt.Client(HOST, node.mqtt.port, tls_context=bare, timeout=2.0):
            pass
    assert not await kept_out(node, own, "north/gate-1")


async def test_a_door_gets_no_further_than_the_doors_port(cluster: NatsCluster):
    """Whoever could open a route would be a node: routes and call-outs have an authority of their own."""
    node = cluster.nodes[0]
    door = await cluster.enrol(NORTH, "gate-1")
    member = cluster.folder / "nodes" / "node-2" / "node.pem"
    for address in (node.route, node.client):
        greets_first = address is node.client
        shown = [(member, member), (door.certificate, door.key)]
        answers = [await greeting(address.port, member_context(cluster, *files), greets_first) for files in shown]
        assert [bool(answer) for answer in answers] == [True, False]


def member_context(cluster: NatsCluster, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cluster.folder / "nodes" / "node-1" / "cluster-ca.crt")
    context.load_cert_chain(certificate, key)
    return context


async def greeting(port: int, context: ssl.SSLContext, greets_first: bool) -> bytes:  # noqa: FBT001 - both are tried
    """Give what a server says after TLS, which it opens at once or after a greeting; nothing if it lets nobody in."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(HOST, port, ssl=None if greets_first else context)
        try:
            if greets_first:
                await reader.readline()
                await writer.start_tls(context, server_hostname=HOST)
                writer.write(b"PING\r\n")
            return await reader.readline()
        except OSError:
            return b""
        finally:
            writer.close()


async def test_the_death_of_a_callout_keeps_nobody_out(cluster: NatsCluster):
    files = await cluster.enrol(NORTH, "gate-1")
    callout = cluster.trial.callouts[0]
    await callout.kill()
    try:
        for node in cluster.nodes:
            assert not await kept_out(node, files, "north/gate-1")
    finally:
        await callout.start()


async def test_the_death_of_the_leader_delays_a_batch_and_loses_nothing(cluster: NatsCluster):
    """The door is at the leader when it is killed; then its name leads it to another node."""
    files = await cluster.enrol(TENANT, DEVICE)
    leader = await cluster.trial.until_led()
    (led,) = [node for node in cluster.nodes if node.name == leader]
    other, third = [node for node in cluster.nodes if node is not led]
    cloud = PeerCloud(SystemSurroundings())
    before, after = line_to(led, files), line_to(third, files)
    data = batch()
    try:
        async with subscribed(cloud, cluster.way(other)):
            assert await sent(before, data)
            await cluster.trial.servers[leader].kill()
            with pytest.raises(UplinkError) as caught:
                await sent(before, data)
            assert caught.value.reason is Reason.UNREACHABLE
            assert await delivered(after, data)
        assert await cluster.trial.until_led() != leader
    finally:
        await before.aclose()
        await after.aclose()
        await cluster.trial.servers[leader].start()
        async with asyncio.timeout(DEADLINE_S):
            await cluster.trial.until_led()


async def delivered(line: MqttLine, data: bytes) -> bytes:
    """Send until the answer comes, as the door's engine does."""
    async with asyncio.timeout(2 * DEADLINE_S):
        while True:
            try:
                return await sent(line, data)
            except UplinkError:
                await asyncio.sleep(0.5)
