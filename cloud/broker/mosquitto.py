"""mosquitto's configuration: who may connect, as whom, and to which topics.

Invariant: a door's topics and client id follow from its certificate alone, so that none can speak, listen or log in for
another (docs/adr/0008-mqtt-identity.md).
Must not: start anything, or let a client in that shows no certificate of the device CA.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from cloud.broker.bounds import MAX_MESSAGE_BYTES, MAX_WAITING
from cloud.broker.names import SEATS, cloud_name
from cloud.cluster.owner import Owner
from cloud.devices.authority import DeviceAuthority
from cloud.settings import Address
from wire.mqtt import LANES, UP_EVENTS, UP_HEALTH

_CLOUD: Final = "user {name}\ntopic read dw/1/+/+/up/#\ntopic write dw/1/+/+/down/#\n"
_LANES: Final = "".join(f"pattern write dw/1/%u/{UP_EVENTS}/{lane}\n" for lane in range(LANES))
ACCESS: Final = f"""\
# Written by Doorward at every start of the broker; changes are lost.
# %u is the name in the client's certificate: TENANT/DEVICE for a door.
{"".join(_CLOUD.format(name=cloud_name(seat)) for seat in range(SEATS))}
{_LANES}pattern write dw/1/%u/{UP_HEALTH}
pattern read dw/1/%u/down/#
"""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """What mosquitto is started with.

    Attributes:
        configuration: for `mosquitto -c`.
        ca: the one authority whose clients are let in.
        certificate: the server's, with its key in the same file, hence never of two different starts.
        ends: when that certificate does.
    """

    configuration: Path
    ca: Path
    certificate: Path
    ends: datetime


def write_broker_files(
    folder: Path, authority: DeviceAuthority, owner: Owner, *, address: Address, names: Sequence[str], now: datetime
) -> BrokerFiles:
    """Write configuration, access list and a fresh certificate.

    Args:
        folder: made if needed; only `owner` may enter it.
        authority: the device CA.
        owner: the user that mosquitto runs as.
        address: where it listens.
        names: that doors know it by.
        now: when its certificate begins.

    Raises:
        CloudError: STATE_UNUSABLE or CLUSTER_FOREIGN.
    """
    owner.make_folder(folder)
    files = BrokerFiles(
        configuration=folder / "mosquitto.conf",
        ca=folder / "ca.crt",
        certificate=folder / "broker.pem",
        ends=write_certificate(folder / "broker.pem", authority, owner, names=names, now=now),
    )
    owner.write_file(files.ca, authority.certificate.public_bytes(Encoding.PEM).decode())
    owner.write_file(folder / "access", ACCESS)
    owner.write_file(files.configuration, _configuration(folder, owner, address))
    return files


def write_certificate(
    path: Path, authority: DeviceAuthority, owner: Owner, *, names: Sequence[str], now: datetime
) -> datetime:
    """Write a fresh key and certificate of the broker's; gives when it ends. A running mosquitto reads it on SIGHUP."""
    identity = authority.certify_listener(names, now=now)
    owner.write_file(path, identity.to_pem().decode())
    return identity.certificate.not_valid_after_utc


def _configuration(folder: Path, owner: Owner, address: Address) -> str:
    return f"""\
# Written by Doorward at every start of the broker; changes are lost.
user {owner.name}
per_listener_settings false
allow_anonymous false
acl_file {folder}/access
persistence false
log_dest stderr
log_timestamp false
log_type error
log_type warning
log_type notice
connection_messages true
max_inflight_messages 20
max_queued_messages {MAX_WAITING}
max_queued_bytes {MAX_WAITING * MAX_MESSAGE_BYTES}
max_packet_size {MAX_MESSAGE_BYTES}
retain_available false

listener {address.port} {address.host}
protocol mqtt
cafile {folder}/ca.crt
certfile {folder}/broker.pem
keyfile {folder}/broker.pem
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
"""
