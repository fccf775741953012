"""Nodes of a NATS cluster that die: the one that leads, and the one that the cloud's session is on.

A system of its own: `doorward cloud serve` and doors at three nodes on loopback, each side behind a balancer that
leaves TLS alone (docs/nats.md), since every node has a port of its own here.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloud.broker.nats_program import find_server, within_reach
from cloud.broker.nats_setup import make_plan
from cloud.broker.nats_trial import Trial, kept_nodes, running_trial, write_trial
from cloud.cluster.owner import choose_owner
from cloud.errors import CloudError
from doorward.fleet.campus import Campus, enrol_fleet, open_campus
from doorward.fleet.crew import Orders, open_crew
from doorward.fleet.uplink import Way
from tests.faults.processes import SHORTLY_S
from tests.faults.service import HOST, Service
from tests.faults.system import QUICK, RECOVERY_S, NotRecoveredError, System
from tests.faults.table import Fault, Injected, Own
from tests.support.clouds import reachable_folder
from tests.support.tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cloud.broker.nats import Node
    from cloud.settings import Address

DOORS: Final = 6
_AWAY_S: Final = (0.0, 2.0)
"""Until whoever keeps a node alive starts it again."""
_CONNECT_S: Final = 5.0
_LED_S: Final = 30.0
_POLL_S: Final = 0.05
_CHUNK_BYTES: Final = 64 * 1024
_ANSWERED: Final = 'doorward_broker_answers_total{status="200"}'


@dataclass(eq=False)
class Balancer:
    """Leads each connection to one of the nodes, drawn at random among those that answer.

    Attributes:
        nodes: where they are, by name.
        at: the node that the newest connection was led to.
    """

    nodes: Mapping[str, Address]
    chance: random.Random
    at: str | None = None
    _serving: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        """Lead connections until the block ends; gives the port."""
        server = await asyncio.start_server(self._serve, HOST, port)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            # Not cancelled: a broken line ends them, while asyncio's streams would log a cancellation (Python 3.11).
            for writer in self._serving.values():
                writer.transport.abort()
            if self._serving:
                await asyncio.wait(tuple(self._serving), timeout=2 * _CONNECT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        try:
            await self._lead(reader, writer)
        finally:
            self._serving.pop(task)
            writer.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for name in self.chance.sample(sorted(self.nodes), len(self.nodes)):
            try:
                async with asyncio.timeout(_CONNECT_S):
                    opened = await asyncio.open_connection(self.nodes[name].host, self.nodes[name].port)
            except OSError:  # a TimeoutError is one
                continue
            self.at = name
            await _join((reader, writer), opened)
            return


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: _Ends, other: _Ends) -> None:
    """Carry bytes both ways until either end breaks off; then the other loses its connection, too."""
    pipes = [asyncio.create_task(_carry(one[0], other[1])), asyncio.create_task(_carry(other[0], one[1]))]
    try:
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pipe in pipes:
            pipe.cancel()
        other[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


@dataclass(kw_only=True)
class Clustered(System):
    """A system whose broker is a cluster.

    Attributes:
        trial: the nodes and their call-outs.
        way: of the cloud to them.
    """

    trial: Trial
    way: Balancer

    def answered(self) -> int:
        """Give how many batches the cloud has taken and answered through the cluster since it was started."""
        with self.service.api() as api:
            return api.counted(_ANSWERED)

    async def answers_again(self) -> None:
        """Have somebody come until a batch through the cluster is answered.

        Raises:
            NotRecoveredError: none is, in time.
        """
        before, began_s = await asyncio.to_thread(self.answered), time.monotonic()
        while await asyncio.to_thread(self.answered) == before:
            if time.monotonic() - began_s > RECOVERY_S:
                raise NotRecoveredError(f"no batch goes through the cluster any more; {self.service.words()}")
            await asyncio.sleep(_POLL_S)


async def _kill_node(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of a node under load: by turns of the one that leads, and of the one that the cloud's session is on."""
    assert isinstance(system, Clustered)
    async with asyncio.timeout(_LED_S):
        leader = await system.trial.until_led()
    name = leader if wanted % 2 == 0 else system.way.at
    assert name is not None
    system.visit_all()
    await asyncio.sleep(chance.uniform(*SHORTLY_S))
    await system.trial.servers[name].kill()
    system.visit_all()
    await asyncio.sleep(chance.uniform(*_AWAY_S))
    await system.trial.servers[name].start()
    began_s = time.monotonic()
    await system.recovered()
    await system.answers_again()
    return Injected(1, recovery_s=(time.monotonic() - began_s,))


