"""A real pcscd with vsmartcard's virtual reader, and virtual cards that are held to it.

pcscd runs in a mount namespace of its own with a `/run` of its own, so that it needs no rights and meets no other.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
from pathlib import Path
from typing import Final, Protocol

from edge.ports import Home
from firmware_adapters.card_reader import CardReader
from firmware_adapters.catalogue import open_reader
from tests.support.ports import take_port
from tests.support.virtual_cards import Phone, VirtualCard
from tests.support.waiting import DEADLINE_S

DRIVER: Final = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
READER: Final = "Virtual%20PCD%2000%2000"
SOCKET_VARIABLE: Final = "PCSCLITE_CSOCK_NAME"
_ATR: Final = bytes.fromhex("3b80800101")
_STORAGE_ATR: Final = bytes.fromhex("3b8f8001804f0ca0000003060300010000000068")
_ATR_ASKED: Final = b"\x04"
_RESETS: Final = (b"\x00", b"\x01", b"\x02")
_RETRY_S: Final = 0.02


def home_in(state_folder: Path) -> Home:
    """Make the door that a card reader under test works for."""
    return Home(state_folder=state_folder, tenant="oakfield", site="campus", door="main-entrance")


def take_ports() -> tuple[socket.socket, socket.socket]:
    """Take a port together with the next: the virtual reader has two slots."""
    while True:
        first = take_port()
        try:
            return first, take_port(first.getsockname()[1] + 1)
        except (OSError, OverflowError):
            first.close()


class Pcscd:
    """A pcscd that a test may end and start again."""

    def __init__(self, folder: Path) -> None:
        self._taken = take_ports()
        self.port: int = self._taken[0].getsockname()[1]
        self._run = folder / "run"
        self._configuration = folder / "reader.conf.d"
        (self._run / "pcscd").mkdir(parents=True)
        self._configuration.mkdir()
        (self._configuration / "vpcd").write_text(
            f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:{self.port:#x}\nLIBPATH {DRIVER}\n'
            f"CHANNELID {self.port:#x}\n"
        )
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()

    @property
    def socket(self) -> Path:
        """Where libpcsclite finds it."""
        return self._run / "pcscd" / "pcscd.comm"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and go on once it serves."""
        self._ready.clear()
        inside = 'mount --bind "$1" /run && exec /usr/sbin/pcscd --foreground --info --config "$2"'
        self._process = subprocess.Popen(
            [
                *("/usr/bin/unshare", "--user", "--map-root-user", "--mount"),
                *("/bin/sh", "-c", inside, "sh", str(self._run), str(self._configuration)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._hear, args=(self._process,), daemon=True).start()
        assert self._ready.wait(DEADLINE_S), "pcscd does not start"

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if "daemon ready" in line:
                    self._ready.set()

    def end(self) -> None:
        """End it; a second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE_S)
            self.socket.unlink(missing_ok=True)
            (self._run / "pcscd" / "pcscd.pid").unlink(missing_ok=True)

    def dispose(self) -> None:
        """End it for good."""
        self.end()
        for each in self._taken:
            each.close()


class PcscField:
    """Holds cards to the virtual reader, one after another, as a person would."""

    def __init__(self, port: int) -> None:
        self.signals: queue.Queue[bytes] = queue.Queue(64)
        self._port = port
        self._waiting: queue.Queue[tuple[VirtualCard, bool] | None] = queue.Queue(64)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hold(self, card: VirtualCard, *, until_served: bool = False) -> None:
        """Hold a card until `take_away`, or until it has served (a `Phone`)."""
        self._waiting.put((card, until_served))

    def take_away(self) -> None:
        """Take away the card that is held."""
        with self._lock:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take everything away."""
        self._closing.set()
        self._waiting.put(None)
        self.take_away()
        self._thread.join(DEADLINE_S)

    def _run(self) -> None:
        while (held := self._waiting.get()) is not None and not self._closing.is_set():
            card, until_served = held
            connection = self._connected()
            if connection is None:
                return
            with connection:
                card.reset()
                self._serve(connection, card, until_served=until_served)
            with self._lock:
                self._socket = None

    def _connected(self) -> socket.socket | None:
        """Wait until the virtual reader takes a card."""
        while not self._closing.is_set():
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S)
            except OSError:
                self._closing.wait(_RETRY_S)
                continue
            connection.settimeout(None)
            with self._lock:
                self._socket = connection
            return connection
        return None

    def _serve(self, connection: socket.socket, card: VirtualCard, *, until_served: bool) -> None:
        served = card.served if isinstance(card, Phone) else 0
        while (asked := _received(connection)) is not None:
            if asked == _ATR_ASKED:
                _send(connection, _ATR if card.speaks else _STORAGE_ATR)
            elif asked in _RESETS:
                card.reset()
            else:
                _send(connection, self._answer(card, asked))
                if until_served and isinstance(card, Phone) and card.served > served:
                    return

    def _answer(self, card: VirtualCard, apdu: bytes) -> bytes:
        """Answer as reader and card together do: FF is the class of commands to the reader."""
        if apdu[:2] == b"\xff\xca":
            return card.number + b"\x90\x00" if card.number else b"\x6a\x81"
        if apdu[:3] == b"\xff\x00\x40":
            self.signals.put(apdu)
            return b"\x90\x00"
        return card.answer(apdu)


def _received(connection: socket.socket) -> bytes | None:
    head = _exactly(connection, 2)
    return None if head is None else _exactly(connection, int.from_bytes(head, "big"))


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            # Without it each APDU waits 40 ms for the acknowledgement that the kernel delays.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            piece = connection.recv(size - len(data))
        except OSError:
            return None
        if not piece:
            return None
        data += piece
    return data


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(len(data).to_bytes(2, "big") + data)
    except OSError:
        return  # the next read finds the end


class Field(Protocol):
    """Where cards are held to a reader."""

    def hold(self, card: VirtualCard, *, until_served: bool = False) -> None:
        """Hold a card until `take_away`, or until it has served (a `Phone`)."""
        ...

    def take_away(self) -> None:
        """Take away the card that is held."""
        ...


class CardBench(Protocol):
    """A card reader with a field before it."""

    reader: CardReader
    state_folder: Path
    address: str

    @property
    def field(self) -> Field: ...

    def dispose(self) -> None:
        """Free the peer."""
        ...


class PcscBench:
    """A card reader behind a real pcscd; payloads are what a phone answers."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.pcscd = Pcscd(folder)
        self.pcscd.start()
        self.field = PcscField(self.pcscd.port)
        self._before = os.environ.get(SOCKET_VARIABLE)
        os.environ[SOCKET_VARIABLE] = str(self.pcscd.socket)
        self.state_folder = folder / "state"
        self.state_folder.mkdir(mode=0o700)
        self.address = f"pcsc:{READER}{options}"
        reader = open_reader(self.address, "reader-1", home_in(self.state_folder))
        assert isinstance(reader, CardReader)
        self.reader = reader

    def present(self, payload: bytes) -> None:
        self.field.hold(Phone(lambda _nonce, _door: payload), until_served=True)

    def read_as(self, payload: bytes) -> bytes:
        """Return what the reader delivers when `payload` is presented."""
        return payload

    def lose(self) -> None:
        self.pcscd.end()

    def restore(self) -> None:
        self.pcscd.start()

    def dispose(self) -> None:
        self.field.close()
        self.pcscd.dispose()
        if self._before is None:
            os.environ.pop(SOCKET_VARIABLE, None)
        else:
            os.environ[SOCKET_VARIABLE] = self._before
