"""Signing keys: where they lie, which one signs, and what happens without the root."""

from __future__ import annotations

import stat
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from cloud.errors import CloudError, Reason
from cloud.issuing.keyring import LIFETIME, OVERLAP, RENEW_BEFORE
from cloud.issuing.keys import ONLINE_ROLES, FileKeyStore, KeyRole
from cloud.issuing.policy_models import LevelDocument, PolicyDocument
from cloud.passes.models import NewPass
from tests.support.cloud_parts import DOOR, Parts, cloud_parts, keys_of
from wire.keys import Ed25519Signer
from wire.names import KeyId, KeyPurpose, Tenant
from wire.policy import open_policy
from wire.trust import MAX_KEYS, TrustBundle, advance_trust, open_trust, parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


def root_file(parts: Parts, tenant: Tenant) -> Path:
    (path,) = (parts.keys / tenant).glob("root-*.pem")
    return path


async def bundle_of(parts: Parts, tenant: Tenant) -> TrustBundle:
    signed = await parts.issuing.trust.current(parts.pool, tenant)
    bundle = open_trust(signed.data, await parts.issuing.keyring.root_key(tenant))
    assert bundle.version == signed.version
    return bundle


async def test_a_new_institution_has_a_key_for_each_role_in_a_private_folder(parts: Parts):
    tenant = await parts.make_tenant()
    folder = parts.keys / tenant
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = sorted(folder.iterdir())
    assert sorted(path.name.partition("-")[0] for path in files) == sorted(role.value for role in KeyRole)
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        load_pem_private_key(path.read_bytes(), password=None)


async def test_the_first_bundle_lists_every_online_key_and_the_device_ca(parts: Parts):
    tenant = await parts.make_tenant()
    bundle = await bundle_of(parts, tenant)
    assert (bundle.tenant, bundle.version) == (tenant, 1)
    assert sorted(key.purpose for key in bundle.keys) == sorted(KeyPurpose)
    for role, purpose in ONLINE_ROLES.items():
        (listed,) = keys_of(bundle, purpose)
        assert listed.key == (await parts.issuing.keyring.signer(tenant, role)).public_key
        assert listed.not_before_s < parts.clock.now().timestamp() < listed.expires_at_s


async def test_the_trust_file_holds_the_root_and_the_bundle(parts: Parts):
    tenant = await parts.make_tenant()
    pinned = parse_pinned((await parts.issuing.trust.pinned(tenant)).data)
    assert pinned.root == await parts.issuing.keyring.root_key(tenant)
    assert pinned.open() == await bundle_of(parts, tenant)


async def test_without_the_root_everything_but_a_change_of_keys_goes_on(parts: Parts):
    tenant = await parts.make_tenant()
    before = await bundle_of(parts, tenant)
    path = root_file(parts, tenant)
    kept = path.read_bytes()
    path.unlink()
    assert (await parts.passes.issue(tenant, NewPass(kind="visitor"))).token
    assert (await parts.issuing.status.token(tenant, 0)).data
    assert await parts.issuing.put_policy(tenant, DOOR, PolicyDocument(lock_out=True)) == 1
    with pytest.raises(CloudError, match="root key is offline") as caught:
        await parts.issuing.rotate(tenant, [KeyRole.PASS])
    assert caught.value.reason is Reason.ROOT_OFFLINE
    assert path.name in caught.value.detail
    assert await bundle_of(parts, tenant) == before
    path.write_bytes(kept)
    path.chmod(0o600)
    assert (await parts.issuing.rotate(tenant, [KeyRole.PASS])).version == 2


