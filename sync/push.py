"""Events up: read a run from the journal, sign it, send it, believe only a verified acknowledgement.

Invariant: nothing but `Journal.acknowledge` with a verified acknowledgement changes what the journal keeps.
Must not: delete, reorder or skip an event; stop for any fault of the cloud.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from sync.acknowledgement import verify_acknowledgement
from sync.loop import LoopHealth
from sync.outbox import Outbox, Run
from sync.ports import (
    Journal,
    Marks,
    Materials,
    Reason,
    SignedTime,
    Surroundings,
    SyncError,
    Uplink,
    UplinkError,
)
from wire.batch import Acknowledgement, seal_batch
from wire.errors import WireError
from wire.keys import Signer

PROBE_S: Final = 900.0
"""How long a door goes without hearing the cloud itself: 1,000 doors then cost about one small request a second."""
UNHEARD_S: Final = 60.0
"""After which it is tried again to hear the cloud itself, should it not be reached."""
CROWD_FIRST_S: Final = 1.0
CROWD_LAST_S: Final = 3.0
"""When many doors have something new at the same moment, the cloud answers their fetches first, their events then."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What to wait for before the next step: so many seconds, or less when woken (if `wakeable`)."""

    seconds: float
    wakeable: bool


_AT_ONCE: Final = Pause(0.0, wakeable=False)
_QUIET: Final = Pause(PROBE_S, wakeable=True)


@dataclass(frozen=True, slots=True)
class PushParts:
    """What the loop works with."""

    journal: Journal
    materials: Materials
    uplink: Uplink
    signer: Signer
    signed_time: SignedTime
    surroundings: Surroundings


class PushLoop:
    """Sends what the cloud lacks.

    Args:
        parts: journal, uplink and the rest.
        health: keeps the loop's status.
    """

    def __init__(self, parts: PushParts, health: LoopHealth) -> None:
        self._parts = parts
        self._health = health
        self._outbox = Outbox()
        self._woken = asyncio.Event()
        self._probe_due = False
        self._unheard_ms = 0  # when the cloud itself is to be heard again; a broker could repeat an old answer
        self._crowd_until_ms = 0

    def wake(self) -> None:
        """Say that the journal has grown; returns at once, may be called any number of times."""
        self._woken.set()

    def probe(self) -> None:
        """Ask the cloud at the next step how far it has come, even when there is nothing new to send."""
        self._probe_due = True

    def crowd(self) -> None:
        """Learn that all doors of the institution may be about to fetch and tell the same; hold back for a moment."""
        around = self._parts.surroundings
        wait_s = CROWD_FIRST_S + (CROWD_LAST_S - CROWD_FIRST_S) * around.fraction()
        self._crowd_until_ms = around.monotonic_ms() + round(wait_s * 1000)

    async def run(self) -> None:
        """Send for ever; ends by cancellation, or with a fault that is not one of synchronisation."""
        while True:
            pause = await self.step()
            if not pause.wakeable:
                await self._parts.surroundings.sleep(pause.seconds)
            elif not await self._parts.surroundings.wait_for(self._woken, pause.seconds):
                self.probe()
            elif (left_ms := self._crowd_until_ms - self._parts.surroundings.monotonic_ms()) > 0:
                await self._parts.surroundings.sleep(left_ms / 1000)

    async def step(self) -> Pause:
        """Do one exchange if there is something to send, and give what to wait for then."""
        self._woken.clear()
        try:
            self._hear_the_cloud_itself()
            marks = await self._parts.journal.marks()
            run = self._outbox.next_run(marks, bearable=self._parts.uplink.bearable_events) or self._take_probe(marks)
            events = [] if run is None else await self._parts.journal.events_after(run.after, run.limit)
            if run is None or (run.probe and not events):
                return _QUIET
            _check_gapless(run, events)
            await self._exchange(events, marks)
        except SyncError as error:
            self._note_failure(error)
            return Pause(self._health.failed(error), wakeable=False)
        self._health.succeeded()
        return _AT_ONCE

    def _hear_the_cloud_itself(self) -> None:
        """Go past whoever could answer for the cloud, from time to time: its time and its state are learned so."""
        now_ms = self._parts.surroundings.monotonic_ms()
        if self._probe_due or now_ms >= self._unheard_ms:
            self._parts.uplink.doubt()
            self._unheard_ms = now_ms + round(UNHEARD_S * 1000)

    def _take_probe(self, marks: Marks) -> Run | None:
        due, self._probe_due = self._probe_due, False
        return self._outbox.probe(marks) if due else None

    def _note_failure(self, error: SyncError) -> None:
        if not self._parts.uplink.direct:
            self._parts.uplink.doubt()
        self._outbox = self._outbox.failed()
        if isinstance(error, UplinkError) and error.durable is not None:
            self._outbox = self._outbox.rewound(error.durable)
        elif error.reason is Reason.JOURNAL_GAP:
            self._outbox = self._outbox.unwound()

    async def _exchange(self, events: list[tuple[int, bytes]], marks: Marks) -> None:
        first, last = events[0][0], events[-1][0]
        started_ms = self._parts.surroundings.monotonic_ms()
        answer = await self._parts.uplink.send_batch(self._seal(events))
        round_trip_ms = self._parts.surroundings.monotonic_ms() - started_ms
        found = self._verify(answer, last=max(marks.last, last))
        await self._parts.journal.acknowledge(found)
        self._outbox = self._outbox.acknowledged()
        if self._parts.uplink.direct:
            self._unheard_ms = started_ms + round(PROBE_S * 1000)
        if self._parts.uplink.direct and found.durable >= first:
            # An acknowledgement that does not reach its batch may be an old one, and its time with it.
            self._parts.signed_time.signed_time(issued_at_ms=found.issued_at_ms, uncertainty_ms=round_trip_ms)
        if found.durable < last and found.durable <= marks.durable:
            raise SyncError(
                Reason.NO_PROGRESS,
                what=f"the cloud was sent the events up to {last} and says that it has those up to {found.durable}",
                remedy="they are sent again from there; if it persists, ask the cloud's operator",
            )

    def _verify(self, answer: bytes, *, last: int) -> Acknowledgement:
        trust, journal = self._parts.materials.trust(), self._parts.journal
        return verify_acknowledgement(answer, trust=trust, device=journal.device, epoch=journal.epoch, last=last)

    def _seal(self, events: list[tuple[int, bytes]]) -> bytes:
        journal = self._parts.journal
        try:
            return seal_batch(
                device=journal.device,
                epoch=journal.epoch,
                first=events[0][0],
                events=[data for _, data in events],
                signer=self._parts.signer,
            )
        except WireError as error:
            raise SyncError(
                Reason.JOURNAL_DAMAGED,
                what=f"the events from number {events[0][0]} on are no events ({error})",
                remedy="replace the memory card and enrol the door again; export the journal first",
            ) from error


def _check_gapless(run: Run, events: list[tuple[int, bytes]]) -> None:
    """Refuse to send a run that does not start right after `run.after` or has holes."""
    expected = range(run.after + 1, run.after + 1 + len(events))
    if (
        events
        and len(events) <= run.limit
        and all(seq == want for (seq, _), want in zip(events, expected, strict=True))
    ):
        return
    first = f"{events[0][0]} is the first that this door still has" if events else "this door has none of them"
    raise SyncError(
        Reason.JOURNAL_GAP,
        what=f"the cloud asks for the events from number {run.after + 1} on, but {first}",
        remedy="ask the cloud's operator to restore its newest backup: those events were confirmed as backed up",
    )
