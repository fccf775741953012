"""A PostgreSQL cluster of our own under the state folder: `pg/` (data, log), `run/` (socket).

Invariant: it is reached by a Unix socket only, and a commit that was answered survives a power cut.
Must not: touch a data folder without our mark, or one that another live process holds.
"""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import asyncpg

from cloud.cluster import postmaster
from cloud.cluster.layout import USER, Layout, admit, failure, make_data, no_space, prepare, server_command
from cloud.cluster.owner import Owner, choose_owner, open_way
from cloud.cluster.programs import Places, Programs, find_programs
from cloud.cluster.sockets import close_socket_folder, open_socket_folder, socket_folder
from cloud.errors import CloudError, Reason
from cloud.files import make_folder
from cloud.settings import MIB

_POLL_S: Final = 0.1
_CONNECT_S: Final = 10.0
_PROGRESS_S: Final = 5.0
_IMMEDIATE_S: Final = 15.0
_WATCH_S: Final = 1.0
_MAX_PAUSE_S: Final = 30.0
_PREDECESSOR: Final = re.compile(r'pre-existing shared memory block|lock file ".*" already exists')
"""What a new server says while the children of a killed one still end."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """How patient and how large.

    Args:
        places: where the server programs may be.
        start_s: patience with a start, which may have to recover.
        stop_s: time for a clean stop; after it the server is stopped hard and will recover at its next start.
        min_free_bytes: free disk below which nothing is started.
        connections: the server's limit.
    """

    places: Places = field(default_factory=Places)
    start_s: float = 600.0
    stop_s: float = 60.0
    min_free_bytes: int = 256 * MIB
    connections: int = 100


class PrivateCluster:
    """One cluster, used by one process at a time."""

    def __init__(self, state: Path, options: ClusterOptions | None = None) -> None:
        self._layout = Layout(state.absolute())
        self._options = options or ClusterOptions()
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder = self._layout.run

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return postmaster.running_pid(self._layout.data)

    def url(self, database: str = USER) -> str:
        """Give the address of one of its databases; valid while it runs."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self._socket_folder))}&port=5432"

    def running_url(self) -> str | None:
        """Give the address of the database when another process runs this cluster, None when nobody does."""
        if self.pid is None:
            return None
        self._socket_folder = socket_folder(self._layout.run)
        return self.url()

    async def start(self, progress: Progress) -> str:
        """Make the cluster when there is none, start it and wait until it answers.

        Args:
            progress: is told, in sentences, what takes long.

        Returns:
            the URL of the database.

        Raises:
            CloudError: POSTGRES_MISSING, POSTGRES_FAILED, CLUSTER_FOREIGN, CLUSTER_UNREACHABLE, STATE_IN_USE,
                STATE_UNUSABLE or NO_SPACE.
        """
        layout = self._layout
        make_folder(layout.state)
        self._take_lock()
        self._check_space()
        owner = choose_owner()
        open_way(layout.state, owner)
        prepare(layout, owner)
        programs = self._programs(owner)
        left_over = self.pid
        if left_over is not None:
            progress("Stopping the PostgreSQL that an earlier run left behind.")
            await self._end(left_over)
        postmaster.forget_stale(layout.data)
        if layout.made_by() is None:
            progress(f"Making a PostgreSQL {programs.major} cluster in {layout.pg}.")
            await make_data(layout, owner, programs)
        self._socket_folder = open_socket_folder(layout.run, owner)
        await self._launch(owner, programs, progress)
        await self._make_database()
        return self.url()

    async def stop(self) -> None:
        """Stop it cleanly within its deadline, hard after that, and let the state folder go."""
        if self._lock is None:
            return
        try:
            process, self._process = self._process, None
            pid = self.pid or (process.pid if process is not None else None)
            if pid is not None:
                await self._end(pid)
            if process is not None:
                await postmaster.until(lambda: process.poll() is not None, deadline_s=_IMMEDIATE_S)
            close_socket_folder(self._layout.run, choose_owner())
        finally:
            self._lock.close()
            self._lock = None

    async def supervise(self, progress: Progress) -> None:
        """Start the server again whenever it ends unasked; runs until cancelled."""
        pause_s = _WATCH_S
        while True:
            await asyncio.sleep(pause_s)
            self._layout.trim_log()
            if self._process is None or self._process.poll() is None:
                pause_s = _WATCH_S
                continue
            progress("PostgreSQL ended unasked; starting it again.")
            try:
                owner = choose_owner()
                await self._launch(owner, self._programs(owner), progress)
            except CloudError as error:
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
                progress(f"{error.detail} Trying again in {pause_s:.0f} s.")

    def _programs(self, owner: Owner) -> Programs:
        return find_programs(self._options.places, major=self._layout.made_by(), reachable=owner.may_reach)

    def _take_lock(self) -> None:
        lock = self._layout.lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            what = f"{self._layout.state} is in use by process {holder}."
            remedy = "Stop that first or choose another state folder."
            raise CloudError(Reason.STATE_IN_USE, what, remedy=remedy) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._layout.state).free
        if free < self._options.min_free_bytes:
            needed, has = self._options.min_free_bytes // MIB, free // MIB
            raise no_space(self._layout.state, f"PostgreSQL needs {needed} MiB of free disk and there are {has}")

    async def _launch(self, owner: Owner, programs: Programs, progress: Progress) -> None:
        """Start the server and wait until it is ready, retrying while a predecessor's children still end."""
        layout = self._layout
        admit(layout, owner)
        command = server_command(
            layout, programs, socket_folder=self._socket_folder, connections=self._options.connections
        )
        launch = postmaster.Launch(command=command, owner=owner, folder=layout.data, output=layout.log)
        since = layout.log_size()
        try:
            async with asyncio.timeout(self._options.start_s):
                while not await self._attempt(launch, progress):  # noqa: ASYNC110 - the pause between attempts
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            words = layout.last_words(since=since)
            detail = f"PostgreSQL is not ready after {self._options.start_s:.0f} s: {words} (more in {layout.log})"
            raise CloudError(Reason.POSTGRES_FAILED, detail) from error

    async def _attempt(self, launch: postmaster.Launch, progress: Progress) -> bool:
        """Start once and wait; False when that ended because a predecessor's children are still ending."""
        layout, since, start_s = self._layout, self._layout.log_size(), time.monotonic()
        process = self._process = launch.start()
        told_s = start_s
        while process.poll() is None:
            if postmaster.is_ready(process.pid, layout.data):
                return True
            await asyncio.sleep(_POLL_S)
            if time.monotonic() - told_s >= _PROGRESS_S:
                told_s = time.monotonic()
                waited_s = told_s - start_s
                progress(f"PostgreSQL is starting, perhaps recovering after a crash ({waited_s:.0f} s so far).")
        if _PREDECESSOR.search(layout.words(since=since)):
            return False
        raise failure(layout, since=since)

    async def _make_database(self) -> None:
        connection = await asyncpg.connect(self.url("postgres"), timeout=_CONNECT_S)
        try:
            known = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", USER, timeout=_CONNECT_S)
            if known is None:
                await connection.execute(f'CREATE DATABASE "{USER}"', timeout=_IMMEDIATE_S)
        finally:
            await connection.close(timeout=_CONNECT_S)

    async def _end(self, pid: int) -> None:
        """Ask for a fast shutdown; after the deadline for an immediate one, after that kill."""
        data = self._layout.data
        for number, deadline_s in (
            (signal.SIGINT, self._options.stop_s),
            (signal.SIGQUIT, _IMMEDIATE_S),
            (signal.SIGKILL, _IMMEDIATE_S),
        ):
            postmaster.signal_server(pid, data, number)
            if await postmaster.wait_gone(pid, data, deadline_s=deadline_s):
                return
        raise CloudError(Reason.POSTGRES_FAILED, f"PostgreSQL (process {pid}) does not end; see {self._layout.log}.")