async def test_a_new_key_is_published_before_it_signs_and_the_old_stays_believed(parts: Parts):
    tenant = await parts.make_tenant()
    old = (await parts.issuing.keyring.signer(tenant, KeyRole.PASS)).public_key
    first = await bundle_of(parts, tenant)
    published = await parts.issuing.rotate(tenant, [KeyRole.PASS])
    bundle = advance_trust(first, published.data, await parts.issuing.keyring.root_key(tenant))
    keys = {key.key for key in keys_of(bundle, KeyPurpose.PASS)}
    assert len(keys) == 2
    assert (await parts.issuing.keyring.signer(tenant, KeyRole.PASS)).public_key == old
    parts.clock.advance(OVERLAP)
    new = (await parts.issuing.keyring.signer(tenant, KeyRole.PASS)).public_key
    assert keys == {old, new}
    assert old != new


async def test_an_expired_key_leaves_the_bundle_at_the_next_change(parts: Parts):
    tenant = await parts.make_tenant()
    parts.clock.advance(LIFETIME - RENEW_BEFORE)
    await parts.issuing.rotate(tenant, list(ONLINE_ROLES))
    parts.clock.advance(RENEW_BEFORE)
    await parts.issuing.rotate(tenant, [KeyRole.COMMAND])
    bundle = await bundle_of(parts, tenant)
    assert {purpose: len(keys_of(bundle, purpose)) for purpose in KeyPurpose} == {
        KeyPurpose.PASS: 1,
        KeyPurpose.STATUS: 1,
        KeyPurpose.POLICY: 1,
        KeyPurpose.COMMAND: 2,
        KeyPurpose.ACKNOWLEDGEMENT: 1,
        KeyPurpose.DEVICE_CA: 1,
    }


async def test_keys_are_due_in_time_and_not_before(parts: Parts):
    tenant = await parts.make_tenant()
    parts.clock.advance(LIFETIME - RENEW_BEFORE)
    assert await parts.issuing.trust.roles_due(tenant) == []
    parts.clock.advance(timedelta(seconds=1))
    assert await parts.issuing.trust.roles_due(tenant) == list(ONLINE_ROLES)
    await parts.issuing.rotate(tenant, [KeyRole.PASS, KeyRole.STATUS])
    assert await parts.issuing.trust.roles_due(tenant) == [
        KeyRole.POLICY,
        KeyRole.COMMAND,
        KeyRole.ACKNOWLEDGEMENT,
    ]


async def test_keys_that_all_expired_sign_nothing_until_they_are_rotated_and_then_at_once(parts: Parts):
    tenant = await parts.make_tenant()
    parts.clock.advance(LIFETIME)
    with pytest.raises(CloudError, match="rotate its keys") as caught:
        await parts.issuing.keyring.signer(tenant, KeyRole.PASS)
    assert caught.value.reason is Reason.KEY_UNUSABLE
    await parts.issuing.rotate(tenant, [KeyRole.PASS])
    assert (await parts.passes.issue(tenant, NewPass(kind="visitor"))).token


async def test_two_rotations_at_once_give_two_versions(parts: Parts):
    tenant = await parts.make_tenant()
    one = await parts.issuing.rotate(tenant, [KeyRole.PASS])
    two = await parts.issuing.rotate(tenant, [KeyRole.STATUS])
    assert (one.version, two.version) == (2, 3)


async def test_rotations_by_hand_leave_room_for_keys_that_are_due(parts: Parts):
    tenant = await parts.make_tenant()
    by_hand = MAX_KEYS - 1 - 2 * len(ONLINE_ROLES)
    for _ in range(by_hand):
        await parts.issuing.rotate(tenant, [KeyRole.PASS])
    before, files = await bundle_of(parts, tenant), sorted((parts.keys / tenant).iterdir())
    ends = (parts.clock.now() + LIFETIME).date()
    with pytest.raises(CloudError, match=f"Rotate again after {ends}") as caught:
        await parts.issuing.rotate(tenant, [KeyRole.PASS])
    assert (caught.value.reason, caught.value.reason.status) == (Reason.TRUST_FULL, 409)
    assert (await bundle_of(parts, tenant), sorted((parts.keys / tenant).iterdir())) == (before, files)
    parts.clock.advance(LIFETIME - RENEW_BEFORE + timedelta(seconds=1))
    await parts.issuing.rotate(tenant, await parts.issuing.trust.roles_due(tenant))
    assert len((await bundle_of(parts, tenant)).keys) == MAX_KEYS
    with pytest.raises(CloudError, match=f"Rotate again after {ends}"):
        await parts.issuing.rotate(tenant, [KeyRole.PASS])
    parts.clock.advance(RENEW_BEFORE)
    await parts.issuing.rotate(tenant, [KeyRole.PASS])


