"""What doors send through a real mosquitto reaches the database, and they are answered as over HTTPS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from cloud.broker.link import LONG_S
from cloud.events.ingest import Ingest
from cloud.events.metrics import IngestMetrics
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from tests.support.linked import Linked, door_at, make_link, running
from tests.support.mosquitto import running_mosquitto
from tests.support.waiting import until
from tests.vectors.parts.reports import USUAL_HEALTH
from wire.batch import open_acknowledgement
from wire.health import encode_health
from wire.mqtt import MAX_BODY_BYTES, UP_HEALTH, batch_hash, events_topic, topic
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.mosquitto import Mosquitto
    from wire.mqtt import Reply


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


@pytest.fixture(name="broker")
async def _broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


@pytest.fixture(name="linked")
async def _linked(parts: Parts, broker: Mosquitto, database_url: str, tmp_path: Path) -> AsyncIterator[Linked]:
    async with running(make_link(parts, broker, database_url, tmp_path)) as linked:
        yield linked


def who(twin: Twin) -> tuple[Tenant, DeviceId]:
    return twin.identity.tenant, twin.identity.device


def problem(reply: Reply) -> tuple[int, str]:
    return reply.status, json.loads(reply.body)["reason"]


async def test_a_batch_is_stored_and_acknowledged_with_the_cloud_s_signature(
    parts: Parts, broker: Mosquitto, linked: Linked
):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(3)
    batch = journal.batch(1, 3)
    async with door_at(broker, *who(twin)) as door:
        reply = await door.ask(batch)
        assert (reply.of, reply.status) == (batch_hash(batch), 200)
        assert open_acknowledgement(reply.body, await parts.acknowledger(twin)).head == journal.head
        assert await parts.stored(twin) == journal.events

        again = await door.ask(batch)
        assert (again.status, len(await parts.stored(twin))) == (200, 3)
    assert linked.registry.get_sample_value("doorward_broker_answers_total", {"status": "200"}) == 2
    await linked.last_seen.flush()
    assert await parts.pool.fetchval("SELECT last_seen FROM devices WHERE id = $1", twin.identity.device)


async def test_a_gap_tells_the_door_where_to_go_on(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(9)
    async with door_at(broker, *who(twin)) as door:
        assert (await door.ask(journal.batch(1, 4))).status == 200
        reply = await door.ask(journal.batch(6, 9))
    assert problem(reply) == (409, "SEQUENCE_GAP")
    assert json.loads(reply.body)["durable"] == 4
    assert linked.link.following.is_set()


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize("garbage", [b"", b"\xff" * 64, b"\xa0"])
async def test_garbage_is_refused_and_the_next_batch_is_taken(parts: Parts, broker: Mosquitto, garbage: bytes):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(1)
    async with door_at(broker, *who(twin)) as door:
        assert problem(await door.ask(garbage)) == (422, "BATCH_INVALID")
        assert (await door.ask(journal.batch(1, 1))).status == 200


@pytest.mark.usefixtures("linked")
async def test_a_batch_that_another_key_has_signed_is_refused(parts: Parts, broker: Mosquitto):
    twin = await parts.make_twin()
    thief = await parts.make_device(twin.identity.tenant)
    journal = thief.journal()
    journal.device = twin.identity.device
    journal.grow(1)
    async with door_at(broker, *who(twin)) as door:
        assert problem(await door.ask(journal.batch(1, 1))) == (403, "BATCH_SIGNATURE_INVALID")
    assert await parts.stored(twin) == []


@pytest.mark.usefixtures("linked")
async def test_a_device_that_nobody_enrolled_is_refused(parts: Parts, broker: Mosquitto):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(1)
    async with door_at(broker, twin.identity.tenant, DeviceId("made-up")) as door:
        assert problem(await door.ask(journal.batch(1, 1))) == (403, "DEVICE_CERTIFICATE_UNKNOWN")


@pytest.mark.usefixtures("linked")
async def test_a_revoked_device_is_refused(parts: Parts, broker: Mosquitto):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(1)
    await parts.pool.execute("UPDATE devices SET status = 'revoked' WHERE id = $1", twin.identity.device)
    async with door_at(broker, *who(twin)) as door:
        assert problem(await door.ask(journal.batch(1, 1))) == (403, "DEVICE_REVOKED")
    assert await parts.stored(twin) == []


@pytest.mark.usefixtures("linked")
async def test_what_a_door_sends_to_another_s_topic_reaches_nobody(parts: Parts, broker: Mosquitto):
    """Even signed by the other's key: the broker forbids it, and confirms it."""
    twin = await parts.make_twin()
    other = await parts.make_device(twin.identity.tenant)
    own, foreign = twin.journal(), other.journal()
    own.grow(1)
    foreign.grow(1)
    async with door_at(broker, *who(twin)) as door:
        await door.client.publish(events_topic(*who(other)), foreign.batch(1, 1), qos=1)
        assert (await door.ask(own.batch(1, 1))).status == 200
    assert await parts.stored(other) == []


