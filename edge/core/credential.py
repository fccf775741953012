"""What a reader hands over, and how it was read.

Invariant: a `Presentation` is what was read at one instant; nothing in it has been checked.
"""

from dataclasses import dataclass
from enum import Enum


class Medium(Enum):
    """How a presentation was read."""

    QR = "qr"
    NFC = "nfc"
    CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class Presentation:
    """One thing a reader read at one instant; unverified.

    Args:
        reader: the id of the reader, as configured.
        medium: how it was read.
        payload: the bytes as read, never interpreted by the adapter. A payload longer than the reader's
            `max_payload_bytes` was cut there by the adapter and is refused by size.
        read_at_ms: monotonic clock of this machine, milliseconds.
    """

    reader: str
    medium: Medium
    payload: bytes
    read_at_ms: int
