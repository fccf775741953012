"""What is refused is named: the member of the message, as docs/spec lists it, and nothing else.

Errors are read by people, before a door that does not take its policy. tests/wire/members.py says what each member is
called.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from tests.vectors.parts.events import DEVICE_ID, EPOCH, GRANTED, USUAL_ACK
from tests.vectors.parts.kit import ACKNOWLEDGEMENT, COMMAND, DEVICE, HOLDER, PASS, POLICY, ROOT, SITE, STATUS
from tests.vectors.parts.messages import USUAL as USUAL_COMMAND
from tests.vectors.parts.passes import USUAL as USUAL_PASS
from tests.vectors.parts.policies import USUAL as USUAL_POLICY
from tests.vectors.parts.presentations import USUAL_PASS as USUAL_PASS_BYTES
from tests.vectors.parts.reports import USUAL_HEALTH
from tests.vectors.parts.rosters import NEXT as NEXT_ROSTER
from tests.vectors.parts.rosters import USUAL as USUAL_ROSTER
from tests.vectors.parts.status import NEXT as NEXT_LIST
from tests.vectors.parts.status import USUAL as USUAL_LIST
from tests.vectors.parts.trusts import USUAL as USUAL_TRUST
from tests.wire.formats import FORMATS, PLAIN, SIGNED
from tests.wire.spec_pages import FOLDER
from wire.batch import MAX_ACKNOWLEDGEMENT_BYTES, MAX_BATCH_BYTES, seal_acknowledgement, seal_batch
from wire.codec import Value, encode
from wire.command import MAX_COMMAND_BYTES, seal_command
from wire.command_list import MAX_COMMAND_LIST_BYTES, CommandList, encode_command_list
from wire.errors import WireError, WireReason
from wire.event import encode_event
from wire.health import MAX_HEALTH_BYTES, encode_health
from wire.mqtt import MAX_REPLY_BYTES, Reply, encode_reply
from wire.passes import MAX_PASS_BYTES, seal_pass
from wire.policy import MAX_POLICY_BYTES, seal_policy
from wire.presentation import MAX_PRESENTATION_BYTES, seal_presentation
from wire.roster import MAX_ROSTER_BYTES, seal_roster
from wire.roster_delta import MAX_ROSTER_DELTA_BYTES, make_roster_delta, seal_roster_delta
from wire.status_delta import MAX_DELTA_BYTES, make_delta, seal_delta
from wire.status_list import MAX_TOKEN_BYTES, seal_status_list
from wire.trust import MAX_BUNDLE_BYTES, MAX_PINNED_BYTES, PinnedTrust, encode_pinned, seal_trust
from wire.versions import MAX_VERSIONS_BYTES, Versions, encode_versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.wire.members import Path

_ENDLESS = 2**63
"""No message holds such a number."""
_MEMBERS = [(name, path) for name, found in FORMATS.items() for path in found.members]
_MAPS = [(name, path) for name, found in FORMATS.items() for path in found.maps]
_LIMITS = {
    "batch": MAX_BATCH_BYTES,
    "acknowledgement": MAX_ACKNOWLEDGEMENT_BYTES,
    "command": MAX_COMMAND_BYTES,
    "pass": MAX_PASS_BYTES,
    "presentation": MAX_PRESENTATION_BYTES,
    "status": MAX_TOKEN_BYTES,
    "delta": MAX_DELTA_BYTES,
    "trust": MAX_BUNDLE_BYTES,
    "policy": MAX_POLICY_BYTES,
    "roster": MAX_ROSTER_BYTES,
    "roster_delta": MAX_ROSTER_DELTA_BYTES,
    "commands": MAX_COMMAND_LIST_BYTES,
    "reply": MAX_REPLY_BYTES,
    "versions": MAX_VERSIONS_BYTES,
    "health": MAX_HEALTH_BYTES,
    "pinned": MAX_PINNED_BYTES,
}
_PAGES = {
    "batch": "sync",
    "acknowledgement": "sync",
    "command": "command",
    "pass": "pass",
    "presentation": "presentation",
    "status": "status-list",
    "delta": "status-list",
    "trust": "trust",
    "policy": "policy",
    "roster": "roster",
    "roster_delta": "roster",
    "reply": "mqtt",
    "versions": "mqtt",
    "health": "health",
}
"""Which pages of docs/spec show an example."""
_WRITTEN: dict[str, Callable[[], bytes]] = {
    "batch": lambda: seal_batch(
        device=DEVICE_ID, epoch=EPOCH, first=_ENDLESS, events=[encode_event(GRANTED)], signer=DEVICE
    ),
    "acknowledgement": lambda: seal_acknowledgement(replace(USUAL_ACK, durable=_ENDLESS), ACKNOWLEDGEMENT),
    "command": lambda: seal_command(replace(USUAL_COMMAND, counter=_ENDLESS), COMMAND),
    "pass": lambda: seal_pass(replace(USUAL_PASS, expires_at_s=_ENDLESS), PASS),
    "presentation": lambda: seal_presentation(USUAL_PASS_BYTES, HOLDER, issued_at_s=_ENDLESS, audience=SITE),
    "status": lambda: seal_status_list(replace(USUAL_LIST, sequence=_ENDLESS), STATUS),
    "delta": lambda: seal_delta(replace(make_delta(USUAL_LIST, NEXT_LIST), sequence=_ENDLESS), STATUS),
    "trust": lambda: seal_trust(replace(USUAL_TRUST, version=_ENDLESS), ROOT),
    "policy": lambda: seal_policy(replace(USUAL_POLICY, version=_ENDLESS), POLICY),
    "roster": lambda: seal_roster(replace(USUAL_ROSTER, version=_ENDLESS), POLICY),
    "roster_delta": lambda: seal_roster_delta(
        replace(make_roster_delta(USUAL_ROSTER, NEXT_ROSTER), version=_ENDLESS), POLICY
    ),
    "event": lambda: encode_event(replace(GRANTED, seq=_ENDLESS)),
    "commands": lambda: encode_command_list(CommandList(_ENDLESS, ())),
    "reply": lambda: encode_reply(Reply(of=bytes(16), status=_ENDLESS, body=b"")),
    "versions": lambda: encode_versions(Versions(_ENDLESS, 0, {})),
    "health": lambda: encode_health(replace(USUAL_HEALTH, last=_ENDLESS)),
}


def _refusal(act: Callable[[], object]) -> tuple[WireReason, str]:
    with pytest.raises(WireError) as refused:
        act()
    return refused.value.reason, refused.value.field


def _read(name: str, claims: Value) -> object:
    """Read a message with other claims, signed as it should be."""
    return _read_bytes(name, encode(claims))


def _read_bytes(name: str, payload: bytes) -> object:
    found = FORMATS[name]
    return found.read(found.write(payload))


def _at(claims: Value, path: Path) -> tuple[dict[int | str, Value], int | str]:
    """The map or array that holds a member, and its key or place there."""
    for step in path[:-1]:
        claims = cast("dict[int | str, Value]", claims)[step]
    return cast("dict[int | str, Value]", claims), path[-1]


def _without(name: str, path: Path) -> Value:
    claims = FORMATS[name].claims
    around, place = _at(claims, path)
    around.pop(place)  # of an array too
    return claims


def _with(name: str, path: Path, value: Value) -> Value:
    claims = FORMATS[name].claims
    around, place = _at(claims, path)
    around[place] = value
    return claims


@pytest.mark.parametrize("name", FORMATS)
def test_message_is_read_before_anything_is_spoiled(name: str):
    _read(name, FORMATS[name].claims)


@pytest.mark.parametrize(("name", "path"), _MEMBERS)
def test_member_that_is_missing_is_named(name: str, path: Path):
    absent = FORMATS[name].members[path].absent
    if absent is not None:
        assert _refusal(lambda: _read(name, _without(name, path))) == (WireReason.MISSING_FIELD, absent)


@pytest.mark.parametrize(("name", "path"), _MEMBERS)
def test_member_that_breaks_its_rule_is_named(name: str, path: Path):
    member = FORMATS[name].members[path]
    for reason, values in member.wrong.items():
        for value in values:
            found = _refusal(lambda value=value: _read(name, _with(name, path, value)))  # type: ignore[misc]
            assert found == (reason, member.name), value


@pytest.mark.parametrize(("name", "path"), _MAPS)
def test_map_with_a_member_that_nobody_defined_is_named(name: str, path: Path):
    claims = _with(name, (*path, 99), None)
    assert _refusal(lambda: _read(name, claims)) == (WireReason.UNKNOWN_FIELD, FORMATS[name].maps[path])


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_cbor_or_of_another_type_is_named(name: str):
    found = FORMATS[name]
    assert _refusal(lambda: _read_bytes(name, b"\x1c")) == (WireReason.NOT_CBOR, found.whole)


@pytest.mark.parametrize("name", _LIMITS)
def test_message_of_no_or_too_many_bytes_is_named(name: str):
    read = FORMATS[name].read
    assert _refusal(lambda: read(b"")) == (WireReason.EMPTY, name)
    assert _refusal(lambda: read(bytes(_LIMITS[name] + 1))) == (WireReason.TOO_LARGE, name)
    assert _refusal(lambda: read(bytes(_LIMITS[name])))[0] is not WireReason.TOO_LARGE


@pytest.mark.parametrize("name", SIGNED)
def test_message_that_is_no_envelope_is_named(name: str):
    assert _refusal(lambda: FORMATS[name].read(b"\x00")) == (WireReason.WRONG_TYPE, name)


@pytest.mark.parametrize("name", _WRITTEN)
def test_what_cannot_be_encoded_is_named(name: str):
    assert _refusal(_WRITTEN[name]) == (WireReason.OUT_OF_RANGE, name)


def test_trust_file_that_cannot_be_encoded_is_named():
    pinned = PinnedTrust(ROOT.public_key, 1.5)  # type: ignore[arg-type]
    assert _refusal(lambda: encode_pinned(pinned)) == (WireReason.FORBIDDEN_TYPE, "pinned")


def test_every_message_has_a_limit_and_a_table():
    assert {*SIGNED, *PLAIN} == set(_LIMITS)


@pytest.mark.parametrize("name", _PAGES)
def test_members_are_called_as_the_page_shows_them(name: str):
    members = {path: member for path, member in FORMATS[name].members.items() if member.absent == member.name}
    deep = 2 if name == "policy" else 1  # its settings stand in the page, too
    named = {(path[-1], member.name.rpartition(".")[2]) for path, member in members.items() if len(path) <= deep}
    assert named
    shown = _shown(name)
    assert [each for each in named if not any(each[0] == key and each[1].startswith(word) for key, word in shown)] == []


def _shown(name: str) -> set[tuple[int, str]]:
    """Keys and names of members in the examples of a page, "iat, ms" as "iat"."""
    text = (FOLDER / f"{_PAGES[name]}.md").read_text()
    found = re.findall(r"/ ([^/]+) / (-?\d+):", text)
    return {(int(key), re.sub(r"[ -]", "_", shown.partition(",")[0]).lower()) for shown, key in found}
