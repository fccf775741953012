"""What `doorward provision detect` finds on a machine, which is a few folders here."""

from __future__ import annotations

import plistlib
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import nfc.clf.device
import pytest

from firmware_adapters.catalogue import Kind, check
from provisioning.detect import Found, Machine, SerialPort, Suggestion, detect, pcscd_socket
from provisioning.nfc_readers import READERS, SERIAL_ADAPTERS
from tests.support.fake_usb import plug_fake_usb

_CCID: Final = Path("/usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist")
ACR122U, RC_S380 = (0x072F, 0x2200), (0x054C, 0x06C3)


def _port(device: str, description: str, usb_id: tuple[int, int] | tuple[None, None] = (None, None)) -> SerialPort:
    return SimpleNamespace(device=device, description=description, vid=usb_id[0], pid=usb_id[1])


KNOWN = {Kind.READER: ("serial", "camera"), Kind.LOCK: ("simulated",), Kind.INPUTS: ()}


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Machine:
    machine = Machine(dev=tmp_path / "dev", sys=tmp_path / "sys", run=tmp_path / "run")
    for folder in (machine.dev, machine.sys, machine.run):
        folder.mkdir()
    return machine


def test_devices_are_suggested_with_their_addresses(machine: Machine):
    dev, names = machine.dev, machine.sys / "class" / "video4linux"
    (dev / "serial" / "by-id").mkdir(parents=True)
    for file in ("ttyUSB0", "ttyS0", "video0", "videophone", "gpiochip4"):
        (dev / file).touch()
    lasting = dev / "serial" / "by-id" / "usb-Scanner_123-if00"
    lasting.symlink_to("../../ttyUSB0")
    (names / "video0").mkdir(parents=True)
    (names / "video0" / "name").write_text("Door camera\n")
    ports = [
        _port(str(dev / "ttyUSB0"), "QR scanner"),
        _port(str(dev / "ttyS0"), "n/a"),
    ]
    found = detect(machine, serial_ports=lambda: ports, known=KNOWN)
    assert set(found) == {
        Suggestion(Found.SERIAL, lasting, "QR scanner", f"serial://{lasting}"),
        Suggestion(Found.SERIAL, dev / "ttyS0", "", f"serial://{dev}/ttyS0"),
        Suggestion(Found.CAMERA, dev / "video0", "Door camera", f"camera://{dev}/video0"),
        Suggestion(Found.GPIO, dev / "gpiochip4", "", None),
    }


def test_what_types_what_converts_and_the_smart_card_daemon_are_found(machine: Machine):
    typing, converters = machine.dev / "input" / "by-id", machine.sys / "bus" / "iio" / "devices"
    typing.mkdir(parents=True)
    for file in ("usb-Scanner-event-kbd", "usb-Mouse-event-mouse"):
        (typing / file).touch()
    (converters / "iio:device0").mkdir(parents=True)
    (converters / "iio:device0" / "name").write_text("mcp3008\n")
    (machine.run / "pcscd").mkdir()
    pcscd_socket(machine).touch()
    scanner, converter = typing / "usb-Scanner-event-kbd", converters / "iio:device0"
    assert set(detect(machine, serial_ports=list)) == {
        Suggestion(Found.KEYBOARD, scanner, "", f"hid://{scanner}"),
        Suggestion(Found.CONVERTER, converter, "mcp3008", f"adc://{converter}?contact=0"),
        Suggestion(Found.CARDS, pcscd_socket(machine), "pcscd", "pcsc:any"),
    }


def test_what_is_suggested_is_what_the_catalogue_understands(machine: Machine):
    (machine.dev / "video0").touch()
    (machine.dev / "input" / "by-id").mkdir(parents=True)
    (machine.dev / "input" / "by-id" / "usb-Scanner-event-kbd").touch()
    (machine.run / "pcscd").mkdir()
    pcscd_socket(machine).touch()
    (machine.sys / "bus" / "iio" / "devices" / "iio:device0").mkdir(parents=True)
    ports = [_port("/dev/ttyUSB0", "QR scanner")]
    found = {each.found: each.url for each in detect(machine, serial_ports=lambda: ports) if each.url}
    converter = found.pop(Found.CONVERTER)
    assert check(Kind.INPUTS, converter).scheme == "adc"
    assert {check(Kind.READER, url).scheme for url in found.values()} == {"serial", "camera", "hid", "pcsc"}


def test_a_gpio_chip_is_suggested_for_the_lock_with_a_line_to_fill_in(machine: Machine):
    (machine.dev / "gpiochip0").touch()
    (found,) = detect(machine, serial_ports=list)
    assert found.url is not None
    assert check(Kind.LOCK, found.url).texts["lock"] == "LINE"


def test_a_machine_without_devices_has_no_suggestions(tmp_path: Path):
    nowhere = tmp_path / "none"
    assert detect(Machine(nowhere, nowhere, nowhere), serial_ports=list, known=KNOWN) == ()


