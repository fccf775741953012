"""The way through a broker: what gets through, and why what does not."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import pytest
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from cloud.devices.authority import open_authority
from sync.mqtt_line import MqttDeadlines, MqttLine
from sync.mqtt_refusals import explain_mqtt
from sync.mqtt_session import Broker
from sync.ports import Reason, UplinkError
from sync.surroundings import SystemSurroundings
from tests.support.door_journal import DEVICE, MemoryJournal
from tests.support.mosquitto import HOST, running_mosquitto
from tests.support.odd_broker import message, odd_broker
from tests.support.peer_broker import cloud_at
from tests.support.peer_cloud import DEVICE_SIGNER, TENANT, PeerCloud
from tests.support.peer_subscriber import subscribed
from tests.support.waiting import DEADLINE_S, until
from wire.batch import seal_batch
from wire.mqtt import DOWN_VERSIONS, Reply, batch_hash, encode_reply, events_topic
from wire.names import DeviceId
from wire.versions import Versions

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from tests.support.mosquitto import Mosquitto

# For tests in which no answer comes; a connection that is to come about has its usual time.
_IMPATIENT = MqttDeadlines(answer_s=1.0, report_s=1.0)
# Within the connection nobody says why: that is found out once it is given up.
_REFUSED = MqttDeadlines(connect_s=2.0)
_ACK = f"dw/1/{TENANT}/{DEVICE}/down/ack"


@pytest.fixture
async def broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


def place(broker: Mosquitto) -> Broker:
    files = broker.door_files(TENANT, DEVICE)
    return Broker(
        url=broker.url, tenant=TENANT, device=DEVICE, certificate=files.certificate, key=files.key, ca=files.ca
    )


def batch() -> bytes:
    journal = MemoryJournal()
    journal.write(3)
    return seal_batch(device=journal.device, epoch=journal.epoch, first=1, events=journal.history, signer=DEVICE_SIGNER)


def opened(where: Broker, deadlines: MqttDeadlines = _IMPATIENT) -> MqttLine:
    return MqttLine(where, deadlines)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def fault(line: MqttLine) -> UplinkError:
    try:
        await line.connect()
        await line.send_batch(batch())
    except UplinkError as error:
        return error
    finally:
        await line.aclose()
    pytest.fail("nothing went wrong")


@asynccontextmanager
async def sending(
    line: MqttLine, data: bytes, broker: Mosquitto
) -> AsyncIterator[tuple[aiomqtt.Client, asyncio.Task[Reply]]]:
    """Be the cloud at the broker, with a batch that has come and not been answered."""
    async with aiomqtt.Client(
        HOST,
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=broker.service_files().context(),
        timeout=DEADLINE_S,
    ) as cloud:
        await cloud.subscribe("dw/1/+/+/up/events/+", qos=1)
        await line.connect()
        answer = asyncio.create_task(line.send_batch(data))
        async with asyncio.timeout(DEADLINE_S):
            await anext(cloud.messages)
        yield cloud, answer


async def test_a_confirmation_of_the_broker_is_no_answer(broker: Mosquitto):
    """Nobody listens: mosquitto confirms the batch and forgets it."""
    assert (await fault(opened(place(broker)))).reason is Reason.DEADLINE


async def test_a_broker_that_was_killed_is_told_and_can_be_connected_to_again(broker: Mosquitto):
    cloud = PeerCloud(SystemSurroundings())
    line = opened(place(broker), MqttDeadlines())
    data = batch()
    try:
        async with cloud_at(broker, cloud):
            await line.connect()
            assert (await line.send_batch(data)).status == 200
            await broker.kill()
            async with asyncio.timeout(DEADLINE_S):
                assert (await line.over()).reason is Reason.UNREACHABLE
            assert not line.usable
            with pytest.raises(UplinkError) as caught:
                await line.send_batch(data)
            assert caught.value.reason is Reason.UNREACHABLE
        await broker.start()
        async with cloud_at(broker, cloud):
            await line.connect()
            assert (await line.send_batch(data)).status == 200
            assert line.sessions == 2
    finally:
        await line.aclose()


async def test_the_clouds_consumer_comes_back_when_its_broker_does(broker: Mosquitto):
    cloud = PeerCloud(SystemSurroundings())
    line = opened(place(broker), MqttDeadlines())
    try:
        async with subscribed(cloud, broker) as consumer:
            await broker.kill()
            await until(lambda: not consumer.following.is_set())
            await broker.start()
            async with asyncio.timeout(DEADLINE_S):
                await consumer.following.wait()
            await line.connect()
            assert (await line.send_batch(batch())).status == 200
    finally:
        await line.aclose()


async def test_late_foreign_and_unreadable_answers_are_dropped(broker: Mosquitto):
    line = opened(place(broker), MqttDeadlines())
    data = batch()
    wrong = Reply(of=bytes(16), status=200, body=b"foreign")
    right = Reply(of=batch_hash(data), status=200, body=b"right")
    try:
        async with sending(line, data, broker) as (cloud, answer):
            for reply in (b"\xffgarbage", b"", encode_reply(wrong), encode_reply(right), encode_reply(right)):
                await cloud.publish(_ACK, reply, qos=1)
            assert await answer == right
    finally:
        await line.aclose()


async def test_a_refusal_of_the_cloud_is_an_answer(broker: Mosquitto):
    line = opened(place(broker), MqttDeadlines())
    data = batch()
    busy = Reply(of=batch_hash(data), status=503, body=b"{}", retry_after_s=7)
    try:
        async with sending(line, data, broker) as (cloud, answer):
            await cloud.publish(_ACK, encode_reply(busy), qos=1)
            assert await answer == busy
            assert line.usable
    finally:
        await line.aclose()


async def test_a_batch_goes_by_its_doors_lane_and_a_report_beside_it(broker: Mosquitto):
    line = opened(place(broker), MqttDeadlines())
    try:
        async with cloud_at(broker, PeerCloud(SystemSurroundings())) as peer:
            await line.connect()
            await line.send_batch(batch())
            await line.report(b"well")
            await until(lambda: bool(peer.cloud.reports))
            assert peer.topics == [events_topic(TENANT, DEVICE), f"dw/1/{TENANT}/{DEVICE}/up/health"]
    finally:
        await line.aclose()


async def test_the_newest_announcement_is_kept_and_what_is_none_is_dropped(broker: Mosquitto):
    line = opened(place(broker), MqttDeadlines())
    old, new = Versions(1, 1, {0: 1}), Versions(1, 2, {0: 1})
    try:
        async with cloud_at(broker, PeerCloud(SystemSurroundings())) as peer:
            await line.connect()
            assert (line.hears_versions, line.heard) == (True, None)
            await peer.announce(old)
            await peer.announce(new)
            await until(lambda: line.heard == new)
            line.stirred.clear()
            for payload in (b"", b"\xff", bytes(5_000)):
                await peer.send(DOWN_VERSIONS, payload)
            await line.send_batch(batch())  # answered after those
            assert (line.heard, line.stirred.is_set()) == (new, False)
            await line.aclose()
            assert line.heard is None
    finally:
        await line.aclose()


async def test_a_message_that_is_too_long_ends_the_session_before_there_is_room_for_it(broker: Mosquitto):
    line = opened(place(broker), MqttDeadlines())
    try:
        async with cloud_at(broker, PeerCloud(SystemSurroundings())) as peer:
            await line.connect()
            await peer.send(DOWN_VERSIONS, bytes(8_100))
            assert (await line.send_batch(batch())).status == 200  # that one was read, and was none
            await peer.send(DOWN_VERSIONS, bytes(8_200))
            async with asyncio.timeout(DEADLINE_S):
                assert (await line.over()).reason is Reason.UNREACHABLE
    finally:
        await line.aclose()


async def test_a_broker_that_falls_silent_is_given_up_in_time(broker: Mosquitto):
    """The broker holds the connection and does nothing any more, as behind an address translator that forgot it."""
    line = opened(place(broker))
    try:
        await line.connect()
        with broker.frozen():
            with pytest.raises(UplinkError) as caught:
                await line.send_batch(batch())
            assert caught.value.reason is Reason.DEADLINE
            async with asyncio.timeout(DEADLINE_S):
                assert (await line.over()).reason is Reason.DEADLINE
    finally:
        await line.aclose()


async def test_a_report_that_gets_lost_at_the_broker_ends_nothing(broker: Mosquitto):
    line = opened(place(broker))
    try:
        await line.connect()
        with broker.frozen():
            await line.report(b"well")
            assert line.usable
    finally:
        await line.aclose()


async def test_there_is_no_report_without_a_session(broker: Mosquitto):
    line = opened(place(broker))
    with pytest.raises(UplinkError) as caught:
        await line.report(b"well")
    assert caught.value.reason is Reason.UNREACHABLE


async def test_a_broker_that_accepts_and_says_nothing_is_given_up_in_time(broker: Mosquitto):
    line = opened(place(broker), MqttDeadlines(connect_s=1.0, knock_s=1.0))
    with broker.frozen():
        assert (await fault(line)).reason is Reason.DEADLINE


async def test_a_closed_line_says_so(broker: Mosquitto):
    line = opened(place(broker))
    await line.connect()
    await line.aclose()
    await line.aclose()
    assert (await fault(line)).reason is Reason.CLOSED


def test_a_batch_has_the_time_that_its_bytes_take_on_a_slow_line():
    assert MqttDeadlines(answer_s=10.0).send_s(700) == pytest.approx(10.056)
    assert MqttDeadlines(answer_s=10.0).send_s(150_000) == pytest.approx(22.0)


async def test_a_certificate_of_another_authority_is_named_as_the_reason(broker: Mosquitto, tmp_path: Path):
    stranger = open_authority(tmp_path / "stranger", now=datetime.now(UTC)).certify_service(now=datetime.now(UTC))
    pem = tmp_path / "stranger.pem"
    pem.write_bytes(stranger.to_pem())
    found = await fault(opened(replace(place(broker), certificate=pem, key=pem), _REFUSED))
    assert found.reason is Reason.TLS_REFUSED
    assert "authority" in found.what


async def test_a_broker_of_another_authority_is_not_believed(broker: Mosquitto, tmp_path: Path):
    open_authority(tmp_path / "stranger", now=datetime.now(UTC))
    found = await fault(opened(replace(place(broker), ca=tmp_path / "stranger" / "ca.crt")))
    assert found.reason is Reason.TLS_REFUSED


async def test_a_broker_that_is_down_is_unreachable(broker: Mosquitto):
    where = place(broker)
    await broker.stop()
    assert (await fault(opened(where))).reason is Reason.UNREACHABLE


async def test_topics_that_a_broker_forbids_in_silence_are_silent(broker: Mosquitto):
    """Mosquitto grants any subscription and confirms any batch: all that can be seen is that no answer comes."""
    other = replace(place(broker), device=DeviceId("another-door"))  # with the certificate of this one
    async with cloud_at(broker, PeerCloud(SystemSurroundings())) as peer:
        assert (await fault(opened(other))).reason is Reason.DEADLINE
        assert peer.batches == 0


@pytest.mark.parametrize("granted", [b"\x80\x01", b"\x80\x80", b""])
async def test_a_broker_that_forbids_to_hear_answers_is_told(broker: Mosquitto, tmp_path: Path, granted: bytes):
    async with odd_broker(broker.authority, tmp_path, granted=granted) as url:
        found = await fault(opened(replace(place(broker), url=url)))
    assert found.reason is Reason.NOT_ENROLLED
    assert "renew the door's certificate" in found.remedy


@pytest.mark.parametrize("granted", [b"\x01\x80", b"\x01"])
async def test_a_broker_that_forbids_to_hear_announcements_is_used_without(
    broker: Mosquitto, tmp_path: Path, granted: bytes
):
    async with odd_broker(broker.authority, tmp_path, granted=granted) as url:
        line = opened(replace(place(broker), url=url))
        try:
            await line.connect()
            assert (line.usable, line.hears_versions) == (True, False)
        finally:
            await line.aclose()


@pytest.mark.parametrize(
    "sent",
    [
        message(_ACK.encode(), b"answer", qos=1),
        message(_ACK.encode(), b"answer", qos=2),
        message(b"dw/#", b"answer"),
        message(b"\xff\xfe", b"answer"),
        b"\x30\x03\x00\xc8\x01",
        b"\x90\x01\x00",
    ],
    ids=["to-confirm", "to-confirm-twice", "wildcard", "no-text", "short", "grant-unasked"],
)
async def test_what_no_broker_may_say_ends_the_session_and_leaves_nothing_behind(
    broker: Mosquitto, tmp_path: Path, sent: bytes
):
    """The library keeps what it has to confirm, without a bound, and reads for ever what it cannot read."""
    async with odd_broker(broker.authority, tmp_path, after=sent) as url:
        line = opened(replace(place(broker), url=url))
        before = open_files()
        await line.connect()
        async with asyncio.timeout(DEADLINE_S):
            assert (await line.over()).reason is Reason.UNREACHABLE
        await until(lambda: open_files() == before)
        await line.aclose()


async def test_more_messages_than_are_looked_at_fill_no_log(
    broker: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    flood = message(_ACK.encode(), b"answer") * 200 + message(b"dw/#", b"the end")
    async with odd_broker(broker.authority, tmp_path, after=flood) as url:
        line = opened(replace(place(broker), url=url))
        await line.connect()
        async with asyncio.timeout(DEADLINE_S):
            await line.over()
    assert caplog.records == []


async def test_a_connection_that_comes_after_it_was_given_up_is_closed(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
):
    """It would log in under the door's name and throw the one out that works."""
    slow, usual = threading.Event(), PahoClient._create_socket_connection

    def create(client: PahoClient) -> socket.socket:
        made = usual(client)
        assert slow.wait(DEADLINE_S)
        return made

    monkeypatch.setattr(PahoClient, "_create_socket_connection", create)
    line = opened(place(broker), replace(_IMPATIENT, connect_s=0.2))
    assert (await fault(line)).reason is Reason.DEADLINE
    monkeypatch.undo()
    line = opened(place(broker), MqttDeadlines())
    try:
        async with cloud_at(broker, PeerCloud(SystemSurroundings())):
            await line.connect()
            slow.set()
            for _ in range(20):
                assert (await line.send_batch(batch())).status == 200
                await asyncio.sleep(0.02)
            assert line.sessions == 1
    finally:
        await line.aclose()


