"""Key files: written whole, read only when nobody else can read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from firmware_adapters.sealed_key import KeyFileError, read_key, write_key

KEY = bytes(range(16))


def test_what_is_written_is_read_and_nobody_else_can(tmp_path: Path):
    path = tmp_path / "1.key"
    write_key(path, KEY)
    assert read_key(path) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["1.key"]


def test_a_key_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "1.key"
    write_key(path, KEY)
    write_key(path, KEY[::-1])
    assert read_key(path) == KEY[::-1]


@pytest.mark.parametrize("mode", [0o601, 0o604, 0o620, 0o640, 0o660, 0o700])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "1.key"
    write_key(path, KEY)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="not this user's alone"):
        read_key(path)


def test_a_file_that_only_its_user_may_read_is_taken(tmp_path: Path):
    path = tmp_path / "1.key"
    write_key(path, KEY)
    path.chmod(0o400)
    assert read_key(path) == KEY


@pytest.mark.parametrize(
    "text",
    [b"", b"00", b"00" * 15, b"00" * 17, b"zz" * 16, b"00" * 16, b"01" * 500, b"\xff" * 32],
    ids=["empty", "short", "15 bytes", "17 bytes", "not hexadecimal", "all zero", "long", "not ASCII"],
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: bytes):
    path = tmp_path / "1.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="holds no key"):
        read_key(path)


def test_what_is_no_file_is_refused(tmp_path: Path):
    write_key(tmp_path / "1.key", KEY)
    (tmp_path / "link").symlink_to("1.key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("missing", "link", "pipe", "."):
        with pytest.raises(KeyFileError) as caught:
            read_key(tmp_path / name)
        assert caught.value.remedy
