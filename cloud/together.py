"""Questions that come while one is under way, asked together.

A thousand doors that come at once cost the database some dozens of questions instead of a thousand.

Invariant: each caller gets the answer to a question that was put after it asked.
Must not: keep an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, TypeVar

MAX_AT_ONCE: Final = 500
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Together(Generic[_Key, _Value]):
    """Asks for many at once; without anybody else a question goes out at once.

    Args:
        ask: gives what is known of up to `MAX_AT_ONCE` keys; its errors reach all who asked. It has a deadline of its
            own, a short one: whoever comes meanwhile waits for it.
    """

    def __init__(self, ask: Callable[[Sequence[_Key]], Awaitable[Mapping[_Key, _Value]]]) -> None:
        self._ask = ask
        self._waiting: dict[_Key, asyncio.Future[_Value | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: _Key) -> _Value | None:
        """Give what is known of a key, None for nothing; raises what asking raises."""
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._serve())
        return await asyncio.shield(answer)

    async def _serve(self) -> None:
        try:
            while self._waiting:
                asked = {key: self._waiting.pop(key) for key in [*self._waiting][:MAX_AT_ONCE]}
                try:
                    found = await self._ask([*asked])
                except Exception as error:  # noqa: BLE001 - whoever asked raises it
                    for answer in asked.values():
                        answer.set_exception(error)
                        answer.exception()  # whoever asked may have left
                else:
                    for key, answer in asked.items():
                        answer.set_result(found.get(key))
        finally:
            self._asking = None
