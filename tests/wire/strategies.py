"""Hypothesis strategies for every value that our formats hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from tests.vectors.parts.kit import (
    ACKNOWLEDGEMENT,
    COMMAND,
    DEVICE,
    HOLDER,
    HOLDER_ED,
    MAX_UINT,
    PASS,
    POLICY,
    ROOT,
    STATUS,
    STRANGER,
    THIEF,
)
from wire.batch import Acknowledgement
from wire.codec import MAX_TIME_MS, MAX_TIME_S
from wire.command import MAX_HOLD_S, MAX_UNLOCK_LIFETIME_S, Command
from wire.command import MAX_LIFETIME_S as MAX_COMMAND_S
from wire.event import CHAIN_START, Event
from wire.names import (
    Action,
    AntiPassbackRule,
    Assurance,
    ClockState,
    DeviceId,
    DoorId,
    DoorMode,
    EventKind,
    KeyPurpose,
    PassFlags,
    PassKind,
    Reason,
    RelockRule,
    StalenessRule,
    Step,
    SuspectRule,
    Tenant,
)
from wire.passes import MAX_LIFETIME_S, Pass, make_pass_id
from wire.policy import (
    ALL_DAYS,
    ALWAYS,
    MAX_AREA,
    MAX_PERSONS,
    Area,
    AssuranceHours,
    Passage,
    PolicyBundle,
    Schedule,
    Window,
)
from wire.roster import PinVerifiers, Roster, RosterEntry, make_roster
from wire.settings import MAX_AGE_S, MAX_COUNT, MAX_ESCORTS, MAX_MS, DoorSettings
from wire.status_list import StatusList
from wire.trust import TrustBundle, TrustedKey

if TYPE_CHECKING:
    from wire.codec import Value
    from wire.keys import Signer

SIGNERS: Final[tuple[Signer, ...]] = (
    *(ROOT, PASS, STATUS, POLICY, COMMAND, ACKNOWLEDGEMENT, STRANGER, HOLDER, HOLDER_ED, THIEF, DEVICE),
)
uints = st.one_of(st.integers(0, 30), st.integers(0, 0x1_0000), st.integers(0, 0x1_0000_0100), st.integers(0, MAX_UINT))
times = st.one_of(st.integers(0, 0x1_0000), st.integers(0, 0x1_0000_0100), st.integers(0, MAX_TIME_S))
slugs = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=32)
hashes = st.binary(min_size=32, max_size=32)
keys = st.sampled_from([signer.public_key for signer in SIGNERS])


def values(*, depth: int = 4) -> st.SearchStrategy[Value]:
    """CBOR items as our codec takes them."""
    scalars: st.SearchStrategy[Value] = st.one_of(
        st.integers(-MAX_UINT - 1, MAX_UINT),
        uints,
        st.binary(max_size=40),
        st.text(max_size=40),
        st.booleans(),
        st.none(),
    )
    if depth == 0:
        return scalars
    inner = values(depth=depth - 1)
    maps = st.dictionaries(st.one_of(uints, st.integers(-MAX_UINT - 1, 0), st.text(max_size=30)), inner, max_size=5)
    return st.one_of(scalars, st.lists(inner, max_size=5), maps)


@st.composite
def passes(draw: st.DrawFn, *, holders: st.SearchStrategy[Signer | None] | None = None) -> Pass:
    """Any pass that may be issued; `holders` draws who holds it."""
    issued = draw(st.integers(0, MAX_TIME_S - 2 * MAX_LIFETIME_S))
    starts = draw(st.none() | st.integers(issued, issued + MAX_LIFETIME_S))
    lifetime = draw(st.integers(1, MAX_LIFETIME_S))
    holder = draw(st.sampled_from([None, *SIGNERS]) if holders is None else holders)
    return Pass(
        issuer=Tenant(draw(slugs)),
        pass_id=make_pass_id(draw(st.integers(0, 0xFFFF)), draw(st.integers(0, 0xFFFF_FFFF))),
        issued_at_s=issued,
        not_before_s=starts,
        expires_at_s=(issued if starts is None else starts) + lifetime,
        holder_key=None if holder is None else holder.public_key,
        kind=draw(st.sampled_from(PassKind)),
        flags=draw(st.sampled_from([PassFlags.NONE, PassFlags.EXTENDED_RELEASE])),
        access_levels=tuple(sorted(draw(st.sets(st.integers(0, 0xFFFF), max_size=16)))),
    )


@st.composite
def status_lists(draw: st.DrawFn) -> StatusList:
    """Any status list of at most 64 bytes."""
    issued = draw(times.filter(lambda moment: moment < MAX_TIME_S))
    return StatusList(
        tenant=draw(slugs),
        list_id=draw(st.integers(0, 0xFFFF)),
        sequence=draw(st.integers(0, MAX_UINT - 1)),
        issued_at_s=issued,
        expires_at_s=draw(st.integers(issued + 1, MAX_TIME_S)),
        ttl_s=draw(st.integers(1, MAX_UINT)),
        bits=draw(st.binary(max_size=64)),
    )


@st.composite
def trust_bundles(draw: st.DrawFn) -> TrustBundle:
    """Any trust bundle of at most eight keys."""
    entries = []
    for key in draw(st.lists(keys, unique=True, max_size=8)):
        starts = draw(st.integers(0, MAX_TIME_S - 1))
        ends = draw(st.integers(starts + 1, MAX_TIME_S))
        purpose = draw(st.sampled_from(KeyPurpose))
        entries.append(TrustedKey(key=key, purpose=purpose, not_before_s=starts, expires_at_s=ends))
    return TrustBundle(tenant=Tenant(draw(slugs)), version=draw(uints), issued_at_s=draw(times), keys=tuple(entries))


@st.composite
def door_settings(draw: st.DrawFn, *, schedules: tuple[int, ...] = (ALWAYS,)) -> DoorSettings:
    """Any settings of a door that has these schedules."""
    ms, ages = st.integers(0, MAX_MS), st.integers(0, MAX_AGE_S)
    open_time = draw(ms)
    rule = draw(st.sampled_from(AntiPassbackRule))
    return DoorSettings(
        mode=draw(st.sampled_from(DoorMode)),
        minimum_assurance=draw(st.sampled_from(Assurance)),
        max_revocation_age_s=draw(ages),
        staleness=draw(st.sampled_from(StalenessRule)),
        recently_issued_s=draw(ages),
        suspect=draw(st.sampled_from(SuspectRule)),
        release_time_ms=draw(st.integers(1, MAX_MS)),
        extended_release_time_ms=draw(ms),
        open_time_ms=open_time,
        pre_alarm_ms=draw(st.integers(0, open_time)),
        relock=draw(st.sampled_from(RelockRule)),
        unlock_schedule=draw(st.sampled_from(schedules)),
        first_person_in=draw(st.booleans()),
        double_tap_ms=draw(ms),
        maintenance=draw(st.booleans()),
        interlock=draw(st.booleans()),
        lock_time_ms=draw(ms),
        anti_passback=rule,
        anti_passback_s=draw(st.integers(1, MAX_AGE_S) if rule is AntiPassbackRule.TIMED else ages),
        forget_presence_before_s=draw(times),
        two_person=draw(st.booleans()),
        escorts=draw(st.integers(0, MAX_ESCORTS)),
        companion_ms=draw(st.integers(1, MAX_MS)),
        pin_below=draw(st.sampled_from(Assurance)),
        pin_attempts=draw(st.integers(1, MAX_COUNT)),
        pin_block_s=draw(st.integers(1, MAX_AGE_S)),
        printed_uses=draw(st.integers(0, MAX_COUNT)),
    )


@st.composite
def windows(draw: st.DrawFn, *, days: st.SearchStrategy[int] | None = None) -> Window:
    """Any weekly window."""
    start = draw(st.integers(0, 1439))
    named = draw(st.integers(1, ALL_DAYS) if days is None else days)
    return Window(named, start, draw(st.integers(start + 1, 1440)))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any schedule of at most three windows a list and three single days."""
    weekly = st.lists(windows(), max_size=3).map(tuple)
    single = st.lists(windows(days=st.just(ALL_DAYS)), max_size=2).map(tuple)
    exceptions = draw(st.dictionaries(st.integers(0, 100_000), single, max_size=3))
    return Schedule(draw(weekly), draw(weekly), exceptions)


