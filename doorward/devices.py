"""The devices of one door's configuration: what each can do, and how the running daemon finds it.

Invariant: no device is opened, so that a daemon is not disturbed; what only the daemon knows is unknown without it.
Must not: print.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from doorward.diag import Answer
from edge.config import EdgeConfig
from edge.ports import LineState, Reason
from firmware_adapters.address import Address
from firmware_adapters.catalogue import AdapterError, AddressFault, Kind, check, named_wires, open_display, open_reader
from provisioning.detect import Suggestion, pcscd_socket
from provisioning.nfc_readers import READERS


class Health(Enum):
    """How a device is."""

    WELL = "well"
    OPENING = "opening"
    LOST = "lost"
    FAULT = "fault"
    OTHER = "other address"
    NOT_INSTALLED = "not installed"
    UNKNOWN = "unknown"
    UNCONFIGURED = "unconfigured"


_UNWELL: Final = frozenset({Health.LOST, Health.FAULT, Health.OTHER, Health.NOT_INSTALLED})
_KINDS: Final = {"reader": Kind.READER, "lock": Kind.LOCK, "inputs": Kind.INPUTS, "display": Kind.DISPLAY}
_GONE: Final = frozenset({Reason.LOST.value, Reason.DEADLINE.value})
"""Why a device is lost when it is not there; for every other reason it is there and cannot be used."""
_STATES: Final = {"opening": Health.OPENING, "open": Health.WELL, "lost": Health.LOST}


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        kind: "reader", "lock", "inputs" or "display"; what it is where it is not configured.
        id: of a reader or display, and what the journal calls inputs; None for the others.
        url: its address; None when it is not configured and there is no adapter for it.
        can: how a reader reads, then what it can show; which way a lock fails; the wires that are taken from inputs;
            how many characters a display has ("20x2").
        health: how it is.
        note: more on that.
    """

    kind: str
    id: str | None
    url: str | None
    can: tuple[str, ...] = ()
    health: Health = Health.UNKNOWN
    note: str = ""


def configured(config: EdgeConfig) -> list[Device]:
    """Give the devices of a configuration whose addresses are right, as far as they are known without the daemon."""
    devices = [_reader(each.id, each.url) for each in config.readers]
    devices.append(Device("lock", None, config.lock.url, _lock_can(config.lock.url)))
    devices += [Device("inputs", name, url, named_wires(url)) for name, url in config.inputs_by_id.items()]
    devices += [_display(each.id, each.url) for each in config.displays]
    return devices


def as_the_daemon_says(devices: Iterable[Device], status: Answer) -> list[Device]:
    """Add the health of each device from the daemon's state."""
    return [_judged(each, status) for each in devices]


def unconfigured(found: Iterable[Suggestion], devices: Iterable[Device]) -> list[Device]:
    """Give what is plugged in and stands in no address of the configuration."""
    addresses = [check(_KINDS[each.kind], each.url) for each in devices if each.url is not None]
    used = {place for each in addresses for place in _places(each)}
    return [
        Device(each.found.value, None, each.url, health=Health.UNCONFIGURED, note=each.name or str(each.path))
        for each in found
        if each.path.resolve() not in used and not any(_names_on_usb(address, each) for address in addresses)
    ]


def unwell(devices: Iterable[Device]) -> bool:
    """Tell whether a person has to see to one of them."""
    return any(each.health in _UNWELL for each in devices)


# --- what is known without the daemon ------------------------------------------------------------------------


def _reader(name: str, url: str) -> Device:
    try:
        info = open_reader(url, name).info  # which opens nothing
    except AdapterError as error:
        return _not_installed("reader", name, url, error)
    can = (*sorted(each.value for each in info.media), *sorted(each.value for each in info.capabilities))
    return Device("reader", name, url, can)


def _display(name: str, url: str) -> Device:
    try:
        info = open_display(url, name).info  # which opens nothing
    except AdapterError as error:
        return _not_installed("display", name, url, error)
    size = f"{info.columns}x{info.rows}"
    return Device("display", name, url, (size, "simulated") if info.simulated else (size,))


def _not_installed(kind: str, name: str, url: str, error: AdapterError) -> Device:
    """Tell of a device whose package is missing; any other fault is raised."""
    if error.fault is not AddressFault.MISSING_PACKAGE:
        raise error
    return Device(kind, name, url, health=Health.NOT_INSTALLED, note=f"{error.what}; {error.remedy}")


