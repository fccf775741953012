"""A card reader's worker that misbehaves as the stack in its settings says; run with the descriptor of its socket."""

from __future__ import annotations

import os
import sys
import threading

from firmware_adapters.card_records import (
    ORDERS,
    Answer,
    Arrived,
    Departed,
    Gone,
    Ready,
    Settings,
    Signal,
    Transmit,
)
from firmware_adapters.worker_parent import Parent


def main(descriptor: int) -> None:
    """Misbehave."""
    parent = Parent(descriptor, tell_deadline_s=None)
    settings = parent.settings(Settings)
    parent.tell(Ready())
    match settings.stack:
        case "garbage":
            os.write(parent.fileno(), b"nobody says so\n")
        case "orders":
            parent.tell(Signal("granted"))
        case "endless":
            os.write(parent.fileno(), b"x" * 200_000)
        case "ends":
            sys.exit(7)
        case "late":  # what is left over from another exchange comes before the answer, and a new card with it
            while not parent.orders(ORDERS, wait_s=60.0):
                pass
            for said in (Answer(99, b"\x6f\x00"), Gone(98), Ready(), Departed(1), Arrived(2, b"\x04", speaks=True)):
                parent.tell(said)
            parent.tell(Answer(1, b"\x90\x00"))
        case "asks":
            parent.tell(Transmit(1, 1, b""))
        case _:  # deaf and silent
            pass
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
