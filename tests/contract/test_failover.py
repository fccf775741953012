"""Batches change over between a real broker and HTTPS, and no fault or lie of the broker keeps them, or news, away."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sync.failover import FailoverUplink
from sync.mqtt_line import MqttDeadlines, MqttLine
from sync.mqtt_session import Broker
from sync.ports import Direction, Reason, UplinkError
from sync.push import UNHEARD_S
from sync.surroundings import SystemSurroundings
from sync.tasks import end
from tests.support.door_journal import DEVICE, MemoryJournal
from tests.support.logged import Logged
from tests.support.memory_uplink import MemoryUplink
from tests.support.mosquitto import running_mosquitto
from tests.support.odd_broker import odd_broker
from tests.support.peer_broker import cloud_at
from tests.support.peer_cloud import DEVICE_SIGNER, TENANT, PeerCloud
from tests.support.sync_bench import Bench as SyncBench
from tests.support.virtual_time import VirtualSurroundings
from tests.support.waiting import DEADLINE_S, until
from wire.batch import MAX_BATCH_EVENTS, seal_batch
from wire.health import Way
from wire.mqtt import MAX_EVENTS, MAX_UP_BYTES, Reply, batch_hash
from wire.names import DeviceId
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.mosquitto import Mosquitto

# What works has the product's own deadlines: a machine that pauses for a second is no silent broker.
USUAL = MqttDeadlines()
# For tests in which silence has to be noticed.
IMPATIENT = MqttDeadlines(connect_s=2.0, answer_s=1.5, report_s=1.5, knock_s=1.0)
HELD = Versions(1, 1, {0: 1})


class Hasty(SystemSurroundings):
    """The system's own, but a second lasts 20 ms while a broker waits to be tried again.

    Attributes:
        slept_s: the waits that were asked for.
    """

    __slots__ = ("slept_s",)

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        await asyncio.sleep(seconds / 50)


class CountingUplink(MemoryUplink):
    """HTTPS, in memory: counts what goes over it."""

    def __init__(self, cloud: PeerCloud) -> None:
        super().__init__(cloud)
        self.batches = 0
        self.asked: list[int] = []

    async def send_batch(self, data: bytes) -> bytes:
        self.batches += 1
        return await super().send_batch(data)

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        self.asked.append(wait_s)
        return await super().changes(versions, wait_s=wait_s)


@dataclass(slots=True)
class Bench:
    """A door with two ways to one cloud."""

    uplink: FailoverUplink
    https: CountingUplink
    line: MqttLine
    cloud: PeerCloud
    log: Logged
    time: Hasty

    async def on(self, way: Way) -> None:
        """Wait until batches take a way."""
        await until(lambda: self.uplink.status.way is way)

    async def send(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.uplink.send_batch(batch())


def batch() -> bytes:
    journal = MemoryJournal()
    journal.write(3)
    return seal_batch(device=journal.device, epoch=journal.epoch, first=1, events=journal.history, signer=DEVICE_SIGNER)


def place(broker: Mosquitto) -> Broker:
    files = broker.door_files(TENANT, DEVICE)
    return Broker(
        url=broker.url, tenant=TENANT, device=DEVICE, certificate=files.certificate, key=files.key, ca=files.ca
    )


@asynccontextmanager
async def door(where: Broker, deadlines: MqttDeadlines = USUAL) -> AsyncIterator[Bench]:
    """Run a door's uplink inside the block."""
    cloud, log, time = PeerCloud(SystemSurroundings()), Logged(), Hasty()
    line, https = MqttLine(where, deadlines), CountingUplink(cloud)
    uplink = FailoverUplink(line, https, time, log)
    keeping = asyncio.create_task(uplink.run())
    try:
        yield Bench(uplink, https, line, cloud, log, time)
    finally:
        await end((keeping,))
        await uplink.aclose()


@pytest.fixture
async def broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


# --- the way of batches --------------------------------------------------------------------------------------


