"""Rosters: what is enrolled is found, deltas lead where they say, and both stay within their bounds."""

from __future__ import annotations

import gc
import hmac
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.parts.kit import MAX_UINT, POLICY
from tests.vectors.parts.rosters import ENTRIES, NEXT, PEPPER, SALT, USUAL, entry, record, roster
from tests.wire import strategies as ours
from wire.errors import WireError, WireReason
from wire.names import PassFlags, Tenant
from wire.roster import (
    ARGON2_MEM_BYTES,
    ARGON2_OPS,
    MAX_ENTRIES,
    MAX_LEVEL_SETS,
    MAX_ROSTER_BYTES,
    IdentifierForm,
    PinVerifiers,
    Roster,
    RosterEntry,
    content_hash,
    identifier_key,
    make_roster,
    open_roster,
    pack_record,
    pin_verifier,
    seal_roster,
)
from wire.roster_delta import (
    MAX_CHANGES,
    MAX_ROSTER_DELTA_BYTES,
    RosterDelta,
    apply_roster_delta,
    apply_roster_deltas,
    make_roster_delta,
    open_roster_delta,
    seal_roster_delta,
)
from wire.roster_table import PIN_BYTES, RECORD_BYTES, check_level_sets, place_of, row_of, spliced

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_SETS = MAX_LEVEL_SETS * (1 + 3 * 16)
"""Bytes of the largest table of level sets: a head each, and three bytes a level."""


def _reason(refused: pytest.ExceptionInfo[WireError]) -> tuple[WireReason, str]:
    return refused.value.reason, refused.value.field


def _key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _large(count: int, *, pin: int = 0, level_sets: int = 1) -> Roster:
    """A roster of so many entries with this PIN byte, and so many level sets."""
    rest = record(pin=pin)[16:]
    records = b"".join([_key(number) + rest for number in range(count)])
    pins = b"".join([_key(number) + bytes(48) for number in range(count if pin else 0)])
    return replace(USUAL, level_sets=((),) * level_sets, records=records, pins=pins)


# --- looking up --------------------------------------------------------------------------------------------


@given(entries=ours.enrolled, stranger=ours.roster_keys)
def test_what_is_enrolled_is_found_and_nothing_else(entries: dict[bytes, RosterEntry], stranger: bytes):
    found = roster(entries)
    assert {key: found.find(key) for key in entries} == entries
    assert found.find(stranger) == entries.get(stranger)
    assert found.count == len(entries)


@pytest.mark.parametrize("key", [b"", b"\x00", bytes(15), bytes(17), b"\xff" * 17])
def test_a_key_of_another_length_finds_nothing(key: bytes):
    assert roster({bytes(16): entry(1)}).find(key) is None


@given(st.sets(st.integers(0, 40)), st.integers(0, 41))
def test_a_row_has_its_place_in_the_order_of_keys(numbers: set[int], wanted: int):
    table = b"".join(_key(number) + b"row" for number in sorted(numbers))
    assert place_of(table, 19, _key(wanted)) == len([number for number in numbers if number < wanted])
    assert row_of(table, 19, _key(wanted)) == (_key(wanted) + b"row" if wanted in numbers else None)


@given(
    st.dictionaries(st.integers(0, 30), st.binary(min_size=3, max_size=3)),
    st.dictionaries(st.integers(0, 30), st.none() | st.binary(min_size=3, max_size=3)),
)
def test_rows_are_put_in_place_of_others(table: dict[int, bytes], changes: dict[int, bytes | None]):
    def packed(rows: dict[int, bytes]) -> bytes:
        return b"".join(_key(number) + row for number, row in sorted(rows.items()))

    written = [(_key(number), b"" if row is None else _key(number) + row) for number, row in sorted(changes.items())]
    merged = {number: row for number, row in {**table, **changes}.items() if row is not None}
    assert spliced(packed(table), 19, written) == packed(merged)


def test_a_roster_takes_little_more_memory_than_its_packed_bytes():
    data = seal_roster(_large(20_000, pin=2), POLICY)
    gc.collect()
    tracemalloc.start()
    held = open_roster(data, POLICY.public_key)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held.count == 20_000
    assert size < 1.02 * 20_000 * (RECORD_BYTES + PIN_BYTES)


