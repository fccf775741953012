"""The two wires of a Wiegand reader: pulses to bits, bits to frames, frames to card numbers and keys.

Pure: edges come with their times. A pulse on D0 is a 0, on D1 a 1; silence ends a frame (SIA AC-01-1996.10).
Invariants: at most `MOST_BITS` + 1 bits are held; a number is delivered only when its parity bits agree.
"""

from dataclasses import dataclass
from typing import TypeAlias

from firmware_adapters.card_bits import card_number, packed

# AC-01: pulses of 20 to 100 µs, 200 µs to 20 ms apart. What follows sooner is the same pulse, or noise.
SHORTEST_PERIOD_US = 150
MOST_BITS = 64
# Fewer bits are a crackle of the line that nobody needs to hear of.
FEWEST_BITS = 8
# The bits under the even parity bit in front and the odd one at the end: the halves, which share the middle bit of 37.
_FORMATS = {26: 13, 34: 17, 37: 19}
_KEYS = b"0123456789*#"
_KEY_BITS, _SAFE_KEY_BITS = 4, 8


@dataclass(frozen=True, slots=True)
class CardNumber:
    """The number of a card, as it is enrolled; empty when the frame was no number."""

    number: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the reader's keypad, as its character."""

    character: bytes


@dataclass(frozen=True, slots=True)
class Noise:
    """Pulses that meant nothing."""


Frame: TypeAlias = CardNumber | Key | Noise


class WiegandDecoder:
    """Edges in, frames out."""

    def __init__(self, *, gap_us: int) -> None:
        """End a frame after `gap_us` microseconds of silence."""
        self._gap_us = gap_us
        self._bits: list[int] = []
        self._last_us = 0

    @property
    def unfinished(self) -> bool:
        """Tell whether a frame has begun: `flush` is due after the gap."""
        return bool(self._bits)

    def pulse(self, bit: int, *, at_us: int) -> list[Frame]:
        """Take a pulse, 0 or 1, and return the frame that ended before it."""
        since_us = at_us - self._last_us
        ended = self.flush() if self._bits and since_us >= self._gap_us else []
        if self._bits and since_us < SHORTEST_PERIOD_US:
            return ended
        self._last_us = at_us
        if len(self._bits) <= MOST_BITS:
            self._bits.append(bit)
        return ended

    def flush(self) -> list[Frame]:
        """End the present frame, as silence does."""
        bits, self._bits = self._bits, []
        return [decode_frame(bits)] if bits else []


def decode_frame(bits: list[int]) -> Frame:
    """Say what a frame means; a frame of a card's length or an unknown one that does not hold is an empty number."""
    if len(bits) in {_KEY_BITS, _SAFE_KEY_BITS}:
        return _key(bits)
    if len(bits) < FEWEST_BITS:
        return Noise()
    half = _FORMATS.get(len(bits))
    if half is None or sum(bits[:half]) % 2 != 0 or sum(bits[-half:]) % 2 != 1:
        return CardNumber(b"")
    return CardNumber(card_number(len(bits), packed(bits)))


def _key(bits: list[int]) -> Frame:
    """Take a key of four bits, or of eight whose first half is the other one's complement."""
    code = int("".join(map(str, bits[-_KEY_BITS:])), 2)
    if len(bits) == _SAFE_KEY_BITS and any(bit == check for bit, check in zip(bits[:4], bits[4:], strict=True)):
        return CardNumber(b"")
    return Key(_KEYS[code : code + 1]) if code < len(_KEYS) else Noise()
