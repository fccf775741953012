"""Topics of MQTT: whose message it is follows from the topic alone."""

from __future__ import annotations

import pytest

from wire.errors import WireError, WireReason
from wire.mqtt import (
    DOWN_VERSIONS,
    LANES,
    UP_EVENTS,
    UP_HEALTH,
    batch_hash,
    events_topic,
    lane_filter,
    lane_of,
    parse_up_topic,
    topic,
)
from wire.names import DeviceId, Tenant

NORTH, GATE = Tenant("north"), DeviceId("gate-1")


def test_a_topic_is_read_as_written():
    assert events_topic(NORTH, GATE) == "dw/1/north/gate-1/up/events/4"
    assert parse_up_topic(events_topic(NORTH, GATE)) == ("north", "gate-1", UP_EVENTS)
    assert parse_up_topic(topic(NORTH, GATE, UP_HEALTH)) == ("north", "gate-1", UP_HEALTH)
    assert topic(NORTH, GATE, DOWN_VERSIONS) == "dw/1/north/gate-1/down/versions"


def test_every_lane_is_read_and_listened_to():
    for lane in range(LANES):
        assert parse_up_topic(lane_filter(lane).replace("+", "a")) == ("a", "a", UP_EVENTS)


def test_devices_are_spread_over_the_lanes():
    lanes = [lane_of(NORTH, DeviceId(f"gate-{number}")) for number in range(1_600)]
    assert set(lanes) == set(range(LANES))
    assert max(map(lanes.count, range(LANES))) < 150


def test_the_tenant_counts_for_the_lane():
    assert {lane_of(Tenant(f"campus-{number}"), GATE) for number in range(400)} == set(range(LANES))


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/down/ack", WireReason.WRONG_PREFIX, "topic"),
        ("dw/2/north/gate-1/up/events/1", WireReason.WRONG_PREFIX, "topic"),
        ("de/1/north/gate-1/up/events/1", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/up/events", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/up/events/16", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/up/events/04", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/up/events/4/more", WireReason.WRONG_PREFIX, "topic"),
        ("up/health", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1//gate-1/up/events/4", WireReason.OUT_OF_RANGE, "topic.tenant"),
        (f"dw/1/{'n' * 33}/gate-1/up/events/4", WireReason.OUT_OF_RANGE, "topic.tenant"),
        ("dw/1/north/+/up/events/4", WireReason.WRONG_ALPHABET, "topic.device"),
        (f"dw/1/north/{'g' * 33}/up/events/4", WireReason.OUT_OF_RANGE, "topic.device"),
    ],
)
def test_another_topic_is_refused(text: str, reason: WireReason, field: str):
    with pytest.raises(WireError) as caught:
        parse_up_topic(text)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_a_batch_is_named_by_its_bytes():
    assert batch_hash(b"a") != batch_hash(b"b")
    assert len(batch_hash(b"")) == 16
