"""What each member of each message is called in errors: written out by hand, so that a name that changes is noticed.

A path leads through the decoded payload or protected header (keys of maps, places in arrays) to one member. Values that
break its rule stand beside its name, by the reason for which they are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from wire.codec import MAX_TIME_MS, MAX_TIME_S, Value, encode
from wire.errors import WireReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Path: TypeAlias = tuple[int | str, ...]
Wrong: TypeAlias = "Mapping[WireReason, Sequence[Value]]"

_OUT, _TYPE, _MISSING = WireReason.OUT_OF_RANGE, WireReason.WRONG_TYPE, WireReason.MISSING_FIELD
_VALUE, _ALPHABET = WireReason.UNKNOWN_VALUE, WireReason.WRONG_ALPHABET


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        name: what errors call it.
        wrong: values that are refused under that name, by the reason.
        absent: what errors call the place from which it is missing; None where it may be, or where another rule speaks.
    """

    name: str
    wrong: Wrong
    absent: str | None


Members: TypeAlias = dict[Path, Member]


def other(name: str, wrong: Wrong | None = None, *, absent: str | None = "") -> Member:
    """Whatever may not be null and has rules of its own."""
    return Member(name, {_TYPE: [None], **(wrong or {})}, name if absent == "" else absent)


def number(name: str, most: int | None = None, *, absent: str | None = "") -> Member:
    """An unsigned integer."""
    many = [] if most is None else [most + 1]
    return other(name, {_TYPE: [None, True], _OUT: [-1, *many]}, absent=absent)


def moment(name: str, *, absent: str | None = "") -> Member:
    """Unix seconds."""
    return number(name, MAX_TIME_S, absent=absent)


def slug(name: str) -> Member:
    """1 to 32 characters of few kinds."""
    return other(name, {_OUT: ["", "d" * 33], _ALPHABET: ["Main", "a_b"]})


def octets(name: str, least: int, most: int, *, absent: str | None = "") -> Member:
    """A byte string."""
    few = [bytes(least - 1)] if least else []
    return other(name, {_TYPE: [None, "text"], _OUT: [*few, bytes(most + 1)]}, absent=absent)


def listed(name: str, most: int, *, absent: str | None = "") -> Member:
    """A number of a closed list whose last is `most`."""
    return other(name, {_TYPE: [None, True], _VALUE: [-1, most + 1]}, absent=absent)


def flag(name: str) -> Member:
    """A truth value."""
    return other(name, {_TYPE: [None, 1]})


# --- events, commands, replies -----------------------------------------------------------------------------

BATCH: Final[Members] = {
    (1,): slug("batch.device"),
    (2,): octets("batch.epoch", 8, 8),
    (3,): number("batch.first"),
    (4,): number("batch.last"),
    (5,): other("batch.events", {_OUT: [[b"\x00"] * 501]}),
    (5, 0): octets("batch.events", 1, 512, absent=None),
    (6,): octets("batch.head", 32, 32),
}
ACKNOWLEDGEMENT: Final[Members] = {
    (1,): slug("acknowledgement.device"),
    (2,): octets("acknowledgement.epoch", 8, 8),
    (3,): number("acknowledgement.durable"),
    (4,): octets("acknowledgement.head", 32, 32),
    (5,): number("acknowledgement.backed_up"),
    (6,): number("acknowledgement.iat_ms", MAX_TIME_MS),
}
COMMAND: Final[Members] = {
    (1,): octets("command.id", 16, 16),
    (2,): slug("command.target"),
    (3,): listed("command.action", 7),
    (4,): moment("command.iat"),
    (5,): moment("command.exp"),
    (6,): number("command.counter"),
    (7,): listed("command.mode", 2),
    (8,): other("command.hold", {_TYPE: [None, True], _OUT: [-1, 0, 43_201]}, absent=None),
}
COMMANDS: Final[Members] = {
    (1,): number("commands.last"),
    (2,): other("commands.list", {_OUT: [[b"\x00"] * 17]}),
    (2, 0): octets("commands.item", 1, 512, absent=None),
}
REPLY: Final[Members] = {
    (1,): octets("reply.of", 16, 16),
    (2,): other("reply.status", {_OUT: [-1, 199, 600]}),
    (3,): octets("reply.body", 0, 2048),
    (4,): number("reply.retry_after", 86_400),
}
_LISTS: Final[dict[int | str, Value]] = dict.fromkeys(range(257), 0)


