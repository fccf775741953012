"""What /health says, and when it says no."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import httpx

from cloud.health import Check, examine, memory_check
from tests.support.clouds import RunningCloud, running_cloud
from tests.support.halted import halted
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from cloud.cluster import PrivateCluster
    from cloud.settings import CloudSettings


async def _health(cloud: RunningCloud) -> httpx.Response:
    async with httpx.AsyncClient(base_url=cloud.addresses.api_url, timeout=DEADLINE_S) as stranger:
        return await stranger.get("/health")


async def test_a_healthy_service_says_so_for_each_check(cloud: RunningCloud):
    answer = await _health(cloud)
    found = answer.json()
    assert answer.status_code == 200
    assert found["status"] == "ok"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["timestamp"])) < timedelta(seconds=30)
    checks = found["checks"]
    assert {"database", "schema", "disk", "memory"} <= set(checks)
    assert all(check["ok"] for check in checks.values())
    assert checks["database"]["latencyMs"] > 0
    assert checks["disk"]["freeBytes"] > 0
    assert checks["memory"]["availableBytes"] > 0


async def test_a_stopped_database_is_said_with_503_and_requests_get_a_problem(
    own_cluster: PrivateCluster, settings: CloudSettings
):
    url = await own_cluster.start(lambda _: None)
    async with running_cloud(replace(settings, database_url=url)) as cloud:
        assert (await _health(cloud)).status_code == 200
        await own_cluster.stop()
        answer = await _health(cloud)
        refused = await cloud.api.get("/api/v1/institutions")
        await own_cluster.start(lambda _: None)
        assert (await _health(cloud)).status_code == 200
    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"
    assert not answer.json()["checks"]["database"]["ok"]
    assert "see whether PostgreSQL runs" in answer.json()["checks"]["database"]["detail"]
    assert answer.json()["checks"]["disk"]["ok"]
    assert refused.status_code == 503
    assert refused.json()["reason"] == "DATABASE_UNAVAILABLE"
    assert refused.headers["retry-after"] == "2"


async def test_a_hanging_database_is_said_within_the_check_s_deadline(
    own_cluster: PrivateCluster, settings: CloudSettings
):
    url = await own_cluster.start(lambda _: None)
    async with running_cloud(replace(settings, database_url=url)) as cloud:
        connection = await asyncpg.connect(url)
        backends = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'doorward-cloud'")
        with halted(own_cluster.pid, *(backend["pid"] for backend in backends)):
            answer = await _health(cloud)
        await connection.close()
    assert answer.status_code == 503
    assert not answer.json()["checks"]["database"]["ok"]
    assert answer.json()["checks"]["database"]["detail"].startswith("No answer within 2 s; see whether PostgreSQL runs")


async def test_too_little_disk_is_said(settings: CloudSettings):
    async with running_cloud(replace(settings, min_free_bytes=1 << 60)) as cloud:
        answer = await _health(cloud)
    assert answer.status_code == 503
    assert answer.json()["checks"]["disk"]["detail"].endswith("free some space.")


async def test_a_schema_that_another_version_changed_meanwhile_is_said(cloud: RunningCloud, database_url: str):
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO schema_migrations (number, name, digest) VALUES (9999, 'later', '')")
    answer = await _health(cloud)
    await connection.execute("DELETE FROM schema_migrations WHERE number = 9999")
    await connection.close()
    assert answer.status_code == 503
    assert answer.json()["checks"]["schema"]["version"] == 9999


async def test_too_little_memory_is_said(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    for available_kib, ok in ((64 * 1024, True), (64 * 1024 - 1, False)):
        meminfo.write_text(f"MemTotal: 1000000 kB\nMemAvailable: {available_kib} kB\n")
        assert (await memory_check(meminfo)()).ok is ok


async def test_checks_run_side_by_side_and_a_hanging_one_is_cut_off():
    async def hangs() -> Check:
        await asyncio.Event().wait()
        return Check(ok=True)

    async def fine() -> Check:
        return Check(ok=True)

    found = await examine({"first": hangs, "second": hangs, "third": fine}, now=datetime.now(UTC))
    assert not found.healthy
    assert {name: check.ok for name, check in found.checks.items()} == {"first": False, "second": False, "third": True}
