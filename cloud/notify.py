"""Tell systemd how far we are (sd_notify(3)).

Invariant: silent when nobody listens.
Must not: fail the service because of it.
"""

import socket

import structlog

_LOG = structlog.get_logger(__name__)


def notify(message: str, *, address: str | None) -> None:
    """Send one state, such as READY=1.

    Args:
        message: `NAME=VALUE` lines.
        address: the value of NOTIFY_SOCKET; None or empty when not started by systemd.
    """
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1.0)
            sender.sendto(message.encode(), target)
    except OSError as error:
        _LOG.warning("systemd_not_notified", error=str(error))
