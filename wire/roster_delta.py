"""The delta of a roster: which entries change from one version to a later one (docs/spec/roster.md).

Invariant: a delta applies only to the content whose hash it names, and gives only the content whose hash it names.
Must not: be trusted by its numbers alone; the hashes decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from wire.codec import Fields, Value, decode, encode
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import PublicKey, Signer
from wire.names import ExternalAad, Tenant
from wire.passes import MAX_ACCESS_LEVELS, MAX_TENANT_CHARACTERS, slug
from wire.roster import (
    MAX_ENTRIES,
    MAX_LEVEL_SETS,
    Roster,
    content_hash,
    level_sets_value,
    parse_level_sets,
)
from wire.roster_table import (
    KEY_BYTES,
    PIN_BYTES,
    RECORD_BYTES,
    check_keys,
    check_level_sets,
    check_pins,
    check_records,
    rows,
    spliced,
)

MAX_CHANGES: Final = 65_536
"""More changes than this travel as a whole roster."""
MAX_ROSTER_DELTA_BYTES: Final = (
    MAX_CHANGES * (RECORD_BYTES + PIN_BYTES) + MAX_LEVEL_SETS * (1 + 3 * MAX_ACCESS_LEVELS) + 512
)
"""All changes with PINs, all level sets, and the rest: 9.3 MB."""

_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterDelta:
    """What changes from one version of a roster to a later one; nothing for a mere refresh.

    Attributes:
        base_version: the version that it was made from.
        issued_at_s: Unix seconds, of the roster that it leads to.
        before, after: `wire.roster.content_hash` of both.
        level_sets: those that come after the ones there are.
        removals: keys, packed and ascending; one that is not there changes nothing.
        upserts: records, packed and ascending, that are new or replace those with the same keys.
        pins: of those records that have one.
    """

    tenant: Tenant
    site: str
    base_version: int
    version: int
    issued_at_s: int
    before: bytes
    after: bytes
    level_sets: tuple[tuple[int, ...], ...] = ()
    removals: bytes = field(default=b"", repr=False)
    upserts: bytes = field(default=b"", repr=False)
    pins: bytes = field(default=b"", repr=False)

    @property
    def changes(self) -> int:
        """How many entries are removed, added or replaced."""
        return len(self.removals) // KEY_BYTES + len(self.upserts) // RECORD_BYTES


def make_roster_delta(old: Roster, new: Roster) -> RosterDelta:
    """Compare two versions of one site's roster.

    Raises:
        WireError: OUT_OF_RANGE when they are not such or the new level sets do not begin with the old ones,
            TOO_LARGE when too much changed to be worth a delta.
    """
    same = (old.tenant, old.site, old.pepper) == (new.tenant, new.site, new.pepper)
    kept = len(old.level_sets)
    if not same or old.version >= new.version or new.level_sets[:kept] != old.level_sets:
        raise WireError(WireReason.OUT_OF_RANGE, "roster_delta")
    before, after = dict(_entries(old.records, old.pins)), dict(_entries(new.records, new.pins))
    changed = [key for key, entry in after.items() if before.get(key) != entry]
    removed = [key for key in before if key not in after]
    if len(changed) + len(removed) > MAX_CHANGES:
        raise WireError(WireReason.TOO_LARGE, "roster_delta")
    return RosterDelta(
        tenant=new.tenant,
        site=new.site,
        base_version=old.version,
        version=new.version,
        issued_at_s=new.issued_at_s,
        before=content_hash(old),
        after=content_hash(new),
        level_sets=new.level_sets[kept:],
        removals=b"".join(removed),
        upserts=b"".join([after[key][0] for key in changed]),
        pins=b"".join([after[key][1] for key in changed]),
    )


def _entries(records: bytes, pins: bytes) -> list[tuple[bytes, tuple[bytes, bytes]]]:
    """Give each key with its record and its row of PINs, empty when it has none."""
    found = dict(rows(pins, PIN_BYTES))
    return [(key, (record, found.get(key, b""))) for key, record in rows(records, RECORD_BYTES)]


def seal_roster_delta(delta: RosterDelta, signer: Signer) -> bytes:
    """Sign a delta and check that it reads back.

    Raises:
        WireError: when the delta breaks a rule of the format.
    """
    claims: dict[int | str, Value] = {
        1: str(delta.tenant),
        2: delta.site,
        3: delta.base_version,
        4: delta.version,
        5: delta.issued_at_s,
        6: delta.before,
        7: delta.after,
        8: level_sets_value(delta.level_sets),
        9: delta.removals,
        10: delta.upserts,
        11: delta.pins,
    }
    payload = encode(claims, field="roster_delta")
    _parse(payload)
    return seal(payload, signer, ExternalAad.ROSTER_DELTA)


def open_roster_delta(data: bytes, key: PublicKey) -> RosterDelta:
    """Verify and read a delta.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the key did not sign it, or a fault of form.
    """
    envelope = parse_envelope(data, field="roster_delta", max_bytes=MAX_ROSTER_DELTA_BYTES)
    check_signed_by(envelope, key, ExternalAad.ROSTER_DELTA, "roster_delta")
    return _parse(envelope.payload)


def _parse(payload: bytes) -> RosterDelta:
    fields = Fields(decode(payload, field="roster_delta", max_bytes=MAX_ROSTER_DELTA_BYTES), "roster_delta")
    delta = RosterDelta(
        tenant=Tenant(slug(fields.text(1, "tenant", MAX_TENANT_CHARACTERS), "roster_delta.tenant")),
        site=slug(fields.text(2, "site", MAX_TENANT_CHARACTERS), "roster_delta.site"),
        base_version=fields.uint(3, "base_version"),
        version=fields.uint(4, "version"),
        issued_at_s=fields.time(5, "iat"),
        before=fields.octets(6, "before", _HASH_BYTES, _HASH_BYTES),
        after=fields.octets(7, "after", _HASH_BYTES, _HASH_BYTES),
        level_sets=parse_level_sets(fields.array(8, "level_sets", MAX_LEVEL_SETS), "roster_delta.level_sets"),
        removals=fields.octets(9, "removals", 0, MAX_CHANGES * KEY_BYTES),
        upserts=fields.octets(10, "upserts", 0, MAX_CHANGES * RECORD_BYTES),
        pins=fields.octets(11, "pins", 0, MAX_CHANGES * PIN_BYTES),
    )
    fields.close()
    if not 1 <= delta.base_version < delta.version:
        raise WireError(WireReason.OUT_OF_RANGE, "roster_delta.version")
    check_keys(delta.removals, "roster_delta.removals")
    check_records(delta.upserts, "roster_delta.upserts")
    check_pins(delta.upserts, delta.pins, "roster_delta.pins")
    if delta.changes > MAX_CHANGES:
        raise WireError(WireReason.TOO_LARGE, "roster_delta")
    removed = {key for key, _ in rows(delta.removals, KEY_BYTES)}
    if any(key in removed for key, _ in rows(delta.upserts, RECORD_BYTES)):
        raise WireError(WireReason.NOT_CANONICAL, "roster_delta.removals")
    return delta


def apply_roster_delta(roster: Roster, delta: RosterDelta) -> Roster:
    """Give the roster that one delta leads to; raises as `apply_roster_deltas`."""
    return apply_roster_deltas(roster, (delta,))


def apply_roster_deltas(roster: Roster, deltas: Sequence[RosterDelta]) -> Roster:
    """Give the roster that deltas lead to one after the other; it is written and hashed once, at the end.

    Args:
        roster: the content that the first was made from, at its base version or an earlier one with the same content.
        deltas: at least one, in the order of their versions.

    Raises:
        WireError: OUT_OF_RANGE when they are another site's or give more than a roster holds, ROLLBACK when a version
            does not rise, HASH_MISMATCH when the content before or after is not what they name, UNKNOWN_VALUE for a
            record with a level set that is not there.
    """
    _check_chain(roster, deltas)
    level_sets = roster.level_sets
    records, pins = dict[bytes, bytes](), dict[bytes, bytes]()
    for delta in deltas:
        level_sets += delta.level_sets
        if len(level_sets) > MAX_LEVEL_SETS:
            raise WireError(WireReason.OUT_OF_RANGE, "roster_delta.level_sets")
        check_level_sets(delta.upserts, len(level_sets), "roster_delta.upserts")
        removed = [(key, (b"", b"")) for key, _ in rows(delta.removals, KEY_BYTES)]
        for key, (record, pin) in (*removed, *_entries(delta.upserts, delta.pins)):
            records[key], pins[key] = record, pin
    result = replace(
        roster,
        version=deltas[-1].version,
        issued_at_s=deltas[-1].issued_at_s,
        level_sets=level_sets,
        records=spliced(roster.records, RECORD_BYTES, sorted(records.items())),
        pins=spliced(roster.pins, PIN_BYTES, sorted(pins.items())),
    )
    if result.count > MAX_ENTRIES:
        raise WireError(WireReason.OUT_OF_RANGE, "roster_delta.upserts")
    if content_hash(result) != deltas[-1].after:
        raise WireError(WireReason.HASH_MISMATCH, "roster_delta.after")
    return result


def _check_chain(roster: Roster, deltas: Sequence[RosterDelta]) -> None:
    """Refuse deltas of another site, or that do not begin where the roster or the delta before ends."""
    if any((delta.tenant, delta.site) != (roster.tenant, roster.site) for delta in deltas):
        raise WireError(WireReason.OUT_OF_RANGE, "roster_delta.site")
    versions = [roster.version, *(delta.version for delta in deltas)]
    if any(earlier >= later for earlier, later in pairwise(versions)):
        raise WireError(WireReason.ROLLBACK, "roster_delta.version")
    linked = all(earlier.after == later.before for earlier, later in pairwise(deltas))
    if not linked or content_hash(roster) != deltas[0].before:
        raise WireError(WireReason.HASH_MISMATCH, "roster_delta.before")