async def test_the_session_is_there_before_the_first_batch_which_goes_through_the_broker(broker: Mosquitto):
    async with door(place(broker)) as bench, cloud_at(broker, bench.cloud) as peer:
        await bench.on(Way.MQTT)
        assert await bench.send()
        assert (peer.batches, bench.https.batches) == (1, 0)
        assert [(each.direction, each.reason) for each in bench.log.notices] == [(Direction.BROKER, None)]


async def test_without_a_broker_batches_go_over_https_at_once(broker: Mosquitto):
    where = place(broker)
    await broker.stop()
    async with door(where) as bench:
        assert await bench.send()
        await until(lambda: bench.log.reasons == [Reason.UNREACHABLE])
        assert bench.https.batches == 1
        assert bench.uplink.status.reason is Reason.UNREACHABLE


async def test_a_broker_that_is_killed_and_comes_back_is_left_and_taken_again(broker: Mosquitto):
    async with door(place(broker)) as bench:
        await bench.on(Way.MQTT)
        since_ms = bench.uplink.status.since_wall_ms
        await broker.kill()
        await bench.on(Way.HTTPS)
        assert await bench.send()
        assert bench.https.batches == 1
        await broker.start()
        await bench.on(Way.MQTT)
        async with cloud_at(broker, bench.cloud) as peer:
            assert await bench.send()
            assert (peer.batches, bench.https.batches) == (1, 1)
        assert bench.log.reasons == [None, Reason.UNREACHABLE, None]
        assert "batches go over HTTPS: the broker at mqtts://" in bench.log.notices[1].sentence
        assert bench.uplink.status.since_wall_ms > since_ms


async def test_a_broker_that_stops_in_order_is_left_and_taken_again(broker: Mosquitto):
    async with door(place(broker)) as bench:
        await bench.on(Way.MQTT)
        await broker.stop()
        await bench.on(Way.HTTPS)
        await broker.start()
        await bench.on(Way.MQTT)


async def test_a_broker_that_stays_away_is_told_once_and_tried_ever_less_often(broker: Mosquitto):
    where = place(broker)
    await broker.stop()
    async with door(where) as bench:
        await until(lambda: len(bench.time.slept_s) >= 4)
        assert bench.log.reasons == [Reason.UNREACHABLE]
    waits = bench.time.slept_s[:4]
    assert all(least <= wait < 2 * least for wait, least in zip(waits, (5, 10, 20, 40), strict=True))


async def test_a_broker_without_a_cloud_behind_it_holds_up_one_batch_and_no_other(broker: Mosquitto):
    async with door(place(broker), IMPATIENT) as bench, cloud_at(broker, bench.cloud) as peer:
        peer.silent = True
        await bench.on(Way.MQTT)
        assert await bench.send()
        assert (peer.batches, bench.https.batches) == (1, 1)
        # The broker is there and takes a session again; silence has to end before batches are given to it.
        await until(lambda: peer.batches >= 3)
        assert await bench.send()
        assert (bench.https.batches, bench.uplink.status.reason) == (2, Reason.DEADLINE)
        peer.silent = False
        await bench.on(Way.MQTT)
        assert await bench.send()
        assert bench.https.batches == 2
        assert bench.log.reasons == [None, Reason.DEADLINE, None]
        assert len(bench.cloud.journals) == 1


async def test_a_topic_that_the_broker_forbids_in_silence_sends_batches_over_https(broker: Mosquitto):
    other = replace(place(broker), device=DeviceId("another-door"))  # with the certificate of this one
    async with door(other, IMPATIENT) as bench, cloud_at(broker, bench.cloud) as peer:
        await bench.on(Way.MQTT)
        assert await bench.send()
        assert (peer.batches, bench.https.batches, bench.uplink.status.way) == (0, 1, Way.HTTPS)
        await until(lambda: len(bench.time.slept_s) >= 2)
        assert (bench.uplink.status.way, bench.uplink.status.reason) == (Way.HTTPS, Reason.DEADLINE)


