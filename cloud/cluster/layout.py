"""The folders of a private cluster, and how an empty one is made.

Invariant: `pg/data` appears complete or not at all, and only beside our mark.
Must not: change a data folder that exists.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.cluster.owner import Owner, own_name
from cloud.cluster.postmaster import Launch, run
from cloud.cluster.programs import Programs
from cloud.errors import CloudError, Reason
from cloud.settings import MIB

USER: Final = "doorward"
"""The database role that owns everything, and the name of the database."""
_MARK: Final = "doorward-cluster"
_INITDB_S: Final = 300.0
_TAIL_LINES: Final = 3
_FAULT: Final = re.compile(r"\b(ERROR|FATAL|PANIC|error|fatal):")
_MAX_WORDS_BYTES: Final = MIB
MAX_LOG_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a cluster lie under a state folder."""

    state: Path

    @property
    def pg(self) -> Path:
        """The folder that belongs to PostgreSQL's user."""
        return self.state / "pg"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.pg / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL's programs write. It lies outside `pg/`: we may be root and must not follow links there."""
        return self.state / "pg.log"

    @property
    def run(self) -> Path:
        """The socket's folder, or the pointer to it."""
        return self.state / "run"

    @property
    def lock(self) -> Path:
        """Held by the process that uses the cluster."""
        return self.state / "pg.lock"

    def made_by(self) -> int | None:
        """Give the major version that made the data folder; None when there is none yet."""
        version = self.data / "PG_VERSION"
        return int(version.read_text()) if version.exists() else None

    def log_size(self) -> int:
        """Give the length of the log, in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0

    def words(self, *, since: int) -> str:
        """Give what the log says, up to 1 MiB.

        Args:
            since: the log's length when the program was started.
        """
        with self.log.open("rb") as log:
            log.seek(since)
            return log.read(_MAX_WORDS_BYTES).decode(errors="replace")

    def last_words(self, *, since: int) -> str:
        """Give the log's last lines that tell of a fault, or simply the last, for an error message."""
        lines = [line.strip() for line in self.words(since=since).splitlines() if line.strip()]
        faults = [line for line in lines if _FAULT.search(line)]
        return " | ".join((faults or lines)[-_TAIL_LINES:])

    def trim_log(self) -> None:
        """Keep one old and one current log of at most 16 MiB each; the server appends to what is left."""
        if self.log_size() > MAX_LOG_BYTES:
            shutil.copyfile(self.log, self.log.with_name("pg.log.1"))
            os.truncate(self.log, 0)


def prepare(layout: Layout, owner: Owner) -> None:
    """Make the folders and the mark.

    Raises:
        CloudError: CLUSTER_FOREIGN when `pg/` holds something that we did not make.
    """
    mark = layout.pg / _MARK
    if layout.pg.exists() and any(layout.pg.glob("[!.]*")) and not mark.exists():
        what = f"{layout.pg} was not made by Doorward; it is left alone."
        raise CloudError(Reason.CLUSTER_FOREIGN, what, remedy="Choose another state folder.")
    owner.make_folder(layout.pg)
    if not mark.exists():
        owner.write_file(mark, "1\n")


async def make_data(layout: Layout, owner: Owner, programs: Programs) -> None:
    """Run initdb beside the final place, then rename.

    Raises:
        CloudError: POSTGRES_FAILED or NO_SPACE.
    """
    fresh = layout.pg / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    options = f"-U {USER} --auth-local=peer --auth-host=reject --encoding=UTF8 --locale=C --data-checksums".split()
    command = (programs.initdb, "-D", str(fresh), *options)
    launch = Launch(command=command, owner=owner, folder=layout.pg, output=layout.log)
    since = layout.log_size()
    if await run(launch, deadline_s=_INITDB_S) != 0:
        raise failure(layout, since=since)
    fresh.rename(layout.data)


def admit(layout: Layout, owner: Owner) -> None:
    """Admit over the socket only the user that we are and the one that runs the server, both as our role."""
    owner.write_file(layout.data / "pg_hba.conf", f"local all all peer map={USER}\n")
    users = sorted({own_name(), owner.name})
    owner.write_file(layout.data / "pg_ident.conf", "".join(f'{USER} "{user}" {USER}\n' for user in users))


def server_command(layout: Layout, programs: Programs, *, socket_folder: Path, connections: int) -> tuple[str, ...]:
    """Give the command line of the server; what is set here wins over any file."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{socket_folder}"',
        "unix_socket_permissions": "0700",
        "max_connections": str(connections),
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_checkpoints": "off",
    }
    options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
    return (programs.postgres, "-D", str(layout.data), *options)


def failure(layout: Layout, *, since: int) -> CloudError:
    """Turn a program's last words into an error that says what to do."""
    if "No space left on device" in layout.words(since=since):
        return no_space(layout.state, "PostgreSQL found the disk full")
    words = layout.last_words(since=since)
    return CloudError(Reason.POSTGRES_FAILED, f"PostgreSQL did not start: {words} (more in {layout.log})")


def no_space(folder: Path, fact: str) -> CloudError:
    """Say that the disk is full and what to do."""
    remedy = "Free some space, or choose a state folder on another disk."
    return CloudError(Reason.NO_SPACE, f"{fact} at {folder}.", remedy=remedy)
