"""The operators' API: institutions, doors, claims, and who may ask."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest

from tests.support.clouds import fetch_ca, trusting
from tests.support.waiting import DEADLINE_S
from wire.messages import decode_claim_code

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clouds import RunningCloud

_INSTITUTIONS = "/api/v1/institutions"
_SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(name="cloud")
def _cloud(shared_cloud: RunningCloud) -> RunningCloud:
    return shared_cloud


async def test_an_institution_that_was_made_is_listed_and_has_its_keys(cloud: RunningCloud):
    new = {"id": "harbour-school", "name": "Harbour School", "timezone": "Europe/Vienna"}
    made = await cloud.api.post(_INSTITUTIONS, json=new)
    assert made.status_code == 201
    assert datetime.fromisoformat(made.json().pop("createdAt")) <= datetime.now(UTC)
    page = (await cloud.api.get(_INSTITUTIONS, params={"limit": 100})).json()
    assert made.json() in page["data"]
    assert page["pagination"] == {"page": 1, "limit": 100, "total": len(page["data"])}
    modes = {path.stem.partition("-")[0]: path.stat().st_mode & 0o777 for path in _key_files(cloud, "harbour-school")}
    assert modes == dict.fromkeys(("root", "pass", "status", "policy", "command", "acknowledgement"), 0o600)


async def test_an_institution_is_made_once_and_keeps_its_keys(cloud: RunningCloud):
    new = {"id": "once", "name": "Once"}
    await cloud.api.post(_INSTITUTIONS, json=new)
    before = [path.read_bytes() for path in _key_files(cloud, "once")]
    again = await cloud.api.post(_INSTITUTIONS, json=new)
    assert again.status_code == 409
    assert again.json()["reason"] == "INSTITUTION_EXISTS"
    assert [path.read_bytes() for path in _key_files(cloud, "once")] == before


def _key_files(cloud: RunningCloud, tenant: str) -> list[Path]:
    return sorted((cloud.state / "keys" / tenant).iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"id": "Upper"},
        {"id": ""},
        {"id": "-hyphen-first"},
        {"id": "a" * 33},
        {"id": "line-feed\n"},
        {"id": 7},
        {"name": ""},
        {"name": "n" * 201},
        {"name": "nul\x00"},
        {"unknown": 1},
    ],
)
async def test_a_malformed_institution_is_refused_with_the_place(cloud: RunningCloud, change: dict[str, object]):
    answer = await cloud.api.post(_INSTITUTIONS, json={"id": "fine", "name": "Fine", **change})
    assert answer.status_code == 400
    problem = answer.json()
    assert (problem["status"], problem["reason"]) == (400, "BAD_REQUEST")
    assert problem["errors"]


@pytest.mark.parametrize("identifier", ["a", "a" * 32, "0-9"])
async def test_a_slug_at_its_limits_is_accepted(cloud: RunningCloud, identifier: str):
    answer = await cloud.api.post(_INSTITUTIONS, json={"id": identifier, "name": "n" * 200})
    assert answer.status_code == 201


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
async def test_an_unknown_time_zone_is_refused(cloud: RunningCloud, zone: str):
    answer = await cloud.api.post(_INSTITUTIONS, json={"id": "fine", "name": "Fine", "timezone": zone})
    assert answer.status_code == 422
    assert answer.json()["reason"] == "TIME_ZONE_UNKNOWN"


async def test_pages_are_cut_by_id(cloud: RunningCloud):
    for name in ("page-c", "page-a", "page-b"):
        await cloud.api.post(_INSTITUTIONS, json={"id": name, "name": name})
    whole = (await cloud.api.get(_INSTITUTIONS, params={"limit": 100})).json()
    page = (await cloud.api.get(_INSTITUTIONS, params={"page": 2, "limit": 2})).json()
    names = [entry["id"] for entry in whole["data"]]
    assert names == sorted(names)
    assert page["data"] == whole["data"][2:4]
    assert page["pagination"] == {"page": 2, "limit": 2, "total": len(names)}


@pytest.mark.parametrize("query", [{"limit": 101}, {"limit": 0}, {"page": 0}, {"page": "x"}])
async def test_a_page_beyond_the_limits_is_refused(cloud: RunningCloud, query: dict[str, str]):
    assert (await cloud.api.get(_INSTITUTIONS, params=query)).status_code == 400


async def test_doors_are_made_and_listed_per_institution(cloud: RunningCloud):
    await cloud.make_door("first", door="gate")
    await cloud.make_door("other", door="gate")
    first = (await cloud.api.get(f"{_INSTITUTIONS}/first/doors")).json()["data"]
    assert [(door["id"], door["site"], door["name"], door["accessPoint"]) for door in first] == [
        ("gate", "campus", "gate", "entry")
    ]
    again = await cloud.api.post(f"{_INSTITUTIONS}/first/doors", json={"id": "gate", "site": "campus"})
    assert (again.status_code, again.json()["reason"]) == (409, "DOOR_EXISTS")


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/nobody/doors", "INSTITUTION_UNKNOWN"),
        ("GET", "/nobody/devices", "INSTITUTION_UNKNOWN"),
        ("POST", "/nobody/doors/gate/claims", "INSTITUTION_UNKNOWN"),
        ("POST", "/known/doors/nowhere/claims", "DOOR_UNKNOWN"),
        ("POST", "/known/devices/nothing/revoke", "DEVICE_UNKNOWN"),
    ],
)
async def test_what_does_not_exist_is_named(cloud: RunningCloud, method: str, path: str, reason: str):
    await cloud.api.post(_INSTITUTIONS, json={"id": "known", "name": "Known"})
    answer = await cloud.api.request(method, _INSTITUTIONS + path)
    assert (answer.status_code, answer.json()["reason"]) == (404, reason)


async def test_a_door_of_one_institution_is_not_another_s(cloud: RunningCloud):
    await cloud.make_door("third", door="gate")
    await cloud.api.post(_INSTITUTIONS, json={"id": "second", "name": "Second"})
    answer = await cloud.api.post(f"{_INSTITUTIONS}/second/doors/gate/claims")
    assert answer.json()["reason"] == "DOOR_UNKNOWN"


async def test_a_claim_lasts_a_day_unless_told_otherwise(cloud: RunningCloud):
    await cloud.make_door("claiming", door="gate")
    path = f"{_INSTITUTIONS}/claiming/doors/gate/claims"
    usual, short = await cloud.api.post(path), await cloud.api.post(path, json={"lifetimeS": 60})
    for answer, lifetime in ((usual, timedelta(days=1)), (short, timedelta(seconds=60))):
        assert answer.status_code == 201
        ends = datetime.fromisoformat(answer.json()["expiresAt"])
        assert lifetime - timedelta(seconds=30) < ends - datetime.now(UTC) <= lifetime
    assert (await cloud.api.post(path, json={"lifetimeS": 59})).status_code == 400


async def test_a_claim_s_secret_is_not_in_the_database(cloud: RunningCloud, database_url: str):
    await cloud.make_door("secretive", door="gate")
    secret, _ = decode_claim_code(await cloud.claim("secretive", door="gate"))
    connection = await asyncpg.connect(database_url)
    (row,) = await connection.fetch("SELECT claims::text AS text FROM claims WHERE tenant_id = 'secretive'")
    await connection.close()
    assert secret.hex() not in row["text"]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "TOKEN_REQUIRED"),
        ("Basic abc", "TOKEN_REQUIRED"),
        ("Bearer", "TOKEN_REQUIRED"),
        ("Bearer " + "x" * 257, "TOKEN_REQUIRED"),
        ("Bearer wrong", "TOKEN_UNKNOWN"),
    ],
)
async def test_without_a_good_token_the_api_is_closed(cloud: RunningCloud, header: str | None, reason: str):
    headers = {} if header is None else {"Authorization": header}
    async with httpx.AsyncClient(base_url=cloud.addresses.api_url, headers=headers, timeout=DEADLINE_S) as stranger:
        for path in (_INSTITUTIONS, "/api/v1/openapi.json", f"{_INSTITUTIONS}/any/devices"):
            answer = await stranger.get(path)
            assert answer.status_code == 401
            assert answer.json()["reason"] == reason
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("ends_in_s", "status"), [(60, 200), (-1, 401)])
async def test_a_token_holds_until_its_end(cloud: RunningCloud, database_url: str, ends_in_s: int, status: int):
    token = f"token-that-ends-in-{ends_in_s}"
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO operator_tokens (token_hash, name, scopes, created_at, expires_at)"
        " VALUES ($1, $2, '{admin}', now(), now() + make_interval(secs => $3))",
        hashlib.sha256(token.encode()).digest(),
        token,
        ends_in_s,
    )
    await connection.close()
    answer = await cloud.api.get(_INSTITUTIONS, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert status == 200 or answer.json()["reason"] == "TOKEN_EXPIRED"


async def test_the_token_is_private_and_known_to_the_database_only_by_its_hash(cloud: RunningCloud, database_url: str):
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT operator_tokens::text AS text FROM operator_tokens")
    await connection.close()
    assert rows
    assert not any(cloud.token in row["text"] for row in rows)
    assert (cloud.state / "operator.token").stat().st_mode & 0o777 == 0o600


async def test_every_answer_carries_the_security_headers(cloud: RunningCloud):
    await cloud.make_door("headers", door="gate")
    ca = await fetch_ca(cloud.addresses.device_url, await cloud.claim("headers", door="gate"))
    async with httpx.AsyncClient(base_url=cloud.addresses.device_url, verify=trusting(ca), timeout=DEADLINE_S) as door:
        over_tls = [await door.get(path) for path in ("/.well-known/est/cacerts", "/nothing-here")]
    plain = [await cloud.api.get(path) for path in (_INSTITUTIONS, "/nothing-here", "/health", "/metrics")]
    for answer in (*over_tls, *plain):
        assert _SECURITY.items() <= answer.headers.items()
        assert "server" not in answer.headers
    assert {answer.headers["strict-transport-security"] for answer in over_tls} == {
        "max-age=31536000; includeSubDomains"
    }
    assert not any("strict-transport-security" in answer.headers for answer in plain)


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/nothing-here", 404, "NOT_FOUND"),
        ("DELETE", _INSTITUTIONS, 405, "METHOD_NOT_ALLOWED"),
        ("POST", _INSTITUTIONS, 400, "BAD_REQUEST"),
    ],
)
async def test_every_error_is_a_problem_document(cloud: RunningCloud, method: str, path: str, status: int, reason: str):
    answer = await cloud.api.request(method, path, content=b"{not json")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().items() >= {"status": status, "reason": reason}.items()


async def test_an_oversize_body_is_refused(cloud: RunningCloud):
    answer = await cloud.api.post(_INSTITUTIONS, content=b" " * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_api_describes_itself_without_any_foreign_host(cloud: RunningCloud):
    answer = await cloud.api.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert f"{_INSTITUTIONS}/{{tenant}}/doors" in answer.json()["paths"]
    assert "http" not in answer.text.replace("HTTP", "").replace('"type":"http"', "")


async def test_metrics_count_by_route_template_and_hold_no_names(cloud: RunningCloud):
    await cloud.make_door("metered-school", door="gate")
    await cloud.api.get("/" + "x" * 40)
    text = (await cloud.api.get("/metrics")).text
    route = f"{_INSTITUTIONS}/{{tenant}}/doors"
    counted = f'doorward_http_requests_total{{listener="api",method="POST",route="{route}",status="201"}} '
    assert counted in text
    assert 'route="unmatched",status="404"' in text
    assert "metered-school" not in text
    assert "process_resident_memory_bytes" in text
