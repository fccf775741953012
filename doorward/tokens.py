"""Passes, presentations and commands as they come from a command line, a pipe or the cloud.

Invariant: input is bounded and never repaired; at most one line end after piped input is dropped, as a scanner's is.
Must not: verify anything.
"""

import base64
import binascii
import os
import sys
from typing import Final, TypeAlias

from doorward.errors import CliError, ExitCode
from wire.command import MAX_COMMAND_BYTES
from wire.errors import WireError, WireReason
from wire.passes import SignedPass, parse_pass
from wire.presentation import RotatingPresentation, parse_presented
from wire.text import PREFIX, from_text

MAX_INPUT_BYTES: Final = 64 * 1024
"""A hundred times the longest token; more is not a token."""

_SIGN1: Final = b"\xd2"
"""How every signed message begins: tag 18 (RFC 9052 §2)."""

Token: TypeAlias = RotatingPresentation | SignedPass


def argument_bytes(argument: str) -> bytes:
    """Give the bytes of an argument, or of standard input for "-".

    Raises:
        CliError: UNUSABLE when standard input is endless.
    """
    if argument != "-":
        return os.fsencode(argument)
    return input_bytes("one token, such as DW1:…").removesuffix(b"\n").removesuffix(b"\r")


def input_bytes(expected: str) -> bytes:
    """Give the bytes of standard input as they are.

    Raises:
        CliError: UNUSABLE when it is endless; `expected` says what to pipe in.
    """
    data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(data) > MAX_INPUT_BYTES:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"standard input has more than {MAX_INPUT_BYTES} bytes",
            remedy=f"pipe in {expected}",
        )
    return data


def decode_token(data: bytes) -> Token:
    """Read a presentation's text form, or a pass in base64url as the cloud gives it.

    Raises:
        WireError: when it is neither.
    """
    return parse_presented(from_text(data)) if data.startswith(PREFIX) else parse_pass(pass_from_base64(data))


def pass_from_base64(data: bytes) -> bytes:
    """Decode base64url, padded or not.

    Raises:
        WireError: WRONG_ALPHABET for anything else, TOO_LARGE when it is longer than any pass.
    """
    if len(data) > MAX_INPUT_BYTES:
        raise WireError(WireReason.TOO_LARGE, "pass")
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(WireReason.WRONG_ALPHABET, "pass") from error


def command_bytes(data: bytes) -> bytes:
    """Give a signed command's bytes: as they are, from hexadecimal digits, or from base64url.

    Raises:
        CliError: UNUSABLE when it is none of these.
    """
    text = b"".join(data.split())
    try:
        if data.startswith(_SIGN1):
            found = data
        elif text[:2].lower() == _SIGN1.hex().encode():
            found = bytes.fromhex(text.decode("ascii"))
        else:
            found = pass_from_base64(text)
    except (ValueError, WireError) as error:
        raise _no_command() from error
    if not found.startswith(_SIGN1) or len(found) > MAX_COMMAND_BYTES:
        raise _no_command()
    return found


def _no_command() -> CliError:
    return CliError(
        ExitCode.UNUSABLE,
        what="that is no signed command",
        remedy="bring it as the cloud gave it: the file itself, or its text in base64url or hexadecimal digits",
    )


def to_base64(data: bytes) -> str:
    """Write base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
