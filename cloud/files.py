"""Write small state files so that a crash leaves the old or the new content, never half of it.

Invariant: a secret is never readable by others, not even for an instant.
Must not: be used for data that belongs in the database.
"""

import errno
import os
from pathlib import Path
from typing import Final

from cloud.errors import CloudError, Reason

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
PUBLIC_FILE: Final = 0o644
_OTHERS: Final = 0o077


def make_folder(path: Path, *, mode: int = PRIVATE_FOLDER) -> None:
    """Make a folder (and its parents) with exactly this mode, when it is not there.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode, exist_ok=True)
    except OSError as error:
        what = f"Cannot make the folder {path}: {error.strerror}."
        remedy = "Choose another folder, or have it made for this user."
        raise CloudError(Reason.STATE_UNUSABLE, what, remedy=remedy) from error


def write_file(path: Path, content: bytes, *, mode: int = PRIVATE_FILE, owner: tuple[int, int] | None = None) -> None:
    """Replace a file atomically and durably.

    Args:
        path: the file; its folder exists.
        content: all of it.
        mode: permissions from the first instant on.
        owner: (uid, gid) to give it to; None keeps this process's.

    Raises:
        CloudError: NO_SPACE or STATE_UNUSABLE.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = " Free some space on that disk." if full else ""
        reason = Reason.NO_SPACE if full else Reason.STATE_UNUSABLE
        raise CloudError(reason, f"Cannot write {path}: {error.strerror}.{remedy}") from error


def read_secret(path: Path) -> bytes | None:
    """Read a private file; None when there is none.

    Raises:
        CloudError: STATE_UNUSABLE when it cannot be read or others may read it.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                what = f"{path} holds a secret but others may read it."
                raise CloudError(Reason.STATE_UNUSABLE, what, remedy=f"Run: chmod 600 {path}")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CloudError(Reason.STATE_UNUSABLE, f"Cannot read {path}: {error.strerror}.") from error


def _sync_folder(path: Path) -> None:
    """Make a rename durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
