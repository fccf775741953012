"""A whole NATS cluster on one machine, for trial and tests: servers, call-outs, and who leads.

Invariant: whatever was started is ended with us, also after a fault half way.
Must not: be used for real doors: one machine has one power supply.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import httpx

from cloud.broker.nats import Node, Plan, callout_file, write_node
from cloud.cluster.owner import Owner
from cloud.errors import CloudError, Reason
from cloud.files import write_file
from cloud.settings import Address

HOST: Final = "127.0.0.1"
CALLOUTS: Final = 2
_START_S: Final = 60.0
_STOP_S: Final = 10.0
_POLL_S: Final = 0.1
_ASK_S: Final = 2.0
_LAST_BYTES: Final = 600
_Result = TypeVar("_Result")


@dataclass(slots=True)
class Child:
    """A process of ours.

    Attributes:
        name: for people.
        log: what it says.
        process: the newest.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    owner: Owner | None = None
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        switch = self.owner if self.owner is not None and self.owner.switch else None
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to hear
                user=switch.uid if switch else None,
                group=switch.gid if switch else None,
                extra_groups=[] if switch else None,
            )

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.returncode is None

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            CloudError: BROKER_FAILED, with its last words.
        """
        if not self.running:
            words = self.log.read_bytes()[-_LAST_BYTES:].decode(errors="replace").strip()
            raise CloudError(Reason.BROKER_FAILED, f"{self.name} ended; it said: {words} (more in {self.log})")

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def stop(self) -> None:
        """End it cleanly within 10 s, by force after that."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await self.process.wait()
        except TimeoutError:
            await self.kill()


@dataclass(frozen=True, slots=True)
class Trial:
    """A cluster that runs."""

    nodes: tuple[Node, ...]
    servers: Mapping[str, Child]
    callouts: tuple[Child, ...]

    async def leader(self) -> str | None:
        """Give the name of the node that leads, when all running nodes say the same."""
        async with httpx.AsyncClient(timeout=_ASK_S) as client:
            asked = [_leader(client, node) for node in self.nodes if self.servers[node.name].running]
            said = set(await asyncio.gather(*asked))
        return said.pop() if len(said) == 1 else None

    async def until_led(self) -> str:
        """Wait for a leader whom all running nodes follow; give its name."""
        while (leader := await self.leader()) is None or not self.servers[leader].running:  # noqa: ASYNC110 - servers of others
            await asyncio.sleep(_POLL_S)
        return leader


@contextmanager
def kept_nodes(folder: Path, count: int, *, first_port: int) -> Iterator[tuple[Node, ...]]:
    """Lay out nodes on the loopback address; until the block ends nobody else gets their ports, also while one is dead.

    Args:
        folder: theirs, one below it each.
        count: how many.
        first_port: of MQTT; the others follow. 0: any free ones.
    """
    with ExitStack() as stack:
        yield tuple(
            Node(
                name=f"node-{number + 1}",
                mqtt=Address(HOST, first_port + number if first_port else _kept_port(stack)),
                route=Address(HOST, _kept_port(stack)),
                route_listen=HOST,
                client=Address(HOST, _kept_port(stack)),
                monitor=Address(HOST, _kept_port(stack)),
                place=folder / f"node-{number + 1}",
                store=folder / f"node-{number + 1}" / "jetstream",
            )
            for number in range(count)
        )


def _kept_port(stack: ExitStack) -> int:
    """Take a free port without listening there: a server that reuses addresses can, others are not given it."""
    taken = stack.enter_context(socket.socket())
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((HOST, 0))
    port: int = taken.getsockname()[1]
    return port


@asynccontextmanager
async def running_trial(
    plan: Plan, *, server: Path, owner: Owner, secrets: Path, database_url: str
) -> AsyncIterator[Trial]:
    """Run a cluster whose folders and files are written (`write_trial`) until the block ends.

    Args:
        plan: of the cluster.
        server: the program.
        owner: who runs the servers.
        secrets: a folder of ours, for the call-outs.
        database_url: for the call-outs.

    Raises:
        CloudError: BROKER_FAILED.
    """
    home = plan.nodes[0].place.parent
    configuration = secrets / "trial-callout.json"
    write_file(configuration, callout_file(plan.nodes, plan, database_url, folder=plan.nodes[0].place))
    servers = {
        node.name: Child(
            node.name, (str(server), "-c", str(node.place / "nats.conf")), home / f"{node.name}.log", owner=owner
        )
        for node in plan.nodes
    }
    command = (sys.executable, "-m", "cloud.broker.callout", "--config", str(configuration))
    callouts = tuple(
        Child(f"callout-{number + 1}", command, home / f"callout-{number + 1}.log") for number in range(CALLOUTS)
    )
    async with AsyncExitStack() as stack:
        for child in (*servers.values(), *callouts):
            stack.push_async_callback(child.stop)
        for child in servers.values():
            await child.start()
        trial = Trial(plan.nodes, servers, callouts)
        await _while_running(trial.until_led(), tuple(servers.values()))
        for child in callouts:
            await _start_ready(child)
        yield trial


def write_trial(plan: Plan, owner: Owner, *, folder: Path, now: datetime) -> None:
    """Write the nodes' folders below `folder`, for `running_trial`.

    Raises:
        CloudError: STATE_UNUSABLE or CLUSTER_FOREIGN.
    """
    owner.make_folder(folder)
    for node in plan.nodes:
        write_node(node.place, node, plan, owner=owner, now=now)


async def _leader(client: httpx.AsyncClient, node: Node) -> str | None:
    try:
        said = (await client.get(node.monitor.url("http") + "/jsz")).json()
    except (httpx.HTTPError, ValueError):
        return None
    meta = said.get("meta_cluster") if isinstance(said, dict) else None
    leader = meta.get("leader") if isinstance(meta, dict) else None
    return str(leader) if leader else None


async def _start_ready(child: Child) -> None:
    """Start a call-out and wait until it says that it answers."""
    begin = child.log.stat().st_size if child.log.exists() else 0
    await child.start()
    await _while_running(_until_said(child.log, b"callout_ready", begin), (child,))


async def _until_said(log: Path, word: bytes, begin: int) -> None:
    while word not in log.read_bytes()[begin:]:  # noqa: ASYNC110, ASYNC240 - a short file of another process
        await asyncio.sleep(_POLL_S)


async def _while_running(work: Coroutine[None, None, _Result], children: Sequence[Child]) -> _Result:
    """Do some work that fails as soon as one of the children ends."""
    task = asyncio.create_task(work)
    try:
        async with asyncio.timeout(_START_S):
            while not task.done():
                for child in children:
                    child.check()
                await asyncio.wait((task,), timeout=_POLL_S)
        return task.result()
    except TimeoutError as error:
        names = ", ".join(child.name for child in children)
        detail = f"{names}: not ready within {_START_S:.0f} s; the logs are in {children[0].log.parent}."
        raise CloudError(Reason.BROKER_FAILED, detail) from error
    finally:
        task.cancel()
