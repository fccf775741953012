"""Which device addresses there are, and the one place that turns an address into an adapter.

The tables are explicit: an adapter exists when it has a row here. Importing this module loads no driver and no
event loop; an adapter's module is loaded when the first address with its scheme is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from firmware_adapters import catalogue_openers as openers
from firmware_adapters.address import (
    AdapterError,
    Address,
    AddressFault,
    AnyOption,
    Option,
    Place,
    TextOption,
    parse_address,
    scheme_of,
)
from firmware_adapters.catalogue_options import (
    BOARD,
    BUS,
    CAMERA,
    CAMERA_DEVICE,
    COIL,
    CUSTOMER_DISPLAY,
    DEBOUNCE,
    LINE,
    LINES,
    OSDP_EXAMPLE,
    OSDP_LINE,
    OSDP_WIRES,
    PIN_PAUSE,
    POLLED,
    RELAY,
    WIRES,
)

if TYPE_CHECKING:
    # At run time this would load the core and its cryptography, for names of types alone.
    from collections.abc import Callable, Iterable, Mapping

    from edge.ports import Display, Home, Inputs, Lock, Reader

__all__ = [
    "AdapterError",
    "AddressFault",
    "Description",
    "Kind",
    "check",
    "check_all_inputs",
    "describe",
    "named_wires",
    "open_display",
    "open_inputs",
    "open_lock",
    "open_reader",
    "schemes",
]

_Opener = TypeVar("_Opener")


class Kind(Enum):
    """What an address can stand for; the value is the word for several of them."""

    READER = "readers"
    LOCK = "locks"
    INPUTS = "inputs"
    DISPLAY = "displays"


@dataclass(frozen=True, slots=True)
class Description:
    """One kind of address, for help texts.

    Args:
        kind: what it stands for.
        scheme: how it begins.
        what: what is opened.
        example: a right address.
        options: the options it may have, by name.
        extra: the optional dependency of the doorward package that it needs, None for none.
    """

    kind: Kind
    scheme: str
    what: str
    example: str
    options: Mapping[str, AnyOption]
    extra: str | None


@dataclass(frozen=True, slots=True)
class _Row(Generic[_Opener]):
    what: str
    example: str
    opener: _Opener
    options: Mapping[str, AnyOption]
    extra: str | None = None
    place: Place = Place.DEVICE


_READERS: Mapping[str, _Row[Callable[[Address, str, Home | None], Reader]]] = MappingProxyType(
    {
        "serial": _Row(
            what="a QR scanner on a serial port that sends each code as a line",
            example="serial:///dev/ttyDW0?baud=115200",
            opener=openers.serial,
            options={
                "baud": Option("bits a second, as the scanner is set", default=115_200, least=300, most=4_000_000),
                "idle_ms": Option("milliseconds of silence that end a line", default=50, least=5, most=1000),
            },
            extra="edge",
        ),
        "pcsc": _Row(
            what="a reader of cards and phones behind pcscd: what its name begins with, or any",
            example="pcsc:ACS%20ACR122U?acr122=1",
            opener=openers.pcsc,
            options={"acr122": Option("1 to drive the LED and buzzer of an ACR122U", default=0, least=0, most=1)},
            extra="pcsc",
        ),
        "nfc": _Row(
            what="a PN532, ACR122U or RC-S380 that nfcpy drives itself: a serial port, or usb",
            example="nfc:///dev/ttyUSB0",
            opener=openers.nfc,
            options={},
            extra="nfc",
        ),
        "hid": _Row(
            what="a QR scanner that types like a keyboard, with the keys of a US one",
            example="hid:///dev/input/by-id/usb-Scanner-event-kbd",
            opener=openers.hid,
            options={
                "idle_ms": Option("milliseconds without a key that end a code", default=100, least=5, most=1000),
            },
            extra="edge",
        ),
        "osdp": _Row(
            what="a card reader, with or without keys, on an RS-485 line, in an OSDP secure channel",
            example=OSDP_EXAMPLE,
            opener=openers.osdp,
            options=OSDP_LINE
            | {
                "led": Option("1 when it has an LED", default=1, least=0, most=1),
                "buzzer": Option("1 when it has a buzzer", default=1, least=0, most=1),
                "display": Option("1 when it has a text display", default=0, least=0, most=1),
                "pin_pause_ms": PIN_PAUSE,
            },
            extra="osdp",
        ),
        "wiegand": _Row(
            what="a card reader, with or without keys, on two lines of a GPIO chip (26, 34 or 37 bits)",
            example="wiegand:///dev/gpiochip0?d0=23&d1=24",
            opener=openers.wiegand,
            options={
                "d0": TextOption("the line of D0, by number or name", pattern=LINE, required=True),
                "d1": TextOption("the line of D1, by number or name", pattern=LINE, required=True),
                "gap_ms": Option("milliseconds of silence that end a frame", default=25, least=5, most=200),
                "pin_pause_ms": PIN_PAUSE,
            },
            extra="gpio",
        ),
        "camera": _Row(
            what="a video device that QR codes are held before",
            example="camera:///dev/video0",
            opener=openers.camera,
            options=CAMERA | CAMERA_DEVICE,
            extra="camera",
        ),
        "camera+files": _Row(
            what="a folder in which image files appear, read as a camera's frames",
            example="camera+files:///run/doorward/frames?fps=15",
            opener=openers.camera_files,
            options=CAMERA,
            extra="camera",
        ),
        "camera+http": _Row(
            what="a camera in the network that serves motion JPEG",
            example="camera+http://10.0.0.7:8080/stream.mjpg?fps=15",
            opener=openers.camera_http,
            options=CAMERA,
            extra="camera",
            place=Place.HOST,
        ),
        "camera+csi": _Row(
            what="a Raspberry Pi's own camera, by its number",
            example="camera+csi:0",
            opener=openers.camera_csi,
            options=CAMERA | CAMERA_DEVICE,
            extra="camera",
        ),
        "simulated": _Row(
            what="the reader of a simulated door, which reads lines from its reader-ID.sock",
            example="simulated:///var/lib/doorward/twin",
            opener=openers.simulated_reader,
            options={},
        ),
    },
)
_LOCKS: Mapping[str, _Row[Callable[[Address], Lock]]] = MappingProxyType(
    {
        "gpio": _Row(
            what="a relay on a line of a GPIO chip",
            example="gpio:///dev/gpiochip0?lock=17",
            opener=openers.gpio_lock,
            options=RELAY,
            extra="gpio",
        ),
        "gpio+files": _Row(
            what="a relay that is a file in a folder, for machines without GPIO",
            example="gpio+files:///run/doorward/chip?lock=17",
            opener=openers.gpio_files_lock,
            options=RELAY,
        ),
        "modbus": _Row(
            what="a relay of a Modbus board on a serial port",
            example="modbus:///dev/ttyUSB0?unit=1&coil=0",
            opener=openers.modbus_lock,
            options=BOARD | BUS | COIL,
            extra="modbus",
        ),
        "modbus+tcp": _Row(
            what="a relay of a Modbus board on the network",
            example="modbus+tcp://10.0.0.7:502?unit=1&coil=0",
            opener=openers.modbus_lock,
            options=BOARD | COIL,
            extra="modbus",
            place=Place.HOST,
        ),
        "simulated": _Row(
            what="the relay of a simulated door, visible in a state folder",
            example="simulated:///var/lib/doorward/twin",
            opener=openers.simulated_lock,
            options={},
        ),
    },
)
_INPUTS: Mapping[str, _Row[Callable[[Address], Inputs]]] = MappingProxyType(
    {
        "gpio": _Row(
            what="contacts and buttons on lines of a GPIO chip",
            example="gpio:///dev/gpiochip0?contact=5&rex=6,no&fire=13,nc",
            opener=openers.gpio_inputs,
            options=LINES | DEBOUNCE,
            extra="gpio",
        ),
        "gpio+files": _Row(
            what="contacts and buttons that are files in a folder, for machines without GPIO",
            example="gpio+files:///run/doorward/chip?contact=5&rex=6",
            opener=openers.gpio_files_inputs,
            options=LINES | DEBOUNCE,
        ),
        "adc": _Row(
            what="supervised contacts and buttons on a converter, which tell a short and a cut wire too",
            example="adc:///sys/bus/iio/devices/iio:device0?contact=0&rex=1",
            opener=openers.adc_inputs,
            options=POLLED
            | DEBOUNCE
            | {"reference_mv": Option("millivolts of the reference", default=3300, least=1000, most=24_000)},
        ),
        "osdp": _Row(
            what="the case (tamper) and the supply (power) of an OSDP reader",
            example=OSDP_EXAMPLE,
            opener=openers.osdp_inputs,
            options=OSDP_LINE | OSDP_WIRES,
            extra="osdp",
        ),
        "modbus": _Row(
            what="contacts and buttons on a Modbus board on a serial port",
            example="modbus:///dev/ttyUSB0?unit=1&contact=0&rex=1,no",
            opener=openers.modbus_inputs,
            options=BOARD | BUS | POLLED | DEBOUNCE,
            extra="modbus",
        ),
        "modbus+tcp": _Row(
            what="contacts and buttons on a Modbus board on the network",
            example="modbus+tcp://10.0.0.7:502?unit=1&contact=0&rex=1,no",
            opener=openers.modbus_inputs,
            options=BOARD | POLLED | DEBOUNCE,
            extra="modbus",
            place=Place.HOST,
        ),
        "simulated": _Row(
            what="the wires of a simulated door (contact, exit button, fire …), driven through its control.sock",
            example="simulated:///var/lib/doorward/twin",
            opener=openers.simulated_inputs,
            options=WIRES,
        ),
    },
)
_DISPLAYS: Mapping[str, _Row[Callable[[Address, str], Display]]] = MappingProxyType(
    {
        "display": _Row(
            what="a customer display of two rows of 20 characters on a serial port",
            example="display:///dev/ttyUSB1?baud=9600&commands=cd5220",
            opener=openers.serial_display,
            options=CUSTOMER_DISPLAY,
            extra="edge",
        ),
        "display+simulated": _Row(
            what="the display of a simulated door, which writes what it shows to display-ID.jsonl",
            example="display+simulated:///var/lib/doorward/twin",
            opener=openers.simulated_display,
            options={},
        ),
    },
)


def open_reader(url: str, reader_id: str, home: Home | None = None) -> Reader:
    """Make the reader at a device address; the device itself is opened when it is iterated.

    Args:
        url: the device address.
        reader_id: the id the configuration gives it.
        home: the door it works for; None for a device that is only tried.

    Raises:
        AdapterError: the address is wrong, or its adapter's package is not installed.
    """
    address, row = _look_up(Kind.READER, _READERS, url)
    try:
        return row.opener(address, reader_id, home)
    except ImportError as error:
        raise _not_installed(address, row.extra, error) from error


def open_lock(url: str) -> Lock:
    """Open the lock at a device address, released.

    Raises:
        AdapterError: the address is wrong, or its adapter's package is not installed.
        LockError: the lock cannot be driven.
    """
    address, row = _look_up(Kind.LOCK, _LOCKS, url)
    try:
        return row.opener(address)
    except ImportError as error:
        raise _not_installed(address, row.extra, error) from error


def open_inputs(url: str) -> Inputs:
    """Open the door's inputs at a device address.

    Raises:
        AdapterError: the address is wrong, or its adapter's package is not installed.
        InputsError: they cannot be watched.
    """
    address, row = _look_up(Kind.INPUTS, _INPUTS, url)
    try:
        return row.opener(address)
    except ImportError as error:
        raise _not_installed(address, row.extra, error) from error


def open_display(url: str, display_id: str) -> Display:
    """Make the display at a device address; the device itself is opened when it is held.

    Args:
        url: the device address.
        display_id: the id the configuration gives it.

    Raises:
        AdapterError: the address is wrong, or its adapter's package is not installed.
    """
    address, row = _look_up(Kind.DISPLAY, _DISPLAYS, url)
    try:
        return row.opener(address, display_id)
    except ImportError as error:
        raise _not_installed(address, row.extra, error) from error


def named_wires(url: str) -> tuple[str, ...]:
    """Return the wires that an address of inputs names, in the order of `LINES`; all its device has if it names none.

    Raises:
        AdapterError: the address is wrong for inputs.
    """
    texts = check(Kind.INPUTS, url).texts
    taken = texts.get("wires", "").split(",")
    return tuple(name for name in LINES if texts.get(name) or name in taken)


def check_all_inputs(urls: Iterable[str]) -> None:
    """Check the addresses of one door's inputs, and that each wire is told of by one of them only.

    Two that tell of one wire would contradict each other when a cable breaks, and nobody could say which is right.

    Raises:
        AdapterError: SHARED_WIRE, or as `check`.
    """
    told: dict[str, str] = {}
    for url in urls:
        for wire in named_wires(url):
            if wire in told:
                raise AdapterError(
                    AddressFault.SHARED_WIRE,
                    what=f"two addresses of inputs tell of the wire {wire}: {told[wire]!r} and {url!r}",
                    remedy=f"leave {wire} at one of them (osdp: and simulated: take from a device what wires= names)",
                )
            told[wire] = url


def check(kind: Kind, url: str) -> Address:
    """Check a device address without opening or loading anything.

    Raises:
        AdapterError: the address is wrong for this kind.
    """
    match kind:
        case Kind.READER:
            return _look_up(kind, _READERS, url)[0]
        case Kind.LOCK:
            return _look_up(kind, _LOCKS, url)[0]
        case Kind.INPUTS:
            return _look_up(kind, _INPUTS, url)[0]
        case Kind.DISPLAY:
            return _look_up(kind, _DISPLAYS, url)[0]


def schemes() -> Mapping[Kind, tuple[str, ...]]:
    """Return the schemes of each kind, sorted."""
    return {
        Kind.READER: tuple(sorted(_READERS)),
        Kind.LOCK: tuple(sorted(_LOCKS)),
        Kind.INPUTS: tuple(sorted(_INPUTS)),
        Kind.DISPLAY: tuple(sorted(_DISPLAYS)),
    }


def describe() -> tuple[Description, ...]:
    """Return every kind of address there is, in the order of the tables."""
    return (
        *_described(Kind.READER, _READERS),
        *_described(Kind.LOCK, _LOCKS),
        *_described(Kind.INPUTS, _INPUTS),
        *_described(Kind.DISPLAY, _DISPLAYS),
    )


def _described(kind: Kind, table: Mapping[str, _Row[_Opener]]) -> tuple[Description, ...]:
    return tuple(
        Description(kind, scheme, row.what, row.example, MappingProxyType(row.options), row.extra)
        for scheme, row in table.items()
    )


def _look_up(kind: Kind, table: Mapping[str, _Row[_Opener]], url: str) -> tuple[Address, _Row[_Opener]]:
    scheme = scheme_of(url)
    row = table.get(scheme)
    if row is None:
        others = [other.value for other, names in schemes().items() if scheme in names]
        raise AdapterError(
            AddressFault.UNKNOWN_SCHEME,
            what=f"the device address {url!r} is for {' and '.join(others)}, not {kind.value}"
            if others
            else f"the device address {url!r} has the unknown scheme {scheme!r}",
            remedy="use " + " or ".join(f"{name}: ({known.what}; {known.example})" for name, known in table.items()),
        )
    return parse_address(url, known=row.options, example=row.example, place=row.place), row


def _not_installed(address: Address, extra: str | None, error: ImportError) -> AdapterError:
    return AdapterError(
        AddressFault.MISSING_PACKAGE,
        what=f"{address.scheme}: needs the Python package {error.name}, which does not load ({error.msg})",
        remedy=f"install it with: pip install 'doorward[{extra}]'" if extra else "install doorward again",
    )
