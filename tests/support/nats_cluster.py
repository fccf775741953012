"""A real NATS cluster for tests: three servers and two call-outs of the product's own, and doors."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.broker.nats_program import find_server, places, within_reach
from cloud.broker.nats_setup import make_plan
from cloud.broker.nats_trial import HOST, Trial, kept_nodes, running_trial, write_trial
from cloud.cluster.owner import Owner, choose_owner
from cloud.database import Pool, close_pool, open_pool
from cloud.devices.authority import DeviceAuthority, fingerprint, open_authority
from cloud.errors import CloudError
from tests.support.clouds import reachable_folder
from tests.support.mosquitto import ClientFiles, Mosquitto
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloud.broker.nats import Node


@dataclass(slots=True)
class NatsCluster:
    """A cluster that runs, and its database."""

    folder: Path
    authority: DeviceAuthority
    owner: Owner
    trial: Trial
    pool: Pool
    ways: dict[str, Mosquitto]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in the order of their names."""
        return self.trial.nodes

    def way(self, node: Node) -> Mosquitto:
        """Give the way to a node in the shape that the tests' clients take: a broker that somebody else runs."""
        return self.ways[node.name]

    async def enrol(self, tenant: str, device: str) -> ClientFiles:
        """Certify a door, and make its rows as enrolment does."""
        files = self.way(self.nodes[0]).door_files(tenant, device)
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        now = datetime.now(UTC)
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO institutions (id, name, timezone, created_at) VALUES ($1, $1, 'UTC', $2)"
                " ON CONFLICT DO NOTHING",
                tenant,
                now,
            )
            await connection.execute(
                "INSERT INTO doors (tenant_id, id, site, name, access_point, created_at)"
                " VALUES ($1, 'main', 'campus', 'Main', 'entry', $2) ON CONFLICT DO NOTHING",
                tenant,
                now,
            )
            await connection.execute(
                "INSERT INTO devices (tenant_id, id, door_id, certificate_fingerprint, certificate_serial,"
                " certificate_not_after, public_key, enrolled_at) VALUES ($1, $2, 'main', $3, '1', $4, $5, $4)"
                " ON CONFLICT (tenant_id, id) DO UPDATE SET certificate_fingerprint = $3, status = 'active'",
                tenant,
                device,
                fingerprint(certificate.public_bytes(Encoding.DER)),
                now,
                bytes(33),
            )
        return files

    async def revoke(self, tenant: str, device: str) -> None:
        """Revoke a door."""
        await self.pool.execute(
            "UPDATE devices SET status = 'revoked' WHERE tenant_id = $1 AND id = $2", tenant, device
        )


@asynccontextmanager
async def running_cluster(database_url: str) -> AsyncIterator[NatsCluster]:
    """Run a cluster of three until the block ends."""
    owner = choose_owner(stand_ins=("nats", "nobody"))
    try:
        server = find_server(places(""))
    except CloudError as error:
        pytest.skip(error.detail)
    state = reachable_folder()
    now = datetime.now(UTC)
    authority = open_authority(state / "ca", now=now)
    home = state / "nodes"
    pool = await open_pool(database_url, size=2)
    try:
        with kept_nodes(home, 3, first_port=0) as nodes:
            plan = make_plan(state, nodes, (HOST, "localhost"), now=now)
            write_trial(plan, owner, folder=home, now=now)
            server = within_reach(server, owner, home)
            async with running_trial(
                plan, server=server, owner=owner, secrets=state / "nats", database_url=database_url
            ) as trial:
                ways = {node.name: _way(state / f"at-{node.name}", authority, owner, node) for node in trial.nodes}
                yield NatsCluster(state, authority, owner, trial, pool, ways)
    finally:
        await close_pool(pool, deadline_s=DEADLINE_S)
        shutil.rmtree(state)


def _way(folder: Path, authority: DeviceAuthority, owner: Owner, node: Node) -> Mosquitto:
    folder.mkdir()
    return Mosquitto(folder, authority, owner, node.mqtt.port, node.place / "nats.conf")
