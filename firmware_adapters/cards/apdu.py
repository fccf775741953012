"""Command and response APDUs (ISO/IEC 7816-4), short and extended, chained both ways.

Invariant: no answer makes this module keep more bytes than the caller allowed, nor ask more often than `MOST_ROUNDS`.
Must not: know any application.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol

from firmware_adapters.cards.errors import CardError, CardFault

SHORT_DATA: Final = 255
"""The longest data of a short command: Lc is one byte (7816-4 §5.2)."""
EXTENDED_DATA: Final = 65_535
SHORT_LE: Final = 256
"""The most that a short command may ask for; written as 00."""
EXTENDED_LE: Final = 65_536
MOST_ROUNDS: Final = 16
"""GET RESPONSE at most: an answer of 448 bytes in pieces of 32 needs 14, and no card in use gives less."""
MOST_RESPONSE_BYTES: Final = EXTENDED_LE + 2

SUCCESS: Final = 0x9000
_ABSENT: Final = frozenset({0x6A81, 0x6A82, 0x6A83, 0x6A86, 0x6A88, 0x6D00, 0x6E00})
"""Unknown function, file, record, parameter, data, instruction and class (7816-4 table 6)."""
_MORE: Final = 0x61
_WRONG_LE: Final = 0x6C
_CHAINED: Final = 0x10
_GET_RESPONSE: Final = 0xC0
_BYTE: Final = 0xFF


class Transceiver(Protocol):
    """A card in a reader's field."""

    async def transceive(self, command: bytes) -> bytes:
        """Send one command APDU and return the response APDU.

        Raises:
            CardError: REMOVED, the card is gone.
            ReaderError: the reader is.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        data: at most 65,535 bytes.
        le: how many bytes are asked for, 1 to 65,536; None for none.
    """

    cla: int = 0x00
    ins: int
    p1: int = 0x00
    p2: int = 0x00
    data: bytes = b""
    le: int | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What a card answered: data, and the status word SW1-SW2."""

    data: bytes
    status: int


def encode_command(command: Command) -> bytes:
    """Write a command, short where that suffices, otherwise extended.

    Raises:
        ValueError: a field is out of its range.
    """
    size, le = len(command.data), command.le
    header = bytes((command.cla, command.ins, command.p1, command.p2))
    if size > EXTENDED_DATA or not (le is None or 1 <= le <= EXTENDED_LE):
        raise ValueError("a command APDU holds 65,535 bytes and asks for 1 to 65,536")
    if size <= SHORT_DATA and (le is None or le <= SHORT_LE):
        lc = bytes((size,)) if size else b""
        return header + lc + command.data + (b"" if le is None else bytes((le & _BYTE,)))
    lc = b"\x00" + size.to_bytes(2, "big") if size else b""
    # Without data the marker of the extended form stands before Le.
    tail = b"" if le is None else (b"" if size else b"\x00") + (le & 0xFFFF).to_bytes(2, "big")
    return header + lc + command.data + tail


def parse_response(raw: bytes) -> Response:
    """Split a response APDU.

    Raises:
        CardError: MALFORMED or TOO_LARGE.
    """
    if len(raw) > MOST_RESPONSE_BYTES:
        raise CardError(CardFault.TOO_LARGE, "a response is longer than an APDU may be")
    if len(raw) < 2:  # noqa: PLR2004 - the status word
        raise CardError(CardFault.MALFORMED, "a response has no status word")
    return Response(bytes(raw[:-2]), int.from_bytes(raw[-2:], "big"))


async def exchange(card: Transceiver, command: Command, *, most_bytes: int) -> Response:
    """Send a command, in several if it is too long for one, and gather the whole answer.

    Args:
        card: where to send it.
        command: its data are chained (CLA bit 5) when they exceed a short command that asks for short answers.
        most_bytes: a longer answer is refused.

    Raises:
        CardError: MALFORMED, TOO_LARGE, REMOVED; status words are for the caller to judge (`require`).
    """
    command = await _send_all_but_last(card, command)
    response = await _once(card, command)
    if response.status >> 8 == _WRONG_LE:
        response = await _once(card, replace(command, le=(response.status & _BYTE) or SHORT_LE))
    data = bytearray(response.data)
    for _ in range(MOST_ROUNDS):
        if len(data) > most_bytes:
            raise CardError(CardFault.TOO_LARGE, f"an answer has more than {most_bytes} bytes")
        if response.status >> 8 != _MORE:
            return Response(bytes(data), response.status)
        more = (response.status & _BYTE) or SHORT_LE
        response = await _once(card, Command(cla=command.cla & ~_CHAINED, ins=_GET_RESPONSE, le=more))
        data += response.data
    raise CardError(CardFault.TOO_LARGE, f"an answer came in more than {MOST_ROUNDS} pieces")


async def _send_all_but_last(card: Transceiver, command: Command) -> Command:
    """Send the pieces before the last with the chaining bit, and return what is left to send."""
    if command.le is not None and command.le > SHORT_LE:
        return command
    while len(command.data) > SHORT_DATA:
        piece = replace(command, cla=command.cla | _CHAINED, data=command.data[:SHORT_DATA], le=None)
        require(await _once(card, piece))
        command = replace(command, data=command.data[SHORT_DATA:])
    return command


async def _once(card: Transceiver, command: Command) -> Response:
    return parse_response(await card.transceive(encode_command(command)))


def require(response: Response, *, status: int = SUCCESS) -> bytes:
    """Return the data of an answer with the status that is expected.

    Raises:
        CardError: ABSENT when the card knows no such thing, REFUSED for every other status.
    """
    if response.status == status:
        return response.data
    fault = CardFault.ABSENT if response.status in _ABSENT else CardFault.REFUSED
    raise CardError(fault, f"the card answered {response.status:04X}", status=response.status)


async def select(card: Transceiver, name: bytes, *, most_bytes: int = SHORT_LE) -> bytes:
    """Select an application by its name (AID) and return what it says of itself.

    Raises:
        CardError: ABSENT when the card does not have it.
    """
    command = Command(ins=0xA4, p1=0x04, data=name, le=SHORT_LE)
    return require(await exchange(card, command, most_bytes=most_bytes))
