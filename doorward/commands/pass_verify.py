"""`doorward pass verify`."""

import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import ExitCode
from doorward.offline import Verdict, check, load_trust
from doorward.options import AtInstant, TokenArgument, parse_duration
from doorward.output import Json, JsonOption, Output, Style, duration, local_time, pairs, rfc3339
from doorward.records import claims_record, seconds
from doorward.tokens import argument_bytes
from edge.core.effects import Denied
from wire.settings import DoorSettings

EXAMPLES: Final = """
Examples:
  doorward trust export --tenant north-campus --folder trust
  doorward pass verify --trust trust/trust.cbor --status trust/status-0.cwt \\
      --audience main-campus "DW1:…"
  doorward wallet show --audience main-campus --once | \\
      doorward pass verify --trust trust/trust.cbor --status trust/status-0.cwt \\
      --audience main-campus --json

Exit codes: 0 granted, 1 denied, 2 a file or an option cannot be used.
"""

_CLAIMS: Final = (
    "issuer",
    "pass_id",
    "status_list",
    "status_index",
    "kind",
    "flags",
    "access_levels",
    "issued_at",
    "not_before",
    "expires_at",
    "holder_key_id",
    "holder_algorithm",
)


def run(
    presented: TokenArgument = "-",
    *,
    trust: Annotated[
        Path, typer.Option("--trust", metavar="FILE", help="The institution's trust file: root key and key bundle.")
    ],
    audience: Annotated[
        str, typer.Option("--audience", metavar="SITE", envvar="DOORWARD_SITE", help="The site it must be made for.")
    ],
    status: Annotated[
        list[Path] | None,
        typer.Option("--status", metavar="FILE", help="A status list (revocations); once for each list."),
    ] = None,
    at: AtInstant = None,
    max_revocation_age: Annotated[
        int | None,
        typer.Option(
            "--max-revocation-age",
            metavar="TIME",
            parser=parse_duration,
            help="Refuse when the status list is older, e.g. 12h; a door's usual limit, 24h, when absent.",
        ),
    ] = None,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Verify a pass or presentation offline, as a door does.

    Runs steps 1 to 8 of a tap with the door's own code: form, kind, clock, issuer key, issuer signature, validity,
    holder (signature, age, audience) and revocation. What only a door knows is left out: whether it has seen this
    presentation before, its schedules and access levels.

    TOKEN is what a reader reads (DW1:…); standard input when absent. No network is used. The answer is one JSON
    object, except on a terminal, where it is text unless --json asks for JSON.
    """
    at_ms = time.time_ns() // 1_000_000 if at is None else at
    state = load_trust(trust, status or ())
    settings = DoorSettings() if max_revocation_age is None else DoorSettings(max_revocation_age_s=max_revocation_age)
    verdict = check(argument_bytes(presented), state, site=audience, at_ms=at_ms, settings=settings)
    out = Output(json_lines=json_lines or not sys.stdout.isatty())
    out.result(_record(verdict, at_ms), *_lines(verdict, out, at_ms))
    return ExitCode.FAILED if isinstance(verdict.outcome, Denied) else ExitCode.OK


def _record(verdict: Verdict, at_ms: int) -> dict[str, Json]:
    outcome, credential = verdict.outcome, verdict.credential
    denied = outcome if isinstance(outcome, Denied) else None
    rotating = None if credential is None else credential.rotating
    claims = dict.fromkeys(_CLAIMS) if credential is None else claims_record(credential.signed_pass.unverified)
    return {
        "granted": denied is None,
        "step": None if denied is None else int(denied.step),
        "reason": None if denied is None else denied.reason.name,
        "fault": None if denied is None else denied.fault,
        "assurance": None if credential is None else int(credential.assurance),
        **claims,
        "presented_at": None if rotating is None else seconds(rotating.issued_at_s),
        "audience": None if rotating is None else rotating.audience,
        "status_sequence": None if isinstance(outcome, Denied) else outcome.revocation.sequence,
        "status_age_s": None if isinstance(outcome, Denied) else outcome.revocation.age_s,
        "checked_at": rfc3339(at_ms),
    }


def _lines(verdict: Verdict, out: Output, at_ms: int) -> list[str]:
    outcome, credential = verdict.outcome, verdict.credential
    if isinstance(outcome, Denied):
        fault = f" ({outcome.fault})" if outcome.fault else ""
        head = out.paint("DENIED", Style.BAD) + f" at step {int(outcome.step)} ({outcome.step.name.lower()}): "
        head += f"{outcome.reason.name}{fault}"
    else:
        head = out.paint("GRANTED", Style.GOOD) + f" with assurance level {int(outcome.assurance)}"
    if credential is None:
        return [head]
    claims = credential.signed_pass.unverified
    facts = [
        ("pass id", f"{claims.pass_id.hex()} of {claims.issuer}"),
        ("kind", claims.kind.name.lower()),
        ("access levels", ", ".join(map(str, claims.access_levels)) or "none"),
        ("valid", f"{local_time(claims.starts_at_s * 1000)} to {local_time(claims.expires_at_s * 1000)}"),
    ]
    if credential.rotating is not None:
        age_s = at_ms // 1000 - credential.rotating.issued_at_s
        told = f"{duration(age_s)} {'before' if age_s >= 0 else 'after'} {local_time(at_ms)}"
        facts.append(("presented", f"{told}, for {credential.rotating.audience}"))
    return [head, *pairs(facts)]