@st.composite
def areas(draw: st.DrawFn) -> Area:
    """Any limit of an area."""
    limit = draw(st.integers(0, MAX_PERSONS))
    return Area(limit, draw(st.integers(0, limit or MAX_PERSONS)))


def passages() -> st.SearchStrategy[Passage]:
    """Any two areas that a reader joins; some often meet."""
    numbers = st.one_of(st.integers(0, 3), st.integers(0, MAX_AREA))
    return st.tuples(numbers, numbers).filter(lambda two: two[0] != two[1]).map(lambda two: Passage(*two))


@st.composite
def policies(draw: st.DrawFn) -> PolicyBundle:
    """Any policy of at most six levels and four schedules."""
    there = draw(st.dictionaries(st.integers(1, 0xFFFF), schedules(), max_size=4))
    known = (ALWAYS, *there)
    named = st.lists(st.sampled_from(known), max_size=4).map(tuple)
    ways = draw(st.dictionaries(slugs, passages(), max_size=4))
    joined = sorted({area for way in ways.values() for area in (way.out_of, way.into)} - {0})
    limited = draw(st.sets(st.sampled_from(joined), max_size=4)) if joined else set()
    return PolicyBundle(
        tenant=Tenant(draw(slugs)),
        door=DoorId(draw(slugs)),
        version=draw(uints),
        issued_at_s=draw(times),
        timezone=draw(st.sampled_from(["UTC", "Europe/Vienna", "America/Argentina/Ushuaia", "Etc/GMT-14"])),
        settings=draw(door_settings(schedules=known)),
        levels=draw(st.dictionaries(st.integers(0, 0xFFFF), named, max_size=6)),
        schedules=there,
        holidays=draw(st.frozensets(st.integers(0, 100_000), max_size=6)),
        assurance_hours=tuple(
            AssuranceHours(number, draw(st.sampled_from(Assurance)))
            for number in sorted(draw(st.sets(st.sampled_from(known))))
        ),
        passages=ways,
        areas={number: draw(areas()) for number in sorted(limited)},
        locks_out=draw(st.booleans()),
    )


