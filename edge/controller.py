"""The controller: feeds the core and performs its effects. The only place where a decision meets the world.

Invariant: a grant's effects come after its commit; egress and fire never wait for one.
Must not: decide anything.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from edge.clock import Clock
from edge.core.effects import CommitGrant, Effect, Energise, EventDraft, Feedback, Record, ReplayMark, Secure, Show
from edge.core.tap import GrantDurable, GrantFailed, Input, Noted, State, Tap, TimeDue, handle, next_deadline_ms
from edge.database import Entry, Journaled
from edge.ports import Lock, PortError, Reader
from edge.recorder import Recorder
from edge.store import Store, StoreError
from wire.errors import WireError
from wire.names import EventKind

SLOW_COMMIT_S: Final = 0.25
"""After this a person is told to wait."""
LATE_COMMIT_S: Final = 2.0
"""After this a grant is refused: nobody stands at a door longer without trying again."""
DEVICE_DEADLINE_S: Final = 2.0
LOCK_ORDERS: Final = 64
FEEDBACKS: Final = 4
"""Feedback that waits for one reader; older feedback is of no use to anyone."""

_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Order:
    """What the lock is to do; `hold_ms` 0 secures the door."""

    hold_ms: int
    cause_seq: int


def recorded_form(event: Input) -> Input:
    """Give an input as it may be recorded: the same decision follows from it, and it tells no secret."""
    return event


class Controller:
    """Feeds inputs to `handle` and performs what comes out.

    Args:
        state: the first state.
        clock: where instants come from.
        store: where events are made durable.
        lock: the door's lock.
        readers: by id, for feedback.
        journaled: told of each committed event (sync, diagnostics).
    """

    def __init__(
        self,
        state: State,
        *,
        clock: Clock,
        store: Store,
        lock: Lock,
        readers: Mapping[str, Reader],
        journaled: Callable[[Journaled], None],
    ) -> None:
        self.state = state
        self._clock = clock
        self._store = store
        self._lock = lock
        self._readers = readers
        self._journaled = journaled
        self._loop = asyncio.get_running_loop()
        self._orders: asyncio.Queue[_Order] = asyncio.Queue(LOCK_ORDERS)
        self._feedback = {name: asyncio.Queue[Feedback](FEEDBACKS) for name in readers}
        self._timer: asyncio.TimerHandle | None = None
        self._storage_failed = False
        self._recorder = Recorder(store)
        self.fed = 0

    def feed(self, event: Input) -> None:
        """Take one input: decide, and start what is to be done. Returns at once."""
        self.fed += 1
        now = self._clock.now()
        self._recorder.take(recorded_form(event), now)
        self.state, effects = handle(self.state, event, now)
        read_at_ms = event.presentation.read_at_ms if isinstance(event, Tap) else None
        for effect in effects:
            self._perform(effect, read_at_ms)
        self._arm()

    def _perform(self, effect: Effect, read_at_ms: int | None) -> None:
        match effect:
            case Record(draft):
                self._append(self._timed(draft, read_at_ms)).add_done_callback(self._recorded)
            case CommitGrant():
                self._commit(effect, read_at_ms)
            case Energise(hold_ms, cause_seq):
                self._order(_Order(hold_ms, cause_seq))
            case Secure():
                self._order(_Order(0, 0))
            case Show(reader, feedback):
                self._show(reader, feedback)

    def _append(self, draft: EventDraft, mark: ReplayMark | None = None) -> asyncio.Future[Journaled]:
        future = self._store.append(Entry(draft=draft, mark=mark, run=self._recorder.hand_over()))
        self._recorder.watch(future)
        return future

    def _timed(self, draft: EventDraft, read_at_ms: int | None) -> EventDraft:
        if read_at_ms is None or draft.granted is None:
            return draft
        elapsed_us = int(self._loop.time() * 1_000_000) - read_at_ms * 1000
        return replace(draft, elapsed_us=max(0, elapsed_us))

    # --- grants --------------------------------------------------------------------------------------------

    def _commit(self, effect: CommitGrant, read_at_ms: int | None) -> None:
        future = self._append(self._timed(effect.draft, read_at_ms), effect.mark)
        slow = self._loop.call_later(SLOW_COMMIT_S, self._show, effect.grant.reader, Feedback.WAIT)
        late = self._loop.call_later(LATE_COMMIT_S, self._give_up, effect)
        future.add_done_callback(lambda done: self._committed(done, effect, slow, late))

    def _give_up(self, effect: CommitGrant) -> None:
        self.feed(GrantFailed(effect.grant))
        self._storage_fault("a commit took longer than 2 s")

    def _committed(
        self,
        done: asyncio.Future[Journaled],
        effect: CommitGrant,
        slow: asyncio.TimerHandle,
        late: asyncio.TimerHandle,
    ) -> None:
        slow.cancel()
        late.cancel()
        journaled = self._result(done)
        if journaled is None:
            self.feed(GrantFailed(effect.grant))
        else:  # the core refuses what comes too late
            self.feed(GrantDurable(effect.grant, journaled.seq))
            self._tell(journaled)

    # --- records -------------------------------------------------------------------------------------------

    def _recorded(self, done: asyncio.Future[Journaled]) -> None:
        journaled = self._result(done)
        if journaled is not None:
            self._tell(journaled)

    def _result(self, done: asyncio.Future[Journaled]) -> Journaled | None:
        if done.cancelled():
            return None
        error = done.exception()
        if error is None:
            return done.result()
        if not isinstance(error, StoreError | WireError):
            raise error
        self._storage_fault(str(error))
        return None

    def _tell(self, journaled: Journaled) -> None:
        event = journaled.event
        if event.granted is not None:
            _log.info(
                "decision",
                seq=journaled.seq,
                granted=event.granted,
                step=None if event.step is None else event.step.name,
                reason=None if event.reason is None else event.reason.name,
                credential=None if event.credential is None else event.credential.hex(),
                elapsed_ms=None if event.elapsed_us is None else event.elapsed_us / 1000,
            )
        else:
            _log.info("event", seq=journaled.seq, kind=event.kind.name, reader=event.reader)
        self._journaled(journaled)
        if self._storage_failed and event.kind is not EventKind.STORAGE_FAULT:
            self._storage_failed = False
            self.feed(Noted(EventKind.STORAGE_RESTORED))

    def _storage_fault(self, sentence: str) -> None:
        _log.error("storage_fault", sentence=sentence)
        if not self._storage_failed:
            self._storage_failed = True
            self.feed(Noted(EventKind.STORAGE_FAULT))

    # --- time, lock, feedback ------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = next_deadline_ms(self.state)
        self._timer = None if due is None else self._loop.call_at(due / 1000, self.feed, TimeDue())

    def _order(self, order: _Order) -> None:
        if self._orders.full():  # a lock that hangs: the newest order is the one that counts
            self._orders.get_nowait()
        self._orders.put_nowait(order)

    def _show(self, reader: str, feedback: Feedback) -> None:
        waiting = self._feedback.get(reader)
        if waiting is None:
            return
        if waiting.full():
            waiting.get_nowait()
        waiting.put_nowait(feedback)

    async def drive_lock(self) -> None:
        """Carry out the orders to the lock, one after another; runs until cancelled."""
        while True:
            order = await self._orders.get()
            try:
                async with asyncio.timeout(DEVICE_DEADLINE_S):
                    if order.hold_ms:
                        await self._lock.energise(hold_ms=order.hold_ms, cause_seq=order.cause_seq)
                    else:
                        await self._lock.release()
            except (PortError, TimeoutError) as error:
                _log.error("lock_failed", sentence=str(error) or "the lock did not answer within 2 s")
                self.feed(Noted(EventKind.LOCK_FAILED))

    async def drive_feedback(self, name: str) -> None:
        """Show feedback at one reader as it comes; runs until cancelled."""
        reader, waiting = self._readers[name], self._feedback[name]
        while True:
            feedback = await waiting.get()
            with contextlib.suppress(PortError, TimeoutError):  # a reader that is gone is reported by its iteration
                async with asyncio.timeout(DEVICE_DEADLINE_S):
                    await reader.show(feedback)

    @property
    def recording(self) -> bool:
        """Tell whether inputs are recorded; not after one that could not be, until the next flush."""
        return self._recorder.running

    async def keep_recording(self) -> None:
        """Record what has caused no event; called before the first input, and every few seconds (edge/recorder.py)."""
        await self._recorder.flush(self.state)

    def stop(self) -> None:
        """Stop the timer; nothing is fed by time any more."""
        if self._timer is not None:
            self._timer.cancel()
