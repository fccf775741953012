"""Vectors of the command, the claim code and the envelope."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    COMMAND,
    DOOR,
    FALSE,
    HOLDER,
    NULL,
    STRANGER,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
    header,
    mapping,
    num,
    octets,
    plain,
    refused,
    sign1,
    text,
)
from wire.codec import MAX_TIME_S
from wire.command import Command, seal_command
from wire.command_list import MAX_COMMAND_LIST_BYTES, CommandList, encode_command_list
from wire.envelope import to_be_signed
from wire.errors import WireReason
from wire.mqtt import MAX_BODY_BYTES, MAX_REPLY_BYTES, MAX_RETRY_S, Reply, encode_reply, parse_reply
from wire.names import Action, DoorId, DoorMode, ExternalAad

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import Signer

KEY: Final = {"key": cose_key(COMMAND.public_key).hex()}
USUAL: Final = Command(
    command_id=bytes(range(16)),
    target=DoorId(DOOR),
    action=Action.UNLOCK,
    issued_at_s=AT,
    expires_at_s=AT + 30,
    counter=9,
)

USUAL_MODE: Final = replace(USUAL, action=Action.MODE, mode=DoorMode.UNLOCKED, hold_s=7_200)


def _claims(changes: Entries | None = None) -> bytes:
    entries = {1: octets(USUAL.command_id), 2: text(DOOR), 3: num(1), 4: num(AT), 5: num(AT + 30), 6: num(9)}
    return mapping(entries, changes)


def _command(
    changes: Entries | None = None, *, signer: Signer = COMMAND, aad: ExternalAad = ExternalAad.COMMAND
) -> bytes:
    return sign1(header(COMMAND), _claims(changes), signer, aad)


def commands() -> dict[str, Json]:
    """command.json."""
    minute = replace(USUAL, expires_at_s=AT + 60)
    reset = replace(USUAL, action=Action.RESET_FIRE, expires_at_s=AT + 3600)
    plain_ones = [
        (name, replace(USUAL, action=action))
        for name, action in (
            ("release", Action.RELEASE),
            ("reboot", Action.REBOOT),
            ("refresh", Action.REFRESH),
            ("snapshot", Action.SNAPSHOT),
        )
    ]
    modes = [
        ("mode unlocked for two hours", USUAL_MODE),
        ("mode locked until the command ends", replace(USUAL_MODE, mode=DoorMode.LOCKED, hold_s=None)),
        ("mode blocked for twelve hours", replace(USUAL_MODE, mode=DoorMode.BLOCKED, hold_s=43_200)),
        ("mode that may come for an hour and lasts a second", replace(USUAL_MODE, expires_at_s=AT + 3600, hold_s=1)),
    ]
    exp = "command.exp"
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("unlock that holds for 61 s", {5: num(AT + 61)}, WireReason.OUT_OF_RANGE, exp),
        ("reset that holds for 3601 s", {3: num(2), 5: num(AT + 3601)}, WireReason.OUT_OF_RANGE, exp),
        ("exp equal to iat", {5: num(AT)}, WireReason.OUT_OF_RANGE, exp),
        ("exp before iat", {5: num(AT - 1)}, WireReason.OUT_OF_RANGE, exp),
        ("exp beyond the latest moment", {4: num(MAX_TIME_S), 5: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, exp),
        ("id of 15 bytes", {1: octets(bytes(15))}, WireReason.OUT_OF_RANGE, "command.id"),
        ("id of 17 bytes", {1: octets(bytes(17))}, WireReason.OUT_OF_RANGE, "command.id"),
        ("target in upper case", {2: text("Main")}, WireReason.WRONG_ALPHABET, "command.target"),
        ("target of 33 characters", {2: text("d" * 33)}, WireReason.OUT_OF_RANGE, "command.target"),
        ("action 0", {3: num(0)}, WireReason.UNKNOWN_VALUE, "command.action"),
        ("action 8", {3: num(8)}, WireReason.UNKNOWN_VALUE, "command.action"),
        ("action true", {3: TRUE}, WireReason.WRONG_TYPE, "command.action"),
        ("counter negative", {6: num(-1)}, WireReason.OUT_OF_RANGE, "command.counter"),
        ("counter missing", {6: None}, WireReason.MISSING_FIELD, "command.counter"),
        ("member added", {9: NULL}, WireReason.UNKNOWN_FIELD, "command"),
        ("unlock with a mode", {7: num(1)}, WireReason.UNKNOWN_FIELD, "command"),
        ("unlock with a hold", {8: num(60)}, WireReason.UNKNOWN_FIELD, "command"),
        ("release with a mode", {3: num(4), 7: num(1)}, WireReason.UNKNOWN_FIELD, "command"),
        ("mode of none", {3: num(3)}, WireReason.MISSING_FIELD, "command.mode"),
        ("mode of none with a hold", {3: num(3), 8: num(60)}, WireReason.MISSING_FIELD, "command.mode"),
        ("mode locked down", {3: num(3), 7: num(3)}, WireReason.UNKNOWN_VALUE, "command.mode"),
        ("mode 4", {3: num(3), 7: num(4)}, WireReason.UNKNOWN_VALUE, "command.mode"),
        ("mode false", {3: num(3), 7: FALSE}, WireReason.WRONG_TYPE, "command.mode"),
        ("hold of nothing", {3: num(3), 7: num(1), 8: num(0)}, WireReason.OUT_OF_RANGE, "command.hold"),
        ("hold of 43201 s", {3: num(3), 7: num(1), 8: num(43_201)}, WireReason.OUT_OF_RANGE, "command.hold"),
        ("hold of null", {3: num(3), 7: num(1), 8: NULL}, WireReason.WRONG_TYPE, "command.hold"),
        ("mode that holds for 3601 s", {3: num(3), 5: num(AT + 3601), 7: num(1)}, WireReason.OUT_OF_RANGE, exp),
    ]
    good = seal_command(USUAL, COMMAND)
    as_pass = _command(aad=ExternalAad.PASS)
    vectors = [
        accepted("unlock for 30 s", good, plain(USUAL), **KEY),
        accepted("unlock that holds for 60 s", seal_command(minute, COMMAND), plain(minute), **KEY),
        accepted("reset that holds for 3600 s", seal_command(reset, COMMAND), plain(reset), **KEY),
        *(accepted(name, seal_command(each, COMMAND), plain(each), **KEY) for name, each in (*modes, *plain_ones)),
        *(refused(name, _command(changes), reason, field, **KEY) for name, changes, reason, field in faults),
        refused("signed by a stranger", _command(signer=STRANGER), WireReason.SIGNATURE_INVALID, "command", **KEY),
        refused("signed as a pass", as_pass, WireReason.SIGNATURE_INVALID, "command", **KEY),
        refused("last bit flipped", good[:-1] + bytes((good[-1] ^ 1,)), WireReason.SIGNATURE_INVALID, "command", **KEY),
        refused("513 bytes", good + bytes(513 - len(good)), WireReason.TOO_LARGE, "command", **KEY),
    ]
    return collection("Commands, read under the tenant's command key.", "docs/spec/command.md", vectors)


def command_lists() -> dict[str, Json]:
    """command-list.json."""
    sealed = seal_command(USUAL, COMMAND)
    usual, empty = CommandList(9, (sealed,)), CommandList(0, ())
    full = CommandList(16, (bytes(512),) * 16)
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("17 commands", {2: array(*[octets(b"x")] * 17)}, WireReason.OUT_OF_RANGE, "commands.list"),
        ("command of 513 bytes", {2: array(octets(bytes(513)))}, WireReason.OUT_OF_RANGE, "commands.item"),
        ("command that is empty", {2: array(octets(b""))}, WireReason.OUT_OF_RANGE, "commands.item"),
        ("command as text", {2: array(text("x"))}, WireReason.WRONG_TYPE, "commands.item"),
        ("list as a command", {2: octets(sealed)}, WireReason.WRONG_TYPE, "commands.list"),
        ("last negative", {1: num(-1)}, WireReason.OUT_OF_RANGE, "commands.last"),
        ("last missing", {1: None}, WireReason.MISSING_FIELD, "commands.last"),
        ("member added", {3: NULL}, WireReason.UNKNOWN_FIELD, "commands"),
    ]
    entries: dict[int, bytes] = {1: num(9), 2: array(octets(sealed))}
    vectors = [
        *(
            accepted(name, encode_command_list(found), plain(found))
            for name, found in (("one command", usual), ("none", empty), ("sixteen of 512 bytes", full))
        ),
        *(refused(name, mapping(entries, changes), reason, field) for name, changes, reason, field in faults),
        refused("nothing", b"", WireReason.EMPTY, "commands"),
        refused("too long", bytes(MAX_COMMAND_LIST_BYTES + 1), WireReason.TOO_LARGE, "commands"),
    ]
    return collection("Lists of commands, as a door fetches them.", "docs/spec/command.md", vectors)


def envelopes() -> dict[str, Json]:
    """envelope.json."""
    payload = b"payload"
    good = sign1(header(COMMAND), payload, COMMAND, ExternalAad.COMMAND)
    protected, signature = header(COMMAND), good[-64:]

    def build(*parts: bytes) -> bytes:
        return b"\xd2" + array(*parts)

    p, s = octets(protected), octets(signature)
    body = octets(payload)
    empty = b"\xa0"
    faults = [
        ("array of three", build(p, empty, body), WireReason.WRONG_TYPE, "message"),
        ("array of five", build(p, empty, body, s, s), WireReason.WRONG_TYPE, "message"),
        ("not tagged", array(p, empty, body, s), WireReason.WRONG_TYPE, "message"),
        ("tagged twice", b"\xd2" + good, WireReason.WRONG_TYPE, "message"),
        ("tag 98 (COSE_Sign)", b"\xd8\x62" + good[1:], WireReason.WRONG_TYPE, "message"),
        (
            "unprotected header",
            build(p, mapping({1: num(0)}), body, s),
            WireReason.UNKNOWN_FIELD,
            "message.unprotected",
        ),
        ("unprotected header null", build(p, NULL, body, s), WireReason.UNKNOWN_FIELD, "message.unprotected"),
        (
            "unprotected header an empty array",
            build(p, array(), body, s),
            WireReason.UNKNOWN_FIELD,
            "message.unprotected",
        ),
        ("protected header empty", build(octets(b""), empty, body, s), WireReason.OUT_OF_RANGE, "message.protected"),
        ("protected header not wrapped", build(protected, empty, body, s), WireReason.WRONG_TYPE, "message.protected"),
        ("payload detached", build(p, empty, NULL, s), WireReason.WRONG_TYPE, "message.payload"),
        ("payload empty", build(p, empty, octets(b""), s), WireReason.OUT_OF_RANGE, "message.payload"),
        (
            "signature of 63 bytes",
            build(p, empty, body, octets(signature[:63])),
            WireReason.OUT_OF_RANGE,
            "message.signature",
        ),
        (
            "signature of 65 bytes",
            build(p, empty, body, octets(signature + b"\0")),
            WireReason.OUT_OF_RANGE,
            "message.signature",
        ),
        ("signature as text", build(p, empty, body, text("s" * 64)), WireReason.WRONG_TYPE, "message.signature"),
        (
            "length in more bytes than needed",
            build(p, empty, octets(payload, extra_bytes=1), s),
            WireReason.NOT_CANONICAL,
            "message",
        ),
        (
            "payload of indefinite length",
            build(p, empty, b"\x5f" + body + b"\xff", s),
            WireReason.NOT_CANONICAL,
            "message",
        ),
        (
            "payload that claims 2^64 - 1 bytes",
            build(p, empty, b"\x5b" + b"\xff" * 8, s),
            WireReason.NOT_CBOR,
            "message",
        ),
        ("only tag and array", good[:2], WireReason.NOT_CBOR, "message"),
        ("only a header", good[: 2 + len(p)], WireReason.UNKNOWN_FIELD, "message.unprotected"),
        ("cut by one byte", good[:-1], WireReason.NOT_CBOR, "message"),
        ("cut inside a length", good[:-65], WireReason.NOT_CBOR, "message"),
        ("one byte after it", good + b"\x00", WireReason.NOT_CANONICAL, "message"),
        ("empty", b"", WireReason.EMPTY, "message"),
    ]
    vectors = [
        accepted("signed", good, _envelope(protected, payload, signature), **KEY),
        *(refused(name, data, reason, field, **KEY) for name, data, reason, field in faults),
        *_header_faults(payload),
    ]
    return collection(
        "The envelope of every message: COSE_Sign1, read and checked under context.key as a command.",
        "docs/spec/index.md; RFC 9052 §4.2 and §4.4",
        vectors,
    )


def _envelope(protected: bytes, payload: bytes, signature: bytes) -> Json:
    return {
        "protected": protected.hex(),
        "payload": payload.hex(),
        "signature": signature.hex(),
        "signed": to_be_signed(protected, payload, ExternalAad.COMMAND).hex(),
    }


def _header_faults(payload: bytes) -> list[Case]:
    kid = octets(COMMAND.public_key.key_id)
    alg = num(-19)
    headers = [
        ("no alg", mapping({4: kid}), WireReason.MISSING_FIELD, "message.alg"),
        ("no kid", mapping({1: alg}), WireReason.MISSING_FIELD, "message.kid"),
        ("critical header", mapping({1: alg, 2: array(num(4)), 4: kid}), WireReason.UNKNOWN_FIELD, "message"),
        ("content type", mapping({1: alg, 3: num(61), 4: kid}), WireReason.UNKNOWN_FIELD, "message"),
        ("alg EdDSA (-8)", mapping({1: num(-8), 4: kid}), WireReason.UNKNOWN_ALGORITHM, "message.alg"),
        ("alg ES256 (-7)", mapping({1: num(-7), 4: kid}), WireReason.UNKNOWN_ALGORITHM, "message.alg"),
        ("alg HMAC (5)", mapping({1: num(5), 4: kid}), WireReason.UNKNOWN_ALGORITHM, "message.alg"),
        ("alg of the other kind of key", mapping({1: num(-9), 4: kid}), WireReason.ALGORITHM_MISMATCH, "message.alg"),
        ("kid of 3 bytes", mapping({1: alg, 4: octets(bytes(3))}), WireReason.OUT_OF_RANGE, "message.kid"),
        ("kid of 5 bytes", mapping({1: alg, 4: octets(bytes(5))}), WireReason.OUT_OF_RANGE, "message.kid"),
        ("kid as text", mapping({1: alg, 4: text("abcd")}), WireReason.WRONG_TYPE, "message.kid"),
        (
            "kid of another key",
            mapping({1: alg, 4: octets(HOLDER.public_key.key_id)}),
            WireReason.KEY_INVALID,
            "message.kid",
        ),
        ("header beyond 64 bytes", mapping({1: alg, 4: octets(bytes(64))}), WireReason.TOO_LARGE, "message"),
        ("header not a map", array(alg, kid), WireReason.WRONG_TYPE, "message"),
    ]
    return [
        refused(name, sign1(protected, payload, COMMAND, ExternalAad.COMMAND), reason, field, **KEY)
        for name, protected, reason, field in headers
    ]


def claim_codes() -> dict[str, Json]:
    """claim-code.json."""
    code = "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV-WXYZ"
    expect: Json = {"secret": "00443214c74254b635cf", "ca_fingerprint": "84653a56d7c675be77df", "code": code}
    wide: Json = {"secret": "ff" * 10, "ca_fingerprint": "ff" * 10, "code": "-".join(["ZZZZ"] * 8)}
    read = {
        "as printed": code,
        "in lower case": code.lower(),
        "without hyphens": code.replace("-", ""),
        "with spaces": code.replace("-", " "),
        "O for 0, I and L for 1": "OI23-4567-89AB-CDEF-GHJK-MNPQ-RSTV-WXYZ",
        "o and l in lower case": "ol23-4567-89ab-cdef-ghjk-mnpq-rstv-wxyz",
    }
    faults = [
        ("empty", "", WireReason.OUT_OF_RANGE),
        ("31 characters", code[:-1], WireReason.OUT_OF_RANGE),
        ("33 characters", code + "0", WireReason.OUT_OF_RANGE),
        ("the letter U", code.replace("V", "U"), WireReason.WRONG_ALPHABET),
        ("a full stop", code.replace("-", ".")[:32], WireReason.WRONG_ALPHABET),
        ("a letter that becomes S in upper case", code.replace("S", "\u017f"), WireReason.WRONG_ALPHABET),
        ("a letter that becomes SS in upper case", code.replace("S", "\u00df")[:-1], WireReason.WRONG_ALPHABET),
        ("digits of another script", code.replace("1", "\u0661"), WireReason.WRONG_ALPHABET),
        ("129 characters, mostly hyphens", code + "-" * 90, WireReason.TOO_LARGE),
    ]
    accepted_codes: list[Case] = [{"name": name, "text": text, "expect": expect} for name, text in read.items()]
    vectors: list[Case] = [
        *accepted_codes,
        {"name": "all ones", "text": "-".join(["ZZZZ"] * 8), "expect": wide},
        {"name": "128 characters, mostly hyphens, in bounds", "text": code + "-" * 89, "expect": expect},
        *(_unreadable(name, text, reason) for name, text, reason in faults),
    ]
    return collection(
        "Claim codes: a device's one-time secret and the fingerprint of the authority it must find.",
        "docs/spec/sync.md; alphabet and aliases: Crockford's base32",
        vectors,
    )


def _unreadable(name: str, code: str, reason: WireReason) -> Case:
    return {"name": name, "text": code, "expect_error": {"reason": reason.value, "field": "claim_code"}}


def mqtt_replies() -> dict[str, Json]:
    """mqtt-reply.json."""
    name = bytes(range(16))
    usual: Entries = {1: octets(name), 2: num(200), 3: octets(b"\x01\x02"), 4: num(0)}
    busy = Reply(of=name, status=503, body=b'{"reason":"INGEST_BUSY"}', retry_after_s=5)
    longest = Reply(of=name, status=599, body=bytes(MAX_BODY_BYTES), retry_after_s=MAX_RETRY_S)
    good = {"acknowledged": parse_reply(mapping(usual)), "busy": busy, "longest": longest}
    long_body, long_pause = octets(bytes(MAX_BODY_BYTES + 1)), num(MAX_RETRY_S + 1)
    faults = [
        ("another length of hash", mapping(usual, {1: octets(name[:15])}), WireReason.OUT_OF_RANGE, "reply.of"),
        ("status 199", mapping(usual, {2: num(199)}), WireReason.OUT_OF_RANGE, "reply.status"),
        ("status 600", mapping(usual, {2: num(600)}), WireReason.OUT_OF_RANGE, "reply.status"),
        (
            "body too long",
            mapping(usual, {3: long_body}),
            WireReason.OUT_OF_RANGE,
            "reply.body",
        ),
        ("body is text", mapping(usual, {3: text("no")}), WireReason.WRONG_TYPE, "reply.body"),
        (
            "away for longer than a day",
            mapping(usual, {4: long_pause}),
            WireReason.OUT_OF_RANGE,
            "reply.retry_after",
        ),
        ("no body", mapping(usual, {3: None}), WireReason.MISSING_FIELD, "reply.body"),
        ("one member more", mapping(usual, {5: num(0)}), WireReason.UNKNOWN_FIELD, "reply"),
        ("too large", bytes(MAX_REPLY_BYTES + 1), WireReason.TOO_LARGE, "reply"),
        ("empty", b"", WireReason.EMPTY, "reply"),
    ]
    vectors: list[Case] = [accepted(case, encode_reply(reply), plain(reply)) for case, reply in good.items()]
    vectors += [refused(case, data, reason, field) for case, data, reason, field in faults]
    return collection("What the cloud answers to a batch over MQTT.", "docs/spec/mqtt.md", vectors)
