"""A signed batch of events going up, and the signed acknowledgement coming back (docs/spec/sync.md).

Invariant: a batch is a gapless run whose last hash is its head; only an acknowledgement signed by the cloud's
acknowledgement key lets a door forget.
Must not: trust a broker, a status code or a connection to mean "stored".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wire.codec import MAX_TIME_MS, Fields, Value, decode, encode, octets
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.event import CHAIN_START, HASH_BYTES, MAX_EVENT_BYTES, MAX_NAME_CHARACTERS, chain_hash
from wire.keys import PublicKey, Signer
from wire.names import DeviceId, ExternalAad
from wire.passes import slug

MAX_BATCH_EVENTS: Final = 500
MAX_BATCH_BYTES: Final = MAX_BATCH_EVENTS * (MAX_EVENT_BYTES + 3) + 512
EPOCH_BYTES: Final = 8
MAX_ACKNOWLEDGEMENT_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A run of events of one device and epoch.

    Attributes:
        epoch: 8 random bytes made with the journal; a re-imaged device has another.
        first: sequence number of the first event; the others follow without gap.
        events: each event's bytes, 1 to 500.
        head: chain hash of the last event.
    """

    device: DeviceId
    epoch: bytes
    first: int
    events: tuple[bytes, ...]
    head: bytes

    @property
    def last(self) -> int:
        """Sequence number of the last event."""
        return self.first + len(self.events) - 1


def seal_batch(*, device: DeviceId, epoch: bytes, first: int, events: Sequence[bytes], signer: Signer) -> bytes:
    """Sign a run of events with the device's key and check that it reads back.

    Raises:
        WireError: OUT_OF_RANGE for no event or too many, or another broken rule of the format.
    """
    claims: dict[int | str, Value] = {
        1: str(device),
        2: epoch,
        3: first,
        4: first + len(events) - 1,
        5: list(events),
        6: chain_hash(events[-1]) if events else CHAIN_START,
    }
    payload = encode(claims, field="batch")
    _parse_batch(payload)
    return seal(payload, signer, ExternalAad.BATCH)


def open_batch(data: bytes, key: PublicKey) -> Batch:
    """Verify and read a batch; the events inside are parsed by the reader.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the device's key did not sign it, HASH_MISMATCH when the
            head is not the last event's, or a fault of form.
    """
    envelope = parse_envelope(data, field="batch", max_bytes=MAX_BATCH_BYTES)
    check_signed_by(envelope, key, ExternalAad.BATCH, "batch")
    return _parse_batch(envelope.payload)


def _parse_batch(payload: bytes) -> Batch:
    fields = Fields(decode(payload, field="batch", max_bytes=MAX_BATCH_BYTES), "batch")
    device = slug(fields.text(1, "device", MAX_NAME_CHARACTERS), "batch.device")
    epoch = fields.octets(2, "epoch", EPOCH_BYTES, EPOCH_BYTES)
    first, last = fields.uint(3, "first"), fields.uint(4, "last")
    items = fields.array(5, "events", MAX_BATCH_EVENTS)
    events = tuple([octets(item, "batch.events", 1, MAX_EVENT_BYTES) for item in items])
    head = fields.octets(6, "head", HASH_BYTES, HASH_BYTES)
    fields.close()
    if not events or first < 1 or last != first + len(events) - 1:
        raise WireError(WireReason.OUT_OF_RANGE, "batch.last")
    if chain_hash(events[-1]) != head:
        raise WireError(WireReason.HASH_MISMATCH, "batch.head")
    return Batch(device=DeviceId(device), epoch=epoch, first=first, events=events, head=head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What the cloud has committed.

    Attributes:
        durable: all events up to here are committed; 0 for none.
        head: chain hash of event `durable`; 32 zero bytes when `durable` is 0.
        backed_up: all events up to here are in a backup as well.
        issued_at_ms: the cloud's clock, Unix milliseconds: issuer-signed time for the door.
    """

    device: DeviceId
    epoch: bytes
    durable: int
    head: bytes
    backed_up: int
    issued_at_ms: int


def seal_acknowledgement(acknowledgement: Acknowledgement, signer: Signer) -> bytes:
    """Sign an acknowledgement with the cloud's acknowledgement key and check that it reads back.

    Raises:
        WireError: when the acknowledgement breaks a rule of the format.
    """
    claims: dict[int | str, Value] = {
        1: str(acknowledgement.device),
        2: acknowledgement.epoch,
        3: acknowledgement.durable,
        4: acknowledgement.head,
        5: acknowledgement.backed_up,
        6: acknowledgement.issued_at_ms,
    }
    payload = encode(claims, field="acknowledgement")
    _parse_acknowledgement(payload)
    return seal(payload, signer, ExternalAad.ACKNOWLEDGEMENT)


def open_acknowledgement(data: bytes, key: PublicKey) -> Acknowledgement:
    """Verify and read an acknowledgement.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the key did not sign it, or a fault of form.
    """
    envelope = parse_envelope(data, field="acknowledgement", max_bytes=MAX_ACKNOWLEDGEMENT_BYTES)
    check_signed_by(envelope, key, ExternalAad.ACKNOWLEDGEMENT, "acknowledgement")
    return _parse_acknowledgement(envelope.payload)


def _parse_acknowledgement(payload: bytes) -> Acknowledgement:
    fields = Fields(
        decode(payload, field="acknowledgement", max_bytes=MAX_ACKNOWLEDGEMENT_BYTES),
        "acknowledgement",
    )
    found = Acknowledgement(
        device=DeviceId(slug(fields.text(1, "device", MAX_NAME_CHARACTERS), "acknowledgement.device")),
        epoch=fields.octets(2, "epoch", EPOCH_BYTES, EPOCH_BYTES),
        durable=fields.uint(3, "durable"),
        head=fields.octets(4, "head", HASH_BYTES, HASH_BYTES),
        backed_up=fields.uint(5, "backed_up"),
        issued_at_ms=fields.uint(6, "iat_ms", MAX_TIME_MS),
    )
    fields.close()
    if found.backed_up > found.durable:
        raise WireError(WireReason.OUT_OF_RANGE, "acknowledgement.backed_up")
    if found.durable == 0 and found.head != CHAIN_START:
        raise WireError(WireReason.HASH_MISMATCH, "acknowledgement.head")
    return found
