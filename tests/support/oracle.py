"""The oracle of the fault suite: reads PostgreSQL itself and compares with what doors know of themselves.

It believes no column, no mark and no API: events are parsed, hashed and counted from the stored bytes. It never
changes anything.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from doorward.fleet.journal import DoorRecord
from wire.errors import WireError
from wire.event import CHAIN_START, FIELD_NAMES, chain_hash, event_values, parse_event

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import asyncpg

    from cloud.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the oracle finds of one device's journal.

    Attributes:
        journaled: events that the device wrote.
        acknowledged: up to which event the device believes that the cloud has them.
        stored: distinct numbers that the cloud holds of this journal.
        lost: numbers that were acknowledged and are not stored.
        missing: numbers that were neither acknowledged nor stored: to be handed over yet.
        duplicate: numbers stored more than once.
        invented: numbers stored that the device never wrote.
        different: numbers whose stored bytes are not those that the device wrote.
        broken: numbers whose event does not name the hash of the one before, or tells of another device or number.
        mark_wrong: what the device's row says of mark and head does not follow from the rows; None when it does.
        unlocks_missing: numbers of events for which a lock moved, and which are not stored.
    """

    device: str
    journaled: int
    acknowledged: int
    stored: int
    lost: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    duplicate: tuple[int, ...] = ()
    invented: tuple[int, ...] = ()
    different: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()
    mark_wrong: str | None = None
    unlocks_missing: tuple[int, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether what was acknowledged is there, once and as it was written: so it has to be at any moment."""
        wrong = (self.lost, self.duplicate, self.invented, self.different, self.broken)
        return not any(wrong) and self.mark_wrong is None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; what is still to be handed over is no fault, but an unlock among it is."""
        return self.sound and not self.unlocks_missing

    def sentence(self) -> str:
        """Say what is wrong, each kind with its first numbers."""
        names = ("lost", "missing", "duplicate", "invented", "different", "broken", "unlocks_missing")
        parts = [f"{name} {_some(getattr(self, name))}" for name in names if getattr(self, name)]
        parts += [self.mark_wrong] if self.mark_wrong else []
        return f"{self.device}: {', '.join(parts) or 'all is there'}"


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts of all devices."""

    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong anywhere."""
        return all(each.ok for each in self.verdicts)

    @property
    def sound(self) -> bool:
        """Whether all journals are, at this moment, as they were acknowledged."""
        return all(each.sound for each in self.verdicts)

    @property
    def unacknowledged(self) -> int:
        """Events that are neither stored nor acknowledged."""
        return sum(len(each.missing) for each in self.verdicts)

    @property
    def acknowledged_lost(self) -> int:
        """Acknowledged events that are not stored."""
        return sum(len(each.lost) for each in self.verdicts)

    @property
    def complete(self) -> bool:
        """Whether, besides, every event was handed over."""
        return self.ok and not any(each.missing for each in self.verdicts)

    @property
    def events(self) -> int:
        """Events that are stored."""
        return sum(each.stored for each in self.verdicts)

    @property
    def lost(self) -> int:
        """Acknowledged events that are not stored, and unlocks that are not."""
        return sum(len({*each.lost, *each.unlocks_missing}) for each in self.verdicts)

    @property
    def duplicate(self) -> int:
        """Numbers stored twice or never written."""
        return sum(len({*each.duplicate, *each.invented}) for each in self.verdicts)

    @property
    def broken(self) -> int:
        """Events that are altered or do not follow, and marks that are wrong."""
        return sum(len({*each.different, *each.broken}) + (each.mark_wrong is not None) for each in self.verdicts)

    def sentences(self) -> list[str]:
        """Say what is wrong, a line a device."""
        return [each.sentence() for each in self.verdicts if not each.ok or each.missing]


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the cloud says of a journal: its mark and head, of the present epoch or of a closed one."""

    mark: int
    head: bytes


@dataclass(slots=True)
class _Walk:
    """The rows of one journal, by number."""

    device: str
    hashes: dict[int, bytes] = field(default_factory=dict)
    prevs: dict[int, bytes] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    alien: set[int] = field(default_factory=set)

    def take(self, row: asyncpg.Record) -> None:
        """Read one row."""
        seq, raw = row["seq"], row["raw"]
        self.counts[seq] += 1
        try:
            event = parse_event(raw)
        except WireError:
            self.alien.add(seq)
            return
        if (event.device, event.seq) != (self.device, seq):
            self.alien.add(seq)
        self.hashes[seq] = chain_hash(raw)
        self.prevs[seq] = event.prev

    def broken(self) -> set[int]:
        """Give the numbers that do not follow from the one before, where that one is stored."""
        found = set(self.alien)
        for seq, prev in self.prevs.items():
            before = CHAIN_START if seq == 1 else self.hashes.get(seq - 1)
            if before is not None and prev != before:
                found.add(seq)
        return found


async def consult(connection: Connection, records: Iterable[DoorRecord]) -> Report:
    """Compare the cloud's rows with the devices' own records, one snapshot for all."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return Report(tuple([await _judge(connection, record) for record in records]))


async def _judge(connection: Connection, record: DoorRecord) -> Verdict:
    walk = _Walk(record.device)
    rows = await connection.fetch(
        "SELECT seq, raw FROM events WHERE tenant_id = $1 AND device_id = $2 AND epoch = $3 ORDER BY seq",
        record.tenant,
        record.device,
        record.epoch,
    )
    for row in rows:
        walk.take(row)
    stored = set(walk.counts)
    absent = set(range(1, record.last + 1)) - stored
    return Verdict(
        device=record.device,
        journaled=record.last,
        acknowledged=record.durable,
        stored=len(stored),
        lost=_sorted(seq for seq in absent if seq <= record.durable),
        missing=_sorted(seq for seq in absent if seq > record.durable),
        duplicate=_sorted(seq for seq, count in walk.counts.items() if count > 1),
        invented=_sorted(seq for seq in stored if not 1 <= seq <= record.last),
        different=_sorted(
            seq for seq, found in walk.hashes.items() if 1 <= seq <= record.last and found != record.head(seq)
        ),
        broken=_sorted(walk.broken()),
        mark_wrong=_compare_mark(await _mark_of(connection, record), walk, record),
        unlocks_missing=_sorted(seq for seq in record.unlocks if seq not in stored),
    )


async def _mark_of(connection: Connection, record: DoorRecord) -> _Mark | None:
    """Find what the cloud says of this epoch, None when it knows nothing of it."""
    row = await connection.fetchrow(
        "SELECT mark, head FROM devices WHERE tenant_id = $1 AND id = $2 AND epoch = $3"
        " UNION ALL SELECT mark, head FROM closed_epochs WHERE tenant_id = $1 AND device_id = $2 AND epoch = $3",
        record.tenant,
        record.device,
        record.epoch,
    )
    return None if row is None else _Mark(row["mark"], row["head"])


def _compare_mark(mark: _Mark | None, walk: _Walk, record: DoorRecord) -> str | None:
    """Say how mark and head differ from the rows and from the device; None when they do not."""
    last = max(walk.counts, default=0)
    if mark is None:
        return f"{last} events of an epoch that the cloud does not name" if last else None
    if mark.mark != last:
        return f"the mark is {mark.mark}, the rows end at {last}"
    if mark.mark <= record.last and mark.head != record.head(mark.mark):
        return f"the head at {mark.mark} is not the device's"
    return None


def read_store(folder: Path, *, tenant: str, unlocks: Iterable[int]) -> DoorRecord:
    """Make the record of a real door from its store, with no daemon running.

    Args:
        folder: the door's state folder.
        tenant: the institution.
        unlocks: numbers of the events that moved its relay.
    """
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as database:
        rows: list[tuple[int, bytes]] = database.execute("SELECT seq, bytes FROM journal ORDER BY seq").fetchall()
        epoch: bytes = database.execute("SELECT value FROM fact_bytes WHERE name = 'epoch'").fetchone()[0]
        mark = database.execute("SELECT value FROM fact_number WHERE name = 'durable'").fetchone()
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1)), "the door's own journal has gaps"
    return DoorRecord(
        tenant=tenant,
        device=str(event_values(rows[0][1])[FIELD_NAMES.index("device")]),
        epoch=epoch,
        hashes=b"".join(chain_hash(data) for _, data in rows),
        unlocks=tuple(unlocks),
        durable=0 if mark is None else mark[0],
    )


def _sorted(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(numbers))


def _some(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown} … ({len(numbers)} in all)" if len(numbers) > 5 else shown
