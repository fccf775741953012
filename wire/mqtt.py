"""Topics and the answer to a batch over MQTT 3.1.1 (docs/spec/mqtt.md); announcements are in wire.versions.

Invariant: an answer names the batch that it answers by the batch's own hash, so that repeated, late and foreign answers
are told apart without a feature of the broker.
Must not: take an answer for more than the status and body that HTTPS would have brought.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, decode, encode
from wire.errors import WireError, WireReason
from wire.event import MAX_EVENT_BYTES
from wire.names import DeviceId, Tenant
from wire.passes import slug

LANES: Final = 16
UP_EVENTS: Final = "up/events"
UP_HEALTH: Final = "up/health"
DOWN_ANSWER: Final = "down/ack"
DOWN_VERSIONS: Final = "down/versions"
ALL_HEALTH: Final = f"dw/1/+/+/{UP_HEALTH}"
"""What the cloud subscribes to for reports of health."""

MAX_EVENTS: Final = 100
"""In a batch through a broker, which may have to keep one of each door: a thousand are 15 to 26 MB, 53 MB at most."""
MAX_UP_BYTES: Final = MAX_EVENTS * (MAX_EVENT_BYTES + 3) + 512
"""The largest batch of so many events."""
BATCH_HASH_BYTES: Final = 16
MAX_BODY_BYTES: Final = 2_048
MAX_REPLY_BYTES: Final = MAX_BODY_BYTES + 64
MAX_RETRY_S: Final = 86_400
_LEAST_STATUS: Final = 200
_MOST_STATUS: Final = 599
_HEAD_LEVELS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the cloud says to one batch.

    Attributes:
        of: the hash of the batch that it answers.
        status: as of HTTP; 200 with an acknowledgement.
        body: the acknowledgement, else a problem document.
        retry_after_s: seconds to stay away, 0 when the cloud does not say.
    """

    of: bytes
    status: int
    body: bytes
    retry_after_s: int = 0


def batch_hash(batch: bytes) -> bytes:
    """Name a batch: the first 16 bytes of SHA-256 over it."""
    return hashlib.sha256(batch).digest()[:BATCH_HASH_BYTES]


def encode_reply(reply: Reply) -> bytes:
    """Write a reply and check that it reads back.

    Raises:
        WireError: when it breaks a rule of the format.
    """
    claims: dict[int | str, Value] = {1: reply.of, 2: reply.status, 3: reply.body, 4: reply.retry_after_s}
    data = encode(claims, field="reply")
    parse_reply(data)
    return data


def parse_reply(data: bytes) -> Reply:
    """Read a reply.

    Raises:
        WireError: a fault of form.
    """
    fields = Fields(decode(data, field="reply", max_bytes=MAX_REPLY_BYTES), "reply")
    found = Reply(
        of=fields.octets(1, "of", BATCH_HASH_BYTES, BATCH_HASH_BYTES),
        status=fields.uint(2, "status", _MOST_STATUS),
        body=fields.octets(3, "body", 0, MAX_BODY_BYTES),
        retry_after_s=fields.uint(4, "retry_after", MAX_RETRY_S),
    )
    fields.close()
    if found.status < _LEAST_STATUS:
        raise WireError(WireReason.OUT_OF_RANGE, "reply.status")
    return found


def lane_of(tenant: Tenant, device: DeviceId) -> int:
    """Give a device's lane, by which the processes of a cloud share the doors between them."""
    return hashlib.sha256(f"{tenant}/{device}".encode()).digest()[0] % LANES


def lane_filter(lane: int) -> str:
    """Give what the cloud subscribes to for the batches of a lane."""
    return f"dw/1/+/+/{UP_EVENTS}/{lane}"


def topic(tenant: Tenant, device: DeviceId, leaf: str) -> str:
    """Give a device's topic; `leaf` is UP_HEALTH, DOWN_ANSWER or DOWN_VERSIONS."""
    return f"dw/1/{tenant}/{device}/{leaf}"


def events_topic(tenant: Tenant, device: DeviceId) -> str:
    """Give the topic of a device's batches, which ends with its lane."""
    return topic(tenant, device, f"{UP_EVENTS}/{lane_of(tenant, device)}")


_LEAVES: Final = {UP_HEALTH: UP_HEALTH, **{f"{UP_EVENTS}/{lane}": UP_EVENTS for lane in range(LANES)}}


def parse_up_topic(text: str) -> tuple[Tenant, DeviceId, str]:
    """Tell whose message comes by a topic, and which: UP_EVENTS or UP_HEALTH.

    The lane only says who listens: a message in another one than its device's is as good.

    Raises:
        WireError: WRONG_PREFIX for another topic, WRONG_ALPHABET or OUT_OF_RANGE for a name that is no slug.
    """
    levels = text.split("/", _HEAD_LEVELS)
    leaf = _LEAVES.get(levels[-1])
    if len(levels) != _HEAD_LEVELS + 1 or levels[:2] != ["dw", "1"] or leaf is None:
        raise WireError(WireReason.WRONG_PREFIX, "topic")
    return Tenant(slug(levels[2], "topic.tenant")), DeviceId(slug(levels[3], "topic.device")), leaf
