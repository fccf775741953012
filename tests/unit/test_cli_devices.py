"""`doorward edge devices`: what a configuration connects, how the daemon finds it, what else is plugged in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from doorward.devices import Device, Health, as_the_daemon_says, unconfigured, unwell
from doorward.errors import ExitCode
from edge.ports import Reason
from provisioning.detect import Found, Suggestion, pcscd_socket
from tests.support.commands import run_here
from tests.support.diag_socket import answering

READER = "osdp:///dev/ttyUSB0?address=1&key=/k&display=1"
LOCK = "modbus+tcp://10.0.0.7?fail=safe"
WIRES = "gpio:///dev/gpiochip0?contact=5&rex=6"
CONFIG = f"""
[device]
id = "main-1"
tenant = "north-campus"
site = "main-campus"
door = "main-entrance"

[[reader]]
id = "in"
url = "{READER}"

[lock]
url = "{LOCK}"

[inputs]
url = "{WIRES}"

[diagnostics]
socket = "SOCKET"
"""


def line(name: str, state: str, since: str | None = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"line": name, "state": state, "means": state, "since": since}


def reader(state: str, *, url: str = READER, reason: str | None = None, **troubles: int) -> dict[str, Any]:
    sentence = None if reason is None else f"it is {reason}; mend it"
    return {"id": "in", "url": url, "state": state, "reason": reason, "sentence": sentence, "troubles": troubles}


STATUS: dict[str, Any] = {
    "readers": [reader("open")],
    "lock": LOCK,
    "lock_answers": True,
    "inputs": [{"id": "gpio-1", "url": WIRES, "wires": ["contact", "rex"], "state": "open"}],
    "lines": [line("contact", "inactive"), line("rex", "inactive"), line("fire", "unknown", None)],
}
READ, LOCKED, WIRED = (
    Device("reader", "in", READER, ("nfc", "buzzer", "display", "led")),
    Device("lock", None, LOCK, ("fail-safe",)),
    Device("inputs", "gpio-1", WIRES, ("contact", "rex")),
)


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(CONFIG.replace("SOCKET", str(tmp_path / "s")))
    return path


def ask(config: Path, capsys: pytest.CaptureFixture[str], status: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    with answering(config.parent / "s", json.dumps({"status": status}).encode() + b"\n"):
        ran = run_here(capsys, "edge", "devices", "--config", config, "--json")
    return ran.code, [json.loads(each) for each in ran.out.splitlines()]


def test_every_device_is_told_with_what_it_can_and_how_it_is(config: Path, capsys: pytest.CaptureFixture[str]):
    code, devices = ask(config, capsys, STATUS)
    assert code == ExitCode.OK
    assert [(each["kind"], each["id"], each["address"], tuple(each["can"]), each["health"]) for each in devices] == [
        ("reader", "in", READER, READ.can, "well"),
        ("lock", None, LOCK, LOCKED.can, "well"),
        ("inputs", "gpio-1", WIRES, WIRED.can, "well"),
    ]
    assert devices[2]["note"] == "contact inactive, rex inactive"


def test_one_that_is_lost_is_told_by_the_exit_code(config: Path, capsys: pytest.CaptureFixture[str]):
    code, devices = ask(config, capsys, {**STATUS, "lock_answers": False})
    assert code == ExitCode.FAILED
    assert [each["health"] for each in devices] == ["well", "lost", "well"]


def test_without_a_daemon_the_list_is_told_and_that_it_does_not_run(config: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "edge", "devices", "--config", config, "--json")
    assert ran.code == ExitCode.UNREACHABLE
    devices = [json.loads(each) for each in ran.out.splitlines()]
    assert {each["health"] for each in devices} == {"unknown"}
    assert all(each["note"].startswith("daemon not running: no daemon answers at ") for each in devices)
    text = run_here(capsys, "edge", "devices", "--config", config).out
    assert f"reader in      unknown  {READER}" in text
    assert f"inputs gpio-1  unknown  {WIRES}" in text
    assert "start the daemon" in text


def test_a_display_is_told_with_its_size_and_why_it_is_lost(config: Path, capsys: pytest.CaptureFixture[str]):
    url = "display+simulated:///tmp/twin"
    config.write_text(config.read_text() + f'\n[[display]]\nid = "above"\nurl = "{url}"\n')
    config.write_text(config.read_text().replace(LOCK, "simulated:///tmp/twin"))
    told = {
        "id": "above",
        "url": url,
        "readers": [],
        "state": "lost",
        "reason": "lost",
        "sentence": "it is gone; plug it in",
    }
    code, devices = ask(config, capsys, {**STATUS, "lock": "simulated:///tmp/twin", "displays": [told]})
    assert code == ExitCode.FAILED
    assert (devices[-1]["kind"], devices[-1]["id"], devices[-1]["can"]) == ("display", "above", ["20x2", "simulated"])
    assert (devices[-1]["health"], devices[-1]["note"]) == ("lost", "it is gone; plug it in")


def test_a_daemons_refusal_is_passed_on(config: Path, capsys: pytest.CaptureFixture[str]):
    with answering(config.parent / "s", b'{"error": "16 are asking already"}\n'):
        assert run_here(capsys, "edge", "devices", "--config", config).code == ExitCode.REFUSED


def test_a_file_with_faults_is_unusable(config: Path, capsys: pytest.CaptureFixture[str]):
    config.write_text(CONFIG.replace("address=1", "address=127"))
    ran = run_here(capsys, "edge", "devices", "--config", config, "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert "check-config" in ran.complaint["remedy"]


def test_a_device_whose_package_is_missing_is_told_without_a_daemon(config: Path):
    config.write_text(config.read_text().replace(READER, "wiegand:///dev/gpiochip0?d0=23&d1=24"))
    code = f"""