async def test_a_half_open_connection_sends_the_same_batch_over_https(broker: Mosquitto):
    async with door(place(broker), IMPATIENT) as bench:
        await bench.on(Way.MQTT)
        with broker.frozen():
            assert await bench.send()
            assert (bench.https.batches, bench.uplink.status.reason) == (1, Reason.DEADLINE)
            await until(lambda: len(bench.time.slept_s) >= 2)
            assert bench.uplink.status.way is Way.HTTPS
        async with cloud_at(broker, bench.cloud):
            await bench.on(Way.MQTT)


async def test_an_expired_certificate_is_told_and_a_renewed_one_is_used(broker: Mosquitto):
    where = place(broker)
    broker.door_files(TENANT, DEVICE, now=datetime.now(UTC) - timedelta(days=400))
    # Within the connection nobody says why: that is found out once it is given up.
    async with door(where, MqttDeadlines(connect_s=2.0)) as bench:
        await until(lambda: bench.log.reasons == [Reason.TLS_REFUSED])
        assert await bench.send()
        assert "expired" in bench.log.notices[0].sentence
        broker.door_files(TENANT, DEVICE)
        await bench.on(Way.MQTT)


async def test_a_broker_that_forbids_answers_is_not_used(broker: Mosquitto, tmp_path: Path):
    async with (
        odd_broker(broker.authority, tmp_path, granted=b"\x80\x80") as url,
        door(replace(place(broker), url=url)) as bench,
    ):
        await until(lambda: bench.log.reasons == [Reason.NOT_ENROLLED])
        assert await bench.send()
        assert bench.https.batches == 1


async def test_refusals_of_the_cloud_are_no_reason_to_leave_the_broker(broker: Mosquitto):
    async with door(place(broker)) as bench, cloud_at(broker, bench.cloud) as peer:
        await bench.on(Way.MQTT)
        peer.instead = lambda data: Reply(of=batch_hash(data), status=503, body=b"{}", retry_after_s=7)
        with pytest.raises(UplinkError) as caught:
            await bench.send()
        assert (caught.value.reason, caught.value.retry_after_s) == (Reason.BUSY, None)  # nor when
        gap = b'{"reason":"SEQUENCE_GAP","durable":2}'
        peer.instead = lambda data: Reply(of=batch_hash(data), status=409, body=gap)
        with pytest.raises(UplinkError) as caught:
            await bench.send()
        assert (caught.value.reason, caught.value.durable) == (Reason.SEQUENCE_GAP, None)  # HTTPS will say from where
        peer.instead = lambda data: Reply(of=batch_hash(data), status=200, body=b"")
        with pytest.raises(UplinkError) as caught:
            await bench.send()
        assert caught.value.reason is Reason.UNREADABLE
        assert (bench.https.batches, bench.uplink.status.way) == (0, Way.MQTT)


async def test_after_a_doubt_the_cloud_itself_is_heard_once(broker: Mosquitto):
    async with door(place(broker)) as bench, cloud_at(broker, bench.cloud) as peer:
        await bench.on(Way.MQTT)
        bench.uplink.doubt()
        assert await bench.send()
        assert (peer.batches, bench.https.batches, bench.uplink.direct) == (0, 1, True)
        assert await bench.send()
        assert (peer.batches, bench.https.batches, bench.uplink.direct) == (1, 1, False)


async def test_a_broker_bears_small_batches_and_https_full_ones(broker: Mosquitto):
    async with door(place(broker)) as bench:
        assert bench.uplink.bearable_events == MAX_BATCH_EVENTS
        async with cloud_at(broker, bench.cloud):
            await bench.on(Way.MQTT)
            assert bench.uplink.bearable_events == MAX_EVENTS
            bench.uplink.doubt()
            assert bench.uplink.bearable_events == MAX_BATCH_EVENTS


