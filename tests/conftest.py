"""Options and Hypothesis profiles that every test shares.

`--long` runs the long profiles: random rather than derandomised examples, and the counts that `effort` multiplies.
Without it a run is repeatable: the same examples in the same order on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings

# A shared two-core machine pauses a test for seconds; a deadline on an example would measure the neighbours.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=200,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", parent=settings.get_profile("ci"), derandomize=False, max_examples=20_000)


LONGEST = ("fault", "e2e")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a bulk test does.

    Attributes:
        long: True under `--long`.
    """

    long: bool

    def pick(self, *, usual: int, long: int) -> int:
        """Return the count for this run: `usual`, or `long` under `--long`."""
        return long if self.long else usual


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run the long profiles (hours): 1,000 kills, 10 million mutants"
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("long" if config.getoption("--long") else "ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose single tests take longest: of two processes none is to end long before the other."""
    items.sort(key=lambda item: not item.path.parent.name.startswith(LONGEST))


@pytest.fixture(scope="session")
def effort(request: pytest.FixtureRequest) -> Effort:
    """The amount of work asked for, e.g. `effort.pick(usual=100_000, long=10_000_000)`."""
    return Effort(long=bool(request.config.getoption("--long")))
