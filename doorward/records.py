"""What a pass or a presentation says, as a record for programs and as lines for people.

Invariant: nothing here claims that a signature was checked; the caller says whether it was.
"""

from doorward.output import Json, duration, local_time, pairs, rfc3339
from doorward.tokens import Token
from wire.keys import PublicKey
from wire.names import PassFlags
from wire.passes import Pass, SignedPass, split_pass_id
from wire.presentation import RotatingPresentation


def seconds(instant_s: int | None) -> str | None:
    """Write an instant of a pass for programs."""
    return None if instant_s is None else rfc3339(instant_s * 1000)


def flag_names(flags: PassFlags) -> list[str]:
    """Give the names of the bits that are set."""
    return [flag.name.lower() for flag in PassFlags if flag in flags and flag.name is not None]


def claims_record(claims: Pass) -> dict[str, Json]:
    """Give the claims of a pass."""
    status_list, status_index = split_pass_id(claims.pass_id)
    return {
        "issuer": str(claims.issuer),
        "pass_id": claims.pass_id.hex(),
        "status_list": status_list,
        "status_index": status_index,
        "kind": claims.kind.name.lower(),
        "flags": flag_names(claims.flags),
        "access_levels": list(claims.access_levels),
        "issued_at": seconds(claims.issued_at_s),
        "not_before": seconds(claims.not_before_s),
        "expires_at": seconds(claims.expires_at_s),
        "holder_key_id": None if claims.holder_key is None else claims.holder_key.key_id.hex(),
        "holder_algorithm": None if claims.holder_key is None else claims.holder_key.algorithm.name,
    }


def form_of(token: Token) -> str:
    """Name what was read: "rotating", "printed" (a pass that needs no holder), or "pass" (not presentable alone)."""
    if isinstance(token, RotatingPresentation):
        return "rotating"
    return "printed" if token.unverified.holder_key is None else "pass"


def token_record(token: Token) -> dict[str, Json]:
    """Give everything that was read, unverified."""
    signed = token if isinstance(token, SignedPass) else token.signed_pass
    record: dict[str, Json] = {"verified": False, "form": form_of(token), **claims_record(signed.unverified)}
    record["issuer_key_id"] = signed.key_id.hex()
    if isinstance(token, RotatingPresentation):
        record["presented_at"] = seconds(token.issued_at_s)
        record["audience"] = token.audience
        record["nonce"] = None if token.nonce is None else token.nonce.hex()
    return record


def token_lines(token: Token, now_s: int) -> list[str]:
    """Describe everything that was read, unverified, for people."""
    signed = token if isinstance(token, SignedPass) else token.signed_pass
    claims = signed.unverified
    status_list, status_index = split_pass_id(claims.pass_id)
    lines = [
        ("form", form_of(token)),
        ("issuer", f"{claims.issuer} (key {signed.key_id.hex()})"),
        ("pass id", f"{claims.pass_id.hex()} (list {status_list}, index {status_index})"),
        ("kind", ", ".join([claims.kind.name.lower(), *flag_names(claims.flags)])),
        ("access levels", ", ".join(map(str, claims.access_levels)) or "none"),
        ("issued", local_time(claims.issued_at_s * 1000)),
        ("valid", _validity(claims, now_s)),
        ("holder key", _key(claims.holder_key)),
    ]
    if isinstance(token, RotatingPresentation):
        age = now_s - token.issued_at_s
        told = f"{duration(age)} ago" if age >= 0 else f"{duration(age)} from now"
        lines.append(("presented", f"{local_time(token.issued_at_s * 1000)} ({told}) for {token.audience}"))
    return pairs(lines)


def _validity(claims: Pass, now_s: int) -> str:
    span = f"{local_time(claims.starts_at_s * 1000)} to {local_time(claims.expires_at_s * 1000)}"
    if now_s < claims.starts_at_s:
        return f"{span} (begins in {duration(claims.starts_at_s - now_s)})"
    if now_s >= claims.expires_at_s:
        return f"{span} (over since {duration(now_s - claims.expires_at_s)})"
    return f"{span} (for another {duration(claims.expires_at_s - now_s)})"


def _key(key: PublicKey | None) -> str:
    return "none: whoever has the code may use it" if key is None else f"{key.key_id.hex()} ({key.algorithm.name})"
