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
    SELECT key, roster_id, kind, flags, levels, salt, pin, duress FROM roster_entries
    JOIN roster_level_sets ON roster_level_sets.tenant_id = roster_entries.tenant_id
        AND roster_level_sets.site = roster_entries.site AND number = level_set
    WHERE roster_entries.tenant_id = $1 AND roster_entries.site = $2 AND key = ANY($3)"""
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


async def mark_changed(connection: Connection, tenant: Tenant, site: str) -> None:
    """Have the next version issued."""
    await connection.execute("UPDATE rosters SET changed = true WHERE tenant_id = $1 AND site = $2", tenant, site)


async def number_level_sets(
    connection: Connection, tenant: Tenant, site: str, version: int, entries: Iterable[RosterEntry]
) -> dict[tuple[int, ...], int]:
    """Give each level set its number, the next free one where it has none.

    Raises:
        CloudError: ROSTER_FULL.
    """
    numbers: dict[tuple[int, ...], int] = {}
    for levels in sorted({entry.access_levels for entry in entries}):
        number = await connection.fetchval(
            "SELECT number FROM roster_level_sets WHERE tenant_id = $1 AND site = $2 AND levels = $3",
            tenant,
            site,
            levels,
        )
        if number is None:
            number = await connection.fetchval(
                "SELECT coalesce(max(number) + 1, 0) FROM roster_level_sets WHERE tenant_id = $1 AND site = $2",
                tenant,
                site,
            )
            if number >= MAX_LEVEL_SETS:
                what = f"{MAX_LEVEL_SETS} combinations of access levels"
                raise _full(site, what, "use combinations that there are already")
            await connection.execute(
                "INSERT INTO roster_level_sets (tenant_id, site, number, levels, version) VALUES ($1, $2, $3, $4, $5)",
                tenant,
                site,
                number,
                levels,
                version,
            )
        numbers[levels] = number
    return numbers


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


async def refuse_too_many(connection: Connection, tenant: Tenant, site: str) -> None:
    """Refuse what would be more than a roster holds.

    Raises:
        CloudError: ROSTER_FULL.
    """
    count = await connection.fetchval(
        "SELECT count(*) FROM roster_entries WHERE tenant_id = $1 AND site = $2", tenant, site
    )
    if count > MAX_ENTRIES:
        raise _full(site, f"{MAX_ENTRIES} credentials", "remove those of former holders")


def _full(site: str, what: str, remedy: str) -> CloudError:
    return CloudError(Reason.ROSTER_FULL, f"Site {site} would have more than {what}; {remedy}. Nothing was enrolled.")
