"""Who gets through the device listener: mutual TLS against the database."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.database import close_pool, open_pool
from cloud.devices.authority import open_authority
from cloud.devices.guard import CACHE_S, DeviceGuard, DeviceIdentity, PeerCertificate
from cloud.devices.last_seen import LastSeen
from cloud.errors import CloudError, Reason
from cloud.listeners import MOST_CONNECTIONS, MOST_NAMELESS, Crowd
from cloud.problems import describe
from tests.support.clouds import Device, RunningCloud, certificate_in, certificate_request, enrol, trusting
from tests.support.halted import halted
from tests.support.waiting import DEADLINE_S, until
from wire.messages import DEVICE_BOOTSTRAP, EST_REENROL
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.database import Pool


_CURVE = ec.SECP256R1()
_LAST_SEEN = "SELECT last_seen FROM devices WHERE id = $1"


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(name="cloud")
def _cloud(shared_cloud: RunningCloud) -> RunningCloud:
    return shared_cloud


@pytest_asyncio.fixture(name="pool", loop_scope="module")
async def _pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, size=2)
    yield pool
    await close_pool(pool, deadline_s=DEADLINE_S)


def _now() -> datetime:
    return datetime.now(UTC)


def _scope(device: Device) -> dict[str, object]:
    return {"doorward.peer": PeerCertificate.from_der(device.certificate.public_bytes(Encoding.DER))}


async def test_without_a_certificate_a_device_path_is_closed(cloud: RunningCloud):
    device = await cloud.enrolled("bare-school")
    async with httpx.AsyncClient(base_url=device.url, verify=trusting(device.ca), timeout=DEADLINE_S) as client:
        for path in (DEVICE_BOOTSTRAP, EST_REENROL):
            answer = await client.request("POST" if path == EST_REENROL else "GET", path)
            assert answer.status_code == 401
            assert answer.json()["reason"] == "DEVICE_CERTIFICATE_REQUIRED"


async def test_a_certificate_of_another_ca_does_not_get_past_tls(cloud: RunningCloud, tmp_path: Path):
    device = await cloud.enrolled("foreign-school")
    foreign = open_authority(tmp_path / "ca", now=_now())
    forged = foreign.certify_device(
        device.key.public_key(), tenant=Tenant("foreign-school"), device=DeviceId(device.name), now=_now()
    )
    async with replace(device, certificate=forged).client() as client:
        with pytest.raises((httpx.ReadError, httpx.ConnectError)):
            await client.get(DEVICE_BOOTSTRAP)


async def test_an_expired_certificate_does_not_get_past_tls(cloud: RunningCloud):
    device = await cloud.enrolled("expired-school")
    authority = open_authority(cloud.state / "ca", now=_now())
    expired = authority.certify_device(
        device.key.public_key(),
        tenant=Tenant("expired-school"),
        device=DeviceId(device.name),
        now=_now() - timedelta(days=91),
    )
    async with replace(device, certificate=expired).client() as client:
        with pytest.raises((httpx.ReadError, httpx.ConnectError)):
            await client.get(DEVICE_BOOTSTRAP)


async def test_a_certificate_that_the_database_does_not_know_is_refused(cloud: RunningCloud):
    device = await cloud.enrolled("unknown-school")
    authority = open_authority(cloud.state / "ca", now=_now())
    unknown = authority.certify_device(
        device.key.public_key(), tenant=Tenant("unknown-school"), device=DeviceId(device.name), now=_now()
    )
    async with replace(device, certificate=unknown).client() as client:
        answer = await client.get(DEVICE_BOOTSTRAP)
    assert answer.status_code == 403
    assert answer.json()["reason"] == "DEVICE_CERTIFICATE_UNKNOWN"


async def test_the_listener_s_own_certificate_is_no_device_s(cloud: RunningCloud):
    device = await cloud.enrolled("listener-school")
    context = trusting(device.ca)
    context.load_cert_chain(cloud.state / "ca" / "listener.pem")
    async with httpx.AsyncClient(base_url=device.url, verify=context, timeout=DEADLINE_S) as client:
        with pytest.raises((httpx.ReadError, httpx.ConnectError)):
            await client.get(DEVICE_BOOTSTRAP)


async def test_a_certificate_holds_a_bounded_number_of_connections(cloud: RunningCloud):
    device, other = await cloud.enrolled("crowd-school"), await cloud.enrolled("quiet-school")
    url = httpx.URL(device.url)
    async with contextlib.AsyncExitStack() as stack:
        quiet = await stack.enter_async_context(other.client())
        assert (await quiet.get(DEVICE_BOOTSTRAP)).status_code == 200
        rests: list[asyncio.Task[bytes]] = []
        for _ in range(MOST_CONNECTIONS + 2):
            reader, writer = await asyncio.open_connection(url.host, url.port, ssl=device.context())
            stack.callback(writer.close)
            request = f"GET {DEVICE_BOOTSTRAP} HTTP/1.1\r\nHost: {url.host}\r\n\r\n"
            writer.write(request.encode())
            async with asyncio.timeout(DEADLINE_S):
                assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
            rests.append(asyncio.create_task(reader.read()))
        await until(lambda: all(rest.done() for rest in rests[:2]))
        assert not any(rest.done() for rest in rests[2:]), "the newest go on"
        assert (await quiet.get(DEVICE_BOOTSTRAP)).status_code == 200, "another door's connection goes on"
    await asyncio.gather(*rests, return_exceptions=True)


async def test_old_tls_is_refused(cloud: RunningCloud):
    device = await cloud.enrolled("old-tls-school")
    context = trusting(device.ca)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(base_url=device.url, verify=context, timeout=DEADLINE_S) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(DEVICE_BOOTSTRAP)


async def test_a_revoked_device_is_refused_at_its_next_request(cloud: RunningCloud):
    device = await cloud.enrolled("revoked-school")
    async with device.client() as client:
        assert (await client.get(DEVICE_BOOTSTRAP)).status_code == 200
        revoked = await cloud.api.post(f"/api/v1/institutions/revoked-school/devices/{device.name}/revoke")
        assert revoked.json()["status"] == "revoked"
        answer = await client.get(DEVICE_BOOTSTRAP)
        renewal = await client.post(EST_REENROL, content=certificate_request(device.key))
    assert (answer.status_code, renewal.status_code) == (403, 403)
    assert answer.json()["reason"] == "DEVICE_REVOKED"


async def test_a_revocation_by_another_process_is_noticed_within_the_cache_time(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("elsewhere-school")
    clock = Clock()
    guard = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=clock)
    identity = await guard.identify(_scope(device))
    assert (identity.tenant, identity.door, identity.device) == ("elsewhere-school", "main-entrance", device.name)
    assert identity.key.p256() == device.key.public_key()
    await pool.execute("UPDATE devices SET status = 'revoked' WHERE id = $1", device.name)
    clock.now_s = CACHE_S - 0.1
    assert await guard.identify(_scope(device)) == identity
    clock.now_s = CACHE_S
    with pytest.raises(CloudError) as caught:
        await guard.identify(_scope(device))
    assert caught.value.reason is Reason.DEVICE_REVOKED


async def test_by_its_name_a_device_is_known_with_its_newest_key(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("named-school")
    tenant, name, clock = Tenant("named-school"), DeviceId(device.name), Clock()
    guard = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=clock)
    identity = await guard.named(tenant, name)
    assert identity == await guard.identify(_scope(device))
    async with device.client() as client:
        renewed = await client.post(
            EST_REENROL, content=certificate_request(new_key := ec.generate_private_key(_CURVE))
        )
    assert renewed.status_code == 200
    clock.now_s = CACHE_S - 0.1
    assert await guard.named(tenant, name) == identity
    clock.now_s = CACHE_S
    assert (await guard.named(tenant, name)).key.p256() == new_key.public_key()


async def test_by_its_name_a_revoked_or_unknown_device_is_refused(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("named-and-gone")
    tenant, name = Tenant("named-and-gone"), DeviceId(device.name)
    guard = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=Clock())
    assert (await guard.named(tenant, name)).door == "main-entrance"
    await pool.execute("UPDATE devices SET status = 'revoked' WHERE id = $1", device.name)
    guard.forget(tenant, name)
    for who, reason in (
        ((tenant, name), Reason.DEVICE_REVOKED),
        ((tenant, DeviceId("nobody")), Reason.DEVICE_CERTIFICATE_UNKNOWN),
        ((Tenant("elsewhere"), name), Reason.DEVICE_CERTIFICATE_UNKNOWN),
    ):
        with pytest.raises(CloudError) as caught:
            await guard.named(*who)
        assert caught.value.reason is reason


@pytest.mark.parametrize("named", [False, True], ids=["certificate", "name"])
async def test_a_backend_that_hangs_costs_a_short_wait_and_is_no_unknown_device(
    cloud: RunningCloud, pool: Pool, *, named: bool
):
    tenant = Tenant(f"hung-school-{named}".lower())
    first = await cloud.enrolled(tenant)
    second = await enrol(first.url, await cloud.claim(tenant))
    guard = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=Clock(), look_up_s=0.3)

    async def look_up(device: Device) -> DeviceIdentity:
        return await (guard.named(tenant, DeviceId(device.name)) if named else guard.identify(_scope(device)))

    async with pool.acquire() as connection:
        next_backend = connection.get_server_pid()
    with halted(next_backend):
        async with asyncio.timeout(DEADLINE_S / 2):
            idle = pool.get_idle_size()
            asking = asyncio.create_task(look_up(first))
            await until(lambda: pool.get_idle_size() < idle)
            guard._look_up_s = DEADLINE_S / 4  # what answers may be slow: this process pauses
            waiting = asyncio.create_task(look_up(second))
            with pytest.raises(TimeoutError) as caught:
                await asking
            assert (await waiting).device == second.name
            assert (await look_up(first)).device == first.name
    problem, headers = describe(caught.value)
    assert (problem.status, problem.reason, headers) == (503, "DATABASE_UNAVAILABLE", {"retry-after": "2"})


async def test_without_a_free_connection_a_device_is_asked_to_come_again(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("crowded-school")
    guard = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=Clock(), look_up_s=0.3)
    async with pool.acquire(), pool.acquire(), asyncio.timeout(DEADLINE_S / 2):
        with pytest.raises(TimeoutError):
            await guard.identify(_scope(device))
    guard._look_up_s = DEADLINE_S / 4  # what answers may be slow: this process pauses
    assert (await guard.identify(_scope(device))).device == device.name


async def test_the_old_certificate_ends_when_the_new_one_has_been_used(cloud: RunningCloud, pool: Pool):
    old = await cloud.enrolled("replaced-school")
    async with old.client() as client:
        answer = await client.post(EST_REENROL, content=certificate_request(old.key))
    new = replace(old, certificate=certificate_in(answer.content))
    guard = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=Clock())
    assert (await guard.identify(_scope(old))).device == old.name
    assert (await guard.identify(_scope(new))).device == old.name
    fresh = DeviceGuard(pool, LastSeen(pool, now=_now), monotonic_s=Clock())
    with pytest.raises(CloudError) as caught:
        await fresh.identify(_scope(old))
    assert caught.value.reason is Reason.DEVICE_CERTIFICATE_UNKNOWN


async def test_a_lost_renewal_can_be_repeated_with_the_certificate_in_use(cloud: RunningCloud):
    device = await cloud.enrolled("lost-school")
    async with device.client() as client:
        lost = await client.post(EST_REENROL, content=certificate_request(device.key))
        again = await client.post(EST_REENROL, content=certificate_request(device.key))
        assert (lost.status_code, again.status_code) == (200, 200)
        assert (await client.get(DEVICE_BOOTSTRAP)).status_code == 200


async def test_a_device_that_was_heard_is_online_as_of_then(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("heard-school")
    last_seen = LastSeen(pool, now=_now)
    before = _now()
    last_seen.touch(Tenant("heard-school"), DeviceId(device.name))
    await last_seen.flush()
    (listed,) = (await cloud.api.get("/api/v1/institutions/heard-school/devices")).json()["data"]
    assert listed["status"] == "online"
    assert before <= datetime.fromisoformat(listed["lastSeen"]) <= _now()
    await pool.execute("UPDATE devices SET last_seen = now() - interval '181 seconds' WHERE id = $1", device.name)
    (listed,) = (await cloud.api.get("/api/v1/institutions/heard-school/devices")).json()["data"]
    assert listed["status"] == "offline"


async def test_what_could_not_be_written_is_written_later(cloud: RunningCloud, pool: Pool):
    device = await cloud.enrolled("late-school")
    last_seen = LastSeen(pool, now=_now)
    last_seen.touch(Tenant("late-school"), DeviceId(device.name))
    await pool.execute("ALTER TABLE devices RENAME COLUMN last_seen TO hidden")
    await last_seen.flush()
    await pool.execute("ALTER TABLE devices RENAME COLUMN hidden TO last_seen")
    assert await pool.fetchval(_LAST_SEEN, device.name) is None
    await last_seen.flush()
    assert await pool.fetchval(_LAST_SEEN, device.name) is not None


class Connection:
    """A transport that knows whether it was ended."""

    ended = False

    def abort(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("peer", "most"), [(None, MOST_NAMELESS), (PeerCertificate(b"der", bytes(32)), MOST_CONNECTIONS)]
)
async def test_one_connection_too_many_ends_the_oldest_and_room_is_given_back(peer: PeerCertificate | None, most: int):
    crowd, opened = Crowd(), [Connection() for _ in range(most + 2)]
    for connection in opened[:most]:
        crowd.enter(peer, connection)  # type: ignore[arg-type]
    crowd.leave(peer, opened[1])  # type: ignore[arg-type]
    crowd.enter(peer, opened[most])  # type: ignore[arg-type]
    assert not any(connection.ended for connection in opened)
    crowd.enter(peer, opened[most + 1])  # type: ignore[arg-type]
    assert [place for place, connection in enumerate(opened) if connection.ended] == [0]
