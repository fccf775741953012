"""The device's sealed store: secrets of its readers, each in a file that only the daemon's user may read.

Unlike a key file (`sealed_key.py`), a secret has a name and no path, is bytes, and may be put in under sudo.
Invariant: a secret that others may read is refused, not used. Must not: print, log or compare a secret.
"""

import contextlib
import os
import re
import stat
from enum import Enum
from pathlib import Path
from typing import Final

FOLDER: Final = "sealed"
"""Below the state folder."""
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
MOST_BYTES: Final = 64
"""The longest secret of a reader in use has 16 bytes."""
_OTHERS: Final = 0o077
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class SealFault(Enum):
    """Why the store does not give or take a secret."""

    OPEN_TO_OTHERS = "open_to_others"
    UNREADABLE = "unreadable"
    WRONG_SIZE = "wrong_size"


class SealedStoreError(Exception):
    """The store cannot be used.

    Args:
        fault: the class of the fault.
        what: one clause that names the file.
        remedy: what a person does.
    """

    def __init__(self, fault: SealFault, *, what: str, remedy: str) -> None:
        """Keep the fault beside the text "what; remedy"."""
        super().__init__(f"{what}; {remedy}")
        self.fault = fault
        self.what = what
        self.remedy = remedy


class SealedStore:
    """The secrets below a state folder."""

    def __init__(self, state_folder: Path) -> None:
        """Keep the path; nothing is opened or made yet."""
        self._folder = state_folder / FOLDER

    @property
    def folder(self) -> Path:
        """Return where the files are."""
        return self._folder

    def read(self, name: str, *, size: int) -> bytes | None:
        """Return a secret, None when there is none.

        Args:
            name: 1 to 32 of a-z, 0-9 and -.
            size: how many bytes it must have.

        Raises:
            SealedStoreError: others may read it, or it cannot be read, or has another size.
        """
        path = self._path(name)
        try:
            self._check(self._folder, self._folder.lstat())
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        with os.fdopen(descriptor, "rb") as file:
            self._check(path, os.fstat(descriptor))
            secret = file.read(MOST_BYTES + 1)
        if len(secret) != size:
            raise SealedStoreError(
                SealFault.WRONG_SIZE,
                what=f"{path} holds {len(secret)} bytes instead of {size}",
                remedy="put the key in again with: doorward provision card-key",
            )
        return secret

    def write(self, name: str, secret: bytes) -> None:
        """Keep a secret whole, also across a power cut; it replaces one of the same name.

        Under sudo, it belongs to the owner of the state folder, as whom the daemon runs.

        Raises:
            SealedStoreError: others may read the folder, or it cannot be written.
        """
        path = self._path(name)
        beside = path.with_name(f".{name}.new")
        try:
            self._make_folder()
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, FILE_MODE)
                self._give_to_owner(descriptor)
                file.write(secret)
                file.flush()
                os.fsync(descriptor)
            beside.replace(path)
            self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise _unreadable(path, error) from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a secret")
        return self._folder / name

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=FOLDER_MODE)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._give_to_owner(descriptor)
            finally:
                os.close(descriptor)
        self._check(self._folder, self._folder.lstat())

    def _give_to_owner(self, descriptor: int) -> None:
        if os.geteuid() == 0:
            owner = self._folder.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _check(self, path: Path, found: os.stat_result) -> None:
        """Refuse what others may read or could have put there."""
        owners = {os.geteuid(), self._folder.parent.stat().st_uid}
        if stat.S_IMODE(found.st_mode) & _OTHERS or found.st_uid not in owners or stat.S_ISLNK(found.st_mode):
            right = "700" if path == self._folder else "600"
            raise SealedStoreError(
                SealFault.OPEN_TO_OTHERS,
                what=f"{path} may be read or written by others (mode {stat.S_IMODE(found.st_mode):04o})",
                remedy=f"exchange the keys in it, then run: chmod {right} {path}",
            )


def _unreadable(path: Path, error: OSError) -> SealedStoreError:
    return SealedStoreError(
        SealFault.UNREADABLE,
        what=f"{path} cannot be used ({error.strerror or type(error).__name__})",
        remedy="run the command as the daemon's user or with sudo, and check the folder above it",
    )
