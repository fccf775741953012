"""What the camera's worker process and the daemon tell each other.

Pure, and light: the worker loads this but neither the ports nor the core.
Invariant: a record names payloads only in `Seen.codes`, and nothing else of what the camera sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from firmware_adapters.worker_records import by_name


class SourceKind(Enum):
    """Where frames come from."""

    FILES = "files"
    DEVICE = "device"
    HTTP = "http"
    CSI = "csi"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the worker is started with.

    Args:
        source: where frames come from.
        place: which of them: a folder, the number or path of a video device, a URL, the number of a CSI camera.
        fps: frames a second at most.
        width: pixels asked of a device.
        height: pixels asked of a device.
        fallbacks_per_s: expensive looks a second at most.
        gate: skip frames that show nothing new.
        pictures: remember the last pictures, to be written when the daemon asks for it with `Keep`.
        after: the last file that an earlier worker has begun, None when there was none.
    """

    source: SourceKind
    place: str
    fps: int
    width: int
    height: int
    fallbacks_per_s: int
    gate: bool
    pictures: bool = False
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The libraries are loaded; `zbar` tells whether it is among them."""

    zbar: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """The frame `name` is being read and decoded."""

    name: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The frame was decoded.

    Args:
        at_ms: monotonic milliseconds when it was due.
        codes: its payloads.
        ignored: how many more there were.
        fallback: True when an expensive look was taken.
    """

    at_ms: int
    codes: tuple[bytes, ...]
    ignored: int
    fallback: bool


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The frame shows what the last decoded one did, at `at_ms` (monotonic)."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The frame could not be read."""


@dataclass(frozen=True, slots=True)
class Idle:
    """No frame is due, and the source is alive."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The pictures that were asked for are written; `count` of them, 0 when that failed or there are none."""

    count: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Order: write the last pictures as `prefix`-1.jpg and so on."""

    prefix: str


Record: TypeAlias = Ready | Begun | Seen | Unchanged | Unreadable | Idle | Kept

RECORDS: Mapping[str, type[Record]] = by_name(Ready, Begun, Seen, Unchanged, Unreadable, Idle, Kept)
ORDERS: Mapping[str, type[Keep]] = by_name(Keep)
