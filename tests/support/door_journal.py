"""A door's journal in memory: real events, really chained, behind the port that the daemon's store implements."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sync.ports import JournalMismatch, JournalUnavailable, Marks
from wire.event import CHAIN_START, Event, chain_hash, encode_event
from wire.names import ClockState, DeviceId, DoorId, EventKind

if TYPE_CHECKING:
    from wire.batch import Acknowledgement

DEVICE = DeviceId("main-entrance-k3v9")
DOOR = DoorId("main-entrance")
EPOCH = bytes(range(8))


class MemoryJournal:
    """Keeps every event that was ever written in `history`, and forgets in `kept` what may be forgotten.

    Attributes:
        history: all events' bytes; number n stands at place n - 1.
        deleted: events up to this number are no longer kept.
        refusals: acknowledgements that named another head.
        durable: the mark.
        out_of_order: raise JournalUnavailable, as a store whose disk is stuck does.
    """

    def __init__(self, *, device: DeviceId = DEVICE, epoch: bytes = EPOCH, deletes: bool = True) -> None:
        self.device = device
        self.epoch = epoch
        self.history: list[bytes] = []
        self.deleted = 0
        self.refusals = 0
        self.out_of_order = False
        self._deletes = deletes
        self.durable = 0
        self._backed_up = 0

    def write(self, count: int = 1) -> None:
        """Journal so many events."""
        for _ in range(count):
            prev = chain_hash(self.history[-1]) if self.history else CHAIN_START
            self.history.append(_event(self.device, len(self.history) + 1, prev))

    def forget_up_to(self, seq: int) -> None:
        """Lose events, as a defect would."""
        self.deleted = seq

    def head(self, seq: int) -> bytes:
        """Give the chain hash at an event."""
        return chain_hash(self.history[seq - 1]) if seq else CHAIN_START

    async def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        self._check()
        first = max(seq, self.deleted)
        return [(n + 1, self.history[n]) for n in range(first, min(first + limit, len(self.history)))]

    async def marks(self) -> Marks:
        self._check()
        return Marks(durable=self.durable, backed_up=self._backed_up, last=len(self.history))

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        self._check()
        durable = acknowledgement.durable
        if durable > len(self.history) or acknowledgement.head != self.head(durable):
            self.refusals += 1
            raise JournalMismatch(durable=durable)
        self.durable = max(durable, self.deleted)
        self._backed_up = max(min(acknowledgement.backed_up, durable), self.deleted)
        if self._deletes:
            self.deleted = self._backed_up

    def _check(self) -> None:
        if self.out_of_order:
            raise JournalUnavailable(what="the disk did not answer", remedy="replace the card")


@cache
def _event(device: DeviceId, seq: int, prev: bytes) -> bytes:
    """Write an event; the same ones come again in every example of a property test."""
    return encode_event(
        Event(
            device=device,
            boot=1,
            seq=seq,
            wall_ms=1_800_000_000_000 + seq,
            monotonic_ms=seq,
            clock=ClockState.TRUSTED,
            door=DOOR,
            access_point="in",
            kind=EventKind.DOOR_OPENED,
            prev=prev,
        )
    )
