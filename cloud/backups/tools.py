"""PostgreSQL's own programs for logical backups: pg_dump and pg_restore.

Invariant: a password is never on a command line; a program that fails is told with its own words.
Must not: decide where a backup lies or when it counts.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_plus, urlsplit

from cloud.cluster.programs import Places
from cloud.errors import CloudError, Reason

DUMP_S: Final = 12 * 3600.0
"""For a whole database: 10 million events take minutes."""
_VERSION_S: Final = 10.0
_END_S: Final = 10.0
_VERSION: Final = re.compile(rb"\(PostgreSQL\) (\d+)")
_MAX_WORDS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of one installed version."""

    folder: Path
    major: int

    async def dump(self, url: str, path: Path) -> None:
        """Write one consistent snapshot of a database to a fresh file, in pg_dump's custom format.

        Raises:
            CloudError: BACKUP_FAILED or NO_SPACE.
        """
        place, environment = _without_password(url)
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--file={path}", f"--dbname={place}")
        await _run((str(self.folder / "pg_dump"), *options), environment, Reason.BACKUP_FAILED)

    async def read_through(self, path: Path) -> None:
        """Read a dump from beginning to end, every block of it.

        Raises:
            CloudError: BACKUP_DAMAGED.
        """
        options = ("--file=/dev/null", str(path))
        await _run((str(self.folder / "pg_restore"), *options), {}, Reason.BACKUP_DAMAGED)

    async def load(self, url: str, path: Path) -> None:
        """Load a dump into an empty database, all or nothing.

        Raises:
            CloudError: BACKUP_DAMAGED or NO_SPACE.
        """
        place, environment = _without_password(url)
        options = ("--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={place}", str(path))
        await _run((str(self.folder / "pg_restore"), *options), environment, Reason.BACKUP_DAMAGED)


def find_tools(places: Places, *, at_least: int) -> Tools:
    """Give the newest programs that can read a server of this major version.

    Raises:
        CloudError: POSTGRES_MISSING, with the command that installs them.
    """
    for folder in _folders(places):
        major = _version(folder / "pg_dump")
        if major is not None and major >= at_least and (folder / "pg_restore").exists():
            return Tools(folder, major)
    what = f"pg_dump and pg_restore of PostgreSQL {at_least} or newer are not installed."
    remedy = f"Run: sudo apt-get install --yes postgresql-client-{at_least}"
    raise CloudError(Reason.POSTGRES_MISSING, what, remedy=remedy)


def _folders(places: Places) -> Iterator[Path]:
    """Look in Debian's folders first: what it puts on the PATH is a wrapper that chooses a version by itself."""
    versions = [entry for entry in places.debian.glob("*/bin") if entry.parent.name.isdigit()]
    yield from sorted(versions, key=lambda entry: int(entry.parent.name), reverse=True)
    on_path = shutil.which("pg_dump", path=places.search_path)
    if on_path is not None:
        yield Path(on_path).parent


def _version(program: Path) -> int | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed program with a fixed argument
            [program, "--version"], capture_output=True, check=True, timeout=_VERSION_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stdout)
    return int(match[1]) if match else None


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Split an address into what may stand on a command line and what may not."""
    parts = urlsplit(url)
    options = parts.query.split("&")
    # As the cloud reads it: "+" is a space there, the last option counts, and a password before the "@" counts more.
    found = [unquote_plus(option.partition("=")[2]) for option in options if _is_password(option)]
    parts = parts._replace(query="&".join(option for option in options if not _is_password(option)))
    if parts.password is not None:
        found.append(unquote(parts.password))
        user, _, place = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user.partition(':')[0]}@{place}")
    if not found:
        return url, {}
    # urlunsplit would write "postgresql:/events" where no host is named, which libpq does not read.
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}", {"PGPASSWORD": found[-1]}


def _is_password(option: str) -> bool:
    return unquote_plus(option.partition("=")[0]) == "password"


async def _run(command: Sequence[str], environment: dict[str, str], reason: Reason) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C", **environment},
    )
    name = Path(command[0]).name
    try:
        async with asyncio.timeout(DUMP_S):
            _, words = await process.communicate()
    except TimeoutError as error:
        raise CloudError(reason, f"{name} has not ended after {DUMP_S:.0f} s.") from error
    finally:
        await _end(process)
    if process.returncode != 0:
        said = words.decode(errors="replace").strip()[-_MAX_WORDS:]
        full = "No space left on device" in said
        raise CloudError(Reason.NO_SPACE if full else reason, f"{name} failed: {said}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no program behind when we are stopped half way."""
    if process.returncode is None:
        process.kill()
        async with asyncio.timeout(_END_S):
            await process.wait()
