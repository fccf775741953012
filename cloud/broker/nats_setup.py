"""What deploy/nats/up and deploy/nats/configure run.

    python -m cloud.broker.nats_setup up --state STATE
    python -m cloud.broker.nats_setup configure --state STATE --node a=10.0.0.1 --node b=… --node c=… --name NAME

Invariant: secrets are read from files and the environment and written to files that nobody else may read.
Must not: touch a machine other than this one.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cloud.broker.nats import Node, Plan, callout_file, write_node
from cloud.broker.nats_keys import open_cluster_keys
from cloud.broker.nats_program import find_server, places, within_reach
from cloud.broker.nats_trial import HOST, Trial, kept_nodes, running_trial, write_trial
from cloud.cluster import PrivateCluster
from cloud.cluster.owner import Owner, choose_owner
from cloud.devices.authority import open_authority
from cloud.errors import CloudError, Reason
from cloud.settings import Address
from wire.errors import WireError
from wire.passes import slug

MQTT_PORT: Final = 8883
_ROUTE_PORT: Final = 6222
_CLIENT_PORT: Final = 4222
_MONITOR_PORT: Final = 8222
_ALL: Final = "0.0.0.0"  # noqa: S104 - doors come from everywhere; each shows a certificate
_PLACE: Final = Path("/etc/doorward-nats")
_STORE: Final = Path("/var/lib/doorward-nats/jetstream")
_WATCH_S: Final = 0.5
_OWNERS: Final = ("nats", "nobody")


def make_plan(state: Path, nodes: Sequence[Node], names: Sequence[str], *, now: datetime) -> Plan:
    """Put together what the nodes have in common, from the state of a cloud that has been started before.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    ca = state / "ca"
    if not (ca / "device-ca.pem").exists():
        detail = f"{state} is no state of a cloud; start it once: doorward cloud serve --state {state}"
        raise CloudError(Reason.STATE_UNUSABLE, detail)
    keys = open_cluster_keys(state / "nats", now=now)
    return Plan(nodes=tuple(nodes), keys=keys, authority=open_authority(ca, now=now), names=tuple(names))


def database_of(state: Path, given: str | None) -> str:
    """Give the address of the cloud's database: the operator's, or the private one while it runs.

    Raises:
        CloudError: DATABASE_UNAVAILABLE.
    """
    url = given or PrivateCluster(state).running_url()
    if url is None:
        detail = f"No cloud serves from {state}: start it (doorward cloud serve --state {state}), or set DATABASE_URL."
        raise CloudError(Reason.DATABASE_UNAVAILABLE, detail)
    return url


def real_nodes(places_of: Sequence[str]) -> tuple[Node, ...]:
    """Read NAME=HOST for each machine.

    Raises:
        CloudError: SETTING_INVALID.
    """
    nodes = []
    for text in places_of:
        name, _, host = text.partition("=")
        try:
            slug(name, "node")
        except WireError:
            host = ""
        if not host:
            raise CloudError(Reason.SETTING_INVALID, f"--node: expected NAME=HOST such as a=10.0.0.1, got {text!r}.")
        nodes.append(
            Node(
                name=name,
                mqtt=Address(_ALL, MQTT_PORT),
                route=Address(host, _ROUTE_PORT),
                route_listen=_ALL,
                client=Address(HOST, _CLIENT_PORT),
                monitor=Address(HOST, _MONITOR_PORT),
                place=_PLACE,
                store=_STORE,
            )
        )
    if len({node.name for node in nodes}) != len(nodes) or len(nodes) % 2 == 0:
        detail = (
            "--node: name an odd number of nodes, three as a rule, each with a name of its own: the majority leads."
        )
        raise CloudError(Reason.SETTING_INVALID, detail)
    return tuple(nodes)


