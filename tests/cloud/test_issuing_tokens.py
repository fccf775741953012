"""One reading for all doors that ask at the same time, and never one from before a publication."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from cloud.errors import CloudError, Reason
from cloud.issuing.status import Status, StatusToken
from cloud.issuing.tokens import KEEP_S, MAX_KEPT, Tokens
from tests.support.cloud_parts import Clock
from wire.names import Tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

NORTH, SOUTH = Tenant("north"), Tenant("south")


@dataclass
class Slow:
    """Gives the sequence that there is when it is asked, a moment later; counts how often."""

    sequence: int = 1
    asked: list[tuple[str, int, int | None]] = field(default_factory=list)
    fault: CloudError | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def token(self, tenant: Tenant, list_id: int, *, since: int | None = None) -> StatusToken:
        """Stand in for `Status.token`."""
        found = StatusToken(self.sequence, b"", "")
        self.asked.append((tenant, list_id, since))
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return found


def tokens(slow: Slow, clock: Clock) -> Tokens:
    return Tokens(cast("Status", slow), monotonic_s=clock.monotonic_s)


async def sequences(asked: Sequence[asyncio.Task[StatusToken]]) -> list[int]:
    return [token.sequence for token in await asyncio.gather(*asked)]


async def ask(
    kept: Tokens, *, tenant: Tenant = NORTH, since: int | None = 1, times: int = 1
) -> list[asyncio.Task[StatusToken]]:
    found = [asyncio.create_task(kept.token(tenant, 0, since=since)) for _ in range(times)]
    for _ in range(2):  # they ask, and what they have caused begins
        await asyncio.sleep(0)
    return found


async def test_all_who_ask_at_the_same_time_share_one_reading():
    slow, clock = Slow(), Clock()
    kept = tokens(slow, clock)
    asked = await ask(kept, times=100)
    slow.go.set()
    assert await sequences(asked) == [1] * 100
    assert await sequences(await ask(kept)) == [1]
    assert slow.asked == [(NORTH, 0, 1)]


async def test_what_is_asked_after_a_publication_was_read_after_it():
    slow, clock = Slow(), Clock()
    kept = tokens(slow, clock)
    before = await ask(kept)
    slow.sequence = 2
    kept.forget(NORTH)
    after = await ask(kept, times=2)
    slow.go.set()
    assert (await sequences(before), await sequences(after)) == ([1], [2, 2])
    assert len(slow.asked) == 2


async def test_other_questions_and_other_tenants_are_other_readings():
    slow, clock = Slow(), Clock()
    slow.go.set()
    kept = tokens(slow, clock)
    for tenant, since in ((NORTH, 1), (NORTH, 2), (NORTH, None), (SOUTH, 1)):
        await sequences(await ask(kept, tenant=tenant, since=since))
    kept.forget(SOUTH)
    await sequences(await ask(kept))
    assert len(slow.asked) == 4


async def test_nothing_is_kept_for_longer_than_a_moment():
    slow, clock = Slow(), Clock()
    slow.go.set()
    kept = tokens(slow, clock)
    await sequences(await ask(kept))
    clock.monotonic += KEEP_S
    await sequences(await ask(kept))
    assert len(slow.asked) == 2


async def test_a_fault_is_not_kept():
    slow, clock = Slow(fault=CloudError(Reason.KEY_UNUSABLE, "Away.")), Clock()
    slow.go.set()
    kept = tokens(slow, clock)
    with pytest.raises(CloudError):
        await sequences(await ask(kept))
    slow.fault = None
    assert await sequences(await ask(kept)) == [1]


async def test_one_who_leaves_takes_the_reading_from_nobody():
    slow, clock = Slow(), Clock()
    kept = tokens(slow, clock)
    leaving, staying = await ask(kept, times=2)
    leaving.cancel()
    await asyncio.sleep(0)
    slow.go.set()
    assert await sequences([staying]) == [1]


async def test_what_is_kept_is_bounded():
    slow, clock = Slow(), Clock()
    slow.go.set()
    kept = tokens(slow, clock)
    for since in range(MAX_KEPT + 1):
        await sequences(await ask(kept, since=since))
    await sequences(await ask(kept, since=0))
    assert len(slow.asked) == MAX_KEPT + 2
