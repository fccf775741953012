"""What docs/spec shows of code and vectors: `.venv/bin/python -m tests.wire.spec_pages` writes it into the pages.

Invariant: each block between markers is exactly what its function gives (tests/wire/test_spec_pages.py).
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from tests.vectors import make
from tests.wire.notation import PLAIN, Shape, notation, sign1
from wire import messages
from wire.errors import WireReason
from wire.event import FIELD_NAMES
from wire.health import DeviceKind, DeviceState, Way
from wire.names import (
    Action,
    AntiPassbackRule,
    Assurance,
    ClockState,
    DoorMode,
    EventKind,
    ExternalAad,
    KeyPurpose,
    PassFlags,
    PassKind,
    Reason,
    RelockRule,
    StalenessRule,
    Step,
    SuspectRule,
)
from wire.roster import IdentifierForm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FOLDER: Final = Path(__file__).parents[2] / "docs" / "spec"
_HEX_A_LINE: Final = 96

# --- tables ------------------------------------------------------------------------------------------------

_MEANING: Final = {
    WireReason.EMPTY: "there is nothing",
    WireReason.TOO_LARGE: "more bytes, characters or changes than this message may have",
    WireReason.WRONG_PREFIX: "the text does not begin with `DW1:`",
    WireReason.WRONG_ALPHABET: "a character that this text may not hold",
    WireReason.NOT_CBOR: "not well-formed, or nested more than six deep",
    WireReason.NOT_CANONICAL: "another encoding, order or number of bytes than the one that is allowed",
    WireReason.DUPLICATE_KEY: "a map names a member twice, or a bundle a key",
    WireReason.FORBIDDEN_TYPE: "a float, `undefined`, another tag than 18, a key that is neither integer nor text",
    WireReason.WRONG_TYPE: "a member of another type; `true` is no number",
    WireReason.OUT_OF_RANGE: "a number, length or moment outside its limits",
    WireReason.MISSING_FIELD: "a member that must be there is not",
    WireReason.UNKNOWN_FIELD: "a member, header or unprotected header that nobody defined",
    WireReason.UNKNOWN_VALUE: "a number or text outside its closed list",
    WireReason.UNKNOWN_ALGORITHM: "an algorithm or kind of key that we do not take",
    WireReason.ALGORITHM_MISMATCH: "the header's `alg` is not that of the key",
    WireReason.KEY_INVALID: "another key is named, or the point is not on the curve",
    WireReason.SIGNATURE_INVALID: "the key did not sign these bytes as this type of message",
    WireReason.HASH_MISMATCH: "a hash or key id is not that of what it stands for",
    WireReason.ROLLBACK: "older than what is held, or made for another state",
    WireReason.LOCKS_OUT: "it would let nobody in any more, and does not say that a person ordered that",
}
_STRENGTH: Final = {
    Assurance.IDENTIFIER: ("NFC UID, unsigned barcode", "nothing; an identifier only, opt-in for a door"),
    Assurance.PRINTED: ("printed pass", "the issuer signed it; whoever holds the paper may show it"),
    Assurance.DYNAMIC_TAG: ("NTAG 424 DNA, SUN message", "the tag answered once more than any time this door knows of"),
    Assurance.ROTATING: ("rotating presentation", "the holder's key signed within the last half minute"),
    Assurance.NONCE_BOUND: ("presentation bound to a nonce", "the holder's key answered this door, now"),
}


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _numbers(*enums: type[Enum]) -> str:
    """A row an enum: its numbers and names."""
    return _table(
        ("list", "numbers"),
        (
            (
                enum.__name__,
                ", ".join(f"{item.value} {item.name}" for item in enum if item.value or item.name != "NONE"),
            )
            for enum in enums
        ),
    )


def _reasons() -> str:
    return _table(("reason", "what is wrong"), ((f"`{reason.value}`", _MEANING[reason]) for reason in WireReason))


def _assurance() -> str:
    return _table(("AL", "credential", "what it proves"), ((int(level), *_STRENGTH[level]) for level in Assurance))


def _aads() -> str:
    return _table(
        ("message", "external_aad"),
        ((aad.name.lower().replace("_", " "), f"`{aad.decode() or '(empty)'}`") for aad in ExternalAad),
    )


_FIELDS: Final = {
    "schema": ("1", "this format"),
    "device": ("name", "who writes"),
    "boot": ("uint", "counts the daemon's starts in this epoch"),
    "seq": ("uint", "1, 2, 3 … without gaps"),
    "wall_ms": ("moment", "the door's clock, Unix milliseconds"),
    "monotonic_ms": ("uint", "milliseconds of this boot, which never go back"),
    "clock": ("ClockState", "how far to believe `wall_ms`"),
    "door": ("name", "the door"),
    "access_point": ("name", "the direction through it"),
    "kind": ("EventKind", "what happened"),
    "step": ("Step or null", "where a tap ended"),
    "reason": ("Reason or null", "why it was refused"),
    "granted": ("bool or null", "null when nothing was decided"),
    "credential": ("1 to 16 bytes or null", "pass id, or the id of a roster entry; of a command, its id"),
    "assurance": ("Assurance or null", "what the credential reached"),
    "reader": ("name or null", "where it was presented; of a reader or inputs that are lost or back, which"),
    "rule": ("name or null", "what admitted, such as `level-7`"),
    "policy_version": ("uint", "in force then; 0 for none"),
    "trust_version": ("uint", "in force then; 0 for none"),
    "status_sequence": ("uint or null", "of the revocation list that was asked"),
    "status_age_s": ("uint or null", "its age then"),
    "elapsed_us": ("uint or null", "from reading to decision"),
    "count": ("uint or null", "how many events this one stands for"),
    "prev": ("32 bytes", "SHA-256 of the previous event's bytes; zeros in the first of an epoch"),
}


def _fields() -> str:
    return _table(
        ("key", "field", "type", "meaning"),
        ((key, f"`{name}`", *_FIELDS[name]) for key, name in enumerate(FIELD_NAMES)),
    )


def _paths() -> str:
    rows = [
        (f"GET `{messages.EST_CACERTS}`", "none", "the device CA, PKCS #7 in base64 (RFC 7030 §4.1)"),
        (
            f"POST `{messages.EST_ENROL}`",
            f"Basic, user `{messages.EST_CLAIM_USER}`",
            "PKCS #10 for PKCS #7; the claim is spent",
        ),
        (f"POST `{messages.EST_REENROL}`", "certificate", "the same, to renew"),
        (
            f"GET `{messages.DEVICE_BOOTSTRAP}`",
            "certificate",
            "JSON: tenant, site, door, access_point, device, timezone, root_key (hex of COSE_Key), broker (null: none)",
        ),
        (f"GET `{messages.DEVICE_TRUST}`", "certificate", f"trust bundle, `{messages.MEDIA_COSE}`"),
        (f"GET `{messages.DEVICE_POLICY}`", "certificate", f"policy bundle, `{messages.MEDIA_COSE}`"),
        (
            f"GET `{messages.DEVICE_STATUS}/LIST?since=SEQ`",
            "certificate",
            f"`{messages.MEDIA_STATUS_LIST}`, or `{messages.MEDIA_STATUS_DELTA}` where smaller",
        ),
        (
            f"GET `{messages.DEVICE_ROSTER}?since=VERSION`",
            "certificate",
            f"`{messages.MEDIA_ROSTER}`, or `{messages.MEDIA_ROSTER_DELTA}` where smaller",
        ),
        (
            f"GET `{messages.DEVICE_COMMANDS}?after=COUNTER`",
            "certificate",
            f"commands that still hold, `{messages.MEDIA_COMMANDS}`",
        ),
        (
            f"GET `{messages.DEVICE_CHANGES}?trust=…&policy=…&status=…&roster=…&commands=…&wait_s=…`",
            "certificate",
            "JSON {trust, policy, status, roster, commands} as soon as one differs",
        ),
        (f"POST `{messages.DEVICE_EVENTS}`", "certificate", "batch for acknowledgement"),
        (f"POST `{messages.DEVICE_HEALTH}`", "certificate", f"[health](health.md), `{messages.MEDIA_HEALTH}`; 204"),
    ]
    return _table(("request", "who asks is known by", "what is exchanged"), rows)


# --- examples ----------------------------------------------------------------------------------------------

_HEADER: Final = Shape({1: "alg", 4: "kid"})
_KEY: Final = Shape({1: "kty", -1: "crv", -2: "x", -3: "y"})
_CNF: Final = Shape({1: "COSE_Key"}, {1: _KEY})
_PASS: Final = sign1(
    _HEADER,
    Shape(
        {1: "iss", 4: "exp", 5: "nbf", 6: "iat", 7: "cti", 8: "cnf", 9: "scope"},
        {8: _CNF, 9: Shape(wraps=PLAIN)},
    ),
)
_PRESENTATION: Final = sign1(
    Shape({1: "alg", 13: "kcwt", 16: "typ"}, {13: _PASS}), Shape({3: "aud", 6: "iat", 39: "cnonce"})
)
_STATUS: Final = sign1(
    Shape({1: "alg", 4: "kid", 16: "typ"}),
    Shape({2: "sub", 4: "exp", 6: "iat", 65533: "status_list", 65534: "ttl", -65537: "doorward"}),
)
_DELTA: Final = sign1(
    _HEADER,
    Shape(dict(enumerate(("list", "base sequence", "sequence", "before", "after", "gaps", "iat", "exp", "ttl"), 1))),
)
_TRUST: Final = sign1(
    _HEADER, Shape({1: "tenant", 2: "version", 3: "iat", 4: "keys"}, {4: Shape(inside={-1: Shape(inside={1: _KEY})})})
)
_ROOT_CHANGE: Final = sign1(_HEADER, sign1(_HEADER, _KEY))
_POLICY_NAMES: Final = (
    *("tenant", "door", "version", "iat", "timezone", "settings", "levels", "schedules", "holidays"),
    *("assurance hours", "passages", "areas", "locks out"),
)
_SETTINGS: Final = (
    *("mode", "minimum assurance", "max revocation age, s", "staleness", "recently issued, s", "suspect"),
    *("release, ms", "extended release, ms", "open, ms", "pre-alarm, ms", "relock"),
    *("unlock schedule", "first person in", "double tap, ms", "maintenance", "interlock", "lock time, ms"),
    *("anti-passback", "anti-passback, s", "forget presence before, s", "two person", "escorts", "companion, ms"),
    *("PIN below", "PIN attempts", "PIN block, s", "printed uses"),
)
_POLICY: Final = sign1(_HEADER, Shape(dict(enumerate(_POLICY_NAMES, 1)), {6: Shape(dict(enumerate(_SETTINGS, 1)))}))
_RULES: Final = (DoorMode, Assurance, StalenessRule, SuspectRule, RelockRule, AntiPassbackRule)
_ROSTER: Final = sign1(
    _HEADER,
    Shape(dict(enumerate(("tenant", "site", "version", "iat", "pepper", "level sets", "records", "pins"), 1))),
)
_ROSTER_DELTA_NAMES: Final = (
    *("tenant", "site", "base version", "version", "iat", "before", "after"),
    *("level sets", "removals", "upserts", "pins"),
)
_ROSTER_DELTA: Final = sign1(_HEADER, Shape(dict(enumerate(_ROSTER_DELTA_NAMES, 1))))
_EVENT: Final = Shape(dict(enumerate(FIELD_NAMES)))
_BATCH: Final = sign1(_HEADER, Shape(dict(enumerate(("device", "epoch", "first", "last", "events", "head"), 1))))
_ACK: Final = sign1(_HEADER, Shape(dict(enumerate(("device", "epoch", "durable", "head", "backed up", "iat, ms"), 1))))
_REPLY: Final = Shape(dict(enumerate(("of", "status", "body", "retry after, s"), 1)))
_VERSIONS: Final = Shape(dict(enumerate(("trust", "policy", "status", "roster", "commands"), 1)))
_HEALTH: Final = Shape(
    dict(
        enumerate(
            (
                *("at, ms", "software", "uptime, s", "clock", "uncertainty, ms", "mode", "epoch", "last", "durable"),
                *("backed up", "versions", "devices", "alarms", "way", "metrics"),
            ),
            1,
        )
    ),
    {11: _VERSIONS},
)
_COMMAND: Final = sign1(
    _HEADER,
    Shape(dict(enumerate(("id", "target", "action", "iat", "exp", "counter", "mode", "hold, s"), 1))),
)


def _example(name: str, case: str, shape: Shape, *, show_bytes: bool = True) -> Callable[[], str]:
    def render() -> str:
        data = _input(name, case)
        shown = notation(data, shape)
        digits = data.hex()
        lines = [digits[place : place + _HEX_A_LINE] for place in range(0, len(digits), _HEX_A_LINE)]
        told = f"`tests/vectors/{name}.json`, \u201c{case}\u201d, {len(data)} bytes:"
        block = f"{told}\n\n```cbor-diag\n{shown}\n```"
        return block + "\n\n```\n" + "\n".join(lines) + "\n```" if show_bytes else block

    return render


def _input(name: str, case: str) -> bytes:
    return bytes.fromhex(str(_case(name, case)["input"]))


def _case(name: str, case: str) -> dict[str, object]:
    found = json.loads(make.path(name).read_text())["vectors"]
    return cast("dict[str, object]", next(item for item in found if item["name"] == case))


def _text_of(case: str) -> Callable[[], str]:
    def render() -> str:
        expect = cast("dict[str, str]", _case("presentation", case)["expect"])
        shown = expect["text"]
        lines = [shown[place : place + _HEX_A_LINE] for place in range(0, len(shown), _HEX_A_LINE)]
        return (
            f"The same as text, {len(shown)} characters (line ends are not part of it):\n\n```\n"
            + "\n".join(lines)
            + "\n```"
        )

    return render


BLOCKS: Final[dict[tuple[str, str], Callable[[], str]]] = {
    ("index", "assurance levels"): _assurance,
    ("index", "external_aad"): _aads,
    ("index", "reasons"): _reasons,
    ("keys", "example"): _example("key", "P-256, odd y", _KEY),
    ("pass", "example"): _example("pass", "usual", _PASS),
    ("pass", "numbers"): lambda: _numbers(PassKind, PassFlags),
    ("presentation", "example"): _example("presentation", "usual", _PRESENTATION, show_bytes=False),
    ("presentation", "text"): _text_of("usual"),
    ("status-list", "example"): _example("status-list", "the draft's example", _STATUS, show_bytes=False),
    ("status-list", "delta"): _example("status-delta", "three bits", _DELTA, show_bytes=False),
    ("trust", "example"): _example("trust", "usual", _TRUST, show_bytes=False),
    ("trust", "purposes"): lambda: _numbers(KeyPurpose),
    ("trust", "root change"): _example("root-change", "usual", _ROOT_CHANGE, show_bytes=False),
    ("policy", "example"): _example("policy", "usual", _POLICY, show_bytes=False),
    ("policy", "numbers"): lambda: _numbers(*_RULES),
    ("roster", "example"): _example("roster", "usual", _ROSTER, show_bytes=False),
    ("roster", "delta"): _example(
        "roster-delta", "one removed, one changed, one added", _ROSTER_DELTA, show_bytes=False
    ),
    ("roster", "numbers"): lambda: _numbers(IdentifierForm, PassKind, PassFlags),
    ("event", "fields"): _fields,
    ("event", "example"): _example("event", "granted", _EVENT),
    ("event", "numbers"): lambda: _numbers(EventKind, Step, Reason, ClockState, Assurance),
    ("sync", "paths"): _paths,
    ("sync", "batch"): _example("batch", "three events", _BATCH, show_bytes=False),
    ("sync", "acknowledgement"): _example("acknowledgement", "usual", _ACK, show_bytes=False),
    ("mqtt", "example"): _example("mqtt-reply", "busy", _REPLY),
    ("mqtt", "versions"): _example("versions", "usual", _VERSIONS),
    ("health", "example"): _example("health", "usual", _HEALTH),
    ("health", "numbers"): lambda: _numbers(DeviceKind, DeviceState, Way),
    ("command", "example"): _example("command", "unlock for 30 s", _COMMAND),
    ("command", "mode"): _example("command", "mode unlocked for two hours", _COMMAND, show_bytes=False),
    ("command", "numbers"): lambda: _numbers(Action, DoorMode),
}


def marks(name: str) -> tuple[str, str]:
    """The comments before and after a block."""
    return f"<!-- {name}, written by tests/wire/spec_pages.py -->", f"<!-- end of {name} -->"


def path(page: str) -> Path:
    """Where a page lies."""
    return FOLDER / f"{page}.md"


def shown(page: str, name: str) -> str:
    """What a page shows between the marks of a block."""
    begin, end = marks(name)
    return path(page).read_text().partition(begin)[2].partition(end)[0].strip()


def main() -> None:
    """Write every block into its page."""
    for (page, name), render in BLOCKS.items():
        begin, end = marks(name)
        before, _, rest = path(page).read_text().partition(begin)
        path(page).write_text(f"{before}{begin}\n{render()}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
