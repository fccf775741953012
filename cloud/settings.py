"""What the operator chooses: where the state lives, where to listen, which database.

Invariant: a `CloudSettings` is complete and plausible; nothing is read from the environment later.
Must not: touch the network or the file system.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloud.errors import CloudError, Reason

MIB: Final = 1024 * 1024
BROKER_PORT: Final = 8883
_MAX_PORT: Final = 65_535
_BROKER: Final = re.compile(
    r"mqtts://(?:(?P<host>[A-Za-z0-9._-]+)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen. Port 0 lets the system choose."""

    host: str
    port: int

    def names(self) -> tuple[str, ...]:
        """Give what a certificate names it by; nothing when it means "all addresses"."""
        return () if self.host in ("0.0.0.0", "::") else (self.host,)  # noqa: S104 - compared only

    def reachable(self) -> "Address":
        """Give where this machine itself connects to."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104 - as above

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
        broker: the MQTT broker; None: doors use HTTPS only.
        broker_for_doors: the broker's URL as doors are told it; None: they are told of none.
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
    broker: Address | None = None
    broker_for_doors: str | None = None
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


def parse_broker(text: str, *, setting: str) -> Address:
    """Read `mqtts://HOST:PORT`; without a port it is 8883.

    Raises:
        CloudError: SETTING_INVALID, naming the setting.
    """
    match = _BROKER.fullmatch(text)
    if match is None or not 0 < int(match["port"] or BROKER_PORT) <= _MAX_PORT:
        detail = f"{setting}: expected mqtts://HOST:PORT such as mqtts://broker.example:8883, got {text!r}."
        raise CloudError(Reason.SETTING_INVALID, detail)
    return Address(host=match["host"] or match["ipv6"], port=int(match["port"] or BROKER_PORT))


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """What the command line says of the broker; None: not said."""

    url: str | None = None
    for_doors: str | None = None


def read_settings(
    *, state: Path, api: str, devices: str, environment: Mapping[str, str], broker: BrokerChoice | None = None
) -> CloudSettings:
    """Make settings from command-line values and the environment.

    `DATABASE_URL` names a PostgreSQL of the operator's; `DOORWARD_CLOUD_NAMES` lists, separated by commas, the names
    and addresses under which doors reach the device listener; `DOORWARD_CLOUD_BROKER` is the broker's URL, and
    `DOORWARD_CLOUD_BROKER_FOR_DOORS` the one that doors are told when it differs.

    Raises:
        CloudError: SETTING_INVALID.
    """
    url = environment.get("DATABASE_URL") or None
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise CloudError(Reason.SETTING_INVALID, "DATABASE_URL: expected postgresql://USER@HOST/DATABASE.")
    place, for_doors = _read_broker(broker or BrokerChoice(), environment)
    return CloudSettings(
        state=state.absolute(),
        api=parse_address(api, setting="--api"),
        devices=parse_address(devices, setting="--devices"),
        database_url=url,
        names=read_names(environment),
        broker=place,
        broker_for_doors=for_doors,
    )


def read_names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Read `DOORWARD_CLOUD_NAMES`."""
    names = (name.strip() for name in environment.get("DOORWARD_CLOUD_NAMES", "").split(","))
    return tuple(name for name in names if name)


def _read_broker(choice: BrokerChoice, environment: Mapping[str, str]) -> tuple[Address | None, str | None]:
    url = choice.url or environment.get("DOORWARD_CLOUD_BROKER") or None
    for_doors = choice.for_doors or environment.get("DOORWARD_CLOUD_BROKER_FOR_DOORS") or None
    place = None if url is None else parse_broker(url, setting="--broker")
    if for_doors is not None:
        told = parse_broker(for_doors, setting="--broker-for-doors")
        if place is None:
            what = "--broker-for-doors: doors are told of a broker that the cloud does not follow."
            raise CloudError(Reason.SETTING_INVALID, what, remedy="Add --broker.")
        return place, told.url("mqtts")
    return place, None if place is None else place.url("mqtts")