def _versions(*place: int) -> Members:
    return {
        (*place, 1): number("versions.trust"),
        (*place, 2): number("versions.policy"),
        (*place, 3): other("versions.status", {_OUT: [_LISTS]}),
        (*place, 3, 0): number("versions.sequence", absent=None),
        (*place, 4): number("versions.roster"),
        (*place, 5): number("versions.commands"),
    }


VERSIONS: Final = _versions()
HEALTH: Final[Members] = {
    (1,): number("health.at", MAX_TIME_MS),
    (2,): other("health.software", {_OUT: ["", "v" * 65]}),
    (3,): number("health.uptime"),
    (4,): listed("health.clock", 2),
    (5,): number("health.uncertainty"),
    (6,): listed("health.mode", 3),
    (7,): octets("health.epoch", 8, 8),
    (8,): number("health.last"),
    (9,): number("health.durable"),
    (10,): number("health.backed_up"),
    (11,): other("versions", absent="health.versions"),
    **_versions(11),
    (12,): other("health.devices", {_OUT: [[["a", 1, 0]] * 65]}),
    (12, 0): other("health.device", {_OUT: [[]]}, absent=None),
    (12, 0, 0): replace(slug("health.device.name"), absent=None),
    (12, 0, 1): listed("health.device.kind", 5, absent=None),
    (12, 0, 2): listed("health.device.state", 2, absent=None),
    (13,): other("health.alarms", {_OUT: [[20] * 33]}),
    (13, 0): listed("health.alarm", 1000, absent=None),
    (14,): listed("health.way", 1),
    (15,): other("health.metrics", {_OUT: [dict.fromkeys(map(str, range(33)), 0)]}),
    (15, "rss_mb"): other("health.metric", {_OUT: [-(2**63)]}, absent=None),
}

# --- passes ------------------------------------------------------------------------------------------------


_FOREIGN_KEY: Final[Wrong] = {WireReason.UNKNOWN_ALGORITHM: [{1: 1, -1: 1}]}


def key(name: str, path: Path, *, sign: bool = True) -> Members:
    """The members of a COSE_Key, with the sign of y for P-256."""
    found = {
        (*path, 1): number(f"{name}.kty"),
        (*path, -1): number(f"{name}.crv"),
        (*path, -2): octets(f"{name}.x", 32, 32),
    }
    return {**found, (*path, -3): flag(f"{name}.y")} if sign else found


_SCOPE: Final[Wrong] = {
    _TYPE: [None, encode({}), encode("all")],
    _OUT: [b"", bytes(53), encode([0, 0, [], 0])],
    _MISSING: [encode([0, 0])],
    WireReason.NOT_CBOR: [b"\x1c"],
}
PASS: Final[Members] = {
    (1,): slug("pass.iss"),
    (4,): moment("pass.exp"),
    (5,): moment("pass.nbf", absent=None),
    (6,): moment("pass.iat"),
    (7,): octets("pass.cti", 6, 6),
    (8,): other("pass.cnf", absent=None),
    (8, 1): other("pass.cnf.key", _FOREIGN_KEY),
    **key("pass.cnf.key", (8, 1)),
    (9,): other("pass.scope", _SCOPE),
}
PRESENTATION: Final[Members] = {
    (3,): other(
        "presentation.aud",
        {_OUT: ["", "/", "a/", "a/" + "b" * 33, "a" * 66], _VALUE: ["a", "a/b/c"], _ALPHABET: ["A/b"]},
    ),
    (6,): moment("presentation.iat"),
    (39,): octets("presentation.cnonce", 16, 16, absent=None),
}

# --- what doors are told -----------------------------------------------------------------------------------

