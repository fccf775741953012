"""Device addresses and the catalogue: what is taken, and what a wrong one is told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ports import InputLine, LockError, Reason
from firmware_adapters.address import Option
from firmware_adapters.catalogue import (
    AdapterError,
    AddressFault,
    Kind,
    check,
    check_all_inputs,
    describe,
    named_wires,
    open_inputs,
    open_lock,
    open_reader,
    schemes,
)

if TYPE_CHECKING:
    from pathlib import Path


def fault(url: str, kind: Kind = Kind.READER) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        check(kind, url)
    return caught.value


def test_options_have_their_defaults_and_can_be_given():
    assert check(Kind.READER, "serial:///dev/ttyDW0").options == {"baud": 115_200, "idle_ms": 50}
    assert check(Kind.READER, "serial:///dev/ttyDW0?baud=9600").options == {"baud": 9600, "idle_ms": 50}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("camera:0", "0"),
        ("camera:///dev/video0?fps=10", "/dev/video0"),
        ("CAMERA:///dev/video0", "/dev/video0"),
        ("camera+files:///run/a%20b/c", "/run/a b/c"),
        ("serial:///dev/ttyDW0", "/dev/ttyDW0"),
        ("camera+csi:0", "0"),
        ("camera+http://10.0.0.7/video%3Fsize=large?fps=5", "/video?size=large"),
        ("camera+http://10.0.0.7", ""),
    ],
)
def test_paths_are_taken_as_written_and_percent_decoded(url: str, path: str):
    assert check(Kind.READER, url).path == path


def test_every_example_is_right_and_every_scheme_has_one():
    described = {kind: tuple(sorted(row.scheme for row in describe() if row.kind is kind)) for kind in Kind}
    assert described == dict(schemes())
    for row in describe():
        assert check(row.kind, row.example).scheme == row.scheme
        assert row.what
        numbers = [option for option in row.options.values() if isinstance(option, Option)]
        assert all(option.least <= option.default <= option.most for option in numbers)


def test_an_unknown_scheme_is_told_which_there_are():
    error = fault("tcp://10.0.0.1:4000")
    assert error.fault is AddressFault.UNKNOWN_SCHEME
    for scheme in schemes()[Kind.READER]:
        assert f"{scheme}:" in error.remedy


def test_a_scheme_of_another_kind_is_told_so():
    error = fault("serial:///dev/ttyDW0", Kind.LOCK)
    assert error.fault is AddressFault.UNKNOWN_SCHEME
    assert "is for readers, not locks" in error.what


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "has no scheme"),
        ("/dev/ttyDW0", "has no scheme"),
        ("serial:", "names no device"),
        ("serial:///", "names no device"),
        ("serial:///dev/ttyDW0#1", "names no device"),
        ("serial:///dev/tty%00", "names no device"),
        ("serial://dev/ttyDW0", "has two slashes"),
        ("serial://[::1", "is not a URL"),
        ("serial:///dev/tty DW0", "contains blanks"),
        ("serial:///dev/tty\n", "contains blanks or control characters"),
        ("serial:///" + "x" * 4096, "4106 characters"),
    ],
)
def test_a_malformed_address_is_told_what_is_wrong(url: str, told: str):
    error = fault(url)
    assert error.fault is AddressFault.MALFORMED
    assert told in error.what
    assert error.remedy


def test_an_unknown_option_is_told_which_there_are():
    error = fault("serial:///dev/ttyDW0?speed=9600")
    assert error.fault is AddressFault.UNKNOWN_OPTION
    assert "baud, idle_ms" in error.remedy


def test_an_option_where_there_are_none_is_told_to_go():
    assert fault("simulated:///tmp/door?x=1", Kind.LOCK).remedy == "remove it"


@pytest.mark.parametrize("value", ["", "fast", "-9600", "9600.5", "299", "4000001", "٣٠٠", "0" * 10, "1e4"])
def test_an_option_out_of_its_range_is_told_its_range(value: str):
    error = fault(f"serial:///dev/ttyDW0?baud={value}")
    assert error.fault is AddressFault.BAD_OPTION
    assert "300 to 4000000" in error.remedy


def test_options_at_their_bounds_are_taken():
    for value in (300, 4_000_000):
        assert check(Kind.READER, f"serial:///dev/ttyDW0?baud={value}").options["baud"] == value


def test_an_option_given_twice_is_refused():
    assert fault("serial:///dev/ttyDW0?baud=9600&baud=9600").fault is AddressFault.BAD_OPTION


@given(st.one_of(st.text(max_size=80), st.text(max_size=40).map("serial:///".__add__)))
def test_any_text_is_an_address_or_an_adapter_error(url: str):
    for kind in Kind:
        try:
            assert check(kind, url).path
        except AdapterError as error:
            assert error.remedy  # noqa: PT017 - either outcome is right, an error must help


def test_the_catalogue_loads_neither_drivers_nor_the_event_loop_nor_the_core():
    code = "import sys, json, firmware_adapters.catalogue; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    heavy = {"asyncio", "cbor2", "cryptography", "cv2", "numpy", "pyzbar", "serialx", "zxingcpp", "edge.core"}
    assert heavy.isdisjoint(json.loads(run.stdout))


def test_a_reader_is_made_without_opening_its_device():
    assert open_reader("serial:///dev/ttyNowhere", "r1").info.id == "r1"
    assert open_reader("camera:///dev/videoNowhere", "c1").info.id == "c1"
    assert open_reader("camera+files:///nowhere", "c2").info.id == "c2"


async def test_a_simulated_door_gives_lock_and_inputs(tmp_path: Path):
    lock, inputs = open_lock(f"simulated://{tmp_path}/door"), open_inputs(f"simulated://{tmp_path}/door")
    assert lock.info.simulated
    await lock.aclose()
    await inputs.aclose()


def test_a_device_fault_comes_through_as_the_ports_error(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LockError) as caught:
        open_lock(f"simulated://{tmp_path}/file")
    assert caught.value.reason is Reason.FAULT


def test_a_missing_package_is_told_how_to_install_it(tmp_path: Path):
    (tmp_path / "serialx.py").write_text("raise ImportError('no serialx here', name='serialx')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from firmware_adapters.catalogue import AdapterError, AddressFault, open_reader
try:
    open_reader("serial:///dev/ttyDW0", "r1")
except AdapterError as error:
    assert error.fault is AddressFault.MISSING_PACKAGE
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert "serialx" in run.stdout
    assert "pip install 'doorward[edge]'" in run.stdout


@pytest.mark.parametrize("host", ["10.0.0.7", "camera-3.example:8080", "[fd00::7]:8080"])
def test_a_camera_in_the_network_is_at_a_host(host: str):
    assert check(Kind.READER, f"camera+http://{host}/live?fps=5").host == host


@pytest.mark.parametrize("rest", [":/live", ":///live", "://:80/live", "://host:0/", "://host:65536/", "://host:x/"])
def test_a_camera_in_the_network_needs_a_host(rest: str):
    wrong = fault(f"camera+http{rest}")
    assert wrong.fault is AddressFault.MALFORMED
    assert "names no host" in wrong.what
    assert "camera+http://10.0.0.7:8080/stream.mjpg" in wrong.remedy


def test_a_password_in_an_address_is_refused_and_not_repeated():
    wrong = fault("camera+http://admin:hunter2@10.0.0.7/live")
    assert wrong.fault is AddressFault.MALFORMED
    assert "hunter2" not in str(wrong)


def test_a_host_is_for_cameras_in_the_network_only():
    assert "reads as a host name" in fault("camera+csi://0").what


@pytest.mark.parametrize("number", ["x", "-1", "/dev/video0"])
def test_a_csi_camera_has_a_number(number: str):
    with pytest.raises(AdapterError, match="names no CSI camera by its number"):
        open_reader(f"camera+csi:{number}", "camera-1")


# --- the wires of inputs -----------------------------------------------------------------------------------


ALL_WIRES = ("contact", "rex", "fire", "lock_monitor", "interlock", "tamper", "power")


@pytest.mark.parametrize(
    ("url", "wires"),
    [
        ("gpio:///dev/gpiochip0?fire=13&contact=5&debounce_ms=20", ("contact", "fire")),
        ("modbus+tcp://10.0.0.7?lock_monitor=0", ("lock_monitor",)),
        ("gpio:///dev/gpiochip0", ()),
        ("osdp:///dev/ttyUSB0?key=/k", ("tamper", "power")),
        ("osdp:///dev/ttyUSB0?key=/k&wires=power", ("power",)),
        ("simulated:///run/twin", ALL_WIRES),
        ("simulated:///run/twin?wires=rex,contact", ("contact", "rex")),
    ],
)
def test_an_address_of_inputs_tells_which_wires_are_taken_from_it(url: str, wires: tuple[str, ...]):
    assert named_wires(url) == wires
    assert tuple(line.value for line in InputLine) == ALL_WIRES


@pytest.mark.parametrize("url", ["simulated:///run/twin?wires=bell", "osdp:///dev/ttyUSB0?key=/k&wires=contact"])
def test_a_wire_that_a_device_cannot_have_is_refused(url: str):
    with pytest.raises(AdapterError) as caught:
        named_wires(url)
    assert caught.value.fault is AddressFault.BAD_OPTION


def test_a_wire_at_two_addresses_is_refused_and_both_are_named():
    chip, reader = "gpio:///dev/gpiochip0?contact=5&tamper=6", "osdp:///dev/ttyUSB0?key=/k"
    with pytest.raises(AdapterError) as caught:
        check_all_inputs([chip, reader])
    assert caught.value.fault is AddressFault.SHARED_WIRE
    assert caught.value.what == f"two addresses of inputs tell of the wire tamper: {chip!r} and {reader!r}"
    check_all_inputs([chip, f"{reader}&wires=power"])
