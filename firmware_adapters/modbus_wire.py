"""A relay of a Modbus board as the wire of a lock.

Import this module only in the process that holds the relay.
Invariant: one process of this machine drives a relay; a board that does not answer is asked again until it is secure.
"""

import socket

from firmware_adapters.claim import ClaimedError, claim
from firmware_adapters.modbus_bus import Board, BoardError
from firmware_adapters.relay_records import CONSUMER, Settings
from firmware_adapters.relay_wires import WireError
from firmware_adapters.worker_records import FaultKind


class ModbusWire:
    """A coil."""

    comes_back = True

    def __init__(self, settings: Settings, value: int) -> None:
        """Claim the coil on this machine and drive it to `value`.

        Raises:
            WireError: another process has it, or the board does not answer.
        """
        self._coil = int(settings.line)
        self._claim = _claim(settings)
        self._board = Board(settings.chip, unit=settings.unit, baud=settings.baud)
        try:
            self.set(value)
        except BoardError as error:
            self.close()
            remedy = "check its supply, wires, address and speed"
            raise WireError(FaultKind.LOST, str(error), remedy=remedy) from error

    def set(self, value: int) -> None:
        """Drive the coil."""
        self._board.write(self._coil, value)

    def close(self) -> None:
        """Leave the board."""
        self._board.close()
        self._claim.close()


def _claim(settings: Settings) -> socket.socket:
    try:
        return claim(f"relay/{settings.chip}/{settings.unit}/{settings.line}")
    except ClaimedError as error:
        holder = f"{CONSUMER} {error.pid}"
        what = f"relay {settings.line} of the board {settings.unit} at {settings.chip} is in use by {holder}"
        raise WireError(FaultKind.BUSY, what, holder=holder) from error