STATUS: Final[Members] = {
    (2,): other(
        "status.sub",
        {
            _OUT: ["", "urn:doorward:status:" + "u" * 39, "urn:doorward:status::0"],
            _VALUE: ["urn:doorward:status:north-campus:1", "urn:doorward:status:north-campus:0:0"],
            _ALPHABET: ["urn:doorward:status:North:0"],
        },
    ),
    (4,): moment("status.exp"),
    (6,): moment("status.iat"),
    (65533,): other("status.status_list", {_TYPE: [None, {}, {"bits": 1}, {"bits": 1, "lst": b"", "x": 1}]}),
    (65533, "bits"): other("status.status_list.bits", {_OUT: [-1], _VALUE: [0, 2]}, absent=None),
    (65533, "lst"): other("status.status_list.lst", {_TYPE: [None, "lst"], _OUT: [b""]}, absent=None),
    (65534,): other("status.ttl", {_OUT: [-1, 0]}),
    (-65537,): other("status.doorward", {_OUT: [[0, 0, 0, 0]], _MISSING: [[0, 0]]}),
    (-65537, 0): number("status.list", 0xFFFF, absent="status.doorward"),
    (-65537, 1): number("status.sequence", absent="status.doorward"),
    (-65537, 2): number("status.size", 1 << 21, absent="status.doorward"),
}
DELTA: Final[Members] = {
    (1,): number("delta.list", 0xFFFF),
    (2,): number("delta.base_sequence"),
    (3,): number("delta.sequence"),
    (4,): octets("delta.before", 32, 32),
    (5,): octets("delta.after", 32, 32),
    (6,): other("delta.gaps", {_OUT: [b"\x80\x80\x80\x80\x01"], WireReason.NOT_CANONICAL: [b"\x80", b"\x80\x00"]}),
    (7,): moment("delta.iat"),
    (8,): moment("delta.exp"),
    (9,): other("delta.ttl", {_OUT: [-1, 0]}),
}
TRUST: Final[Members] = {
    (1,): slug("trust.tenant"),
    (2,): number("trust.version"),
    (3,): moment("trust.iat"),
    (4,): other("trust.keys", {_OUT: [[0] * 65]}),
    (4, 5): other("trust.keys", {_OUT: [[0] * 6], _MISSING: [[0] * 4]}, absent=None),
    (4, 5, 0): octets("trust.keys.kid", 4, 4, absent="trust.keys"),
    (4, 5, 1): other("trust.keys.key", _FOREIGN_KEY, absent="trust.keys"),
    **key("trust.keys.key", (4, 5, 1)),
    (4, 5, 2): listed("trust.keys.purpose", 6, absent="trust.keys"),
    (4, 5, 3): moment("trust.keys.nbf", absent="trust.keys"),
    (4, 5, 4): moment("trust.keys.exp", absent="trust.keys"),
}
PINNED: Final[Members] = {
    (0,): other("pinned.root", _FOREIGN_KEY, absent="pinned"),
    **key("pinned.root", (0,), sign=False),
    (1,): octets("pinned.bundle", 1, 16 * 1024, absent="pinned"),
}


def _roster_names(name: str, path: Path) -> Members:
    """Level sets: an array of arrays of levels, of which the one at this path is not empty."""
    return {
        path[:1]: other(name, {_OUT: [[[]] * 65_537]}),
        path: other(name, {_OUT: [[*range(17)]], WireReason.NOT_CANONICAL: [[7, 1], [7, 7]]}, absent=None),
        (*path, 0): number(name, 0xFFFF, absent=None),
    }


