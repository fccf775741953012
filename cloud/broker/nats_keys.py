"""The cluster's own keys: a CA for what the nodes say to each other, and the call-out's two keys.

The device CA is not used between nodes: every door has a certificate of it, and whoever may open a route is a node.

Invariant: made once, kept in STATE/nats, readable by nobody else; node certificates are made anew at each writing.
Must not: certify doors or the cloud; the device CA does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from nacl.signing import SigningKey

from cloud.broker.nkeys import Kind, Nkey, NkeyError, parse_seed
from cloud.devices.authority import Identity, read_identity
from cloud.errors import CloudError, Reason
from cloud.files import make_folder, read_secret, write_file

NODE_LIFETIME: Final = timedelta(days=397)
_CA_LIFETIME: Final = timedelta(days=20 * 365)
_BACKDATE: Final = timedelta(hours=1)
_CURVE: Final = ec.SECP256R1()


class _Seeds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: str
    issuer: str


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """What the cluster is built on.

    Attributes:
        ca: signs the nodes' certificates.
        user: lets a call-out in at the servers.
        issuer: signs the call-out's answers.
    """

    ca: Identity
    user: Nkey
    issuer: Nkey

    def certify_node(self, names: Sequence[str], *, now: datetime) -> Identity:
        """Make a fresh key and certificate for a node, which is server and client to the others.

        Args:
            names: host names and addresses that the others know it by.
            now: when it begins.
        """
        key = ec.generate_private_key(_CURVE)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _dated(_named(names[0]), now, NODE_LIFETIME)
            .issuer_name(self.ca.certificate.subject)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .sign(self.ca.key, hashes.SHA256())
        )
        return Identity(key, certificate)


def open_cluster_keys(folder: Path, *, now: datetime) -> ClusterKeys:
    """Load the keys from STATE/nats, making them at the first time.

    Raises:
        CloudError: STATE_UNUSABLE, naming the file.
    """
    make_folder(folder)
    ca_path, seeds_path = folder / "cluster-ca.pem", folder / "callout-keys.json"
    pem = read_secret(ca_path)
    if pem is None:
        pem = _make_ca(now).to_pem()
        write_file(ca_path, pem)
    content = read_secret(seeds_path)
    if content is None:
        fresh = _Seeds(*(Nkey(kind, SigningKey.generate()).seed for kind in (Kind.USER, Kind.ACCOUNT)))
        content = msgspec.json.encode(fresh)
        write_file(seeds_path, content)
    try:
        seeds = msgspec.json.decode(content, type=_Seeds)
        user, issuer = parse_seed(seeds.user, Kind.USER), parse_seed(seeds.issuer, Kind.ACCOUNT)
    except (msgspec.MsgspecError, NkeyError) as error:
        # No backup holds it, and need not.
        detail = f"{seeds_path} is damaged; delete {folder}, configure again and copy to all nodes (docs/nats.md)."
        raise CloudError(Reason.STATE_UNUSABLE, detail) from error
    return ClusterKeys(read_identity(pem, ca_path), user, issuer)


def _make_ca(now: datetime) -> Identity:
    key = ec.generate_private_key(_CURVE)
    name = "Doorward broker cluster CA"
    certificate = (
        _dated(_named(name), now, _CA_LIFETIME)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(key, certificate)


def _named(name: str) -> x509.CertificateBuilder:
    return x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))


def _dated(builder: x509.CertificateBuilder, now: datetime, lifetime: timedelta) -> x509.CertificateBuilder:
    dated = builder.not_valid_before(now - _BACKDATE).not_valid_after(now + lifetime)
    return dated.serial_number(x509.random_serial_number())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
