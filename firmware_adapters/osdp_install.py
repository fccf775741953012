"""Give an OSDP reader in install mode its secure channel base key, and keep it in the reader's key file.

Invariants: a key is on the disk before a reader has it, so no power cut leaves a reader with a key that nobody knows;
the key file named in the address changes only when the reader has answered under the new key.
Must not: be run while the daemon uses the line; the port refuses the second one.
"""

import asyncio
import contextlib
import secrets
from pathlib import Path

from edge.ports import ReaderError, Reason
from firmware_adapters.address import Address
from firmware_adapters.osdp_line import start_worker
from firmware_adapters.osdp_records import KeySet, Secure, Settings
from firmware_adapters.sealed_key import KEY_BYTES, KeyFileError, read_key, write_key
from firmware_adapters.worker_process import WorkerEndedError

# A reader agrees within a second; people power it on after they have started the command.
INSTALL_DEADLINE_S = 60.0
# It has just answered.
PROOF_DEADLINE_S = 10.0


async def install_key(address: Address, *, deadline_s: float = INSTALL_DEADLINE_S) -> Path:
    """Make a key, give it to the reader at an address, and return the file that holds it.

    Args:
        address: as configured, of the scheme osdp.
        deadline_s: how long to wait for the reader in install mode.

    Raises:
        ReaderError: the reader did not take it; the file is as it was.
    """
    path = Path(address.texts["key"])
    pending = path.with_name(f"{path.name}.pending")
    key = _pending_key(pending)
    await _until(KeySet, address, key, install=True, deadline_s=deadline_s)
    await _until(Secure, address, key, install=False, deadline_s=PROOF_DEADLINE_S)
    pending.replace(path)
    return path


def _pending_key(pending: Path) -> bytes:
    """Return the key of an attempt that was cut short, which the reader may have already, or a new one, kept first."""
    with contextlib.suppress(KeyFileError):
        return read_key(pending)
    key = secrets.token_bytes(KEY_BYTES)
    try:
        write_key(pending, key)
    except OSError as error:
        raise ReaderError(
            Reason.PERMISSION,
            what=f"the key file {pending} cannot be written ({error.strerror})",
            remedy=f"make the folder {pending.parent}, owned by the daemon's user, with mode 0700",
        ) from error
    return key


async def _until(
    wanted: type[KeySet | Secure], address: Address, key: bytes, *, install: bool, deadline_s: float
) -> None:
    settings = Settings(address.path, address.options["baud"], [address.options["address"]], (key,), install=install)
    try:
        worker = await start_worker(settings)
        try:
            async with asyncio.timeout(deadline_s):
                while not isinstance(await worker.next_record(), wanted):
                    pass
        finally:
            await worker.leave()
    except TimeoutError as error:
        raise ReaderError(
            Reason.DEADLINE,
            what=f"the OSDP reader {address.options['address']} on {address.path} took no key in {deadline_s:g} s",
            remedy="put it into install mode as its manual says, check its address and speed, and try again",
        ) from error
    except WorkerEndedError as error:
        raise ReaderError(Reason.FAULT, what=f"the OSDP line {address.path}: {error}", remedy="try again") from error
