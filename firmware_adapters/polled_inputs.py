"""Inputs that have to be looked at again and again: files, converters, boards on a bus.

Invariant: a look has a deadline; one that fails ends the iteration with an error, never with an old state.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from edge.ports import InputChange, InputLine, InputsError, LineState, Reason
from firmware_adapters.debounce import Debounce

# A board on a bus is asked twice, 0.3 s each, and may have to wait for its turn before.
LOOK_DEADLINE_S = 3.0
# What may wait for the daemon; then it is looked at less often, and the newest state counts.
MOST_CHANGES = 64


class PolledInputs:
    """The inputs of one door, looked at every `every_ms`."""

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[Mapping[InputLine, LineState]]],
        close: Callable[[], Awaitable[None]],
        *,
        every_ms: int,
        lasting_ms: int,
    ) -> None:
        """Prepare; nothing is looked at before `changes` is iterated.

        Args:
            name: for messages.
            look: returns the state of every line; raises InputsError when it cannot.
            close: frees what `look` uses.
            every_ms: from one look to the next.
            lasting_ms: how long a change has to last.
        """
        self._name = name
        self._look = look
        self._close = close
        self._every_s = every_ms / 1000
        self._lasting_ms = lasting_ms
        self._iterating = False
        self._closing = asyncio.Event()

    async def changes(self) -> AsyncIterator[InputChange]:
        """Yield each line's state, then its changes; see `Inputs.changes`."""
        if self._iterating or self._closing.is_set():
            raise InputsError(
                Reason.CLOSED if self._closing.is_set() else Reason.BUSY,
                what=f"the inputs of {self._name} are {'closed' if self._closing.is_set() else 'watched already'}",
                remedy="watch them once, and open them again after closing",
            )
        self._iterating = True
        seen: asyncio.Queue[InputChange | InputsError | None] = asyncio.Queue(MOST_CHANGES)
        watching = asyncio.create_task(self._watch(seen))
        try:
            while (change := await seen.get()) is not None:
                if isinstance(change, InputsError):
                    raise change
                yield change
        finally:
            self._iterating = False
            watching.cancel()
            await asyncio.wait({watching})

    async def aclose(self) -> None:
        """Free the lines and end the iteration."""
        if not self._closing.is_set():
            self._closing.set()
            await self._close()

    async def _watch(self, seen: asyncio.Queue[InputChange | InputsError | None]) -> None:
        """Look again and again, also while nobody takes what is seen: a button is pressed for a moment only."""
        try:
            debounce = Debounce(await self._looked(), lasting_ms=self._lasting_ms)
            for line, state in debounce.states.items():
                await seen.put(InputChange(line, state, _now_ms()))
            while not await self._pause():
                states = await self._looked()
                for change in debounce.look(states, at_ms=_now_ms()):
                    await seen.put(change)
            await seen.put(None)
        except InputsError as error:
            await seen.put(None if self._closing.is_set() else error)

    async def _pause(self) -> bool:
        """Wait until the next look is due, and tell whether the end came instead."""
        try:
            async with asyncio.timeout(self._every_s):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _looked(self) -> Mapping[InputLine, LineState]:
        try:
            async with asyncio.timeout(LOOK_DEADLINE_S):
                return await self._look()
        except TimeoutError as error:
            raise InputsError(
                Reason.DEADLINE,
                what=f"the inputs of {self._name} do not answer within {LOOK_DEADLINE_S:g} s",
                remedy="check its wires and supply; they are looked at again by themselves",
            ) from error


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
