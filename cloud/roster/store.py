"""The rows of enrolled credentials: what is there, what is written, what is gone.

Invariant: what changes belongs to the version after the newest, and the roster's row is locked while it does.
Must not: commit; the caller's transaction does.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from cloud.database import Connection, Source
from cloud.errors import CloudError, Reason
from wire.names import PassFlags, PassKind, Tenant
from wire.roster import MAX_ENTRIES, MAX_LEVEL_SETS, PinVerifiers, RosterEntry

_KNOWN: Final = """
    SELECT key, roster_id, kind, flags, levels, salt, pin, duress FROM roster_entries AS entries
    JOIN roster_level_sets AS sets ON (sets.tenant_id, sets.site, number) = (entries.tenant_id, entries.site, level_set)
    WHERE entries.tenant_id = $1 AND entries.site = $2 AND key = ANY($3)"""
_WRITE: Final = """
    INSERT INTO roster_entries (tenant_id, site, version, changed_at, key, roster_id, kind, flags, level_set, salt, pin,
        duress)
    SELECT $1, $2, $3, $4, written.* FROM unnest($5::bytea[], $6::bytea[], $7::smallint[], $8::smallint[], $9::int[],
        $10::bytea[], $11::bytea[], $12::bytea[]) AS written
    ON CONFLICT (tenant_id, site, key) DO UPDATE SET version = excluded.version, changed_at = excluded.changed_at,
        roster_id = excluded.roster_id, kind = excluded.kind, flags = excluded.flags, level_set = excluded.level_set,
        salt = excluded.salt, pin = excluded.pin, duress = excluded.duress"""
_REMOVE: Final = """
    WITH gone AS (DELETE FROM roster_entries WHERE tenant_id = $1 AND site = $2
            AND (key = ANY($4) OR roster_id = ANY($5)) RETURNING key, roster_id),
        noted AS (INSERT INTO roster_removals (tenant_id, site, key, version) SELECT $1, $2, key, $3 FROM gone
            ON CONFLICT (tenant_id, site, key) DO UPDATE SET version = excluded.version)
    SELECT key, roster_id FROM gone"""


async def known(source: Source, tenant: Tenant, site: str, keys: Sequence[bytes]) -> dict[bytes, RosterEntry]:
    """Give the entries that there are under these keys."""
    rows = await source.fetch(_KNOWN, tenant, site, keys)
    return {
        row["key"]: RosterEntry(
            roster_id=row["roster_id"],
            kind=PassKind(row["kind"]),
            flags=PassFlags(row["flags"]),
            access_levels=tuple(row["levels"]),
            pin=None if row["pin"] is None else PinVerifiers(row["salt"], row["pin"], row["duress"]),
        )
        for row in rows
    }


async def lock(connection: Connection, tenant: Tenant, site: str) -> tuple[bytes, int]:
    """Let one transaction at a time change a roster; give its pepper and the version that will have the changes.

    Raises:
        CloudError: ROSTER_UNKNOWN.
    """
    row = await connection.fetchrow(
        "SELECT pepper, version FROM rosters WHERE tenant_id = $1 AND site = $2 FOR NO KEY UPDATE", tenant, site
    )
    if row is None:
        detail = f"Site {site} of institution {tenant} has no credentials enrolled; enrol some with PUT credentials."
        raise CloudError(Reason.ROSTER_UNKNOWN, detail)
    return row["pepper"], row["version"] + 1


async def mark_changed(connection: Connection, tenant: Tenant, site: str, *, more: int) -> None:
    """Have the next version issued, with so many entries more (or less).

    Raises:
        CloudError: ROSTER_FULL.
    """
    entries = await connection.fetchval(
        "UPDATE rosters SET changed = true, entries = entries + $3 WHERE tenant_id = $1 AND site = $2"
        " RETURNING entries",
        tenant,
        site,
        more,
    )
    if more > 0 and entries > MAX_ENTRIES:
        raise _full(site, f"{MAX_ENTRIES} credentials", "remove those of former holders")


async def count(source: Source, tenant: Tenant, site: str, holder: bytes | None) -> int:
    """Count the entries of a site, or of one holder there."""
    if holder is None:
        query = "SELECT entries FROM rosters WHERE tenant_id = $1 AND site = $2"
        return int(await source.fetchval(query, tenant, site) or 0)
    query = "SELECT count(*) FROM roster_entries WHERE tenant_id = $1 AND site = $2 AND roster_id = $3"
    return int(await source.fetchval(query, tenant, site, holder))


async def number_level_sets(
    connection: Connection, tenant: Tenant, site: str, version: int, entries: Iterable[RosterEntry]
) -> dict[tuple[int, ...], int]:
    """Give each level set its number, the next free one where it has none.

    Raises:
        CloudError: ROSTER_FULL.
    """
    rows = await connection.fetch(
        "SELECT number, levels FROM roster_level_sets WHERE tenant_id = $1 AND site = $2", tenant, site
    )
    numbers = {tuple(row["levels"]): row["number"] for row in rows}
    new = sorted({entry.access_levels for entry in entries}.difference(numbers))
    if len(numbers) + len(new) > MAX_LEVEL_SETS:
        what = f"{MAX_LEVEL_SETS} combinations of access levels"
        raise _full(site, what, "use combinations that there are already")
    added = dict(zip(new, range(len(numbers), MAX_LEVEL_SETS), strict=False))
    await connection.executemany(
        "INSERT INTO roster_level_sets (tenant_id, site, number, levels, version) VALUES ($1, $2, $3, $4, $5)",
        [(tenant, site, number, levels, version) for levels, number in added.items()],
    )
    return {**numbers, **added}


async def write(
    connection: Connection,
    tenant: Tenant,
    site: str,
    version: int,
    now: datetime,
    entries: Mapping[bytes, RosterEntry],
    numbers: Mapping[tuple[int, ...], int],
) -> None:
    """Write entries under their keys, whether or not they are there."""
    pins = [entry.pin for entry in entries.values()]
    await connection.execute(
        _WRITE,
        tenant,
        site,
        version,
        now,
        [*entries],
        [entry.roster_id for entry in entries.values()],
        [int(entry.kind) for entry in entries.values()],
        [int(entry.flags) for entry in entries.values()],
        [numbers[entry.access_levels] for entry in entries.values()],
        [None if pin is None else pin.salt for pin in pins],
        [None if pin is None else pin.pin for pin in pins],
        [None if pin is None else pin.duress for pin in pins],
    )
    await connection.execute(
        "DELETE FROM roster_removals WHERE tenant_id = $1 AND site = $2 AND key = ANY($3)", tenant, site, [*entries]
    )


async def remove(
    connection: Connection, tenant: Tenant, site: str, version: int, *, keys: Sequence[bytes], holders: Sequence[bytes]
) -> list[tuple[bytes, bytes]]:
    """Remove entries by key or holder; give key and holder of each that is gone."""
    rows = await connection.fetch(_REMOVE, tenant, site, version, keys, holders)
    return [(row["key"], row["roster_id"]) for row in rows]


def _full(site: str, what: str, remedy: str) -> CloudError:
    return CloudError(Reason.ROSTER_FULL, f"Site {site} would have more than {what}; {remedy}. Nothing was enrolled.")
