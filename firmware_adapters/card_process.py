"""The daemon's end of a card reader's worker process: its cards, and APDUs to the one that is there.

Invariant: a worker that says nothing longer than a deadline is killed; an answer is never taken for that to another
command, nor a card for the one before.
"""

from collections import deque
from dataclasses import dataclass

from edge.ports import ReaderLost, Reason
from firmware_adapters.card_records import (
    RECORDS,
    Answer,
    Arrived,
    Departed,
    Gone,
    Idle,
    Ready,
    Record,
    Settings,
    Signal,
    Transmit,
)
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.worker_process import Worker, WorkerStuckError
from firmware_adapters.worker_process import start_worker as start_any

# The worker tells every second that it is alive; a card may extend its waiting time to 5 s (ISO/IEC 14443-4 §7.2).
QUIET_DEADLINE_S = 6.0

Happening = Ready | Idle | Arrived | Departed


class CardProcess:
    """A running worker."""

    def __init__(self, worker: Worker[Record]) -> None:
        """Take over a worker that has been started."""
        self._worker = worker
        self._later: deque[Happening] = deque()
        self._asked = 0

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._worker.pid

    async def next_happening(self) -> Happening:
        """Wait for what happens next at the reader.

        Raises:
            WorkerEndedError: the worker died.
            ReaderError: the reader failed or is stuck, or a library is missing.
        """
        if self._later:
            return self._later.popleft()
        while True:
            record = await self._next_record()
            if not isinstance(record, Answer | Gone):  # these belong to an attempt that was given up
                return record

    async def transmit(self, card: int, apdu: bytes) -> bytes:
        """Send a command APDU to a card and return its answer.

        Raises:
            CardError: REMOVED, the card is gone.
            WorkerEndedError, ReaderError: as `next_happening`.
        """
        self._asked += 1
        number = self._asked
        await self._worker.send(Transmit(number, card, apdu))
        while True:
            match await self._next_record():
                case Answer(to=to, apdu=answer) if to == number:
                    return answer
                case Gone(to=to) if to == number:
                    raise CardError(CardFault.REMOVED, "the card has left the reader")
                case Arrived() | Departed() as happening:
                    self._later.append(happening)
                case _:
                    pass

    async def signal(self, feedback: str) -> None:
        """Have the reader show a feedback, when it has something to show it with.

        Raises:
            WorkerEndedError: the worker died.
        """
        await self._worker.send(Signal(feedback))

    async def stop(self) -> None:
        """End the worker and wait for its end; a second call does nothing."""
        await self._worker.stop()

    async def _next_record(self) -> Record:
        try:
            return await self._worker.next_record()
        except WorkerStuckError as error:
            raise _stuck() from error


@dataclass(frozen=True, slots=True)
class PresentCard:
    """The `Transceiver` of one card of a worker."""

    process: CardProcess
    card: int

    async def transceive(self, command: bytes) -> bytes:
        """Send one command APDU and return the response APDU; see `Transceiver.transceive`."""
        return await self.process.transmit(self.card, command)


async def start_worker(settings: Settings) -> CardProcess:
    """Start a worker.

    Raises:
        ReaderError: the operating system does not start it.
    """
    worker = await start_any(
        "the card reader's worker",
        "firmware_adapters.card_worker",
        settings,
        records=RECORDS,
        quiet_s=QUIET_DEADLINE_S,
    )
    return CardProcess(worker)


def _stuck() -> ReaderLost:
    return ReaderLost(
        Reason.DEADLINE,
        what=f"the card reader's driver has not answered for {QUIET_DEADLINE_S:g} s",
        remedy="unplug the reader and plug it in again; it is opened again by itself",
    )