import sys
sys.modules["gpiod"] = None
from doorward.main import app
sys.exit(app(["edge", "devices", "--config", {str(config)!r}, "--json"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ExitCode.FAILED, done.stderr
    reader = json.loads(done.stdout.splitlines()[0])
    assert reader["health"] == "not installed"
    assert "pip install 'doorward[gpio]'" in reader["note"]


def judged(told: dict[str, Any]) -> Device:
    (device,) = as_the_daemon_says([READ], {**STATUS, "readers": [told]})
    return device


@pytest.mark.parametrize(("state", "health"), [("open", Health.WELL), ("opening", Health.OPENING)])
def test_a_reader_is_as_the_daemon_says(state: str, health: Health):
    device = judged(reader(state))
    assert (device.health, device.note) == (health, "")


@pytest.mark.parametrize("reason", Reason)
def test_a_reader_that_is_there_and_cannot_be_used_is_at_fault_and_says_why(reason: Reason):
    device = judged(reader("lost", reason=reason.value))
    gone = {Reason.LOST, Reason.DEADLINE}
    assert device.health is (Health.LOST if reason in gone else Health.FAULT)
    assert device.note == f"it is {reason.value}; mend it"


def test_a_daemon_from_before_an_update_tells_no_reason():
    assert judged({"id": "in", "url": READER, "state": "lost"}).health is Health.LOST
    assert judged({"id": "in", "url": READER, "state": "open"}).health is Health.WELL


def test_what_was_wrong_with_what_a_well_reader_read_is_counted_the_most_frequent_first():
    device = judged(reader("open", replayed=1, unproven=12, malformed=1))
    assert (device.health, device.note) == (Health.WELL, "unproven: 12, malformed: 1, replayed: 1")


@pytest.mark.parametrize(
    ("device", "status"),
    [
        (READ, {"readers": []}),
        (READ, {"readers": [reader("open", url="serial:///dev/ttyS0")]}),
        (LOCKED, {"lock": "simulated:///run/twin"}),
        (WIRED, {"inputs": []}),
    ],
)
def test_a_daemon_with_another_address_has_to_be_restarted(device: Device, status: dict[str, Any]):
    (told,) = as_the_daemon_says([device], {**STATUS, **status})
    assert told.health is Health.OTHER
    assert "restart it" in told.note


@pytest.mark.parametrize(
    ("lines", "health"),
    [
        ([line("contact", "unknown"), line("rex", "unknown")], Health.LOST),
        ([line("contact", "unknown"), line("rex", "unknown"), line("fire", "inactive")], Health.LOST),
        ([line("contact", "unknown"), line("rex", "active")], Health.WELL),
        ([line("contact", "fault"), line("rex", "inactive")], Health.FAULT),
        ([line("contact", "inactive"), line("fire", "fault")], Health.WELL),
    ],
)
def test_inputs_are_as_their_wires_say(lines: list[dict[str, Any]], health: Health):
    assert as_the_daemon_says([WIRED], {**STATUS, "lines": lines})[0].health is health


@pytest.mark.parametrize(
    ("told", "health", "note"),
    [
        ({"state": "opening", "reason": None, "sentence": None}, Health.OPENING, ""),
        (
            {"state": "lost", "reason": "lost", "sentence": "it is gone; plug it in"},
            Health.LOST,
            "it is gone; plug it in",
        ),
        ({"state": "lost", "reason": "deadline", "sentence": "it is silent; look"}, Health.LOST, "it is silent; look"),
        ({"state": "lost", "reason": "permission", "sentence": "no; join"}, Health.FAULT, "no; join"),
        ({"state": "lost", "reason": "fault", "sentence": "nonsense; mend"}, Health.FAULT, "nonsense; mend"),
        # A daemon that was started before an update:
        ({"state": "lost", "fault": "the board is gone; plug it in"}, Health.LOST, "the board is gone; plug it in"),
        ({"state": "opening", "fault": None}, Health.OPENING, ""),
    ],
)
def test_each_address_of_inputs_is_told_by_itself(told: dict[str, str | None], health: Health, note: str):
    device = Device("inputs", "modbus-2", "modbus+tcp://10.0.0.7?fire=0", ("fire",))
    of_board = {"id": "modbus-2", "url": device.url, "wires": ["fire"], **told}
    wired, board = as_the_daemon_says([WIRED, device], {**STATUS, "inputs": [*STATUS["inputs"], of_board]})
    assert (wired.health, board.health, board.note) == (Health.WELL, health, note)


@pytest.mark.parametrize("health", Health)
def test_only_what_a_person_has_to_see_to_is_unwell(health: Health):
    seen_to = {Health.LOST, Health.FAULT, Health.OTHER, Health.NOT_INSTALLED}
    assert unwell([Device("lock", None, LOCK, health=health)]) is (health in seen_to)


def test_what_is_plugged_in_and_not_configured_is_found_by_whatever_name(tmp_path: Path):
    port, camera = tmp_path / "ttyUSB0", tmp_path / "video7"
    for file in (port, camera):
        file.touch()
    lasting = tmp_path / "usb-Scanner"
    lasting.symlink_to(port)
    found = [
        Suggestion(Found.SERIAL, lasting, "QR scanner", f"serial://{lasting}"),
        Suggestion(Found.CAMERA, camera, "", f"camera://{camera}"),
        Suggestion(Found.GPIO, tmp_path / "gpiochip0", "", None),
    ]
    used = Device("reader", "in", f"serial://{port}")
    assert unconfigured(found, [used]) == [
        Device("camera", None, f"camera://{camera}", health=Health.UNCONFIGURED, note=str(camera)),
        Device("GPIO chip", None, None, health=Health.UNCONFIGURED, note=str(tmp_path / "gpiochip0")),
    ]


def test_a_camera_by_its_number_is_its_device_file():
    numbered = Device("reader", "in", "camera:7")
    assert unconfigured([Suggestion(Found.CAMERA, Path("/dev/video7"), "", "camera:///dev/video7")], [numbered]) == []
    assert len(unconfigured([Suggestion(Found.CAMERA, Path("/dev/video8"), "", None)], [numbered])) == 1


@pytest.mark.parametrize("url", ["pcsc:any", "pcsc:ACS"])
def test_a_reader_behind_the_smart_card_daemon_stands_for_it(url: str):
    cards = Suggestion(Found.CARDS, pcscd_socket(), "pcscd", "pcsc:any")
    assert unconfigured([cards], [Device("reader", "in", url)]) == []
    assert len(unconfigured([cards], [READ])) == 1


def test_a_probe_adds_what_this_machine_has_and_judges_only_what_is_configured(
    config: Path, capsys: pytest.CaptureFixture[str]
):
    ran = run_here(capsys, "edge", "devices", "--config", config, "--probe", "--json")
    assert ran.code == ExitCode.UNREACHABLE
    devices = [json.loads(each) for each in ran.out.splitlines()]
    assert [each["kind"] for each in devices[:3]] == ["reader", "lock", "inputs"]
    assert {each["health"] for each in devices[3:]} <= {"unconfigured"}


@pytest.mark.parametrize(
    "url", ["nfc:usb", "nfc:usb:072F:2200", "nfc:usb:072f", "nfc:usb:001:004", "pcsc:any", "pcsc:ACS%20ACR122U"]
)
def test_an_nfc_reader_on_usb_is_configured_by_any_of_its_addresses(url: str):
    reader = Suggestion(Found.NFC, Path("/dev/bus/usb/001/004"), "ACR122U", "nfc:usb:072f:2200", (0x072F, 0x2200))
    assert unconfigured([reader], [Device("reader", "in", url)]) == []


@pytest.mark.parametrize("url", ["nfc:usb:072f:2200", "nfc:usb:001:004", "pcsc:any", "nfc:///dev/ttyUSB0", READER])
def test_an_nfc_reader_on_usb_is_unconfigured_when_others_are(url: str):
    reader = Suggestion(Found.NFC, Path("/dev/bus/usb/001/005"), "RC-S380", "nfc:usb:054c:06c3", (0x054C, 0x06C3))
    assert unconfigured([reader], [Device("reader", "in", url)]) == [
        Device("NFC reader", None, "nfc:usb:054c:06c3", health=Health.UNCONFIGURED, note="RC-S380")
    ]
