"""A card reader behind PC/SC (pcscd, pyscard); runs in a card reader's worker process.

Sources: PC/SC part 3 §3.1.3 (ATRs of contactless cards) and §3.2.2 (GET DATA for the UID); ACR122U API (LED, buzzer).
Invariant: whatever pcscd or the driver answers, a fault is a `SourceError`; a card that has left is none.
"""

from collections.abc import Mapping
from typing import Any, Final

from smartcard import scard

from firmware_adapters.card_loop import Found
from firmware_adapters.worker_records import Fault, FaultKind, SourceError

ANY: Final = "any"
"""The address of the first reader that pcscd has."""
GET_NUMBER: Final = bytes.fromhex("FFCA000000")
_SUCCESS: Final = b"\x90\x00"
_STORAGE: Final = bytes.fromhex("A000000306")
"""In the ATR that readers make up for cards without ISO/IEC 14443-4 (PC/SC part 3 §3.1.3.2.3)."""

_GONE: Final = frozenset(
    {
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_W_UNPOWERED_CARD,
        scard.SCARD_W_UNRESPONSIVE_CARD,
        scard.SCARD_W_RESET_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_E_NOT_TRANSACTED,
        scard.SCARD_E_PROTO_MISMATCH,
    }
)
_NO_READER: Final = scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE
_KINDS: Final[Mapping[int, FaultKind]] = {
    scard.SCARD_E_SHARING_VIOLATION: FaultKind.BUSY,
    scard.SCARD_W_SECURITY_VIOLATION: FaultKind.PERMISSION,
}
_REMEDIES: Final = {
    FaultKind.LOST: "plug the reader in and see that pcscd runs (systemctl status pcscd); it is opened again by itself",
    FaultKind.BUSY: "stop the other program that uses the reader",
    FaultKind.PERMISSION: "let the daemon's user use pcscd (polkit's actions org.debian.pcsc-lite)",
}

_GREEN, _RED, _ORANGE = 0x0E, 0x0D, 0x0F
"""ACR122U: the LEDs' last state with both of them under control."""
_SIGNALS: Final[Mapping[str, bytes]] = {
    # Units of 100 ms on and off, how often, and with the buzzer in the first half.
    "granted": bytes((_GREEN, 0x04, 3, 0, 1, 1)),
    "denied_expired": bytes((_RED, 0x04, 1, 1, 2, 1)),
    "denied_not_now": bytes((_RED, 0x04, 1, 1, 2, 1)),
    "denied_not_here": bytes((_RED, 0x04, 1, 1, 2, 1)),
    "try_again": bytes((_ORANGE, 0x04, 1, 1, 1, 1)),
    "wait": bytes((_ORANGE, 0x04, 0, 0, 0, 0)),
    "enter_pin": bytes((_ORANGE, 0x04, 0, 0, 0, 0)),
    "next_person": bytes((_ORANGE, 0x04, 1, 0, 1, 1)),
}


