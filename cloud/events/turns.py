"""What waits, by whose turn it is, and how much of the room a tenant may take: one that floods does not starve another.

Invariant: tenants take turns, one item each; within a tenant the order is that of arrival.
Must not: know what is waited for.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from wire.names import Tenant

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """A queue with one lane for each tenant that has something waiting."""

    def __init__(self) -> None:
        self._lanes: dict[Tenant, deque[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[Item]:
        """Give what waits, lane by lane."""
        for lane in self._lanes.values():
            yield from lane

    def append(self, tenant: Tenant, item: Item) -> None:
        """Put an item at the end of its tenant's lane; a new lane has its turn after all others."""
        self._lanes.setdefault(tenant, deque()).append(item)

    def peek(self) -> Item:
        """Give the item whose turn it is; there must be one."""
        return next(iter(self._lanes.values()))[0]

    def pop(self) -> Item:
        """Take the item whose turn it is; its tenant's next turn comes after all others."""
        tenant = next(iter(self._lanes))
        lane = self._lanes.pop(tenant)
        item = lane.popleft()
        if lane:
            self._lanes[tenant] = lane
        return item

    def clear(self) -> None:
        """Forget everything."""
        self._lanes.clear()


class TurnLock:
    """A lock for which tenants take turns."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: Turns[asyncio.Future[None]] = Turns()

    @asynccontextmanager
    async def turn(self, tenant: Tenant) -> AsyncIterator[None]:
        """Hold the lock inside the block, after waiting for the tenant's turn."""
        if self._held:
            await self._wait(tenant)
        self._held = True
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, tenant: Tenant) -> None:
        ticket = asyncio.get_running_loop().create_future()
        self._waiting.append(tenant, ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self._hand_on()  # it was our turn, and we are gone
            raise

    def _hand_on(self) -> None:
        """Wake whose turn it is; the lock stays held for that one."""
        while self._waiting:
            ticket = self._waiting.pop()
            if not ticket.done():
                ticket.set_result(None)
                return
        self._held = False


class Room:
    """So many bytes for all tenants together, of which none takes what is left for the others.

    A tenant may hold as much as is free beside it: alone at most half of the room, two that flood a third each. However
    many flood, as much as each of them has is free for the next (a dynamic threshold: Choudhury and Hahne, 1998).

    Args:
        size_bytes: in all.
    """

    def __init__(self, size_bytes: int) -> None:
        self._free = size_bytes
        self._held: Counter[Tenant] = Counter()

    def has(self, tenant: Tenant, size: int) -> bool:
        """Tell whether there is room for so many bytes more of this tenant."""
        return self._held.get(tenant, 0) + size <= self._free

    def take(self, tenant: Tenant, size: int) -> None:
        """Take it."""
        self._free -= size
        self._held[tenant] += size

    def give_back(self, tenant: Tenant, size: int) -> None:
        """Give it back."""
        self._free += size
        self._held[tenant] -= size
        if not self._held[tenant]:
            del self._held[tenant]