def test_equal_level_sets_are_kept_once():
    entries = {_key(number): entry(number, 1, number % 3 + 2) for number in range(30)}
    assert roster(entries).level_sets == ((1, 2), (1, 3), (1, 4))
    assert roster(entries, level_sets=((9,), (1, 3))).level_sets == ((9,), (1, 3), (1, 2), (1, 4))


def test_neither_pepper_nor_verifiers_are_shown():
    shown = repr(USUAL) + repr(make_roster_delta(USUAL, NEXT))
    assert repr(PEPPER) not in shown
    assert repr(USUAL.records) not in shown
    assert len(shown) < 800


# --- PINs --------------------------------------------------------------------------------------------------


def test_a_pin_is_what_another_library_calls_argon2id():
    other = Argon2id(salt=SALT, length=16, iterations=ARGON2_OPS, lanes=1, memory_cost=ARGON2_MEM_BYTES // 1024)
    assert pin_verifier("2468", SALT) == other.derive(b"2468")


# --- deltas ------------------------------------------------------------------------------------------------


def _later(earlier: Roster, entries: dict[bytes, RosterEntry]) -> Roster:
    return make_roster(
        entries,
        tenant=earlier.tenant,
        site=earlier.site,
        version=earlier.version + 1,
        issued_at_s=earlier.issued_at_s,
        pepper=earlier.pepper,
        level_sets=earlier.level_sets,
    )


def _travelled(old: Roster, new: Roster) -> RosterDelta:
    return open_roster_delta(seal_roster_delta(make_roster_delta(old, new), POLICY), POLICY.public_key)


_few_keys = st.dictionaries(st.integers(0, 5).map(_key), ours.roster_entries)


@given(first=ours.rosters(entries=_few_keys), second=_few_keys, third=_few_keys)
def test_deltas_lead_from_one_roster_to_the_next_singly_and_together(
    first: Roster, second: dict[bytes, RosterEntry], third: dict[bytes, RosterEntry]
):
    middle = _later(first, second)
    last = _later(middle, third)
    deltas = (_travelled(first, middle), _travelled(middle, last))
    assert apply_roster_delta(first, deltas[0]) == middle
    assert apply_roster_delta(middle, deltas[1]) == last
    assert apply_roster_deltas(first, deltas) == last
    assert {key: last.find(key) for key in third} == third


def test_a_delta_counts_its_changes():
    delta = make_roster_delta(USUAL, NEXT)
    assert (delta.changes, len(delta.removals), len(delta.upserts), len(delta.pins)) == (3, 16, 58, 64)
    assert make_roster_delta(USUAL, replace(USUAL, version=20)).changes == 0


def test_a_delta_from_a_version_with_the_same_content_applies():
    refreshed = replace(USUAL, version=15)
    delta = make_roster_delta(refreshed, replace(NEXT, version=16))
    assert apply_roster_delta(USUAL, delta) == replace(NEXT, version=16)


def test_deltas_that_do_not_follow_one_another_are_refused():
    first = make_roster_delta(USUAL, NEXT)
    for second, reason, field in (
        (replace(first, version=14), WireReason.HASH_MISMATCH, "roster_delta.before"),
        (replace(first, before=first.after), WireReason.ROLLBACK, "roster_delta.version"),
        (replace(first, before=first.after, version=14, site="gym"), WireReason.OUT_OF_RANGE, "roster_delta.site"),
    ):
        with pytest.raises(WireError) as refused:
            apply_roster_deltas(USUAL, (first, second))
        assert _reason(refused) == (reason, field)


@pytest.mark.parametrize(
    "new",
    [
        replace(NEXT, version=USUAL.version),
        replace(NEXT, tenant=Tenant("elsewhere")),
        replace(NEXT, site="gym"),
        replace(NEXT, pepper=bytes(32)),
        replace(NEXT, level_sets=NEXT.level_sets[::-1]),
        replace(NEXT, level_sets=NEXT.level_sets[:1]),
    ],
    ids=["version", "tenant", "site", "pepper", "order", "fewer"],
)
def test_no_delta_is_made_between_what_does_not_follow(new: Roster):
    with pytest.raises(WireError) as refused:
        make_roster_delta(USUAL, new)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "roster_delta")


def test_the_hash_tells_records_pins_level_sets_and_pepper_apart():
    moved = replace(USUAL, records=USUAL.records + USUAL.pins, pins=b"")
    others = [
        replace(USUAL, pepper=bytes(32)),
        replace(USUAL, level_sets=USUAL.level_sets[::-1]),
        replace(USUAL, records=USUAL.records[:-RECORD_BYTES]),
        replace(USUAL, pins=USUAL.pins[:-PIN_BYTES]),
        moved,
    ]
    assert len({content_hash(each) for each in (USUAL, *others)}) == 6
    assert content_hash(replace(USUAL, version=99, issued_at_s=0)) == content_hash(USUAL)


