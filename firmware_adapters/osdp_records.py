"""What the OSDP worker process and the daemon tell each other.

Pure, and light: the worker loads this but neither the ports nor the core.
Invariant: a key travels only in `Settings`, through the worker's socket; no record of the other direction has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from firmware_adapters.worker_records import by_name


@dataclass(frozen=True, slots=True)
class Settings:
    """What the worker is started with.

    Args:
        path: the serial port.
        baud: bits a second.
        addresses: of the readers on the line.
        keys: the secure channel base key of each.
        install: give the readers these keys, under the default key of their install mode.
    """

    path: str
    baud: int
    addresses: list[int]
    keys: tuple[bytes, ...] = field(repr=False)
    install: bool = False


class Why(Enum):
    """Why a reader is not in its secure channel."""

    SILENT = "silent"  # it does not answer
    WRONG_KEY = "wrong_key"  # it answers, and has another key
    RESTARTED = "restarted"  # it answers, and has left the secure channel
    TWICE = "twice"  # two readers answer at its address
    GARBLED = "garbled"  # it answers, and nothing comes of it


@dataclass(frozen=True, slots=True)
class Ready:
    """The port is open and the readers are being called."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker is alive."""


@dataclass(frozen=True, slots=True)
class Secure:
    """The reader is in its secure channel."""

    address: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The reader is not (any more)."""

    address: int
    why: Why


@dataclass(frozen=True, slots=True)
class Card:
    """A card was read: `bits` bits of `data`."""

    address: int
    bits: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys were pressed."""

    address: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Local:
    """The reader tells of its case and its supply."""

    address: int
    tamper: bool
    power: bool


@dataclass(frozen=True, slots=True)
class KeySet:
    """The reader has taken its new key and is in a secure channel under it."""

    address: int


@dataclass(frozen=True, slots=True)
class Show:
    """Order: send a reader one command, as `osdp_signals.commands` makes them."""

    address: int
    command: dict[str, int | str | bool]


Record: TypeAlias = Ready | Beat | Secure | Lost | Card | Keys | Local | KeySet

RECORDS: Mapping[str, type[Record]] = by_name(Ready, Beat, Secure, Lost, Card, Keys, Local, KeySet)
ORDERS: Mapping[str, type[Show]] = by_name(Show)
