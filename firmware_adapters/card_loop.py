"""What a card reader's worker does: watches for cards, and passes APDUs to the one that is there.

Invariant: every `Transmit` has one answer, and none reaches a card it was not meant for.
Must not: know what an APDU says.
"""

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from firmware_adapters.card_records import (
    MOST_LINE_BYTES,
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
    decode_line,
)

# Between two looks at the orders while no card is there: none of them is urgent then.
WAIT_MS = 100
# Between two looks at whether the card is still there, while nobody wants anything of it.
PRESENCE_S = 0.05
# So that the daemon can tell a quiet reader from a stuck one.
IDLE_S = 1.0
_READ_BYTES = 65_536


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


class OrdersEndedError(Exception):
    """Nobody gives orders any more: the daemon is gone."""


class Orders:
    """The daemon's orders, from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Read from `descriptor`, which blocks."""
        self._descriptor = descriptor
        self._lines = bytearray()

    def next(self, *, wait_s: float) -> Order | None:
        """Return the next order; None when none comes within `wait_s`.

        Raises:
            OrdersEndedError: the other end is closed, or does not send orders.
        """
        until_s = time.monotonic() + wait_s
        while b"\n" not in self._lines:
            left_s = max(0.0, until_s - time.monotonic())
            if not select.select([self._descriptor], [], [], left_s)[0]:
                return None
            data = os.read(self._descriptor, _READ_BYTES)
            if not data or len(self._lines) > MOST_LINE_BYTES:
                raise OrdersEndedError
            self._lines += data
        line, _, rest = bytes(self._lines).partition(b"\n")
        self._lines = bytearray(rest)
        try:
            order = decode_line(line)
        except ValueError as error:
            raise OrdersEndedError from error
        if not isinstance(order, Transmit | Signal):
            raise OrdersEndedError
        return order


class Loop:
    """Serves one terminal until the orders end or the reader fails."""

    def __init__(self, terminal: Terminal, orders: Orders, tell: Callable[[Record], None]) -> None:
        """Prepare to tell records with `tell`."""
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
            OrdersEndedError: the daemon is gone.
        """
        self._tell(Ready())
        while True:
            found = self._terminal.wait(most_ms=WAIT_MS)
            while (order := self._orders.next(wait_s=0)) is not None:
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
            order = self._orders.next(wait_s=PRESENCE_S)
            if order is not None:
                self._obey(order)
            elif not self._terminal.still_there():
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
