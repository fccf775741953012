"""Signed documents at the door's gate: accepted, refused, remembered, never taken back."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.core.tap import Input, Noted, PolicyReplaced, TrustReplaced
from edge.core.verify import Place
from edge.database import Database, Document, Identity
from edge.materials import Materials, read_root
from edge.store import Store, StoreReason
from tests.support.tenant import TenantKeys
from wire.errors import WireError, WireReason
from wire.names import DeviceId, DoorId, DoorMode, EventKind, KeyPurpose, Reason
from wire.settings import DoorSettings
from wire.status_delta import make_delta, seal_delta
from wire.status_list import open_status_list

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PLACE = Place(tenant="north", site="hq", door="main")
NOW_S = int(time.time())


@pytest.fixture
def keys() -> TenantKeys:
    return TenantKeys("north", NOW_S)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    identity = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
    opened = Store(Database(tmp_path / "journal.db", identity, new_epoch=bytes(8)), max_events=10)
    yield opened
    await opened.aclose()


class Gate:
    """A door's materials and what its controller was told."""

    def __init__(self, store: Store, keys: TenantKeys, now_s: int | None = NOW_S) -> None:
        self.told: list[Input] = []
        self.materials = Materials(store, PLACE, keys.root.public_key, self.told.append, lambda: now_s)

    def refusals(self) -> list[Reason | None]:
        """Give why rules were refused, as journaled."""
        noted = (each for each in self.told if isinstance(each, Noted))
        return [each.reason for each in noted if each.kind is EventKind.POLICY_REFUSED]

    def held_trust(self) -> int:
        held = self.materials.held.trust
        return 0 if held is None else held.version

    def held_policy(self) -> int:
        held = self.materials.held.policy
        return 0 if held is None else held.version

    def kinds(self) -> list[EventKind | None]:
        return [each.kind for each in self.told if isinstance(each, TrustReplaced)]


@pytest.fixture
def gate(store: Store, keys: TenantKeys) -> Gate:
    return Gate(store, keys)


async def refused(gate: Gate, data: bytes, kind: str) -> WireReason:
    accept = {
        "trust": gate.materials.accept_trust,
        "policy": gate.materials.accept_policy,
        "status": gate.materials.accept_status,
        "delta": gate.materials.accept_delta,
    }[kind]
    before = gate.materials.held
    with pytest.raises(WireError) as caught:
        await accept(data)
    assert gate.materials.held == before
    return caught.value.reason


