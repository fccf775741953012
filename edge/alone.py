"""One process at a time works in a door's state folder.

Invariant: the kernel lets go of the folder whatever way the process ends.
Must not: wait; whoever comes second is told who has it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.store import StoreError, StoreReason


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process.

    Raises:
        StoreError: BUSY, another daemon has it: two writers would break the journal's chain.
        OSError: the folder cannot be used.
    """
    # No link is followed: the folder is the daemon's own, and root, who comes here too, may write everywhere.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(folder / "daemon.lock", flags, 0o600), "w") as file:
        if os.geteuid() == 0:
            # The daemon could not open a file of root's, and would not start any more.
            owner = folder.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            sentence = f"another daemon runs in {folder}; stop it first (systemctl stop doorward-edge)"
            raise StoreError(StoreReason.BUSY, sentence) from error
        yield
