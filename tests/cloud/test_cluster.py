"""The private PostgreSQL: what it refuses, and what it survives."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from cloud.cluster import ClusterOptions, Places, PrivateCluster, find_programs
from cloud.cluster.owner import choose_owner
from cloud.errors import CloudError, Reason
from tests.support.clouds import reachable_folder
from tests.support.waiting import DEADLINE_S, until

_NOWHERE = Places(search_path="", debian=Path("/nonexistent"), wheel="no_such_wheel")
_OPTIONS = ClusterOptions(start_s=120)
_ABANDON = """
import asyncio, os, signal, sys
from pathlib import Path
from cloud.cluster import PrivateCluster
async def main():
    cluster = PrivateCluster(Path(sys.argv[1]))
    await cluster.start(lambda _: None)
    print(cluster.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def _silent(_sentence: str) -> None:
    return


def _is_open_to_others(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o077)


def _pid(cluster: PrivateCluster) -> int:
    pid = cluster.pid
    assert pid is not None
    return pid


async def _reason_of_start(cluster: PrivateCluster) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await cluster.start(_silent)
    await cluster.stop()
    return caught.value


async def _ask(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=DEADLINE_S)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def test_missing_programs_are_named_with_the_command_that_installs_them():
    with pytest.raises(CloudError) as caught:
        find_programs(_NOWHERE)
    assert caught.value.reason is Reason.POSTGRES_MISSING
    assert "sudo apt-get install --yes postgresql " in caught.value.detail


def test_a_version_that_is_not_installed_is_named():
    with pytest.raises(CloudError) as caught:
        find_programs(Places(), major=7)
    assert "sudo apt-get install --yes postgresql-7 " in caught.value.detail


def test_a_program_that_does_not_run_is_passed_over(tmp_path: Path):
    folder = tmp_path / "99" / "bin"
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    with pytest.raises(CloudError) as caught:
        find_programs(Places(search_path="", debian=tmp_path, wheel="no_such_wheel"))
    assert caught.value.reason is Reason.POSTGRES_MISSING


def test_the_newest_version_of_the_distribution_comes_first(tmp_path: Path):
    for version in ("9", "15", "100"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for name in ("postgres", "initdb"):
            (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}.1'\n")
            (folder / name).chmod(0o755)
    places = Places(search_path="", debian=tmp_path, wheel="no_such_wheel")
    assert find_programs(places).major == 100
    assert find_programs(places, major=15).folder == tmp_path / "15" / "bin"


async def test_missing_programs_stop_the_start(state: Path):
    error = await _reason_of_start(PrivateCluster(state, ClusterOptions(places=_NOWHERE)))
    assert error.reason is Reason.POSTGRES_MISSING


async def test_a_full_disk_is_said_before_anything_is_made(state: Path):
    error = await _reason_of_start(PrivateCluster(state, ClusterOptions(min_free_bytes=1 << 60)))
    assert error.reason is Reason.NO_SPACE
    assert "Free some space" in error.detail
    assert not (state / "pg").exists()


async def test_a_folder_of_somebody_else_is_left_alone(state: Path):
    (state / "pg").mkdir()
    (state / "pg" / "PG_VERSION").write_text("15\n")
    error = await _reason_of_start(PrivateCluster(state, _OPTIONS))
    assert error.reason is Reason.CLUSTER_FOREIGN
    assert (state / "pg" / "PG_VERSION").read_text() == "15\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
async def test_a_closed_parent_folder_is_named_with_the_remedy(state: Path):
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    error = await _reason_of_start(PrivateCluster(closed / "state", _OPTIONS))
    assert error.reason is Reason.CLUSTER_UNREACHABLE
    assert f"chmod o+x {closed}" in error.detail


async def test_it_listens_on_no_network_and_never_answers_before_the_disk_has_it(cluster: PrivateCluster):
    assert await _ask(cluster.url(), "SHOW listen_addresses") == ""
    assert await _ask(cluster.url(), "SHOW synchronous_commit") == "on"
    assert await _ask(cluster.url(), "SHOW fsync") == "on"
    assert await _ask(cluster.url(), "SHOW data_checksums") == "on"


async def test_a_second_process_is_told_who_holds_the_state(cluster: PrivateCluster):
    folder = Path(str(await _ask(cluster.url(), "SHOW data_directory"))).parents[1]
    other = PrivateCluster(folder, _OPTIONS)
    error = await _reason_of_start(other)
    assert error.reason is Reason.STATE_IN_USE
    assert f"process {os.getpid()}" in error.detail
    assert await _ask(cluster.url(), "SELECT 1") == 1


async def test_a_stop_leaves_a_cluster_that_needs_no_recovery_and_no_process(own_cluster: PrivateCluster, state: Path):
    await own_cluster.start(_silent)
    server = _pid(own_cluster)
    await own_cluster.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    control = find_programs(Places()).folder / "pg_controldata"
    answer = await asyncio.create_subprocess_exec(control, state / "pg" / "data", stdout=subprocess.PIPE)
    output, _ = await answer.communicate()
    assert b"shut down\n" in output


async def test_after_a_kill_it_recovers_with_every_commit(own_cluster: PrivateCluster):
    url = await own_cluster.start(_silent)
    await _ask(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    os.kill(_pid(own_cluster), signal.SIGKILL)
    await until(lambda: own_cluster.pid is None)
    await own_cluster.stop()
    url = await own_cluster.start(_silent)
    assert await _ask(url, "SELECT count(*) FROM kept") == 1000


async def test_the_supervisor_starts_a_killed_server_again(own_cluster: PrivateCluster):
    said: list[str] = []
    url = await own_cluster.start(_silent)
    killed = _pid(own_cluster)
    watch = asyncio.create_task(own_cluster.supervise(said.append))
    os.kill(killed, signal.SIGKILL)
    await until(lambda: bool(said))
    await until(lambda: own_cluster.pid not in {None, killed})
    await _answers(url)
    watch.cancel()
    await own_cluster.stop()
    assert "PostgreSQL ended unasked; starting it again." in said


async def _answers(url: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                assert await _ask(url, "SELECT 1") == 1
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_server_left_behind_by_a_killed_cloud_is_replaced(own_cluster: PrivateCluster, state: Path):
    answer = await asyncio.create_subprocess_exec(sys.executable, "-c", _ABANDON, state, stdout=subprocess.PIPE)
    output, _ = await answer.communicate()
    left_behind = int(output)
    said: list[str] = []
    assert own_cluster.pid == left_behind
    url = await own_cluster.start(said.append)
    assert own_cluster.pid not in {None, left_behind}
    assert await _ask(url, "SELECT 1") == 1
    assert "Stopping the PostgreSQL that an earlier run left behind." in said


async def test_a_stale_process_id_that_now_is_a_stranger_is_left_alone(own_cluster: PrivateCluster, state: Path):
    await own_cluster.start(_silent)
    await own_cluster.stop()
    owner = choose_owner()
    user = owner.uid if owner.switch else None
    stranger = _sleeper(user)
    lines = [str(stranger.pid), str(state / "pg" / "data"), "0", "5432", "", "", "0 0", "ready"]
    owner.write_file(state / "pg" / "data" / "postmaster.pid", "\n".join(lines) + "\n")
    assert own_cluster.pid is None
    url = await own_cluster.start(_silent)
    assert await _ask(url, "SELECT 1") == 1
    await own_cluster.stop()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def _sleeper(user: int | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/usr/bin/env", "sleep", "600"], user=user)


async def test_an_interrupted_first_start_is_begun_again(own_cluster: PrivateCluster, state: Path):
    await own_cluster.start(_silent)
    await own_cluster.stop()
    (state / "pg" / "data").rename(state / "pg" / "data.new")
    (state / "pg" / "data.new" / "PG_VERSION").unlink()
    assert await _ask(await own_cluster.start(_silent), "SELECT 1") == 1


async def test_a_long_state_path_gets_a_short_socket_that_is_removed_again(state: Path):
    deep = state / ("x" * 100)
    cluster = PrivateCluster(deep, _OPTIONS)
    url = await cluster.start(_silent)
    short = Path(str(await _ask(url, "SHOW unix_socket_directories")).strip('"'))
    assert not _is_open_to_others(short)
    await cluster.stop()
    assert short not in set(short.parent.iterdir())


async def test_a_damaged_cluster_is_reported_in_its_own_words(own_cluster: PrivateCluster, state: Path):
    await own_cluster.start(_silent)
    await own_cluster.stop()
    (state / "pg" / "data" / "global" / "pg_control").unlink()
    error = await _reason_of_start(own_cluster)
    assert error.reason is Reason.POSTGRES_FAILED
    assert "pg_control" in error.detail


def test_a_test_folder_is_reachable_by_the_user_that_runs_the_server():
    folder = reachable_folder()
    owner = choose_owner()
    assert owner.may_enter(folder) or not owner.switch
    assert owner.uid != 0
    shutil.rmtree(folder)