async def test_policies_are_signed_again_once_their_key_has_changed(parts: Parts):
    tenant = await parts.make_tenant()
    document = PolicyDocument(access_levels=[LevelDocument(id=1, schedules=[0])])
    await parts.issuing.put_policy(tenant, DOOR, document)
    assert await parts.issuing.policies.sign_again(tenant) == 0
    await parts.issuing.rotate(tenant, [KeyRole.POLICY])
    parts.clock.advance(OVERLAP)
    assert await parts.issuing.policies.sign_again(tenant) == 1
    signed = await parts.issuing.policies.current(tenant, DOOR)
    key = (await parts.issuing.keyring.signer(tenant, KeyRole.POLICY)).public_key
    assert open_policy(signed.data, key).version == signed.version == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "missing"), (b"no key", "no readable private key"), ("another", "another key"), ("p256", "not an Ed25519")],
)
def test_a_key_file_that_is_not_the_key_says_what_to_do(tmp_path: Path, content: bytes | str | None, words: str):
    store = FileKeyStore(tmp_path / "keys")
    public = store.make(Tenant("north"), KeyRole.PASS)
    path = tmp_path / "keys" / "north" / f"pass-{public.key_id.hex()}.pem"
    if content is None:
        path.unlink()
    elif content == "another":
        other = store.make(Tenant("north"), KeyRole.PASS)
        path.write_bytes((path.parent / f"pass-{other.key_id.hex()}.pem").read_bytes())
    elif content == "p256":
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CloudError, match=words) as caught:
        store.signer(Tenant("north"), KeyRole.PASS, public.key_id)
    assert caught.value.reason is Reason.KEY_UNUSABLE


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path):
    store = FileKeyStore(tmp_path / "keys")
    public = store.make(Tenant("north"), KeyRole.PASS)
    path = tmp_path / "keys" / "north" / f"pass-{public.key_id.hex()}.pem"
    path.chmod(0o644)
    with pytest.raises(CloudError, match="chmod 600"):
        store.signer(Tenant("north"), KeyRole.PASS, public.key_id)


def test_a_stored_key_signs_what_its_public_half_verifies(tmp_path: Path):
    store = FileKeyStore(tmp_path / "keys")
    public = store.make(Tenant("north"), KeyRole.STATUS)
    signer = store.signer(Tenant("north"), KeyRole.STATUS, public.key_id)
    assert isinstance(signer, Ed25519Signer)
    public.verify(signer.sign(b"words"), b"words", field="words")


async def test_an_institution_that_is_not_there_has_no_keys(parts: Parts):
    nobody = Tenant("nobody")
    for ask in (
        parts.issuing.keyring.signer(nobody, KeyRole.PASS),
        parts.issuing.keyring.root_key(nobody),
        parts.issuing.trust.current(parts.pool, nobody),
        parts.issuing.rotate(nobody, [KeyRole.PASS]),
    ):
        with pytest.raises(CloudError) as caught:
            await ask
        assert caught.value.reason is Reason.INSTITUTION_UNKNOWN


def test_a_root_that_was_never_here_is_offline(tmp_path: Path):
    with pytest.raises(CloudError) as caught:
        FileKeyStore(tmp_path).signer(Tenant("north"), KeyRole.ROOT, KeyId(b"\1\2\3\4"))
    assert caught.value.reason is Reason.ROOT_OFFLINE
