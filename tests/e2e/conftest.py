"""One cloud for all tests of this folder that put commands to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.served import Served, served_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cloud() -> Iterator[Served]:
    """Serve a cloud with one institution and one door."""
    with served_cloud() as served:
        yield served
