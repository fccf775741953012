"""The camera's worker process, started as `python -m firmware_adapters.camera_worker DESCRIPTOR`.

It lives apart from the daemon so that a hung or crashing image library costs a frame, not a door.
Invariant: its socket carries records and nothing else, and it ends when the daemon has.
"""

import contextlib
import signal
import sys
from pathlib import Path

from firmware_adapters.camera_records import ORDERS, Settings
from firmware_adapters.worker_parent import Parent, ParentGoneError
from firmware_adapters.worker_records import SourceError, not_installed


def main(descriptor: int) -> None:
    """Watch what the settings from the socket name and tell it there, until the daemon is gone."""
    parent = Parent(descriptor, tell_deadline_s=None)

    def asked() -> Path | None:
        orders = parent.orders(ORDERS, wait_s=0)
        return Path(orders[-1].prefix) if orders else None

    with contextlib.suppress(ParentGoneError):
        settings = parent.settings(Settings)
        try:
            from firmware_adapters.camera_loop import watch  # noqa: PLC0415 - a missing library is told as a record

            watch(settings, parent.tell, asked)
        except ImportError as error:
            parent.tell(not_installed("the camera", error, extra="camera"))
        except SourceError as error:
            parent.tell(error.fault)


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal group; the daemon ends this process itself, in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]))
