"""`doorward cloud broker`: mosquitto with our configuration, watched, renewed and stopped.

Invariant: one server at a time works in STATE/broker, and none once we have ended in order; its certificate is renewed
before it ends.
Must not: make a device CA: that is the cloud's, which has to have been started once.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import aiomqtt
import structlog

from cloud.broker.child import STOP_S, Child
from cloud.broker.client import connect, make_context
from cloud.broker.mosquitto import BrokerFiles, write_broker_files, write_certificate
from cloud.broker.names import WATCH_NAME
from cloud.broker.programs import find_mosquitto, left_behind
from cloud.cluster.owner import Owner, choose_owner, open_way
from cloud.cluster.postmaster import wait_gone
from cloud.devices.authority import DeviceAuthority, load_authority
from cloud.devices.listener import ALWAYS_NAMED
from cloud.errors import CloudError, Reason
from cloud.listeners import bind, bound_address
from cloud.notify import notify
from cloud.settings import Address
from cloud.tasks import first_of

START_S: Final = 15.0
WATCH_S: Final = 10.0
"""Between two questions whether it answers."""
MISSES: Final = 3
"""So often in a row it may not answer before it is ended and started again."""
RENEW_BEFORE: Final = timedelta(days=30)
_LOOK_S: Final = timedelta(hours=6).total_seconds()
_PROBE: Final = "dw/watch"
_MISSED_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 15.0
_STEADY_S: Final = 60.0
"""A server that ran for as long is started again without a longer pause."""
_FAULTS: Final = (aiomqtt.MqttError, OSError)
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """What the operator chooses.

    Attributes:
        state: the cloud's state folder.
        listen: where doors and cloud connect; port 0: any free one.
        names: further host names and addresses for the certificate.
        program: mosquitto; None looks for it.
        watch_s: between two questions whether it answers.
    """

    state: Path
    listen: Address
    names: tuple[str, ...] = ()
    program: str | None = None
    watch_s: float = WATCH_S


class BrokerServer:
    """The server, from its files to its end.

    Args:
        settings: what the operator chose.
        authority: the device CA.
        owner: whom it runs as.
        address: where it listens.
        now: the wall clock.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        authority: DeviceAuthority,
        owner: Owner,
        address: Address,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._authority = authority
        self._owner = owner
        self._program = settings.program or find_mosquitto()
        self._now = now
        self._names = tuple(dict.fromkeys((*ALWAYS_NAMED, *address.names(), *settings.names)))
        self._files: BrokerFiles | None = None
        self._child: Child | None = None
        self._ends = now()
        self.address: Final = address

    @property
    def pid(self) -> int:
        """The server's process id; 0 while none runs."""
        return 0 if self._child is None or self._child.ended.is_set() else self._child.pid

    async def start(self) -> None:
        """Write its files, start it and return when it answers.

        Raises:
            CloudError: BROKER_FAILED with its last words, STATE_UNUSABLE or CLUSTER_FOREIGN.
        """
        folder = self._settings.state / "broker"
        self._files = write_broker_files(
            folder, self._authority, self._owner, address=self.address, names=self._names, now=self._now()
        )
        self._ends = self._files.ends
        self._child = child = await Child.start(
            [self._program, "-c", str(self._files.configuration)], folder, self._owner
        )
        try:
            async with asyncio.timeout(START_S):
                await first_of(child.ended.wait(), self._answering())
        except TimeoutError as error:
            await child.stop()
            detail = f"mosquitto does not answer after {START_S:.0f} s: {child.last_words}"
            raise CloudError(Reason.BROKER_FAILED, detail) from error
        if child.ended.is_set():
            raise CloudError(Reason.BROKER_FAILED, f"mosquitto has ended at once: {child.last_words}")

    async def supervise(self) -> None:
        """Start it again whenever it ends or does not answer; runs until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s, began_s = _FIRST_PAUSE_S, loop.time()
        while True:
            if self._child is not None:
                await first_of(self._child.ended.wait(), self._watch())
                _LOG.warning("broker_ended", died=self._child.ended.is_set(), ran_s=round(loop.time() - began_s))
                self._child.signal(signal.SIGKILL)
                await self._child.stop()
            pause_s = _FIRST_PAUSE_S if loop.time() - began_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)
            began_s = loop.time()
            try:
                await self.start()
                _LOG.info("broker_started_again", pid=self.pid)
            except CloudError as error:
                self._child = None
                _LOG.error("broker_not_started", detail=error.detail)

    async def renew(self) -> None:
        """Look every few hours whether its certificate ends soon; runs until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.renew_if_due()

    def renew_if_due(self) -> bool:
        """Give it a fresh certificate when the present one ends within 30 days; sessions go on. Tells whether.

        What cannot be written is tried again at the next look; until it ends, the present certificate serves.
        """
        if self._files is None or self._child is None or self._ends - self._now() > RENEW_BEFORE:
            return False
        try:
            self._ends = write_certificate(
                self._files.certificate, self._authority, self._owner, names=self._names, now=self._now()
            )
        except CloudError as error:
            remedy = "mend what the detail says; it is tried again every few hours"
            _LOG.error("broker_certificate_not_renewed", detail=error.detail, remedy=remedy)
            return False
        self._child.signal(signal.SIGHUP)
        _LOG.info("broker_certificate_renewed", ends=self._ends.isoformat())
        return True

    async def stop(self) -> None:
        """End it."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop()

    async def _answering(self) -> None:
        """Return once it lets us in."""
        while True:
            try:
                async with self._watcher():
                    return
            except _FAULTS:
                await asyncio.sleep(_FIRST_PAUSE_S)

    async def _watch(self) -> None:
        """Ask from time to time; return when there was no answer `MISSES` times in a row."""
        missed = 0
        while missed < MISSES:
            try:
                async with self._watcher() as client:
                    while True:
                        await client.subscribe(_PROBE)
                        missed = 0
                        notify("WATCHDOG=1", address=os.environ.get("NOTIFY_SOCKET"))
                        await asyncio.sleep(self._settings.watch_s)
            except _FAULTS as error:
                missed += 1
                _LOG.warning("broker_silent", error=str(error), times=missed)
                await asyncio.sleep(_MISSED_S)

    @asynccontextmanager
    async def _watcher(self) -> AsyncIterator[aiomqtt.Client]:
        context = make_context(self._authority, WATCH_NAME, self._settings.state / "ca", now=self._now())
        async with connect(self.address.reachable(), context, WATCH_NAME) as client:
            yield client


async def serve_broker(
    settings: BrokerSettings,
    *,
    ready: Callable[[BrokerServer], None],
    now: Callable[[], datetime],
    stop: asyncio.Event,
) -> None:
    """Run a broker until `stop` is set.

    Args:
        settings: what the operator chose.
        ready: is called once it answers.
        now: the wall clock.
        stop: ends it.

    Raises:
        CloudError: why it cannot start: BROKER_MISSING, BROKER_FAILED, PORT_IN_USE, SETTING_INVALID, STATE_IN_USE,
            STATE_UNUSABLE, CLUSTER_FOREIGN or CLUSTER_UNREACHABLE.
    """
    authority = _authority(settings.state)
    owner = choose_owner(stand_ins=("mosquitto", "nobody"), program="mosquitto")
    open_way(settings.state, owner, program="mosquitto")
    with _locked(settings.state):
        await _end_left_behind(settings.state / "broker")
        with bind(settings.listen, setting="--listen") as found:
            address = bound_address(found)
        server = BrokerServer(settings, authority, owner, address, now=now)
        try:
            await first_of(stop.wait(), server.start())
            if not stop.is_set():
                ready(server)
                notify("READY=1", address=os.environ.get("NOTIFY_SOCKET"))
                await first_of(stop.wait(), server.supervise(), server.renew())
            notify("STOPPING=1", address=os.environ.get("NOTIFY_SOCKET"))
        finally:
            await server.stop()


def _authority(state: Path) -> DeviceAuthority:
    authority = load_authority(state / "ca")
    if authority is None:
        what = f"{state / 'ca'} holds no device CA; the cloud makes it when it is started for the first time."
        raise CloudError(Reason.STATE_UNUSABLE, what, remedy=f"Run: doorward cloud serve --state {state}")
    return authority


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep a second broker out of the same state folder."""
    with (state / "broker.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"{state} is in use by another `doorward cloud broker`."
            raise CloudError(Reason.STATE_IN_USE, what, remedy="Stop that first.") from error
        yield


async def _end_left_behind(folder: Path) -> None:
    """End the server of a run that was killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = left_behind(folder)
        if pid is None:
            return
        _LOG.warning("broker_left_behind", pid=pid)
        os.kill(pid, number)
        await wait_gone(pid, folder, deadline_s=STOP_S)