def configure(options: argparse.Namespace) -> None:
    """Write a folder for each machine.

    Raises:
        CloudError: SETTING_INVALID, STATE_UNUSABLE or CLUSTER_FOREIGN.
    """
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        detail = "DATABASE_URL is not set: the call-outs on the nodes ask the cloud's PostgreSQL for the devices."
        raise CloudError(Reason.SETTING_INVALID, detail)
    now = datetime.now(UTC)
    plan = make_plan(options.state, real_nodes(options.node), options.name, now=now)
    owner = _ourselves()
    owner.make_folder(options.folder)
    for node in plan.nodes:
        folder = options.folder / node.name
        write_node(folder, node, plan, owner=owner, now=now)
        callout = callout_file((node,), plan, database_url, folder=Path())
        owner.write_file(folder / "callout.json", callout.decode())
        _say(f"{folder}: copy it to {_PLACE} on {node.route.host}")


async def up(options: argparse.Namespace) -> None:
    """Run a cluster on this machine until SIGTERM or SIGINT.

    Raises:
        CloudError: why it cannot run.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    owner = choose_owner(stand_ins=_OWNERS)
    folder = options.folder or options.state / "nats-trial"
    if not folder.parent.is_dir():
        detail = f"There is no folder {folder.parent}; correct --state or --folder, or start the cloud once with it."
        raise CloudError(Reason.STATE_UNUSABLE, detail)
    if not owner.may_reach(folder.parent):
        detail = f"The servers run as user {owner.name}, who may not enter {folder.parent}; choose another --folder."
        raise CloudError(Reason.STATE_UNUSABLE, detail)
    server = find_server(places(os.environ.get("PATH", os.defpath)))
    now = datetime.now(UTC)
    with kept_nodes(folder, options.nodes, first_port=options.port) as nodes:
        plan = make_plan(options.state, nodes, (HOST, "localhost", *options.name), now=now)
        write_trial(plan, owner, folder=folder, now=now)
        server = within_reach(server, owner, folder)
        url = database_of(options.state, os.environ.get("DATABASE_URL"))
        secrets = options.state / "nats"
        async with running_trial(plan, server=server, owner=owner, secrets=secrets, database_url=url) as trial:
            leader = await trial.leader()
            for node in nodes:
                leads = ", leads" if node.name == leader else ""
                child = trial.servers[node.name].process
                pid = child.pid if child is not None else None
                _say(f"{node.name}: {node.mqtt.url('mqtts')} (process {pid}{leads})")
            _say(f"ready; logs in {folder}; stop it with Ctrl-C")
            await _watch(trial, stop)
    _say("stopped")


async def _watch(trial: Trial, stop: asyncio.Event) -> None:
    """Tell who ends; the others go on."""
    alive = {child.name: child for child in (*trial.servers.values(), *trial.callouts)}
    while not stop.is_set():
        for name in [name for name, child in alive.items() if not child.running]:
            del alive[name]
            _say(f"{name} ended; still running: {', '.join(alive) or 'nobody'}")
        try:
            async with asyncio.timeout(_WATCH_S):
                await stop.wait()
        except TimeoutError:
            continue


def _ourselves() -> Owner:
    return Owner("", os.geteuid(), os.getegid(), (), switch=False)


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy/nats", description="A NATS cluster for doors.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    trial = verbs.add_parser("up", help="run a cluster on this machine, for trial")
    trial.add_argument("--nodes", type=int, choices=(1, 3, 5), default=3)
    trial.add_argument("--port", type=int, default=MQTT_PORT, help="of the first node's MQTT; the others follow")
    trial.add_argument("--folder", type=_absolute, help="of the servers  [default: STATE/nats-trial]")
    real = verbs.add_parser("configure", help="write what each machine of a cluster needs")
    real.add_argument("--node", action="append", required=True, metavar="NAME=HOST", help="once for each machine")
    real.add_argument("--folder", type=_absolute, default=Path("nats-nodes").absolute(), help="where to write")
    for verb, needed in ((trial, False), (real, True)):
        verb.add_argument("--state", type=_absolute, required=True, help="the cloud's state folder")
        verb.add_argument(
            "--name", action="append", required=needed, default=[], help="that doors know the brokers by; repeatable"
        )
    return parser.parse_args(arguments)


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; 2 when it cannot be done, with the reason on standard error."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    try:
        if options.verb == "up":
            asyncio.run(up(options))
        else:
            configure(options)
    except CloudError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
