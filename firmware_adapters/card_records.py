"""What a card reader's worker process and the daemon tell each other: one JSON line each.

Pure, and light: the worker loads this but neither the ports nor the core. Both ends are this program, so a line that
does not parse is a fault of the other.
Invariant: bytes of a card travel in `Arrived`, `Transmit` and `Answer` only, which nobody logs.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from firmware_adapters.driver_faults import Fault, FaultKind

# The longest response APDU in base64, and room: no line is longer.
MOST_LINE_BYTES = 98_304


@dataclass(frozen=True, slots=True)
class Settings:
    """What the worker is started with.

    Args:
        stack: "pcsc" or "nfc".
        device: which reader, as its address names it.
        signals: whether the reader is an ACR122U, whose LED and buzzer can be driven.
        records_fd: the inherited file descriptor to write records to.
        orders_fd: where orders come from; standard input.
    """

    stack: str
    device: str
    signals: bool = False
    records_fd: int = 1
    orders_fd: int = 0


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


Record: TypeAlias = Ready | Idle | Arrived | Departed | Answer | Gone | Fault
Order: TypeAlias = Transmit | Signal

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Ready, Idle, Arrived, Departed, Answer, Gone, Transmit, Signal, Fault)
}


def encode_settings(settings: Settings) -> str:
    """Write settings as one command line argument."""
    return json.dumps(asdict(settings))


def decode_settings(text: str) -> Settings:
    """Read what `encode_settings` wrote."""
    return Settings(**json.loads(text))


def encode_line(said: Record | Order) -> bytes:
    """Write a record or an order as one line."""
    members = {name: _plain(value) for name, value in asdict(said).items()}
    return json.dumps({"kind": type(said).__name__, "members": members}).encode() + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    return value.value if isinstance(value, FaultKind) else value


def decode_line(line: bytes) -> Record | Order:
    """Read what `encode_line` wrote.

    Raises:
        ValueError: it did not.
    """
    try:
        said = json.loads(line)
        members = {name: _restored(value) for name, value in said["members"].items()}
        if said["kind"] == Fault.__name__:
            return Fault(**members | {"kind": FaultKind(members["kind"])})
        found: Record | Order = _KINDS[said["kind"]](**members)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a line of a card reader's worker") from error
    return found


def _restored(value: Any) -> Any:  # noqa: ANN401 - what JSON gives
    return b64decode(value["base64"], validate=True) if isinstance(value, dict) else value
