"""Talking with a relay and I/O board by Modbus, over TCP or a serial port.

Light: it loads neither the ports nor the core; the process that holds a relay uses it too.

A serial port is used by two processes, the lock's and the daemon's: each takes its turn for one question and its
answer.
Invariant: a turn that is not given within `TURN_DEADLINE_S` is taken: a stopped daemon must not keep a door from being
locked.
"""

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.pdu import ModbusPDU

# A board answers within milliseconds; 20 bytes take 25 ms at 9,600 baud.
ANSWER_DEADLINE_S = 0.3
TURN_DEADLINE_S = 0.5
_TURN_POLL_S = 0.002

_Pdu = TypeVar("_Pdu", bound=ModbusPDU)


class BoardError(OSError):
    """The board does not answer, or refuses."""


class Board:
    """One board."""

    def __init__(self, place: str, *, unit: int, baud: int) -> None:
        """Know where it is; it is connected when it is first asked.

        Args:
            place: host:port, or the path of a serial port.
            unit: its number on the bus.
            baud: bits a second, 0 for TCP.
        """
        self.name = f"the board {unit} at {place}"
        self._unit = unit
        self._place = place
        self._serial = baud > 0
        self._one_thread = threading.Lock()
        self._closed = False
        self._client = _client(place, baud)

    def write(self, coil: int, value: int) -> None:
        """Drive a relay.

        Raises:
            BoardError: it was not driven, as far as is known.
        """
        self._ask(lambda: self._client.write_coil(coil, bool(value), device_id=self._unit))

    def read(self, first: int, count: int) -> list[bool]:
        """Return the levels of inputs, in order.

        Raises:
            BoardError: they cannot be read.
        """
        answer = self._ask(lambda: self._client.read_discrete_inputs(first, count=count, device_id=self._unit))
        if len(answer.bits) < count:
            raise BoardError(f"{self.name} answers with too few inputs")
        return list(answer.bits[:count])

    def close(self) -> None:
        """Leave the board for good, after the question that is under way; one that comes later is not asked."""
        with self._one_thread:
            self._closed = True
            self._leave()

    def _ask(self, question: Callable[[], _Pdu]) -> _Pdu:
        """Ask, and ask once more when a question or its answer was lost on the bus."""
        with self._one_thread:
            if self._closed:
                raise BoardError(f"{self.name} was left")
            with contextlib.suppress(BoardError):
                return self._ask_once(question)
            return self._ask_once(question)

    def _ask_once(self, question: Callable[[], _Pdu]) -> _Pdu:
        try:
            self._connect()
            with self._turn():
                answer = question()
        except (ModbusException, OSError) as error:
            self._leave()
            if isinstance(error, BoardError):
                raise
            raise BoardError(f"{self.name} does not answer") from error
        if answer.isError():
            raise BoardError(f"{self.name} refuses (exception {getattr(answer, 'exception_code', 0)})")
        return answer

    def _connect(self) -> None:
        if self._client.connected:
            return
        # The library locks a serial port while it opens it: the other process may have its turn just now.
        until_s = time.monotonic() + (TURN_DEADLINE_S if self._serial else 0)
        while not self._client.connect():
            if time.monotonic() >= until_s:
                raise BoardError(f"{self.name} cannot be reached")
            time.sleep(_TURN_POLL_S)
        if self._serial:
            fcntl.flock(self._descriptor(), fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Have the serial port for one question and its answer."""
        if not self._serial:
            yield
            return
        descriptor = self._descriptor()
        until_s = time.monotonic() + TURN_DEADLINE_S
        while not _locked(descriptor) and time.monotonic() < until_s:
            time.sleep(_TURN_POLL_S)
        try:
            yield
        finally:
            if self._client.connected:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _descriptor(self) -> int:
        opened = self._client.socket
        if opened is None:
            raise BoardError(f"{self.name} is gone")
        return int(opened.fileno())

    def _leave(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]  # the library has no types there


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _client(place: str, baud: int) -> ModbusSerialClient | ModbusTcpClient:
    if baud:
        return ModbusSerialClient(place, framer=FramerType.RTU, baudrate=baud, timeout=ANSWER_DEADLINE_S, retries=0)
    host, _, port = place.rpartition(":")
    return ModbusTcpClient(host.strip("[]"), port=int(port), timeout=ANSWER_DEADLINE_S, retries=0)