async def test_a_busy_cloud_says_when_to_come_back(parts: Parts, broker: Mosquitto, database_url: str, tmp_path: Path):
    metrics = IngestMetrics(CollectorRegistry())
    acknowledgers = parts.issuing.acknowledgement_signer
    full = Ingest(parts.pool, acknowledgers, metrics, now=parts.clock.now, max_waiting_bytes=1)
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(1)
    async with (
        running(make_link(parts, broker, database_url, tmp_path, ingest=full)),
        door_at(broker, *who(twin)) as door,
    ):
        reply = await door.ask(journal.batch(1, 1))
    assert problem(reply) == (503, "INGEST_BUSY")
    assert reply.retry_after_s == 1


@pytest.mark.usefixtures("linked")
async def test_a_refusal_that_quotes_the_database_at_length_is_shortened(parts: Parts, broker: Mosquitto):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(1)
    await parts.pool.execute(
        "CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE data_exception USING MESSAGE = repeat('long ', 1000); END$$"
    )
    await parts.pool.execute(
        "CREATE TRIGGER complain BEFORE UPDATE OF mark ON devices FOR EACH ROW EXECUTE FUNCTION complain()"
    )
    try:
        async with door_at(broker, *who(twin)) as door:
            reply = await door.ask(journal.batch(1, 1))
    finally:
        await parts.pool.execute("DROP FUNCTION complain CASCADE")
    assert problem(reply) == (422, "BATCH_INVALID")
    assert len(reply.body) <= MAX_BODY_BYTES


async def test_a_report_of_health_is_kept_for_known_devices_only(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    tenant, device = who(twin)
    report = encode_health(USUAL_HEALTH)
    async with door_at(broker, tenant, DeviceId("made-up")) as stranger, door_at(broker, tenant, device) as door:
        await stranger.client.publish(topic(tenant, stranger.device, UP_HEALTH), report, qos=1)
        await door.client.publish(topic(tenant, device, UP_HEALTH), b"garbage", qos=1)
        await door.client.publish(topic(tenant, device, UP_HEALTH), report, qos=1)
        await until(lambda: linked.registry.get_sample_value("doorward_health_reports_total") == 1)
    await linked.health.flush()
    await linked.last_seen.flush()
    rows = await parts.pool.fetch("SELECT device_id, report FROM device_health WHERE tenant_id = $1", tenant)
    assert [tuple(row) for row in rows] == [(device, report)]
    assert await parts.pool.fetchval("SELECT last_seen FROM devices WHERE id = $1", device)


async def test_a_broker_that_was_killed_is_found_again(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    journal = twin.journal()
    journal.grow(2)
    async with door_at(broker, *who(twin)) as door:
        assert (await door.ask(journal.batch(1, 1))).status == 200
        await broker.kill()
        await until(lambda: not linked.link.following.is_set())
        assert (linked.link.lanes, linked.registry.get_sample_value("doorward_broker_connected")) == (frozenset(), 0)
        await broker.start()
        await until(lambda: len(linked.link.lanes) == 17)
    async with door_at(broker, *who(twin)) as door:
        assert (await door.ask(journal.batch(2, 2))).status == 200


async def test_the_health_page_tells_of_a_broker_that_is_away_for_long_and_stays_healthy(
    parts: Parts, broker: Mosquitto, linked: Linked
):
    assert ((await linked.link.check()).value, (await linked.link.check()).detail) == (17, None)
    await broker.kill()
    await until(lambda: not linked.link.following.is_set())
    for away_s, told in ((LONG_S, False), (LONG_S + 1, True)):
        parts.clock.monotonic = 1_000.0 + away_s
        check = await linked.link.check()
        assert (check.ok, check.value, bool(check.detail)) == (True, 0, told)
