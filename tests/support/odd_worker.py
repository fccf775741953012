"""A worker that misbehaves as its argument says: `python -m tests.support.odd_worker KIND:DESCRIPTOR`."""

from __future__ import annotations

import os
import sys
import threading

from firmware_adapters.card_records import Answer, Arrived, Departed, Gone, Ready, Signal, Transmit, encode_line


def main(argument: str) -> None:
    """Misbehave."""
    kind, _, descriptor = argument.partition(":")
    records = int(descriptor)
    os.write(records, encode_line(Ready()))
    match kind:
        case "garbage":
            os.write(records, b"nobody says so\n")
        case "orders":
            os.write(records, encode_line(Signal("granted")))
        case "endless":
            os.write(records, b"x" * 200_000)
        case "ends":
            sys.exit(7)
        case "late":  # what is left over from another exchange comes before the answer, and a new card with it
            sys.stdin.buffer.readline()
            for said in (Answer(99, b"\x6f\x00"), Gone(98), Ready(), Departed(1), Arrived(2, b"\x04", speaks=True)):
                os.write(records, encode_line(said))
            os.write(records, encode_line(Answer(1, b"\x90\x00")))
        case "asks":
            os.write(records, encode_line(Transmit(1, 1, b"")))
        case _:  # deaf and silent
            pass
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
