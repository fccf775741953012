"""The ways of simulated doors to the cloud, counted.

Invariant: what goes over the line is made by the real uplinks; here it is only counted. Only a benchmark that would
measure its own doors otherwise may make their requests in a leaner way.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from doorward.errors import CliError, ExitCode
from edge.config import is_broker_url
from sync.failover import FailoverUplink
from sync.https_uplink import Deadlines, HttpsUplink, open_https_uplink
from sync.ports import Fetched, Notice, NotModified, Uplink, UplinkError
from sync.surroundings import SystemSurroundings
from wire.health import Way as BrokerWay
from wire.names import DeviceId, Tenant
from wire.versions import Versions


class Way(Enum):
    """How events go up."""

    HTTPS = "https"
    MQTT = "mqtt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where the cloud is, and who a door is there.

    Attributes:
        url: of the device listener.
        broker: "mqtts://host:port"; None without MQTT.
        certificate, key, ca: PEM files.
        deadlines: of each call over HTTPS.
        https: how requests are made; None as a real door makes them.
    """

    url: str
    broker: str | None
    tenant: Tenant
    device: DeviceId
    certificate: Path
    key: Path
    ca: Path
    deadlines: Deadlines = field(default_factory=Deadlines)
    https: type[HttpsUplink] | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A way to the cloud.

    Attributes:
        session: keeps its session with the broker; None where there is no broker.
        by_broker: tells whether batches go through the broker now.
    """

    uplink: Uplink
    session: Callable[[], Awaitable[None]] | None = None
    by_broker: Callable[[], bool] = bool


class _Deaf:
    """`sync.ports.Notices` of a way: that a broker is away is no fault of a door, which has another way."""

    def notice(self, notice: Notice) -> None:
        """Forget it."""


def check_way(way: Way, broker: str | None) -> None:
    """Find out, before a door is made, whether doors can go this way.

    Raises:
        CliError: UNUSABLE without a broker's address or for one that is none, MISSING_PART without the part for MQTT.
    """
    if broker is not None and not is_broker_url(broker):
        what = f"--broker {broker!r} is not the address of a broker"
        raise CliError(ExitCode.UNUSABLE, what=what, remedy="name it as mqtts://HOST:PORT")
    if way is Way.HTTPS:
        return
    if broker is None:
        what = "events are to go over MQTT, but no broker is named"
        raise CliError(ExitCode.UNUSABLE, what=what, remedy="name it with --broker mqtts://HOST:PORT")
    if find_spec("aiomqtt") is None:
        what = "this installation lacks the part 'mqtt'"
        raise CliError(ExitCode.MISSING_PART, what=what, remedy="install it with: pip install 'doorward[mqtt]'")


def open_uplink(line: Line, way: Way) -> Opened:
    """Open the way of one door, joined as a real door's; nothing is sent yet.

    Raises:
        UplinkError: the files cannot be used, or an address is none.
        CliError: as `check_way`.
    """
    check_way(way, line.broker)
    https = open_https_uplink(
        url=line.url,
        certificate=line.certificate,
        key=line.key,
        ca=line.ca,
        deadlines=line.deadlines,
        kind=line.https,
    )
    if line.broker is None or way is Way.HTTPS:
        return Opened(https)
    from sync.mqtt_line import MqttDeadlines, MqttLine  # noqa: PLC0415 - an optional part
    from sync.mqtt_session import Broker  # noqa: PLC0415

    broker = Broker(
        url=line.broker,
        tenant=line.tenant,
        device=line.device,
        certificate=line.certificate,
        key=line.key,
        ca=line.ca,
    )
    quick = min(line.deadlines.send_s, MqttDeadlines().answer_s)
    deadlines = MqttDeadlines(connect_s=line.deadlines.connect_s, answer_s=quick)
    joined = FailoverUplink(MqttLine(broker, deadlines), https, SystemSurroundings(), _Deaf())
    return Opened(joined, joined.run, lambda: joined.status.way is BrokerWay.MQTT)


@dataclass(slots=True)
class Traffic:
    """What went over the lines.

    Attributes:
        batches: that were sent; by_broker: of them through a broker, the others over HTTPS.
        refusals: batches without an acknowledgement, by reason.
        sent_bytes: of batches; received_bytes: of acknowledgements and documents, without what TLS and HTTP add.
    """

    batches: int = 0
    by_broker: int = 0
    fetches: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    refusals: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Traffic") -> None:
        """Add another's counts."""
        self.batches += other.batches
        self.by_broker += other.by_broker
        self.fetches += other.fetches
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.refusals += other.refusals


class CountedUplink:
    """`sync.ports.Uplink` that counts.

    Args:
        inner: does the work.
        traffic: is counted in.
    """

    def __init__(self, inner: Uplink, traffic: Traffic) -> None:
        self._inner = inner
        self._traffic = traffic

    @property
    def bearable_events(self) -> int:
        """How many events the next batch may have."""
        return self._inner.bearable_events

    @property
    def direct(self) -> bool:
        """Whether the cloud itself answered."""
        return self._inner.direct

    async def send_batch(self, data: bytes) -> bytes:
        """Deliver a signed batch."""
        self._traffic.batches += 1
        self._traffic.sent_bytes += len(data)
        try:
            answer = await self._inner.send_batch(data)
        except UplinkError as error:
            self._traffic.refusals[error.reason.value] += 1
            raise
        finally:
            self._traffic.by_broker += not self._inner.direct
        self._traffic.received_bytes += len(answer)
        return answer

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        """Get a document."""
        found = await self._inner.fetch(path, etag=etag, query=query, max_bytes=max_bytes)
        self._traffic.fetches += 1
        if isinstance(found, Fetched):
            self._traffic.received_bytes += len(found.data)
        return found

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        """Ask for the cloud's versions."""
        return await self._inner.changes(versions, wait_s=wait_s)

    def doubt(self) -> None:
        """Learn that the last batch was refused."""
        self._inner.doubt()

    async def report(self, data: bytes) -> None:
        """Send a report of health."""
        await self._inner.report(data)

    async def aclose(self) -> None:
        """End all connections."""
        await self._inner.aclose()
