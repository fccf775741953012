"""The terminal wallet: a key that stays closed, passes that belong to it, codes that rotate."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import stat
import subprocess
import time
from pathlib import Path

import cv2
import pytest
import zxingcpp

from doorward.errors import CliError, ExitCode
from doorward.tokens import to_base64
from doorward.wallet import KEY_FILE, Wallet, create_wallet, encode_holder_key, open_wallet
from tests.support.commands import DEADLINE_S, PROGRAM, run_here, run_program
from tests.support.issuer import NOW_S, Issuer
from wire.keys import Ed25519Signer, PublicKey
from wire.presentation import RotatingPresentation, parse_presented
from wire.text import from_text

AT = "2026-01-01T00:00:30Z"
SITE = "main-campus"


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    """Hold one pass of the institution."""
    made = create_wallet(tmp_path / "wallet")
    made.keep(Issuer().issue(made.holder_key))
    return made


def presented(text: str) -> RotatingPresentation:
    found = parse_presented(from_text(text.encode()))
    assert isinstance(found, RotatingPresentation)
    return found


# --- the key -------------------------------------------------------------------------------------------------


def test_a_new_wallets_key_is_closed_to_others(tmp_path: Path):
    made = create_wallet(tmp_path / "deep" / "wallet")
    assert stat.S_IMODE((made.folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700


def test_a_wallet_opens_with_the_key_it_was_made_with(wallet: Wallet):
    assert open_wallet(wallet.folder).holder_key == wallet.holder_key


def test_a_key_is_never_replaced(wallet: Wallet):
    with pytest.raises(CliError, match="already"):
        create_wallet(wallet.folder)
    assert open_wallet(wallet.folder).holder_key == wallet.holder_key


def test_a_key_that_others_can_read_is_refused(wallet: Wallet):
    (wallet.folder / KEY_FILE).chmod(0o640)
    with pytest.raises(CliError, match="chmod 600"):
        open_wallet(wallet.folder)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_damaged_key_is_refused(content: bytes, wallet: Wallet):
    (wallet.folder / KEY_FILE).write_bytes(content)
    with pytest.raises(CliError, match="not a P-256 private key"):
        open_wallet(wallet.folder)


def test_a_missing_wallet_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(CliError, match="doorward wallet new"):
        open_wallet(tmp_path / "nobody")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CliError, match="cannot be made"):
        create_wallet(tmp_path / "file" / "wallet")


# --- passes --------------------------------------------------------------------------------------------------


def test_a_pass_for_another_key_is_not_kept(wallet: Wallet):
    stranger = Ed25519Signer(bytes(32)).public_key
    with pytest.raises(CliError, match="another key"):
        wallet.keep(Issuer().issue(stranger, index=5))
    assert [held.pass_id for held in wallet.passes()] == ["00000000004d"]


def test_keeping_a_pass_again_changes_nothing(wallet: Wallet):
    (held,) = wallet.passes()
    wallet.keep(held.data)
    assert len(wallet.passes()) == 1


def test_a_damaged_pass_is_named(wallet: Wallet):
    (path,) = wallet.folder.glob("*.pass")
    path.write_bytes(b"\x00")
    with pytest.raises(CliError, match=path.name):
        wallet.passes()


def test_a_presentation_is_signed_by_the_wallets_key(wallet: Wallet):
    (held,) = wallet.passes()
    found = presented(wallet.present(held, issued_at_s=NOW_S, audience=SITE).decode())
    found.verify_holder(wallet.holder_key)
    assert (found.issued_at_s, found.audience) == (NOW_S, SITE)


# --- the commands --------------------------------------------------------------------------------------------


def test_a_wallet_by_name_lives_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    made = run_here(capsys, "wallet", "new", "anna", "--json").record
    assert made["folder"] == str(tmp_path / "doorward/wallets/anna")
    added = run_here(
        capsys, "wallet", "add", "--name", "anna", "--json", to_base64(Issuer().issue(key_of(Path(made["folder"]))))
    ).record
    assert added["pass_id"] == "00000000004d"
    listed = run_here(capsys, "wallet", "list", "--json").record
    assert listed["holder_key"] == made["holder_key"]
    assert [each["pass_id"] for each in listed["passes"]] == ["00000000004d"]
    assert "00000000004d  north-campus  standard" in run_here(capsys, "wallet", "list").out


def key_of(folder: Path) -> PublicKey:
    return open_wallet(folder).holder_key


def test_without_wallets_the_list_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert "doorward wallet new" in run_here(capsys, "wallet", "list").out
    assert run_here(capsys, "wallet", "list", "--json").out == ""


@pytest.mark.parametrize("name", ["../etc", "Anna", "", "a b"])
def test_a_name_is_a_slug(name: str, capsys: pytest.CaptureFixture[str]):
    assert run_here(capsys, "wallet", "new", name).code == ExitCode.UNUSABLE


def test_new_prints_the_holder_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "new", "--folder", tmp_path / "w")
    assert encode_holder_key(key_of(tmp_path / "w")) in ran.out


@pytest.mark.parametrize("garbage", ["!", "AAAA", ""])
def test_garbage_is_not_kept(garbage: str, wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "add", "--folder", wallet.folder, garbage)
    assert ran.code == ExitCode.UNUSABLE
    assert "doorward pass issue" in ran.err


def test_shown_into_a_pipe_it_is_the_text(wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "show", "--folder", wallet.folder, "--audience", SITE, "--at", AT)
    found = presented(ran.out.strip())
    found.verify_holder(wallet.holder_key)
    assert (found.issued_at_s, found.audience) == (NOW_S + 30, SITE)


def test_as_json_it_says_when_the_code_changes(wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "show", "--folder", wallet.folder, "--audience", SITE, "--at", AT, "--json")
    record = ran.record
    assert record["presented_at"] == AT
    assert record["rotates_at"] == "2026-01-01T00:00:45Z"
    assert presented(record["text"]).audience == SITE


def test_as_files_it_is_a_code_and_a_cameras_frame(wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    png, frame = tmp_path / "code.png", tmp_path / "frame.png"
    ran = run_here(
        capsys,
        *("wallet", "show", "--folder", wallet.folder, "--audience", SITE, "--at", AT),
        *("--png", png, "--frame", frame),
    )
    assert ran.out == f"Drew {png}.\nDrew {frame}.\n"
    texts = []
    for path in (png, frame):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert gray is not None
        (code,) = zxingcpp.read_barcodes(gray, try_invert=False)
        texts.append(code.text)
    assert texts[0] == texts[1]
    assert presented(texts[0]).issued_at_s == NOW_S + 30
    assert {path.name for path in tmp_path.iterdir()} == {"code.png", "frame.png", "wallet"}


def test_the_pass_that_lasts_longest_is_shown_unless_another_is_named(
    wallet: Wallet, capsys: pytest.CaptureFixture[str]
):
    wallet.keep(Issuer().issue(wallet.holder_key, index=78))
    show = ("wallet", "show", "--folder", wallet.folder, "--audience", SITE, "--at", AT, "--json")
    assert run_here(capsys, *show, "--pass", "00000000004E").record["pass_id"] == "00000000004e"
    ran = run_here(capsys, *show, "--pass", "000000000000")
    assert ran.code == ExitCode.UNUSABLE
    assert "00000000004d" in ran.complaint["remedy"]


def test_a_wallet_without_passes_says_where_they_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    create_wallet(tmp_path / "empty")
    ran = run_here(capsys, "wallet", "show", "--folder", tmp_path / "empty", "--audience", SITE)
    assert ran.code == ExitCode.UNUSABLE
    assert "doorward pass issue" in ran.err


@pytest.mark.parametrize(
    "at",
    [
        "yesterday",
        "2026-01-01T00:00:00",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_an_instant_needs_a_zone_and_a_plausible_year(at: str, wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "show", "--folder", wallet.folder, "--audience", SITE, "--at", at)
    assert ran.code == ExitCode.UNUSABLE
    assert "'--at'" in ran.err


# --- on a terminal -------------------------------------------------------------------------------------------


def screen(wallet: Wallet, *, rows: int, columns: int, until: bytes) -> tuple[bytes, int]:
    """Run `wallet show` on a terminal of this size until it has printed `until`, then press Ctrl-C."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "LINES": str(rows), "COLUMNS": str(columns), "TERM": "xterm-256color"}
    arguments: list[str | Path] = [PROGRAM, "wallet", "show", "--folder", wallet.folder, "--audience", SITE]
    with subprocess.Popen(arguments, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as shown:
        os.close(terminal)
        seen = read_until(controller, until, b"")
        shown.send_signal(signal.SIGINT)
        seen = read_until(controller, b"\x1b[?1049l", seen)
        code = shown.wait(DEADLINE_S)
    os.close(controller)
    return seen, code


def read_until(controller: int, wanted: bytes, seen: bytes) -> bytes:
    deadline_s = time.monotonic() + DEADLINE_S
    while wanted not in seen:
        ready, _, _ = select.select([controller], [], [], deadline_s - time.monotonic())
        assert ready, f"waited in vain for {wanted!r} after {seen[-200:]!r}"
        seen += os.read(controller, 65_536)
    return seen


def test_on_a_terminal_the_code_counts_down_until_ctrl_c_and_gives_the_screen_back(wallet: Wallet):
    seen, code = screen(wallet, rows=60, columns=120, until=b"New code in")
    assert code == ExitCode.OK
    assert seen.index(b"\x1b[?1049h") < seen.index(b"\x1b[38;5;16;48;5;231m") < seen.index(b"\x1b[?1049l")
    assert re.search(rb"New code in (1[0-5]| [0-9]) s", seen)
    assert b"This pass is over" not in seen or time.time() > NOW_S + 7 * 86_400


def test_on_a_terminal_that_is_too_small_it_says_so(wallet: Wallet):
    seen, code = screen(wallet, rows=24, columns=80, until=b"or draw a file with --png")
    assert code == ExitCode.OK
    assert re.search(rb"This terminal has 80 x 24 characters; the code needs (6[0-9]|7[0-9]) x 3[0-9]", seen)


def test_the_program_reads_a_pass_from_a_pipe(tmp_path: Path):
    made = create_wallet(tmp_path / "w")
    issued = to_base64(Issuer().issue(made.holder_key)).encode() + b"\n"
    ran = run_program("wallet", "add", "--folder", made.folder, "--json", stdin=issued)
    assert ran.code == ExitCode.OK
    assert ran.record["wallet"] == "w"


def test_a_file_is_drawn_again_at_each_rotation_until_ctrl_c(wallet: Wallet, tmp_path: Path):
    png = tmp_path / "code.png"
    arguments: list[str | Path] = [PROGRAM, "wallet", "show", "--folder", wallet.folder, "--audience", SITE]
    arguments += ["--png", png]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert shown.stdout.readline() == f"Drew {png}; again in 15 s.\n"
        assert png.exists()
        shown.send_signal(signal.SIGINT)
        assert shown.wait(DEADLINE_S) == ExitCode.OK


def test_once_on_a_terminal_it_is_the_code_and_what_it_is(wallet: Wallet):
    controller, terminal = pty.openpty()
    arguments: list[str | Path] = [PROGRAM, "wallet", "show", "--folder", wallet.folder, "--audience", SITE, "--once"]
    with subprocess.Popen(arguments, stdin=terminal, stdout=terminal, stderr=terminal) as shown:
        os.close(terminal)
        seen = read_until(controller, f"for {SITE}".encode(), b"")
        assert shown.wait(DEADLINE_S) == ExitCode.OK
    os.close(controller)
    assert seen.startswith(b"\x1b[38;5;16;48;5;231m")
    assert b"\x1b[?1049h" not in seen