@pytest.mark.parametrize(("more", "by_broker"), [(0, 1), (1, 0)])
async def test_a_batch_that_is_too_large_for_a_broker_goes_over_https(broker: Mosquitto, more: int, by_broker: int):
    async with door(place(broker)) as bench, cloud_at(broker, bench.cloud) as peer:
        await bench.on(Way.MQTT)
        peer.instead = lambda data: Reply(of=batch_hash(data), status=200, body=b"taken")
        with contextlib.suppress(UplinkError):  # bytes that are no batch: only their way is looked at
            await bench.uplink.send_batch(bytes(MAX_UP_BYTES + more))
        assert (peer.batches, bench.https.batches) == (by_broker, 1 - by_broker)
        assert bench.uplink.status.way is Way.MQTT


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"no acknowledgement"), (503, b"{}"), (403, b"{}"), (409, b'{"reason":"SEQUENCE_GAP","durable":0}')],
)
async def test_a_broker_that_answers_in_the_clouds_name_keeps_no_event_from_it(
    broker: Mosquitto, status: int, body: bytes
):
    bench = await SyncBench().trusting()
    line, https = MqttLine(place(broker), USUAL), CountingUplink(bench.cloud)
    uplink = FailoverUplink(line, https, SystemSurroundings(), Logged())
    engine = bench.restarted(uplink)
    bench.journal.write(700)
    keeping = asyncio.create_task(uplink.run())
    try:
        async with cloud_at(broker, bench.cloud) as peer:
            peer.instead = lambda data: Reply(of=batch_hash(data), status=status, body=body)
            await until(lambda: uplink.status.way is Way.MQTT)
            for _ in range(40):
                if (await engine.push.step()).wakeable:
                    break
            assert peer.batches >= 1
    finally:
        await end((keeping,))
        await uplink.aclose()
    assert (bench.stored, bench.journal.durable) == (bench.journal.history, 700)


async def test_a_cloud_that_only_the_broker_reaches_gets_every_event(broker: Mosquitto):
    """A door tries to hear the cloud itself, first and again and again, and goes on through the broker."""
    bench = await SyncBench().trusting()
    line, https = MqttLine(place(broker), IMPATIENT), CountingUplink(bench.cloud)
    https.down = True
    uplink = FailoverUplink(line, https, SystemSurroundings(), Logged())
    push = bench.restarted(uplink).push
    keeping = asyncio.create_task(uplink.run())
    try:
        async with cloud_at(broker, bench.cloud):
            await until(lambda: uplink.status.way is Way.MQTT)
            for _ in range(5):
                bench.journal.write(100)
                for _ in range(3):
                    if (await push.step()).wakeable:
                        break
                assert bench.journal.durable == len(bench.journal.history)
                bench.surroundings.pass_s(UNHEARD_S)
    finally:
        await end((keeping,))
        await uplink.aclose()
    assert (bench.stored, bench.listener.times) == (bench.journal.history, [])
    assert https.batches == 5


async def test_a_report_goes_over_https_when_the_broker_is_gone(broker: Mosquitto):
    async with door(place(broker)) as bench:
        await bench.on(Way.MQTT)
        await broker.kill()
        await bench.on(Way.HTTPS)
        await bench.uplink.report(b"well")
        assert bench.cloud.reports == [b"well"]


# --- what is new ---------------------------------------------------------------------------------------------


async def test_an_announcement_brings_the_change_without_a_long_question(broker: Mosquitto):
    async with door(place(broker)) as bench, cloud_at(broker, bench.cloud) as peer:
        await bench.on(Way.MQTT)
        waiting = asyncio.create_task(bench.uplink.changes(HELD, wait_s=25))
        await until(lambda: bench.https.asked == [0])
        bench.cloud.publish_policy()
        await peer.announce()
        async with asyncio.timeout(DEADLINE_S):
            assert (await waiting).policy == 2
        assert bench.https.asked == [0, 0]


