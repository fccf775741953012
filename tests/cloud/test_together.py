"""Questions asked together: who waits for which, and what happens when one fails."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cloud.together import MAX_AT_ONCE, Together

if TYPE_CHECKING:
    from collections.abc import Sequence


class Source:
    """Answers when it is let, with how often it was asked before; knows nothing of what is below zero."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()
        self.fault: Exception | None = None

    async def __call__(self, keys: Sequence[int]) -> dict[int, int]:
        turn = len(self.asked)
        self.asked.append([*keys])
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return {key: turn for key in keys if key >= 0}


async def _started() -> None:
    """Let what was begun come to where it waits."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_those_who_come_while_a_question_is_under_way_share_the_next():
    source = Source()
    together = Together(source)
    first = asyncio.create_task(together.get(1))
    await _started()
    others = [asyncio.create_task(together.get(key)) for key in (1, 2, 3, 2, -1)]
    await _started()
    source.open.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [1, 1, 1, 1, None]
    assert source.asked == [[1], [1, 2, 3, -1]]
    assert await together.get(4) == 2


async def test_a_fault_reaches_all_who_asked_and_nobody_after():
    source = Source()
    source.fault = ConnectionError("away")
    together = Together(source)
    asking = [asyncio.create_task(together.get(key)) for key in (1, 2)]
    await _started()
    source.open.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) for each in found] == ["away", "away"]
    source.fault = None
    assert await together.get(1) == len(source.asked) - 1


async def test_one_who_leaves_takes_no_answer_from_another():
    source = Source()
    together = Together(source)
    one, two = (asyncio.create_task(together.get(1)) for _ in range(2))
    await _started()
    one.cancel()
    with suppress(asyncio.CancelledError):
        await one
    source.open.set()
    assert await two == 0


@pytest.mark.parametrize("count", [MAX_AT_ONCE, MAX_AT_ONCE + 1])
async def test_a_question_is_bounded(count: int):
    source = Source()
    source.open.set()
    together = Together(source)
    assert None not in await asyncio.gather(*(together.get(key) for key in range(count)))
    assert max(map(len, source.asked)) <= MAX_AT_ONCE
    assert sum(map(len, source.asked)) == count
