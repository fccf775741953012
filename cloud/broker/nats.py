"""The configuration of a NATS cluster that speaks MQTT to doors and cloud.

Invariant: a node lets nobody in by itself: doors and cloud by the call-out, nodes and call-outs by the cluster's CA.
Must not: start anything.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.broker.admission import DOORS_ACCOUNT
from cloud.broker.bounds import MAX_MESSAGE_BYTES
from cloud.broker.callout import ASK_S, CallOutFile
from cloud.broker.nats_keys import ClusterKeys
from cloud.cluster.owner import Owner
from cloud.devices.authority import DeviceAuthority
from cloud.settings import MIB, Address

CLUSTER: Final = "doorward"
_FILE_BYTES: Final = 2048 * MIB
"""What a node keeps on disk at most: messages wait there only until they are delivered."""
_MEMORY_BYTES: Final = 256 * MIB
_MOST_REPLICAS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One server of the cluster.

    Attributes:
        name: unlike the others'.
        mqtt: where doors and cloud connect.
        route: where the other nodes connect; they know it by this host.
        route_listen: where it listens for them.
        client: where its call-out connects, on the same machine.
        monitor: what an operator asks for its state, without a password: loopback only.
        place: its configuration's folder on its machine.
        store: JetStream's folder there.
    """

    name: str
    mqtt: Address
    route: Address
    route_listen: str
    client: Address
    monitor: Address
    place: Path
    store: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all nodes have in common.

    Attributes:
        nodes: all of them.
        keys: the cluster's.
        authority: the device CA.
        names: that doors and cloud know the brokers by.
    """

    nodes: tuple[Node, ...]
    keys: ClusterKeys
    authority: DeviceAuthority
    names: tuple[str, ...]


def write_node(folder: Path, node: Node, plan: Plan, *, owner: Owner, now: datetime) -> None:
    """Write what one node's server needs: nats.conf and certificates.

    Args:
        folder: made if needed; only `owner` may enter it.
        node: this one.
        plan: what it belongs to.
        owner: whom the files belong to.
        now: when the certificates begin.

    Raises:
        CloudError: STATE_UNUSABLE or CLUSTER_FOREIGN.
    """
    owner.make_folder(folder)
    ca, devices = plan.keys.ca.certificate, plan.authority.certificate
    identity = plan.keys.certify_node(sorted({node.route.host, node.client.host}), now=now)
    owner.write_file(folder / "node.pem", identity.to_pem().decode())
    owner.write_file(folder / "mqtt.pem", plan.authority.certify_listener(plan.names, now=now).to_pem().decode())
    owner.write_file(folder / "cluster-ca.crt", ca.public_bytes(Encoding.PEM).decode())
    owner.write_file(folder / "device-ca.crt", devices.public_bytes(Encoding.PEM).decode())
    owner.write_file(folder / "nats.conf", configuration(node, plan))


def callout_file(nodes: Sequence[Node], plan: Plan, database_url: str, *, folder: Path) -> bytes:
    """Write callout.json for a call-out.

    Args:
        nodes: whose questions it takes, by way of any of them.
        plan: what they belong to.
        database_url: of the cloud's PostgreSQL.
        folder: of the node whose certificate it shows, relative to that of the file.
    """
    said = CallOutFile(
        servers=tuple(node.client.url("tls") for node in nodes),
        database_url=database_url,
        user_seed=plan.keys.user.seed,
        issuer_seed=plan.keys.issuer.seed,
        identity=str(folder / "node.pem"),
        cluster_ca=str(folder / "cluster-ca.crt"),
        device_ca=str(folder / "device-ca.crt"),
    )
    return msgspec.json.format(msgspec.json.encode(said))


def configuration(node: Node, plan: Plan) -> str:
    """Write nats.conf."""
    keys = plan.keys
    routes = ", ".join(_text(other.route.url("tls")) for other in plan.nodes if other is not node)
    within = _tls(node.place, "node.pem", "cluster-ca.crt")
    return f"""\
# Written by Doorward; the next deploy/nats/configure replaces it.
server_name: {_text(node.name)}
max_payload: {MAX_MESSAGE_BYTES}
ping_interval: "20s"

# Call-outs only: whoever else comes here is asked about, and is no client of MQTT.
listen: {_text(_listen(node.client))}
{within}
# The node's state for operators, without a password: on this machine only.
http: {_text(_listen(node.monitor))}

jetstream {{
  store_dir: {_text(str(node.store))}
  # What a node has confirmed survives its power cut.
  sync_interval: always
  max_file_store: {_FILE_BYTES}
  max_memory_store: {_MEMORY_BYTES}
}}

accounts {{
  CALLOUT {{ users: [ {{ nkey: {keys.user.public} }} ] }}
  {DOORS_ACCOUNT} {{ jetstream: enabled }}
  SYS {{ }}
}}
system_account: SYS
authorization {{
  timeout: {ASK_S}
  auth_callout {{ issuer: {keys.issuer.public}, auth_users: [ {keys.user.public} ], account: CALLOUT }}
}}

mqtt {{
  listen: {_text(_listen(node.mqtt))}
  reject_qos2_publish: true
  # While a node is away, one subscription in three is first made there and waits for an election: 4 to 9 s.
  js_api_timeout: "12s"
  # Left to itself a node counts its routes, not the nodes: two copies of three, and no majority after one death.
  stream_replicas: {min(len(plan.nodes), _MOST_REPLICAS)}
  {_tls(node.place, "mqtt.pem", "device-ca.crt")}}}

cluster {{
  name: {CLUSTER}
  listen: {_text(_listen(Address(node.route_listen, node.route.port)))}
  # Nobody learns further addresses from us: each node is told the others here.
  no_advertise: true
  routes: [ {routes} ]
  # A node whose line is cut says no farewell: the others notice within six seconds.
  ping_interval: "2s"
  ping_max: 2
  {within}}}
"""


def _tls(place: Path, identity: str, ca: str) -> str:
    return f"""\
tls {{
    cert_file: {_text(str(place / identity))}
    key_file: {_text(str(place / identity))}
    ca_file: {_text(str(place / ca))}
    verify: true
    min_version: "1.3"
    timeout: {ASK_S}
  }}
"""


def _listen(address: Address) -> str:
    return address.url("x").removeprefix("x://")


def _text(value: str) -> str:
    """Quote as NATS's configuration does, which knows JSON's escapes."""
    return json.dumps(value)
