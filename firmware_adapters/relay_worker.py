"""The process that holds a relay, started as `python -m firmware_adapters.relay_worker DESCRIPTOR`.

It lives apart from the daemon so that a daemon which is killed, stopped or hung cannot hold a door open: the deadline
is kept here. It loads as little as it can, and there is no call in it that waits for anything but the daemon or the
time.

Invariants: the relay is energised only until the last order's deadline, by the monotonic clock; without a daemon no
order comes, so it is secured at that deadline at the latest and the process ends. A terminated process secures first.
"""

import signal
import sys
import time

from firmware_adapters.relay_records import ORDERS, Done, Energise, Order, Settings, Undone
from firmware_adapters.relay_wires import Wire, WireError, take_wire
from firmware_adapters.worker_parent import Parent, ParentGoneError
from firmware_adapters.worker_records import Fault, FaultKind, decode, not_installed

# A signal is only noted, as what it interrupts may hold a lock: it is looked at this often, and when the daemon ends.
IDLE_S = 0.5
# After the daemon is gone only a deadline or a successor is waited for.
ORPHAN_TURN_S = 0.02
# Between attempts to secure a relay that does not answer.
RETRY_S = 0.5
# A process that was told to end asks a silent relay for so long; shorter than `worker_lock.END_DEADLINE_S`.
LAST_S = 2.0


class Relay:
    """A wire with a deadline."""

    def __init__(self, wire: Wire, settings: Settings) -> None:
        """Hold a wire that is secure."""
        self._wire = wire
        self._unlocked = settings.unlocked
        self._until_s: float | None = None
        self.given_up = False

    def obey(self, order: Order) -> None:
        """Do what is ordered; OSError when the hardware is gone."""
        if isinstance(order, Energise):
            self._until_s = time.monotonic() + order.hold_ms / 1000
            self._wire.set(self._unlocked)
        else:
            self.secure()

    def answer(self, order: Order) -> Done | Undone:
        """Do what is ordered and say whether it is done; OSError when the wire does not come back by itself."""
        try:
            self.obey(order)
        except OSError as error:
            if not self._wire.comes_back:
                raise
            # Nobody knows how the relay stands now: it is secured as soon as it answers.
            self._until_s = time.monotonic()
            return Undone(order.number, str(error))
        return Done(order.number)

    def secure(self) -> None:
        """Drive the wire to secure."""
        self._wire.set(1 - self._unlocked)
        self._until_s = None

    def end(self, *_: object) -> None:
        """Note that a signal asks to give the relay up."""
        self.given_up = True

    def left_s(self) -> float | None:
        """Return how long the relay is still energised, None when it is secure."""
        return None if self._until_s is None else max(0.0, self._until_s - time.monotonic())

    def tick(self) -> None:
        """Secure when the deadline has come; again and again when the wire does not answer and may come back."""
        if self.left_s() == 0:
            try:
                self.secure()
            except OSError:
                if not self._wire.comes_back:
                    raise
                self._until_s = time.monotonic() + RETRY_S

    def secure_at_last(self) -> None:
        """Secure before the end, asking again for `LAST_S` while the wire does not answer and may come back."""
        give_up_s = time.monotonic() + LAST_S
        self._until_s = time.monotonic()
        while (left_s := self.left_s()) is not None and time.monotonic() < give_up_s:
            time.sleep(left_s)
            self.tick()


def serve(relay: Relay, parent: Parent) -> None:
    """Obey the daemon; without one, wait for the deadline."""
    while not parent.gone and not relay.given_up:
        left_s = relay.left_s()
        lines = parent.lines(wait_s=IDLE_S if left_s is None else min(left_s, IDLE_S))
        relay.tick()
        for line in lines:
            order = decode(line, ORDERS)
            parent.tell(relay.answer(order))
    # Whoever wants to be the successor may ask for the relay now.
    signal.signal(signal.SIGHUP, relay.end)
    while relay.left_s() is not None and not relay.given_up:
        time.sleep(min(ORPHAN_TURN_S, relay.left_s() or 0))
        relay.tick()


def main(descriptor: int) -> None:
    """Take the settings from the socket and hold the relay they name."""
    parent = Parent(descriptor)
    try:
        settings = parent.settings(Settings)
    except ParentGoneError:
        return
    try:
        relay = Relay(take_wire(settings, 1 - settings.unlocked), settings)
    except WireError as error:
        parent.tell(error.fault)
        return
    except ImportError as error:
        parent.tell(not_installed("this lock", error, extra="modbus" if settings.kind == "modbus" else "gpio"))
        return
    try:
        signal.signal(signal.SIGTERM, relay.end)
        parent.tell(Done(0))
        serve(relay, parent)
    except ValueError:
        pass
    except OSError as error:
        what = f"line {settings.line} of {settings.chip} cannot be driven ({error.strerror})"
        parent.tell(Fault(FaultKind.FAULT, what, "check the wires and the chip; it is taken again by itself"))
        return
    relay.secure_at_last()


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal group; the daemon secures the door itself, in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    main(int(sys.argv[1]))
