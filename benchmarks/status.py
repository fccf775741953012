"""What a revocation list of ten million passes costs: to ask, to load, to hold."""

import gc
import random
import sqlite3
import tempfile
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

from benchmarks.door import PASSES, TENANT
from benchmarks.journal import IDENTITY
from benchmarks.measure import Times, compared, in_turn
from benchmarks.result import Result
from edge.core.trust import HeldStatus
from edge.database import Database
from wire.status_list import StatusList, is_set

_LOOKUPS = 200
"""Timed together, because one is shorter than a clock's tick is precise."""
_ROUNDS = 2_000
_WARM_UP = 30
_LOADS = 40
_MB = 1_000_000


def lookup() -> Iterable[Result]:
    """Measure `status-lookup`: is the bit of a pass set."""
    chosen = random.Random(11)  # noqa: S311 - repeatable places in the list, no secret
    indexes = [chosen.randrange(PASSES) for _ in range(_LOOKUPS)]
    bits = chosen.randbytes(PASSES // 8)
    mirror = bytearray(bits)

    def bare(_turn: int) -> None:
        for index in indexes:
            _ = mirror[index >> 3]

    def asked(_turn: int) -> None:
        for index in indexes:
            is_set(bits, index)

    floor, subject = in_turn(bare, asked, rounds=_ROUNDS, warm_up=_WARM_UP)
    yield compared("status-lookup", _of_one(subject), _of_one(floor), must="value < 1 us", note=_NOTE_LOOKUP)


def _of_one(times: Times) -> Times:
    return Times([round(ns / _LOOKUPS) for ns in times.ns])


def load() -> Iterable[Result]:
    """Measure `status-load`: from the store's chunks to a list that can be asked, and what it holds then."""
    status = StatusList(
        tenant=TENANT,
        list_id=0,
        sequence=881,
        issued_at_s=int(time.time()) - 60,
        expires_at_s=int(time.time()) + 86_400,
        ttl_s=300,
        bits=random.Random(11).randbytes(PASSES // 8),  # noqa: S311 - as above
    )
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as folder:
        database = Database(Path(folder, "journal.db"), IDENTITY, new_epoch=bytes(8))
        database.put_status(status)
        whole = sqlite3.connect(Path(folder, "bare.db"), isolation_level=None)
        whole.execute("CREATE TABLE list (bits BLOB NOT NULL)")
        whole.execute("INSERT INTO list VALUES (?)", (status.bits,))
        floor, subject = in_turn(
            lambda _turn: whole.execute("SELECT bits FROM list").fetchone(),
            lambda _turn: _held(database),
            rounds=_LOADS,
            warm_up=3,
        )
        held_bytes = _held_bytes(database)
        database.close()
        whole.close()
    yield compared("status-load", subject, floor, must="value <= 50,000 us", note=_NOTE_LOAD)
    yield Result(
        name="status-memory",
        value=round(held_bytes / _MB, 3),
        unit="MB",
        floor=PASSES / 8 / _MB,
        ratio=round(held_bytes / (PASSES / 8), 3),
        n=1,
        must="value <= 2 MB",
        note="what a loaded list of ten million passes holds, as Python counts it; floor: its bits",
    )


def _held(database: Database) -> HeldStatus:
    (status,) = database.statuses().lists
    return HeldStatus(
        sequence=status.sequence,
        issued_at_s=status.issued_at_s,
        expires_at_s=status.expires_at_s,
        bits=status.bits,
    )


def _held_bytes(database: Database) -> int:
    gc.collect()
    tracemalloc.start()
    held = _held(database)
    gc.collect()
    size, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size if len(held.bits) == PASSES // 8 else 0


_NOTE_LOOKUP = (
    "the bit of a pass by its index, bounds checked, in a list of ten million at random places; "
    f"mean of {_LOOKUPS} a round; floor: an index into a bytearray"
)
_NOTE_LOAD = (
    "a list of ten million passes (1.25 MB) from the store's 4 KiB chunks to one that can be asked; floor: SQLite"
    " giving the same bytes as one value; both files in the page cache"
)
