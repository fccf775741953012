"""The camera's worker process, started as `python -m firmware_adapters.camera_worker SETTINGS`.

It lives apart from the daemon so that a hung or crashing image library costs a frame, not a door.
Invariant: its file descriptor for records carries nothing else, and it ends when nobody reads them.
"""

import os
import signal
import sys

from firmware_adapters.camera_records import Record, decode_settings, encode_record
from firmware_adapters.driver_faults import Fault, FaultKind, SourceError


def main(argument: str) -> None:
    """Watch what the settings in `argument` name and tell it on their file descriptor, until that is closed."""
    settings = decode_settings(argument)

    def tell(record: Record) -> None:
        rest = encode_record(record)
        while rest:
            rest = rest[os.write(settings.records_fd, rest) :]

    try:
        try:
            from firmware_adapters.camera_loop import watch  # noqa: PLC0415 - a missing library is told as a record

            watch(settings, tell)
        except ImportError as error:
            tell(
                Fault(
                    FaultKind.UNSUPPORTED,
                    f"the camera needs the Python package {error.name}, which does not load ({error.msg})",
                    "install it with: pip install 'doorward[camera]'",
                ),
            )
        except SourceError as error:
            tell(error.fault)
    except BrokenPipeError:
        return


if __name__ == "__main__":
    # Ctrl-C reaches the whole terminal group; the daemon ends this process itself, in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1])