@asynccontextmanager
async def running_cluster_system(seed: int) -> AsyncIterator[System]:
    """Run cloud, cluster and doors until the block ends."""
    folder, chance = reachable_folder(), random.Random(seed)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        service = Service.on_kept_ports(stack, folder / "cloud", folder / "cloud.log")
        stack.push_async_callback(service.kill_database)
        await service.start()
        stack.push_async_callback(service.stop)
        trial = await stack.enter_async_context(_running_nodes(service, folder / "nodes"))
        way, doors_way = (Balancer(_addresses(trial.nodes), random.Random(chance.random())) for _ in range(2))
        await stack.enter_async_context(way.listening(service.broker_port))
        port = await stack.enter_async_context(doors_way.listening())
        proxy = await stack.enter_async_context(tcp_proxy(HOST, service.device_port))
        broker_proxy = await stack.enter_async_context(tcp_proxy(HOST, port))
        campus = await asyncio.to_thread(_enrol, service, folder / "fleet")
        broker = f"mqtts://{HOST}:{broker_proxy.port}"
        orders = Orders(url=proxy.url, broker=broker, seed=seed, deadlines=QUICK)
        crew = await stack.enter_async_context(open_crew(campus, orders, ways=(Way.MQTT,)))
        await crew.ready()
        system = Clustered(
            folder=folder,
            service=service,
            proxy=proxy,
            broker_proxy=broker_proxy,
            campus=campus,
            crew=crew,
            chance=chance,
            volume=None,
            edge_volume=None,
            stack=stack,
            trial=trial,
            way=way,
        )
        stack.push_async_callback(system.send_people_away)
        system.bring_people()
        await system.recovered()
        await system.answers_again()
        yield system


@asynccontextmanager
async def _running_nodes(service: Service, home: Path) -> AsyncIterator[Trial]:
    """Run three nodes and two call-outs, as deploy/nats/up does."""
    now, state = datetime.now(UTC), service.state
    owner = choose_owner(stand_ins=("nats", "nobody"))
    with kept_nodes(home, 3, first_port=0) as nodes:
        plan = make_plan(state, nodes, (HOST, "localhost"), now=now)
        write_trial(plan, owner, folder=home, now=now)
        server = within_reach(_server(), owner, home)
        async with running_trial(
            plan, server=server, owner=owner, secrets=state / "nats", database_url=service.database_url()
        ) as trial:
            yield trial


def _addresses(nodes: tuple[Node, ...]) -> dict[str, Address]:
    return {node.name: node.mqtt for node in nodes}


def _enrol(service: Service, folder: Path) -> Campus:
    with service.api() as api:
        return enrol_fleet(api, service.device_url, open_campus(folder), DOORS, lambda *_: None)


def _server() -> Path:
    found = shutil.which("nats-server")
    beside = Path(sys.executable).with_name("nats-server")
    return find_server((beside,) if found is None else (beside, Path(found)))


def _why_no_server() -> str | None:
    try:
        _server()
    except CloudError as error:
        return error.detail
    return None


NATS: Final = (
    Fault("leader kill in the NATS cluster", 4, _kill_node, own=Own(_why_no_server, running_cluster_system)),
)