def _lock_can(url: str) -> tuple[str, ...]:
    fail = check(Kind.LOCK, url).texts.get("fail", "")
    return (f"fail-{fail}",) if fail else ()


def _places(address: Address) -> set[Path]:
    """Give the device files that an address stands for."""
    if address.scheme == "pcsc":
        return {pcscd_socket().resolve()}
    if address.scheme == "camera" and address.path.isdigit():
        return {Path(f"/dev/video{address.path}").resolve()}
    return {Path(address.path).resolve()} if address.path.startswith("/") and not address.host else set()


def _names_on_usb(address: Address, found: Suggestion) -> bool:
    """Tell whether an address stands for an NFC reader on USB.

    `nfc:usb` is whichever nfcpy takes first, so it stands for them all; `pcsc:` for those that pcscd has.
    """
    if found.usb_id is None:
        return False
    if address.scheme == "pcsc":
        return READERS[found.usb_id].pcsc is not None
    vendor, product = (f"{each:04x}" for each in found.usb_id)
    bus, number = found.path.parts[-2:]
    names = {"usb", f"usb:{vendor}", f"usb:{vendor}:{product}", f"usb:{bus}:{number}"}
    return address.scheme == "nfc" and address.path.lower() in names


# --- what the daemon says ------------------------------------------------------------------------------------


def _judged(device: Device, status: Answer) -> Device:
    if device.health is Health.NOT_INSTALLED:
        return device
    if device.kind in {"reader", "display"}:
        return _judged_by_id(device, status["readers" if device.kind == "reader" else "displays"])
    if device.kind == "lock":
        if status["lock"] != device.url:
            return _other(device, status["lock"])
        return replace(device, health=Health.WELL if status["lock_answers"] else Health.LOST)
    return _judged_inputs(device, status["inputs"], status["lines"])


def _judged_by_id(device: Device, told: Sequence[Answer]) -> Device:
    of_daemon = next((each for each in told if each["id"] == device.id), None)
    if of_daemon is None or of_daemon["url"] != device.url:
        return _other(device, None if of_daemon is None else of_daemon["url"])
    return replace(device, health=_health(of_daemon), note=_note(of_daemon) or _said(of_daemon.get("troubles", {})))


def _health(told: Answer) -> Health:
    """Tell one that is not there from one that is there and cannot be used."""
    health = _STATES.get(told["state"], Health.UNKNOWN)
    # A daemon that was started before an update tells no reason.
    if health is Health.LOST and told.get("reason") not in {None, *_GONE}:
        return Health.FAULT
    return health


def _note(told: Answer) -> str:
    """Give why it is lost; a daemon that was started before an update has another name for that of inputs."""
    return told.get("sentence") or told.get("fault") or ""


def _said(troubles: Mapping[str, int]) -> str:
    """Write what went wrong with what a reader read, the most frequent first."""
    often = sorted(troubles.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{what}: {count}" for what, count in often)


def _judged_inputs(device: Device, inputs: Sequence[Answer], lines: Sequence[Mapping[str, str | None]]) -> Device:
    """Judge by how the daemon finds the address, then by its own wires: all unknown when a reader's case is away."""
    of_daemon = next((each for each in inputs if each["url"] == device.url), None)
    if of_daemon is None:
        return _other(device, None)
    health = _health(of_daemon)
    if health is not Health.WELL:
        return replace(device, health=health, note=_note(of_daemon))
    heard = [(str(each["line"]), each["state"]) for each in lines if each["line"] in device.can and each["since"]]
    if heard and all(state == LineState.UNKNOWN.value for _, state in heard):
        return replace(device, health=Health.LOST)
    wrong = [line for line, state in heard if state == LineState.FAULT.value]
    if wrong:
        return replace(device, health=Health.FAULT, note="a broken or shorted wire: " + ", ".join(wrong))
    return replace(device, health=Health.WELL, note=", ".join(f"{line} {state}" for line, state in heard))


def _other(device: Device, url: str | None) -> Device:
    runs = "without it" if url is None else f"with {url}"
    return replace(device, health=Health.OTHER, note=f"the daemon runs {runs}; restart it")
