"""The operating system user that PostgreSQL, or the broker, runs as.

Invariant: neither runs as root, and files are given away only inside our own state folder.
Must not: change permissions of folders that are not ours.
"""

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.errors import CloudError, Reason
from cloud.files import PRIVATE_FOLDER, make_folder, write_file

_STAND_INS: Final = ("postgres", "nobody")
"""Who runs it when we are root: the distribution's user, else the user that owns nothing."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A user that may run a server.

    Args:
        name, uid, gid, groups: of the user.
        switch: True when we are root and a started program must become this user.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    switch: bool

    def may_enter(self, folder: Path) -> bool:
        """Tell whether this user may pass through a folder, by its permission bits."""
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in (self.gid, *self.groups):
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def may_reach(self, folder: Path) -> bool:
        """Tell whether this user can get into a folder, through all those above it."""
        return not self.switch or all(self.may_enter(step) for step in (folder, *folder.resolve().parents))

    def make_folder(self, path: Path) -> None:
        """Make a folder that only this user may use.

        Raises:
            CloudError: STATE_UNUSABLE, CLUSTER_FOREIGN when it belongs to somebody else.
        """
        fresh = not path.exists()
        make_folder(path, mode=PRIVATE_FOLDER)
        if fresh and self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        if path.lstat().st_uid != self.uid:
            what = f"{path} belongs to user {path.lstat().st_uid}, not to {self.name}."
            raise CloudError(Reason.CLUSTER_FOREIGN, what, remedy="Remove it or use another state folder.")

    def write_file(self, path: Path, content: str) -> None:
        """Write a file that only this user may read."""
        write_file(path, content.encode(), owner=(self.uid, self.gid) if self.switch else None)


def choose_owner(
    user_id: int | None = None, *, stand_ins: Sequence[str] = _STAND_INS, program: str = "PostgreSQL"
) -> Owner:
    """Give the present user, or a stand-in when that is root.

    Args:
        user_id: who we are; None asks the system.
        stand_ins: who runs the program when we are root, the first that exists.
        program: what runs as this user, for the error message.

    Raises:
        CloudError: STATE_UNUSABLE when no user fits.
    """
    uid = os.geteuid() if user_id is None else user_id
    candidates: Sequence[str | int] = stand_ins if uid == 0 else (uid,)
    for candidate in candidates:
        try:
            entry = pwd.getpwnam(candidate) if isinstance(candidate, str) else pwd.getpwuid(candidate)
        except KeyError:
            continue
        groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
        return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, switch=uid == 0)
    what = f"{program} needs an unprivileged user that has a name; user {uid} has none."
    raise CloudError(Reason.STATE_UNUSABLE, what, remedy=f"Run: adduser --system --group {stand_ins[0]}")


def own_name() -> str:
    """Give the name of the user that we are, who is to connect to the database."""
    return pwd.getpwuid(os.geteuid()).pw_name


def open_way(state: Path, owner: Owner, *, program: str = "PostgreSQL") -> None:
    """Let the owner pass through the state folder; refuse when a folder above it is closed.

    The state folder is ours and protects each secret by its own permissions, so it may be passed through; the folders
    above it are somebody else's.

    Raises:
        CloudError: CLUSTER_UNREACHABLE, with what to do.
    """
    if not owner.switch:
        return
    if not owner.may_enter(state):
        state.chmod(stat.S_IMODE(state.stat().st_mode) | stat.S_IXOTH)
    for folder in state.resolve().parents:
        if not owner.may_enter(folder):
            what = f"{program} runs as user {owner.name}, who cannot enter {folder}."
            remedy = (
                f"Choose a state folder that {owner.name} can reach, such as /var/lib/doorward/cloud, "
                f"or run: chmod o+x {folder}"
            )
            raise CloudError(Reason.CLUSTER_UNREACHABLE, what, remedy=remedy)
