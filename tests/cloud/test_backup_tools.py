"""pg_dump and pg_restore as they are run: what stands on their command lines, and what becomes of their faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud.backups.tools import Tools, find_tools
from cloud.cluster.programs import Places
from cloud.errors import CloudError, Reason

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_a_password_is_on_no_command_line(tmp_path: Path):
    program(tmp_path, "pg_dump", f'echo "$@" > {tmp_path}/said; echo "$PGPASSWORD" > {tmp_path}/password')
    url = "postgresql://doorward:s%40cret@db.example:5433/events?sslmode=require"
    await Tools(tmp_path, 17).dump(url, tmp_path / "dump")
    said = (tmp_path / "said").read_text()
    assert "--dbname=postgresql://doorward@db.example:5433/events?sslmode=require" in said
    assert "cret" not in said
    assert (tmp_path / "password").read_text() == "s@cret\n"


async def test_a_password_among_the_options_is_on_no_command_line_either(tmp_path: Path):
    program(tmp_path, "pg_dump", f'echo "$@" > {tmp_path}/said; echo "$PGPASSWORD" > {tmp_path}/password')
    url = "postgresql:///events?host=%2Frun%2Fdb&password=s%40cr+et&user=doorward"
    await Tools(tmp_path, 17).dump(url, tmp_path / "dump")
    said = (tmp_path / "said").read_text()
    assert "--dbname=postgresql:///events?host=%2Frun%2Fdb&user=doorward" in said
    assert "cret" not in said
    assert (tmp_path / "password").read_text() == "s@cr et\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [("connection refused", Reason.BACKUP_FAILED), ("No space left on device", Reason.NO_SPACE)],
)
async def test_a_program_that_fails_is_told_with_its_own_words(tmp_path: Path, words: str, reason: Reason):
    program(tmp_path, "pg_dump", f"echo '{words}' >&2; exit 1")
    with pytest.raises(CloudError, match=words) as caught:
        await Tools(tmp_path, 17).dump("postgresql://a@b/c", tmp_path / "dump")
    assert caught.value.reason is reason


async def test_what_is_no_dump_does_not_read_through(tmp_path: Path):
    (tmp_path / "dump").write_bytes(b"PGDMP and then nothing")
    with pytest.raises(CloudError) as caught:
        await find_tools(Places(), at_least=1).read_through(tmp_path / "dump")
    assert caught.value.reason is Reason.BACKUP_DAMAGED


def test_programs_older_than_the_server_are_not_taken(tmp_path: Path):
    folder = tmp_path / "16" / "bin"
    folder.mkdir(parents=True)
    for name in ("pg_dump", "pg_restore"):
        program(folder, name, "echo 'pg_dump (PostgreSQL) 16.4'")
    places = Places(search_path="", debian=tmp_path)
    assert find_tools(places, at_least=16) == Tools(folder, 16)
    with pytest.raises(CloudError, match="postgresql-client-17") as caught:
        find_tools(places, at_least=17)
    assert caught.value.reason is Reason.POSTGRES_MISSING


def test_programs_on_the_path_are_found(tmp_path: Path):
    for name in ("pg_dump", "pg_restore"):
        program(tmp_path, name, "echo 'pg_dump (PostgreSQL) 18.1'")
    places = Places(search_path=str(tmp_path), debian=tmp_path / "none")
    assert find_tools(places, at_least=17) == Tools(tmp_path, 18)
