"""The commands that talk to a cloud, put to a real one: issue, revoke, export, verify offline, call."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import pytest
import zxingcpp

from doorward.errors import ExitCode
from doorward.output import rfc3339
from doorward.tokens import to_base64
from doorward.wallet import create_wallet, encode_holder_key
from tests.support.commands import Ran, run_here, run_program
from tests.support.served import SITE, TENANT, Served

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _of_this_cloud(cloud: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORWARD_CLOUD_STATE", str(cloud.state))
    monkeypatch.setenv("DOORWARD_TENANT", TENANT)
    monkeypatch.setenv("DOORWARD_SITE", SITE)


def verified(capsys: pytest.CaptureFixture[str], folder: Path, text: str) -> Ran:
    files = ("--trust", folder / "trust.cbor", "--status", folder / "status-0.cwt")
    return run_here(capsys, "pass", "verify", *files, text)


def exported(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, object]:
    return run_here(capsys, "trust", "export", "--folder", folder, "--json").record


def test_a_pass_is_issued_to_a_wallet_shown_verified_offline_revoked_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = create_wallet(tmp_path / "wallet").folder
    issued = run_here(
        capsys,
        *("pass", "issue", "--folder", folder, "--level", "7", "--level", "1", "--kind", "staff", "--lifetime", "2d"),
        *("--extended-release", "--json"),
    ).record
    assert (issued["kind"], issued["access_levels"], issued["flags"]) == ("staff", [1, 7], ["extended_release"])
    assert issued["wallet"] == str(folder)
    exported(capsys, tmp_path / "trust")
    text = run_here(capsys, "wallet", "show", "--folder", folder, "--once").out.strip()
    granted = verified(capsys, tmp_path / "trust", text)
    assert (granted.code, granted.record["pass_id"]) == (ExitCode.OK, issued["pass_id"])

    revoked = run_here(capsys, "pass", "revoke", str(issued["pass_id"]).upper(), "--json").record
    assert revoked["revoked"] is True
    assert revoked["revoked_at"]
    exported(capsys, tmp_path / "trust")
    denied = verified(capsys, tmp_path / "trust", text)
    assert (denied.code, denied.record["step"], denied.record["reason"]) == (ExitCode.FAILED, 8, "REVOKED")


def test_a_pass_for_a_holder_key_elsewhere_is_printed_for_its_wallet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    wallet = create_wallet(tmp_path / "phone")
    ran = run_here(capsys, "pass", "issue", "--holder", encode_holder_key(wallet.holder_key), "--level", "1")
    assert ran.code == ExitCode.OK
    (line,) = (line for line in ran.out.splitlines() if line.startswith("pass  "))
    added = run_here(capsys, "wallet", "add", "--folder", wallet.folder, line.split()[1], "--json").record
    assert added["holder_key_id"] == wallet.holder_key.key_id.hex()


def test_a_printed_pass_is_drawn_for_paper_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    png = tmp_path / "visitor.png"
    issued = run_here(
        capsys,
        *("pass", "issue", "--printed", "--kind", "visitor", "--lifetime", "8h", "--level", "3", "--json"),
        "--png",
        png,
    ).record
    gray = cv2.imread(str(png), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    (code,) = zxingcpp.read_barcodes(gray, try_invert=False)
    assert code.text == issued["text"]
    exported(capsys, tmp_path)
    assert verified(capsys, tmp_path, code.text).record["assurance"] == 1


def test_a_pass_may_begin_later_but_not_earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    issue = ("pass", "issue", "--folder", create_wallet(tmp_path / "wallet").folder, "--json", "--not-before")
    begins = rfc3339((time.time_ns() // 1_000_000_000 + 3_600) * 1000)
    assert run_here(capsys, *issue, begins).record["not_before"] == begins
    ran = run_here(capsys, *issue, "2020-01-01T00:00:00Z")
    assert ran.code == ExitCode.REFUSED
    assert "PASS_INVALID" in ran.complaint["message"]


@pytest.mark.parametrize(
    "options", [(), ("--printed", "--holder", "x"), ("--printed", "--wallet", "x"), ("--wallet", "a", "--holder", "x")]
)
def test_a_pass_has_one_kind_of_holder(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "pass", "issue", *options)
    assert ran.code == ExitCode.UNUSABLE
    assert "exactly one of" in ran.err


def test_a_code_for_paper_is_drawn_for_printed_passes_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "pass", "issue", "--holder", "x", "--png", tmp_path / "x.png")
    assert ran.code == ExitCode.UNUSABLE
    assert "doorward wallet show" in ran.err


def test_the_clouds_refusal_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "pass", "revoke", "ffffffffffff", "--json")
    assert ran.code == ExitCode.REFUSED
    assert "PASS_UNKNOWN" in ran.complaint["message"]
    ran = run_here(capsys, "pass", "issue", "--printed", "--kind", "visitor", "--tenant", "nowhere", "--json")
    assert (ran.code, "INSTITUTION_UNKNOWN" in ran.complaint["message"]) == (ExitCode.REFUSED, True)


def test_a_wrong_token_is_refused_and_says_where_the_right_one_is(
    tmp_path: Path, cloud: Served, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "token").write_text("not-the-token\n")
    ran = run_here(capsys, "cloud", "call", "GET", "institutions", "--token-file", tmp_path / "token", "--json")
    assert ran.code == ExitCode.REFUSED
    assert "STATE/operator.token" in ran.complaint["remedy"]
    token = cloud.state / "operator.token"
    right = run_here(
        capsys, "cloud", "call", "GET", "institutions", "--cloud", cloud.api_url, "--token-file", token, "--json"
    )
    assert right.record["data"][0]["id"] == TENANT


def test_a_call_sends_what_is_piped_in_and_refuses_what_is_not_json(cloud: Served):
    place = f"institutions/{TENANT}/doors/main/policy"
    body = b'{"accessLevels": [{"id": 1, "schedules": [0]}]}'
    state = ("--state", cloud.state, "--json")
    assert run_program("cloud", "call", "PUT", place, "-", *state, stdin=body).record["version"] >= 1
    ran = run_program("cloud", "call", "PUT", place, "-", *state, stdin=b"{")
    assert ran.code == ExitCode.UNUSABLE
    assert "not JSON" in ran.complaint["message"]


def test_the_ready_line_is_for_people_without_json(cloud: Served, capsys: pytest.CaptureFixture[str]):
    # The state is in use: the second one says so and ends, instead of harming the first.
    ran = run_here(capsys, "cloud", "serve", "--state", cloud.state, "--api", "127.0.0.1:0", "--devices", "127.0.0.1:0")
    assert ran.code == ExitCode.UNUSABLE
    assert str(cloud.state) in ran.err


def test_a_busy_port_says_what_to_do(tmp_path: Path, cloud: Served, capsys: pytest.CaptureFixture[str]):
    busy = cloud.api_url.removeprefix("http://")
    ran = run_here(capsys, "cloud", "serve", "--state", tmp_path, "--api", busy, "--devices", "127.0.0.1:0", "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert busy.rpartition(":")[2] in ran.complaint["message"]


def test_where_no_cloud_answers_it_says_so(tmp_path: Path, cloud: Served, capsys: pytest.CaptureFixture[str]):
    token = cloud.state / "operator.token"
    ran = run_here(
        capsys, "cloud", "call", "GET", "institutions", "--cloud", "http://127.0.0.1:1", "--token-file", token
    )
    assert ran.code == ExitCode.UNREACHABLE
    assert "doorward cloud serve" in ran.err
    ran = run_here(capsys, "cloud", "call", "GET", "institutions", "--state", tmp_path)
    assert ran.code == ExitCode.UNUSABLE
    (tmp_path / "operator.token").write_text("token\n")
    ran = run_here(capsys, "cloud", "call", "GET", "institutions", "--state", tmp_path)
    assert ran.code == ExitCode.UNREACHABLE
    for content in ("{}", "nonsense"):
        (tmp_path / "cloud.json").write_text(content)
        assert run_here(capsys, "cloud", "call", "GET", "x", "--state", tmp_path).code == ExitCode.UNUSABLE
    (tmp_path / "operator.token").write_text("\n")
    assert run_here(capsys, "cloud", "call", "GET", "x", "--state", tmp_path).code == ExitCode.UNUSABLE


def test_a_name_of_the_environment_is_enough(cloud: Served, tmp_path: Path):
    wallet = create_wallet(tmp_path / "wallet")
    environment = {**os.environ, "DOORWARD_CLOUD_STATE": str(cloud.state), "DOORWARD_TENANT": TENANT}
    ran = run_program("pass", "issue", "--folder", wallet.folder, "--json", environment=environment)
    assert ran.record["pass"] == to_base64(wallet.passes()[0].data)


def test_what_cannot_be_exported_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    ran = run_here(capsys, "trust", "export", "--folder", tmp_path / "file" / "trust")
    assert ran.code == ExitCode.UNUSABLE
    ran = run_here(capsys, "trust", "export", "--folder", tmp_path, "--list", "4711")
    assert ran.code == ExitCode.REFUSED


def test_an_export_tells_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        f"status  {tmp_path}/status-0.cwt (sequence " in run_here(capsys, "trust", "export", "--folder", tmp_path).out
    )


def test_a_mode_tells_how_long_it_lasts_and_how_long_its_order_holds_in_the_readers_zone(cloud: Served):
    order = ("cloud", "command", "main", "mode", "--mode", "unlocked", "--hold", "2h")
    where = {**os.environ, "DOORWARD_CLOUD_STATE": str(cloud.state), "DOORWARD_TENANT": TENANT, "TZ": "Asia/Tokyo"}
    ran = run_program(*order, environment=where)
    said = re.search(r"may reach the door until (.+) JST\. The mode lasts until (.+) JST\.$", ran.out)
    assert said is not None, ran.out
    reaches, lasts = (datetime.fromisoformat(each) for each in said.groups())
    assert lasts - reaches == timedelta(hours=2, seconds=-30)
    told = run_program(*order, "--json", environment=where).record
    reaches, lasts = datetime.fromisoformat(told["expires_at"]), datetime.fromisoformat(told["mode_until"])
    assert lasts - reaches == timedelta(hours=2, seconds=-30)
    told = run_program(*order[:-2], "--json", environment=where).record
    assert told["mode_until"] == told["expires_at"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("mode", "--mode", "unlocked", "--hold", "13h"), ("--hold", "12 h")),
        (("unlock", "--expires", "61"), ("--expires", "60 s")),
        (("reboot", "--expires", "3601"), ("--expires", "3600")),
        (("mode", "--hold", "1h"), ("--mode",)),
        (("unlock", "--hold", "1h"), ("--hold",)),
        (("release", "--mode", "locked"), ("--mode",)),
    ],
)
def test_an_order_that_no_door_could_take_is_wrong_usage_that_names_the_option(
    options: tuple[str, ...], named: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    ran = run_here(capsys, "cloud", "command", "main", *options, "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert [word for word in named if word not in ran.complaint["message"]] == []
    assert ran.complaint["remedy"]


@pytest.mark.parametrize(
    "options", [("mode", "--mode", "locked", "--hold", "12h"), ("unlock", "--expires", "60"), ("release",)]
)
def test_an_order_at_its_limit_is_given(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert run_here(capsys, "cloud", "command", "main", *options, "--json").record["state"] == "pending"
