"""`doorward pass issue`."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.api import CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.files import write_whole
from doorward.options import parse_duration, parse_instant, wallet_folder
from doorward.output import Json, JsonOption, Output, local_time, pairs, rfc3339
from doorward.qr import Level, code_png, make_matrix
from doorward.records import claims_record
from doorward.tokens import to_base64
from doorward.wallet import Wallet, encode_holder_key, open_wallet
from wire.passes import Pass, parse_pass
from wire.text import to_text

EXAMPLES: Final = """
Examples:
  doorward pass issue --tenant north-campus --wallet default --level 1 --level 7
  doorward pass issue --tenant north-campus --kind staff --level 2 --lifetime 30d \\
      --holder pAECIAEhWCD…
  doorward pass issue --tenant north-campus --kind visitor --printed --lifetime 8h \\
      --level 3 --png visitor.png
"""


class Kind(Enum):
    """The kinds of pass (wire.names.PassKind)."""

    STANDARD = "standard"
    TEMPORARY = "temporary"
    VISITOR = "visitor"
    STAFF = "staff"
    EMERGENCY = "emergency"


Levels = Annotated[
    list[int] | None, typer.Option("--level", metavar="N", min=0, max=65535, help="An access level; repeat it.")
]
WalletOption = Annotated[
    str | None, typer.Option("--wallet", metavar="NAME", help="Issue it for this wallet's key and keep it there.")
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="As --wallet, for the wallet in this folder.")
]
Holder = Annotated[
    str | None, typer.Option("--holder", metavar="KEY", help="Issue it for this holder key (base64url COSE_Key).")
]
Printed = Annotated[
    bool, typer.Option("--printed", help="Issue it for paper: no holder key; whoever has the code may use it.")
]
Lifetime = Annotated[
    int | None, typer.Option("--lifetime", metavar="TIME", parser=parse_duration, help="Such as 8h or 7d.")
]
NotBefore = Annotated[
    int | None,
    typer.Option("--not-before", metavar="RFC3339", parser=parse_instant, help="When it begins; at once if absent."),
]
Extended = Annotated[bool, typer.Option("--extended-release", help="Keep doors released longer for this holder.")]
PaperPng = Annotated[
    Path | None, typer.Option("--png", metavar="FILE", help="Draw a printed pass for paper (level Q).")
]


def run(
    *,
    tenant: Institution,
    levels: Levels = None,
    kind: Annotated[Kind, typer.Option("--kind", help="The kind of pass.")] = Kind.STANDARD,
    wallet: WalletOption = None,
    folder: FolderOption = None,
    holder: Holder = None,
    printed: Printed = False,
    lifetime: Lifetime = None,
    not_before: NotBefore = None,
    extended_release: Extended = False,
    png: PaperPng = None,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Issue a pass.

    Name exactly one of --wallet (or --folder), --holder and --printed.
    """
    if (wallet is not None or folder is not None) + (holder is not None) + printed != 1:
        raise typer.BadParameter("name exactly one of --wallet (or --folder), --holder and --printed")
    if png is not None and not printed:
        raise typer.BadParameter("--png is for --printed; the codes of a wallet are drawn by doorward wallet show")
    kept_in = None if holder is not None or printed else open_wallet(wallet_folder(wallet or "default", folder))
    request: dict[str, Json] = {
        "kind": kind.value,
        "accessLevels": sorted(set(levels or ())),
        "holderKey": holder if kept_in is None else encode_holder_key(kept_in.holder_key),
        "lifetimeS": lifetime,
        "notBefore": None if not_before is None else rfc3339(not_before),
        "flags": ["extended_release"] if extended_release else None,
    }
    with connect(url=cloud, token_file=token_file, state=state) as api:
        data = api.issue_pass(tenant, request)
    if kept_in is not None:
        kept_in.keep(data)
    if png is not None:
        write_whole(png, code_png(make_matrix(to_text(data), Level.PAPER)))
    claims = parse_pass(data).unverified
    Output(json_lines=json_lines).result(_record(data, claims, kept_in), *_lines(data, claims, kept_in))


def _record(data: bytes, claims: Pass, kept_in: Wallet | None) -> dict[str, Json]:
    return {
        **claims_record(claims),
        "pass": to_base64(data),
        "text": to_text(data).decode("ascii") if claims.holder_key is None else None,
        "wallet": None if kept_in is None else str(kept_in.folder),
    }


def _lines(data: bytes, claims: Pass, kept_in: Wallet | None) -> list[str]:
    facts = [
        ("pass id", claims.pass_id.hex()),
        ("kind", claims.kind.name.lower()),
        ("access levels", ", ".join(map(str, claims.access_levels)) or "none"),
        ("valid", f"{local_time(claims.starts_at_s * 1000)} to {local_time(claims.expires_at_s * 1000)}"),
    ]
    if kept_in is not None:
        facts.append(("kept in", str(kept_in.folder)))
    elif claims.holder_key is None:
        facts.append(("text", to_text(data).decode("ascii")))
    else:
        facts.append(("pass", to_base64(data)))
    return pairs(facts)
