"""A wallet in a folder: one P-256 key, and the passes that name it.

Invariant: the key is readable by its owner alone, and a pass is kept only when it names this wallet's key.
Must not: print, or talk to the cloud.

    FOLDER/key.pem           PKCS #8, mode 0600
    FOLDER/<pass id>.pass    the pass as issued
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from doorward.errors import CliError, ExitCode
from doorward.files import read_bounded, unusable, write_whole
from doorward.tokens import to_base64
from wire.codec import encode
from wire.errors import WireError
from wire.keys import P256Signer, PublicKey
from wire.passes import MAX_PASS_BYTES, SignedPass, parse_pass
from wire.presentation import seal_presentation
from wire.text import to_text

KEY_FILE: Final = "key.pem"
PASS_SUFFIX: Final = ".pass"  # noqa: S105 - an ending of a file's name
MAX_KEY_BYTES: Final = 4096
"""A PKCS #8 P-256 key has about 240 bytes."""
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class HeldPass:
    """A pass of a wallet: its bytes, and what they say."""

    data: bytes
    parsed: SignedPass

    @property
    def pass_id(self) -> str:
        """The pass id in hexadecimal."""
        return self.parsed.unverified.pass_id.hex()


@dataclass(frozen=True, slots=True)
class Wallet:
    """An open wallet."""

    folder: Path
    signer: P256Signer

    @property
    def holder_key(self) -> PublicKey:
        """The key that passes name."""
        return self.signer.public_key

    def passes(self) -> list[HeldPass]:
        """Give the passes, the one that lasts longest first.

        Raises:
            CliError: UNUSABLE when a kept pass cannot be read.
        """
        held = [_read_pass(path) for path in sorted(self.folder.glob(f"*{PASS_SUFFIX}"))]
        return sorted(held, key=lambda each: each.parsed.unverified.expires_at_s, reverse=True)

    def keep(self, data: bytes) -> HeldPass:
        """Keep a pass; keeping it again changes nothing.

        Raises:
            CliError: UNUSABLE when it is no pass or names another key.
        """
        held = HeldPass(data, _parse(data, "this"))
        if held.parsed.unverified.holder_key != self.holder_key:
            raise CliError(
                ExitCode.UNUSABLE,
                what=f"the pass {held.pass_id} was issued for another key than that of the wallet {self.folder}",
                remedy="issue one for this wallet's key (doorward wallet list shows it)",
            )
        write_whole(self.folder / f"{held.pass_id}{PASS_SUFFIX}", data, mode=0o600)
        return held

    def present(self, held: HeldPass, *, issued_at_s: int, audience: str) -> bytes:
        """Sign a presentation at a site and give its text form."""
        return to_text(seal_presentation(held.data, self.signer, issued_at_s=issued_at_s, audience=audience))


def encode_holder_key(key: PublicKey) -> str:
    """Write a holder key as issuing takes it: base64url of the COSE_Key."""
    return to_base64(encode(key.to_cose()))


def create_wallet(folder: Path) -> Wallet:
    """Make a wallet with a new key.

    Raises:
        CliError: UNUSABLE when there is one already, or the folder cannot be made.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except FileExistsError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"there is a wallet in {folder} already",
            remedy="choose another name; a key is never replaced",
        ) from error
    except OSError as error:
        raise unusable(folder, error, doing="made") from error
    return Wallet(folder, P256Signer(key))


def open_wallet(folder: Path) -> Wallet:
    """Open a wallet.

    Raises:
        CliError: UNUSABLE when there is none, its key is damaged, or others may read it.
    """
    path = folder / KEY_FILE
    if not path.exists():
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"there is no wallet in {folder}",
            remedy=f"make one with: doorward wallet new {folder.name}",
        )
    data = read_bounded(path, MAX_KEY_BYTES)
    if path.stat().st_mode & _OTHERS:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"{path} can be read by other users",
            remedy=f"close it with: chmod 600 {path}",
        )
    return Wallet(folder, _load_key(path, data))


def _load_key(path: Path, data: bytes) -> P256Signer:
    damaged = CliError(
        ExitCode.UNUSABLE,
        what=f"{path} is not a P-256 private key",
        remedy="restore it from a backup, or make a new wallet and have its passes issued again",
    )
    try:
        key = load_pem_private_key(data, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise damaged
        return P256Signer(key)
    except (ValueError, TypeError, WireError) as error:
        raise damaged from error


def find_wallets(root: Path) -> Iterable[Path]:
    """Give the folders below `root` that hold a wallet, by name."""
    return sorted(path.parent for path in root.glob(f"*/{KEY_FILE}"))


def _read_pass(path: Path) -> HeldPass:
    data = read_bounded(path, MAX_PASS_BYTES)
    return HeldPass(data, _parse(data, str(path)))


def _parse(data: bytes, name: str) -> SignedPass:
    try:
        return parse_pass(data)
    except WireError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"{name} is not a pass ({error})",
            remedy="pass on exactly what `doorward pass issue` printed, or issue the pass again",
        ) from error
