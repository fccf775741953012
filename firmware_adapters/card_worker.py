"""A card reader's worker process, started as `python -m firmware_adapters.card_worker SETTINGS`.

It lives apart from the daemon so that a hung or crashing driver costs a tap, not a door.
Invariant: its file descriptor for records carries nothing else, and it ends when nobody gives orders or reads records.
"""

import contextlib
import os
import signal
import sys

from firmware_adapters.card_loop import Loop, Orders, OrdersEndedError, Terminal
from firmware_adapters.card_records import Record, Settings, decode_settings, encode_line
from firmware_adapters.driver_faults import Fault, FaultKind, SourceError

_EXTRAS = {"pcsc": "pcsc", "nfc": "nfc"}


def main(argument: str) -> None:
    """Serve the reader that the settings in `argument` name, until its orders end."""
    settings = decode_settings(argument)

    def tell(record: Record) -> None:
        rest = encode_line(record)
        while rest:
            rest = rest[os.write(settings.records_fd, rest) :]

    with contextlib.suppress(BrokenPipeError, OrdersEndedError):
        try:
            terminal = _open(settings)
            try:
                Loop(terminal, Orders(settings.orders_fd), tell).run()
            except SourceError as error:
                tell(error.fault)  # before the closing, in which a driver that failed may fail again
            finally:
                terminal.close()
        except ImportError as error:
            tell(_not_installed(settings.stack, error))
        except SourceError as error:
            tell(error.fault)


def _not_installed(stack: str, error: ImportError) -> Fault:
    return Fault(
        FaultKind.UNSUPPORTED,
        f"{stack}: needs the Python package {error.name}, which does not load ({error.msg})",
        f"install it with: pip install 'doorward[{_EXTRAS[stack]}]'",
    )


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
    main(sys.argv[1])
