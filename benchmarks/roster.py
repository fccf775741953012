"""What a roster of 240,000 credentials costs a door: to open, to ask, to change, to hold."""

import asyncio
import gc
import random
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from benchmarks.door import SITE, TENANT
from benchmarks.measure import Times, compared, in_turn
from benchmarks.result import Result
from wire.envelope import parse_envelope
from wire.keys import Ed25519Signer
from wire.names import ExternalAad, PassFlags, PassKind
from wire.roster import (
    MAX_ROSTER_BYTES,
    PinVerifiers,
    Roster,
    RosterEntry,
    content_hash,
    make_roster,
    open_roster,
    seal_roster,
)
from wire.roster_delta import RosterDelta, apply_roster_delta, make_roster_delta, open_roster_delta, seal_roster_delta

_ENTRIES = 240_000
_WITH_PIN = 10
"""One in ten has a PIN, every second of these a duress PIN."""
_LEVEL_SETS = 400
_CHANGES = 1_000
_LOOKUPS = 200
"""Timed together, because one is shorter than a clock's tick is precise."""
_OPENINGS = 15
_ROUNDS = 500
_MB = 1_000_000
_SIGNER = Ed25519Signer(bytes(32))


@dataclass(frozen=True, slots=True)
class _World:
    """A signed roster, the delta to the next, and some keys that are enrolled."""

    signed: bytes
    delta: bytes
    keys: list[bytes]


def opening() -> Iterable[Result]:
    """Measure `roster-open`, `roster-pause` and `roster-memory`."""
    world = _world()

    def bare(_turn: int) -> None:
        envelope = parse_envelope(world.signed, field="roster", max_bytes=MAX_ROSTER_BYTES)
        envelope.verify(_SIGNER.public_key, ExternalAad.ROSTER, "roster")

    floor, subject = in_turn(bare, lambda _turn: _opened(world), rounds=_OPENINGS, warm_up=2)
    yield compared("roster-open", subject, floor, must="value <= 1,000,000 us", note=_NOTE_OPEN)
    pauses = [asyncio.run(_longest_pause_ms(world)) for _ in range(_OPENINGS)]
    yield Result(
        name="roster-pause",
        value=round(sorted(pauses)[len(pauses) // 2], 2),
        unit="ms",
        floor=None,
        ratio=None,
        n=len(pauses),
        must="value <= 50 ms",
        note="the longest time that the event loop waited for its turn while a thread opened the roster; median of all",
    )
    held, peak = _memory(world)
    packed = len(_opened(world).records) + len(_opened(world).pins)
    yield Result(
        name="roster-memory",
        value=round(held / _MB, 3),
        unit="MB",
        floor=packed / _MB,
        ratio=round(held / packed, 3),
        n=1,
        must="value <= 1.1 of the floor",
        note=f"what a roster holds, as Python counts it, and {peak / _MB:.0f} MB while it is opened; floor: its tables",
    )


def find() -> Iterable[Result]:
    """Measure `roster-find`: the entry of a key."""
    world = _world()
    roster = _opened(world)
    known = {key: roster.find(key) for key in world.keys}

    def bare(_turn: int) -> None:
        for key in world.keys:
            _ = known[key]

    def asked(_turn: int) -> None:
        for key in world.keys:
            roster.find(key)

    floor, subject = in_turn(bare, asked, rounds=_ROUNDS, warm_up=10)
    yield compared("roster-find", _of_one(subject), _of_one(floor), must="value < 50 us", note=_NOTE_FIND)


def change() -> Iterable[Result]:
    """Measure `roster-delta`: a signed delta to a roster in force."""
    world = _world()
    roster = _opened(world)

    def bare(_turn: int) -> None:
        for _ in range(2):
            content_hash(roster)

    floor, subject = in_turn(bare, lambda _turn: _changed(world, roster), rounds=_OPENINGS, warm_up=2)
    yield compared("roster-delta", subject, floor, must="value <= 250,000 us", note=_NOTE_DELTA)


def _opened(world: _World) -> Roster:
    return open_roster(world.signed, _SIGNER.public_key)


def _changed(world: _World, roster: Roster) -> Roster:
    return apply_roster_delta(roster, open_roster_delta(world.delta, _SIGNER.public_key))


def _of_one(times: Times) -> Times:
    return Times([round(ns / _LOOKUPS) for ns in times.ns])


async def _longest_pause_ms(world: _World) -> float:
    opening_it = asyncio.create_task(asyncio.to_thread(_opened, world))
    longest_s, before_s = 0.0, time.perf_counter()
    while not opening_it.done():
        await asyncio.sleep(0)
        longest_s, before_s = max(longest_s, time.perf_counter() - before_s), time.perf_counter()
    return longest_s * 1000


def _memory(world: _World) -> tuple[int, int]:
    """Give what an opened roster holds, and the most that opening takes."""
    gc.collect()
    tracemalloc.start()
    held = _opened(world)
    gc.collect()
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (size if held.count == _ENTRIES else 0), peak


def _world() -> _World:
    chosen = random.Random(11)  # noqa: S311 - repeatable entries, no secret
    level_sets = [tuple(sorted(chosen.sample(range(2_000), chosen.randint(1, 6)))) for _ in range(_LEVEL_SETS)]
    entries = {chosen.randbytes(16): _entry(chosen, number, level_sets) for number in range(_ENTRIES)}
    keys = [*entries]
    make = partial(make_roster, tenant=TENANT, site=SITE, issued_at_s=int(time.time()), pepper=bytes(32))
    roster = make(entries, version=1)
    for key in keys[: _CHANGES // 4]:
        del entries[key]
    for key in [*keys[_CHANGES // 4 : _CHANGES // 2], *(chosen.randbytes(16) for _ in range(_CHANGES // 2))]:
        entries[key] = _entry(chosen, 1, level_sets)
    delta: RosterDelta = make_roster_delta(roster, make(entries, version=2, level_sets=roster.level_sets))
    known = chosen.sample(keys, _LOOKUPS)
    return _World(seal_roster(roster, _SIGNER), seal_roster_delta(delta, _SIGNER), known)


def _entry(chosen: random.Random, number: int, level_sets: list[tuple[int, ...]]) -> RosterEntry:
    duress = chosen.randbytes(16) if number % (2 * _WITH_PIN) == 0 else None
    pin = None if number % _WITH_PIN else PinVerifiers(chosen.randbytes(16), chosen.randbytes(16), duress)
    return RosterEntry(
        roster_id=chosen.randbytes(8),
        kind=PassKind.STANDARD,
        flags=PassFlags.NONE,
        access_levels=chosen.choice(level_sets),
        pin=pin,
    )


_NOTE_OPEN = (
    "the signed roster of 240,000 entries (8.5 MB), one in ten with a PIN, verified, every row checked; floor: reading"
    " its envelope and checking the signature"
)
_NOTE_FIND = f"the entry of a key that is enrolled, PIN included; mean of {_LOOKUPS} a round; floor: a dict of entries"
_NOTE_DELTA = (
    "a signed delta of 1,000 changes, verified and applied: the tables written anew, hashed before and after; floor:"
    " the two hashes"
)
