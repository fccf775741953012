"""This process's connection to the broker: a seat, its share of the lanes, and what goes up and down.

Invariant: whoever is not connected holds no lane; a fault of broker or database ends connection and leases together,
and both are made anew.
Must not: end because of either: doors send over HTTPS meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import aiomqtt
import asyncpg
import structlog

from cloud.broker.announcer import Announcer
from cloud.broker.client import connect, make_context
from cloud.broker.consumer import Consumer, Subscriptions
from cloud.broker.lanes import BALANCE_S, Leases, NoSeatError, take_seat
from cloud.broker.metrics import BrokerMetrics
from cloud.broker.names import SEATS, cloud_name
from cloud.database import AWAY
from cloud.devices.authority import DeviceAuthority
from cloud.errors import CloudError
from cloud.health import Check
from cloud.settings import Address

LONG_S: Final = 30.0
"""A broker that is away for longer is told on the health page."""
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 15.0
_FAULTS: Final = (aiomqtt.MqttError, NoSeatError, CloudError, asyncpg.PostgresError, *AWAY)
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the broker is, and what is needed to be let in.

    Attributes:
        address: of the broker.
        authority: the device CA.
        folder: a private one, for a key on its way to ssl.
        database: URL of the database that leases the lanes.
    """

    address: Address
    authority: DeviceAuthority
    folder: Path
    database: str


class BrokerLink:
    """Keeps one connection.

    Args:
        place: of the broker.
        consumer: takes what comes up.
        announcer: sends down what is new.
        metrics: counts.
        now: the wall clock.
        monotonic_s: a clock that never goes back.

    Attributes:
        following: set while connected, with a share of the lanes.
        lanes: that are followed now.
    """

    def __init__(
        self,
        place: Place,
        consumer: Consumer,
        announcer: Announcer,
        metrics: BrokerMetrics,
        *,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._place = place
        self._consumer = consumer
        self._announcer = announcer
        self._metrics = metrics
        self._now = now
        self._monotonic_s = monotonic_s
        self._since_s = monotonic_s()
        self.following: Final = asyncio.Event()
        self.lanes: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Connect, and come back whenever that breaks; runs until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._session()
            except* _FAULTS as faults:
                _LOG.warning("broker_away", address=self._place.address.url("mqtts"), error=_explain(faults))
            except* Exception as faults:  # noqa: BLE001 - the supervisor of the connection: a defect of it must not end the service
                _LOG.error("broker_failed", address=self._place.address.url("mqtts"), exc_info=faults)
            if self.following.is_set():
                pause_s = _FIRST_PAUSE_S
            self._set_lanes(None)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def check(self) -> Check:
        """Tell `/health` of a broker that is away for long.

        That is no failure of the service: the doors send over HTTPS, only more slowly.
        """
        away_s = 0.0 if self.following.is_set() else self._monotonic_s() - self._since_s
        detail = (
            f"The broker at {self._place.address.url('mqtts')} has been away for {away_s:.0f} s; doors send over HTTPS"
            " meanwhile. See the log; is `doorward cloud broker` running?"
        )
        return Check(ok=True, value=len(self.lanes), detail=detail if away_s > LONG_S else None)

    async def _session(self) -> None:
        place = self._place
        async with take_seat(place.database) as leases:
            name = cloud_name(leases.seat)
            context = make_context(place.authority, name, place.folder, now=self._now())
            async with connect(place.address, context, name) as client, asyncio.TaskGroup() as group:
                await leases.join()
                group.create_task(self._hold(leases, client))
                group.create_task(self._announcer.run(client))
                group.create_task(self._consumer.run(client))

    async def _hold(self, leases: Leases, client: aiomqtt.Client) -> None:
        subscriptions = Subscriptions(client)
        while True:
            await leases.balance(subscriptions)
            if not self.following.is_set():
                _LOG.info("broker_connected", address=self._place.address.url("mqtts"), seat=leases.seat)
            self._set_lanes(frozenset(leases.lanes))
            await asyncio.sleep(BALANCE_S)

    def _set_lanes(self, lanes: frozenset[int] | None) -> None:
        """Note what is followed; None: not connected."""
        if lanes is None and self.following.is_set():
            self._since_s = self._monotonic_s()
            self.following.clear()
        elif lanes is not None:
            self.following.set()
        self.lanes = lanes or frozenset()
        self._metrics.connected.set(self.following.is_set())
        self._metrics.lanes.set(len(self.lanes))


def _explain(faults: BaseExceptionGroup[BaseException]) -> str:
    """Say what the first of the faults was; the others follow from it."""
    first: BaseException = faults
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, NoSeatError):
        return f"all {SEATS} seats are taken: as many processes of this cloud follow the broker already"
    return str(first) or type(first).__name__