ROSTER: Final[Members] = {
    (1,): slug("roster.tenant"),
    (2,): slug("roster.site"),
    (3,): other("roster.version", {_OUT: [-1, 0]}),
    (4,): moment("roster.iat"),
    (5,): octets("roster.pepper", 32, 32),
    **_roster_names("roster.level_sets", (6, 1)),
    (7,): octets("roster.records", 0, 262_144 * 29),
    (8,): octets("roster.pins", 0, 262_144 * 64),
}
ROSTER_DELTA: Final[Members] = {
    (1,): slug("roster_delta.tenant"),
    (2,): slug("roster_delta.site"),
    (3,): number("roster_delta.base_version"),
    (4,): number("roster_delta.version"),
    (5,): moment("roster_delta.iat"),
    (6,): octets("roster_delta.before", 32, 32),
    (7,): octets("roster_delta.after", 32, 32),
    **_roster_names("roster_delta.level_sets", (8, 0)),
    (9,): octets("roster_delta.removals", 0, 65_536 * 16),
    (10,): octets("roster_delta.upserts", 0, 65_536 * 29),
    (11,): octets("roster_delta.pins", 0, 65_536 * 64),
}

# --- policies ----------------------------------------------------------------------------------------------

_HOUR_MS, _QUARTER_S = 3_600_000, 90 * 86_400
_SETTINGS: Final = (
    listed("policy.settings.mode", 3),
    listed("policy.settings.minimum_assurance", 4),
    number("policy.settings.max_revocation_age_s", _QUARTER_S),
    listed("policy.settings.staleness", 2),
    number("policy.settings.recently_issued_s", _QUARTER_S),
    listed("policy.settings.suspect", 2),
    number("policy.settings.release_time_ms", _HOUR_MS),
    number("policy.settings.extended_release_time_ms", _HOUR_MS),
    number("policy.settings.open_time_ms", _HOUR_MS),
    number("policy.settings.pre_alarm_ms", _HOUR_MS),
    listed("policy.settings.relock", 2),
    number("policy.settings.unlock_schedule", 0xFFFF),
    flag("policy.settings.first_person_in"),
    number("policy.settings.double_tap_ms", _HOUR_MS),
    flag("policy.settings.maintenance"),
    flag("policy.settings.interlock"),
    number("policy.settings.lock_time_ms", _HOUR_MS),
    listed("policy.settings.anti_passback", 3),
    number("policy.settings.anti_passback_s", _QUARTER_S),
    number("policy.settings.forget_presence_before_s", MAX_TIME_S),
    flag("policy.settings.two_person"),
    number("policy.settings.escorts", 2),
    number("policy.settings.companion_ms", _HOUR_MS),
    listed("policy.settings.pin_below", 4),
    number("policy.settings.pin_attempts", 1000),
    number("policy.settings.pin_block_s", _QUARTER_S),
    number("policy.settings.printed_uses", 1000),
)
_LEVELS: Final[Wrong] = {
    _TYPE: [None, {"a": []}, {1: None}],
    _OUT: [{-1: []}, {0x10000: []}, {1: [0] * 65}],
    _VALUE: [{1: [9]}],
}
_SCHEDULES: Final[Wrong] = {
    _TYPE: [None, {"a": [[], [], {}]}, {3: None}],
    _OUT: [{0: [[], [], {}]}, {0x10000: [[], [], {}]}, {3: [[], [], {}, 0]}],
    _MISSING: [{3: [[], []]}],
}
_WINDOW: Final[Wrong] = {_OUT: [[1, 2, 3, 4], [0, 1, 2], [1, 2, 2]], _MISSING: [[1, 2]]}
_EXCEPTIONS: Final[Wrong] = {
    _TYPE: [None, {"a": []}],
    _OUT: [{-1: []}, {100_001: []}, {day: [] for day in range(129)}, {1: [[1, 2, 3]]}],
}
_PASSAGES: Final[Wrong] = {
    _TYPE: [None, {1: [0, 1]}, {"a": None}],
    _ALPHABET: [{"A": [0, 1]}],
    _OUT: [{"": [0, 1]}, {"d" * 33: [0, 1]}, {"a": [0, 1, 2]}, {"a": [1, 1]}, {f"r{n}": [0, 1] for n in range(17)}],
    _MISSING: [{"a": [0]}],
}
_AREAS: Final[Wrong] = {
    _TYPE: [None, {"a": [0, 0]}, {1: None}],
    _OUT: [{0: [0, 0]}, {1: [1, 2]}, {1: [0, 0, 0]}, {0x10000: [0, 0]}, {n: [0, 0] for n in range(1, 34)}],
    _MISSING: [{1: [0]}],
    _VALUE: [{9: [0, 0]}],
}
POLICY: Final[Members] = {
    (1,): slug("policy.tenant"),
    (2,): slug("policy.door"),
    (3,): number("policy.version"),
    (4,): moment("policy.iat"),
    (5,): other("policy.timezone", {_OUT: ["", "a" * 65], _ALPHABET: ["../etc", "/a", "a/b/c/d"]}),
    (6,): other("policy.settings"),
    **{(6, key): member for key, member in enumerate(_SETTINGS, start=1)},
    (7,): other("policy.levels", _LEVELS),
    (7, 1, 0): number("policy.levels", 0xFFFF, absent=None),
    (8,): other("policy.schedules", _SCHEDULES),
    (8, 3, 0): other("policy.schedules.windows", {_OUT: [[[1, 2, 3]] * 65]}, absent="policy.schedules"),
    (8, 3, 1): other("policy.schedules.windows", {_OUT: [[[1, 2, 3]] * 65]}, absent="policy.schedules"),
    (8, 3, 2): other("policy.schedules.exceptions", _EXCEPTIONS, absent="policy.schedules"),
    (8, 3, 2, 20_545): other("policy.schedules.windows", absent=None),
    (8, 3, 0, 0): other("policy.schedules.window", _WINDOW, absent=None),
    (8, 3, 0, 0, 0): number("policy.schedules.window", 127, absent="policy.schedules.window"),
    (8, 3, 0, 0, 1): number("policy.schedules.window", absent="policy.schedules.window"),
    (8, 3, 0, 0, 2): number("policy.schedules.window", 1440, absent="policy.schedules.window"),
    (9,): other("policy.holidays", {_OUT: [[*range(513)]], WireReason.NOT_CANONICAL: [[2, 1], [1, 1]]}),
    (9, 0): number("policy.holidays", 100_000, absent=None),
    (10,): other("policy.assurance_hours", {_OUT: [[[0, 0]] * 65], _VALUE: [[[9, 0]]]}),
    (10, 0): other("policy.assurance_hours", {_OUT: [[0, 0, 0]], _MISSING: [[0]]}, absent=None),
    (10, 0, 0): number("policy.assurance_hours", 0xFFFF, absent="policy.assurance_hours"),
    (10, 0, 1): listed("policy.assurance_hours", 4, absent="policy.assurance_hours"),
    (11,): other("policy.passages", _PASSAGES),
    (11, "inside", 0): number("policy.passages", 0xFFFF, absent="policy.passages"),
    (11, "inside", 1): number("policy.passages", 0xFFFF, absent="policy.passages"),
    (12,): other("policy.areas", _AREAS),
    (12, 1, 0): number("policy.areas", 1_000_000, absent="policy.areas"),
    (12, 1, 1): number("policy.areas", 1_000_000, absent="policy.areas"),
    (13,): flag("policy.locks_out"),
}

# --- protected headers --------------------------------------------------------------------------------------


def header(name: str, *, foreign: bool = True) -> Members:
    """The members of {1: alg, 4: kid}; `foreign` where a key id of other bytes is refused as another key's."""
    kid = octets(f"{name}.kid", 4, 4)
    wrong: Wrong = {**kid.wrong, WireReason.KEY_INVALID: [bytes(4)]} if foreign else kid.wrong
    return {(1,): _algorithm(name), (4,): replace(kid, wrong=wrong)}


def _algorithm(name: str) -> Member:
    return Member(f"{name}.alg", {WireReason.UNKNOWN_ALGORITHM: [None, True, 1, -8, "-9"]}, f"{name}.alg")


def _type(name: str, wrong: Sequence[Value]) -> Members:
    return {(16,): Member(f"{name}.typ", {_VALUE: wrong}, f"{name}.typ")}


STATUS_HEADER: Final[Members] = {**header("status"), **_type("status", [None, "application/cwt", 294])}
PRESENTATION_HEADER: Final[Members] = {(1,): _algorithm("presentation"), **_type("presentation", [None, 293, "294"])}
