"""What a card reader's worker process and the daemon tell each other.

Pure, and light: the worker loads this but neither the ports nor the core.
Invariant: bytes of a card travel in `Arrived`, `Transmit` and `Answer` only, which nobody logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from firmware_adapters.worker_records import by_name


@dataclass(frozen=True, slots=True)
class Settings:
    """What the worker is started with.

    Args:
        stack: "pcsc" or "nfc".
        device: which reader, as its address names it.
        signals: whether the reader is an ACR122U, whose LED and buzzer can be driven.
    """

    stack: str
    device: str
    signals: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The reader is open."""


@dataclass(frozen=True, slots=True)
class Idle:
    """The reader is alive, and nothing has happened."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A card has come.

    Args:
        card: counts the cards of this worker; commands name it, so that none reaches the next card.
        number: its UID, empty when the reader does not tell it.
        speaks: whether it takes APDUs.
    """

    card: int
    number: bytes = field(repr=False)
    speaks: bool


@dataclass(frozen=True, slots=True)
class Departed:
    """The card is gone."""

    card: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A response APDU to the `Transmit` of this number."""

    to: int
    apdu: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gone:
    """No answer to the `Transmit` of this number: its card is not there."""

    to: int


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send a command APDU to a card."""

    number: int
    card: int
    apdu: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signal:
    """Show a feedback, by its value, with what the reader has."""

    feedback: str


Record: TypeAlias = Ready | Idle | Arrived | Departed | Answer | Gone
Order: TypeAlias = Transmit | Signal

RECORDS: Mapping[str, type[Record]] = by_name(Ready, Idle, Arrived, Departed, Answer, Gone)
ORDERS: Mapping[str, type[Order]] = by_name(Transmit, Signal)
