"""Keys of devices on the wire: one file a key, which nobody but the daemon's user can read.

The file has the key in hexadecimal and nothing else. It is named in a device address; the key never is.
Unlike a secret of `sealed_store.py`, it lies where a person says, as text that a person may bring from elsewhere.
Invariant: a file that others may read is refused, and a key is never half written.
"""

import contextlib
import os
import stat
from pathlib import Path

KEY_BYTES = 16
MODE = 0o600
# Hexadecimal, a line end, and room for a careless blank.
_MOST_BYTES = 4 * KEY_BYTES


class KeyFileError(Exception):
    """A key file cannot be used.

    Args:
        what: one clause that names the file and what is wrong.
        remedy: what to do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        """Keep both beside the text "what; remedy"."""
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


def read_key(path: Path) -> bytes:
    """Return the `KEY_BYTES` bytes of a key file.

    Raises:
        KeyFileError: it is not there, not a file of this user with mode 0600, or holds no key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(
            f"the key file {path} cannot be opened ({error.strerror})", "set the key with: doorward edge osdp-key"
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o177:
            raise KeyFileError(
                f"the key file {path} is not this user's alone", f"run: chown {os.geteuid()} {path}; chmod 600 {path}"
            )
        text = os.read(descriptor, _MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text.decode("ascii"))
        if len(key) == KEY_BYTES and any(key):
            return key
    raise KeyFileError(
        f"the key file {path} holds no key of {KEY_BYTES} bytes", "set the key with: doorward edge osdp-key"
    )


def write_key(path: Path, key: bytes) -> None:
    """Put a key into a file of mode 0600 and onto the disk; whole or not at all, in place of what is there.

    Raises:
        OSError: the folder is not there or takes no file.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, MODE)
        file.write(key.hex().encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
