"""Rosters: issued when something changes or they grow old, whole or as a delta, and bounded."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cloud.errors import CloudError, Reason
from cloud.issuing.keys import KeyRole
from cloud.issuing.rosters import KEPT, REFRESH
from tests.support.asked import asked
from tests.support.cloud_parts import DOOR, Parts, cloud_parts
from tests.support.roster_site import SITE, Site, barcode
from wire.messages import MEDIA_ROSTER, MEDIA_ROSTER_DELTA
from wire.roster import MAX_ENTRIES, MAX_LEVEL_SETS, open_roster
from wire.roster_delta import MAX_CHANGES, apply_roster_delta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


@pytest.fixture(name="site")
async def _site(parts: Parts) -> Site:
    return Site(parts, await parts.make_tenant())


async def test_a_delta_leads_from_the_old_roster_to_the_new_one(site: Site):
    await site.enrol(*range(20))
    await site.put(barcode("5", pin="2468"), barcode("6", pin="1357", duress_pin="2468"))
    old = await site.whole()
    await site.enrol(30, 31, level=9)
    await site.put(barcode("5", pin=None), barcode("7", pin="2468", access_levels=[1]))
    await site.remove(6, 8)
    whole = await site.whole()
    delta = await site.delta(old.version)
    assert (delta.version, delta.changes, len(delta.level_sets)) == (whole.version, 6, 1)
    assert apply_roster_delta(old, delta) == whole
    assert site.numbers(whole) == [*range(6), 7, *range(9, 20), 30, 31]


async def test_deltas_lead_from_every_version_to_the_newest(site: Site):
    await site.enrol(*range(200))
    versions = [await site.whole()]
    for number in range(18):  # more than are remembered
        await site.remove(number)
        await site.enrol(300 + number % 2, number + 7, level=number)
        versions.append(await site.whole())
    assert [roster.version for roster in versions] == list(range(1, 20))
    for old in versions[:-1]:
        assert apply_roster_delta(old, await site.delta(old.version)) == versions[-1]


async def test_what_came_and_went_between_two_versions_changes_nothing(site: Site):
    await site.enrol(*range(5))
    old = await site.whole()
    await site.enrol(9)
    await site.remove(9, 3)
    await site.enrol(3)
    whole = await site.whole()
    assert apply_roster_delta(old, await site.delta(old.version)) == whole
    assert site.numbers(whole) == [0, 1, 2, 3, 4]


async def test_a_version_is_issued_once_and_again_when_it_grows_old(site: Site):
    await site.enrol(1)
    first = await site.whole()
    site.parts.clock.advance(REFRESH)
    assert await site.whole() == first
    site.parts.clock.advance(timedelta(seconds=1))
    second = await site.whole()
    assert (second.version, second.records) == (first.version + 1, first.records)
    assert second.issued_at_s == int(site.parts.clock.now().timestamp())
    delta = await site.delta(first.version)
    assert (delta.changes, delta.before) == (0, delta.after)
    assert apply_roster_delta(first, delta) == second


@pytest.mark.parametrize("since", [0, 1, 99, 2**70])
async def test_who_has_the_newest_or_an_impossible_version_gets_the_whole(site: Site, since: int):
    await site.enrol(1)
    assert (await site.document(since)).media_type == MEDIA_ROSTER


async def test_the_whole_is_given_when_most_has_changed(site: Site):
    await site.enrol(*range(10))
    old = await site.whole()
    await site.enrol(*range(5), level=2)
    assert apply_roster_delta(old, await site.delta(old.version)) == await site.whole()
    await site.enrol(5, level=2)
    assert (await site.document(old.version)).media_type == MEDIA_ROSTER


async def test_what_is_too_much_for_a_delta_is_not_packed(site: Site):
    await site.enrol(*range(10))
    old = await site.whole()
    await site.enrol(*range(6), level=2)
    await site.whole()
    async with asked(site.parts.pool) as statements:
        assert (await site.document(old.version)).media_type == MEDIA_ROSTER
    assert statements
    assert not [statement for statement in statements if "string_agg" in statement]


async def test_a_door_that_asks_from_many_versions_keeps_no_other_tenant_waiting(site: Site):
    for number in range(20):
        await site.enrol(number)
        await site.whole()
    calm = Site(site.parts, await site.parts.make_tenant())
    await calm.enrol(1)
    await calm.whole()
    order: list[Site] = []

    async def ask(by: Site, since: int | None) -> None:
        await by.document(since)
        order.append(by)

    await asyncio.gather(*(ask(site, since) for since in range(1, 20)), ask(calm, None))
    assert order.index(calm) <= 2
    assert len(order) == 20


async def test_many_who_ask_at_once_get_the_same(site: Site):
    await site.enrol(*range(10))
    await site.whole()
    await site.enrol(11)
    found = await asyncio.gather(*(site.document(since) for since in (None, 1) for _ in range(10)))
    assert len({(each.version, each.data) for each in found}) == 2


async def test_changes_at_the_same_time_all_arrive(site: Site):
    await site.enrol(0)
    asking = [site.document(1) for _ in range(5)]
    await asyncio.gather(*(site.enrol(number, level=number % 3) for number in range(1, 15)), *asking)
    assert site.numbers(await site.whole()) == list(range(15))


async def test_versions_are_those_of_the_doors_whose_site_has_a_roster(site: Site):
    assert await site.parts.issuing.rosters.versions(site.tenant) == {}
    await site.enrol(1)
    assert await site.parts.issuing.rosters.versions(site.tenant) == {DOOR: 1}
    await site.enrol(1)
    assert await site.parts.issuing.rosters.versions(site.tenant) == {DOOR: 1}
    await site.enrol(2)
    assert await site.parts.issuing.rosters.versions(site.tenant) == {DOOR: 2}


async def test_after_a_change_of_the_key_doors_get_the_whole_under_the_new_one(site: Site):
    await site.enrol(1)
    old, key_before = await site.whole(), await site.key()
    site.parts.clock.advance(timedelta(days=395))
    await site.parts.issuing.rotate(site.tenant, [KeyRole.POLICY])
    site.parts.clock.advance(timedelta(days=10))
    found = await site.document(old.version)
    assert found.media_type == MEDIA_ROSTER
    assert await site.key() != key_before
    roster = open_roster(found.data, await site.key())
    site.parts.clock.advance(REFRESH * 2)
    assert (await site.delta(roster.version)).changes == 0


async def test_a_door_that_was_away_for_weeks_gets_the_changes_and_after_that_the_whole(site: Site):
    await site.enrol(*range(10))
    first = await site.whole()
    await site.remove(1)
    second = await site.whole()
    site.parts.clock.advance(KEPT)
    await site.remove(2)
    assert apply_roster_delta(first, await site.delta(first.version)) == await site.whole()
    site.parts.clock.advance(timedelta(seconds=1))
    await site.remove(3)
    third = await site.whole()
    assert (await site.document(first.version)).media_type == MEDIA_ROSTER
    assert apply_roster_delta(second, await site.delta(second.version)) == third
    removals = "SELECT count(*) FROM roster_removals WHERE tenant_id = $1"
    assert await site.parts.pool.fetchval(removals, site.tenant) == 2


# --- bounds ------------------------------------------------------------------------------------------------


async def fill(site: Site, count: int) -> None:
    """Enrol so many, as a site's import would, without going through the service."""
    await site.parts.pool.execute(
        "INSERT INTO roster_entries (tenant_id, site, key, roster_id, kind, flags, level_set, version, changed_at)"
        " SELECT $1, $2, decode(md5(number::text), 'hex'), '\\x0000000000000000', 0, 0, 0, 1, $4"
        " FROM generate_series(1, $3) AS number",
        site.tenant,
        SITE,
        count,
        site.parts.clock.now(),
    )
    await site.parts.pool.execute(
        "UPDATE rosters SET entries = entries + $3, changed = true WHERE tenant_id = $1 AND site = $2",
        site.tenant,
        SITE,
        count,
    )