def test_this_machine_can_be_looked_at():
    assert all(each.path.is_absolute() for each in detect())


# --- NFC readers -------------------------------------------------------------------------------------------


def test_nfc_readers_are_found_by_their_usb_id(machine: Machine):
    plug_fake_usb(machine.sys, "1-1", ACR122U, bus=1, number=4, product="ACR122U PICC Interface")
    plug_fake_usb(machine.sys, "2-1.3", RC_S380, bus=2, number=117)
    plug_fake_usb(machine.sys, "1-2", (0x1D6B, 0x0002), bus=1, number=1, product="a hub")
    usb = machine.dev / "bus" / "usb"
    assert detect(machine, serial_ports=list) == (
        Suggestion(Found.NFC, usb / "001" / "004", "ACR122U PICC Interface", "nfc:usb:072f:2200", ACR122U),
        Suggestion(Found.NFC, usb / "002" / "117", "Sony RC-S380", "nfc:usb:054c:06c3", RC_S380),
    )


def test_while_pcscd_runs_a_reader_that_it_has_is_suggested_by_its_name_there(machine: Machine):
    plug_fake_usb(machine.sys, "1-1", ACR122U, bus=1, number=4)
    plug_fake_usb(machine.sys, "1-2", RC_S380, bus=1, number=5)
    (machine.run / "pcscd").mkdir()
    pcscd_socket(machine).touch()
    urls = [each.url for each in detect(machine, serial_ports=list) if each.found is Found.NFC]
    assert urls == ["pcsc:ACS%20ACR122U?acr122=1", "nfc:usb:054c:06c3"]


def test_without_an_adapter_for_it_a_reader_is_shown_all_the_same(machine: Machine):
    plug_fake_usb(machine.sys, "1-1", ACR122U, bus=1, number=4)
    (found,) = detect(machine, serial_ports=list, known=KNOWN)
    assert (found.found, found.name, found.url) == (Found.NFC, "ACS ACR122U", None)


@pytest.mark.parametrize("file", ["idVendor", "idProduct", "busnum", "devnum"])
@pytest.mark.parametrize("text", ["", "none", None])
def test_a_device_of_which_the_kernel_tells_no_sense_is_passed_over(machine: Machine, file: str, text: str | None):
    plug_fake_usb(machine.sys, "1-1", ACR122U, bus=1, number=4)
    path = machine.sys / "bus" / "usb" / "devices" / "1-1" / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert detect(machine, serial_ports=list) == ()


@pytest.mark.parametrize("usb_id", SERIAL_ADAPTERS, ids=lambda usb_id: "{:04x}:{:04x}".format(*usb_id))
def test_an_adapter_that_pn532_boards_are_wired_with_is_a_candidate(machine: Machine, usb_id: tuple[int, int]):
    path = machine.dev / "ttyUSB0"
    assert set(detect(machine, serial_ports=lambda: [_port(str(path), "USB Serial", usb_id)])) == {
        Suggestion(Found.SERIAL, path, "USB Serial", f"serial://{path}"),
        Suggestion(Found.PN532, path, SERIAL_ADAPTERS[usb_id], f"nfc://{path}"),
    }


def test_a_port_of_another_make_is_no_candidate(machine: Machine):
    port = _port("/dev/ttyACM0", "QR scanner", (0x0C2E, 0x0B6A))
    assert [each.found for each in detect(machine, serial_ports=lambda: [port])] == [Found.SERIAL]


def test_every_suggested_address_is_one_that_the_catalogue_understands(machine: Machine):
    for number, (usb_id, reader) in enumerate(READERS.items(), start=1):
        plug_fake_usb(machine.sys, f"1-{number}", usb_id, bus=1, number=number)
        if reader.pcsc is not None:
            assert check(Kind.READER, reader.pcsc).scheme == "pcsc"
    urls = [each.url for each in detect(machine, serial_ports=list)]
    assert len(urls) == len(READERS)
    assert {check(Kind.READER, url).scheme for url in urls if url is not None} == {"nfc"}


def test_the_readers_in_the_table_are_those_that_nfcpy_opens():
    assert set(READERS) == set(nfc.clf.device.usb_device_map)


def test_the_readers_in_the_table_are_behind_pcscd_when_its_driver_has_them():
    with _CCID.open("rb") as file:
        told = plistlib.load(file)
    of_pcscd = {
        (int(vendor, 16), int(product, 16)): name
        for vendor, product, name in zip(
            told["ifdVendorID"], told["ifdProductID"], told["ifdFriendlyName"], strict=True
        )
    }
    for usb_id, reader in READERS.items():
        assert (reader.pcsc is not None) == (usb_id in of_pcscd)
        if reader.pcsc is not None:
            assert of_pcscd[usb_id].startswith(check(Kind.READER, reader.pcsc).path)
