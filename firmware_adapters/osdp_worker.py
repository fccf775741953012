"""The OSDP worker process, started as `python -m firmware_adapters.osdp_worker DESCRIPTOR`.

It is the control panel of one RS-485 line, apart from the daemon: a library in C parses there what comes from outside
the door, where nobody's pass and no key but the line's own can be read.

Invariants: the library's callbacks only queue, because it holds a lock while it calls them; no reader is talked to
outside of a secure channel. Must not: log, for a card's number or a PIN would be in it.
"""

import contextlib
import signal
import sys
import time
from collections import deque
from typing import Any

from firmware_adapters.osdp_records import (
    ORDERS,
    Beat,
    Card,
    Keys,
    KeySet,
    Local,
    Lost,
    Ready,
    Secure,
    Settings,
    Show,
    Why,
)
from firmware_adapters.worker_parent import BEAT_S, Parent, ParentGoneError
from firmware_adapters.worker_records import not_installed

# How long one turn may wait for orders; the library polls each reader every 50 ms.
TURN_S = 0.005
# A reader answers every poll within 200 ms, and the library asks again a second after an answer was lost; one that is
# silent then too, and once more, is being restarted or gone.
SILENT_S = 2.5
# The library calls a silent reader once a second, but after any error it would leave it alone for 300 s. Left out and
# taken in again it is called at once; the library needs a moment between the two.
LEFT_OUT_S = 0.1
# One that refuses again and again is not called without pause: each call costs the others on the line half a second.
REFUSED_LEFT_OUT_S = 1.0
# A reader that restarts refuses what was said to the reader it was; one with another key refuses again.
SURELY_REFUSED = 2
# How long a reader may take before its absence is told, and before it is told that its answers are of no use.
FIRST_ANSWER_S = 2.0
USEFUL_ANSWER_S = 5.0
# Beyond this nothing waits to be told: a reader that babbles fills no memory.
MOST_EVENTS = 256


class _Reader:
    """One reader of the line, and what is known of it."""

    def __init__(self, address: int, index: int, *, at_s: float) -> None:
        self.address = address
        self.index = index
        self.secure = False
        self.refusals = 0
        self.just_left = False
        self.given_up = False
        self.left_out = False
        self.called_s = at_s
        self.away_s = at_s
        self.told: Why | None = None