# --- bounds ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_largest_roster_is_read():
    largest = _large(MAX_ENTRIES, pin=2, level_sets=MAX_LEVEL_SETS)
    data = seal_roster(replace(largest, tenant=Tenant("t" * 32), site="s" * 32, version=MAX_UINT), POLICY)
    assert len(data) - MAX_LEVEL_SETS + _LONGEST_SETS < MAX_ROSTER_BYTES
    assert open_roster(data, POLICY.public_key).find(_key(MAX_ENTRIES - 1)) is not None


def test_one_entry_or_level_set_more_is_refused():
    with pytest.raises(WireError) as refused:
        seal_roster(_large(MAX_ENTRIES + 1), POLICY)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "roster.records")
    with pytest.raises(WireError) as refused:
        seal_roster(_large(0, level_sets=MAX_LEVEL_SETS + 1), POLICY)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "roster.level_sets")


def test_rows_are_checked_to_the_last():
    good = _large(5_000, pin=1)
    seal_roster(good, POLICY)
    records, pins = good.records, good.pins
    for bad, field in (
        (replace(good, records=records[:-5] + b"\x05" + records[-4:]), "roster.records"),
        (replace(good, records=records[:-1] + b"\x01"), "roster.records"),
        (replace(good, records=records[: -2 * RECORD_BYTES] + records[-RECORD_BYTES:] * 2), "roster.records"),
        (replace(good, pins=pins[:-PIN_BYTES] + _key(1) + bytes(48)), "roster.pins"),
        (replace(good, pins=pins[:-1] + b"\x01"), "roster.pins"),
    ):
        with pytest.raises(WireError) as refused:
            seal_roster(bad, POLICY)
        assert refused.value.field == field


def test_rows_are_checked_where_one_batch_of_them_ends():
    good = _large(5_000)
    for place in range(4_094, 4_098):
        twice = good.records[: place * RECORD_BYTES] + good.records[(place - 1) * RECORD_BYTES : -RECORD_BYTES]
        with pytest.raises(WireError) as refused:
            seal_roster(replace(good, records=twice), POLICY)
        assert _reason(refused) == (WireReason.NOT_CANONICAL, "roster.records")


def test_a_duress_pin_that_is_not_named_is_found_behind_entries_without_pins():
    assert [USUAL.records[place] for place in range(26, len(USUAL.records), RECORD_BYTES)] == [2, 0, 1]
    with pytest.raises(WireError) as refused:
        seal_roster(replace(USUAL, pins=USUAL.pins[:-1] + b"\x01"), POLICY)
    assert _reason(refused) == (WireReason.NOT_CANONICAL, "roster.pins")


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536])
def test_level_sets_are_named_up_to_the_last(count: int):
    for number in (0, 1, 254, 255, 256, 257, 510, 511, 512, 65_534, 65_535):
        records = record(_key(1), level_set=min(number, 1)) + record(_key(2), level_set=number)
        if number < count:
            check_level_sets(records, count, "records")
        else:
            with pytest.raises(WireError) as refused:
                check_level_sets(records, count, "records")
            assert _reason(refused) == (WireReason.UNKNOWN_VALUE, "records")


@pytest.mark.slow
def test_the_largest_delta_is_read_and_one_change_more_is_not_written():
    largest = _large(MAX_CHANGES, pin=2, level_sets=MAX_LEVEL_SETS)
    first = replace(USUAL, level_sets=(), records=b"", pins=b"")
    made = make_roster_delta(first, replace(largest, version=MAX_UINT, tenant=first.tenant))
    data = seal_roster_delta(made, POLICY)
    assert len(data) - MAX_LEVEL_SETS + _LONGEST_SETS < MAX_ROSTER_DELTA_BYTES
    assert open_roster_delta(data, POLICY.public_key).changes == MAX_CHANGES
    with pytest.raises(WireError) as refused:
        seal_roster_delta(replace(made, removals=b"\xff" * 16), POLICY)
    assert _reason(refused) == (WireReason.TOO_LARGE, "roster_delta")


