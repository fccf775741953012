"""A card reader that nfcpy drives itself: a PN532 on a serial port, an ACR122U or RC-S380 on USB; runs in a worker.

nfcpy has had no release since 2022: what is used of it is kept here, behind `Terminal`.
Invariant: whatever the driver raises, a fault is a `SourceError`; a card that has left is none.
"""

import errno
import logging
import termios
import time
from collections.abc import Mapping
from typing import Any, Final

import nfc
import nfc.clf.pn532
import nfc.clf.transport
import nfc.tag.tt4

from firmware_adapters.card_loop import Found
from firmware_adapters.worker_records import Fault, FaultKind, SourceError

# Between two looks for a card: each takes a PN532 about 30 ms for the three kinds, and current for its field.
LOOK_S: Final = 0.05
_KINDS: Final = ("106A", "106B", "212F")
_USB: Final = "usb"
# A PN532 that sleeps swallows what wakes it (UM0701-02 §6.3.2.3: at least 5 bytes of 55 or 00).
_WAKE: Final = bytearray(16)
_VERSION_ASKED: Final = bytes.fromhex("0000ff02fed4022a00")
_VERSION_BEGINS: Final = bytes.fromhex("0000ff06fad50332")
MOST_FAILURES: Final = 3
"""In a row: a byte that noise changed is no loss."""
_TRANSIENT: Final = frozenset({errno.EIO, errno.ETIMEDOUT})
_ANSWER_MS: Final = 1500
"""A USB serial converter of a Raspberry Pi delivers its first bytes up to a second late."""
_LEAST_ANSWER_MS: Final = 1000
"""nfcpy allows 100 ms for an acknowledgement: on a busy machine the driver itself is paused for longer."""

_FAULTS: Final[Mapping[int, FaultKind]] = {
    errno.EACCES: FaultKind.PERMISSION,
    errno.EPERM: FaultKind.PERMISSION,
    errno.EBUSY: FaultKind.BUSY,
    errno.EAGAIN: FaultKind.BUSY,
}
_REMEDIES: Final = {
    FaultKind.LOST: "plug it in, or correct the address; it is opened again by itself",
    FaultKind.PERMISSION: "give the daemon's user the group that owns the device (dialout, or plugdev on USB)",
    FaultKind.BUSY: "stop the other program that uses it; pcscd holds every USB reader that it knows",
}


class _PatientChipset(nfc.clf.pn532.Chipset):  # type: ignore[misc]  # nfcpy has no types
    """Waits for the chip longer than nfcpy does; the chip's own deadlines on the air are not touched."""

    def read_frame(self, timeout: int) -> bytearray:
        """Wait `timeout` milliseconds for a frame, and never less than `_LEAST_ANSWER_MS`."""
        frame: bytearray = super().read_frame(max(timeout, _LEAST_ANSWER_MS))
        return frame


