"""Topics of MQTT: whose message it is follows from the topic alone."""

from __future__ import annotations

import pytest

from wire.errors import WireError, WireReason
from wire.mqtt import UP_EVENTS, batch_hash, parse_up_topic, topic
from wire.names import DeviceId, Tenant


def test_a_topic_is_read_as_written():
    text = topic(Tenant("north"), DeviceId("gate-1"), UP_EVENTS)
    assert text == "dw/1/north/gate-1/up/events"
    assert parse_up_topic(text) == ("north", "gate-1")


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1", WireReason.WRONG_PREFIX, "topic"),
        ("dw/2/north/gate-1/up/events", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/down/ack", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1/north/gate-1/up/events/more", WireReason.WRONG_PREFIX, "topic"),
        ("dw/1//gate-1/up/events", WireReason.OUT_OF_RANGE, "topic.tenant"),
        (f"dw/1/{'n' * 33}/gate-1/up/events", WireReason.OUT_OF_RANGE, "topic.tenant"),
        ("dw/1/north/+/up/events", WireReason.WRONG_ALPHABET, "topic.device"),
        (f"dw/1/north/{'g' * 33}/up/events", WireReason.OUT_OF_RANGE, "topic.device"),
    ],
)
def test_another_topic_is_refused(text: str, reason: WireReason, field: str):
    with pytest.raises(WireError) as caught:
        parse_up_topic(text)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_a_batch_is_named_by_its_bytes():
    assert batch_hash(b"a") != batch_hash(b"b")
    assert len(batch_hash(b"")) == 16
