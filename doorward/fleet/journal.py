"""A simulated door's journal: real events, really chained, in memory and, without waiting for the disk, in a file.

Invariant: what the cloud has not confirmed as backed up is never given up, and a mark moves only by a verified
acknowledgement whose head is this journal's own (docs/spec/sync.md).
Must not: begin a new epoch where there is a file: the cloud takes a device's further journal for a copied card's.
"""

import os
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sync.ports import JournalMismatch, Marks
from wire.batch import Acknowledgement
from wire.event import CHAIN_START, HASH_BYTES, Event, chain_hash, encode_event
from wire.names import DeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRecord:
    """What a door knows of itself, for whoever checks the cloud against it.

    Attributes:
        hashes: of every event from number 1 on, 32 bytes each.
        unlocks: numbers of the events for which the lock was moved, after they were journaled.
        durable: up to which event the cloud's acknowledgement was believed.
    """

    tenant: str
    device: str
    epoch: bytes
    hashes: bytes
    unlocks: tuple[int, ...]
    durable: int

    @property
    def last(self) -> int:
        """Number of the newest event."""
        return len(self.hashes) // HASH_BYTES

    def head(self, seq: int) -> bytes:
        """Give the hash of an event; zeros for 0."""
        return self.hashes[(seq - 1) * HASH_BYTES : seq * HASH_BYTES] if seq else CHAIN_START


class FleetJournal:
    """`sync.ports.Journal` of one simulated door.

    Args:
        device: whose it is.
        epoch: 8 random bytes.
        grown: called after each event.
        file: keeps it over a restart (not over a power cut); None where the process's life is enough.
        monotonic_s: for how long events wait until they are durable.

    Attributes:
        waits_ms: how long each event waited from being written to being durable, milliseconds.
    """

    def __init__(
        self,
        device: DeviceId,
        epoch: bytes,
        *,
        grown: Callable[[], None],
        file: Path | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = device
        self.epoch = epoch
        self.waits_ms = array("f")
        self._grown = grown
        self._monotonic_s = monotonic_s
        self._hashes = bytearray()
        self._kept: deque[bytes] = deque()
        self._written_s: deque[float] = deque()
        self._deleted = 0
        self._durable = 0
        self._timed = 0
        self._backed_up = 0
        self._file = file
        if file is not None:
            self._open(file)

    @property
    def last(self) -> int:
        """Number of the newest event."""
        return len(self._hashes) // HASH_BYTES

    @property
    def durable(self) -> int:
        """Up to which event the cloud has committed this journal."""
        return self._durable

    @property
    def hashes(self) -> bytes:
        """The hashes of all events."""
        return bytes(self._hashes)

    def head(self, seq: int) -> bytes:
        """Give the hash of an event; zeros for 0."""
        return bytes(self._hashes[(seq - 1) * HASH_BYTES : seq * HASH_BYTES]) if seq else CHAIN_START

    def write(self, make: Callable[[int, bytes], Event]) -> int:
        """Journal one event, made for the number and the hash before it; gives the number."""
        seq = self.last + 1
        data = encode_event(make(seq, self.head(seq - 1)))
        if self._file is not None:
            with self._file.open("ab") as file:
                file.write(_LENGTH.pack(len(data)) + data)
        self._take(data)
        self._written_s.append(self._monotonic_s())
        self._grown()
        return seq

    def copy(self, *, grown: Callable[[], None]) -> "FleetJournal":
        """Give a copy that goes its own way from here, as a copied memory card does."""
        made = FleetJournal(self.device, self.epoch, grown=grown, monotonic_s=self._monotonic_s)
        made._hashes[:] = self._hashes
        made._kept.extend(self._kept)
        made._written_s.extend(self._written_s)
        made._deleted, made._durable, made._backed_up = self._deleted, self._durable, self._backed_up
        made._timed = self._timed
        return made

    async def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give kept events above `seq`."""
        first = max(seq, self._deleted)
        places = range(first - self._deleted, min(first - self._deleted + limit, len(self._kept)))
        return [(self._deleted + place + 1, self._kept[place]) for place in places]

    async def marks(self) -> Marks:
        """Give the marks."""
        return Marks(durable=self._durable, backed_up=self._backed_up, last=self.last)

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Take over a verified acknowledgement.

        Raises:
            JournalMismatch: it names another head than this journal's.
        """
        durable = acknowledgement.durable
        if durable > self.last or acknowledgement.head != self.head(durable):
            raise JournalMismatch(durable=durable)
        self._durable = max(durable, self._deleted)
        self._backed_up = max(min(acknowledgement.backed_up, durable), self._deleted)
        self._time_up_to(self._durable)
        while self._deleted < self._backed_up:
            self._kept.popleft()
            self._deleted += 1

    def _take(self, data: bytes) -> None:
        self._hashes += chain_hash(data)
        self._kept.append(data)

    def _open(self, path: Path) -> None:
        """Go on with what the file holds, or begin it. An event that was not written whole was not sent either."""
        held = path.read_bytes() if path.exists() else b""
        place = len(self.epoch)
        if len(held) < place:
            path.write_bytes(self.epoch)
            return
        self.epoch = held[:place]
        while len(held) >= place + _LENGTH.size:
            (size,) = _LENGTH.unpack_from(held, place)
            if len(held) < place + _LENGTH.size + size:
                break
            self._take(held[place + _LENGTH.size : place + _LENGTH.size + size])
            place += _LENGTH.size + size
        if place < len(held):
            os.truncate(path, place)
        self._timed = self.last

    def _time_up_to(self, durable: int) -> None:
        now_s = self._monotonic_s()
        while self._timed < durable:
            self.waits_ms.append((now_s - self._written_s.popleft()) * _MS)
            self._timed += 1


_MS: Final = 1000.0
_LENGTH: Final = struct.Struct(">H")
"""Stands before each event in the file, after the epoch."""
