"""Long polls: tell a door at once which documents are newer than its own.

Invariant: what is changed wakes the waiting doors at once, those of other processes too (herald.py); what is missed is
noticed within `RECHECK_S`, by one look for all doors of a tenant.
Must not: hold a database connection while waiting, or do anything for a door that waits.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import msgspec

from cloud.database import AWAY, Pool
from cloud.errors import CloudError, Reason
from cloud.issuing.commands import CommandDesk
from cloud.issuing.rosters import Rosters
from cloud.issuing.status import Status
from wire.codec import MAX_UINT
from wire.names import DoorId, Tenant

RECHECK_S: Final = 2.0
MAX_WAIT_S: Final = 60
MAX_WAITING: Final = 50_000
_MAX_DIGITS: Final = len(str(MAX_UINT))


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
class Snapshot:
    """A tenant's newest versions, of all its doors."""

    trust: int
    policies: Mapping[str, int]
    rosters: Mapping[DoorId, int]
    commands: Mapping[DoorId, int]
    status: Mapping[str, int]
    until_s: float = field(compare=False)

    def versions(self, door: DoorId, *, commands: int = 0) -> Versions:
        """Give those of one door; `commands` is the counter that it is known to have taken."""
        return Versions(
            trust=self.trust,
            policy=self.policies.get(door, 0),
            status=self.status,
            roster=self.rosters.get(door, 0),
            commands=max(commands, self.commands.get(door, 0)),
        )


class News:
    """Tenants of which somebody is still to be told; bounded by the number of tenants."""

    def __init__(self) -> None:
        self._tenants: set[Tenant] = set()
        self._come = asyncio.Event()

    def add(self, *tenants: Tenant) -> None:
        """Note that a tenant has something new."""
        self._tenants.update(tenants)
        if tenants:
            self._come.set()

    async def take(self) -> frozenset[Tenant]:
        """Wait until there are tenants, and give each once."""
        await self._come.wait()
        found = frozenset(self._tenants)
        self._tenants.clear()
        self._come.clear()
        return found


@dataclass(slots=True)
class _Board:
    """One tenant's newest versions, and who waits for others."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshot: Snapshot | None = None
    waiting: int = 0
    watch: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Have those who wait compare again."""
        self.changed.set()
        self.changed = asyncio.Event()


class Changes:
    """Watches the tenants that have waiting doors.

    Args:
        pool: the database.
        status: signs lists again when they grow old, because a waiting door relies on being told.
        rosters: issues rosters again likewise.
        commands: knows which still hold.
        stopping: ends every wait.
        monotonic_s: a clock that never goes back.
        forget: is told of each tenant that has something new, before its doors are.
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
        forget: Callable[[Tenant], None] = lambda _tenant: None,
    ) -> None:
        self._pool = pool
        self._status = status
        self._rosters = rosters
        self._commands = commands
        self._stopping = stopping
        self._monotonic_s = monotonic_s
        self._forget = forget
        self._boards: dict[Tenant, _Board] = {}
        self._waiting = 0
        self.for_processes: Final = News()
        """What the other processes are to be told (herald.py)."""
        self.for_broker: Final = News()
        """What the doors at the broker are to be told (cloud/broker/announcer.py)."""

    def publish(self, tenant: Tenant) -> None:
        """Tell the doors of a tenant, wherever they wait, that something has changed and is committed."""
        self.for_processes.add(tenant)
        self.for_broker.add(tenant)
        self.wake(tenant)

    async def newest(self, tenant: Tenant) -> Snapshot:
        """Read the newest versions of a tenant's doors.

        Raises:
            CloudError: KEY_UNUSABLE when something has grown old and cannot be signed again.
        """
        return await self._read(tenant)

    def wake_all(self) -> None:
        """Have every waiting door's versions read again: something may have been missed."""
        for tenant in [*self._boards]:
            self.wake(tenant)

    def wake(self, tenant: Tenant) -> None:
        """Have the versions of a tenant's waiting doors read again, and what they fetch then."""
        self._forget(tenant)
        board = self._boards.get(tenant)
        if board is not None:
            board.snapshot = None
            board.wake()

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
        if board.watch is None:
            board.watch = asyncio.create_task(self._watch(board, tenant))
        try:
            return await self._wait(board, tenant, door, known, self._monotonic_s() + wait_s)
        finally:
            self._waiting -= 1
            board.waiting -= 1
            if not board.waiting:
                self._boards.pop(tenant, None)
                board.watch.cancel()

    async def _wait(self, board: _Board, tenant: Tenant, door: DoorId, known: Versions, deadline_s: float) -> Versions:
        while True:
            changed = board.changed
            snapshot = await self._load(board, tenant)
            found = snapshot.versions(door, commands=known.commands)
            left_s = deadline_s - self._monotonic_s()
            if found != known or left_s <= 0 or self._stopping.is_set():
                return found
            await _pause(changed, left_s)

    async def _watch(self, board: _Board, tenant: Tenant) -> None:
        """Look again from time to time, and at a stop let those who wait go; runs while somebody waits."""
        while True:
            await _pause(self._stopping, RECHECK_S)
            if self._stopping.is_set():
                board.wake()
                return
            # Whatever fails, the next look finds it out, or the end of a wait.
            with suppress(CloudError, asyncpg.PostgresError, *AWAY):
                await self._load(board, tenant)

    async def _load(self, board: _Board, tenant: Tenant) -> Snapshot:
        """Read the versions, once for all doors of a tenant that ask at a time; wake all if they are other ones."""
        async with board.loading:
            before = snapshot = board.snapshot
            if snapshot is None or snapshot.until_s <= self._monotonic_s():
                changed = board.changed
                snapshot = await self._read(tenant)
                board.snapshot = snapshot if changed is board.changed else None
                if before not in (None, snapshot):
                    board.wake()
            return snapshot

    async def _read(self, tenant: Tenant) -> Snapshot:
        trust = await self._pool.fetchval("SELECT max(version) FROM trust_bundles WHERE tenant_id = $1", tenant)
        policies = await self._pool.fetch(
            "SELECT door_id, max(version) AS version FROM policies WHERE tenant_id = $1 GROUP BY door_id", tenant
        )
        sequences = await self._status.sequences(tenant)
        return Snapshot(
            trust=trust or 0,
            policies={row["door_id"]: row["version"] for row in policies},
            rosters=await self._rosters.versions(tenant),
            commands=await self._commands.newest(tenant),
            status={str(list_id): sequence for list_id, sequence in sequences.items()},
            until_s=self._monotonic_s() + RECHECK_S,
        )


async def _pause(event: asyncio.Event, wait_s: float) -> None:
    """Wait for something, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()


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
    return str(digits(list_id)), digits(sequence)


def _number(query: Mapping[str, str], name: str) -> int:
    return digits(query.get(name, "0"))


def digits(text: str) -> int:
    """Read a whole number as doors write them.

    Raises:
        ValueError: it is none.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > MAX_UINT:
        message = f"{text[:32]!r} is no whole number"
        raise ValueError(message)
    return int(text)
