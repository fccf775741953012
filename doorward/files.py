"""Files that a command writes whole or not at all.

Invariant: a reader never meets half a file; what is secret is readable by its owner alone from the first byte on.
"""

import os
from pathlib import Path

from doorward.errors import CliError, ExitCode


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write beside the place under a leading dot, then rename.

    Raises:
        CliError: UNUSABLE when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unusable(path, error, doing="written") from error


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file of at most `max_bytes`.

    Raises:
        CliError: UNUSABLE when it cannot be read or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise unusable(path, error, doing="read") from error
    if len(data) > max_bytes:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"{path} has more than {max_bytes} bytes",
            remedy="name the right file; this one cannot be what is asked for",
        )
    return data


def unusable(path: Path, error: OSError, *, doing: str) -> CliError:
    """Make the complaint about a path that the system refuses."""
    return CliError(
        ExitCode.UNUSABLE,
        what=f"{path} cannot be {doing} ({error.strerror})",
        remedy="check the path and its permissions",
    )
