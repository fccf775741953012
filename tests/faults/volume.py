"""A small file system of its own: power cut under it, or filled to the last byte. Root only.

A power cut is the ioctl with which file systems are tested for it: everything that was not written through by then is
gone, as if the machine had lost its power; the loop device below keeps what the file system had flushed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHUTDOWN: Final = 0x8004_587D
"""EXT4_IOC_SHUTDOWN of Linux's fs/ext4/ext4.h."""
_NO_LOG_FLUSH: Final = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written."""
_MIB: Final = 1024 * 1024
_UNMOUNT_TRIES: Final = 100
_PAUSE_S: Final = 0.05


def why_no_volume() -> str | None:
    """Say why this machine cannot mount a file; None when it can."""
    if os.geteuid() != 0:
        return "only root may mount a file system"
    missing = [name for name in ("mkfs.ext4", "mount", "umount", "losetup") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    found = subprocess.run(["losetup", "-f"], check=False, capture_output=True)  # noqa: S607 - root's own PATH
    return None if found.returncode == 0 else "the kernel offers no loop device"


@dataclass
class Volume:
    """An ext4 in a file.

    Attributes:
        root: where it is mounted.
        device: the loop device below it, while it is.
    """

    image: Path
    root: Path
    device: str | None = None

    def mount(self) -> None:
        """Mount it; after a power cut this replays its journal.

        Each time on a loop device of its own: where another program has copied our mounts into a namespace, the file
        system that lost its power stays there, and a second mount of that device would show it again.
        """
        self.device = _run("losetup", "--find", "--show", str(self.image))
        _run("mount", "-o", "noatime", self.device, str(self.root))
        self.root.chmod(0o711)

    def release(self) -> None:
        """Give the loop device back; it goes when nobody uses it any more."""
        if self.device is not None:
            subprocess.run(["losetup", "--detach", self.device], check=False, capture_output=True)  # noqa: S607 - as below
            self.device = None

    async def unmount(self) -> None:
        """Unmount it; whoever still has it open must be ending."""
        for attempt in range(_UNMOUNT_TRIES):
            if await asyncio.to_thread(_try, "umount", str(self.root)):
                self.release()
                return
            await asyncio.sleep(_PAUSE_S * (1 + attempt // 20))
        message = f"{self.root} stays busy: {_holders(self.root)}"
        raise AssertionError(message)

    def cut_power(self) -> None:
        """Lose everything that was not written through."""
        handle = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    @contextmanager
    def filled(self, *, left_bytes: int = 0) -> Iterator[None]:
        """Fill it, but for so many bytes, until the block ends."""
        filler = self.root / "filler"
        try:
            with filler.open("wb") as file:
                _fill(file.fileno(), self.root, left_bytes)
            yield
        finally:
            filler.unlink(missing_ok=True)


def _fill(handle: int, root: Path, left_bytes: int) -> None:
    size, step = 0, 64 * _MIB
    while step >= 4096:
        room = shutil.disk_usage(root).free - left_bytes
        if room <= 0:
            return
        try:
            os.posix_fallocate(handle, size, min(step, max(room, 4096)))
            size += min(step, max(room, 4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            step //= 4


@contextmanager
def make_volume(folder: Path, name: str, *, size_mib: int) -> Iterator[Volume]:
    """Make a volume in a folder; it is unmounted when the block ends."""
    volume = Volume(folder / f"{name}.img", folder / name)
    with volume.image.open("wb") as image:
        image.truncate(size_mib * _MIB)
    # No reserved blocks: full is full for root, too. A commit interval of its own keeps "not yet written" long enough.
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(volume.image))
    volume.root.mkdir()
    volume.mount()
    try:
        yield volume
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", "-l", str(volume.root))
        volume.release()
        volume.image.unlink()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _try(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _holders(root: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (each / "cwd").readlink().is_relative_to(root):
                found.append(each.name)
    return found
