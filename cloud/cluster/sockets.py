"""A folder for PostgreSQL's Unix socket whose path is short enough.

Invariant: the folder is private to the cluster's owner.
Must not: use a predictable name in a shared folder.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cloud.cluster.owner import Owner
from cloud.files import make_folder

_MAX_SOCKET_BYTES: Final = 107
"""sockaddr_un.sun_path holds 108 bytes with the terminating zero (unix(7))."""
_SOCKET_NAME: Final = "/.s.PGSQL.5432"
_POINTER: Final = "socket-folder"
_PREFIX: Final = "doorward-"


def open_socket_folder(run: Path, owner: Owner, *, runtime: tuple[Path, ...] = (Path("/run"), Path("/tmp"))) -> Path:  # noqa: S108 - a fresh private folder is made inside
    """Give a private folder for the socket: `run` itself, or a short one when its path is too long.

    Args:
        run: the state's folder for run-time files, made when missing.
        owner: who runs PostgreSQL.
        runtime: where a short folder may be made, first writable wins.
    """
    if len(os.fsencode(run)) + len(_SOCKET_NAME) <= _MAX_SOCKET_BYTES:
        owner.make_folder(run)
        return run
    make_folder(run)
    close_socket_folder(run, owner)
    base = next(folder for folder in runtime if os.access(folder, os.W_OK))
    short = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    (run / _POINTER).write_text(str(short))
    if owner.switch:
        os.chown(short, owner.uid, owner.gid)
    return short


def socket_folder(run: Path) -> Path:
    """Give the socket's folder of a cluster that another process has started."""
    pointer = run / _POINTER
    return Path(pointer.read_text()) if pointer.exists() else run


def close_socket_folder(run: Path, owner: Owner) -> None:
    """Remove the short folder that an earlier start made, if there is one and it is the owner's."""
    pointer = run / _POINTER
    if not pointer.exists():
        return
    short = Path(pointer.read_text())
    if short.name.startswith(_PREFIX) and short.is_dir() and short.lstat().st_uid == owner.uid:
        shutil.rmtree(short, ignore_errors=True)
    pointer.unlink()
