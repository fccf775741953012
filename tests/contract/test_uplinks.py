"""What every way to the cloud does alike."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from benchmarks.lean_uplink import LeanUplink

from sync.acknowledgement import verify_acknowledgement
from sync.failover import FailoverUplink
from sync.https_uplink import HttpsUplink, open_https_uplink
from sync.mqtt_line import MqttLine
from sync.mqtt_session import Broker
from sync.ports import Fetched, NotModified, Reason, UplinkError
from sync.surroundings import SystemSurroundings
from sync.tasks import end
from tests.support.device_files import enrolled_files
from tests.support.door_journal import DEVICE, MemoryJournal
from tests.support.logged import Logged
from tests.support.memory_uplink import MemoryUplink
from tests.support.mosquitto import running_mosquitto
from tests.support.peer_broker import cloud_at
from tests.support.peer_cloud import DEVICE_SIGNER, TENANT, PeerCloud
from tests.support.peer_listener import PeerListener, listening
from tests.support.waiting import DEADLINE_S, until
from wire.batch import MAX_BATCH_EVENTS, seal_batch
from wire.health import Way
from wire.messages import (
    DEVICE_EVENTS,
    DEVICE_HEALTH,
    DEVICE_POLICY,
    DEVICE_ROSTER,
    DEVICE_STATUS,
    DEVICE_TRUST,
    MEDIA_COSE,
    MEDIA_ROSTER,
    MEDIA_ROSTER_DELTA,
    MEDIA_STATUS_DELTA,
    MEDIA_STATUS_LIST,
)
from wire.mqtt import MAX_EVENTS
from wire.roster import MAX_ROSTER_BYTES
from wire.status_list import MAX_TOKEN_BYTES
from wire.trust import MAX_BUNDLE_BYTES, open_trust
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from sync.ports import Uplink
    from tests.support.peer_broker import BrokerPeer
    from wire.keys import Signer


@dataclass(frozen=True, slots=True)
class Line:
    """An uplink, the peer at its end, the key that signs for the device, and the peer at a broker between them."""

    uplink: Uplink
    cloud: PeerCloud
    signer: Signer
    peer: BrokerPeer | None = None

    async def announce(self) -> None:
        """Let the cloud tell of what changed, where there is a broker to tell by."""
        if self.peer is not None:
            await self.peer.announce()

    def batch(self, journal: MemoryJournal, first: int = 1) -> bytes:
        """Sign the journal's events from `first` on."""
        return seal_batch(
            device=journal.device,
            epoch=journal.epoch,
            first=first,
            events=journal.history[first - 1 :],
            signer=self.signer,
        )


@asynccontextmanager
async def memory(_folder: Path) -> AsyncIterator[Line]:
    cloud = PeerCloud(SystemSurroundings())
    yield Line(MemoryUplink(cloud), cloud, DEVICE_SIGNER)


@asynccontextmanager
async def https(folder: Path, kind: type[HttpsUplink] | None = None) -> AsyncIterator[Line]:
    cloud = PeerCloud(SystemSurroundings())
    async with listening(PeerListener(cloud, folder / "cloud")) as listener:
        files = enrolled_files(listener, folder)
        uplink = open_https_uplink(
            url=listener.url, certificate=files.certificate, key=files.key, ca=files.ca, kind=kind
        )
        try:
            yield Line(uplink, cloud, files.signer)
        finally:
            await uplink.aclose()


def lean(folder: Path) -> AbstractAsyncContextManager[Line]:
    """The way of simulated doors in a benchmark."""
    return https(folder, LeanUplink)


@asynccontextmanager
async def mqtt(folder: Path) -> AsyncIterator[Line]:
    cloud = PeerCloud(SystemSurroundings())
    async with (
        listening(PeerListener(cloud, folder / "cloud")) as listener,
        running_mosquitto(listener.authority()) as broker,
        cloud_at(broker, cloud) as peer,
    ):
        files = enrolled_files(listener, folder)
        where = Broker(
            url=broker.url, tenant=TENANT, device=DEVICE, certificate=files.certificate, key=files.key, ca=files.ca
        )
        https = open_https_uplink(url=listener.url, certificate=files.certificate, key=files.key, ca=files.ca)
        uplink = FailoverUplink(MqttLine(where), https, SystemSurroundings(), Logged())
        keeping = asyncio.create_task(uplink.run())
        try:
            await until(lambda: uplink.status.way is Way.MQTT)
            yield Line(uplink, cloud, files.signer, peer)
            assert not [each for each in listener.requests if DEVICE_EVENTS in each or DEVICE_HEALTH in each]
        finally:
            await end((keeping,))
            await uplink.aclose()


