"""What is written for a NATS cluster, and the one command that runs one for trial."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cloud.broker.admission import KnownDevice, Lookup
from cloud.broker.callout import CallOut, look_up_in, read_callout_settings
from cloud.broker.nats_keys import open_cluster_keys
from cloud.broker.nats_program import LEAST, find_server, places, within_reach
from cloud.broker.nats_setup import database_of, main
from cloud.broker.nkeys import Kind, Nkey
from cloud.cluster import PrivateCluster
from cloud.cluster.owner import choose_owner
from cloud.database import close_pool, open_pool
from cloud.devices.authority import open_authority
from cloud.errors import CloudError, Reason
from tests.support.waiting import DEADLINE_S, until

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
THREE = ["--node", "a=10.0.0.1", "--node", "b=10.0.0.2", "--node", "c=c.example"]
DATABASE = "postgresql://doorward@db.example/doorward"


@pytest.fixture(name="founded")
def _founded(state: Path) -> Path:
    """The state of a cloud that has been started before."""
    open_authority(state / "ca", now=NOW)
    return state


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)


def configured(state: Path, *arguments: str) -> int:
    return main(["configure", "--state", str(state), "--folder", str(state / "out"), "--name", "b.example", *arguments])


def test_each_machine_gets_a_folder_that_nobody_else_may_read(founded: Path):
    assert configured(founded, *THREE) == 0
    for name in ("a", "b", "c"):
        folder = founded / "out" / name
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in folder.iterdir()} == {
            "nats.conf",
            "callout.json",
            "node.pem",
            "mqtt.pem",
            "cluster-ca.crt",
            "device-ca.crt",
        }
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
        settings = read_callout_settings(folder / "callout.json")
        assert (settings.servers, settings.database_url) == (("tls://127.0.0.1:4222",), DATABASE)


def test_a_node_knows_the_others_and_keeps_three_copies(founded: Path):
    assert configured(founded, *THREE) == 0
    text = (founded / "out" / "a" / "nats.conf").read_text()
    assert 'routes: [ "tls://10.0.0.2:6222", "tls://c.example:6222" ]' in text
    assert "stream_replicas: 3" in text
    assert "sync_interval: always" in text
    assert text.count("verify: true") == 3
    assert text.count('min_version: "1.3"') == 3


def test_no_seed_is_in_a_servers_configuration(founded: Path):
    assert configured(founded, *THREE) == 0
    seeds = json.loads((founded / "nats" / "callout-keys.json").read_text())
    text = (founded / "out" / "a" / "nats.conf").read_text()
    assert not any(seed in text for seed in seeds.values())


def test_keys_stay_and_certificates_are_made_anew(founded: Path):
    assert configured(founded, *THREE) == 0
    before = {path.name: path.read_bytes() for path in (founded / "out" / "a").iterdir()}
    assert configured(founded, *THREE) == 0
    after = {path.name: path.read_bytes() for path in (founded / "out" / "a").iterdir()}
    changed = {name for name, content in before.items() if content != after[name]}
    assert changed == {"node.pem", "mqtt.pem"}


def test_the_doors_certificate_is_the_device_authoritys_and_the_nodes_is_not(founded: Path):
    assert configured(founded, *THREE) == 0
    folder = founded / "out" / "c"
    devices, cluster = (
        x509.load_pem_x509_certificate((folder / f"{name}-ca.crt").read_bytes()) for name in ("device", "cluster")
    )
    mqtt, node = (x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()) for name in ("mqtt", "node"))
    mqtt.verify_directly_issued_by(devices)
    node.verify_directly_issued_by(cluster)
    uses = node.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = node.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["c.example"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--node", "a=10.0.0.1", "--node", "b=10.0.0.2"], "odd"),
        (["--node", "a=10.0.0.1", "--node", "a=10.0.0.2", "--node", "b=10.0.0.3"], "name of its own"),
        (["--node", "10.0.0.1"], "NAME=HOST"),
        (["--node", "A=10.0.0.1"], "NAME=HOST"),
        (["--node", "a="], "NAME=HOST"),
    ],
)
def test_nodes_that_make_no_cluster_are_refused(
    founded: Path, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
):
    assert configured(founded, *arguments) == 2
    assert word in capsys.readouterr().err


def test_without_a_database_no_callout_is_configured(
    founded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert configured(founded, *THREE) == 2
    assert "DATABASE_URL" in capsys.readouterr().err


def test_a_folder_that_is_no_clouds_state_is_refused(state: Path, capsys: pytest.CaptureFixture[str]):
    assert configured(state, *THREE) == 2
    assert "doorward cloud serve" in capsys.readouterr().err
    assert not (state / "ca").exists()


def test_a_trial_without_a_state_folder_is_refused_with_a_sentence(state: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["up", "--state", str(state / "none")]) == 2
    assert f"There is no folder {state / 'none'};" in capsys.readouterr().err


async def test_the_database_is_the_operators_or_the_private_one_while_it_runs(own_cluster: PrivateCluster, state: Path):
    assert database_of(state, DATABASE) == DATABASE
    with pytest.raises(CloudError, match="No cloud serves") as caught:
        database_of(state, None)
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    url = await own_cluster.start(lambda _: None)
    assert database_of(state, None) == url


def test_damaged_keys_are_named(founded: Path):
    open_cluster_keys(founded / "nats", now=NOW)
    (founded / "nats" / "callout-keys.json").write_text('{"user":"SU","issuer":"SA"}')
    with pytest.raises(CloudError, match=r"callout-keys\.json is damaged; delete .*/nats, configure again"):
        open_cluster_keys(founded / "nats", now=NOW)


def test_a_callout_without_usable_files_says_which(founded: Path):
    assert configured(founded, *THREE) == 0
    path = founded / "out" / "a" / "callout.json"
    path.chmod(0o640)
    with pytest.raises(CloudError, match="chmod 600"):
        read_callout_settings(path)
    path.chmod(0o600)
    path.write_text("{}")
    with pytest.raises(CloudError, match=r"callout\.json"):
        read_callout_settings(path)
    with pytest.raises(CloudError, match="missing"):
        read_callout_settings(path.with_name("other.json"))
    run = subprocess.run(
        [sys.executable, "-m", "cloud.broker.callout", "--config", path], capture_output=True, check=False, cwd=ROOT
    )
    assert (run.returncode, b"callout.json" in run.stderr) == (2, True)


async def test_a_callout_that_finds_no_server_waits_for_one_and_ends_when_asked(founded: Path):
    assert configured(founded, *THREE) == 0
    path = founded / "out" / "a" / "callout.json"
    said = json.loads(path.read_text())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        path.write_text(json.dumps({**said, "servers": [f"tls://127.0.0.1:{nobody.getsockname()[1]}"]}))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cloud.broker.callout", "--config", path, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(2):
                    assert b"callout_server" in await process.stderr.readline()
        finally:
            process.terminate()
            async with asyncio.timeout(DEADLINE_S):
                rest = await process.stderr.read()
                code = await process.wait()
    assert (code, b"Traceback" in rest) == (0, False)


def program(folder: Path, says: str) -> Path:
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_an_old_server_is_refused_with_what_to_do(state: Path):
    for old in ("2.9.10", f"{LEAST[0]}.{LEAST[1] - 1}.9", "1.99.0"):
        with pytest.raises(CloudError, match=r"is needed. Run: pip install 'doorward\[nats\]'") as caught:
            find_server([program(state, f"nats-server: v{old}")])
        assert caught.value.reason is Reason.BROKER_MISSING
    new = program(state, f"nats-server: v{LEAST[0]}.{LEAST[1]}.0")
    assert find_server([state / "nothing", new]) == new


def test_what_is_no_server_is_not_taken(state: Path):
    with pytest.raises(CloudError, match="not installed"):
        find_server([program(state, "hello"), state / "nothing"])


def test_a_server_out_of_its_users_reach_is_copied_to_him(state: Path):
    owner = choose_owner(stand_ins=("nobody",))
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    server = program(closed, "nats-server: v2.15.1")
    run = within_reach(server, owner, state)
    assert run == (state / "nats-server" if owner.switch else server)
    assert find_server([run]) == run
    assert stat.S_IMODE(run.stat().st_mode) == 0o755
    assert within_reach(program(state, "other"), owner, state) == state / "nats-server"


def test_a_server_is_looked_for_beside_our_python_first(state: Path):
    found = program(state, "nats-server: v2.15.1")
    assert places(str(state)) == (Path(sys.executable).parent / "nats-server", found)
    assert len(places("")) == 1


async def test_the_callout_asks_the_database_and_says_when_it_is_away(database_url: str):
    pool = await open_pool(database_url, size=1)
    look_up = look_up_in(pool)
    assert await look_up(bytes(32)) is Lookup.UNKNOWN
    await close_pool(pool, deadline_s=DEADLINE_S)
    assert await look_up(bytes(32)) is Lookup.AWAY


async def test_a_database_that_does_not_let_the_callout_look_lets_nobody_in(database_url: str):
    role = {"role": "unable"}
    async with asyncpg.create_pool(database_url, min_size=0, max_size=1) as owner:
        await owner.execute("CREATE ROLE unable")
        async with asyncpg.create_pool(database_url, min_size=0, max_size=1, server_settings=role) as pool:
            assert await look_up_in(pool)(bytes(32)) is Lookup.UNKNOWN
        await owner.execute("DROP ROLE unable")


async def test_a_database_that_does_not_answer_is_not_waited_for_by_every_door():
    connections = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        url = f"postgresql://doorward@127.0.0.1:{server.sockets[0].getsockname()[1]}/doorward"
        pool = await asyncpg.create_pool(url, min_size=0, max_size=4)
        look_up = look_up_in(pool)
        assert await look_up(bytes(32)) is Lookup.AWAY
        asked = connections
        assert asked
        assert set(await asyncio.gather(*(look_up(bytes(32)) for _ in range(1_000)))) == {Lookup.AWAY}
        assert connections == asked
        pool.terminate()


@pytest.mark.parametrize("address", ["db.example/doorward", "postgresql://db.example:port/doorward"])
async def test_a_callout_whose_database_has_no_address_does_not_start(founded: Path, address: str):
    assert configured(founded, *THREE) == 0
    path = founded / "out" / "a" / "callout.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "database_url": address}))
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cloud.broker.callout", "--config", path, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            _, said = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
    assert (run.returncode, said) == (2, b"callout.json: database_url is no address of PostgreSQL.\n")


async def test_what_is_no_question_gets_no_answer(founded: Path):
    async def look_up(_fingerprint: bytes) -> KnownDevice | Lookup:
        raise AssertionError

    keys = open_cluster_keys(founded / "nats", now=NOW)
    ca = open_authority(founded / "ca", now=NOW).certificate
    callout = CallOut(keys.issuer, ca, look_up, now=lambda: NOW, early=lambda: 0.0)
    assert await callout.reply(b"garbage") is None


@pytest.mark.slow
async def test_one_command_runs_a_cluster_and_ends_it(founded: Path, database_url: str):
    """deploy/nats/up, as its page tells it."""
    process = await asyncio.create_subprocess_exec(
        ROOT / "deploy" / "nats" / "up",
        "--state", str(founded), "--port", "0",
        env={**os.environ, "DATABASE_URL": database_url, "PYTHON": sys.executable},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(2 * DEADLINE_S):
            while not said or not said[-1].startswith("ready"):
                said.append((await process.stdout.readline()).decode())
        pids = [int(line.split("process ")[1].split(",")[0].rstrip(")\n")) for line in said[:3]]
        assert sum("leads" in line for line in said) == 1
        os.kill(pids[0], signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            assert b"node-1 ended; still running: node-2" in await process.stdout.readline()
    finally:
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            rest = await process.stdout.read()
            assert await process.wait() == 0
    assert rest == b"stopped\n"
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_seeds_are_of_their_kinds(founded: Path):
    keys = open_cluster_keys(founded / "nats", now=NOW)
    again = open_cluster_keys(founded / "nats", now=NOW)
    assert (keys.user.kind, keys.issuer.kind) == (Kind.USER, Kind.ACCOUNT)
    assert [type(key) for key in (keys.user, keys.issuer)] == [Nkey, Nkey]
    assert (again.user.seed, again.issuer.seed) == (keys.user.seed, keys.issuer.seed)
