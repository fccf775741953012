"""Credentials without a signature: enrolled, replaced, listed and removed, and kept as hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud.errors import CloudError, Reason
from cloud.roster.models import MAX_PINS_AT_ONCE, EnrolledIdentifier, NewCredential
from tests.support.cloud_parts import Parts, cloud_parts
from tests.support.roster_site import SITE, Site, barcode, key
from wire.names import PassFlags, PassKind
from wire.roster import IdentifierForm, PinVerifiers, identifier_key, pin_verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


@pytest.fixture(name="site")
async def _site(parts: Parts) -> Site:
    return Site(parts, await parts.make_tenant())


async def reason(asked: Awaitable[object]) -> Reason:
    with pytest.raises(CloudError) as caught:
        await asked
    return caught.value.reason


# --- enrolling ---------------------------------------------------------------------------------------------


async def test_what_is_enrolled_is_found_by_its_identifier(site: Site):
    report = await site.put(
        barcode("0100482117", access_levels=[7, 1, 7], kind="staff", flags=["extended_release"]),
        NewCredential(identifier="04:A2:b3:C4 d5-e6-80", form="card_uid", holder="00000000000000aa"),
    )
    assert report.counts == {"added": 2}
    roster = await site.whole()
    first = roster.find(key(roster, "0100482117"))
    assert first is not None
    assert (first.kind, first.flags, first.access_levels, first.pin) == (
        PassKind.STAFF,
        PassFlags.EXTENDED_RELEASE,
        (1, 7),
        None,
    )
    assert first.roster_id.hex() == report.rows[0].holder
    uid = bytes.fromhex("04a2b3c4d5e680")
    second = roster.find(identifier_key(roster.pepper, IdentifierForm.CARD_UID, uid))
    assert second is not None
    assert second.roster_id == bytes(7) + b"\xaa"
    assert roster.count == 2


async def test_an_identifier_is_stored_nowhere(site: Site):
    await site.put(barcode("0100482117", pin="2468"))
    tables = ("rosters", "roster_entries", "roster_level_sets", "roster_contents", "roster_removals")
    for table in tables:
        for row in await site.parts.pool.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1", site.tenant):  # noqa: S608 - of the list above
            for value in row.values():
                data = value if isinstance(value, bytes) else str(value).encode()
                assert b"0100482117" not in data
                assert b"2468" not in data


async def test_putting_the_same_again_changes_nothing(site: Site):
    item = barcode("1", access_levels=[1], pin="2468", duress_pin="1357")
    first = await site.put(item)
    before = await site.whole()
    again = await site.put(item)
    assert (again.counts, again.rows[0].holder) == ({"unchanged": 1}, first.rows[0].holder)
    assert await site.whole() == before


async def test_a_replaced_credential_keeps_its_holder_unless_another_is_named(site: Site):
    first = await site.put(barcode("1", access_levels=[1]))
    second = await site.put(barcode("1", access_levels=[2]))
    third = await site.put(barcode("1", access_levels=[2], holder="0123456789abcdef"))
    assert [report.counts for report in (first, second, third)] == [{"added": 1}, {"replaced": 1}, {"replaced": 1}]
    holders = [report.rows[0].holder for report in (first, second, third)]
    assert holders == [holders[0], holders[0], "0123456789abcdef"]


@pytest.mark.parametrize(
    ("item", "detail"),
    [
        (barcode(""), "1 to 64 bytes"),
        (barcode("x" * 65), "1 to 64 bytes"),
        (barcode("ü" * 33), "1 to 64 bytes"),
        (barcode(" 1"), "space"),
        (barcode("1\n"), "space"),
        (NewCredential(identifier="04a", form="card_uid"), "hexadecimal"),
        (NewCredential(identifier="04a", form="public_key"), "hexadecimal"),
        (NewCredential(identifier="04zz", form="card_uid"), "hexadecimal"),
        (NewCredential(identifier="", form="card_uid"), "1 to 64 bytes"),
        (NewCredential(identifier="00" * 65, form="card_uid"), "1 to 64 bytes"),
        (barcode("1", pin="246"), "pin is not 4 to 8 digits"),
        (barcode("1", pin="246824682"), "pin is not 4 to 8 digits"),
        (barcode("1", pin="24a8"), "pin is not 4 to 8 digits"),
        (barcode("1", pin="2468\n"), "pin is not 4 to 8 digits"),
        (barcode("1", pin="2468", duress_pin="24"), "duressPin is not 4 to 8 digits"),
        (barcode("1", pin="2468", duress_pin="2468"), "the same"),
        (barcode("1", duress_pin="2468"), "needs a pin"),
        (barcode("1", pin=None, duress_pin="2468"), "needs a pin"),
    ],
)
async def test_a_credential_that_cannot_be_is_refused_and_the_others_are_enrolled(
    site: Site, item: NewCredential, detail: str
):
    report = await site.put(barcode("first"), item, barcode("last"))
    assert report.counts == {"added": 2, "refused": 1}
    assert [row.status for row in report.rows] == ["added", "refused", "added"]
    assert detail in (report.rows[1].detail or "")
    assert (await site.whole()).count == 2


async def test_the_longest_identifiers_and_pins_are_enrolled(site: Site):
    report = await site.put(
        barcode("x" * 64), NewCredential(identifier="00" * 64, form="card_uid"), barcode("1", pin="24682468")
    )
    assert report.counts == {"added": 3}


async def test_an_identifier_that_stands_twice_counts_once(site: Site):
    report = await site.put(barcode("1", access_levels=[1]), barcode("1", access_levels=[2]))
    assert [(row.row, row.status) for row in report.rows] == [(0, "added"), (1, "refused")]
    roster = await site.whole()
    entry = roster.find(key(roster, "1"))
    assert entry is not None
    assert entry.access_levels == (1,)


async def test_sites_and_institutions_are_apart(parts: Parts, site: Site):
    other = Site(parts, await parts.make_tenant())
    await site.enrol(1)
    await other.enrol(1, 2)
    mine, theirs = await site.whole(), await other.whole()
    assert (mine.count, theirs.count) == (1, 2)
    assert mine.pepper != theirs.pepper
    assert await reason(site.credentials.put(site.tenant, "nowhere", [barcode("1")])) is Reason.SITE_UNKNOWN
    assert await reason(site.credentials.put("none", SITE, [barcode("1")])) is Reason.INSTITUTION_UNKNOWN
    assert await reason(site.credentials.show(site.tenant, "nowhere", holder=None, page=1, limit=1)) is (
        Reason.SITE_UNKNOWN
    )


# --- PINs --------------------------------------------------------------------------------------------------


async def pin_of(site: Site, text: str = "1") -> PinVerifiers | None:
    roster = await site.whole()
    entry = roster.find(key(roster, text))
    assert entry is not None
    return entry.pin


async def test_a_pin_and_a_duress_pin_are_kept_as_verifiers_under_a_salt_of_their_own(site: Site):
    await site.put(barcode("1", pin="2468", duress_pin="1357"), barcode("2", pin="2468"))
    first, second = await pin_of(site, "1"), await pin_of(site, "2")
    assert first is not None
    assert second is not None
    assert first.salt != second.salt
    assert (first.pin, first.duress) == (pin_verifier("2468", first.salt), pin_verifier("1357", first.salt))
    assert (second.pin, second.duress) == (pin_verifier("2468", second.salt), None)


async def test_pins_that_are_not_named_stay_and_null_takes_them_away(site: Site):
    await site.put(barcode("1", pin="2468", duress_pin="1357"))
    before = await pin_of(site)
    assert before is not None
    first, second = pin_verifier("2468", before.salt), pin_verifier("8642", before.salt)
    duress, other = pin_verifier("1357", before.salt), pin_verifier("7531", before.salt)
    for change, expected in (
        (barcode("1", access_levels=[2]), PinVerifiers(before.salt, first, duress)),
        (barcode("1", pin="8642"), PinVerifiers(before.salt, second, duress)),
        (barcode("1", duress_pin=None), PinVerifiers(before.salt, second, None)),
        (barcode("1", duress_pin="7531"), PinVerifiers(before.salt, second, other)),
        (barcode("1", pin=None), None),
    ):
        assert (await site.put(change)).counts == {"replaced": 1}
        assert await pin_of(site) == expected


async def test_a_pin_may_not_become_the_duress_pin_that_is_kept(site: Site):
    await site.put(barcode("1", pin="2468", duress_pin="1357"))
    for item in (barcode("1", pin="1357"), barcode("1", duress_pin="2468")):
        report = await site.put(item)
        assert [row.detail for row in report.rows] == ["pin and duressPin are the same"]


async def test_pins_take_time_so_that_a_request_may_hold_a_number_of_them(site: Site):
    item = barcode("1", pin="246", duress_pin="135")  # refused one by one, and so at once
    few = [item] * (MAX_PINS_AT_ONCE // 2)
    assert (await site.put(*few)).counts == {"refused": MAX_PINS_AT_ONCE // 2}
    assert await reason(site.put(*few, barcode("2", pin="2468"))) is Reason.CREDENTIALS_INVALID
    assert (await site.put(*few, barcode("2", pin=None))).counts["added"] == 1


# --- removing ----------------------------------------------------------------------------------------------


async def test_a_removed_credential_is_not_found_any_more(site: Site):
    await site.enrol(1, 2, 3)
    report = await site.remove(2, 9)
    assert [(row.row, row.status) for row in report.rows] == [(0, "removed"), (1, "not_enrolled")]
    assert site.numbers(await site.whole()) == [1, 3]


async def test_all_of_a_holder_are_removed_at_once(site: Site):
    holder = "0123456789abcdef"
    await site.put(barcode("1", holder=holder), barcode("2", holder=holder), barcode("3"))
    report = await site.credentials.remove(
        site.tenant, SITE, [EnrolledIdentifier(holder=holder), EnrolledIdentifier(holder="0" * 16)]
    )
    assert [row.status for row in report.rows] == ["removed", "not_enrolled"]
    assert site.numbers(await site.whole()) == [3]


@pytest.mark.parametrize(
    "item",
    [
        EnrolledIdentifier(),
        EnrolledIdentifier(identifier="1"),
        EnrolledIdentifier(form="barcode"),
        EnrolledIdentifier(identifier="1", form="barcode", holder="0" * 16),
        EnrolledIdentifier(identifier="zz", form="card_uid"),
    ],
)
async def test_what_cannot_be_looked_for_is_refused(site: Site, item: EnrolledIdentifier):
    await site.enrol(1)
    report = await site.credentials.remove(site.tenant, SITE, [item])
    assert [row.status for row in report.rows] == ["refused"]
    assert report.rows[0].detail
    assert (await site.whole()).count == 1


async def test_nothing_can_be_removed_or_fetched_where_nothing_is_enrolled(site: Site):
    assert await reason(site.remove(1)) is Reason.ROSTER_UNKNOWN
    assert await reason(site.document()) is Reason.ROSTER_UNKNOWN
    assert await reason(site.credentials.roster(site.tenant, SITE)) is Reason.ROSTER_UNKNOWN
    assert await site.parts.issuing.rosters.versions(site.tenant) == {}


# --- showing -----------------------------------------------------------------------------------------------


async def test_credentials_are_listed_by_page_and_by_holder(site: Site):
    await site.enrol(*range(5))
    added = await site.put(barcode("9", access_levels=[3, 4], pin="2468", kind="visitor"))
    shown = [await site.credentials.show(site.tenant, SITE, holder=None, page=page, limit=4) for page in (1, 2)]
    assert [(len(page.data), page.pagination.total) for page in shown] == [(4, 6), (2, 6)]
    keys = [each.key for page in shown for each in page.data]
    assert keys == sorted(set(keys))
    mine = await site.credentials.show(site.tenant, SITE, holder=added.rows[0].holder, page=1, limit=4)
    assert mine.pagination.total == 1
    (one,) = mine.data
    assert (one.kind, one.access_levels, one.pin, one.duress_pin) == ("visitor", [3, 4], True, False)
    assert one.changed_at == site.parts.clock.now()


async def test_the_state_of_a_roster_is_shown(site: Site):
    await site.enrol(1, 2)
    await site.put(barcode("3", access_levels=[7], pin="2468"))
    shown = await site.credentials.roster(site.tenant, SITE)
    assert (shown.version, shown.credentials, shown.with_pin, shown.level_sets) == (1, 3, 1, 2)
    assert shown.issued_at == site.parts.clock.now().replace(microsecond=0)
