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

from cloud.cluster.owner import Owner
from cloud.devices.authority import SERVICE_NAME, DeviceAuthority
from cloud.settings import Address
from wire.batch import MAX_BATCH_BYTES

_QUEUED_MESSAGES: Final = 100
_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""For each client that is away or slow. What overflows is lost, and sent again: nothing relies on the broker."""

ACCESS: Final = f"""\
# Written by Doorward at every start of the broker; changes are lost.
# %u is the name in the client's certificate: TENANT/DEVICE for a door.
user {SERVICE_NAME}
topic read dw/1/+/+/up/+
topic write dw/1/+/+/down/+

pattern write dw/1/%u/up/+
pattern read dw/1/%u/down/+
"""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """What mosquitto is started with.

    Attributes:
        configuration: for `mosquitto -c`.
        ca: the one authority whose clients are let in.
    """

    configuration: Path
    ca: Path


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
    files = BrokerFiles(folder / "mosquitto.conf", folder / "ca.crt")
    identity = authority.certify_listener(names, now=now)
    owner.write_file(files.ca, authority.certificate.public_bytes(Encoding.PEM).decode())
    # The key and its certificate lie in one file, hence are never of two different starts.
    owner.write_file(folder / "broker.pem", identity.to_pem().decode())
    owner.write_file(folder / "access", ACCESS)
    owner.write_file(files.configuration, _configuration(folder, owner, address))
    return files


def _configuration(folder: Path, owner: Owner, address: Address) -> str:
    return f"""\
# Written by Doorward at every start of the broker; changes are lost.
user {owner.name}
per_listener_settings false
allow_anonymous false
acl_file {folder}/access
persistence false
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true
max_inflight_messages 20
max_queued_messages {_QUEUED_MESSAGES}
max_queued_bytes {_QUEUED_BYTES}
message_size_limit {MAX_BATCH_BYTES}
retain_available true

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