@pytest.fixture(params=[memory, https, mqtt, lean], ids=["memory", "https", "mqtt", "lean"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    async with request.param(tmp_path) as made:
        yield made


async def test_a_batch_is_delivered_and_acknowledged(line: Line):
    journal = MemoryJournal()
    journal.write(3)
    answer = await line.uplink.send_batch(line.batch(journal))
    found = verify_acknowledgement(answer, trust=line.cloud.trust, device=journal.device, epoch=journal.epoch, last=3)
    assert (found.durable, found.head) == (3, journal.head(3))
    assert line.cloud.journals[journal.epoch].events == journal.history


async def test_a_batch_of_as_many_events_as_the_way_bears_goes_through(line: Line):
    events = line.uplink.bearable_events
    assert events == (MAX_BATCH_EVENTS if line.peer is None else MAX_EVENTS)
    journal = MemoryJournal()
    journal.write(events)
    await line.uplink.send_batch(line.batch(journal))
    assert len(line.cloud.journals[journal.epoch].events) == events


async def test_a_gap_says_up_to_where_the_cloud_has_the_journal(line: Line):
    journal = MemoryJournal()
    journal.write(5)
    with pytest.raises(UplinkError) as caught:
        await line.uplink.send_batch(line.batch(journal, first=4))
    believed = 0 if line.peer is None else None  # not from a broker, which could say so again and again
    assert (caught.value.reason, caught.value.durable) == (Reason.SEQUENCE_GAP, believed)


async def test_a_batch_of_another_key_is_refused(line: Line):
    with pytest.raises(UplinkError) as caught:
        await line.uplink.send_batch(b"\xd2\x84nonsense")
    assert caught.value.reason is Reason.REFUSED


async def test_a_document_comes_with_its_type_and_tag(line: Line):
    found = await line.uplink.fetch(DEVICE_TRUST, etag=None, query={}, max_bytes=MAX_BUNDLE_BYTES)
    assert isinstance(found, Fetched)
    assert open_trust(found.data, line.cloud.root.public_key) == line.cloud.trust
    assert (found.media_type, found.etag) == (MEDIA_COSE, '"1"')


async def test_a_document_that_is_there_already_does_not_come_again(line: Line):
    assert await line.uplink.fetch(DEVICE_POLICY, etag='"1"', query={}, max_bytes=1_000) == NotModified()


async def test_a_document_that_is_longer_than_asked_for_is_not_read(line: Line):
    found = await line.uplink.fetch(DEVICE_POLICY, etag=None, query={}, max_bytes=MAX_BUNDLE_BYTES)
    assert isinstance(found, Fetched)
    size = len(found.data)
    assert await line.uplink.fetch(DEVICE_POLICY, etag=None, query={}, max_bytes=size) == found
    with pytest.raises(UplinkError) as caught:
        await line.uplink.fetch(DEVICE_POLICY, etag=None, query={}, max_bytes=size - 1)
    assert caught.value.reason is Reason.UNREADABLE


async def test_a_list_comes_whole_and_then_as_a_delta(line: Line):
    path = f"{DEVICE_STATUS}/0"
    whole = await line.uplink.fetch(path, etag=None, query={}, max_bytes=MAX_TOKEN_BYTES)
    line.cloud.revoke(0, 8)
    delta = await line.uplink.fetch(path, etag='"1"', query={"since": "1"}, max_bytes=MAX_TOKEN_BYTES)
    assert isinstance(whole, Fetched)
    assert isinstance(delta, Fetched)
    assert (whole.media_type, delta.media_type) == (MEDIA_STATUS_LIST, MEDIA_STATUS_DELTA)


async def test_a_roster_comes_whole_and_then_as_a_delta(line: Line):
    line.cloud.enrol(1)
    whole = await line.uplink.fetch(DEVICE_ROSTER, etag=None, query={}, max_bytes=MAX_ROSTER_BYTES)
    line.cloud.enrol(1, 2)
    delta = await line.uplink.fetch(DEVICE_ROSTER, etag='"1"', query={"since": "1"}, max_bytes=MAX_ROSTER_BYTES)
    assert isinstance(whole, Fetched)
    assert isinstance(delta, Fetched)
    assert (whole.media_type, delta.media_type) == (MEDIA_ROSTER, MEDIA_ROSTER_DELTA)
    held = Versions(1, 1, {0: 1}, 1)
    assert await line.uplink.changes(held, wait_s=25) == Versions(1, 1, {0: 1}, 2)


async def test_a_document_that_does_not_exist_is_refused(line: Line):
    with pytest.raises(UplinkError) as caught:
        await line.uplink.fetch(f"{DEVICE_STATUS}/77", etag=None, query={}, max_bytes=MAX_TOKEN_BYTES)
    assert caught.value.reason is Reason.REFUSED


async def test_changes_are_told_at_once_when_there_are_any(line: Line):
    assert await line.uplink.changes(Versions(0, 0, {}), wait_s=25) == Versions(1, 1, {0: 1})


async def test_changes_are_told_when_the_wait_is_over(line: Line):
    held = Versions(1, 1, {0: 1})
    assert await line.uplink.changes(held, wait_s=0) == held


async def test_a_change_is_told_while_waiting(line: Line):
    waiting = asyncio.create_task(line.uplink.changes(Versions(1, 1, {0: 1}), wait_s=25))
    async with asyncio.timeout(DEADLINE_S):
        # The question may arrive after the change: it is then answered at once.
        await asyncio.sleep(0)
        line.cloud.revoke(0, 1)
        await line.announce()
        assert (await waiting).status == {0: 2}


async def test_both_directions_work_side_by_side(line: Line):
    journal = MemoryJournal()
    journal.write(1)
    waiting = asyncio.create_task(line.uplink.changes(Versions(1, 1, {0: 1}), wait_s=25))
    async with asyncio.timeout(DEADLINE_S):
        await line.uplink.send_batch(line.batch(journal))
        line.cloud.publish_policy()
        await line.announce()
        assert (await waiting).policy == 2


async def test_a_report_arrives_as_it_was_sent(line: Line):
    await line.uplink.report(b"\xa0 as it was")
    await until(lambda: bool(line.cloud.reports))
    assert line.cloud.reports == [b"\xa0 as it was"]


async def test_a_closed_uplink_says_so(line: Line):
    await line.uplink.aclose()
    await line.uplink.aclose()
    with pytest.raises(UplinkError) as caught:
        await line.uplink.changes(Versions(0, 0, {}), wait_s=0)
    assert caught.value.reason is Reason.CLOSED
    with pytest.raises(UplinkError) as caught:
        await line.uplink.report(b"late")
    assert caught.value.reason is Reason.CLOSED
