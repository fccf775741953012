"""What a card reader's worker does: watches for cards, and passes APDUs to the one that is there.

Invariant: every `Transmit` has one answer, and none reaches a card it was not meant for.
Must not: know what an APDU says.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from firmware_adapters.card_records import (
    Answer,
    Arrived,
    Departed,
    Gone,
    Idle,
    Order,
    Ready,
    Record,
    Signal,
    Transmit,
)

# Between two looks at the orders while no card is there: none of them is urgent then.
WAIT_MS = 100
# Between two looks at whether the card is still there, while nobody wants anything of it.
PRESENCE_S = 0.05
# So that the daemon can tell a quiet reader from a stuck one.
IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """A card that has come: its UID, and whether it takes APDUs."""

    number: bytes = field(repr=False)
    speaks: bool


class Terminal(Protocol):
    """A reader, through its own driver; it blocks.

    Every method raises SourceError when the reader cannot go on.
    """

    def wait(self, *, most_ms: int) -> Found | None:
        """Wait for a card to come; None when none did."""
        ...

    def still_there(self) -> bool:
        """Tell whether the card that came is there."""
        ...

    def transmit(self, apdu: bytes) -> bytes | None:
        """Send a command APDU to the card and return its answer; None when it is gone."""
        ...

    def signal(self, feedback: str) -> None:
        """Show a feedback with what the reader has, while a card is there."""
        ...

    def close(self) -> None:
        """Free the reader."""
        ...


class Loop:
    """Serves one terminal until the daemon is gone or the reader fails."""

    def __init__(
        self, terminal: Terminal, orders: Callable[[float], list[Order]], tell: Callable[[Record], None]
    ) -> None:
        """Prepare to serve.

        Args:
            terminal: the reader.
            orders: waits at most so many seconds for orders; raises when there can be none any more.
            tell: takes each record.
        """
        self._terminal = terminal
        self._orders = orders
        self._tell_record = tell
        self._told_s = 0.0
        self._card = 0
        self._present = False

    def run(self) -> None:
        """Serve.

        Raises:
            SourceError: the reader failed.
            Exception: what `orders` raises.
        """
        self._tell(Ready())
        while True:
            found = self._terminal.wait(most_ms=WAIT_MS)
            for order in self._orders(0.0):
                self._obey(order)
            if found is not None:
                self._attend(found)
            self._tell_idle()

    def _attend(self, found: Found) -> None:
        """Obey orders as long as the card is there."""
        self._card += 1
        self._present = True
        self._tell(Arrived(self._card, found.number, found.speaks))
        while self._present:
            orders = self._orders(PRESENCE_S)
            for order in orders:
                self._obey(order)
            if not orders and not self._terminal.still_there():
                self._present = False
            self._tell_idle()
        self._tell(Departed(self._card))

    def _obey(self, order: Order) -> None:
        match order:
            case Transmit(number=number, card=card, apdu=apdu):
                answer = self._terminal.transmit(apdu) if self._present and card == self._card else None
                if answer is None and card == self._card:
                    self._present = False
                self._tell(Gone(number) if answer is None else Answer(number, answer))
            case Signal(feedback=feedback) if self._present:
                self._terminal.signal(feedback)
            case Signal():
                pass

    def _tell(self, record: Record) -> None:
        self._told_s = time.monotonic()
        self._tell_record(record)

    def _tell_idle(self) -> None:
        if time.monotonic() - self._told_s >= IDLE_S:
            self._tell(Idle())
