"""`doorward wallet new`."""

from typing import Final

from doorward.options import WalletFolder, WalletName, wallet_folder
from doorward.output import JsonOption, Output, pairs
from doorward.wallet import create_wallet, encode_holder_key

EXAMPLES: Final = """
Examples:
  doorward wallet new
  doorward wallet new anna --json
  doorward wallet new --folder /run/user/1000/test-wallet
"""


def run(name: WalletName = "default", *, folder: WalletFolder = None, json_lines: JsonOption = False) -> None:
    """Make a wallet with a new P-256 key.

    The key is kept in FOLDER/key.pem, readable by you alone, and never leaves it. The holder key that is printed is
    the public half: passes are issued for it.
    """
    wallet = create_wallet(wallet_folder(name, folder))
    holder_key = encode_holder_key(wallet.holder_key)
    record = {
        "wallet": wallet.folder.name,
        "folder": str(wallet.folder),
        "holder_key": holder_key,
        "key_id": wallet.holder_key.key_id.hex(),
    }
    Output(json_lines=json_lines).result(
        record,
        *pairs([("wallet", str(wallet.folder)), ("holder key", holder_key)]),
        "",
        "Next: doorward pass issue --wallet …, or give the holder key to whoever issues passes.",
    )
