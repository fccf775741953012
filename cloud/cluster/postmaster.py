"""The running server process: launch, recognise, signal.

Invariant: a signal goes only to a process whose working folder is our data folder.
Must not: remove `postmaster.pid` while any process works in the data folder: PostgreSQL finds in that file the shared
memory of a killed predecessor, which keeps two servers from writing to one data folder.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.cluster.owner import Owner

_POLL_S: Final = 0.05
_READY_LINE: Final = 7
"""The eighth line of postmaster.pid is the server's status (PostgreSQL's pidfile.h, LOCK_FILE_LINE_PM_STATUS)."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command to run as the owner; what it writes is appended to a file."""

    command: tuple[str, ...]
    owner: Owner
    folder: Path
    output: Path

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that Ctrl-C reaches us alone.

        Raises:
            OSError: the program cannot be run.
        """
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        with self.output.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - a program that find_programs chose
                self.command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.owner.uid if self.owner.switch else None,
                group=self.owner.gid if self.owner.switch else None,
                extra_groups=self.owner.groups if self.owner.switch else None,
            )


async def run(launch: Launch, *, deadline_s: float) -> int | None:
    """Run a command to its end; None when it was ended at the deadline."""
    process = launch.start()
    try:
        if not await until(lambda: process.poll() is not None, deadline_s=deadline_s):
            return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode


async def wait_gone(pid: int, data: Path, *, deadline_s: float) -> bool:
    """Wait until a server of this data folder has ended; False at the deadline."""
    return await until(lambda: not serves(pid, data), deadline_s=deadline_s)


async def until(condition: Callable[[], bool], *, deadline_s: float) -> bool:
    """Ask again and again until the answer is yes; False at the deadline."""
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110 - nobody signals the end of a process that is not our child
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return False
    return True


def serves(pid: int, data: Path) -> bool:
    """Tell whether a live process is a server of this data folder: a server works inside its data folder."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data) and not _is_zombie(pid)
    except OSError:
        return False


def running_pid(data: Path) -> int | None:
    """Give the process id of the server of this data folder, None when none runs."""
    lines = pid_file_lines(data)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    return pid if serves(pid, data) else None


def forget_stale(data: Path) -> bool:
    """Remove a postmaster.pid whose process id now belongs to a stranger, as after a power cut; tell whether it did.

    PostgreSQL itself replaces the file when nobody has that process id, but refuses to start when somebody has.
    """
    lines = pid_file_lines(data)
    if not lines or any(serves(pid, data) for pid in process_ids()):
        return False
    (data / "postmaster.pid").unlink(missing_ok=True)
    return True


def is_ready(pid: int, data: Path) -> bool:
    """Tell whether this server says that it accepts connections (the file may still be a predecessor's)."""
    lines = pid_file_lines(data)
    return len(lines) > _READY_LINE and lines[0].strip() == str(pid) and lines[_READY_LINE].strip() == "ready"


def pid_file_lines(data: Path) -> list[str]:
    """Read postmaster.pid; no lines when there is none."""
    try:
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


def signal_server(pid: int, data: Path, number: signal.Signals) -> None:
    """Signal the server if it is still ours."""
    if serves(pid, data):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended but was not waited for (proc(5): the field after the name)."""
    status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return status.rpartition(")")[2].split()[:1] == ["Z"]


def process_ids() -> list[int]:
    """Give the ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
