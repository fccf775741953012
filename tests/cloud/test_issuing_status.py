"""Status lists: revoking, signing afresh, deltas, growth."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cloud.errors import CloudError, Reason
from cloud.issuing.keys import KeyRole
from cloud.issuing.status import EXPIRY, FIRST_CAPACITY, LAST_CAPACITY, TTL_S, StatusToken, bits_of, capacity
from cloud.passes.models import NewPass
from tests.support.asked import asked
from tests.support.cloud_parts import Parts, cloud_parts
from wire.messages import MEDIA_STATUS_DELTA, MEDIA_STATUS_LIST
from wire.names import PassId, Tenant
from wire.passes import split_pass_id
from wire.status_delta import MAX_FLIPS, apply_delta, open_delta
from wire.status_list import MAX_LIST_BYTES, StatusList, open_status_list

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def opened(parts: Parts, tenant: Tenant, token: StatusToken) -> StatusList:
    assert token.media_type == MEDIA_STATUS_LIST
    status = open_status_list(token.data, (await parts.issuing.keyring.signer(tenant, KeyRole.STATUS)).public_key)
    assert (status.tenant, status.sequence) == (tenant, token.sequence)
    return status


async def issue(parts: Parts, tenant: Tenant) -> tuple[str, int]:
    issued = await parts.passes.issue(tenant, NewPass(kind="visitor"))
    _, index = split_pass_id(PassId(bytes.fromhex(issued.pass_id)))
    return issued.pass_id, index


async def test_a_new_list_revokes_nobody(parts: Parts):
    tenant = await parts.make_tenant()
    status = await opened(parts, tenant, await parts.issuing.status.token(tenant, 0))
    assert (status.list_id, status.sequence, status.bits) == (0, 1, bytes(FIRST_CAPACITY // 8))
    assert status.issued_at_s == parts.clock.now().timestamp()
    assert status.expires_at_s - status.issued_at_s == EXPIRY.total_seconds()
    assert status.ttl_s == TTL_S


async def test_a_revoked_pass_has_its_bit_set_in_the_next_token_and_no_other_has(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.issuing.status.token(tenant, 0)
    pass_id, index = await issue(parts, tenant)
    await issue(parts, tenant)
    await parts.passes.revoke(tenant, pass_id)
    token = await parts.issuing.status.token(tenant, 0)
    status = await opened(parts, tenant, token)
    assert token.sequence == 2
    assert [place for place in range(FIRST_CAPACITY) if status.is_set(place)] == [index]


async def test_a_token_is_signed_once_and_again_when_it_is_half_its_time_old(parts: Parts):
    tenant = await parts.make_tenant()
    first = await parts.issuing.status.token(tenant, 0)
    parts.clock.advance(timedelta(seconds=TTL_S / 2))
    assert await parts.issuing.status.token(tenant, 0) == first
    parts.clock.advance(timedelta(seconds=1))
    second = await parts.issuing.status.token(tenant, 0)
    assert second.sequence == first.sequence + 1
    assert (await opened(parts, tenant, second)).issued_at_s == parts.clock.now().timestamp()


async def test_many_who_ask_at_once_get_the_same_token(parts: Parts):
    tenant = await parts.make_tenant()
    tokens = await asyncio.gather(*(parts.issuing.status.token(tenant, 0) for _ in range(20)))
    assert len({(token.sequence, token.data) for token in tokens}) == 1


async def test_a_delta_leads_from_the_old_list_to_the_new_one(parts: Parts):
    tenant = await parts.make_tenant()
    old = await opened(parts, tenant, await parts.issuing.status.token(tenant, 0))
    for _ in range(3):
        pass_id, _ = await issue(parts, tenant)
        await parts.passes.revoke(tenant, pass_id)
        await parts.issuing.status.token(tenant, 0)
    whole = await opened(parts, tenant, await parts.issuing.status.token(tenant, 0))
    token = await parts.issuing.status.token(tenant, 0, since=old.sequence)
    assert (token.media_type, token.sequence) == (MEDIA_STATUS_DELTA, whole.sequence)
    key = (await parts.issuing.keyring.signer(tenant, KeyRole.STATUS)).public_key
    assert apply_delta(old, open_delta(token.data, key)) == whole


async def test_a_delta_without_a_change_only_makes_the_list_fresh(parts: Parts):
    tenant = await parts.make_tenant()
    old = await opened(parts, tenant, await parts.issuing.status.token(tenant, 0))
    pass_id, _ = await issue(parts, tenant)
    await parts.passes.revoke(tenant, pass_id)
    old = await opened(parts, tenant, await parts.issuing.status.token(tenant, 0))
    parts.clock.advance(timedelta(seconds=TTL_S))
    token = await parts.issuing.status.token(tenant, 0, since=old.sequence)
    assert token.media_type == MEDIA_STATUS_DELTA
    key = (await parts.issuing.keyring.signer(tenant, KeyRole.STATUS)).public_key
    fresh = apply_delta(old, open_delta(token.data, key))
    assert (fresh.bits, fresh.issued_at_s) == (old.bits, parts.clock.now().timestamp())


async def test_the_whole_list_is_given_when_the_delta_would_be_longer(parts: Parts):
    tenant = await parts.make_tenant()
    first = await parts.issuing.status.token(tenant, 0)
    await revoke_many(parts, tenant, 4_000)
    parts.clock.advance(timedelta(seconds=TTL_S))
    token = await parts.issuing.status.token(tenant, 0, since=first.sequence)
    status = await opened(parts, tenant, token)
    assert [place for place in range(FIRST_CAPACITY) if status.is_set(place)] == list(range(0, 8_000, 2))


async def revoke_many(parts: Parts, tenant: Tenant, count: int) -> None:
    """Revoke passes 0, 2, 4 … of list 0, as a mass revocation would."""
    await parts.pool.execute(
        "INSERT INTO passes (tenant_id, list_id, index, kind, flags, access_levels, key_id, issued_at, expires_at,"
        " revoked_at, revoked_sequence)"
        " SELECT $1, 0, 2 * number, 0, 0, '{}', '\\x00000000', $3, $3, $3, 2 FROM generate_series(0, $2 - 1) AS number",
        tenant,
        count,
        parts.clock.now(),
    )


@pytest.mark.slow
async def test_what_is_too_much_for_a_delta_is_not_read(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.pool.execute("UPDATE status_lists SET capacity = $2 WHERE tenant_id = $1", tenant, LAST_CAPACITY)
    first = await parts.issuing.status.token(tenant, 0)
    await revoke_many(parts, tenant, MAX_FLIPS + 1)
    parts.clock.advance(timedelta(seconds=TTL_S))
    await parts.issuing.status.token(tenant, 0)
    async with asked(parts.pool) as statements:
        token = await parts.issuing.status.token(tenant, 0, since=first.sequence)
    assert token.media_type == MEDIA_STATUS_LIST
    assert statements
    assert not [statement for statement in statements if "SELECT index" in statement]


async def test_a_door_that_asks_from_many_sequences_keeps_no_other_tenant_waiting(parts: Parts):
    flood, calm = await parts.make_tenant(), await parts.make_tenant()
    for _ in range(20):
        parts.clock.advance(timedelta(seconds=TTL_S))
        for tenant in (flood, calm):
            await parts.issuing.status.token(tenant, 0)
    order: list[Tenant] = []

    async def ask(tenant: Tenant, since: int) -> None:
        await parts.issuing.status.token(tenant, 0, since=since)
        order.append(tenant)

    async with AsyncExitStack() as stack:
        for _ in range(parts.pool.get_max_size() - 1):  # what is left answers in the order of asking
            await stack.enter_async_context(parts.pool.acquire())
        await asyncio.gather(*(ask(flood, since) for since in range(1, 20)), ask(calm, 1))
    assert order.index(calm) <= 2
    assert len(order) == 20


@pytest.mark.parametrize("since", [0, 1, 99])
async def test_who_has_the_newest_or_an_impossible_sequence_gets_the_whole_list(parts: Parts, since: int):
    tenant = await parts.make_tenant()
    assert (await parts.issuing.status.token(tenant, 0, since=since)).media_type == MEDIA_STATUS_LIST


async def test_revoking_twice_changes_nothing(parts: Parts):
    tenant = await parts.make_tenant()
    pass_id, _ = await issue(parts, tenant)
    first = await parts.passes.revoke(tenant, pass_id)
    token = await parts.issuing.status.token(tenant, 0)
    parts.clock.advance(timedelta(seconds=5))
    assert await parts.passes.revoke(tenant, pass_id) == first
    assert await parts.issuing.status.token(tenant, 0) == token


async def test_revocations_at_the_same_time_all_arrive(parts: Parts):
    tenant = await parts.make_tenant()
    issued = [await issue(parts, tenant) for _ in range(20)]
    asking = [parts.issuing.status.token(tenant, 0) for _ in range(10)]
    await asyncio.gather(*(parts.passes.revoke(tenant, pass_id) for pass_id, _ in issued), *asking)
    status = await opened(parts, tenant, await parts.issuing.status.token(tenant, 0))
    assert {place for place in range(FIRST_CAPACITY) if status.is_set(place)} == {index for _, index in issued}


async def test_a_full_list_is_followed_by_a_larger_one(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.pool.execute(
        "INSERT INTO passes (tenant_id, list_id, index, kind, flags, access_levels, key_id, issued_at, expires_at)"
        " SELECT $1, 0, number, 0, 0, '{}', '\\x00000000', $3, $3 FROM generate_series(0, $2 - 1) AS number",
        tenant,
        FIRST_CAPACITY,
        parts.clock.now(),
    )
    pass_id, _ = await issue(parts, tenant)
    assert split_pass_id(PassId(bytes.fromhex(pass_id)))[0] == 1
    assert list(await parts.issuing.status.sequences(tenant)) == [0, 1]
    status = await opened(parts, tenant, await parts.issuing.status.token(tenant, 1))
    assert len(status.bits) == 2 * FIRST_CAPACITY // 8


def test_lists_double_up_to_the_largest_that_the_format_carries_well():
    assert [capacity(number) for number in (0, 1, 7, 8, 0xFFFF)] == [
        FIRST_CAPACITY,
        2 * FIRST_CAPACITY,
        LAST_CAPACITY,
        LAST_CAPACITY,
        LAST_CAPACITY,
    ]
    assert LAST_CAPACITY // 8 <= MAX_LIST_BYTES


def test_bits_are_numbered_from_the_least_significant():
    assert bits_of(16, [0, 9]) == b"\x01\x02"


async def test_a_list_that_is_not_there_is_unknown(parts: Parts):
    tenant = await parts.make_tenant()
    with pytest.raises(CloudError) as caught:
        await parts.issuing.status.token(tenant, 5)
    assert caught.value.reason is Reason.STATUS_LIST_UNKNOWN


async def test_sequences_are_those_of_fresh_tokens(parts: Parts):
    tenant = await parts.make_tenant()
    assert await parts.issuing.status.sequences(tenant) == {0: 1}
    assert await parts.issuing.status.sequences(tenant) == {0: 1}
    parts.clock.advance(timedelta(seconds=TTL_S))
    assert await parts.issuing.status.sequences(tenant) == {0: 2}


async def test_when_no_further_list_can_be_opened_issuing_says_so(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.pool.execute("UPDATE status_lists SET list_id = 65535, capacity = 8 WHERE tenant_id = $1", tenant)

    async def issue_nine() -> None:
        for _ in range(9):
            await issue(parts, tenant)

    with pytest.raises(CloudError, match="used all its pass ids") as caught:
        await issue_nine()
    assert caught.value.reason is Reason.PASS_INVALID
    assert await parts.pool.fetchval("SELECT count(*) FROM passes WHERE tenant_id = $1", tenant) <= 8
