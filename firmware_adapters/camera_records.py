"""What the camera's worker process tells the daemon: one JSON line a record.

Pure, and light: the worker loads this but neither the ports nor the core. Both ends are this program, so a line that
does not parse is a fault of the worker.
Invariant: a record names payloads only in `Seen.codes`, and nothing else of what the camera sees.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TypeAlias

from firmware_adapters.driver_faults import Fault, FaultKind

# Eight payloads of a version 40 code in base64, and room: no line is longer.
MAX_RECORD_BYTES = 65_536
# A path has 4,096 bytes at most (PATH_MAX); a pipe takes as many at once, whole or not at all (PIPE_BUF).
MAX_QUESTION_BYTES = 4096


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
        pictures: remember the last pictures, to be written when the daemon asks for it on the standard input.
        after: the last file that an earlier worker has begun, None when there was none.
        records_fd: the inherited file descriptor to write records to.
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
    records_fd: int = 1


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


Record: TypeAlias = Ready | Begun | Seen | Unchanged | Unreadable | Idle | Kept | Fault


def encode_settings(settings: Settings) -> str:
    """Write settings as one command line argument."""
    return json.dumps(asdict(settings) | {"source": settings.source.value})


def decode_settings(text: str) -> Settings:
    """Read what `encode_settings` wrote."""
    members = json.loads(text)
    return Settings(**members | {"source": SourceKind(members["source"])})


def encode_record(record: Record) -> bytes:
    """Write a record as one line."""
    match record:
        case Seen():
            members = asdict(record) | {"codes": [b64encode(code).decode() for code in record.codes]}
        case Fault():
            members = asdict(record) | {"kind": record.kind.value}
        case _:
            members = asdict(record)
    return json.dumps({"record": type(record).__name__} | members).encode() + b"\n"


def decode_record(line: bytes) -> Record:
    """Read what `encode_record` wrote.

    Raises:
        ValueError: it did not.
    """
    try:
        members = json.loads(line)
        name = members.pop("record")
        if name == "Seen":
            return Seen(**members | {"codes": tuple(b64decode(code, validate=True) for code in members["codes"])})
        if name == "Fault":
            return Fault(**members | {"kind": FaultKind(members["kind"])})
        return _PLAIN[name](**members)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a record of the camera's worker") from error


_PLAIN = {kind.__name__: kind for kind in (Ready, Begun, Unchanged, Unreadable, Idle, Kept)}
