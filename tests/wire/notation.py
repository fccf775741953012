"""CBOR diagnostic notation (RFC 8949 §8) of our messages, with the names of their members."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import cbor2

from wire.codec import Value, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH: Final = 120
_MOST_HEX: Final = 160


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of an item: the names of a map's members, and what is inside.

    Attributes:
        names: of a map's members.
        inside: of members (by key) or of an array's items (by place); -1 for all others.
        wraps: the byte string holds CBOR of this shape.
    """

    names: Mapping[int | str, str] = field(default_factory=dict)
    inside: Mapping[int | str, Shape] = field(default_factory=dict)
    wraps: Shape | None = None

    def of(self, place: int | str) -> Shape:
        """The shape of a member or item."""
        return self.inside.get(place, self.inside.get(-1, PLAIN))


PLAIN: Final = Shape()


def sign1(protected: Shape, payload: Shape) -> Shape:
    """The shape of a COSE_Sign1."""
    return Shape(inside={0: Shape(wraps=protected), 2: Shape(wraps=payload)})


def notation(data: bytes, shape: Shape) -> str:
    """Write an item in diagnostic notation; long byte strings are shortened in the middle."""
    return "\n".join(_lines(decode(data, field="example", max_bytes=1 << 20), shape))


def _lines(value: Value, shape: Shape) -> list[str]:
    if isinstance(value, cbor2.CBORTag):
        inner = _lines(cast("Value", value.value), shape)
        return (
            [f"{value.tag}({inner[0]}", *inner[1:-1], f"{inner[-1]})"]
            if len(inner) > 1
            else [f"{value.tag}({inner[0]})"]
        )
    if isinstance(value, bytes) and shape.wraps is not None:
        inner = _lines(decode(value, field="example", max_bytes=1 << 20), shape.wraps)
        return [f"<< {inner[0]}", *inner[1:-1], f"{inner[-1]} >>"] if len(inner) > 1 else [f"<< {inner[0]} >>"]
    if isinstance(value, list):
        return _block("[", "]", [_lines(item, shape.of(place)) for place, item in enumerate(value)])
    if isinstance(value, dict):
        return _block("{", "}", [_pair(key, item, shape) for key, item in value.items()])
    return [_scalar(value)]


def _pair(key: int | str, value: Value, shape: Shape) -> list[str]:
    name = f"/ {shape.names[key]} / " if key in shape.names else ""
    first, *rest = _lines(value, shape.of(key))
    return [f"{name}{json.dumps(key)}: {first}", *rest]


def _block(opening: str, closing: str, entries: list[list[str]]) -> list[str]:
    flat = opening + ", ".join(" ".join(line.strip() for line in entry) for entry in entries) + closing
    if len(flat) <= _WIDTH:
        return [flat]
    lines = [opening]
    for number, entry in enumerate(entries):
        comma = "," if number < len(entries) - 1 else ""
        lines += [f"  {line}" for line in entry[:-1]] + [f"  {entry[-1]}{comma}"]
    return [*lines, closing]


def _scalar(value: Value) -> str:
    if isinstance(value, bytes):
        digits = value.hex()
        shown = digits if len(digits) <= _MOST_HEX else f"{digits[:64]} … {digits[-16:]}"
        return f"h'{shown}'"
    return json.dumps(value, ensure_ascii=False)
