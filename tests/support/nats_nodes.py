"""Places for three nodes of a NATS cluster on loopback, whose ports nobody else gets meanwhile."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cloud.broker.nats_trial import trial_nodes
from tests.support.ports import take_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloud.broker.nats import Node


@contextmanager
def kept_nodes(folder: Path) -> Iterator[tuple[Node, ...]]:
    """Lay out three nodes below `folder`, and keep their ports for the servers of the block, also while one is dead."""
    nodes = trial_nodes(folder, 3, first_port=0)
    with ExitStack() as stack:
        for node in nodes:
            for address in (node.mqtt, node.route, node.client, node.monitor):
                stack.enter_context(take_port(address.port))
        yield nodes