class Line:
    """The readers of one line, called, heard and revived."""

    def __init__(self, settings: Settings, parent: Parent) -> None:
        """Open the port and begin to call.

        Raises:
            ImportError: a library is missing.
            OSError: the port cannot be opened.
        """
        import osdp  # noqa: PLC0415 - a missing library is told as a record

        from firmware_adapters.osdp_port import Port  # noqa: PLC0415 - the same

        self._parent = parent
        self._osdp = osdp
        self._settings = settings
        self.port = Port(settings.path, settings.baud, settings.addresses)
        flag = osdp.LibFlag.InstallMode if settings.install else osdp.LibFlag.EnforceSecure
        infos = [
            osdp.PDInfo(address, self.port, scbk=key, flags=[flag, osdp.LibFlag.EnableNotification])
            for address, key in zip(settings.addresses, settings.keys, strict=True)
        ]
        self._events: deque[tuple[int, dict[str, Any]]] = deque(maxlen=MOST_EVENTS)
        self._panel = osdp.ControlPanel(infos, log_level=osdp.LogLevel.Emergency)
        # Past the wrapper's own queues, which nobody would empty.
        self._panel.ctx.set_event_callback(self._note)
        now_s = time.monotonic()
        self._readers = [_Reader(address, index, at_s=now_s) for index, address in enumerate(settings.addresses)]

    def _note(self, index: int, event: dict[str, Any]) -> int:
        self._events.append((index, event))
        return 0

    def turn(self) -> None:
        """Let the library work once, and tell and do what follows."""
        self._panel.ctx.refresh()
        while self._events:
            index, event = self._events.popleft()
            self._tell(self._readers[index], event)
        secure = self._panel.ctx.sc_status() & self._panel.ctx.status()
        for reader in self._readers:
            self._attend(reader, secure=bool(secure & (1 << reader.index)), at_s=time.monotonic())

    def obey(self, order: Show) -> None:
        """Send a reader one command; nothing when it is away."""
        for reader in self._readers:
            if reader.address == order.address and reader.secure:
                self._panel.ctx.submit_command(reader.index, dict(order.command))

    # --- what the library tells ----------------------------------------------------------------------------

    def _tell(self, reader: _Reader, event: dict[str, Any]) -> None:
        kinds = self._osdp.Event
        if event["event"] == kinds.Notification:
            self._note_channel(reader, event)
        elif not reader.secure:
            return  # nothing counts that was not said in the secure channel
        elif event["event"] == kinds.CardRead:
            bits = event.get("length", 8 * len(event["data"]))
            self._parent.tell(Card(reader.address, bits, event["data"]))
        elif event["event"] == kinds.KeyPress:
            self._parent.tell(Keys(reader.address, event["data"]))
        elif event["event"] == kinds.Status and event["type"] == self._osdp.StatusReportType.Local:
            tamper, power = bytes(event["report"][:2]).ljust(2, b"\0")
            self._parent.tell(Local(reader.address, tamper != 0, power != 0))

    def _note_channel(self, reader: _Reader, event: dict[str, Any]) -> None:
        """Learn from the notifications that no secure channel came of an answer, and that the library has given up."""
        if reader.left_out or event["arg0"] != 0:
            return
        if event["type"] == self._osdp.EventNotification.SecureChannelStatus:
            answered = self.port.ear.last_s(reader.address) >= reader.called_s
            reader.refusals += answered and not reader.secure
        elif event["type"] == self._osdp.EventNotification.PeripheralDeviceStatus:
            reader.given_up = True

    # --- who is there --------------------------------------------------------------------------------------

    def _attend(self, reader: _Reader, *, secure: bool, at_s: float) -> None:
        ear = self.port.ear
        silent = ear.silent_s(reader.address, at_s=at_s) >= SILENT_S or ear.last_s(reader.address) < reader.called_s
        if silent or ear.twice(reader.address):
            # The library believes in a reader for another eight seconds, and in one that it leaves out as well.
            secure = False
        if secure and not reader.secure:
            self._welcome(reader)
        elif reader.secure and not secure:
            reader.secure, reader.away_s, reader.just_left = False, at_s, True
            self._tell_lost(reader)
            reader.just_left = False
        elif not reader.secure:
            self._revive(reader, at_s)

    def _welcome(self, reader: _Reader) -> None:
        reader.secure, reader.refusals, reader.told = True, 0, None
        self._parent.tell(Secure(reader.address))
        if self._settings.install:
            self._parent.tell(KeySet(reader.address))
        # Readers tell of their case and supply when these change; ask how they stand now.
        status = self._osdp.StatusReportType.Local
        query = {"command": self._osdp.Command.Status, "type": status, "report": b""}
        self._panel.ctx.submit_command(reader.index, query)

    def _revive(self, reader: _Reader, at_s: float) -> None:
        """Tell that a reader is away once that is sure, and let the library call it again when it has given up."""
        why = self._why(reader)
        if at_s - reader.away_s >= (USEFUL_ANSWER_S if why is Why.GARBLED else FIRST_ANSWER_S):
            self._tell_lost(reader)
        if reader.left_out:
            pause_s = LEFT_OUT_S if reader.refusals < SURELY_REFUSED else REFUSED_LEFT_OUT_S
            if at_s - reader.called_s >= pause_s:
                self._panel.ctx.enable_pd(reader.index)
                reader.left_out, reader.called_s = False, at_s
        elif reader.given_up:
            self._panel.ctx.flush_commands(reader.index)
            self._panel.ctx.disable_pd(reader.index)
            reader.left_out, reader.given_up, reader.called_s = True, False, at_s

    def _tell_lost(self, reader: _Reader) -> None:
        why = self._why(reader)
        if why is not reader.told and reader.told not in {Why.WRONG_KEY, Why.TWICE}:
            reader.told = why
            self._parent.tell(Lost(reader.address, why))

    def _why(self, reader: _Reader) -> Why:
        if self.port.ear.twice(reader.address):
            return Why.TWICE
        if reader.just_left:
            return Why.RESTARTED if self._heard_lately(reader) else Why.SILENT
        if reader.refusals >= SURELY_REFUSED:
            return Why.WRONG_KEY
        return Why.GARBLED if self._heard_lately(reader) else Why.SILENT

    def _heard_lately(self, reader: _Reader) -> bool:
        return time.monotonic() - self.port.ear.last_s(reader.address) < SILENT_S


def serve(settings: Settings, parent: Parent) -> None:
    """Work the line until the port is gone.

    Raises:
        ParentGoneError: the daemon is.
        ImportError, OSError: as `Line`.
    """
    line = Line(settings, parent)
    parent.tell(Ready())
    beat_s = time.monotonic()
    while True:
        for order in parent.orders(ORDERS, wait_s=TURN_S):
            line.obey(order)
        line.turn()
        if line.port.fault is not None:
            parent.tell(line.port.fault)
            return
        if time.monotonic() - beat_s >= BEAT_S:
            beat_s = time.monotonic()
            parent.tell(Beat())


def main(descriptor: int) -> None:
    """Take the settings from the socket and work the line they name."""
    parent = Parent(descriptor)
    with contextlib.suppress(ParentGoneError):
        settings = parent.settings(Settings)
        try:
            serve(settings, parent)
        except ImportError as error:
            parent.tell(not_installed("OSDP", error, extra="osdp"))
        except OSError as error:
            from firmware_adapters.osdp_port import port_fault  # noqa: PLC0415 - after the check for its library

            parent.tell(port_fault(settings.path, error))


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal group; the daemon ends this process itself, in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]))