@pytest.mark.slow
async def test_a_full_roster_is_issued_and_takes_no_more(site: Site):
    await site.enrol(0)
    await fill(site, MAX_ENTRIES - 2)
    await site.enrol(1)
    assert (await site.whole()).count == MAX_ENTRIES
    with pytest.raises(CloudError) as caught:
        await site.enrol(2)
    assert caught.value.reason is Reason.ROSTER_FULL
    await site.enrol(1, level=5)
    await site.remove(1)
    await site.enrol(2)
    assert (await site.whole()).count == MAX_ENTRIES


@pytest.mark.slow
async def test_more_changes_than_a_delta_holds_travel_as_the_whole(site: Site):
    await site.enrol(0)
    await fill(site, 2 * MAX_CHANGES + 2)
    old = await site.whole()
    change = (
        # A place in the order, not a list of keys: where statistics know nothing of this tenant yet, a plan may look
        # through that list once a row.
        "UPDATE roster_entries SET kind = 3, version = $2 WHERE tenant_id = $1 AND key <="
        " (SELECT key FROM roster_entries WHERE tenant_id = $1 ORDER BY key LIMIT 1 OFFSET $3 - 1)"
    )
    for count, media in ((MAX_CHANGES, MEDIA_ROSTER_DELTA), (MAX_CHANGES + 1, MEDIA_ROSTER)):
        version = (await site.whole()).version + 1
        await site.parts.pool.execute(change, site.tenant, version, count)
        await site.parts.pool.execute("UPDATE rosters SET changed = true WHERE tenant_id = $1", site.tenant)
        found = await site.document(old.version)
        assert found.media_type == media


async def test_a_combination_of_levels_too_many_is_refused(site: Site):
    await site.enrol(0)
    await site.parts.pool.execute(
        "INSERT INTO roster_level_sets SELECT $1, $2, number, ARRAY[number + 1], 1"
        " FROM generate_series(1, $3) AS number",
        site.tenant,
        SITE,
        MAX_LEVEL_SETS - 2,
    )
    await site.put(barcode("1", access_levels=[1, 2]))
    with pytest.raises(CloudError) as caught:
        await site.put(barcode("2", access_levels=[1, 2, 3]))
    assert caught.value.reason is Reason.ROSTER_FULL
    await site.put(barcode("2", access_levels=[1, 2]))
    assert len((await site.whole()).level_sets) == MAX_LEVEL_SETS
