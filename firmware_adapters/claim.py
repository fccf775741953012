"""Names that the kernel gives to one process of this machine at a time; free when that process ends, however it ends.

Light: the worker processes use it too.
"""

import contextlib
import socket
import struct

_CREDENTIALS = struct.Struct("iii")


class ClaimedError(Exception):
    """Another process has the name.

    Args:
        pid: its id, 0 when that is not known.
    """

    def __init__(self, pid: int) -> None:
        """Keep the id."""
        super().__init__(f"claimed by process {pid}")
        self.pid = pid


def claim(name: str) -> socket.socket:
    """Take a name (at most 90 bytes count) until the socket that is returned is closed.

    Raises:
        ClaimedError: another process, or another part of this one, has it.
    """
    address = "\0doorward/" + name[-90:]
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claimed.bind(address)
        claimed.listen(1)
    except OSError as error:
        claimed.close()
        raise ClaimedError(_holder(address)) from error
    return claimed


def _holder(address: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, contextlib.suppress(OSError):
        asking.settimeout(0.1)
        asking.connect(address)
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(credentials)[0])
    return 0
