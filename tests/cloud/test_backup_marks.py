"""The two phases of a backup: what doors may forget was committed before it began, and never more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cloud.backups.marks import LOST_VERSIONS, REMEMBERED, begin, complete
from cloud.backups.models import Backup
from cloud.errors import CloudError, Reason
from tests.support.cloud_parts import Parts, Twin, cloud_parts
from wire.batch import Acknowledgement, open_acknowledgement
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clouds import RunningCloud
    from tests.support.door_batches import Journal


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def send(parts: Parts, twin: Twin, body: bytes) -> Acknowledgement:
    return open_acknowledgement(await parts.ingest.submit(twin.identity, body), await parts.acknowledger(twin))


def grown(twin: Twin, count: int, *, epoch: bytes = b"epoch-01") -> Journal:
    made = twin.journal(epoch=epoch)
    made.grow(count)
    return made


async def backed_up(parts: Parts, twin: Twin) -> int:
    found: int = await parts.pool.fetchval("SELECT backed_up FROM devices WHERE id = $1", twin.identity.device)
    return found


async def done(parts: Parts, backup: Backup) -> Backup:
    return await complete(parts.pool, backup.id, now=parts.clock.now())


async def test_doors_may_forget_what_was_stored_before_the_backup_began(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 9)
    await send(parts, twin, journal.batch(1, 4))
    backup = await begin(parts.pool, now=parts.clock.now())
    assert (await send(parts, twin, journal.batch(5, 6))).backed_up == 0
    finished = await done(parts, backup)
    assert (finished.id, finished.completed_at) == (backup.id, parts.clock.now())
    assert (await send(parts, twin, journal.batch(7, 9))).backed_up == 4


async def test_completing_again_changes_nothing(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 4)
    await send(parts, twin, journal.batch(1, 4))
    backup = await begin(parts.pool, now=parts.clock.now())
    first = await done(parts, backup)
    await parts.pool.execute("UPDATE devices SET backed_up = 1 WHERE id = $1", twin.identity.device)
    assert await done(parts, backup) == first
    assert await backed_up(parts, twin) == 1


async def test_an_older_backup_that_ends_later_takes_nothing_back(parts: Parts):
    twin = await parts.make_twin()
    journal = grown(twin, 6)
    await send(parts, twin, journal.batch(1, 2))
    older = await begin(parts.pool, now=parts.clock.now())
    await send(parts, twin, journal.batch(3, 6))
    await done(parts, await begin(parts.pool, now=parts.clock.now()))
    assert await backed_up(parts, twin) == 6
    await done(parts, older)
    assert await backed_up(parts, twin) == 6


async def test_a_mark_that_was_rolled_back_meanwhile_is_not_passed(parts: Parts):
    twin = await parts.make_twin()
    await send(parts, twin, grown(twin, 6).batch(1, 6))
    backup = await begin(parts.pool, now=parts.clock.now())
    await parts.pool.execute("UPDATE devices SET mark = 2 WHERE id = $1", twin.identity.device)
    await done(parts, backup)
    assert await backed_up(parts, twin) == 2


async def test_a_backup_of_another_epoch_says_nothing_of_this_one(parts: Parts):
    twin = await parts.make_twin()
    new = grown(twin, 3, epoch=b"epoch-02")
    await send(parts, twin, grown(twin, 6).batch(1, 6))
    backup = await begin(parts.pool, now=parts.clock.now())
    await parts.pool.execute("UPDATE devices SET accepted_epoch = $2 WHERE id = $1", twin.identity.device, new.epoch)
    await send(parts, twin, new.batch(1, 3))
    await done(parts, backup)
    assert await backed_up(parts, twin) == 0


async def test_a_backup_that_nobody_began_cannot_be_completed(parts: Parts):
    with pytest.raises(CloudError) as caught:
        await complete(parts.pool, "0" * 16, now=parts.clock.now())
    assert caught.value.reason is Reason.BACKUP_UNKNOWN


async def test_a_backup_that_was_never_completed_is_forgotten(parts: Parts):
    old = await begin(parts.pool, now=parts.clock.now())
    parts.clock.advance(REMEMBERED)
    await begin(parts.pool, now=parts.clock.now())
    await done(parts, old)
    lost = await begin(parts.pool, now=parts.clock.now())
    parts.clock.advance(REMEMBERED + timedelta(seconds=1))
    await begin(parts.pool, now=parts.clock.now())
    with pytest.raises(CloudError) as caught:
        await done(parts, lost)
    assert caught.value.reason is Reason.BACKUP_UNKNOWN


async def test_operators_with_an_engine_of_their_own_use_the_api(cloud: RunningCloud):
    begun = await cloud.api.post("/api/v1/backups")
    assert (begun.status_code, begun.json()["completedAt"]) == (201, None)
    place = f"/api/v1/backups/{begun.json()['id']}/complete"
    ended = await cloud.api.post(place)
    assert (ended.status_code, ended.json()["id"]) == (200, begun.json()["id"])
    assert ended.json()["completedAt"] is not None
    assert (await cloud.api.post(f"/api/v1/backups/{'0' * 16}/complete")).json()["reason"] == "BACKUP_UNKNOWN"
    assert (await cloud.api.post("/api/v1/backups/odd/complete")).status_code == 400
    refused = await cloud.api.post(place, headers={"authorization": "Bearer nobody"})
    assert refused.status_code == 401


async def test_after_a_restoration_whatever_is_signed_is_newer_than_what_was_lost(cloud: RunningCloud):
    await cloud.make_door("restored")
    place = "/api/v1/institutions/restored"
    policy = {"accessLevels": [{"id": 1, "schedules": [0]}]}
    before = (await cloud.api.put(f"{place}/doors/main-entrance/policy", json=policy)).json()["version"]
    told = await cloud.api.post("/api/v1/backups/restored")
    assert (told.status_code, told.json()) == (200, {"versionsRaisedBy": LOST_VERSIONS})
    shown = (await cloud.api.get(f"{place}/doors/main-entrance/policy")).json()
    assert (shown["version"], shown["policy"]["accessLevels"][0]["id"]) == (before + LOST_VERSIONS + 1, 1)
    trust = parse_pinned((await cloud.api.get(f"{place}/trust")).content).open()
    assert trust.version > LOST_VERSIONS
