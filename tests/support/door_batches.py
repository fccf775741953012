"""Journals of doors for tests of the cloud: events that chain, sealed in batches of any cut."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wire.batch import seal_batch
from wire.event import CHAIN_START, Event, chain_hash, encode_event
from wire.names import Assurance, ClockState, DeviceId, DoorId, EventKind, Step

if TYPE_CHECKING:
    from wire.keys import Signer

EPOCH = b"epoch-01"
NOW_MS = 1_760_000_000_000


@dataclass(slots=True)
class Journal:
    """The events of one device and epoch.

    Attributes:
        start_ms: the door's clock at event 1; each event is a second later.
        events: their bytes, from event 1 on.
    """

    device: DeviceId
    signer: Signer
    epoch: bytes = EPOCH
    start_ms: int = NOW_MS
    door: str = "main-entrance"
    events: list[bytes] = field(default_factory=list)

    def grow(
        self, count: int, *, kind: EventKind = EventKind.ACCESS_GRANTED, credential: bytes = b"\0\0\0\0\0\7"
    ) -> None:
        """Add events."""
        for _ in range(count):
            seq = len(self.events) + 1
            event = Event(
                device=self.device,
                boot=1,
                seq=seq,
                wall_ms=self.start_ms + 1000 * seq,
                monotonic_ms=5_000 + 1000 * seq,
                clock=ClockState.TRUSTED,
                door=DoorId(self.door),
                access_point="entry",
                kind=kind,
                step=Step.GRANT,
                granted=True,
                credential=credential,
                assurance=Assurance.ROTATING,
                reader="qr-1",
                rule="level-7",
                policy_version=3,
                trust_version=1,
                status_sequence=881,
                status_age_s=12,
                elapsed_us=2_345,
                prev=self.head,
            )
            self.events.append(encode_event(event))

    def branched(self, at: int) -> Journal:
        """Give a copy that shares the events before number `at`: what a copied memory card writes."""
        return replace(self, events=self.events[: at - 1])

    @property
    def head(self) -> bytes:
        """Hash of the last event."""
        return chain_hash(self.events[-1]) if self.events else CHAIN_START

    def head_at(self, seq: int) -> bytes:
        """Hash of an event."""
        return chain_hash(self.events[seq - 1]) if seq else CHAIN_START

    def batch(self, first: int, last: int) -> bytes:
        """Seal events `first` to `last`."""
        return seal_batch(
            device=self.device,
            epoch=self.epoch,
            first=first,
            events=self.events[first - 1 : last],
            signer=self.signer,
        )