verifiers = st.binary(min_size=16, max_size=16)
roster_keys = st.binary(min_size=16, max_size=16)
roster_entries: Final = st.builds(
    RosterEntry,
    roster_id=st.binary(min_size=8, max_size=8),
    kind=st.sampled_from(PassKind),
    flags=st.sampled_from([PassFlags.NONE, PassFlags.EXTENDED_RELEASE]),
    access_levels=st.sets(st.integers(0, 0xFFFF), max_size=16).map(lambda levels: tuple(sorted(levels))),
    pin=st.none() | st.builds(PinVerifiers, salt=verifiers, pin=verifiers, duress=st.none() | verifiers),
)
enrolled: Final = st.dictionaries(roster_keys, roster_entries, max_size=8)


@st.composite
def rosters(draw: st.DrawFn, *, entries: st.SearchStrategy[dict[bytes, RosterEntry]] = enrolled) -> Roster:
    """Any roster of at most eight entries."""
    return make_roster(
        draw(entries),
        tenant=Tenant(draw(slugs)),
        site=draw(slugs),
        version=draw(st.integers(1, MAX_UINT - 3)),
        issued_at_s=draw(times),
        pepper=draw(hashes),
    )


@st.composite
def commands(draw: st.DrawFn) -> Command:
    """Any command."""
    action = draw(st.sampled_from(Action))
    issued = draw(st.integers(0, MAX_TIME_S - MAX_COMMAND_S))
    modal = action is Action.MODE
    longest = MAX_UNLOCK_LIFETIME_S if action is Action.UNLOCK else MAX_COMMAND_S
    return Command(
        command_id=draw(st.binary(min_size=16, max_size=16)),
        target=DoorId(draw(slugs)),
        action=action,
        issued_at_s=issued,
        expires_at_s=draw(st.integers(issued + 1, issued + longest)),
        counter=draw(uints),
        mode=draw(st.sampled_from([DoorMode.LOCKED, DoorMode.UNLOCKED, DoorMode.BLOCKED])) if modal else None,
        hold_s=draw(st.none() | st.integers(1, MAX_HOLD_S)) if modal else None,
    )


@st.composite
def acknowledgements(draw: st.DrawFn) -> Acknowledgement:
    """Any acknowledgement."""
    durable = draw(uints)
    return Acknowledgement(
        device=DeviceId(draw(slugs)),
        epoch=draw(st.binary(min_size=8, max_size=8)),
        durable=durable,
        head=draw(hashes) if durable else CHAIN_START,
        backed_up=draw(st.integers(0, durable)),
        issued_at_ms=draw(st.integers(0, MAX_TIME_MS)),
    )


events: Final = st.builds(
    Event,
    device=slugs.map(DeviceId),
    boot=uints,
    seq=uints,
    wall_ms=times.map(lambda moment: 1000 * moment),
    monotonic_ms=uints,
    clock=st.sampled_from(ClockState),
    door=slugs.map(DoorId),
    access_point=slugs,
    kind=st.sampled_from(EventKind),
    step=st.none() | st.sampled_from(Step),
    reason=st.none() | st.sampled_from(Reason),
    granted=st.none() | st.booleans(),
    credential=st.none() | st.binary(min_size=1, max_size=16),
    assurance=st.none() | st.sampled_from(Assurance),
    reader=st.none() | slugs,
    rule=st.none() | slugs,
    policy_version=uints,
    trust_version=uints,
    status_sequence=st.none() | uints,
    status_age_s=st.none() | uints,
    elapsed_us=st.none() | uints,
    count=st.none() | uints,
    prev=hashes,
)
