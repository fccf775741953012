"""Every benchmark by its name, each module loaded only when it runs.

Invariant: a name here is a name in docs/performance.md (tests/core/test_benchmarks.py).
"""

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any, Final

from benchmarks.result import Result


def _run(module: str, function: str, **given: Any) -> Iterable[Result]:  # noqa: ANN401 - what the benchmark takes
    results: Iterable[Result] = getattr(import_module(f"benchmarks.{module}"), function)(**given)
    return results


BENCHMARKS: Final[dict[str, Callable[..., Iterable[Result]]]] = {
    "verify": partial(_run, "verify", "cold"),
    "verify-cached": partial(_run, "verify", "cached"),
    "tap": partial(_run, "tap", "run"),
    "journal-append": partial(_run, "journal", "append"),
    "status-lookup": partial(_run, "status", "lookup"),
    "status-load": partial(_run, "status", "load"),
    "roster-open": partial(_run, "roster", "opening"),
    "roster-find": partial(_run, "roster", "find"),
    "roster-delta": partial(_run, "roster", "change"),
    "policy": partial(_run, "policy", "run"),
    "ingest": partial(_run, "ingest", "run"),
    "sync": partial(_run, "sync", "run"),
    "camera": partial(_run, "camera", "run"),
    "daemon-idle-cpu": partial(_run, "camera", "idle"),
    "daemon-start": partial(_run, "start", "run"),
}
"""What `script/bench` runs, in this order."""
