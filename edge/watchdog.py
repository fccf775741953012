"""Telling systemd that the daemon is ready, and alive only when it is (sd_notify(3)).

Invariant: the watchdog is fed only after a self-check has passed.
"""

import os
import socket
from typing import Final

_ABSTRACT: Final = "@"


def notify(message: str, *, address: str | None = None) -> bool:
    """Send one message to the service manager; tells whether there is one.

    Args:
        message: as of sd_notify(3), for example "READY=1".
        address: the socket's address; by default what NOTIFY_SOCKET says.

    Raises:
        OSError: the service manager's socket refuses.
    """
    address = os.environ.get("NOTIFY_SOCKET") if address is None else address
    if not address:
        return False
    if address.startswith(_ABSTRACT):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
        client.connect(address)
        client.sendall(message.encode())
    return True


def interval_s(environment: dict[str, str]) -> float | None:
    """Give how often to feed the watchdog: a third of systemd's limit; None when it does not watch."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 3_000_000 if microseconds.isdecimal() and int(microseconds) else None
