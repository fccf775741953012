"""Synchronisation as a whole: events up and documents down, side by side.

Invariant: a fault of one direction never stops the other, and no fault of the cloud ends either.
Must not: hold more than one batch and one document in memory at a time.
"""

import asyncio
from dataclasses import dataclass

from sync.loop import LoopHealth, LoopStatus
from sync.ports import (
    Direction,
    Journal,
    JournalUnavailable,
    Marks,
    Materials,
    Notices,
    SignedTime,
    Surroundings,
    Uplink,
)
from sync.pull import PullLoop
from sync.push import PushLoop, PushParts
from sync.tasks import end
from wire.keys import Signer


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """How synchronisation stands, for people and for `doorward diag`.

    Attributes:
        as_of_monotonic_ms, as_of_wall_ms: when this was put together.
        connected: the cloud answered the latest exchange, whichever way.
        push, pull: each direction with its latest success, fault and next try.
        marks: how far the journal has come, None when the store does not answer now.
    """

    as_of_monotonic_ms: int
    as_of_wall_ms: int
    connected: bool
    push: LoopStatus
    pull: LoopStatus
    marks: Marks | None

    @property
    def pending(self) -> int | None:
        """Events that the cloud has not acknowledged as durable; None when the store does not answer now."""
        return None if self.marks is None else self.marks.last - self.marks.durable


class SyncEngine:
    """Keeps one door and the cloud in step.

    Args:
        journal: the door's events.
        materials: the documents it decides by.
        uplink: the way to the cloud; stays the caller's to close.
        signer: the device's key.
        signed_time: whoever wants to know the cloud's time.
        surroundings: clocks, waiting and chance.
        notices: the log.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        materials: Materials,
        uplink: Uplink,
        signer: Signer,
        signed_time: SignedTime,
        surroundings: Surroundings,
        notices: Notices,
    ) -> None:
        self._journal = journal
        self._surroundings = surroundings
        self._push_health = LoopHealth(Direction.PUSH, surroundings, notices)
        self._pull_health = LoopHealth(Direction.PULL, surroundings, notices)
        parts = PushParts(journal, materials, uplink, signer, signed_time, surroundings)
        self.push = PushLoop(parts, self._push_health)
        self.pull = PullLoop(materials, uplink, surroundings, self._pull_health, self.push.crowd)

    def wake(self) -> None:
        """Say that the journal has grown; returns at once, may be called any number of times."""
        self.push.wake()

    def refresh(self) -> None:
        """Have the cloud asked at once what is new; returns at once, may be called any number of times."""
        self.pull.refresh()

    async def run(self) -> None:
        """Synchronise until cancelled.

        Raises:
            ExceptionGroup: something failed that is no fault of synchronisation (a defect).
        """
        async with asyncio.TaskGroup() as loops:
            running = (
                loops.create_task(self.push.run(), name="sync-push"),
                loops.create_task(self.pull.run(), name="sync-pull"),
            )
            try:
                await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                await end(running)

    async def status(self) -> SyncStatus:
        """Tell how synchronisation stands now."""
        try:
            marks = await self._journal.marks()
        except JournalUnavailable:
            marks = None
        push, pull = self._push_health.status, self._pull_health.status
        return SyncStatus(
            as_of_monotonic_ms=self._surroundings.monotonic_ms(),
            as_of_wall_ms=self._surroundings.wall_ms(),
            connected=_latest(push, pull),
            push=push,
            pull=pull,
            marks=marks,
        )


def _latest(push: LoopStatus, pull: LoopStatus) -> bool:
    """Tell whether the cloud answered the younger of the two latest exchanges."""
    return max((status.as_of_monotonic_ms, status.connected) for status in (push, pull))[1]
