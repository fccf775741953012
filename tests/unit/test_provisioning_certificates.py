"""Which certificates a new door accepts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.cloud_line import json_object
from provisioning.documents import read_identity, read_versions
from provisioning.errors import ProvisioningError, Reason
from provisioning.est import CertifiedAs, Claim, check_certificate, check_time, read_certificates, recognise

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CA_KEY = ec.derive_private_key(1, ec.SECP256R1())
DOOR_KEY = ec.derive_private_key(2, ec.SECP256R1())
OTHER_KEY = ec.derive_private_key(3, ec.SECP256R1())
OURS = "urn:doorward:oakfield:main-entrance-k3v9"


def certificate(
    *,
    key: ec.EllipticCurvePrivateKey = DOOR_KEY,
    by: ec.EllipticCurvePrivateKey = CA_KEY,
    issuer: str = "device CA",
    uris: tuple[str, ...] = (OURS,),
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> x509.Certificate:
    """Make a certificate of the kind that the cloud makes, with one thing different."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=90))
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(by, hashes.SHA256())


CA = x509.CertificateBuilder(
    issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device CA")]),
    subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device CA")]),
    public_key=CA_KEY.public_key(),
    serial_number=1,
    not_valid_before=NOW,
    not_valid_after=NOW + timedelta(days=7_300),
).sign(CA_KEY, hashes.SHA256())


def test_a_certificate_for_this_key_by_this_authority_names_the_device():
    found = check_certificate(certificate(), key=DOOR_KEY, ca=CA)
    assert found == CertifiedAs(tenant="oakfield", device="main-entrance-k3v9")


@pytest.mark.parametrize(
    "made",
    [
        certificate(key=OTHER_KEY),
        certificate(by=OTHER_KEY),
        certificate(issuer="another CA"),
        certificate(purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        certificate(purpose=None),
        certificate(uris=()),
        certificate(uris=("urn:doorward:oakfield",)),
        certificate(uris=("https://oakfield.example",)),
    ],
    ids=["key", "signature", "issuer", "purpose", "no-purpose", "no-names", "short-name", "other-name"],
)
def test_any_other_certificate_is_refused(made: x509.Certificate):
    with pytest.raises(ProvisioningError) as caught:
        check_certificate(made, key=DOOR_KEY, ca=CA)
    assert caught.value.reason is Reason.CERTIFICATE_WRONG


@pytest.mark.parametrize(
    ("after", "fits"),
    [(timedelta(seconds=-1), False), (timedelta(0), True), (timedelta(days=90), True), (timedelta(days=91), False)],
)
def test_the_clock_must_lie_within_a_certificates_time(after: timedelta, *, fits: bool):
    if fits:
        check_time(certificate(), NOW + after)
    else:
        with pytest.raises(ProvisioningError) as caught:
            check_time(certificate(), NOW + after)
        assert caught.value.reason is Reason.CLOCK_WRONG


def test_an_authority_is_recognised_among_several():
    digest = hashes.Hash(hashes.SHA256())
    digest.update(CA.public_bytes(Encoding.DER))
    claim = Claim(b"0123456789", digest.finalize()[:10])
    assert recognise([certificate(), CA], claim) == CA
    with pytest.raises(ProvisioningError) as caught:
        recognise([certificate()], claim)
    assert caught.value.reason is Reason.FINGERPRINT_WRONG


@pytest.mark.parametrize("body", [b"", b"!", b"MIIB", b"AAAA" * 100])
def test_a_body_without_certificates_is_unreadable(body: bytes):
    with pytest.raises(ProvisioningError) as caught:
        read_certificates(body)
    assert caught.value.reason is Reason.ANSWER_UNREADABLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"tenant": 1}',
        b'{"tenant":"t","site":"s","door":"d","access_point":"in","device":"x"}',
        b'{"tenant":"t","site":"s","door":"d","access_point":"in","device":"x","root_key":"zz"}',
        b'{"tenant":"t","site":"s","door":"d","access_point":"in","device":"x","root_key":"a0"}',
    ],
)
def test_a_description_that_is_none_is_unreadable(body: bytes):
    with pytest.raises(ProvisioningError) as caught:
        read_identity(body, CertifiedAs(tenant="t", device="x"))
    assert caught.value.reason is Reason.ANSWER_UNREADABLE


def test_versions_name_policy_and_lists():
    assert read_versions(b'{"trust": 1, "policy": 3, "status": {"7": 1, "0": 881}}') == (3, (0, 7))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"policy": -1, "status": {}}',
        b'{"policy": true, "status": {}}',
        b'{"policy": 1, "status": []}',
        b'{"policy": 1, "status": {"123456": 1}}',
        b"{" + b'"policy": 1, "status": {' + b",".join(b'"%d": 1' % n for n in range(257)) + b"}}",
    ],
)
def test_versions_that_are_none_are_unreadable(body: bytes):
    with pytest.raises(ProvisioningError) as caught:
        read_versions(body)
    assert caught.value.reason is Reason.ANSWER_UNREADABLE


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_an_empty_one(body: bytes):
    assert json_object(body) == {}
