"""Credentials as operators write them, read to what is enrolled: keys instead of identifiers, PINs still to be derived.

Invariant: what is wrong with one credential is said in its row of the report; the others count.
Must not: keep an identifier or PIN longer than a request.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from cloud.roster.models import EnrolledIdentifier, FormName, NewCredential, Row
from wire.names import PassFlags, PassKind
from wire.roster import MAX_IDENTIFIER_BYTES, IdentifierForm, PinVerifiers, identifier_key

_PIN: Final = re.compile("[0-9]{4,8}")
_BETWEEN_DIGITS: Final = str.maketrans("", "", " :-")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinChange:
    """What happens to a PIN: a new one, None to take it away, UNSET to let it be."""

    pin: str | msgspec.UnsetType | None = field(repr=False)
    duress: str | msgspec.UnsetType | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A credential that can be enrolled, as far as it can be told without asking what is there."""

    row: int
    key: bytes
    holder: bytes | None
    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    pin: PinChange


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A credential to remove, by its key or by its holder; the other is None."""

    row: int
    key: bytes | None
    holder: bytes | None


def read_wanted(items: Sequence[NewCredential], pepper: bytes) -> tuple[list[Wanted], list[Row]]:
    """Read the credentials of a request; gives those that can be enrolled, and the refusals of the others."""
    wanted: dict[bytes, Wanted] = {}
    refused: list[Row] = []
    for row, item in enumerate(items):
        found = _wanted(row, item, pepper)
        if isinstance(found, Wanted) and found.key in wanted:
            refused.append(refusal(row, f"the same identifier stands in row {wanted[found.key].row}"))
        elif isinstance(found, Wanted):
            wanted[found.key] = found
        else:
            refused.append(refusal(row, found))
    return [*wanted.values()], refused


def read_unwanted(items: Sequence[EnrolledIdentifier], pepper: bytes) -> tuple[list[Unwanted], list[Row]]:
    """Read what is to be removed; gives what can be looked for, and the refusals of the others."""
    unwanted: list[Unwanted] = []
    refused: list[Row] = []
    for row, item in enumerate(items):
        found = _unwanted(row, item, pepper)
        if isinstance(found, Unwanted):
            unwanted.append(found)
        else:
            refused.append(refusal(row, found))
    return unwanted, refused


def refusal(row: int, detail: str) -> Row:
    """Report a credential that is not enrolled, and why."""
    return Row(row=row, status="refused", detail=detail)


def _wanted(row: int, item: NewCredential, pepper: bytes) -> Wanted | str:
    identifier = _identifier(item.identifier, item.form)
    if isinstance(identifier, str):
        return identifier
    for name, pin in (("pin", item.pin), ("duressPin", item.duress_pin)):
        if isinstance(pin, str) and _PIN.fullmatch(pin) is None:
            return f"{name} is not 4 to 8 digits"
    if isinstance(item.pin, str) and item.pin == item.duress_pin:
        return "pin and duressPin are the same"
    if item.pin is None and isinstance(item.duress_pin, str):
        return "duressPin needs a pin beside it"
    flags = PassFlags.NONE
    for name in item.flags:
        flags |= PassFlags[name.upper()]
    return Wanted(
        row=row,
        key=identifier_key(pepper, IdentifierForm[item.form.upper()], identifier),
        holder=None if item.holder is None else bytes.fromhex(item.holder),
        kind=PassKind[item.kind.upper()],
        flags=flags,
        access_levels=tuple(sorted(set(item.access_levels))),
        pin=PinChange(pin=item.pin, duress=item.duress_pin),
    )


def _unwanted(row: int, item: EnrolledIdentifier, pepper: bytes) -> Unwanted | str:
    if item.holder is not None and item.identifier is None and item.form is None:
        return Unwanted(row, None, bytes.fromhex(item.holder))
    if item.holder is not None or item.identifier is None or item.form is None:
        return "name either identifier and form, or holder"
    identifier = _identifier(item.identifier, item.form)
    if isinstance(identifier, str):
        return identifier
    return Unwanted(row, identifier_key(pepper, IdentifierForm[item.form.upper()], identifier), None)


def _identifier(text: str, form: FormName) -> bytes | str:
    """Give an identifier's bytes, or what is wrong with it."""
    if form != "barcode":
        try:
            data = bytes.fromhex(text.translate(_BETWEEN_DIGITS))
        except ValueError:
            return "identifier is not an even number of hexadecimal digits"
    elif text != text.strip():
        return "identifier begins or ends with a space"
    else:
        data = text.encode("utf-8", "surrogatepass")
    if not 1 <= len(data) <= MAX_IDENTIFIER_BYTES:
        return f"identifier is not 1 to {MAX_IDENTIFIER_BYTES} bytes long"
    return data


def same_pin(verifiers: PinVerifiers) -> bool:
    """Tell whether PIN and duress PIN are the same."""
    return verifiers.pin == verifiers.duress
