"""Long polls: tell a door at once which documents are newer than its own.

Invariant: what is changed wakes the waiting doors at once, those of other processes too (herald.py); what is missed is
noticed within `RECHECK_S`.
Must not: hold a database connection while waiting, or ask the database once for each door.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from cloud.database import Pool
from cloud.errors import CloudError, Reason
from cloud.issuing.commands import CommandDesk
from cloud.issuing.rosters import Rosters
from cloud.issuing.status import Status
from wire.names import DoorId, Tenant

RECHECK_S: Final = 2.0
MAX_WAIT_S: Final = 60
MAX_WAITING: Final = 50_000
_MAX_QUERY_CHARACTERS: Final = 4_096


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What exists for a door: versions of trust, policy and roster (0: none yet), and each status list's sequence.

    `commands` is the highest counter of its commands that still hold, never below the one that the door has taken.
    """

    trust: int
    policy: int
    status: Mapping[str, int]
    roster: int = 0
    commands: int = 0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    trust: int
    policies: Mapping[str, int]
    rosters: Mapping[DoorId, int]
    commands: Mapping[DoorId, int]
    status: Mapping[str, int]
    until_s: float


@dataclass(slots=True)
class _Board:
    """One tenant's newest versions, and who waits for others."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshot: _Snapshot | None = None
    waiting: int = 0


class Changes:
    """Watches the tenants that have waiting doors.

    Args:
        pool: the database.
        status: signs lists again when they grow old, because a waiting door relies on being told.
        rosters: issues rosters again likewise.
        commands: knows which still hold.
        stopping: ends every wait.
        monotonic_s: a clock that never goes back.
    """

    def __init__(
        self,
        pool: Pool,
        status: Status,
        rosters: Rosters,
        commands: CommandDesk,
        *,
        stopping: asyncio.Event,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._status = status
        self._rosters = rosters
        self._commands = commands
        self._stopping = stopping
        self._monotonic_s = monotonic_s
        self._boards: dict[Tenant, _Board] = {}
        self._untold: set[Tenant] = set()
        self._told = asyncio.Event()
        self._waiting = 0

    def publish(self, tenant: Tenant) -> None:
        """Tell the doors of a tenant, wherever they wait, that something has changed and is committed."""
        self._untold.add(tenant)
        self._told.set()
        self.wake(tenant)

    async def published(self, ended: asyncio.Event) -> frozenset[Tenant]:
        """Wait for tenants that other processes are to be told of, and give them once; none when `ended` is set."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._told, ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if ended.is_set():
            return frozenset()
        found = frozenset(self._untold)
        self._untold.clear()
        self._told.clear()
        return found

    def wake_all(self) -> None:
        """Have every waiting door's versions read again: something may have been missed."""
        for tenant in [*self._boards]:
            self.wake(tenant)

    def wake(self, tenant: Tenant) -> None:
        """Have the versions of a tenant's waiting doors read again."""
        board = self._boards.get(tenant)
        if board is not None:
            board.snapshot = None
            board.changed.set()
            board.changed = asyncio.Event()

    async def wait(self, tenant: Tenant, door: DoorId, known: Versions, *, wait_s: float) -> Versions:
        """Give the newest versions as soon as they differ from `known`, at the latest after `wait_s`.

        Raises:
            CloudError: SERVICE_BUSY when too many doors wait.
        """
        if self._waiting >= MAX_WAITING:
            raise CloudError(Reason.SERVICE_BUSY, "Too many doors are waiting; ask again later.", retry_after_s=5)
        board = self._boards.setdefault(tenant, _Board())
        board.waiting += 1
        self._waiting += 1
        try:
            return await self._wait(board, tenant, door, known, self._monotonic_s() + wait_s)
        finally:
            self._waiting -= 1
            board.waiting -= 1
            if not board.waiting:
                self._boards.pop(tenant, None)

    async def _wait(self, board: _Board, tenant: Tenant, door: DoorId, known: Versions, deadline_s: float) -> Versions:
        while True:
            changed = board.changed
            snapshot = await self._load(board, tenant)
            found = Versions(
                trust=snapshot.trust,
                policy=snapshot.policies.get(door, 0),
                status=snapshot.status,
                roster=snapshot.rosters.get(door, 0),
                commands=max(known.commands, snapshot.commands.get(door, 0)),
            )
            left_s = deadline_s - self._monotonic_s()
            if found != known or left_s <= 0 or self._stopping.is_set():
                return found
            await self._pause(changed, min(left_s, RECHECK_S))

    async def _pause(self, changed: asyncio.Event, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await changed.wait()
        except TimeoutError:
            return

    async def _load(self, board: _Board, tenant: Tenant) -> _Snapshot:
        """Read the versions, once for all doors of the tenant that ask at the same time."""
        async with board.loading:
            snapshot = board.snapshot
            if snapshot is None or snapshot.until_s <= self._monotonic_s():
                changed = board.changed
                snapshot = await self._read(tenant)
                board.snapshot = snapshot if changed is board.changed else None
            return snapshot

    async def _read(self, tenant: Tenant) -> _Snapshot:
        trust = await self._pool.fetchval("SELECT max(version) FROM trust_bundles WHERE tenant_id = $1", tenant)
        policies = await self._pool.fetch(
            "SELECT door_id, max(version) AS version FROM policies WHERE tenant_id = $1 GROUP BY door_id", tenant
        )
        sequences = await self._status.sequences(tenant)
        return _Snapshot(
            trust=trust or 0,
            policies={row["door_id"]: row["version"] for row in policies},
            rosters=await self._rosters.versions(tenant),
            commands=await self._commands.newest(tenant),
            status={str(list_id): sequence for list_id, sequence in sequences.items()},
            until_s=self._monotonic_s() + RECHECK_S,
        )


def read_known(query: Mapping[str, str]) -> tuple[Versions, float]:
    """Read what a door says it has: `trust=12&policy=17&status=0:881,1:4&roster=9&commands=3&wait_s=25`.

    What is absent is none.

    Raises:
        CloudError: QUERY_INVALID.
    """
    try:
        status = dict(_pair(item) for item in query.get("status", "").split(",") if item)
        versions = {name: _number(query, name) for name in ("trust", "policy", "roster", "commands")}
        known = Versions(**versions, status=status)
        return known, min(_number(query, "wait_s"), MAX_WAIT_S)
    except ValueError as error:
        detail = f"Expected trust=12&policy=17&status=0:881&roster=9&wait_s=25 with whole numbers: {error}"
        raise CloudError(Reason.QUERY_INVALID, detail) from error


def _pair(item: str) -> tuple[str, int]:
    list_id, separator, sequence = item.partition(":")
    if not separator:
        message = f"{item!r} is not LIST:SEQUENCE"
        raise ValueError(message)
    return str(_digits(list_id)), _digits(sequence)


def _number(query: Mapping[str, str], name: str) -> int:
    return _digits(query.get(name, "0"))


def _digits(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:  # noqa: PLR2004 - of 2^63
        message = f"{text[:32]!r} is no whole number"
        raise ValueError(message)
    return int(text)