async def test_a_broker_that_does_not_let_a_door_in_is_told(broker: Mosquitto, tmp_path: Path):
    async with odd_broker(broker.authority, tmp_path, login=5) as url:
        found = await fault(opened(replace(place(broker), url=url)))
    assert found.reason is Reason.NOT_ENROLLED
    assert "does not let this door in" in found.what


async def test_an_expired_certificate_is_named_as_the_reason(broker: Mosquitto):
    where = place(broker)
    broker.door_files(TENANT, DEVICE, now=datetime.now(UTC) - timedelta(days=400))
    found = await fault(opened(where, _REFUSED))
    assert found.reason is Reason.TLS_REFUSED
    assert "expired" in found.what


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MqttConnectError(ReasonCode(PacketTypes.CONNACK, "Not authorized")), Reason.NOT_ENROLLED),
        (MqttConnectError(5), Reason.NOT_ENROLLED),
        (MqttConnectError(ReasonCode(PacketTypes.CONNACK, "Server unavailable")), Reason.UNREACHABLE),
        (MqttConnectError(3), Reason.UNREACHABLE),
        (aiomqtt.MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")), Reason.UNREACHABLE),
        (aiomqtt.MqttCodeError(4, "not connected, in the library's own numbers"), Reason.UNREACHABLE),
    ],
)
def test_a_refused_login_is_told_from_a_broken_line(error: aiomqtt.MqttError, reason: Reason):
    assert explain_mqtt(error, "mqtts://broker.example").reason is reason


async def test_missing_files_are_named(broker: Mosquitto, tmp_path: Path):
    found = await fault(opened(replace(place(broker), key=tmp_path / "nothing")))
    assert found.reason is Reason.TLS_REFUSED
    assert "nothing" in found.remedy


@pytest.mark.parametrize(
    "url",
    ["https://cloud:8883", "mqtts://", "mqtts://cloud:x", "mqtts://[", "", "mqtts://cloud..example", "mqtts://.a"],
)
async def test_what_is_no_address_is_refused(broker: Mosquitto, url: str):
    assert (await fault(opened(replace(place(broker), url=url)))).reason is Reason.REFUSED
