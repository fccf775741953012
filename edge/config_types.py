"""What a door's configuration says, as values.

Must not: read or check; `edge/config.py` does.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge.toml_tables import Problem

USUAL_SOCKETS: Final = (Path("/run/doorward/diag.sock"), Path("/var/lib/doorward/diag.sock"))
"""Where `doorward diag` looks by itself; any other place has to be named to it."""
JOURNAL_MAX_EVENTS: Final = 250_000
"""Unsent events that are kept at least: a month of a busy door, about 50 MB."""

_SCHEME_CHARACTERS: Final = 24
"""With its number a name stays below the 32 characters of one in an event."""


class ConfigError(Exception):
    """The file cannot be used; every problem is listed.

    Args:
        path: the file.
        problems: at least one.
    """

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{path} cannot be used:\n{lines}")
        self.path = path
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """Who this door is; given by the cloud at provisioning."""

    id: str
    tenant: str
    site: str
    door: str
    access_point: str = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """Where the cloud and its broker (None: HTTPS alone) are, and the files that prove who asks."""

    url: str
    certificate: Path
    key: Path
    ca: Path
    broker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig:
    """One reader: its name in the journal and its device address."""

    id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayConfig:
    """One display: its name in the journal, its device address, the ids of its readers; none of them means all."""

    id: str
    url: str
    readers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressConfig:
    """The device address of the lock, or one of those of the inputs."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockConfig:
    """Whether the machine keeps time without power; a twin's clock is moved by a file instead."""

    rtc: bool = False
    offset_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Bounds; see `JOURNAL_MAX_EVENTS`."""

    journal_max_events: int = JOURNAL_MAX_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotsConfig:
    """For how many hours pictures around an event are kept, 0 for none, and how large they may be together."""

    keep_hours: int = 0
    most_mb: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticsConfig:
    """Where a technician asks."""

    socket: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """The whole configuration; paths are absolute. `cloud`, `readers`, `inputs` and `displays` may be absent."""

    state_folder: Path
    device: DeviceConfig
    lock: AddressConfig
    diagnostics: DiagnosticsConfig
    readers: tuple[ReaderConfig, ...] = ()
    inputs: tuple[AddressConfig, ...] = ()
    displays: tuple[DisplayConfig, ...] = ()
    cloud: CloudConfig | None = None
    clock: ClockConfig = field(default_factory=ClockConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    snapshots: SnapshotsConfig = field(default_factory=SnapshotsConfig)

    @property
    def inputs_by_id(self) -> dict[str, str]:
        """Give the addresses of the inputs by what the journal calls them: scheme and place in the list, "modbus-2"."""
        return {f"{_slug_of_scheme(each.url)}-{number}": each.url for number, each in enumerate(self.inputs, start=1)}


def _slug_of_scheme(url: str) -> str:
    """Write the scheme of an address as a name in an event may be written; only letters, digits, + - . are in one."""
    scheme = url.partition(":")[0].lower()
    return re.sub("[^a-z0-9]+", "-", scheme)[:_SCHEME_CHARACTERS].strip("-") or "inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSchemes:
    """Which device addresses exist, by what they are for."""

    readers: Collection[str]
    locks: Collection[str]
    inputs: Collection[str]
    displays: Collection[str]
