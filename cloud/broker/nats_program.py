"""Find nats-server.

Invariant: what is found has every feature that our configuration relies on.
Must not: install anything for others.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cloud.cluster.owner import Owner
from cloud.errors import CloudError, Reason

LEAST: Final = (2, 15)
"""Tried with 2.15. `auth_callout` came with 2.10 (Debian 12 has 2.9), and only newer ones let clients of MQTT use the
subjects that the server itself needs without a permission for them, which a door must not have."""
_VERSION: Final = re.compile(rb"nats-server: v(\d+)\.(\d+)")
_VERSION_S: Final = 10.0
_PROGRAM: Final = 0o755


def places(search_path: str) -> tuple[Path, ...]:
    """Give where to look: beside our Python, where the wheel puts it, then the search path."""
    beside = Path(sys.executable).parent / "nats-server"
    found = shutil.which("nats-server", path=search_path)
    return (beside,) if found is None else (beside, Path(found))


def find_server(candidates: Sequence[Path]) -> Path:
    """Give the first server that is new enough.

    Raises:
        CloudError: BROKER_MISSING, with what to do.
    """
    problem = "nats-server is not installed."
    for path in candidates:
        version = _version(path)
        if version is not None and version >= LEAST:
            return path
        if version is not None:
            problem = f"{path} is version {version[0]}.{version[1]}, and {LEAST[0]}.{LEAST[1]} is needed."
    raise CloudError(Reason.BROKER_MISSING, f"{problem} Run: pip install 'doorward[nats]'")


def within_reach(server: Path, owner: Owner, folder: Path) -> Path:
    """Give the server, or a copy of it in the owner's folder when it lies where the owner may not go."""
    if owner.may_reach(server.parent):
        return server
    copy = folder / "nats-server"
    shutil.copyfile(server, copy)
    copy.chmod(_PROGRAM)
    return copy


def _version(path: Path) -> tuple[int, int] | None:
    """Ask a program for its version; None when it cannot be run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, check=True, timeout=_VERSION_S).stdout  # noqa: S603 - a fixed argument
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said)
    return (int(match[1]), int(match[2])) if match else None
