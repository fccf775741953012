"""Each message, what takes it apart, puts it together again and reads it: for tests that spoil one member at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts import presentations
from tests.vectors.parts.events import DEVICE_ID, EPOCH, GRANTED, USUAL_ACK
from tests.vectors.parts.kit import (
    ACKNOWLEDGEMENT,
    AT,
    COMMAND,
    DEVICE,
    DOOR,
    HOLDER,
    PASS,
    POLICY,
    ROOT,
    SITE,
    STATUS,
    ed25519,
    sign1,
)
from tests.vectors.parts.messages import USUAL_MODE
from tests.vectors.parts.passes import USUAL as USUAL_PASS
from tests.vectors.parts.policies import USUAL as USUAL_POLICY
from tests.vectors.parts.reports import USUAL_HEALTH
from tests.vectors.parts.rosters import NEXT as NEXT_ROSTER
from tests.vectors.parts.rosters import USUAL as USUAL_ROSTER
from tests.vectors.parts.status import NEXT as NEXT_LIST
from tests.vectors.parts.status import USUAL as USUAL_LIST
from tests.vectors.parts.trusts import USUAL as USUAL_TRUST
from tests.wire import members
from tests.wire.members import Members, Path, header
from wire.batch import open_acknowledgement, open_batch, seal_acknowledgement, seal_batch
from wire.codec import Value, decode
from wire.command import open_command, seal_command
from wire.command_list import CommandList, encode_command_list, parse_command_list
from wire.envelope import parse_envelope, seal
from wire.event import encode_event
from wire.health import encode_health, parse_health
from wire.mqtt import Reply, encode_reply, parse_reply
from wire.names import ExternalAad
from wire.passes import parse_pass, seal_pass
from wire.policy import open_policy, seal_policy
from wire.presentation import parse_presented, seal_presentation
from wire.roster import open_roster, seal_roster
from wire.roster_delta import make_roster_delta, open_roster_delta, seal_roster_delta
from wire.status_delta import make_delta, open_delta, seal_delta
from wire.status_list import open_status_list, seal_status_list
from wire.trust import (
    PinnedTrust,
    encode_pinned,
    open_root_change,
    open_trust,
    parse_pinned,
    seal_root_change,
    seal_trust,
)
from wire.versions import Versions, encode_versions, parse_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wire.keys import Signer

_NEW_ROOT: Final = ed25519("new root")


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a payload or protected header is taken apart, put into a message again and read.

    Attributes:
        good: one that is read.
        write: puts one into a message, truly signed.
        read: opens a message.
        members: by their paths.
        maps: what errors call each closed map, by its path.
        whole: what errors call something that is no CBOR.
    """

    good: bytes
    write: Callable[[bytes], bytes]
    read: Callable[[bytes], object]
    members: Members
    maps: Mapping[Path, str]
    whole: str

    @property
    def claims(self) -> Value:
        """What `good` says, decoded anew: whoever asks may change it."""
        return decode(self.good, field="claims", max_bytes=len(self.good))


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A signed message, to be taken apart into its payload and its protected header.

    Attributes:
        header: the members of its protected header, where it is not the plain one.
        maps, whole, whole_header: as of `Format`, where not the name of the message.
    """

    message: bytes
    signer: Signer
    aad: ExternalAad
    read: Callable[[bytes], object]
    members: Members
    header: Members = field(default_factory=dict)
    maps: Mapping[Path, str] = field(default_factory=dict)
    whole: str = ""
    whole_header: str = ""

    def formats(self, name: str) -> dict[str, Format]:
        """The payload and the header, each with the other as it was."""
        parts = parse_envelope(self.message, field=name, max_bytes=len(self.message))
        return {
            name: Format(
                good=parts.payload,
                write=lambda payload: sign1(parts.protected, payload, self.signer, self.aad),
                read=self.read,
                members=self.members,
                maps={(): name, **self.maps},
                whole=self.whole or name,
            ),
            f"{name} header": Format(
                good=parts.protected,
                write=lambda protected: sign1(protected, parts.payload, self.signer, self.aad),
                read=self.read,
                members=self.header or header(name),
                maps={(): name},
                whole=self.whole_header or name,
            ),
        }


SIGNED: Final = {
    "batch": Signed(
        message=seal_batch(device=DEVICE_ID, epoch=EPOCH, first=1, events=[encode_event(GRANTED)], signer=DEVICE),
        signer=DEVICE,
        aad=ExternalAad.BATCH,
        read=lambda data: open_batch(data, DEVICE.public_key),
        members=members.BATCH,
    ),
    "acknowledgement": Signed(
        message=seal_acknowledgement(USUAL_ACK, ACKNOWLEDGEMENT),
        signer=ACKNOWLEDGEMENT,
        aad=ExternalAad.ACKNOWLEDGEMENT,
        read=lambda data: open_acknowledgement(data, ACKNOWLEDGEMENT.public_key),
        members=members.ACKNOWLEDGEMENT,
    ),
    "command": Signed(
        message=seal_command(USUAL_MODE, COMMAND),
        signer=COMMAND,
        aad=ExternalAad.COMMAND,
        read=lambda data: open_command(data, COMMAND.public_key),
        members=members.COMMAND,
    ),
    "pass": Signed(
        message=seal_pass(replace(USUAL_PASS, not_before_s=AT), PASS),
        signer=PASS,
        aad=ExternalAad.PASS,
        read=parse_pass,
        members=members.PASS,
        header=header("pass", foreign=False),
        maps={(8,): "pass.cnf", (8, 1): "pass.cnf.key"},
        whole="pass.claims",
        whole_header="pass",
    ),
    "presentation": Signed(
        message=seal_presentation(
            presentations.USUAL_PASS, HOLDER, issued_at_s=AT, audience=f"{SITE}/{DOOR}", nonce=presentations.NONCE
        ),
        signer=HOLDER,
        aad=ExternalAad.PRESENTATION,
        read=parse_presented,
        members=members.PRESENTATION,
        header=members.PRESENTATION_HEADER,
        whole_header="presentation.protected",
    ),
    "status": Signed(
        message=seal_status_list(USUAL_LIST, STATUS),
        signer=STATUS,
        aad=ExternalAad.STATUS_LIST,
        read=lambda data: open_status_list(data, STATUS.public_key),
        members=members.STATUS,
        header=members.STATUS_HEADER,
    ),
    "delta": Signed(
        message=seal_delta(make_delta(USUAL_LIST, NEXT_LIST), STATUS),
        signer=STATUS,
        aad=ExternalAad.STATUS_DELTA,
        read=lambda data: open_delta(data, STATUS.public_key),
        members=members.DELTA,
    ),
    "trust": Signed(
        message=seal_trust(USUAL_TRUST, ROOT),
        signer=ROOT,
        aad=ExternalAad.TRUST,
        read=lambda data: open_trust(data, ROOT.public_key),
        members=members.TRUST,
        maps={(4, 5, 1): "trust.keys.key"},
    ),
    "policy": Signed(
        message=seal_policy(USUAL_POLICY, POLICY),
        signer=POLICY,
        aad=ExternalAad.POLICY,
        read=lambda data: open_policy(data, POLICY.public_key),
        members=members.POLICY,
        maps={(6,): "policy.settings"},
    ),
    "roster": Signed(
        message=seal_roster(USUAL_ROSTER, POLICY),
        signer=POLICY,
        aad=ExternalAad.ROSTER,
        read=lambda data: open_roster(data, POLICY.public_key),
        members=members.ROSTER,
    ),
    "roster_delta": Signed(
        message=seal_roster_delta(make_roster_delta(USUAL_ROSTER, NEXT_ROSTER), POLICY),
        signer=POLICY,
        aad=ExternalAad.ROSTER_DELTA,
        read=lambda data: open_roster_delta(data, POLICY.public_key),
        members=members.ROSTER_DELTA,
    ),
}
_ROOT_CHANGE: Final = seal_root_change(_NEW_ROOT, ROOT)
_OLD: Final = parse_envelope(_ROOT_CHANGE, field="root_change", max_bytes=1024).payload


def _plain(name: str, message: bytes, read: Callable[[bytes], object], names: Members) -> Format:
    """A message that nobody signs."""
    return Format(good=message, write=bytes, read=read, members=names, maps={(): name}, whole=name)


PLAIN: Final = {
    "commands": _plain(
        "commands",
        encode_command_list(CommandList(9, (SIGNED["command"].message,))),
        parse_command_list,
        members.COMMANDS,
    ),
    "reply": _plain("reply", encode_reply(Reply(of=bytes(16), status=200, body=b"")), parse_reply, members.REPLY),
    "versions": _plain("versions", encode_versions(Versions(1, 1, {0: 1}, 1, 1)), parse_versions, members.VERSIONS),
    "health": replace(
        _plain("health", encode_health(USUAL_HEALTH), parse_health, members.HEALTH),
        maps={(): "health", (11,): "versions"},
    ),
    "pinned": replace(
        _plain(
            "pinned",
            encode_pinned(PinnedTrust(ROOT.public_key, SIGNED["trust"].message)),
            lambda data: parse_pinned(data).open(),
            members.PINNED,
        ),
        maps={(0,): "pinned.root"},
    ),
}
_OLD_ROOT: Final = Signed(
    message=_OLD,
    signer=ROOT,
    aad=ExternalAad.ROOT_CHANGE,
    read=lambda data: open_root_change(seal(data, _NEW_ROOT, ExternalAad.ROOT_CHANGE), ROOT.public_key),
    members=members.key("root_change.key", (), sign=False),
    maps={(): "root_change.key"},
    whole="root_change",
)
_BOTH_ROOTS: Final = Signed(
    message=_ROOT_CHANGE,
    signer=_NEW_ROOT,
    aad=ExternalAad.ROOT_CHANGE,
    read=lambda data: open_root_change(data, ROOT.public_key),
    members={},
)
FORMATS: Final[Mapping[str, Format]] = {
    **{part: found for name, message in SIGNED.items() for part, found in message.formats(name).items()},
    **PLAIN,
    **_OLD_ROOT.formats("root_change.old"),
    "root_change.new header": _BOTH_ROOTS.formats("root_change.new")["root_change.new header"],
}
"""Payloads by the name of their message, and its protected header beside each."""
