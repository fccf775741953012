"""Device addresses: one URL says which adapter, which device and which options.

Pure: nothing is opened here. Invariant: an address that parses has only options of its scheme, each in its range.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

# Linux refuses paths over 4,096 bytes (PATH_MAX); no option needs more.
MAX_ADDRESS_CHARS = 4096
# Every option's limit is smaller than a thousand million, and int() of a huge text costs time.
MAX_OPTION_DIGITS = 9


class AddressFault(Enum):
    """Why a device address cannot be used."""

    UNKNOWN_SCHEME = "unknown_scheme"
    MALFORMED = "malformed"
    UNKNOWN_OPTION = "unknown_option"
    BAD_OPTION = "bad_option"
    MISSING_PACKAGE = "missing_package"
    SHARED_WIRE = "shared_wire"


class AdapterError(Exception):
    """A device address cannot be used.

    Args:
        fault: the class of the mistake.
        what: one clause that quotes the address and says what is wrong.
        remedy: what to write instead.
    """

    def __init__(self, fault: AddressFault, *, what: str, remedy: str) -> None:
        """Keep the fault beside the text "what; remedy"."""
        super().__init__(f"{what}; {remedy}")
        self.fault = fault
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Option:
    """One whole-number option of a scheme.

    Args:
        what: what it sets, with its unit, for the help text.
        default: its value when the address does not name it.
        least: the smallest value accepted.
        most: the largest value accepted.
    """

    what: str
    default: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class TextOption:
    """One option of a scheme that is a name, a path or a choice.

    Args:
        what: what it sets, for the help text.
        pattern: what the whole value has to match.
        default: its value when the address does not name it; "" when it then is absent.
        required: an address without it is refused.
    """

    what: str
    pattern: str
    default: str = ""
    required: bool = False


AnyOption: TypeAlias = Option | TextOption


class Place(Enum):
    """What an address of a scheme begins with."""

    DEVICE = "device"  # a path, or a bare name
    HOST = "host"  # //host:port, and perhaps a path on it


@dataclass(frozen=True, slots=True)
class Address:
    """A checked device address.

    Args:
        url: the address as written.
        scheme: lower case.
        path: what follows the scheme, percent-decoded: an absolute path, or a bare name as in `camera:0`. Behind a
            host it may be empty.
        options: every whole-number option of the scheme with its value, given or default.
        texts: the same for the others.
        host: for a scheme that goes to a host, its name or address and port as written; else empty.
    """

    url: str
    scheme: str
    path: str
    options: Mapping[str, int]
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    host: str = ""


def scheme_of(url: str) -> str:
    """Return the scheme of a device address, lower case.

    Raises:
        AdapterError: there is none, or the address is too long or has control characters.
    """
    if len(url) > MAX_ADDRESS_CHARS:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"a device address of {len(url)} characters",
            remedy=f"use at most {MAX_ADDRESS_CHARS}",
        )
    if not url.isprintable() or " " in url:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {url!r} contains blanks or control characters",
            remedy="write them as %20 and the like",
        )
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {url!r} has no scheme",
            remedy="start it with one, as in serial:///dev/ttyDW0",
        )
    return scheme.lower()


def parse_address(url: str, *, known: Mapping[str, AnyOption], example: str, place: Place = Place.DEVICE) -> Address:
    """Check a device address against the options of its scheme.

    Args:
        url: the address as configured.
        known: the options of this scheme by name.
        example: a right address of this scheme, quoted in errors.
        place: what it begins with.

    Raises:
        AdapterError: anything else than a path (or a bare name, or a host) and known options in their ranges.
    """
    scheme = scheme_of(url)
    split = _split(url, example)
    host = _host(url, split, example) if place is Place.HOST else ""
    if split.netloc and not host:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {url!r} has two slashes, so {split.netloc!r} reads as a host name",
            remedy=f"use three, as in {example}",
        )
    path = unquote(split.path)
    if (not host and path in {"", "/"}) or "\x00" in path or split.fragment:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {url!r} names no device",
            remedy=f"write it like {example}",
        )
    numbers, texts = _options(url, split.query, known)
    return Address(url, scheme, path, numbers, texts, host)


def _host(url: str, split: SplitResult, example: str) -> str:
    """Return host and port."""
    if "@" in split.netloc:  # not quoted: it may hold a password
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"a {split.scheme}: address carries a user name or password, which the configuration must not hold",
            remedy=f"give the device a network of its own with the door and write the address like {example}",
        )
    try:
        named = bool(split.hostname) and split.port != 0
    except ValueError:
        named = False
    if not named:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {url!r} names no host",
            remedy=f"write it like {example}",
        )
    return split.netloc


def _split(url: str, example: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise AdapterError(
            AddressFault.MALFORMED,
            what=f"the device address {url!r} is not a URL ({error})",
            remedy=f"write it like {example}",
        ) from error


def _options(url: str, query: str, known: Mapping[str, AnyOption]) -> tuple[Mapping[str, int], Mapping[str, str]]:
    given: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise AdapterError(
                AddressFault.UNKNOWN_OPTION,
                what=f"the device address {url!r} has an unknown option {name!r}",
                remedy="remove it" if not known else f"use only: {', '.join(sorted(known))}",
            )
        if name in given:
            raise AdapterError(
                AddressFault.BAD_OPTION,
                what=f"the device address {url!r} gives {name!r} twice",
                remedy="give it once",
            )
        given[name] = text
    numbers: dict[str, int] = {}
    texts: dict[str, str] = {}
    for name, option in known.items():
        if isinstance(option, Option):
            numbers[name] = _whole_number(url, name, given[name], option) if name in given else option.default
        else:
            texts[name] = _text(url, name, given.get(name), option)
    return numbers, texts


def _text(url: str, name: str, text: str | None, option: TextOption) -> str:
    if text is None and not option.required:
        return option.default
    if text is not None and re.fullmatch(option.pattern, text, re.ASCII):
        return text
    raise AdapterError(
        AddressFault.BAD_OPTION,
        what=f"the device address {url!r} gives {name}={text!r}"
        if text is not None
        else f"the device address {url!r} has no option {name!r}",
        remedy=f"give {name}: {option.what}",
    )


def _whole_number(url: str, name: str, text: str, option: Option) -> int:
    if text.isascii() and text.isdigit() and len(text) <= MAX_OPTION_DIGITS:
        value = int(text)
        if option.least <= value <= option.most:
            return value
    raise AdapterError(
        AddressFault.BAD_OPTION,
        what=f"the device address {url!r} gives {name}={text!r}",
        remedy=f"use a whole number from {option.least} to {option.most} ({option.what})",
    )
