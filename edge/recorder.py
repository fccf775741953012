"""The recorder: notes every input of a running door on its way to the core, so that decisions can be run again.

Invariant: between two checkpoints no input is missing; where one cannot be kept, the recording is broken off, and
begins anew with a checkpoint at the next flush.
Must not: hold up or fail a tap. An input is written with the next event; only what waits for none costs a commit of
its own, seconds later.
"""

import asyncio
from typing import Final

import structlog

from edge.core.instant import Instant
from edge.core.tap import Input, State
from edge.database import Journaled
from edge.recording import Named, RecordingWriter, join_inputs
from edge.recording_forms import RecordingError
from edge.recording_tables import BOOT_SHIFT, Checkpoint, Run
from edge.store import Store, StoreError

FLUSHED_EVERY_S: Final = 5.0
"""How much a power cut may take of what caused no event."""
MOST_BYTES: Final = 64 * 1024
"""Recorded between two flushes: 25 codes a second, more than people show. A flood beyond it is not worth the disk."""
_NOTED_AT_MOST: Final = 64
"""Inputs that are held before they are written, so that a flood takes no memory."""
SEGMENT_INPUTS: Final = 1_000
"""After so many inputs a checkpoint is due, once they also take as much room as the last one did."""

_log: Final = structlog.get_logger()


class Recorder:
    """Records what one controller is fed; nothing before the first flush.

    Args:
        store: where recordings are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writer = RecordingWriter()
        self._number = store.boot << BOOT_SHIFT
        self.running = False
        """Whether inputs are taken; set here only."""
        self._told = False
        self._noted: list[tuple[Input, Instant]] = []
        self._pending: list[bytes] = []
        self._named: list[Named] = []
        self._left_bytes = MOST_BYTES
        self._segment_inputs = self._segment_bytes = self._checkpoint_bytes = 0

    def take(self, event: Input, now: Instant) -> None:
        """Note an input before it is handled; it is written later, when no door waits for it."""
        if self.running:
            self._noted.append((event, now))
            if len(self._noted) >= _NOTED_AT_MOST:
                self._write()

    def _write(self) -> None:
        try:
            for event, now in self._noted:
                written = self._writer.input(event, now)
                self._pending.append(written.data)
                self._named += written.named
                self._left_bytes -= len(written.data)
        except RecordingError as error:
            self.break_off(str(error))
            return
        self._noted.clear()
        if self._left_bytes < 0:
            self.break_off("more is read than is worth recording")

    def hand_over(self) -> Run | None:
        """Give what was noted since the last time, to be written with an event; None when there is nothing."""
        self._write()
        if not self._pending:
            return None
        data = join_inputs(self._pending)
        run = Run(number=self._number, count=len(self._pending), data=data, named=tuple(self._named))
        self._number += run.count
        self._segment_inputs += run.count
        self._segment_bytes += len(data)
        self._pending.clear()
        self._named.clear()
        return run

    def watch(self, appended: asyncio.Future[Journaled]) -> None:
        """Break the recording off when an event does not get into the journal."""
        if appended.done():
            self._check(appended)
        else:
            appended.add_done_callback(self._check)

    def _check(self, appended: asyncio.Future[Journaled]) -> None:
        if appended.cancelled() or appended.exception() is not None:
            self.break_off("an event could not be journaled")

    def break_off(self, why: str) -> None:
        """Record nothing more until the next flush; the number left out shows the gap."""
        if not self._told:
            self._told = True
            _log.warning("recording_broken_off", why=why)
        self.running = False
        self._number += len(self._noted) + len(self._pending) + 1
        self._noted.clear()
        self._pending.clear()
        self._named.clear()

    async def flush(self, state: State) -> None:
        """Write what no event has taken along, and a checkpoint when one is due.

        Args:
            state: as it is now; nothing may be fed between looking at it and this call.
        """
        run = self.hand_over()
        fresh = not self.running  # also when that broke off
        due = fresh or self._is_full()
        number = self._number
        self.running, self._left_bytes = True, MOST_BYTES
        if run is None and not due:
            return
        if due:
            self._segment_inputs = self._segment_bytes = 0
        try:
            # Queued before anything else can be fed: what comes later in the journal comes after this state.
            mark = await self._store.record(run, restart_at=number if fresh else None)
            if mark.expected != number:
                self.break_off("what was recorded before was lost")
            elif due:
                await self._add_checkpoint(state, number, mark.next_seq)
        except (StoreError, RecordingError) as error:
            self.break_off(str(error))

    def _is_full(self) -> bool:
        return self._segment_inputs >= SEGMENT_INPUTS and self._segment_bytes >= self._checkpoint_bytes

    async def _add_checkpoint(self, state: State, number: int, first_seq: int) -> None:
        # A state never changes, so that it can be written beside the loop while the door goes on.
        written = await asyncio.to_thread(RecordingWriter().state, state)
        self._checkpoint_bytes = len(written.data)
        await self._store.add_checkpoint(
            Checkpoint(number=number, first_seq=first_seq, data=written.data, named=written.named)
        )
        self._told = False
