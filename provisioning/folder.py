"""The door's folder: files that appear whole or not at all, and a key that nobody else can read at any instant.

Invariant: a file is written beside its place, synced, and renamed; its mode is right before it has content.
Must not: leave files of another owner than the folder's: the daemon runs as that user.
"""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from provisioning.errors import ProvisioningError, Reason

SECRET_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
FOLDER_MODE: Final = 0o700
_KNOCK_S: Final = 2.0


def prepare_folder(folder: Path) -> None:
    """Make the folder, readable by its owner only, and see that it can be written.

    Raises:
        ProvisioningError: FOLDER_UNUSABLE.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        write_file(folder / ".writable", b"", mode=SECRET_MODE)
        (folder / ".writable").unlink()
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(path: Path, error: OSError) -> ProvisioningError:
    """Say what is wrong with a file or folder and what to do."""
    if error.errno == errno.ENOSPC:
        remedy = "free some space there and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "run the command with sudo, or give --folder a folder that you may write"
    else:
        remedy = "give --folder another folder, or repair this one, and run the command again"
    return ProvisioningError(
        Reason.FOLDER_UNUSABLE, what=f"{path} cannot be used ({error.strerror or type(error).__name__})", remedy=remedy
    )


def write_file(path: Path, data: bytes, *, mode: int = PUBLIC_MODE) -> None:
    """Write a file whole: it has its old content or the new one, also after a power cut.

    Raises:
        OSError: it could not be written; the old content is still there.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            _give_to_owner(file.fileno(), path.parent)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """Under sudo, a file belongs to the folder's owner, as whom the daemon runs."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> bytes | None:
    """Read a file that only its owner may read; None when there is none.

    Raises:
        ProvisioningError: KEY_UNUSABLE when others may read it, FOLDER_UNUSABLE when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(64 * 1024)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from error
    if mode & 0o077:
        raise ProvisioningError(
            Reason.KEY_UNUSABLE,
            what=f"others may read the device key {path}, so that it is no secret any more",
            remedy=f"remove it (rm {path}) and run the command again with a new claim code",
        )
    return data


def names_in(folder: Path) -> frozenset[str]:
    """Name the files that are there; nothing when the folder does not exist or may not be read."""
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()


def is_answered(address: Path) -> bool:
    """Tell whether a daemon listens at a diagnostics socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        visitor.settimeout(_KNOCK_S)
        try:
            visitor.connect(str(address))
        except OSError:
            return False
        return True


def put_aside(path: Path) -> Path | None:
    """Rename a database with its write-ahead log to the first free name beside it; None when there is none.

    Raises:
        OSError: it could not be renamed.
    """
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    _sync_folder(path.parent)
    return aside
