"""How each file of vectors is read: one function a file, from a case to what a reader of our formats sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import cbor2

from tests.vectors.parts.kit import Case, Json, plain
from tests.vectors.parts.rosters import read as read_roster
from wire.batch import open_acknowledgement, open_batch
from wire.codec import Value, decode
from wire.command import open_command
from wire.command_list import parse_command_list
from wire.envelope import check_signed_by, parse_envelope, to_be_signed
from wire.event import chain_hash, parse_event
from wire.health import parse_health
from wire.keys import PublicKey, parse_key
from wire.messages import decode_claim_code, encode_claim_code
from wire.mqtt import parse_reply
from wire.names import ExternalAad
from wire.passes import parse_pass
from wire.policy import open_policy, refuse_lockout
from wire.presentation import RotatingPresentation, parse_presented
from wire.roster import identifier_key, open_roster, pin_verifier
from wire.roster_delta import apply_roster_delta, open_roster_delta
from wire.status_delta import apply_delta, open_delta
from wire.status_list import open_status_list
from wire.text import MAX_TEXT_BYTES, from_text, to_text
from wire.trust import advance_trust, open_root_change, open_trust, parse_pinned
from wire.versions import parse_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def octets(case: Case) -> bytes:
    """The bytes of a case."""
    return bytes.fromhex(str(case["input"]))


def context(case: Case) -> dict[str, str]:
    """What else the case gives."""
    return cast("dict[str, str]", case.get("context", {}))


def key(case: Case, name: str = "key") -> PublicKey:
    """A key of the context."""
    return parse_key(decode(bytes.fromhex(context(case)[name]), field="key", max_bytes=128), "key")


def _text(case: Case) -> Json:
    return {"data": from_text(str(case["text"]).encode("latin-1")).hex()}


def _cbor(case: Case) -> Json:
    return diagnostic(decode(octets(case), field="cbor", max_bytes=1024))


def diagnostic(value: Value) -> Json:
    """Write a decoded item for JSON without losing its type."""
    if isinstance(value, cbor2.CBORTag):
        return {"tag": value.tag, "value": diagnostic(cast("Value", value.value))}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [diagnostic(item) for item in value]
    if isinstance(value, dict):
        return {"map": [[entry, diagnostic(item)] for entry, item in value.items()]}
    return value


def _key(case: Case) -> Json:
    found = parse_key(decode(octets(case), field="key", max_bytes=128), "key")
    return {"algorithm": found.algorithm.name, "point": found.point.hex(), "key_id": found.key_id.hex()}


def _signature(case: Case) -> Json:
    key(case).verify(octets(case), bytes.fromhex(context(case)["message"]), field="signature")
    return {"valid": True}


def _envelope(case: Case) -> Json:
    found = parse_envelope(octets(case), field="message", max_bytes=512)
    check_signed_by(found, key(case), ExternalAad.COMMAND, "message")
    signed = to_be_signed(found.protected, found.payload, ExternalAad.COMMAND)
    return {**cast("dict[str, Json]", plain(found)), "signed": signed.hex()}


def _pass(case: Case) -> Json:
    found = parse_pass(octets(case))
    if "issuer_key" in context(case):
        found.verify_issuer(key(case, "issuer_key"))
    return plain(found.unverified)


def _presentation(case: Case) -> Json:
    data = octets(case)
    found = parse_presented(data)
    issuer = key(case, "issuer_key") if context(case) else None
    if not isinstance(found, RotatingPresentation):
        if issuer is not None:
            found.verify_issuer(issuer)
        return {"pass": plain(found.unverified)}
    if issuer is not None:
        holder = found.signed_pass.verify_issuer(issuer).holder_key
        assert holder is not None
        found.verify_holder(holder)
    return {
        "pass": plain(found.signed_pass.unverified),
        "algorithm": found.algorithm.name.lower(),
        "issued_at_s": found.issued_at_s,
        "audience": found.audience,
        "nonce": plain(found.nonce),
        "replay_key": found.replay_key.hex(),
        **({"text": to_text(data).decode("ascii")} if len(data) <= MAX_TEXT_BYTES else {}),
    }


def _status_list(case: Case) -> Json:
    found = open_status_list(octets(case), key(case))
    read = cast("dict[str, Json]", plain(found))
    if "revoked" in cast("dict[str, Json]", case.get("expect", {})):
        read["revoked"] = [index for index in range(16) if found.is_set(index)]
    return read


def _status_delta(case: Case) -> Json:
    found = open_delta(octets(case), key(case))
    if "status_list" not in context(case):
        return {"delta": plain(found)}
    current = open_status_list(bytes.fromhex(context(case)["status_list"]), key(case))
    return {"delta": plain(found), "list": plain(apply_delta(current, found))}


def _trust(case: Case) -> Json:
    root = key(case, "root")
    current = context(case).get("current")
    return plain(advance_trust(open_trust(bytes.fromhex(current), root) if current else None, octets(case), root))


def _trust_file(case: Case) -> Json:
    found = parse_pinned(octets(case))
    return {"root": plain(found.root), "bundle": plain(found.open())}


def _lockout(case: Case) -> Json:
    held = context(case).get("held")
    bundle = open_policy(octets(case), key(case))
    refuse_lockout(bundle, open_policy(bytes.fromhex(held), key(case)) if held else None)
    return {"version": bundle.version}


def _roster_delta(case: Case) -> Json:
    found = open_roster_delta(octets(case), key(case))
    if "roster" not in context(case):
        return {"delta": plain(found)}
    current = open_roster(bytes.fromhex(context(case)["roster"]), key(case))
    return {"delta": plain(found), "roster": plain(apply_roster_delta(current, found))}


def _identifier_key(case: Case) -> Json:
    pepper, form = bytes.fromhex(context(case)["pepper"]), int(context(case)["form"])
    return identifier_key(pepper, form, octets(case)).hex()


def _pin_verifier(case: Case) -> Json:
    return pin_verifier(octets(case).decode(), bytes.fromhex(context(case)["salt"])).hex()


def _event(case: Case) -> Json:
    return {"event": plain(parse_event(octets(case))), "hash": chain_hash(octets(case)).hex()}


def _claim_code(case: Case) -> Json:
    secret, fingerprint = decode_claim_code(str(case["text"]))
    code = encode_claim_code(secret=secret, ca_fingerprint=fingerprint)
    return {"secret": secret.hex(), "ca_fingerprint": fingerprint.hex(), "code": code}


READERS: Final[Mapping[str, Callable[[Case], Json]]] = {
    "text": _text,
    "cbor": _cbor,
    "key": _key,
    "signature": _signature,
    "envelope": _envelope,
    "pass": _pass,
    "presentation": _presentation,
    "status-list": _status_list,
    "status-delta": _status_delta,
    "trust": _trust,
    "trust-file": _trust_file,
    "root-change": lambda case: {"root": plain(open_root_change(octets(case), key(case, "root")))},
    "policy": lambda case: plain(open_policy(octets(case), key(case))),
    "lockout": _lockout,
    "roster": lambda case: read_roster(open_roster(octets(case), key(case))),
    "roster-delta": _roster_delta,
    "identifier-key": _identifier_key,
    "pin-verifier": _pin_verifier,
    "event": _event,
    "batch": lambda case: plain(open_batch(octets(case), key(case))),
    "acknowledgement": lambda case: plain(open_acknowledgement(octets(case), key(case))),
    "command": lambda case: plain(open_command(octets(case), key(case))),
    "mqtt-reply": lambda case: plain(parse_reply(octets(case))),
    "versions": lambda case: plain(parse_versions(octets(case))),
    "health": lambda case: plain(parse_health(octets(case))),
    "command-list": lambda case: plain(parse_command_list(octets(case))),
    "claim-code": _claim_code,
}
"""All but verify.json, which tests/wire/test_verify_vectors.py puts to the door's own steps."""