class PcscTerminal:
    """One reader of pcscd."""

    def __init__(self, device: str, *, signals: bool) -> None:
        """Find the reader.

        Args:
            device: what its name begins with, or "any".
            signals: it is an ACR122U, whose LED and buzzer may be driven.

        Raises:
            SourceError: pcscd does not run, or has no such reader.
        """
        self._signals = signals
        self._card: Any = None
        self._protocol = 0
        result, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        if result != scard.SCARD_S_SUCCESS:
            raise _error(result, "pcscd does not answer")
        self._name = self._find(device)
        self._state = scard.SCARD_STATE_UNAWARE

    def _find(self, device: str) -> str:
        result, names = scard.SCardListReaders(self._context, [])
        found = [name for name in names if device == ANY or name.startswith(device)]
        if result != scard.SCARD_S_SUCCESS or not found:
            self.close()
            raise _error(result, f"pcscd has no reader whose name begins with {device!r}")
        return str(found[0])

    def wait(self, *, most_ms: int) -> Found | None:
        """Wait for a card to come; see `Terminal.wait`."""
        state = self._look(most_ms)
        if not state & scard.SCARD_STATE_PRESENT or state & scard.SCARD_STATE_MUTE:
            return None
        return self._connect()

    def _look(self, most_ms: int) -> int:
        """Wait until the reader's state differs from the last one, and return it."""
        result, states = scard.SCardGetStatusChange(self._context, most_ms, [(self._name, self._state)])
        if result == scard.SCARD_E_TIMEOUT:
            return 0
        if result != scard.SCARD_S_SUCCESS:
            raise _lost(result, f"pcscd has no reader {self._name} any more")
        state = int(states[0][1])
        if state & _NO_READER:
            raise _lost(scard.SCARD_E_UNKNOWN_READER, f"the reader {self._name} is gone")
        self._state = state & ~scard.SCARD_STATE_CHANGED
        return state

    def _connect(self) -> Found | None:
        result, card, protocol = scard.SCardConnect(
            self._context,
            self._name,
            scard.SCARD_SHARE_EXCLUSIVE,
            scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1,
        )
        if result in _GONE:
            return None
        if result != scard.SCARD_S_SUCCESS:
            raise _error(result, f"the card at {self._name} cannot be connected to")
        self._card, self._protocol = card, protocol
        result, _, _, _, atr = scard.SCardStatus(card)
        answer = self.transmit(GET_NUMBER) if result == scard.SCARD_S_SUCCESS else None
        if answer is None:
            self._forget()
            return None
        number = answer[:-2] if answer.endswith(_SUCCESS) else b""
        return Found(number, speaks=_STORAGE not in bytes(atr))

    def still_there(self) -> bool:
        """Tell whether the card that came is there; see `Terminal.still_there`."""
        if self._card is None:
            return False
        before = self._state
        self._look(0)
        # The upper half counts comings and goings: a card that was exchanged for another is not there.
        there = bool(self._state & scard.SCARD_STATE_PRESENT) and self._state >> 16 == before >> 16
        if not there:
            self._forget()
        return there

    def transmit(self, apdu: bytes) -> bytes | None:
        """Send a command APDU; see `Terminal.transmit`."""
        if self._card is None:
            return None
        header = scard.SCARD_PCI_T0 if self._protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1
        result, answer = scard.SCardTransmit(self._card, header, list(apdu))
        # A driver whose card leaves in the middle may report success, and nothing that the card said.
        if result in _GONE or (result == scard.SCARD_S_SUCCESS and not answer):
            self._forget()
            return None
        if result != scard.SCARD_S_SUCCESS:
            raise _lost(result, f"the reader {self._name} does not transmit")
        return bytes(answer)

    def signal(self, feedback: str) -> None:
        """Show a feedback with LED and buzzer; see `Terminal.signal`."""
        if self._signals and feedback in _SIGNALS:
            led, *blink = _SIGNALS[feedback]
            self.transmit(bytes((0xFF, 0x00, 0x40, led, *blink)))

    def close(self) -> None:
        """Free the reader; see `Terminal.close`."""
        self._disconnect()
        scard.SCardReleaseContext(self._context)

    def _forget(self) -> None:
        """Let go of the card, and look at the reader afresh."""
        self._disconnect()
        self._state = scard.SCARD_STATE_UNAWARE

    def _disconnect(self) -> None:
        card, self._card = self._card, None
        if card is not None:
            # Not reset: pcscd takes a reset that fails for an empty reader, and may overlook the card that comes next.
            scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)


def _error(result: int, what: str) -> SourceError:
    """Make the fault of a reader that does not open."""
    return _fault(_KINDS.get(result, FaultKind.LOST), result, what)


def _lost(result: int, what: str) -> SourceError:
    """Make the fault of a reader that was open: also a pcscd that ends says "access denied"."""
    return _fault(FaultKind.LOST, result, what)


def _fault(kind: FaultKind, result: int, what: str) -> SourceError:
    return SourceError(Fault(kind, f"{what} ({scard.SCardGetErrorMessage(result)})", _REMEDIES[kind]))
