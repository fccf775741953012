"""What the operator chooses: where the state lives, where to listen, which database.

Invariant: a `CloudSettings` is complete and plausible; nothing is read from the environment later.
Must not: touch the network or the file system.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.errors import CloudError, Reason

MIB: Final = 1024 * 1024
_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen. Port 0 lets the system choose."""

    host: str
    port: int

    def url(self, scheme: str) -> str:
        """Write the address as a URL without a path; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """Everything `cloud.server.serve` needs to know.

    Args:
        state: folder of keys, certificates and the private PostgreSQL cluster.
        api: the operators' listener (plain HTTP, loopback or behind a proxy).
        devices: the doors' listener (TLS with client certificates).
        database_url: an existing PostgreSQL; None runs the private cluster.
        names: further host names and IP addresses in the device listener's certificate.
        pool_size: connections to PostgreSQL.
        first_request_s: how long a connection may stay silent before its first request.
        shutdown_s: how long open requests may take to finish once a stop is asked for.
        database_start_s: patience with PostgreSQL; recovery after a crash replays up to 1 GB of log.
        min_free_bytes: below this much free disk the cloud neither starts nor is healthy.
    """

    state: Path
    api: Address
    devices: Address
    database_url: str | None = None
    names: tuple[str, ...] = ()
    pool_size: int = 10
    first_request_s: float = 30.0
    shutdown_s: float = 10.0
    database_start_s: float = 600.0
    min_free_bytes: int = 256 * MIB


def parse_address(text: str, *, setting: str) -> Address:
    """Read `HOST:PORT`, `[IPV6]:PORT`.

    Raises:
        CloudError: SETTING_INVALID, naming the setting.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    usable = bool(host) and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT
    if not usable:
        detail = f"{setting}: expected HOST:PORT such as 127.0.0.1:8443 (port 0 lets the system choose), got {text!r}."
        raise CloudError(Reason.SETTING_INVALID, detail)
    return Address(host=host, port=int(port))


def read_settings(*, state: Path, api: str, devices: str, environment: Mapping[str, str]) -> CloudSettings:
    """Make settings from command-line values and the environment.

    `DATABASE_URL` names a PostgreSQL of the operator's; `DOORWARD_CLOUD_NAMES` lists, separated by commas, the names
    and addresses under which doors reach the device listener.

    Raises:
        CloudError: SETTING_INVALID.
    """
    url = environment.get("DATABASE_URL") or None
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise CloudError(Reason.SETTING_INVALID, "DATABASE_URL: expected postgresql://USER@HOST/DATABASE.")
    names = (name.strip() for name in environment.get("DOORWARD_CLOUD_NAMES", "").split(","))
    return CloudSettings(
        state=state.absolute(),
        api=parse_address(api, setting="--api"),
        devices=parse_address(devices, setting="--devices"),
        database_url=url,
        names=tuple(name for name in names if name),
    )
