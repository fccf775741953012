"""What of an uplink goes through a broker: batches and reports up, answers and announcements down.

A confirmation of the broker (PUBACK) means nothing here: a broker confirms what it forbids, forgets and loses. A batch
counts as delivered when the cloud's own answer to it has come.

Invariant: every call ends within its deadline; an answer of the cloud is a value, whatever it says, and an UplinkError
is a fault of this way, never the cloud's.
Must not: keep batches, try again, or believe what it carries.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Final

import aiomqtt

from sync.mqtt_refusals import explain_mqtt, silent
from sync.mqtt_session import Broker, Session, open_session
from sync.ports import Reason, UplinkError
from wire.mqtt import UP_HEALTH, Reply, batch_hash, events_topic
from wire.versions import Versions

_SLOWEST_BYTES_S: Final = 12_500
"""100 kbit/s: the slowest line on which a full batch still goes up, in 12 s."""


@dataclass(frozen=True, slots=True)
class MqttDeadlines:
    """How long each step may take, in seconds.

    Attributes:
        connect_s: reaching the broker, TLS, logging in and subscribing.
        answer_s: from the batch to the cloud's answer, beyond the time for its bytes. HTTPS stands ready: waiting
            longer than a busy cloud needs to answer only keeps events from it.
        report_s: for a report.
        knock_s: finding out why there is no connection, twice at most.
    """

    connect_s: float = 10.0
    answer_s: float = 10.0
    report_s: float = 10.0
    knock_s: float = 2.0

    def send_s(self, size_bytes: int) -> float:
        """Give the time for a batch and its answer."""
        return self.answer_s + size_bytes / _SLOWEST_BYTES_S


_USUAL: Final = MqttDeadlines()


class MqttLine:
    """A broker, and the one session there.

    Args:
        broker: where it is.
        deadlines: of each step.

    Attributes:
        stirred: set when something was announced and when a session is over; whoever looks clears it.
        sessions: how many there have been.
    """

    def __init__(self, broker: Broker, deadlines: MqttDeadlines = _USUAL) -> None:
        self._broker = broker
        self._deadlines = deadlines
        self._session: Session | None = None
        self._closed = False
        self.stirred = asyncio.Event()
        self.sessions = 0

    @property
    def usable(self) -> bool:
        """Whether there is a session on which answers arrive."""
        return self._session is not None and self._session.usable

    @property
    def hears_versions(self) -> bool:
        """Whether the session tells what is new."""
        return self._session is not None and self._session.usable and self._session.hears_versions

    @property
    def heard(self) -> Versions | None:
        """Give the newest announcement of this session, None before its first: a hint, not signed."""
        return None if self._session is None else self._session.heard

    async def connect(self) -> None:
        """Open a session, unless there is one.

        Raises:
            UplinkError: there is none.
        """
        if self.usable:
            return
        await self._leave()
        if self._closed:
            raise _closed()
        times = self._deadlines
        session = await open_session(self._broker, self.stirred, connect_s=times.connect_s, knock_s=times.knock_s)
        self._session = session
        self.sessions += 1

    async def over(self) -> UplinkError:
        """Wait until the session is over, free it, and give why."""
        fault = self._none() if self._session is None else await self._session.over()
        await self._leave()
        return fault

    async def send_batch(self, data: bytes) -> Reply:
        """Deliver a signed batch and give the cloud's answer, unverified.

        Raises:
            UplinkError: no answer came, and the session is over.
        """
        session = self._usable()
        try:
            async with asyncio.timeout(self._deadlines.send_s(len(data))):
                return await self._exchange(session, data)
        except (aiomqtt.MqttError, OSError) as error:  # TimeoutError is an OSError; half-open connections end in it
            raise self._end(session, error) from error

    async def report(self, data: bytes) -> None:
        """Send a report of health; that it is on its way is enough, the next one makes up for a lost one.

        Raises:
            UplinkError: it could not be sent, and the session is over.
        """
        session = self._usable()
        try:
            async with asyncio.timeout(self._deadlines.report_s):
                await session.client.publish(self._broker.topic(UP_HEALTH), data, qos=0, timeout=math.inf)
        except (aiomqtt.MqttError, OSError) as error:
            raise self._end(session, error) from error

    async def aclose(self) -> None:
        """End the session; a second call does nothing."""
        self._closed = True
        await self._leave()

    async def _exchange(self, session: Session, data: bytes) -> Reply:
        name = batch_hash(data)
        # The same batch sent twice at a time waits for one answer.
        future = session.waiting.setdefault(name, asyncio.get_running_loop().create_future())
        try:
            up = events_topic(self._broker.tenant, self._broker.device)
            await session.client.publish(up, data, qos=0, timeout=math.inf)
            return await asyncio.shield(future)
        finally:
            session.waiting.pop(name, None)
            if future.done() and not future.cancelled():
                future.exception()  # looked at, should publishing have failed first

    def _usable(self) -> Session:
        if self._session is None or not self._session.usable:
            raise self._none()
        return self._session

    def _none(self) -> UplinkError:
        what = f"there is no session with the broker at {self._broker.url}"
        return UplinkError(Reason.UNREACHABLE, what=what, remedy="one is opened again by itself")

    def _end(self, session: Session, error: aiomqtt.MqttError | OSError) -> UplinkError:
        """End a session that failed and give why; a half-open connection is one that is silent."""
        url = self._broker.url
        fault = silent(url) if isinstance(error, TimeoutError) else explain_mqtt(error, url)
        session.end(fault)
        return fault

    async def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()


def _closed() -> UplinkError:
    return UplinkError(Reason.CLOSED, what="the uplink was closed", remedy="open it again")
