"""Enrol, list and remove the credentials of a site that carry no signature.

Invariant: of an identifier only its hash is stored, of a PIN only its argon2id.
Must not: sign; `cloud/issuing/rosters.py` does. Source: docs/spec/roster.md.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from cloud.database import ACQUIRE_S, Connection, Pool
from cloud.doors.service import require_site
from cloud.errors import CloudError, Reason
from cloud.issuing.service import Issuing
from cloud.models import Pagination
from cloud.passes.models import flag_names, kind_name
from cloud.roster import store
from cloud.roster.models import (
    MAX_PINS_AT_ONCE,
    EnrolledIdentifier,
    NewCredential,
    Report,
    Row,
    ShownCredential,
    ShownCredentials,
    ShownRoster,
)
from cloud.roster.reading import PinChange, Unwanted, Wanted, read_unwanted, read_wanted, refusal, same_pin
from wire.names import Tenant
from wire.roster import (
    PEPPER_BYTES,
    ROSTER_ID_BYTES,
    VERIFIER_BYTES,
    PinVerifiers,
    RosterEntry,
    pin_verifier,
)

_DERIVING: Final = 2
"""PINs derived at the same time: each takes 19 MiB and a core."""

_SHOW: Final = """
    SELECT key, roster_id, kind, flags, levels, pin IS NOT NULL AS pin, duress IS NOT NULL AS duress_pin, changed_at
    FROM roster_entries AS entries
    JOIN roster_level_sets AS sets ON (sets.tenant_id, sets.site, number) = (entries.tenant_id, entries.site, level_set)
    WHERE entries.tenant_id = $1 AND entries.site = $2 AND key IN (SELECT key FROM roster_entries
        WHERE tenant_id = $1 AND site = $2 AND ($3::bytea IS NULL OR roster_id = $3)
        ORDER BY key LIMIT $4 OFFSET $5)
    ORDER BY key"""
"""The page is found by its keys alone, so that a late one of a large site does not read all rows before it."""
_SHOW_ROSTER: Final = """
    SELECT rosters.version, signed_at, contents.entries, pins, (SELECT count(*) FROM roster_level_sets
        WHERE tenant_id = $1 AND site = $2) AS level_sets
    FROM rosters JOIN roster_contents AS contents USING (tenant_id, site)
    WHERE tenant_id = $1 AND site = $2 ORDER BY contents.version DESC LIMIT 1"""


class Credentials:
    """The enrolled credentials of all sites.

    Args:
        pool: the database.
        issuing: signs the rosters and tells the doors.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, issuing: Issuing, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._issuing = issuing
        self._now = now
        self._deriving = asyncio.Semaphore(_DERIVING)

    async def put(self, tenant: str, site: str, items: Sequence[NewCredential]) -> Report:
        """Enrol credentials or replace them, and tell the doors.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, SITE_UNKNOWN, CREDENTIALS_INVALID or ROSTER_FULL; nothing is enrolled then.
        """
        owner = await require_site(self._pool, tenant, site)
        _refuse_too_many_pins(items)
        wanted, rows = read_wanted(items, await self._begin(owner, site))
        known = await store.known(self._pool, owner, site, [each.key for each in wanted])
        derived = await asyncio.gather(*(self._verifiers(each.pin, _pin_of(known.get(each.key))) for each in wanted))
        accepted: list[tuple[Wanted, PinVerifiers | None]] = []
        for each, verifiers in zip(wanted, derived, strict=True):
            if isinstance(verifiers, str):
                rows.append(refusal(each.row, verifiers))
            else:
                accepted.append((each, verifiers))
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            rows += await self._write(connection, owner, site, accepted)
        return self._report(owner, rows)

    async def remove(self, tenant: str, site: str, items: Sequence[EnrolledIdentifier]) -> Report:
        """Remove credentials, and tell the doors.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, SITE_UNKNOWN or ROSTER_UNKNOWN.
        """
        owner = await require_site(self._pool, tenant, site)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            pepper, version = await store.lock(connection, owner, site)
            unwanted, rows = read_unwanted(items, pepper)
            gone = await store.remove(
                connection,
                owner,
                site,
                version,
                keys=[each.key for each in unwanted if each.key is not None],
                holders=[each.holder for each in unwanted if each.holder is not None],
            )
            if gone:
                await store.mark_changed(connection, owner, site, more=-len(gone))
        found = {value for key_and_holder in gone for value in key_and_holder}
        rows += [_removed(each, found) for each in unwanted]
        return self._report(owner, rows)

    async def show(self, tenant: str, site: str, *, holder: str | None, page: int, limit: int) -> ShownCredentials:
        """Give one page, of all or of one holder's.

        Raises:
            CloudError: INSTITUTION_UNKNOWN or SITE_UNKNOWN.
        """
        owner = await require_site(self._pool, tenant, site)
        roster_id = None if holder is None else bytes.fromhex(holder)
        total = await store.count(self._pool, owner, site, roster_id)
        pagination = Pagination(page=page, limit=limit, total=total)
        rows = await self._pool.fetch(_SHOW, owner, site, roster_id, limit, pagination.offset)
        shown = [
            ShownCredential(
                key=row["key"].hex(),
                holder=row["roster_id"].hex(),
                kind=kind_name(row["kind"]),
                flags=flag_names(row["flags"]),
                access_levels=row["levels"],
                pin=row["pin"],
                duress_pin=row["duress_pin"],
                changed_at=row["changed_at"],
            )
            for row in rows
        ]
        return ShownCredentials(data=shown, pagination=pagination)

    async def roster(self, tenant: str, site: str) -> ShownRoster:
        """Give the state of the roster that doors fetch.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, SITE_UNKNOWN, ROSTER_UNKNOWN or KEY_UNUSABLE.
        """
        owner = await require_site(self._pool, tenant, site)
        await self._issuing.rosters.version(owner, site)
        row = await self._pool.fetchrow(_SHOW_ROSTER, owner, site)
        assert row is not None  # noqa: S101 - it was issued just now, and rosters are not deleted
        return ShownRoster(
            version=row["version"],
            issued_at=row["signed_at"],
            credentials=row["entries"],
            with_pin=row["pins"],
            level_sets=row["level_sets"],
        )

    async def _begin(self, tenant: Tenant, site: str) -> bytes:
        """Begin the site's roster unless it is there; give its pepper."""
        await self._pool.execute(
            "INSERT INTO rosters (tenant_id, site, pepper) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            tenant,
            site,
            secrets.token_bytes(PEPPER_BYTES),
        )
        pepper = await self._pool.fetchval(
            "SELECT pepper FROM rosters WHERE tenant_id = $1 AND site = $2", tenant, site
        )
        return bytes(pepper)

    async def _verifiers(self, change: PinChange, known: PinVerifiers | None) -> PinVerifiers | str | None:
        """Derive what is new of a PIN, under the salt that the entry has; gives what is wrong where it cannot be."""
        if change.pin is None or (change.pin is msgspec.UNSET and known is None):
            return "duressPin needs a pin" if isinstance(change.duress, str) else None
        salt = secrets.token_bytes(VERIFIER_BYTES) if known is None else known.salt
        pin, duress = (b"", None) if known is None else (known.pin, known.duress)
        if isinstance(change.pin, str):
            pin = await self._derive(change.pin, salt)
        if change.duress is not msgspec.UNSET:
            duress = None if change.duress is None else await self._derive(change.duress, salt)
        verifiers = PinVerifiers(salt, pin, duress)
        return "pin and duressPin are the same" if same_pin(verifiers) else verifiers

    async def _derive(self, pin: str, salt: bytes) -> bytes:
        async with self._deriving:
            return await asyncio.to_thread(pin_verifier, pin, salt)

    async def _write(
        self, connection: Connection, tenant: Tenant, site: str, accepted: Sequence[tuple[Wanted, PinVerifiers | None]]
    ) -> list[Row]:
        _, version = await store.lock(connection, tenant, site)
        known = await store.known(connection, tenant, site, [each.key for each, _ in accepted])
        rows: list[Row] = []
        written: dict[bytes, RosterEntry] = {}
        for wanted, verifiers in accepted:
            before = known.get(wanted.key)
            entry = _entry(wanted, verifiers, before)
            status = "added" if before is None else "unchanged" if before == entry else "replaced"
            rows.append(Row(row=wanted.row, status=status, holder=entry.roster_id.hex()))
            if before != entry:
                written[wanted.key] = entry
        if written:
            numbers = await store.number_level_sets(connection, tenant, site, version, written.values())
            await store.write(connection, tenant, site, version, self._now(), written, numbers)
            await store.mark_changed(connection, tenant, site, more=len(written.keys() - known.keys()))
        return rows

    def _report(self, tenant: Tenant, rows: list[Row]) -> Report:
        counts = Counter(row.status for row in rows)
        if counts.keys() & {"added", "replaced", "removed"}:
            self._issuing.changes.publish(tenant)
        return Report(counts=counts, rows=sorted(rows, key=lambda row: row.row))


def _refuse_too_many_pins(items: Sequence[NewCredential]) -> None:
    pins = sum(isinstance(pin, str) for item in items for pin in (item.pin, item.duress_pin))
    if pins > MAX_PINS_AT_ONCE:
        detail = f"{pins} PINs in one request take too long; send at most {MAX_PINS_AT_ONCE}, duress PINs included."
        raise CloudError(Reason.CREDENTIALS_INVALID, detail)


def _pin_of(entry: RosterEntry | None) -> PinVerifiers | None:
    return None if entry is None else entry.pin


def _entry(wanted: Wanted, verifiers: PinVerifiers | None, before: RosterEntry | None) -> RosterEntry:
    holder = wanted.holder
    if holder is None:
        holder = secrets.token_bytes(ROSTER_ID_BYTES) if before is None else before.roster_id
    return RosterEntry(
        roster_id=holder,
        kind=wanted.kind,
        flags=wanted.flags,
        access_levels=wanted.access_levels,
        pin=verifiers,
    )


def _removed(unwanted: Unwanted, found: set[bytes]) -> Row:
    gone = unwanted.key in found or unwanted.holder in found
    return Row(row=unwanted.row, status="removed" if gone else "not_enrolled")
