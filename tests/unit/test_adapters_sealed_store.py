"""The sealed store gives a secret only when nobody else could have it; and the command that fills it."""

from __future__ import annotations

import os
import pty
import subprocess
import tty
from pathlib import Path
from typing import Final

import pytest

from doorward.errors import ExitCode
from firmware_adapters.cards.aes import key_check_value
from firmware_adapters.cards.keys import CardKey
from firmware_adapters.sealed_store import SealedStore, SealedStoreError, SealFault
from tests.support.commands import PROGRAM, run_here, run_program

_KEY: Final = bytes(range(16))


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> SealedStore:
    store = SealedStore(tmp_path)
    store.write("ntag424", _KEY)
    return store


def _fault(store: SealedStore) -> SealFault:
    with pytest.raises(SealedStoreError) as caught:
        store.read("ntag424", size=16)
    assert str(caught.value) == f"{caught.value.what}; {caught.value.remedy}"
    return caught.value.fault


def test_a_secret_comes_back(store: SealedStore):
    assert store.read("ntag424", size=16) == _KEY
    store.write("ntag424", bytes(16))
    assert store.read("ntag424", size=16) == bytes(16)


def test_what_was_never_put_in_is_none(store: SealedStore, tmp_path: Path):
    assert store.read("desfire", size=16) is None
    assert SealedStore(tmp_path / "elsewhere").read("desfire", size=16) is None


def test_folder_and_file_are_the_owners_alone_whatever_the_mask(tmp_path: Path):
    before = os.umask(0)
    try:
        SealedStore(tmp_path).write("desfire", _KEY)
    finally:
        os.umask(before)
    assert (tmp_path / "sealed").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "sealed/desfire").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "sealed").iterdir()] == ["desfire"]


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_file_with_any_right_of_others_is_refused(store: SealedStore, mode: int):
    (store.folder / "ntag424").chmod(mode)
    assert _fault(store) is SealFault.OPEN_TO_OTHERS
    (store.folder / "ntag424").chmod(0o400)
    assert store.read("ntag424", size=16) == _KEY


@pytest.mark.parametrize("mode", [0o750, 0o710, 0o701, 0o777])
def test_a_folder_with_any_right_of_others_is_refused_for_reading_and_writing(store: SealedStore, mode: int):
    store.folder.chmod(mode)
    assert _fault(store) is SealFault.OPEN_TO_OTHERS
    with pytest.raises(SealedStoreError) as caught:
        store.write("ntag424", bytes(16))
    assert caught.value.fault is SealFault.OPEN_TO_OTHERS
    store.folder.chmod(0o700)
    assert store.read("ntag424", size=16) == _KEY


def test_a_link_is_refused(store: SealedStore, tmp_path: Path):
    (store.folder / "ntag424").rename(tmp_path / "elsewhere")
    (store.folder / "ntag424").symlink_to(tmp_path / "elsewhere")
    assert _fault(store) is SealFault.UNREADABLE


def test_a_linked_folder_is_refused(store: SealedStore, tmp_path: Path):
    store.folder.rename(tmp_path / "elsewhere")
    store.folder.symlink_to(tmp_path / "elsewhere")
    assert _fault(store) is SealFault.OPEN_TO_OTHERS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_under_sudo_a_secret_belongs_to_whom_the_daemon_runs_as(tmp_path: Path):
    os.chown(tmp_path, 12_345, 54_321)
    SealedStore(tmp_path).write("ntag424", _KEY)
    for path in (tmp_path / "sealed", tmp_path / "sealed/ntag424"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 54_321)
    assert SealedStore(tmp_path).read("ntag424", size=16) == _KEY


@pytest.mark.parametrize("size", [0, 15, 17, 1000])
def test_a_secret_of_another_size_is_refused(store: SealedStore, size: int):
    (store.folder / "ntag424").write_bytes(bytes(size))
    assert _fault(store) is SealFault.WRONG_SIZE


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "sealed").write_bytes(b"a file")
    (tmp_path / "sealed").chmod(0o600)
    with pytest.raises(SealedStoreError) as caught:
        SealedStore(tmp_path).write("ntag424", _KEY)
    assert caught.value.fault is SealFault.UNREADABLE
    with pytest.raises(SealedStoreError) as caught:
        SealedStore(tmp_path / "missing").write("ntag424", _KEY)
    assert caught.value.fault is SealFault.UNREADABLE


@pytest.mark.parametrize("name", ["", "../key", "Key", ".hidden", "a" * 33])
def test_a_name_is_no_path(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="no name"):
        SealedStore(tmp_path).read(name, size=16)


# --- doorward provision card-key ----------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", [purpose.value for purpose in CardKey])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_key_is_sealed_from_standard_input(tmp_path: Path, purpose: str, end: bytes):
    ran = run_program("provision", "card-key", purpose, "--folder", tmp_path, "--json", stdin=_KEY.hex().encode() + end)
    assert ran.code == ExitCode.OK
    assert ran.record == {
        "key": purpose,
        "check_value": key_check_value(_KEY),
        "file": str(tmp_path / "sealed" / purpose),
    }
    assert SealedStore(tmp_path).read(purpose, size=16) == _KEY
    assert _KEY.hex() not in ran.out + ran.err


@pytest.mark.parametrize("text", ["", "00" * 15, "00" * 17, "0g" * 16, "00" * 16 + " 00", "é" * 16])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str):
    ran = run_program("provision", "card-key", "ntag424", "--folder", tmp_path, stdin=text.encode())
    assert ran.code == ExitCode.UNUSABLE
    assert "32 hexadecimal digits" in ran.err
    assert not text or text not in ran.out + ran.err
    assert not (tmp_path / "sealed").exists()


def test_a_key_is_no_argument(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    ran = run_here(capsys, "provision", "card-key", "ntag424", _KEY.hex(), "--folder", tmp_path)
    assert ran.code == ExitCode.UNUSABLE
    assert not (tmp_path / "sealed").exists()


def test_another_name_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert run_here(capsys, "provision", "card-key", "mifare", "--folder", tmp_path).code == ExitCode.UNUSABLE


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path):
    ran = run_program("provision", "card-key", "ntag424", "--folder", tmp_path / "no", stdin=b"00" * 16)
    assert ran.code == ExitCode.UNUSABLE
    assert str(tmp_path / "no") in ran.err


def test_at_a_terminal_the_key_is_asked_for_and_not_shown(tmp_path: Path):
    master, slave = pty.openpty()
    tty.setcbreak(slave)
    command = [str(PROGRAM), "provision", "card-key", "ntag424", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
        os.close(slave)
        shown = b""
        while b"not shown" not in shown:
            shown += os.read(master, 1024)
        os.write(master, _KEY.hex().encode() + b"\n")
        try:
            while data := os.read(master, 1024):
                shown += data
        except OSError:
            pass  # so a pseudo-terminal ends
        assert process.wait(30) == 0
    os.close(master)
    assert _KEY.hex() not in shown.decode()
    assert key_check_value(_KEY) in shown.decode()
    assert SealedStore(tmp_path).read("ntag424", size=16) == _KEY
