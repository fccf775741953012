"""`doorward wallet list`."""

import time
from typing import Final

from doorward.options import WalletFolder
from doorward.output import Json, JsonOption, Output, local_time, table
from doorward.places import wallets_folder
from doorward.records import claims_record
from doorward.wallet import Wallet, encode_holder_key, find_wallets, open_wallet

EXAMPLES: Final = """
Examples:
  doorward wallet list
  doorward wallet list --json
"""


def run(*, folder: WalletFolder = None, json_lines: JsonOption = False) -> None:
    """List the wallets and their passes."""
    out = Output(json_lines=json_lines)
    wallets = [open_wallet(each) for each in ([folder] if folder else find_wallets(wallets_folder()))]
    if not wallets:
        out.say(f"No wallets in {wallets_folder()}. Make one with: doorward wallet new")
    for wallet in wallets:
        out.result(_record(wallet), *_lines(wallet))


def _record(wallet: Wallet) -> dict[str, Json]:
    return {
        "wallet": wallet.folder.name,
        "folder": str(wallet.folder),
        "holder_key": encode_holder_key(wallet.holder_key),
        "key_id": wallet.holder_key.key_id.hex(),
        "passes": [claims_record(held.parsed.unverified) for held in wallet.passes()],
    }


def _lines(wallet: Wallet) -> list[str]:
    now_s = time.time_ns() // 1_000_000_000
    rows = []
    for held in wallet.passes():
        claims = held.parsed.unverified
        until = local_time(claims.expires_at_s * 1000) + (" (over)" if now_s >= claims.expires_at_s else "")
        rows.append(("  " + held.pass_id, claims.issuer, claims.kind.name.lower(), until))
    head = [f"{wallet.folder.name}  {encode_holder_key(wallet.holder_key)}"]
    return head + (table(("  PASS", "ISSUER", "KIND", "UNTIL"), rows) if rows else ["  no passes"])
