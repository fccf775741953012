"""Hear who answers on an OSDP line, beside the library that understands it.

The library says that something is wrong, never what: whether a reader is silent, or two of them share an address, shows
in the headers of the frames (IEC 60839-11-5: a mark, then the address, whose highest bit is set in answers).

Pure. Invariant: nothing is held but one byte and five numbers an address.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_MARK = 0x53
_ANSWER = 0x80
# Questions that were not answered may still be; more than the library repeats are forgotten.
_MOST_OPEN = 3
# One answer that nobody asked for may be noise; so many, without calm between them, are a second reader's.
SURELY_TWICE = 2
# So many questions with one answer each are calm: one second of polls.
_CALM = 20


@dataclass(slots=True)
class _Address:
    heard_s: float = float("-inf")
    asked_s: float = float("inf")
    open: int = 0
    surplus: int = 0
    calm: int = 0


class Ear:
    """Frames of the line in, what is heard of each address out."""

    def __init__(self, addresses: Iterable[int]) -> None:
        """Listen for these addresses."""
        self._addresses = {address: _Address() for address in addresses}
        self._marked = False

    def asked(self, frame: bytes, *, at_s: float) -> None:
        """Note that the panel sends a frame."""
        start = frame.find(_MARK)
        found = self._addresses.get(frame[start + 1]) if 0 <= start < len(frame) - 1 else None
        if found is not None:
            found.open = min(found.open + 1, _MOST_OPEN)
            found.asked_s = min(found.asked_s, at_s)

    def heard(self, data: bytes, *, at_s: float) -> None:
        """Take bytes as they come from the line."""
        for byte in data:
            if self._marked and byte & _ANSWER and (found := self._addresses.get(byte & ~_ANSWER)) is not None:
                found.heard_s, found.asked_s = at_s, float("inf")
                self._count(found)
            self._marked = byte == _MARK

    def last_s(self, address: int) -> float:
        """Return when an answer from this address was last heard; minus infinity for never."""
        return self._addresses[address].heard_s

    def silent_s(self, address: int, *, at_s: float) -> float:
        """Return for how long a question to this address has been waiting for any answer; 0 when none is."""
        return max(0.0, at_s - self._addresses[address].asked_s)

    def twice(self, address: int) -> bool:
        """Tell whether two readers answer at this address."""
        return self._addresses[address].surplus >= SURELY_TWICE

    @staticmethod
    def _count(found: _Address) -> None:
        if found.open:
            found.open -= 1
            found.calm += 1
            if found.calm >= _CALM:
                found.surplus = 0
        else:
            found.surplus += 1
            found.calm = 0
