"""The service as a process: start, addresses, refusals, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from cloud.devices.authority import open_authority
from cloud.devices.listener import ListenerCertificate
from cloud.errors import CloudError, Reason
from cloud.listeners import bind
from cloud.notify import notify
from cloud.server import serve
from cloud.settings import Address
from tests.support.clouds import LOOPBACK, fetch_ca, running_cloud, trusting
from tests.support.waiting import DEADLINE_S, until
from wire.messages import DEVICE_BOOTSTRAP, EST_CACERTS

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.settings import CloudSettings


@pytest.fixture(name="process")
async def _process(state: Path) -> AsyncIterator[Process]:
    """`python -m cloud` with a database of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloud", "--state", state, "--api", "127.0.0.1:0", "--devices", "127.0.0.1:0"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    yield process
    if process.returncode is None:
        process.terminate()
    async with asyncio.timeout(DEADLINE_S):
        await process.communicate()


async def _first_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(2 * DEADLINE_S):
        return (await process.stdout.readline()).decode()


@pytest.mark.slow
async def test_one_command_serves_with_a_database_of_its_own_and_a_signal_stops_all_of_it(
    process: Process, state: Path
):
    line = await _first_line(process)
    addresses = json.loads((state / "cloud.json").read_text())
    assert line == f"api {addresses['api_url']} devices {addresses['device_url']}\n"
    assert addresses["pid"] == process.pid
    async with httpx.AsyncClient(base_url=addresses["api_url"], timeout=DEADLINE_S) as client:
        assert (await client.get("/health")).status_code == 200
    server = int((state / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_S):
        assert await process.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert not (state / "cloud.json").exists()


@pytest.mark.slow
async def test_a_killed_database_is_started_again_while_serving(process: Process, state: Path):
    await _first_line(process)
    addresses = json.loads((state / "cloud.json").read_text())
    killed = _postmaster(state)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    # That it is away may be over before anybody asks; that another runs stays.
    await until(lambda: _postmaster(state) not in {None, killed}, deadline_s=60)
    async with httpx.AsyncClient(base_url=addresses["api_url"], timeout=DEADLINE_S) as client, asyncio.timeout(60):
        while (await client.get("/health")).status_code != 200:  # noqa: ASYNC110 - asked of the service
            await asyncio.sleep(0.02)
    assert process.returncode is None


def _postmaster(state: Path) -> int | None:
    """Read the process id of the database's server; None while there is none."""
    try:
        return int((state / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError):
        return None


@pytest.mark.slow
async def test_a_stop_while_the_database_is_being_made_leaves_no_process(process: Process, state: Path):
    await until((state / "pg" / "data.new").exists)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(DEADLINE_S):
        assert await process.wait() == 0
    assert not (state / "pg" / "data" / "postmaster.pid").exists()


async def _refusal(settings: CloudSettings) -> CloudError:
    with pytest.raises(CloudError) as caught:
        await serve(settings, ready=lambda _: None, progress=lambda _: None)
    return caught.value


@pytest.mark.parametrize("option", ["api", "devices"])
async def test_a_busy_port_is_named_with_the_remedy(settings: CloudSettings, option: str):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        busy = Address("127.0.0.1", port)
        error = await _refusal(replace(settings, api=busy) if option == "api" else replace(settings, devices=busy))
    assert error.reason is Reason.PORT_IN_USE
    assert f"Port {port} on 127.0.0.1 is in use by another program" in error.detail
    assert f"--{option}" in error.detail


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_refused_in_words(settings: CloudSettings, host: str):
    error = await _refusal(replace(settings, api=Address(host, 0)))
    assert error.reason is Reason.SETTING_INVALID
    assert f"--api: cannot listen on {host} port 0" in error.detail


def test_ipv6_is_listened_on_as_well():
    with bind(Address("::1", 0), setting="--api") as listener:
        assert listener.getsockname()[0] == "::1"


async def test_an_unusable_state_folder_is_refused_in_words(settings: CloudSettings, tmp_path: Path):
    (tmp_path / "file").write_text("")
    error = await _refusal(replace(settings, state=tmp_path / "file" / "state"))
    assert error.reason is Reason.STATE_UNUSABLE


async def test_a_secret_that_others_may_read_is_refused_with_the_remedy(settings: CloudSettings):
    token = settings.state / "operator.token"
    token.write_text("secret\n")
    token.chmod(0o644)
    error = await _refusal(settings)
    assert error.reason is Reason.STATE_UNUSABLE
    assert f"chmod 600 {token}" in error.detail


@pytest.mark.parametrize("content", [b"", b"nonsense"])
async def test_a_damaged_device_ca_is_not_replaced(settings: CloudSettings, content: bytes):
    ca = settings.state / "ca" / "device-ca.pem"
    ca.parent.mkdir()
    ca.touch(mode=0o600)
    ca.write_bytes(content)
    error = await _refusal(settings)
    assert error.reason is Reason.STATE_UNUSABLE
    assert ca.read_bytes() == content


async def test_a_restart_keeps_the_ca_the_token_and_the_devices(settings: CloudSettings):
    async with running_cloud(settings) as cloud:
        device = await cloud.enrolled("restarted")
        token = cloud.token
    async with running_cloud(settings) as cloud:
        assert cloud.token == token
        again = replace(device, url=cloud.addresses.device_url)
        async with again.client() as client:
            assert (await client.get("/device/v1/bootstrap")).status_code == 200


async def test_a_lost_token_file_makes_a_new_token_and_ends_the_old_one(settings: CloudSettings):
    async with running_cloud(settings) as cloud:
        lost = cloud.token
    (settings.state / "operator.token").unlink()
    async with running_cloud(settings) as cloud:
        assert cloud.token != lost
        answer = await cloud.api.get("/api/v1/institutions", headers={"Authorization": f"Bearer {lost}"})
    assert answer.json()["reason"] == "TOKEN_UNKNOWN"


async def test_open_connections_do_not_hold_up_a_stop(settings: CloudSettings):
    async with running_cloud(settings) as cloud:
        url = httpx.URL(cloud.addresses.api_url)
        _, idle = await asyncio.open_connection(url.host, url.port)
        idle.write(b"POST /api/v1/institutions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        await idle.drain()
        await cloud.api.get("/health")
    idle.close()
    await idle.wait_closed()


async def test_a_door_that_rests_does_not_hold_up_a_stop(settings: CloudSettings):
    """It does not read, hence does not answer the end of TLS."""
    loop = asyncio.get_running_loop()
    patient = replace(settings, shutdown_s=10)  # far longer than a stop takes on a machine that pauses
    async with running_cloud(patient) as cloud:
        device = await cloud.enrolled("resting")
        client = device.client()
        assert (await client.get(DEVICE_BOOTSTRAP)).status_code == 200
        began_s = loop.time()
    assert loop.time() - began_s < patient.shutdown_s
    await client.aclose()


async def test_doors_reach_the_listener_by_its_configured_names(settings: CloudSettings):
    named = replace(settings, names=("doors.example.org", "192.0.2.7"))
    async with running_cloud(named) as cloud:
        await cloud.make_door("named")
        ca = await fetch_ca(cloud.addresses.device_url, await cloud.claim("named"))
        pem = (settings.state / "ca" / "listener.pem").read_bytes()
        async with httpx.AsyncClient(
            base_url=cloud.addresses.device_url, verify=trusting(ca), timeout=DEADLINE_S
        ) as client:
            answer = await client.get(EST_CACERTS, extensions={"sni_hostname": "doors.example.org"})
    assert answer.status_code == 200
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert set(names.value.get_values_for_type(x509.DNSName)) == {"localhost", "doors.example.org"}
    assert {"127.0.0.1", "::1", "192.0.2.7"} == set(map(str, names.value.get_values_for_type(x509.IPAddress)))


def test_the_listener_s_certificate_is_renewed_in_time_and_when_names_or_ca_change(tmp_path: Path):
    now = datetime.now(UTC)
    authority = open_authority(tmp_path / "ca", now=now)
    path = tmp_path / "ca" / "listener.pem"
    certificate = ListenerCertificate(path, authority, ["::0:1", "gate"])
    assert certificate.renew_if_due(now=now)
    ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    assert not certificate.renew_if_due(now=ends - timedelta(days=30))
    assert certificate.renew_if_due(now=ends - timedelta(days=30) + timedelta(seconds=1))
    assert ListenerCertificate(path, authority, ["other"]).renew_if_due(now=now)
    other = open_authority(tmp_path / "other-ca", now=now)
    assert ListenerCertificate(path, other, ["other"]).renew_if_due(now=now)


async def test_a_certificate_that_cannot_be_written_is_tried_again(tmp_path: Path):
    now = datetime.now(UTC)
    path = tmp_path / "ca" / "listener.pem"
    certificate = ListenerCertificate(path, open_authority(tmp_path / "ca", now=now), ["gate"])
    (tmp_path / "ca").rename(tmp_path / "away")
    with capture_logs() as log:
        looking = asyncio.create_task(certificate.run(now=lambda: now, every_s=0))
        await until(lambda: len(log) >= 2)
        (tmp_path / "away").rename(tmp_path / "ca")
        await until(path.exists)
        looking.cancel()
        await asyncio.wait((looking,))
    assert looking.cancelled()
    assert [log[0]["event"], log[1]["event"], log[-1]["event"]] == [
        "listener_certificate_not_renewed",
        "listener_certificate_not_renewed",
        "listener_certificate_renewed",
    ]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, *, abstract: bool):
    address = f"@doorward-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + address[1:] if abstract else address)
        notify("READY=1", address=address)
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nonexistent/notify"])
def test_without_systemd_nothing_happens(address: str | None):
    notify("READY=1", address=address)


async def test_readiness_comes_with_the_addresses_written(settings: CloudSettings):
    async with running_cloud(settings) as cloud:
        written = json.loads((settings.state / "cloud.json").read_text())
        assert written["api_url"] == cloud.addresses.api_url
        assert written["device_url"].startswith("https://127.0.0.1:")
        assert written["pid"] == os.getpid()
    assert not (settings.state / "cloud.json").exists()


async def test_a_connection_that_never_asks_is_closed(settings: CloudSettings):
    async with running_cloud(replace(settings, first_request_s=0.2)) as cloud:
        url = httpx.URL(cloud.addresses.api_url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read() == b""
        writer.close()
        assert b" 200 " in (await _ask_at_once(url)).partition(b"\r\n")[0]


async def _ask_at_once(url: httpx.URL) -> bytes:
    """Ask before the connection is accepted: however long this process pauses then, the question is there in time."""
    with socket.create_connection((url.host, url.port)) as peer:
        peer.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        peer.settimeout(0)
        reader, writer = await asyncio.open_connection(sock=peer)
        async with asyncio.timeout(DEADLINE_S):
            answer = await reader.read()
        writer.close()
    return answer


def test_the_settings_of_a_test_listen_on_loopback_only(settings: CloudSettings):
    assert (settings.api, settings.devices) == (LOOPBACK, LOOPBACK)
