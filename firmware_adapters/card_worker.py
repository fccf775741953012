"""A card reader's worker process, started as `python -m firmware_adapters.card_worker DESCRIPTOR`.

It lives apart from the daemon so that a hung or crashing driver costs a tap, not a door.
Invariant: its socket carries records and nothing else, and it ends when the daemon has.
"""

import contextlib
import signal
import sys

from firmware_adapters.card_loop import Loop, Terminal
from firmware_adapters.card_records import ORDERS, Settings
from firmware_adapters.worker_parent import Parent, ParentGoneError
from firmware_adapters.worker_records import SourceError, not_installed


def main(descriptor: int) -> None:
    """Serve the reader that the settings from the socket name, until the daemon is gone."""
    parent = Parent(descriptor, tell_deadline_s=None)
    with contextlib.suppress(ParentGoneError):
        settings = parent.settings(Settings)
        try:
            terminal = _open(settings)
            try:
                Loop(terminal, lambda wait_s: parent.orders(ORDERS, wait_s=wait_s), parent.tell).run()
            except SourceError as error:
                parent.tell(error.fault)  # before the closing, in which a driver that failed may fail again
            finally:
                terminal.close()
        except ImportError as error:
            parent.tell(not_installed(settings.stack, error, extra=settings.stack))
        except SourceError as error:
            parent.tell(error.fault)


def _open(settings: Settings) -> Terminal:
    """Open the reader with its stack; a missing library is told as a record."""
    if settings.stack == "pcsc":
        from firmware_adapters.pcsc_terminal import PcscTerminal  # noqa: PLC0415 - only this stack's library

        return PcscTerminal(settings.device, signals=settings.signals)
    from firmware_adapters.nfc_terminal import NfcTerminal  # noqa: PLC0415 - only this stack's library

    return NfcTerminal(settings.device)


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal group; the daemon ends this process itself, in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]))
