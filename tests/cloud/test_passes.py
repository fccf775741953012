"""Passes: issuing to a key and for print, showing, revoking."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.errors import CloudError, Reason
from cloud.issuing.keys import KeyRole
from cloud.passes.models import IssuedPass, NewPass
from cloud.passes.service import LIFETIME, MAX_PRINTED_LIFETIME, PRINTED_LIFETIME
from tests.support.cloud_parts import Parts, cloud_parts
from wire.codec import encode
from wire.keys import Ed25519Signer, P256Signer, PublicKey
from wire.names import PassFlags, PassKind, Tenant
from wire.passes import MAX_LIFETIME_S, Pass, parse_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clouds import RunningCloud

_P256 = P256Signer(ec.generate_private_key(ec.SECP256R1())).public_key
_ED25519 = Ed25519Signer(bytes(range(32))).public_key


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


def text_of(key: PublicKey) -> str:
    return base64.urlsafe_b64encode(encode(key.to_cose())).rstrip(b"=").decode()


async def verified(parts: Parts, tenant: Tenant, issued: IssuedPass) -> Pass:
    """Read the pass as a door does."""
    data = base64.urlsafe_b64decode(issued.token + "=" * (-len(issued.token) % 4))
    signer = await parts.issuing.keyring.signer(tenant, KeyRole.PASS)
    claims = parse_pass(data).verify_issuer(signer.public_key)
    assert claims.pass_id.hex() == issued.pass_id
    assert claims.issuer == tenant
    return claims


async def refusal(parts: Parts, tenant: Tenant, new: NewPass) -> str:
    with pytest.raises(CloudError) as caught:
        await parts.passes.issue(tenant, new)
    assert caught.value.reason is Reason.PASS_INVALID
    return caught.value.detail


@pytest.mark.parametrize("key", [_P256, _ED25519], ids=["P-256", "Ed25519"])
async def test_a_pass_is_bound_to_the_holders_key_for_a_week(parts: Parts, key: PublicKey):
    tenant = await parts.make_tenant()
    new = NewPass(kind="staff", access_levels=[9, 1, 9], holder_key=text_of(key), flags=["extended_release"])
    issued = await parts.passes.issue(tenant, new)
    claims = await verified(parts, tenant, issued)
    assert (claims.kind, claims.access_levels, claims.flags) == (PassKind.STAFF, (1, 9), PassFlags.EXTENDED_RELEASE)
    assert claims.holder_key == key
    assert claims.issued_at_s == issued.issued_at.timestamp() == parts.clock.now().timestamp()
    assert claims.expires_at_s - claims.issued_at_s == LIFETIME.total_seconds()


@pytest.mark.parametrize("kind", ["standard", "temporary", "visitor", "staff", "emergency"])
async def test_all_five_kinds_are_issued(parts: Parts, kind: Any):  # noqa: ANN401 - a literal
    tenant = await parts.make_tenant()
    issued = await parts.passes.issue(tenant, NewPass(kind=kind, holder_key=text_of(_P256)))
    assert (await verified(parts, tenant, issued)).kind is PassKind[kind.upper()]
    assert (await parts.passes.show(tenant, issued.pass_id)).kind == kind


async def test_a_pass_may_start_later_and_then_holds_its_whole_lifetime(parts: Parts):
    tenant = await parts.make_tenant()
    start = parts.clock.now() + timedelta(days=2)
    new = NewPass(holder_key=text_of(_P256), not_before=start, lifetime_s=3_600)
    issued = await parts.passes.issue(tenant, new)
    claims = await verified(parts, tenant, issued)
    assert (claims.not_before_s, claims.expires_at_s) == (start.timestamp(), start.timestamp() + 3_600)
    assert (await parts.passes.show(tenant, issued.pass_id)).status == "not_yet_valid"


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NewPass(kind="standard"), "visitor or temporary"),
        (NewPass(kind="staff"), "visitor or temporary"),
        (NewPass(kind="visitor", lifetime_s=int(MAX_PRINTED_LIFETIME.total_seconds()) + 1), "48 hours"),
        (NewPass(holder_key="*"), "base64url"),
        (NewPass(holder_key="AAAA"), "COSE_Key"),
        (NewPass(holder_key=text_of(_P256), not_before=datetime(2025, 1, 1, tzinfo=UTC)), "past"),
        (NewPass(holder_key=text_of(_P256), not_before=datetime(2035, 1, 1, tzinfo=UTC)), "31 days"),
        (NewPass(holder_key=text_of(_P256), not_before=datetime(2026, 1, 1)), "offset"),  # noqa: DTZ001 - that is it
    ],
)
async def test_what_a_door_should_not_trust_is_not_issued(parts: Parts, new: NewPass, words: str):
    assert words in await refusal(parts, await parts.make_tenant(), new)


async def test_a_weak_holder_key_is_refused(parts: Parts):
    tenant = await parts.make_tenant()
    low_order = encode({1: 1, -1: 6, -2: bytes(32)})
    off_curve = encode({1: 2, -1: 1, -2: b"\xff" * 32, -3: False})
    for key in (low_order, off_curve):
        assert "holderKey" in await refusal(parts, tenant, NewPass(holder_key=base64.urlsafe_b64encode(key).decode()))
    assert await parts.pool.fetchval("SELECT count(*) FROM passes WHERE tenant_id = $1", tenant) == 0


async def test_the_longest_printed_pass_is_issued_and_a_day_is_the_default(parts: Parts):
    tenant = await parts.make_tenant()
    longest = NewPass(kind="temporary", lifetime_s=int(MAX_PRINTED_LIFETIME.total_seconds()))
    for new, lifetime in ((longest, MAX_PRINTED_LIFETIME), (NewPass(kind="visitor"), PRINTED_LIFETIME)):
        issued = await parts.passes.issue(tenant, new)
        assert issued.expires_at - issued.issued_at == lifetime
        assert (await verified(parts, tenant, issued)).holder_key is None
        assert (await parts.passes.show(tenant, issued.pass_id)).printed


async def test_the_longest_pass_is_issued(parts: Parts):
    tenant = await parts.make_tenant()
    issued = await parts.passes.issue(tenant, NewPass(holder_key=text_of(_P256), lifetime_s=MAX_LIFETIME_S))
    assert issued.expires_at - issued.issued_at == timedelta(days=31)


async def test_pass_ids_are_given_out_once_and_tell_no_order(parts: Parts):
    tenant = await parts.make_tenant()
    issued = await asyncio.gather(*(parts.passes.issue(tenant, NewPass(kind="visitor")) for _ in range(100)))
    ids = [each.pass_id for each in issued]
    assert len(set(ids)) == 100
    assert ids != sorted(ids)


async def test_a_pass_lives_and_ends(parts: Parts):
    tenant = await parts.make_tenant()
    issued = await parts.passes.issue(tenant, NewPass(kind="visitor", access_levels=[4]))
    shown = await parts.passes.show(tenant, issued.pass_id.upper())
    assert (shown.status, shown.access_levels, shown.flags, shown.revoked_at) == ("active", [4], [], None)
    parts.clock.advance(PRINTED_LIFETIME)
    assert (await parts.passes.show(tenant, issued.pass_id)).status == "expired"
    revoked = await parts.passes.revoke(tenant, issued.pass_id)
    assert (revoked.status, revoked.revoked_at) == ("revoked", parts.clock.now())


@pytest.mark.parametrize(
    "pass_id", ["", "00", "zzzzzzzzzzzz", "00000000ffff", "ffff00000000", "0000 0000 00 1", "1" * 13]
)
async def test_a_pass_that_is_not_there_is_unknown(parts: Parts, pass_id: str):
    tenant = await parts.make_tenant()
    for ask in (parts.passes.show(tenant, pass_id), parts.passes.revoke(tenant, pass_id)):
        with pytest.raises(CloudError) as caught:
            await ask
        assert caught.value.reason is Reason.PASS_UNKNOWN


async def test_one_institution_cannot_show_or_revoke_the_pass_of_another(parts: Parts):
    one, two = await parts.make_tenant(), await parts.make_tenant()
    issued = await parts.passes.issue(one, NewPass(kind="visitor"))
    for ask in (parts.passes.show(two, issued.pass_id), parts.passes.revoke(two, issued.pass_id)):
        with pytest.raises(CloudError):
            await ask
    assert (await parts.passes.show(one, issued.pass_id)).status == "active"


async def test_passes_are_issued_over_the_api(cloud: RunningCloud):
    await cloud.make_door("issuing")
    place = "/api/v1/institutions/issuing/passes"
    made = await cloud.api.post(place, json={"kind": "standard", "accessLevels": [1, 7], "holderKey": text_of(_P256)})
    assert made.status_code == 201
    assert set(made.json()) == {"passId", "pass", "issuedAt", "expiresAt"}
    pass_id = made.json()["passId"]
    shown = (await cloud.api.get(f"{place}/{pass_id}")).json()
    assert (shown["status"], shown["accessLevels"], shown["printed"]) == ("active", [1, 7], False)
    for _ in range(2):
        revoked = await cloud.api.post(f"{place}/{pass_id}/revoke")
        assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    unknown = await cloud.api.get(f"{place}/ffffffffffff")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "PASS_UNKNOWN")


async def test_the_api_refuses_what_cannot_be_issued(cloud: RunningCloud):
    await cloud.make_door("refusing")
    for tenant, body, status, reason in (
        ("refusing", {"kind": "standard"}, 422, "PASS_INVALID"),
        ("refusing", {"kind": "king"}, 400, "BAD_REQUEST"),
        ("refusing", {"kind": "visitor", "lifetimeS": 1}, 400, "BAD_REQUEST"),
        ("refusing", {"kind": "visitor", "surprise": 1}, 400, "BAD_REQUEST"),
        ("refusing", {"kind": "visitor", "accessLevels": list(range(17))}, 400, "BAD_REQUEST"),
        ("nobody", {"kind": "visitor"}, 404, "INSTITUTION_UNKNOWN"),
    ):
        answer = await cloud.api.post(f"/api/v1/institutions/{tenant}/passes", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
