"""Vectors of the text form, and of CBOR as we accept it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vectors.parts.kit import MAX_UINT, accepted, collection, refused
from wire.errors import WireReason
from wire.text import MAX_TEXT_BYTES, MAX_TEXT_CHARACTERS, PREFIX, to_text

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Json

_BASE45: dict[str, bytes] = {
    "BB8": b"AB",
    "%69 VD92EX0": b"Hello!!",
    "UJCLQE7W581": b"base-45",
    "QED8WEX0": b"ietf!",
}
"""RFC 9285 §4.3 and §4.4."""


def _read(name: str, text: bytes, data: bytes) -> Case:
    return {"name": name, "text": text.decode("ascii"), "expect": {"data": data.hex()}}


def _refused(name: str, text: bytes, reason: WireReason) -> Case:
    return {"name": name, "text": text.decode("latin-1"), "expect_error": {"reason": reason.value, "field": "text"}}


def texts() -> dict[str, Json]:
    """text.json."""
    longest = bytes(range(256)) + bytes(range(MAX_TEXT_BYTES - 256))
    vectors = [
        *(_read(f"RFC 9285 {data.decode()}", PREFIX + text.encode(), data) for text, data in _BASE45.items()),
        _read("nothing after the prefix", PREFIX, b""),
        _read("largest group of three", PREFIX + b"FGW", b"\xff\xff"),
        _refused("group of three beyond 16 bits", PREFIX + b"GGW", WireReason.NOT_CANONICAL),
        _refused("second group of three beyond 16 bits", PREFIX + b"BB8GGW", WireReason.NOT_CANONICAL),
        _refused("largest characters", PREFIX + b":::", WireReason.NOT_CANONICAL),
        _read("largest group of two", PREFIX + b"U5", b"\xff"),
        _refused("group of two beyond 8 bits", PREFIX + b"V5", WireReason.NOT_CANONICAL),
        _refused("single character at the end", PREFIX + b"BB8B", WireReason.NOT_CANONICAL),
        _read("longest text", to_text(longest), longest),
        _refused("one character too long", PREFIX + b"0" * (MAX_TEXT_CHARACTERS - 3), WireReason.TOO_LARGE),
        _refused("empty", b"", WireReason.EMPTY),
        _refused("prefix cut", b"DW1", WireReason.WRONG_PREFIX),
        _refused("no prefix", b"BB8", WireReason.WRONG_PREFIX),
        _refused("prefix in lower case", b"dw1:BB8", WireReason.WRONG_PREFIX),
        _refused("another version", b"DW2:BB8", WireReason.WRONG_PREFIX),
        _refused("space before", b" DW1:BB8", WireReason.WRONG_PREFIX),
        _refused("lower case", PREFIX + b"bb8", WireReason.WRONG_ALPHABET),
        _refused("line end", PREFIX + b"BB8\n", WireReason.WRONG_ALPHABET),
        _refused("comma", PREFIX + b"BB,", WireReason.WRONG_ALPHABET),
        _refused("zero byte", PREFIX + b"BB\x00", WireReason.WRONG_ALPHABET),
        _refused("beyond ASCII", PREFIX + b"BB\xb8", WireReason.WRONG_ALPHABET),
    ]
    return collection(
        "The text form: DW1: and Base45. `text` is Latin-1, one character a byte.",
        "docs/spec/presentation.md; examples of RFC 9285 §4.3 and §4.4",
        vectors,
    )


_RFC_ACCEPTED: dict[str, Json] = {
    "00": 0,
    "01": 1,
    "0a": 10,
    "17": 23,
    "1818": 24,
    "1819": 25,
    "1864": 100,
    "1903e8": 1000,
    "1a000f4240": 1000000,
    "1b000000e8d4a51000": 1000000000000,
    "20": -1,
    "29": -10,
    "3863": -100,
    "3903e7": -1000,
    "f4": False,
    "f5": True,
    "f6": None,
    "40": {"hex": ""},
    "4401020304": {"hex": "01020304"},
    "60": "",
    "6161": "a",
    "6449455446": "IETF",
    "62225c": '"\\',
    "62c3bc": "\u00fc",
    "63e6b0b4": "\u6c34",
    "64f0908591": "\U00010151",
    "80": [],
    "83010203": [1, 2, 3],
    "8301820203820405": [1, [2, 3], [4, 5]],
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819": list(range(1, 26)),
    "a0": {"map": []},
    "a201020304": {"map": [[1, 2], [3, 4]]},
    "a26161016162820203": {"map": [["a", 1], ["b", [2, 3]]]},
    "826161a161626163": ["a", {"map": [["b", "c"]]}],
    "a56161614161626142616361436164614461656145": {"map": [["a", "A"], ["b", "B"], ["c", "C"], ["d", "D"], ["e", "E"]]},
}
_RFC_REFUSED: dict[WireReason, tuple[str, ...]] = {
    WireReason.OUT_OF_RANGE: ("1bffffffffffffffff", "3bffffffffffffffff"),
    WireReason.FORBIDDEN_TYPE: (
        *("c249010000000000000000", "c349010000000000000000", "f90000", "f98000", "f93c00", "fb3ff199999999999a"),
        *("f93e00", "f97bff", "fa47c35000", "fa7f7fffff", "fb7e37e43c8800759c", "f90001", "f90400", "f9c400"),
        *("fbc010666666666666", "f97c00", "f97e00", "f9fc00", "fa7f800000", "fa7fc00000", "faff800000"),
        *("fb7ff0000000000000", "fb7ff8000000000000", "fbfff0000000000000", "f7", "f0", "f8ff"),
        *("c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "c1fb41d452d9ec200000", "d74401020304"),
        *("d818456449455446", "d82076687474703a2f2f7777772e6578616d706c652e636f6d"),
    ),
    WireReason.NOT_CANONICAL: (
        *("5f42010243030405ff", "7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff", "9f01820203820405ff"),
        *("83018202039f0405ff", "83019f0203ff820405", "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff"),
        *("bf61610161629f0203ffff", "826161bf61626163ff", "bf6346756ef563416d7421ff"),
    ),
    WireReason.NOT_CBOR: ("f818",),
}
"""RFC 8949 Appendix A, all of it; f818 is the one that the RFC calls not well-formed (§3.3)."""


def cbor() -> dict[str, Json]:
    """cbor.json."""
    refusals = [
        ("empty", "", WireReason.EMPTY),
        ("2^63", "1b8000000000000000", WireReason.OUT_OF_RANGE),
        ("-2^63 - 1", "3b8000000000000000", WireReason.OUT_OF_RANGE),
        ("23 in two bytes", "1817", WireReason.NOT_CANONICAL),
        ("255 in three bytes", "1900ff", WireReason.NOT_CANONICAL),
        ("65535 in five bytes", "1a0000ffff", WireReason.NOT_CANONICAL),
        ("2^32 - 1 in nine bytes", "1b00000000ffffffff", WireReason.NOT_CANONICAL),
        ("length in two bytes", "580141", WireReason.NOT_CANONICAL),
        ("tag in two bytes", "d81280", WireReason.NOT_CANONICAL),
        ("keys out of order", "a203040102", WireReason.NOT_CANONICAL),
        ("keys by length first, as in RFC 7049", "a30a002000186400", WireReason.NOT_CANONICAL),
        ("bytes after the item", "0000", WireReason.NOT_CANONICAL),
        ("the same key twice", "a201020102", WireReason.DUPLICATE_KEY),
        ("the same text key twice", "a2616100616101", WireReason.DUPLICATE_KEY),
        ("byte string as a key", "a1410000", WireReason.FORBIDDEN_TYPE),
        ("true as a key", "a1f500", WireReason.FORBIDDEN_TYPE),
        ("null as a key", "a1f600", WireReason.FORBIDDEN_TYPE),
        ("array as a key", "a18000", WireReason.FORBIDDEN_TYPE),
        ("self-described CBOR", "d9d9f700", WireReason.FORBIDDEN_TYPE),
        ("shared value", "d81c80", WireReason.FORBIDDEN_TYPE),
        ("a reference to a shared value", "d81d00", WireReason.FORBIDDEN_TYPE),
        ("string reference", "d90100824161d81900", WireReason.FORBIDDEN_TYPE),
        ("set", "d9010280", WireReason.FORBIDDEN_TYPE),
        ("seven arrays deep", "81818181818181" + "00", WireReason.NOT_CBOR),
        ("seven tags deep", "d2d2d2d2d2d2d2" + "00", WireReason.NOT_CBOR),
        ("text that is not UTF-8", "61ff", WireReason.NOT_CBOR),
        ("surrogate in text", "63eda080", WireReason.NOT_CBOR),
        ("overlong UTF-8", "62c080", WireReason.NOT_CBOR),
        ("cut", "830102", WireReason.NOT_CBOR),
        ("byte string that claims 2^63 - 1 bytes", "5b7fffffffffffffff", WireReason.NOT_CBOR),
        ("array that claims 2^64 - 1 items", "9bffffffffffffffff", WireReason.NOT_CBOR),
        ("map that claims 2^32 - 1 pairs", "baffffffff", WireReason.NOT_CBOR),
        ("break alone", "ff", WireReason.NOT_CBOR),
        ("reserved additional information 28", "1c", WireReason.NOT_CBOR),
        ("true in two bytes", "f815", WireReason.NOT_CBOR),
    ]
    vectors = [
        *(accepted(f"RFC 8949 {data}", bytes.fromhex(data), value) for data, value in _RFC_ACCEPTED.items()),
        accepted("2^63 - 1", bytes.fromhex("1b7fffffffffffffff"), MAX_UINT),
        accepted("-2^63", bytes.fromhex("3b7fffffffffffffff"), -MAX_UINT - 1),
        accepted(
            "keys in the order of RFC 8949", bytes.fromhex("a30a001864002000"), {"map": [[10, 0], [100, 0], [-1, 0]]}
        ),
        accepted("six arrays deep", bytes.fromhex("81818181818100"), [[[[[[0]]]]]]),
        accepted("an empty array in six arrays", bytes.fromhex("81818181818180"), [[[[[[[]]]]]]]),
        accepted("COSE_Sign1", bytes.fromhex("d280"), {"tag": 18, "value": []}),
        *(
            refused(f"RFC 8949 {data}", bytes.fromhex(data), reason, "cbor")
            for reason, items in _RFC_REFUSED.items()
            for data in items
        ),
        *(refused(name, bytes.fromhex(data), reason, "cbor") for name, data, reason in refusals),
    ]
    return collection(
        "CBOR as our parsers take it: what is accepted, and why the rest is refused. A map is a list of pairs.",
        "docs/spec/index.md; RFC 8949 Appendix A (examples) and §4.2.1 (deterministic encoding)",
        vectors,
    )
