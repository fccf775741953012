"""Vectors of whole verifications, as `doorward pass verify` and a door's steps 1 to 8 give them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    DAY_S,
    HOLDER,
    HOLDER_ED,
    PASS,
    ROOT,
    SITE,
    STATUS,
    STRANGER,
    TENANT,
    THIEF,
    collection,
    header,
    mapping,
    num,
    pairs,
    sign1,
)
from tests.vectors.parts.passes import PRINTED, USUAL, raw_claims, raw_pass
from tests.vectors.parts.presentations import NONCE, payload, raw
from tests.vectors.parts.presentations import header as presentation_header
from tests.vectors.parts.status import token as status_token
from wire.codec import MAX_TIME_S
from wire.envelope import parse_envelope
from wire.names import Assurance, ExternalAad, KeyPurpose, PassKind, Reason, Step, Tenant
from wire.passes import make_pass_id, seal_pass
from wire.presentation import seal_presentation
from wire.status_list import StatusList
from wire.text import MAX_TEXT_CHARACTERS, to_text
from wire.trust import PinnedTrust, TrustBundle, TrustedKey, encode_pinned, seal_trust

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Json
    from wire.keys import Signer
    from wire.passes import Pass

REVOKED_INDEX: Final = 5
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEY_STARTS: Final = AT - 30 * DAY_S
KEY_ENDS: Final = AT + 30 * DAY_S
TRUST: Final = TrustBundle(
    tenant=Tenant(TENANT),
    version=12,
    issued_at_s=KEY_STARTS,
    keys=tuple(
        TrustedKey(key=signer.public_key, purpose=purpose, not_before_s=KEY_STARTS, expires_at_s=KEY_ENDS)
        for signer, purpose in ((PASS, KeyPurpose.PASS), (STATUS, KeyPurpose.STATUS))
    ),
)
LIST: Final = StatusList(
    tenant=TENANT,
    list_id=0,
    sequence=41,
    issued_at_s=AT - 600,
    expires_at_s=AT + 7 * DAY_S,
    ttl_s=300,
    bits=bytes((1 << REVOKED_INDEX,)) + bytes(15),
)


def _file(bundle: TrustBundle = TRUST) -> bytes:
    return encode_pinned(PinnedTrust(ROOT.public_key, seal_trust(bundle, ROOT)))


_TRUST_FILE: Final = _file()
_LIST_TOKEN: Final = status_token(LIST)


def _shown(
    claims: Pass = USUAL, *, at: int = AT, signer: Signer = HOLDER, issuer: Signer = PASS, audience: str = SITE
) -> bytes:
    return to_text(seal_presentation(seal_pass(claims, issuer), signer, issued_at_s=at, audience=audience))


def _case(
    name: str, token: bytes, expect: Json, *, at: int = AT, trust: bytes = _TRUST_FILE, status: StatusList | None = LIST
) -> Case:
    token_of_list = _LIST_TOKEN if status is LIST else status and status_token(status)
    return {
        "name": name,
        "trust": trust.hex(),
        "statuses": [token_of_list.hex()] if token_of_list else [],
        "at": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "audience": SITE,
        "token": token.decode("latin-1"),
        "expect": expect,
    }


def _granted(claims: Pass = USUAL) -> Json:
    assurance = Assurance.PRINTED if claims.holder_key is None else Assurance.ROTATING
    return {
        "granted": True,
        "step": None,
        "reason": None,
        "pass_id": claims.pass_id.hex(),
        "kind": claims.kind.name.lower(),
        "assurance": int(assurance),
    }


def _denied(step: Step, reason: Reason) -> Json:
    return {"granted": False, "step": int(step), "reason": reason.name}


def verifications() -> dict[str, Json]:
    """verify.json."""
    return collection(
        "Offline verification: what `doorward pass verify --trust … --status … --at … --audience …` answers, with a "
        "door's usual settings (revocation data at most 24 h old). Step 3 (clock) needs a door.",
        "docs/behaviour.md; docs/spec/presentation.md",
        [*_accepted(), *_form(), *_issuer_keys(), *_validity(), *_holder(), *_revocation(), *_first_fault_counts()],
    )


def _accepted() -> list[Case]:
    ed = replace(USUAL, holder_key=HOLDER_ED.public_key)
    bare = raw()
    body, r, s = bare[:-64], bare[-64:-32], int.from_bytes(bare[-32:], "big")
    high = to_text(body + r + (_ORDER - s).to_bytes(32, "big"))
    kinds = [
        _case(f"kind {kind.name.lower()}", _shown(replace(USUAL, kind=kind)), _granted(replace(USUAL, kind=kind)))
        for kind in PassKind
    ]
    return [
        _case("usual", _shown(), _granted()),
        _case("Ed25519 holder", _shown(ed, signer=HOLDER_ED), _granted(ed)),
        _case("printed pass", to_text(seal_pass(PRINTED, PASS)), _granted(PRINTED)),
        _case("holder's signature in its other form (n - s)", high, _granted()),
        *kinds,
    ]


def _form() -> list[Case]:
    good = _shown()
    sealed = seal_pass(USUAL, PASS)
    malformed = _denied(Step.FORM, Reason.MALFORMED)
    too_large = _denied(Step.FORM, Reason.TOO_LARGE)
    unsupported = _denied(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL)
    double = pairs(*[(num(1), num(-9))] * 2, (num(13), sealed), (num(16), num(294)))
    cases = [
        ("nothing", b"", malformed),
        ("only the prefix", b"DW1:", malformed),
        ("one character cut", good[:-1], malformed),
        ("one character changed to lower case", good[:9] + good[9:].lower(), malformed),
        ("not CBOR", to_text(b"\xff" * 64), malformed),
        ("a byte after it", to_text(raw() + b"\x00"), malformed),
        ("the same header twice", to_text(raw(double)), malformed),
        ("pass whose holder did not sign", to_text(sealed), malformed),
        (
            "pass with an unknown kind",
            to_text(raw(presentation_header(raw_pass({9: b"\x44\x83\x09\x00\x80"})))),
            malformed,
        ),
        ("exp as float", to_text(raw(presentation_header(raw_pass({4: b"\xf9\x3c\x00"})))), malformed),
        ("640 characters of nothing", b"DW1:" + b"0" * (MAX_TEXT_CHARACTERS - 4), malformed),
        ("641 characters", b"DW1:" + b"0" * (MAX_TEXT_CHARACTERS - 3), too_large),
        ("pass that holds too much", to_text(raw_pass({1: b"\x78\xa0" + b"a" * 0xA0})), too_large),
        ("a web address", b"HTTPS://EXAMPLE.ORG/", unsupported),
        ("another version", good.replace(b"DW1:", b"DW2:"), unsupported),
        ("alg that we do not take", to_text(raw(presentation_header(alg=num(-7)))), unsupported),
        ("issuer's alg that we do not take", to_text(raw(presentation_header(_p256_issued()))), unsupported),
    ]
    return [_case(name, token, expect) for name, token, expect in cases]


def _p256_issued() -> bytes:
    claims = parse_envelope(seal_pass(USUAL, PASS), field="pass", max_bytes=256).payload
    return sign1(header(THIEF), claims, THIEF, ExternalAad.PASS)


def _issuer_keys() -> list[Case]:
    unknown = _denied(Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY)
    not_valid = _denied(Step.ISSUER_KEY, Reason.ISSUER_KEY_NOT_VALID)
    forged = sign1(header(PASS), mapping(raw_claims()), STRANGER, ExternalAad.PASS)
    stretched = raw_pass({4: num(USUAL.expires_at_s + DAY_S)})[:-64] + seal_pass(USUAL, PASS)[-64:]
    early = replace(TRUST, keys=tuple(replace(key, not_before_s=AT + 1) for key in TRUST.keys))
    just = replace(TRUST, keys=tuple(replace(key, not_before_s=AT) for key in TRUST.keys))
    late = replace(TRUST, keys=tuple(replace(key, expires_at_s=AT) for key in TRUST.keys))
    last = replace(TRUST, keys=tuple(replace(key, expires_at_s=AT + 1) for key in TRUST.keys))
    status_key = to_text(seal_presentation(seal_pass(USUAL, STATUS), HOLDER, issued_at_s=AT, audience=SITE))
    bad = _denied(Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID)
    return [
        _case("another institution's key", _shown(issuer=STRANGER), unknown),
        _case("signed by the status key", status_key, unknown),
        _case("trust file without a pass key", _shown(), unknown, trust=_file(replace(TRUST, keys=TRUST.keys[1:]))),
        _case("issuer key a second too early", _shown(), not_valid, trust=_file(early)),
        _case("issuer key in its first second", _shown(), _granted(), trust=_file(just)),
        _case("issuer key in its last second", _shown(), _granted(), trust=_file(last)),
        _case("issuer key over", _shown(), not_valid, trust=_file(late)),
        _case("forged under the issuer's key id", to_text(raw(presentation_header(forged))), bad),
        _case("exp moved by a day", to_text(raw(presentation_header(stretched))), bad),
        _case(
            "printed pass, forged",
            to_text(sign1(header(PASS), mapping(raw_claims(), {8: None}), STRANGER, ExternalAad.PASS)),
            bad,
        ),
    ]


def _validity() -> list[Case]:
    expired = _denied(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED)
    not_active = _denied(Step.VALIDITY, Reason.CREDENTIAL_NOT_ACTIVE)
    foreign = replace(USUAL, issuer=Tenant("elsewhere"))
    ends, ended = replace(USUAL, expires_at_s=AT + 1), replace(USUAL, expires_at_s=AT)
    starts, will = replace(USUAL, not_before_s=AT), replace(USUAL, not_before_s=AT + 1)
    issued, early = replace(USUAL, issued_at_s=AT), replace(USUAL, issued_at_s=AT + 1)
    return [
        _case("tenant that is not the trust file's", _shown(foreign), _denied(Step.VALIDITY, Reason.WRONG_ISSUER)),
        _case("in its last second", _shown(ends), _granted(ends)),
        _case("expired this second", _shown(ended), expired),
        _case("in its first second (nbf)", _shown(starts), _granted(starts)),
        _case("a second before nbf", _shown(will), not_active),
        _case("in its first second (iat)", _shown(issued), _granted(issued)),
        _case("a second before iat", _shown(early), not_active),
        _case(
            "printed pass, expired this second", to_text(seal_pass(replace(PRINTED, expires_at_s=AT), PASS)), expired
        ),
    ]


def _holder() -> list[Case]:
    invalid = _denied(Step.HOLDER, Reason.SIGNATURE_INVALID)
    old = _denied(Step.HOLDER, Reason.PRESENTATION_EXPIRED)
    future = _denied(Step.HOLDER, Reason.PRESENTATION_FROM_FUTURE)
    elsewhere = _denied(Step.HOLDER, Reason.WRONG_AUDIENCE)
    mixed = to_text(raw(presentation_header(alg=num(-19)), signer=HOLDER_ED))
    bound = seal_presentation(seal_pass(USUAL, PASS), HOLDER, issued_at_s=AT, audience=f"{SITE}/main", nonce=NONCE)
    moved = raw()[:-64] + raw(body=payload({6: num(AT)}))[-64:]
    return [
        _case("signed by a thief", to_text(raw(signer=THIEF)), invalid),
        _case("alg of another key than the pass names", mixed, invalid),
        _case("signature of another moment", to_text(moved), invalid),
        _case("signed 30 s ago", _shown(at=AT - 30), _granted()),
        _case("signed 31 s ago", _shown(at=AT - 31), old),
        _case("signed in 1970", _shown(at=0), old),
        _case("signed 10 s ahead", _shown(at=AT + 10), _granted()),
        _case("signed 11 s ahead", _shown(at=AT + 11), future),
        _case("signed at the end of time", _shown(at=MAX_TIME_S), future),
        _case("for another site", _shown(audience="gym"), elsewhere),
        _case("for a site whose name begins so", _shown(audience=SITE + "-2"), elsewhere),
        _case("bound to a nonce that nobody gave", to_text(bound), _denied(Step.HOLDER, Reason.NONCE_MISMATCH)),
    ]


def _revocation() -> list[Case]:
    revoked = _denied(Step.REVOCATION, Reason.REVOKED)
    stale = _denied(Step.REVOCATION, Reason.REVOCATION_STALE)
    gone = replace(USUAL, pass_id=make_pass_id(0, REVOKED_INDEX))
    next_to = [replace(USUAL, pass_id=make_pass_id(0, REVOKED_INDEX + step)) for step in (-1, 1)]
    last, beyond = (replace(USUAL, pass_id=make_pass_id(0, index)) for index in (127, 128))
    other = replace(USUAL, pass_id=make_pass_id(1, 77))
    day_old, too_old = replace(LIST, issued_at_s=AT - DAY_S), replace(LIST, issued_at_s=AT - DAY_S - 1)
    ends, ended = replace(LIST, expires_at_s=AT + 1), replace(LIST, expires_at_s=AT)
    return [
        _case("revoked", _shown(gone), revoked),
        _case("printed pass, revoked", to_text(seal_pass(replace(PRINTED, pass_id=gone.pass_id), PASS)), revoked),
        *(
            _case(f"index {claims.pass_id[-1]}, beside a revoked one", _shown(claims), _granted(claims))
            for claims in next_to
        ),
        _case("last index of the list", _shown(last), _granted(last)),
        _case("index beyond the list", _shown(beyond), revoked),
        _case("no list", _shown(), stale, status=None),
        _case("only another list", _shown(other), stale),
        _case("list of exactly 24 h", _shown(), _granted(), status=day_old),
        _case("list of 24 h and a second", _shown(), stale, status=too_old),
        _case("list in its last second", _shown(), _granted(), status=ends),
        _case("list expired this second", _shown(), stale, status=ended),
        _case("revoked in a list that is too old", _shown(gone), revoked, status=too_old),
        _case(
            "verified in a week, when the list is over",
            _shown(at=AT + 7 * DAY_S - 3600),
            _denied(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED),
            at=AT + 7 * DAY_S - 3600,
        ),
        _case("verified a day later, with the list of before", _shown(at=AT + DAY_S), stale, at=AT + DAY_S),
    ]


def _first_fault_counts() -> list[Case]:
    """Two faults at once: the earlier step names itself."""
    gone = replace(USUAL, pass_id=make_pass_id(0, REVOKED_INDEX))
    over = replace(gone, expires_at_s=AT)
    return [
        _case(
            "revoked, and shown at another site",
            _shown(gone, audience="gym"),
            _denied(Step.HOLDER, Reason.WRONG_AUDIENCE),
        ),
        _case("expired, and revoked", _shown(over), _denied(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED)),
        _case(
            "expired, and of another issuer",
            _shown(over, issuer=STRANGER),
            _denied(Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY),
        ),
        _case(
            "old, and for another site",
            _shown(at=AT - 31, audience="gym"),
            _denied(Step.HOLDER, Reason.PRESENTATION_EXPIRED),
        ),
        _case(
            "signed by a thief, long ago",
            to_text(raw(body=payload({6: num(0)}), signer=THIEF)),
            _denied(Step.HOLDER, Reason.SIGNATURE_INVALID),
        ),
        _case("revoked, no list", _shown(gone), _denied(Step.REVOCATION, Reason.REVOCATION_STALE), status=None),
    ]
