"""The controller: feeds the core and performs its effects. The only place where a decision meets the world.

Invariant: what a grant or a command moves, moves after its commit; egress and fire never wait for one.
Must not: decide anything.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from edge.clock import Clock
from edge.core.admission import takes_barcodes
from edge.core.companions import MAX_WAITING, find_check
from edge.core.credential import hide_identifier
from edge.core.effects import (
    AskCloud,
    CheckPin,
    CommitCommand,
    CommitGrant,
    Effect,
    Energise,
    EventDraft,
    Feedback,
    Record,
    ReplayMark,
    Restart,
    Secure,
    Show,
    TakePictures,
)
from edge.core.memory import Memo
from edge.core.tap import (
    CommandDurable,
    CommandReceived,
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    LockAnswered,
    Noted,
    PinChecked,
    PinEntered,
    State,
    Tap,
    TimeDue,
    handle,
    next_deadline_ms,
)
from edge.database import Entry, Journaled
from edge.errands import Errands
from edge.pins import PinError, check_pin_in_time
from edge.ports import InputLine, LineState, Lock, PortError, Reader
from edge.recorder import Recorder
from edge.screens import Screen
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


@dataclass(frozen=True, slots=True)
class LineSaid:
    """What a wire says, and since when: Unix milliseconds."""

    state: LineState
    since_ms: int


def recorded_form(event: Input, state: State) -> Input:
    """Give an input as it may be recorded: the same decision follows from it, and it tells no secret.

    An identifier is kept as the roster's key of it, a PIN not at all: what it was found to be is an input of its own.
    """
    match event:
        case Tap(presentation):
            hidden = hide_identifier(presentation, state.roster, takes_barcodes=takes_barcodes(state))
            return event if hidden is presentation else Tap(hidden)
        case PinEntered(entry):
            return PinEntered(replace(entry, digits=b""))
        case _:
            return event


class Controller:
    """Feeds inputs to `handle` and performs what comes out.

    Args:
        state: the first state.
        clock: where instants come from.
        store: where events are made durable.
        lock: the door's lock.
        readers: by id, for feedback.
        screens: what stands on the displays, for the same.
        errands: what the daemon does for commands.
        journaled: told of each committed event (sync, diagnostics).

    Attributes:
        lines: what each wire that was ever heard of said last.
        fed: how many inputs were taken.
        storage_failed: the journal took no event, and none since.
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
        screens: Sequence[Screen] = (),
        errands: Errands | None = None,
    ) -> None:
        self.state = state
        self._clock = clock
        self._store = store
        self._lock = lock
        self._readers = readers
        self._screens = screens
        self._journaled = journaled
        self._errands = errands or Errands()
        self._loop = asyncio.get_running_loop()
        self._orders: asyncio.Queue[_Order] = asyncio.Queue(LOCK_ORDERS)
        self._pins: asyncio.Queue[CheckPin] = asyncio.Queue(MAX_WAITING)
        self._feedback = {name: asyncio.Queue[Feedback](FEEDBACKS) for name in readers}
        self._timer: asyncio.TimerHandle | None = None
        self.storage_failed = False
        self._recorder = Recorder(store)
        self.lines: dict[InputLine, LineSaid] = {}
        self.fed = 0

    def feed(self, event: Input) -> None:
        """Take one input: decide, and start what is to be done. Returns at once."""
        self._take(event, [])

    async def deliver(self, command: bytes) -> list[Journaled]:
        """Take a signed command and give what the journal says of it; nothing if it was one of a flood.

        Raises:
            StoreError: the journal could not be written; the command was not carried out.
        """
        written: list[asyncio.Future[Journaled]] = []
        self._take(CommandReceived(command), written)
        return [await each for each in written]  # grows meanwhile: what a command causes follows its commit

    def _take(self, event: Input, written: list[asyncio.Future[Journaled]]) -> None:
        self.fed += 1
        now = self._clock.now()
        self._recorder.take(recorded_form(event, self.state), now)
        if isinstance(event, LineChanged):
            self.lines[event.line] = LineSaid(event.state, now.wall_ms)
        self.state, effects = handle(self.state, event, now)
        read_at_ms = event.presentation.read_at_ms if isinstance(event, Tap) else None
        for effect in effects:
            self._perform(effect, read_at_ms, written)
        self._arm()

    def _perform(self, effect: Effect, read_at_ms: int | None, written: list[asyncio.Future[Journaled]]) -> None:
        match effect:
            case Record(draft, memos):
                future = self._append(self._timed(draft, read_at_ms), memos)
                written.append(future)
                future.add_done_callback(self._recorded)
            case CommitGrant():
                self._commit(effect, read_at_ms)
            case CommitCommand():
                self._commit_command(effect, written)
            case CheckPin():
                self._check(effect)
            case Energise(hold_ms, cause_seq):
                self._order(_Order(hold_ms, cause_seq))
            case Secure():
                self._order(_Order(0, 0))
            case Show(reader, feedback):
                self._show(reader, feedback)
            case Restart() | AskCloud() | TakePictures():
                self._errands.run(effect)

    def _append(
        self, draft: EventDraft, memos: tuple[Memo, ...], mark: ReplayMark | None = None
    ) -> asyncio.Future[Journaled]:
        future = self._store.append(Entry(draft=draft, mark=mark, memos=memos, run=self._recorder.hand_over()))
        self._recorder.watch(future)
        return future

    def _timed(self, draft: EventDraft, read_at_ms: int | None) -> EventDraft:
        if read_at_ms is None or draft.granted is None:
            return draft
        elapsed_us = int(self._loop.time() * 1_000_000) - read_at_ms * 1000
        return replace(draft, elapsed_us=max(0, elapsed_us))

    # --- grants --------------------------------------------------------------------------------------------

    def _commit(self, effect: CommitGrant, read_at_ms: int | None) -> None:
        future = self._append(self._timed(effect.draft, read_at_ms), effect.memos, effect.mark)
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
            self._tell_soon(journaled)

    # --- commands and PINs ---------------------------------------------------------------------------------

    def _commit_command(self, effect: CommitCommand, written: list[asyncio.Future[Journaled]]) -> None:
        future = self._append(effect.draft, effect.memos)
        written.append(future)
        future.add_done_callback(lambda done: self._carry_out(done, effect, written))

    def _carry_out(
        self, done: asyncio.Future[Journaled], effect: CommitCommand, written: list[asyncio.Future[Journaled]]
    ) -> None:
        journaled = self._result(done)
        if journaled is not None:
            self._take(CommandDurable(effect.command, journaled.seq), written)
            self._tell_soon(journaled)

    def _check(self, question: CheckPin) -> None:
        if self._pins.full():
            self._leave_unchecked(self._pins.get_nowait(), "more PINs were keyed in than people wait")
        self._pins.put_nowait(question)

    async def drive_pins(self) -> None:
        """Check PINs as they are keyed in, one after another; runs until cancelled.

        A check that fails answers nothing: no wrong PIN is counted. The person is told to try again, and refused as
        everybody who gives no PIN when the time to wait is over.
        """
        while True:
            question = await self._pins.get()
            try:
                outcome = await check_pin_in_time(question.verifiers, question.digits)
            except PinError as error:
                self._leave_unchecked(question, str(error))
            else:
                self.feed(PinChecked(question.check_id, outcome))

    def _leave_unchecked(self, question: CheckPin, sentence: str) -> None:
        _log.error("pin_not_checked", sentence=sentence)
        each = find_check(self.state.companions, question.check_id)
        if each is not None:
            self._show(each.candidate.reader, Feedback.TRY_AGAIN)

    # --- records -------------------------------------------------------------------------------------------

    def _recorded(self, done: asyncio.Future[Journaled]) -> None:
        journaled = self._result(done)
        if journaled is not None:
            self._tell_soon(journaled)

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

    def _tell_soon(self, journaled: Journaled) -> None:
        # The lock first: nobody at the door waits for a log line. All alike: those of one commit are told in order.
        self._loop.call_soon(self._tell, journaled)

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
        if self.storage_failed and event.kind is not EventKind.STORAGE_FAULT:
            self.storage_failed = False
            self.feed(Noted(EventKind.STORAGE_RESTORED))

    def _storage_fault(self, sentence: str) -> None:
        _log.error("storage_fault", sentence=sentence)
        if not self.storage_failed:
            self.storage_failed = True
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
        for screen in self._screens:
            screen.tell(reader, feedback)
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
                self._lock_answered(carried_out=False)
            else:
                self._lock_answered(carried_out=True)

    def _lock_answered(self, *, carried_out: bool) -> None:
        """Tell the core when the lock begins to fail and when it works again, not each time."""
        if carried_out is not self.state.door.lock_answers:
            self.feed(LockAnswered(carried_out))

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