class NfcTerminal:
    """One reader that nfcpy drives."""

    def __init__(self, device: str) -> None:
        """Open the reader.

        Args:
            device: the path of a serial port with a PN532, or what nfcpy calls a USB reader: usb, usb:072f:2200.

        Raises:
            SourceError: there is no such reader.
        """
        # nfcpy logs the bytes of cards at DEBUG: they must never reach a log.
        logging.getLogger("nfc").setLevel(logging.CRITICAL)
        self._device = device
        self._frontend: Any = nfc.ContactlessFrontend()
        self._tag: Any = None
        self._number = b""
        self._failures = 0
        try:
            if device.startswith(_USB):
                opened = self._frontend.open(device)
            else:
                self._frontend.device = _open_patiently(device)
                opened = True
        except (OSError, termios.error) as error:
            raise _lost(device, error) from error
        if not opened:
            raise SourceError(Fault(FaultKind.LOST, f"there is no reader at {device}", _REMEDIES[FaultKind.LOST]))

    def wait(self, *, most_ms: int) -> Found | None:
        """Wait for a card to come; see `Terminal.wait`."""
        until_s = time.monotonic() + most_ms / 1000
        while True:
            found = self._look()
            if found is not None or time.monotonic() + LOOK_S >= until_s:
                return found
            time.sleep(LOOK_S)

    def _look(self) -> Found | None:
        try:
            target = self._sense()
            if target is None:
                return None
            self._tag = nfc.tag.activate(self._frontend, target)
        except (OSError, termios.error) as error:
            self._count_failure(error)
            return None
        speaks = isinstance(self._tag, nfc.tag.tt4.Type4Tag)
        self._number = _number_of(target) if self._tag is None else bytes(self._tag.identifier)
        return Found(self._number, speaks=speaks)

    def _sense(self) -> Any:  # noqa: ANN401 - nfcpy has no types
        target = self._frontend.sense(*(nfc.clf.RemoteTarget(kind) for kind in _KINDS), iterations=1)
        self._failures = 0
        return target

    def still_there(self) -> bool:
        """Tell whether the card that came is there; see `Terminal.still_there`."""
        try:
            if isinstance(self._tag, nfc.tag.tt4.Type4Tag):
                return bool(self._tag.is_present)
            target = self._sense()
        except (OSError, termios.error) as error:
            self._count_failure(error)
            return True  # nothing is known; the next look tells
        return target is not None and _number_of(target) == self._number

    def transmit(self, apdu: bytes) -> bytes | None:
        """Send a command APDU; see `Terminal.transmit`."""
        try:
            answer = bytes(self._tag.transceive(bytearray(apdu)))
        except (nfc.tag.TagCommandError, nfc.clf.CommunicationError):
            return None  # what it did not answer in time, it does not answer any more
        except (OSError, termios.error) as error:
            self._count_failure(error)
            return None
        self._failures = 0
        return answer

    def _count_failure(self, error: Exception) -> None:
        """Let a failure of the line pass, unless it is for good or one of too many in a row.

        Raises:
            SourceError: it is.
        """
        self._failures += 1
        if not _is_transient(error) or self._failures >= MOST_FAILURES:
            raise _lost(self._device, error) from error

    def signal(self, feedback: str) -> None:
        """Do nothing: a PN532 has neither LED nor buzzer of its own."""

    def close(self) -> None:
        """Free the reader; see `Terminal.close`."""
        try:
            self._frontend.close()
        except (OSError, termios.error):
            return  # it is gone, and says so once more


def _open_patiently(path: str) -> Any:  # noqa: ANN401 - nfcpy has no types
    for _ in range(MOST_FAILURES - 1):
        try:
            return _open_pn532(path)
        except OSError as error:
            if not _is_transient(error):
                raise
    return _open_pn532(path)


def _is_transient(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _TRANSIENT


def _open_pn532(path: str) -> Any:  # noqa: ANN401 - nfcpy has no types
    """Open a PN532 on a serial port at 115,200 baud.

    nfcpy's own way looks for ports in /dev only, and raises the speed as far as the port pretends to go, which the
    serial ports of small boards do not bear.
    """
    port = nfc.clf.transport.TTY(path)
    try:
        port.tty.exclusive = True
        _wake(port)
        chipset = _PatientChipset(port, logger=nfc.clf.pn532.log)
        chipset.sam_configuration("normal")
        return nfc.clf.pn532.Device(chipset, logger=nfc.clf.pn532.log)
    except (OSError, termios.error):
        port.close()
        raise


def _wake(port: Any) -> None:  # noqa: ANN401 - nfcpy has no types
    port.write(bytearray(_WAKE + _VERSION_ASKED))
    acknowledged = port.read(_ANSWER_MS) == nfc.clf.pn532.Chipset.ACK
    if not acknowledged or not port.read(_ANSWER_MS).startswith(_VERSION_BEGINS):
        raise OSError(errno.ENODEV, "no PN532 answers")


def _number_of(target: Any) -> bytes:  # noqa: ANN401 - nfcpy has no types
    """Return the number in the answers of a target that nfcpy has no tag for."""
    if target.brty.endswith("A"):
        return bytes(target.sdd_res or b"")
    if target.brty.endswith("B"):
        return bytes(target.sensb_res[1:5])
    return bytes(target.sensf_res[1:9])


def _lost(device: str, error: Exception) -> SourceError:
    number = error.errno if isinstance(error, OSError) else None
    kind = _FAULTS.get(number or 0, FaultKind.LOST)
    return SourceError(Fault(kind, f"the reader at {device} cannot be used ({error})", _REMEDIES[kind]))
