"""What waits, by whose turn it is: a queue in which a tenant that floods does not starve another.

Invariant: tenants take turns, one item each; within a tenant the order is that of arrival.
Must not: bound itself; the ingest counts what waits and refuses what is too much.
"""

from collections import deque
from collections.abc import Iterator
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
