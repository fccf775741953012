"""Checking a PIN: argon2id, slow on purpose, so in a worker thread and not in the core.

Invariant: whatever was keyed in, the same work is done: how long it takes tells nobody a PIN from one under duress.
Must not: keep or name a PIN; digits are in no log, no event and no text of an error.
"""

import asyncio
from hmac import compare_digest
from typing import Final

import nacl.exceptions
from nacl.pwhash import argon2id

from edge.core.companions import PinOutcome
from wire.roster import ARGON2_MEM_BYTES, ARGON2_OPS, PinVerifiers

PIN_DEADLINE_S: Final = 2.0
"""As long as a grant may wait for the disk: later, whoever keyed it in has tried again or left."""


class PinError(Exception):
    """A PIN could not be checked; it is neither right nor wrong."""


def check_pin(verifiers: PinVerifiers, digits: bytes) -> PinOutcome:
    """Tell what a PIN is: 19 MiB and about a tenth of a second.

    Raises:
        PinError: there is no memory for it, or the verifiers are none.
    """
    try:
        found = argon2id.kdf(len(verifiers.pin), digits, verifiers.salt, ARGON2_OPS, ARGON2_MEM_BYTES)
    except (nacl.exceptions.CryptoError, MemoryError) as error:
        raise PinError("argon2id did not run: this machine has no 19 MiB left, or the roster is damaged") from error
    right = compare_digest(found, verifiers.pin)
    under_duress = compare_digest(found, verifiers.pin if verifiers.duress is None else verifiers.duress)
    if under_duress and verifiers.duress is not None:
        return PinOutcome.DURESS
    return PinOutcome.RIGHT if right else PinOutcome.WRONG


async def check_pin_in_time(verifiers: PinVerifiers, digits: bytes) -> PinOutcome:
    """Check a PIN in a worker thread; raises `PinError` also when it takes longer than `PIN_DEADLINE_S`."""
    try:
        async with asyncio.timeout(PIN_DEADLINE_S):
            return await asyncio.to_thread(check_pin, verifiers, digits)
    except TimeoutError as error:
        raise PinError(f"argon2id took longer than {PIN_DEADLINE_S:.0f} s: this machine is overloaded") from error
