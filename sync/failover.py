"""Two ways to the cloud: batches through the broker while it works, everything over HTTPS when it does not.

Documents come over HTTPS always; a broker only tells that there are new ones. What fails on the way through the broker
goes over HTTPS at once; the broker is tried again beside it, so that no batch waits for that.

Invariant: no fault of a broker, and no lie of one, keeps a batch from the cloud or the door from asking it.
Must not: take a refusal of the cloud for a fault of the broker.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sync.answers import refuse, unreadable
from sync.hints import Hints, with_taken_commands
from sync.ports import (
    Direction,
    Fetched,
    Notice,
    Notices,
    NotModified,
    Reason,
    Surroundings,
    Uplink,
    UplinkError,
)
from sync.ways import Retry, WayStatus
from wire.health import Way
from wire.mqtt import MAX_EVENTS, MAX_UP_BYTES, Reply
from wire.versions import Versions

if TYPE_CHECKING:
    from sync.mqtt_line import MqttLine  # at run time an optional package would be needed where no broker is

_OK: Final = 200


class FailoverUplink:
    """`sync.ports.Uplink` over a broker and HTTPS; `run` keeps the session with the broker.

    Args:
        line: the way through the broker.
        https: the other one, and the way of everything but batches and reports; both are closed with this.
        surroundings: clocks, waiting and chance.
        notices: the log.

    Attributes:
        status: which way is used, and why it is not the broker.
        direct: the last batch was answered over HTTPS.
    """

    def __init__(self, line: "MqttLine", https: Uplink, surroundings: Surroundings, notices: Notices) -> None:
        self._line = line
        self._https = https
        self._surroundings = surroundings
        self._notices = notices
        self._retry = Retry()
        self._hints = Hints()
        self._unanswered: bytes | None = None
        self._doubted = False
        self.direct = False
        self.status = WayStatus(Way.HTTPS, surroundings.wall_ms())

    async def run(self) -> None:
        """Keep a session with the broker until cancelled."""
        while True:
            held_s = await self._use_broker()
            self._retry = self._retry.lost(held_s=held_s)
            await self._surroundings.sleep(self._retry.delay_s(self._surroundings.fraction()))

    @property
    def bearable_events(self) -> int:
        """Few through a broker: it may have to keep a batch of each door."""
        return MAX_EVENTS if self._by_broker and not self._doubted else self._https.bearable_events

    async def send_batch(self, data: bytes) -> bytes:
        """Deliver a signed batch and give the acknowledgement's bytes, unverified.

        One that was made for HTTPS goes that way, though a broker may have come back meanwhile.
        """
        doubted, self._doubted = self._doubted, False
        if self._by_broker and not doubted and len(data) <= MAX_UP_BYTES:
            reply = await self._reply(data)
            if reply is not None:
                self.direct = False
                return _answer(reply)
        self.direct = True
        return await self._https.send_batch(data)

    def doubt(self) -> None:
        """Hear the cloud itself the next time: a broker may refuse in its name, or repeat an old answer."""
        self._doubted = True

    async def report(self, data: bytes) -> None:
        """Send a report of health."""
        if self._by_broker:
            try:
                await self._line.report(data)
            except UplinkError as fault:
                self._turn(Way.HTTPS, fault)
            else:
                return
        await self._https.report(data)

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        """Get a document of at most `max_bytes`, over HTTPS."""
        return await self._https.fetch(path, etag=etag, query=query, max_bytes=max_bytes)

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        """Give the cloud's versions at once when they differ from `versions`, else after `wait_s` seconds or more.

        While the broker tells of changes the cloud is asked when it does, and every few minutes; otherwise it is asked
        to wait. Either way the answer is the cloud's own.
        """
        began_ms = self._surroundings.monotonic_ms()
        while wait_s > 0 and self._by_broker and self._line.hears_versions:
            self._line.stirred.clear()
            pause_s = self._pause_s(versions)
            if pause_s > 0:
                await self._surroundings.wait_for(self._line.stirred, pause_s)
                continue
            found = await self._asked(versions)
            waited_ms = self._surroundings.monotonic_ms() - began_ms
            if waited_ms >= wait_s * 1000 or with_taken_commands(found, versions) != versions:
                return found
        if wait_s == 0:
            return await self._asked(versions)
        return await self._https.changes(versions, wait_s=wait_s)

    async def aclose(self) -> None:
        """End all connections; a second call does nothing."""
        await self._line.aclose()
        await self._https.aclose()

    # --- the broker ------------------------------------------------------------------------------------------

    @property
    def _by_broker(self) -> bool:
        return self.status.way is Way.MQTT and self._line.usable

    async def _use_broker(self) -> float:
        """Hold a session as long as it lasts and give how long that was, in seconds."""
        try:
            await self._line.connect()
            await self._prove()
        except UplinkError as fault:
            self._turn(Way.HTTPS, fault)
            await self._line.over()
            return 0.0
        began_ms = self._surroundings.monotonic_ms()
        self._turn(Way.MQTT, None)
        self._turn(Way.HTTPS, await self._line.over())
        return (self._surroundings.monotonic_ms() - began_ms) / 1000

    async def _prove(self) -> None:
        """After silence, have the batch answered that was not: a broker may run without a cloud, or forbid a topic.

        It has gone over HTTPS since; the cloud answers a repeated batch as the first (docs/spec/mqtt.md, rule 3).
        """
        if self._unanswered is not None:
            await self._line.send_batch(self._unanswered)
            self._unanswered = None

    async def _reply(self, data: bytes) -> Reply | None:
        """Give the cloud's answer through the broker, None when there is none."""
        try:
            reply = await self._line.send_batch(data)
        except UplinkError as fault:
            if fault.reason is Reason.DEADLINE:
                self._unanswered = data
            self._turn(Way.HTTPS, fault)
            return None
        self._retry = Retry()
        return reply

    def _turn(self, way: Way, fault: UplinkError | None) -> None:
        """Note the way that is used; a change of it, or of what is wrong, is told once."""
        before = self.status
        self.status = before.turned(way, fault, wall_ms=self._surroundings.wall_ms())
        if (before.way, before.reason) == (way, self.status.reason):
            return
        said = "batches go through the broker" if fault is None else f"batches go over HTTPS: {fault}"
        self._notices.notice(Notice(Direction.BROKER, self.status.reason, said))

    # --- what is new -----------------------------------------------------------------------------------------

    def _hinted(self, versions: Versions) -> bool:
        heard = self._line.heard
        return heard is not None and with_taken_commands(heard, versions) != versions

    def _pause_s(self, versions: Versions) -> float:
        now_ms = self._surroundings.monotonic_ms()
        return self._hints.wait_s(now_ms=now_ms, session=self._line.sessions, hinted=self._hinted(versions))

    async def _asked(self, versions: Versions) -> Versions:
        """Ask the cloud now; what is announced from here on counts as new."""
        session, hinted = self._line.sessions, self._hinted(versions)
        found = await self._https.changes(versions, wait_s=0)
        self._hints = self._hints.asked(
            now_ms=self._surroundings.monotonic_ms(),
            session=session,
            fraction=self._surroundings.fraction(),
            hinted=hinted,
            fruitful=with_taken_commands(found, versions) != versions,
        )
        return found


def _answer(reply: Reply) -> bytes:
    """Give the acknowledgement, or raise the refusal; where and when it would have batches sent is not believed.

    A broker could say again and again that the cloud has nothing, or no time; the cloud itself is asked next (`doubt`).
    """
    if reply.status != _OK:
        try:
            refuse(reply.status, reply.body, retry_after=None)
        except UplinkError as said:
            said.durable = None
            raise
    if not reply.body:
        raise unreadable("an empty acknowledgement")
    return reply.body
