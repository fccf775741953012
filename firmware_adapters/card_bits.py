"""The number of a card as a reader sends it, as the bytes under which it is enrolled.

Pure. Layout: two bytes, the count of bits (big endian), then the bits, first bit first, the last byte filled with
zeros. So a 26-bit number never equals a 34-bit one, whatever their bits. Parity bits stay in (docs/hardware.md).

Invariant: equal bytes mean equal bits, and a number that is too long for any roster stays too long.
"""

from collections.abc import Sequence

COUNT_BYTES = 2
# What the core takes as an identifier (docs/spec/policy.md): 64 bytes, the count among them.
MAX_NUMBER_BYTES = 64
MAX_BITS = (MAX_NUMBER_BYTES - COUNT_BYTES) * 8


def card_number(bits: int, data: bytes) -> bytes:
    """Return the bytes that stand for the first `bits` bits of `data`.

    Returns:
        At most `MAX_NUMBER_BYTES` + 1 bytes: a longer number is cut there, so that it is refused by its size. Empty
        when there are no bits, or more than `data` has: that is no number, and is refused by its form.
    """
    size = (bits + 7) // 8
    if bits < 1 or size > len(data):
        return b""
    if bits > MAX_BITS:
        return bytes(COUNT_BYTES) + data[: MAX_NUMBER_BYTES + 1 - COUNT_BYTES]
    unused = size * 8 - bits
    last = data[size - 1] >> unused << unused
    return bits.to_bytes(COUNT_BYTES, "big") + data[: size - 1] + bytes([last])


def packed(bits: Sequence[int]) -> bytes:
    """Put bits, each 0 or 1, into bytes, the first one highest; the last byte is filled with zeros."""
    filled = [*bits, *[0] * (-len(bits) % 8)]
    return bytes(int("".join(map(str, filled[start : start + 8])), 2) for start in range(0, len(filled), 8))