async def test_documents_take_effect_in_order(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_status(keys.status())
    await gate.materials.accept_policy(keys.policy())
    assert gate.kinds() == [EventKind.TRUST_UPDATED, EventKind.STATUS_UPDATED]
    assert isinstance(gate.told[-1], PolicyReplaced)


async def test_without_trust_nothing_else_is_believed(gate: Gate, keys: TenantKeys):
    assert await refused(gate, keys.status(), "status") is WireReason.KEY_INVALID
    assert await refused(gate, keys.policy(), "policy") is WireReason.KEY_INVALID


async def test_another_root_is_not_believed(gate: Gate):
    assert await refused(gate, TenantKeys("south", NOW_S).trust(), "trust") is WireReason.KEY_INVALID


async def test_a_trust_bundle_of_another_tenant_under_the_same_root_is_refused(store: Store, keys: TenantKeys):
    gate = Gate(store, keys)
    south = TenantKeys("south", NOW_S)
    south.root = keys.root
    assert await refused(gate, south.trust(), "trust") is WireReason.OUT_OF_RANGE


async def test_trust_never_goes_back(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust(5))
    assert await refused(gate, keys.trust(4), "trust") is WireReason.ROLLBACK
    await gate.materials.accept_trust(keys.trust(5))
    assert gate.kinds() == [EventKind.TRUST_UPDATED]


async def test_policy_never_goes_back_and_is_for_this_door(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_policy(keys.policy(version=3))
    await gate.materials.accept_policy(keys.policy(version=3))
    assert await refused(gate, keys.policy(version=2), "policy") is WireReason.ROLLBACK
    assert await refused(gate, keys.policy("side", version=9), "policy") is WireReason.OUT_OF_RANGE
    assert len([each for each in gate.told if isinstance(each, PolicyReplaced)]) == 1


async def test_a_status_list_never_goes_back(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_status(keys.status(sequence=2, revoked={4}))
    assert await refused(gate, keys.status(sequence=1), "status") is WireReason.ROLLBACK
    assert await refused(gate, keys.status(sequence=2), "status") is WireReason.ROLLBACK
    earlier = keys.status(sequence=2, revoked={4}, issued_at_s=NOW_S - 5)
    assert await refused(gate, earlier, "status") is WireReason.ROLLBACK


async def test_a_list_signed_anew_refreshes_its_age_without_an_event(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_status(keys.status(sequence=2))
    await gate.materials.accept_status(keys.status(sequence=2, issued_at_s=NOW_S + 150))
    await gate.materials.accept_status(keys.status(sequence=2, issued_at_s=NOW_S + 150))
    assert gate.kinds() == [EventKind.TRUST_UPDATED, EventKind.STATUS_UPDATED, None]
    assert gate.materials.held.statuses[0].issued_at_s == NOW_S + 150


async def test_a_delta_applies_to_the_list_it_names_only(gate: Gate, keys: TenantKeys):
    signer = keys.signers[KeyPurpose.STATUS]
    old, new = (
        open_status_list(data, signer.public_key)
        for data in (keys.status(sequence=1), keys.status(sequence=2, revoked={7}))
    )
    delta = seal_delta(make_delta(old, new), signer)
    await gate.materials.accept_trust(keys.trust())
    assert await refused(gate, delta, "delta") is WireReason.ROLLBACK
    await gate.materials.accept_status(keys.status(sequence=1))
    await gate.materials.accept_delta(delta)
    assert gate.materials.held.statuses[0].is_set(7)
    assert await refused(gate, delta, "delta") is WireReason.ROLLBACK


async def test_a_signing_key_out_of_its_time_is_not_believed_unless_the_clock_is_suspect(
    store: Store, keys: TenantKeys
):
    late = Gate(store, keys, NOW_S + 400 * 86_400)
    await late.materials.accept_trust(keys.trust())
    assert await refused(late, keys.status(), "status") is WireReason.OUT_OF_RANGE
    suspect = Gate(store, keys, None)
    await suspect.materials.accept_trust(keys.trust())
    await suspect.materials.accept_status(keys.status())
    assert 0 in suspect.materials.held.statuses


async def test_garbage_is_refused_as_any_document(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    for kind in ("trust", "policy", "status", "delta"):
        assert isinstance(await refused(gate, b"\xd2garbage", kind), WireReason)


async def test_a_door_starts_from_what_provisioning_left_then_from_its_store(
    tmp_path: Path, store: Store, keys: TenantKeys
):
    keys.write_materials(tmp_path)
    first = Gate(store, keys)
    assert await first.materials.load(tmp_path) == []
    await first.materials.accept_status(keys.status(sequence=5, revoked={3}))
    second = Gate(store, keys)
    assert await second.materials.load(tmp_path) == []
    assert second.materials.held == first.materials.held
    assert read_root(tmp_path) == keys.root.public_key


async def test_a_damaged_document_is_named_and_the_others_count(tmp_path: Path, store: Store, keys: TenantKeys):
    keys.write_materials(tmp_path)
    (tmp_path / "policy.cose").write_bytes(b"\x00")
    gate = Gate(store, keys)
    faults = await gate.materials.load(tmp_path)
    assert [fault.field for fault in faults] == ["policy"]
    assert gate.materials.held.trust is not None
    assert gate.materials.held.policy is None


async def test_a_damaged_status_list_keeps_no_door_from_starting_and_nothing_older_replaces_it(
    tmp_path: Path, store: Store, keys: TenantKeys
):
    keys.write_materials(tmp_path)
    first = Gate(store, keys)
    await first.materials.load(tmp_path)
    await first.materials.accept_status(keys.status(sequence=5, revoked={3}))
    (number,) = first.materials.held.statuses
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("DELETE FROM status_chunk")
    again = Gate(store, keys)
    faults = [(fault.field, fault.reason) for fault in await again.materials.load(tmp_path)]
    # What provisioning left is older than what was damaged.
    assert faults == [(f"status-{number}", StoreReason.DAMAGED), ("status.sequence", WireReason.ROLLBACK)]
    assert again.materials.held.statuses == {}
    assert again.materials.held.policy is not None
    assert [each.kind for each in again.told if isinstance(each, Noted)] == [EventKind.STORAGE_FAULT]
    assert await refused(again, keys.status(sequence=4, revoked=set()), "status") is WireReason.ROLLBACK
    await again.materials.accept_status(keys.status(sequence=5, revoked={3}))
    last = Gate(store, keys)
    assert await last.materials.load(tmp_path) == []
    assert last.materials.held.statuses == first.materials.held.statuses


# --- the guard against lock-outs ---------------------------------------------------------------------------------


async def test_rules_that_let_nobody_in_are_refused_and_journaled_once(gate: Gate, keys: TenantKeys, store: Store):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_policy(keys.policy(version=1))
    nobody = keys.sign_policy(replace(keys.policy_bundle(version=2), levels={1: ()}))
    for _ in range(3):
        assert await refused(gate, nobody, "policy") is WireReason.LOCKS_OUT
    assert gate.refusals() == [Reason.LOCKS_EVERYONE_OUT]
    assert gate.materials.held.policy is not None
    assert gate.materials.held.policy.version == 1
    restarted = Gate(store, keys)
    await restarted.materials.accept_trust(keys.trust())
    await restarted.materials.accept_policy(keys.policy(version=1))
    assert await refused(restarted, nobody, "policy") is WireReason.LOCKS_OUT
    assert restarted.refusals() == []


async def test_another_version_that_lets_nobody_in_is_journaled_again(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_policy(keys.policy(version=1))
    for version, levels in ((2, {7: (0,)}), (3, {})):
        others = replace(keys.policy_bundle(version=version), levels=levels)
        assert await refused(gate, keys.sign_policy(others), "policy") is WireReason.LOCKS_OUT
    assert gate.refusals() == [Reason.LOCKS_EVERYONE_OUT] * 2


async def test_a_person_may_order_that_nobody_is_let_in(gate: Gate, keys: TenantKeys):
    await gate.materials.accept_trust(keys.trust())
    await gate.materials.accept_policy(keys.policy(version=1))
    blocked = keys.policy_bundle(version=2, settings=DoorSettings(mode=DoorMode.BLOCKED))
    assert await refused(gate, keys.sign_policy(blocked), "policy") is WireReason.LOCKS_OUT
    await gate.materials.accept_policy(keys.sign_policy(replace(blocked, locks_out=True)))
    await gate.materials.accept_policy(keys.policy(version=3))
    assert gate.refusals() == [Reason.LOCKS_EVERYONE_OUT]


async def test_first_rules_that_let_nobody_in_are_none(tmp_path: Path, store: Store, keys: TenantKeys):
    keys.write_materials(tmp_path)
    (tmp_path / "policy.cose").write_bytes(keys.sign_policy(replace(keys.policy_bundle(), levels={})))
    refusals = []
    for _ in range(2):
        gate = Gate(store, keys)
        assert [fault.reason for fault in await gate.materials.load(tmp_path)] == [WireReason.LOCKS_OUT]
        assert gate.materials.faults
        assert gate.materials.held.policy is None
        refusals += gate.refusals()
    assert refusals == [Reason.LOCKS_EVERYONE_OUT]


# --- what the store keeps ----------------------------------------------------------------------------------------


async def kept_twice(store: Store, keys: TenantKeys, folder: Path) -> None:
    """Let a door take two versions of trust and rules."""
    keys.write_materials(folder)
    gate = Gate(store, keys)
    assert await gate.materials.load(folder) == []
    await gate.materials.accept_trust(keys.trust(2))
    await gate.materials.accept_policy(keys.policy(version=2))


@pytest.mark.parametrize("kind", [Document.TRUST, Document.POLICY])
async def test_the_newest_document_that_can_be_opened_counts(
    tmp_path: Path, store: Store, keys: TenantKeys, kind: Document
):
    await kept_twice(store, keys, tmp_path)
    await store.put_document(kind, 2, b"\x00")
    gate = Gate(store, keys)
    assert [fault.field for fault in await gate.materials.load(tmp_path)] == [kind.value]
    assert (gate.held_trust(), gate.held_policy()) == ((1, 2) if kind is Document.TRUST else (2, 1))
    await gate.materials.accept_trust(keys.trust(2))
    await gate.materials.accept_policy(keys.policy(version=2))
    again = Gate(store, keys)
    assert await again.materials.load(tmp_path) == []
    assert (again.held_trust(), again.held_policy()) == (2, 2)


@pytest.mark.parametrize("kind", [Document.TRUST, Document.POLICY])
async def test_a_door_that_fell_back_takes_nothing_older_than_what_was_ever_in_force(
    tmp_path: Path, store: Store, keys: TenantKeys, kind: Document
):
    await kept_twice(store, keys, tmp_path)
    third = Gate(store, keys)
    await third.materials.load(tmp_path)
    await third.materials.accept_trust(keys.trust(4))
    await third.materials.accept_policy(keys.policy(version=4))
    await store.put_document(kind, 4, b"\x00")
    gate = Gate(store, keys)
    assert [fault.field for fault in await gate.materials.load(tmp_path)] == [kind.value]
    old, new = (
        (keys.trust(3), keys.trust(4)) if kind is Document.TRUST else (keys.policy(version=3), keys.policy(version=4))
    )
    assert await refused(gate, old, kind.value) is WireReason.ROLLBACK
    accept = gate.materials.accept_trust if kind is Document.TRUST else gate.materials.accept_policy
    await accept(new)
    assert (gate.held_trust(), gate.held_policy()) == (4, 4)


async def test_what_provisioning_left_counts_when_nothing_kept_can_be_opened(
    tmp_path: Path, store: Store, keys: TenantKeys
):
    await kept_twice(store, keys, tmp_path)
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        raw.execute("UPDATE document SET bytes = x'00' WHERE kind = 'policy'")
    raw.close()
    gate = Gate(store, keys)
    assert len(await gate.materials.load(tmp_path)) == 2
    assert gate.held_policy() == 1


async def test_rules_that_were_taken_in_time_outlive_the_key_that_signed_them(
    tmp_path: Path, store: Store, keys: TenantKeys
):
    await kept_twice(store, keys, tmp_path)
    late = Gate(store, keys, NOW_S + 400 * 86_400)
    assert await late.materials.load(tmp_path) == []
    assert late.held_policy() == 2
    assert await refused(late, keys.policy(version=3), "policy") is WireReason.OUT_OF_RANGE
