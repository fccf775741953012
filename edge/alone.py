"""One process at a time works in a door's state folder.

Invariant: the kernel lets go of the folder whatever way the process ends.
Must not: wait; whoever comes second is told who has it.
"""

import fcntl
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
    with (folder / "daemon.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            sentence = f"another daemon runs in {folder}; stop it first (systemctl stop doorward-edge)"
            raise StoreError(StoreReason.BUSY, sentence) from error
        yield