def test_rosters_that_differ_too_much_make_no_delta():
    with pytest.raises(WireError) as refused:
        make_roster_delta(replace(USUAL, pins=b"", records=b""), replace(_large(MAX_CHANGES + 1), version=99))
    assert refused.value.reason is WireReason.OUT_OF_RANGE  # other level sets
    none, most, more = (_large(count) for count in (0, MAX_CHANGES, MAX_CHANGES + 1))
    for old, new in ((none, more), (more, none)):
        with pytest.raises(WireError) as refused:
            make_roster_delta(replace(old, version=1), new)
        assert _reason(refused) == (WireReason.TOO_LARGE, "roster_delta")
    assert make_roster_delta(replace(none, version=1), most).changes == MAX_CHANGES


def test_a_delta_with_the_most_changes_is_read_and_one_change_more_is_not_written():
    removals = b"".join(map(_key, range(MAX_CHANGES)))
    most = replace(make_roster_delta(USUAL, replace(USUAL, version=99)), removals=removals)
    assert open_roster_delta(seal_roster_delta(most, POLICY), POLICY.public_key) == most
    with pytest.raises(WireError) as refused:
        seal_roster_delta(replace(most, upserts=record(_key(MAX_CHANGES))), POLICY)
    assert _reason(refused) == (WireReason.TOO_LARGE, "roster_delta")


def test_a_delta_carries_more_than_a_few_entries_with_pins():
    delta = _travelled(replace(_large(0), version=1), _large(100, pin=2))
    assert (delta.changes, len(delta.pins)) == (100, 100 * PIN_BYTES)


def test_a_delta_may_lead_from_the_first_version():
    first = replace(USUAL, version=1)
    assert apply_roster_delta(first, _travelled(first, replace(NEXT, version=2))) == replace(NEXT, version=2)


@pytest.mark.parametrize("length", [1, 64])
def test_an_identifier_has_1_to_64_bytes(length: int):
    expected = hmac.digest(PEPPER, b"\x01" + bytes(length), "sha256")[:16]
    assert identifier_key(PEPPER, IdentifierForm.BARCODE, bytes(length)) == expected


def test_a_delta_does_not_lead_beyond_what_a_roster_holds():
    full = _large(MAX_ENTRIES)
    delta = make_roster_delta(full, replace(full, version=99))
    assert apply_roster_delta(full, delta).count == MAX_ENTRIES
    with pytest.raises(WireError) as refused:
        apply_roster_delta(full, replace(delta, upserts=record(b"\xff" * 16)))
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "roster_delta.upserts")
    many = _large(0, level_sets=MAX_LEVEL_SETS)
    delta = make_roster_delta(many, replace(many, version=99))
    assert apply_roster_delta(many, delta).version == 99
    with pytest.raises(WireError) as refused:
        apply_roster_delta(many, replace(delta, level_sets=((),)))
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "roster_delta.level_sets")


_USUAL_ENTRY = entry(1)
_REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "short key": (lambda: roster({bytes(15): _USUAL_ENTRY}), "roster.key"),
    "long key": (lambda: roster({bytes(17): _USUAL_ENTRY}), "roster.key"),
    "short roster id": (lambda: roster({bytes(16): replace(_USUAL_ENTRY, roster_id=b"1")}), "roster.roster_id"),
    "flags of two bytes": (lambda: roster({bytes(16): replace(_USUAL_ENTRY, flags=PassFlags(256))}), "roster.flags"),
    "level set beyond two bytes": (lambda: pack_record(bytes(16), _USUAL_ENTRY, MAX_LEVEL_SETS), "roster.level_set"),
    "short salt": (
        lambda: roster({bytes(16): replace(_USUAL_ENTRY, pin=PinVerifiers(b"", bytes(16), None))}),
        "roster.pins",
    ),
    "long duress verifier": (
        lambda: roster({bytes(16): replace(_USUAL_ENTRY, pin=PinVerifiers(bytes(16), bytes(16), bytes(17)))}),
        "roster.pins",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_a_part_of_another_length_is_not_packed(name: str):
    pack, field = _REFUSED[name]
    with pytest.raises(WireError) as refused:
        pack()
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, field)


def test_the_last_number_of_a_level_set_is_packed():
    assert pack_record(bytes(16), _USUAL_ENTRY, MAX_LEVEL_SETS - 1).endswith(b"\xff\xff")
    assert {key: USUAL.find(key) for key in ENTRIES} == ENTRIES