async def test_what_was_announced_while_there_was_no_session_is_asked_for_after_it(broker: Mosquitto):
    async with door(place(broker)) as bench:
        await bench.on(Way.MQTT)
        waiting = asyncio.create_task(bench.uplink.changes(HELD, wait_s=25))
        await until(lambda: bench.https.asked == [0])
        await broker.kill()
        # Without a session the cloud is asked to wait; this answer only comes because something changes.
        await until(lambda: bench.https.asked == [0, 25])
        bench.cloud.publish_policy()
        async with asyncio.timeout(DEADLINE_S):
            assert (await waiting).policy == 2
        await broker.start()
        await bench.on(Way.MQTT)
        again = asyncio.create_task(bench.uplink.changes(replace(HELD, policy=2), wait_s=25))
        await until(lambda: bench.https.asked == [0, 25, 0])
        again.cancel()


async def test_a_broker_that_does_not_let_a_door_hear_leaves_it_to_long_questions(broker: Mosquitto, tmp_path: Path):
    async with (
        odd_broker(broker.authority, tmp_path, granted=b"\x01\x80") as url,
        door(replace(place(broker), url=url)) as bench,
    ):
        await bench.on(Way.MQTT)
        waiting = asyncio.create_task(bench.uplink.changes(HELD, wait_s=25))
        await until(lambda: bench.https.asked == [25])
        waiting.cancel()


@asynccontextmanager
async def hearing(
    broker: Mosquitto, said: Versions | None
) -> AsyncIterator[tuple[FailoverUplink, CountingUplink, VirtualSurroundings]]:
    """Give a door that has heard something from a real broker, in virtual time from then on."""
    time, cloud = VirtualSurroundings(fraction=0.0), PeerCloud(VirtualSurroundings())
    line, https = MqttLine(place(broker), USUAL), CountingUplink(cloud)
    uplink = FailoverUplink(line, https, time, Logged())
    keeping = asyncio.create_task(uplink.run())
    try:
        async with cloud_at(broker, cloud) as peer:
            await until(lambda: uplink.status.way is Way.MQTT)
            if said is not None:
                await peer.announce(said)
                await until(lambda: line.heard == said)
            yield uplink, https, time
    finally:
        await end((keeping,))
        await uplink.aclose()


async def asked_in(
    seconds: float, uplink: FailoverUplink, https: CountingUplink, time: VirtualSurroundings
) -> list[float]:
    """Go on asking for changes until so much time has passed, and give after how many seconds the cloud was asked."""
    began_ms, at = time.now_ms, []
    seen = len(https.asked)
    while time.now_ms - began_ms < seconds * 1000:
        before = time.now_ms
        assert await uplink.changes(HELD, wait_s=25) == HELD
        at += [(time.now_ms - began_ms) / 1000] * (len(https.asked) - seen)
        seen = len(https.asked)
        assert time.now_ms - before <= 301_000
    return at


async def test_a_broker_that_announces_nothing_does_not_keep_the_door_from_asking(broker: Mosquitto):
    async with hearing(broker, None) as (uplink, https, time):
        assert len(await asked_in(3_600, uplink, https, time)) == 13  # at once, then every 300 s
        assert set(https.asked) == {0}


@pytest.mark.parametrize("lie", [Versions(99, 99, {0: 99}, 99, 99), Versions(0, 0, {}), Versions(1, 1, {0: 1, 7: 1})])
async def test_a_broker_that_lies_does_not_make_the_door_spin_nor_stop_asking(broker: Mosquitto, lie: Versions):
    async with hearing(broker, lie) as (uplink, https, time):
        asked = len(await asked_in(3_600, uplink, https, time))
        assert 12 <= asked <= 24


async def test_an_announcement_that_was_fetched_is_no_news(broker: Mosquitto):
    async with hearing(broker, HELD) as (uplink, https, time):
        await uplink.changes(HELD, wait_s=25)
        before_ms = time.now_ms
        await uplink.changes(HELD, wait_s=25)
        assert (len(https.asked), time.now_ms - before_ms) == (3, 300_000)
