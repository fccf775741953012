"""What the pages point at exists, what the code points at exists, and what they show is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import door_table

pytestmark = pytest.mark.project

_ROOT = Path(__file__).parents[2]
_PAGES = [*_ROOT.glob("*.md"), *sorted((_ROOT / "docs").rglob("*.md"))]
_PACKAGES = ["cloud", "doorward", "edge", "firmware_adapters", "provisioning", "sync", "tests", "wire"]


def _targets(page: Path) -> list[str]:
    """Return where a page's links point, code left out."""
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", prose)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_every_link_of_a_page_resolves(page: Path):
    missing = [target for target in _targets(page) if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_every_file_that_a_page_names_exists(page: Path):
    named = re.findall(r"`([a-z_]+/[\w./-]+\.\w+)`", page.read_text())
    ours = [name for name in named if name.partition("/")[0] in {*_PACKAGES, "docs", "requirements", "systemd"}]
    assert [name for name in ours if not (_ROOT / name).exists()] == []


def test_every_page_can_be_reached_from_the_readme():
    found: set[Path] = set()
    waiting = [_ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and page.exists() and page not in found:
            found.add(page)
            waiting += [(page.parent / target).resolve() for target in _targets(page) if "://" not in target]
    assert [str(page.relative_to(_ROOT)) for page in _PAGES if page not in found] == []


def test_every_page_that_code_names_exists():
    named = {
        (name, path.relative_to(_ROOT).as_posix())
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*.py")
        for name in re.findall(r"docs/[\w./-]+\.(?:md|svg)", path.read_text())
    }
    assert {pair for pair in named if not (_ROOT / pair[0]).exists()} == set()


def test_every_decision_that_code_names_is_recorded():
    named = {
        number
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*.py")
        for number in re.findall(r"docs/adr/(\d{4})", path.read_text())
    }
    assert {number for number in named if not list((_ROOT / "docs" / "adr").glob(f"{number}-*.md"))} == set()


def test_records_of_decisions_stay_short():
    long = [path.name for path in (_ROOT / "docs" / "adr").glob("*.md") if len(path.read_text().splitlines()) > 40]
    assert long == []


def test_door_table_of_the_page_is_what_the_core_does():
    shown = door_table.PAGE.read_text().partition(door_table.BEGIN)[2].partition(door_table.END)[0]
    assert shown.strip() == door_table.render(), "run: .venv/bin/python -m tests.support.door_table"
