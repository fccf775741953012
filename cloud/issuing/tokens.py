"""Status tokens for doors that ask at the same time: read and signed once for all of them.

A revocation wakes every door of a tenant at once, and each asks for the same change of the same list. What was read for
one is given to all for a moment, unless the tenant has published something since.

Invariant: what is given was read after the tenant's last publication that this process knows of.
Must not: grow with the doors; what it keeps is bounded in number.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from cloud.issuing.status import Status, StatusToken
from wire.names import Tenant

KEEP_S: Final = 1.0
"""How long a publication of another process may go unnoticed here, should its notice be lost (herald.py)."""
MAX_KEPT: Final = 32
"""Lists have up to 1.3 MB."""
_Asked: TypeAlias = tuple[Tenant, int, int | None]


class Tokens:
    """Remembers for a moment.

    Args:
        status: reads and signs.
        monotonic_s: a clock that never goes back.
    """

    def __init__(self, status: Status, *, monotonic_s: Callable[[], float]) -> None:
        self._status = status
        self._monotonic_s = monotonic_s
        self._published: Counter[Tenant] = Counter()
        self._kept: OrderedDict[_Asked, tuple[float, int, asyncio.Task[StatusToken]]] = OrderedDict()

    def forget(self, tenant: Tenant) -> None:
        """Read anew what this tenant's doors ask for from now on."""
        self._published[tenant] += 1

    async def token(self, tenant: Tenant, list_id: int, *, since: int | None) -> StatusToken:
        """Give a list, or its delta, as `Status.token` does; raises the same."""
        asked = (tenant, list_id, since)
        until_s, published, reading = self._kept.get(asked, (0.0, -1, None))
        now_s = self._monotonic_s()
        if reading is None or until_s <= now_s or published != self._published[tenant] or _failed(reading):
            reading = asyncio.create_task(self._status.token(tenant, list_id, since=since))
            self._kept[asked] = (now_s + KEEP_S, self._published[tenant], reading)
            self._kept.move_to_end(asked)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return await asyncio.shield(reading)


def _failed(reading: asyncio.Task[StatusToken]) -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
