"""The state folder of a simulated door: what a person or a test looks at instead of a real door.

`door.json` is the present state, replaced as a whole; `relay.jsonl` is the history of the relay, only appended to.
What a reader or a display shows is appended to `reader-ID.jsonl` or `display-ID.jsonl`. The lock and the inputs of one
folder belong in one process: each replaces its own members of `door.json`.

Invariant: a reader of `door.json` never meets half a file, and a line of a history is written by one call.
"""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from edge.ports import DisplayError, InputsError, LockError, ReaderError, Reason

STATE_FILE = "door.json"
RELAY_FILE = "relay.jsonl"
SOCKET_FILE = "control.sock"

# A door that nobody has touched yet. `since` has the wall clock's milliseconds of each member's last change;
# `lock_until_wall_ms` is when the relay falls back by itself, also when its process is dead by then.
FRESH: Mapping[str, object] = MappingProxyType(
    {
        "simulated": True,
        "lock": "locked",
        "lock_until_wall_ms": None,
        "contact": "closed",
        "rex": "released",
        "fire": "off",
        "since": {},
    },
)
# A state file has about 250 bytes; much more is not ours.
MAX_STATE_BYTES = 16_384

# How often it is looked whether the folder is still there: well below what a person calls at once.
LOOK_EVERY_S = 0.2

_REASONS = MappingProxyType(
    {errno.EACCES: Reason.PERMISSION, errno.EPERM: Reason.PERMISSION, errno.EROFS: Reason.PERMISSION},
)


def wall_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return the monotonic clock in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def folder_identity(path: Path) -> tuple[int, int] | None:
    """Tell which folder is there now, None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - five times a second
    except OSError:
        return None
    return found.st_dev, found.st_ino


class StateFolder:
    """The hold of one holder, the lock, the inputs, a reader or a display, on a state folder."""

    def __init__(
        self, path: Path, *, holder: str, error: type[LockError | InputsError | ReaderError | DisplayError]
    ) -> None:
        """Make the folder when it is missing and hold it.

        Args:
            path: the folder.
            holder: "lock", "inputs", "reader-ID" or "display-ID"; each is held once at a time, also across processes. A
                dead process holds nothing.
            error: the port's error, raised whenever the folder cannot be used.
        """
        self.path = path
        self._state_file = str(path / STATE_FILE)
        self._relay_file = str(path / RELAY_FILE)
        self._shown_file = str(path / f"{holder}.jsonl")
        self._temporary = str(path / f".{STATE_FILE}.{holder}")
        self._error = error
        self._claim = -1
        with self._faults():
            path.mkdir(parents=True, exist_ok=True)
            self._claim = self._take_claim(holder)

    def state(self) -> dict[str, object]:
        """Return the members of `door.json`; those of `FRESH` when it is missing, damaged or too large."""
        try:
            with open(self._state_file, "rb") as file:  # noqa: PTH123
                read = json.loads(file.read(MAX_STATE_BYTES + 1))
        except (OSError, ValueError, RecursionError):
            return dict(FRESH)
        return dict(FRESH) | read if isinstance(read, dict) else dict(FRESH)

    def update(self, **members: object) -> None:
        """Replace members of `door.json`, and the `since` of those that change."""
        state = self.state()
        since = state["since"]
        stamps = dict(since) if isinstance(since, dict) else {}
        stamps |= {name: wall_ms() for name, value in members.items() if state.get(name) != value}
        text = json.dumps(state | members | {"since": stamps}) + "\n"
        with self._faults():
            # On the way of every tap: os calls take half the time of pathlib's.
            self._write(self._temporary, text.encode(), os.O_TRUNC)
            os.replace(self._temporary, self._state_file)  # noqa: PTH105

    def append_relay(self, record: Mapping[str, object]) -> None:
        """Append one line to `relay.jsonl` with one write."""
        self._append(self._relay_file, record)

    def append_shown(self, record: Mapping[str, object]) -> None:
        """Append one line to what this reader or display has shown."""
        self._append(self._shown_file, record)

    def _append(self, path: str, record: Mapping[str, object]) -> None:
        line = (json.dumps(dict(record), separators=(",", ":")) + "\n").encode()
        with self._faults():
            self._write(path, line, os.O_APPEND)

    def close(self) -> None:
        """Let go of the folder; a second call does nothing."""
        if self._claim >= 0:
            os.close(self._claim)
            self._claim = -1

    @staticmethod
    def _write(path: str, data: bytes, mode: int) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | mode, 0o640)
        try:
            if os.write(file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)

    def _take_claim(self, holder: str) -> int:
        claim = os.open(self.path / f".{holder}.claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(claim)
            raise self._error(
                Reason.BUSY,
                what=f"the simulated door {self.path} has its {holder} in use",
                remedy="stop the other daemon, or give this one a folder of its own",
            ) from error
        return claim

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(
                _REASONS.get(error.errno or 0, Reason.FAULT),
                what=f"the simulated door {self.path} cannot be written ({error.strerror})",
                remedy="give the daemon's user a folder it may write, with space left",
            ) from error
