"""Whom the call-out lets into a NATS broker, and to what."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cloud.broker.admission import (
    DOOR_STAY,
    DOUBT_STAY,
    Admitted,
    Applicant,
    KnownDevice,
    Lookup,
    Refused,
    answer,
    judge,
    parse_request,
)
from cloud.broker.nkeys import MAX_TOKEN_BYTES, Kind, Nkey, NkeyError, open_token, parse_public, parse_seed, sign_token
from cloud.devices.authority import DeviceAuthority, open_authority, read_identity
from wire.mqtt import lane_of
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SERVER = Nkey(Kind.SERVER, SigningKey(bytes(32)))
ISSUER = Nkey(Kind.ACCOUNT, SigningKey(b"\x01" * 32))
USER = Nkey(Kind.USER, SigningKey(b"\x02" * 32))
NORTH, GATE = Tenant("north"), DeviceId("gate-1")
KNOWN = KnownDevice(NORTH, GATE, active=True)


@pytest.fixture
def authority(tmp_path: Path) -> DeviceAuthority:
    return open_authority(tmp_path / "ca", now=NOW)


def door(authority: DeviceAuthority, client_id: str = "north/gate-1", device: DeviceId = GATE) -> Applicant:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    certificate = authority.certify_device(key, tenant=NORTH, device=device, now=NOW)
    return Applicant(SERVER.public, USER.public, client_id, certificate)


def service(authority: DeviceAuthority, client_id: str = "_cloud-0") -> Applicant:
    return Applicant(SERVER.public, USER.public, client_id, authority.certify_service(now=NOW).certificate)


def judged(
    authority: DeviceAuthority, applicant: Applicant, found: KnownDevice | Lookup = KNOWN, early: float = 0.0
) -> Admitted | Refused:
    return judge(applicant, authority.certificate, found, now=NOW, early=early)


def request(applicant: Applicant, **changed: object) -> bytes:
    """Write what a server of version 2.15.1 asks."""
    pem = applicant.certificate.public_bytes(Encoding.PEM).decode()
    asked = {
        "server_id": {"name": "node-1", "id": SERVER.public, "version": "2.15.1"},
        "user_nkey": USER.public,
        "client_info": {"kind": "Client", "type": "mqtt", "mqtt_id": applicant.client_id},
        "connect_opts": {"protocol": 0},
        "client_tls": {"version": "1.3", "verified_chains": [[pem]]},
        "type": "authorization_request",
        "version": 2,
    }
    return sign_token({"aud": "nats-authorization-request", "nats": {**asked, **changed}}, SERVER).encode()


def test_a_door_writes_its_lane_and_its_health_and_hears_what_is_for_it(authority: DeviceAuthority):
    verdict = judged(authority, door(authority))
    assert isinstance(verdict, Admitted)
    lane = lane_of(NORTH, GATE)
    assert verdict.publish == (f"dw.1.north.gate-1.up.events.{lane}", "dw.1.north.gate-1.up.health")
    assert verdict.subscribe == ("dw.1.north.gate-1.down.>",)
    assert verdict.until == NOW + DOOR_STAY


def test_a_door_stays_no_longer_than_its_certificate(authority: DeviceAuthority):
    applicant = door(authority)
    end = applicant.certificate.not_valid_after_utc
    verdict = judge(applicant, authority.certificate, KNOWN, now=end - timedelta(minutes=1), early=0.0)
    assert isinstance(verdict, Admitted)
    assert verdict.until == end


def test_doors_do_not_all_come_back_at_once(authority: DeviceAuthority):
    verdict = judged(authority, door(authority), early=1.0)
    assert isinstance(verdict, Admitted)
    assert verdict.until == NOW + DOOR_STAY * 3 / 4


def test_the_cloud_reads_all_that_comes_up_and_writes_all_that_goes_down(authority: DeviceAuthority):
    verdict = judged(authority, service(authority), Lookup.UNKNOWN)
    assert isinstance(verdict, Admitted)
    assert (verdict.publish, verdict.subscribe) == (("dw.1.*.*.down.>",), ("dw.1.*.*.up.>",))


def test_a_client_id_is_the_name_in_the_certificate(authority: DeviceAuthority):
    for stolen in ("north/gate-2", "", "gate-1", "north/gate-1 "):
        assert judged(authority, door(authority, stolen)) is Refused.FOREIGN_CLIENT_ID
    for stolen in ("north/gate-1", "_cloud-1", ""):
        assert judged(authority, service(authority, stolen)) is Refused.FOREIGN_CLIENT_ID


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Lookup.UNKNOWN, Refused.UNKNOWN_DEVICE),
        (replace(KNOWN, active=False), Refused.REVOKED),
        (replace(KNOWN, device=DeviceId("gate-2")), Refused.UNKNOWN_DEVICE),
        (replace(KNOWN, tenant=Tenant("south")), Refused.UNKNOWN_DEVICE),
    ],
)
def test_a_door_needs_its_row(authority: DeviceAuthority, found: KnownDevice | Lookup, why: Refused):
    assert judged(authority, door(authority), found) is why


def test_while_the_database_is_away_the_certificate_is_believed_for_minutes(authority: DeviceAuthority):
    verdict = judged(authority, door(authority), Lookup.AWAY)
    assert isinstance(verdict, Admitted)
    assert verdict.until == NOW + DOUBT_STAY


def test_another_authority_certifies_nobody(authority: DeviceAuthority, tmp_path: Path):
    stranger = open_authority(tmp_path / "stranger", now=NOW)
    for applicant in (door(stranger), service(stranger)):
        assert judged(authority, applicant) is Refused.FOREIGN_CERTIFICATE


def named(authority: DeviceAuthority, name: str) -> Applicant:
    """Certify any name at all, as a faulty CA would."""
    device = DeviceId("x" * 64) if len(name) > 64 else DeviceId(name)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    plain = authority.certify_device(key, tenant=Tenant("t" * 64), device=device, now=NOW)
    return Applicant(SERVER.public, USER.public, name, plain)


@pytest.mark.parametrize("name", ["gate-1", "_cloud", "_cloud-64", "_cloud-", "_clouds", "_", "A", "a.b", "*"])
def test_a_name_that_is_neither_a_doors_nor_the_clouds_opens_nothing(authority: DeviceAuthority, name: str):
    assert judged(authority, named(authority, name)) is Refused.NO_NAME


def test_the_clouds_further_names(authority: DeviceAuthority):
    one = judged(authority, named(authority, "_cloud-63"))
    assert isinstance(one, Admitted)
    assert one.subscribe == ("dw.1.*.*.up.>",)
    watch = judged(authority, named(authority, "_watch"))
    assert isinstance(watch, Admitted)
    assert (watch.publish, watch.subscribe) == ((), ())


def claims_of(token: str, kind: Kind) -> dict[str, object]:
    return open_token(token.encode(), kind)


def test_the_answer_is_for_the_asking_server_and_connection(authority: DeviceAuthority):
    applicant = door(authority)
    verdict = judged(authority, applicant)
    claims = claims_of(answer(applicant, verdict, ISSUER, now=NOW).decode(), Kind.ACCOUNT)
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER.public, SERVER.public, USER.public)
    said = claims["nats"]
    assert isinstance(said, dict)
    user = claims_of(said["jwt"], Kind.ACCOUNT)
    assert (user["aud"], user["sub"]) == ("DOORS", USER.public)
    assert user["exp"] == int((NOW + DOOR_STAY).timestamp())
    rights = user["nats"]
    assert isinstance(rights, dict)
    assert rights["sub"] == {"allow": ["dw.1.north.gate-1.down.>"]}
    assert rights["allowed_connection_types"] == ["MQTT"]


def test_who_may_do_nothing_is_forbidden_everything(authority: DeviceAuthority):
    """An empty list of what is allowed would allow all."""
    applicant = named(authority, "_watch")
    said = claims_of(answer(applicant, judged(authority, applicant), ISSUER, now=NOW).decode(), Kind.ACCOUNT)["nats"]
    assert isinstance(said, dict)
    rights = claims_of(said["jwt"], Kind.ACCOUNT)["nats"]
    assert isinstance(rights, dict)
    assert rights["pub"] == rights["sub"] == {"deny": [">"]}


def test_a_refusal_says_why_and_lets_nobody_in(authority: DeviceAuthority):
    applicant = door(authority)
    said = claims_of(answer(applicant, Refused.REVOKED, ISSUER, now=NOW).decode(), Kind.ACCOUNT)["nats"]
    assert isinstance(said, dict)
    assert said["error"] == Refused.REVOKED.value
    assert "jwt" not in said


def test_a_servers_question_is_understood(authority: DeviceAuthority):
    applicant = door(authority)
    assert parse_request(request(applicant)) == applicant


def test_only_a_verified_certificate_of_a_client_of_mqtt_counts(authority: DeviceAuthority):
    applicant = door(authority)
    pem = applicant.certificate.public_bytes(Encoding.PEM).decode()
    cases: list[dict[str, object]] = [
        {"client_tls": {"version": "1.3", "certs": [pem]}},
        {"client_tls": {"verified_chains": []}},
        {"client_tls": {"verified_chains": [[]]}},
        {"client_tls": {"verified_chains": [[7]]}},
        {"client_tls": {"verified_chains": [["no certificate"]]}},
        {"client_tls": None},
        {"client_info": {"kind": "Client", "type": "nats"}},
        {"client_info": {"type": "mqtt", "mqtt_id": 7}},
        {"server_id": {"id": "somebody"}},
        {"user_nkey": SERVER.public},
    ]
    for changed in cases:
        with pytest.raises(NkeyError):
            parse_request(request(applicant, **changed))


def test_a_question_that_its_server_has_not_signed_is_none(authority: DeviceAuthority):
    head, body, signature = request(door(authority)).split(b".")
    other = json.dumps({"iss": SERVER.public, "nats": {}}).encode()
    for forged in (
        b".".join((head, base64.urlsafe_b64encode(other).rstrip(b"="), signature)),
        b".".join((head, body, signature[:-4])),
        b".".join((head, body)),
        b".".join((head, b"e30", signature)),
        b".".join((head, b"W10", signature)),
        b"x" * (MAX_TOKEN_BYTES + 1),
    ):
        with pytest.raises(NkeyError):
            parse_request(forged)


@given(st.binary(max_size=200))
def test_whatever_else_comes_is_refused_as_one_kind_of_fault(data: bytes):
    for token in (data, b"e30." + data + b".e30", b"a." + base64.urlsafe_b64encode(data).rstrip(b"=") + b".c"):
        with pytest.raises(NkeyError):
            parse_request(token)


@pytest.mark.parametrize(("kind", "letter"), [(Kind.ACCOUNT, "A"), (Kind.SERVER, "N"), (Kind.USER, "U")])
def test_keys_read_back_and_show_their_kind(kind: Kind, letter: str):
    key = Nkey(kind, SigningKey(b"\x07" * 32))
    assert key.public.startswith(letter)
    assert key.seed.startswith(f"S{letter}")
    assert parse_seed(key.seed, kind) == key
    assert parse_public(key.public, kind) == bytes(key.key.verify_key)


def test_keys_are_those_of_natss_own_library():
    nkeys = pytest.importorskip("nkeys")
    key = Nkey(Kind.USER, SigningKey(b"\x07" * 32))
    theirs = nkeys.from_seed(bytearray(key.seed.encode()))
    assert theirs.public_key.decode() == key.public
    assert theirs.sign(b"nonce") == key.sign(b"nonce")


def test_a_key_of_another_kind_or_with_a_slip_is_refused():
    key = Nkey(Kind.USER, SigningKey(b"\x07" * 32))
    for text in (key.seed[:-1] + ("A" if key.seed[-1] != "A" else "B"), key.seed.lower(), key.seed[:-1], "", "1" * 58):
        with pytest.raises(NkeyError):
            parse_seed(text, Kind.USER)
    with pytest.raises(NkeyError):
        parse_seed(key.seed, Kind.ACCOUNT)
    with pytest.raises(NkeyError):
        parse_public(key.public, Kind.SERVER)


def test_a_certificate_without_a_name_opens_nothing(authority: DeviceAuthority, tmp_path: Path):
    """One of the right authority, whose subject is empty."""
    pem = (tmp_path / "ca" / "device-ca.pem").read_bytes()
    ca = read_identity(pem, tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    empty = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(ca.key, hashes.SHA256())
    )
    assert judged(authority, Applicant(SERVER.public, USER.public, "", empty)) is Refused.NO_NAME
