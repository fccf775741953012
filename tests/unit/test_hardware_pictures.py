"""The page of the hardware and its pictures: every adapter stands there, every picture can be read and is shown."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edge.screens import TEXTS
from firmware_adapters.catalogue import describe

pytestmark = pytest.mark.project

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "hardware.md"
_PICTURES = sorted((_ROOT / "docs" / "pictures").glob("*.svg"))
_SVG = "{http://www.w3.org/2000/svg}"
_SHOWN = r"!\[([^\]]*)\]\(([^)\s]+\.svg)\)"
# Mean width of a character of DejaVu Sans, in parts of its size; bold is wider.
_NARROW, _WIDE = 0.52, 0.6
# The sections that say how something is connected.
_KINDS = [
    "NFC: cards and phones",
    "Cameras",
    "QR scanners",
    "OSDP readers",
    "Wiegand readers",
    "Locks on GPIO",
    "Contacts, buttons, fire",
    "Relay and I/O boards by Modbus",
    "Displays",
]


def _root(picture: Path) -> ET.Element:
    return ET.fromstring(picture.read_text())  # noqa: S314 - our own files


def _sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", _PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _shown() -> dict[Path, str]:
    """Give what each shown picture is called where it is shown."""
    pages = [_ROOT / "README.md", *(_ROOT / "docs").rglob("*.md")]
    return {
        (page.parent / target).resolve(): alternative
        for page in pages
        for alternative, target in re.findall(_SHOWN, page.read_text())
    }


def test_there_are_pictures():
    assert len(_PICTURES) >= 10


@pytest.mark.parametrize("picture", _PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_well_formed_and_tells_what_it_shows(picture: Path):
    root = _root(picture)
    assert (root.tag, root.get("role")) == (f"{_SVG}svg", "img")
    told = {each.get("id"): each.text or "" for each in root if each.tag in {f"{_SVG}title", f"{_SVG}desc"}}
    assert (root.get("aria-labelledby") or "").split() == list(told)
    assert all(len(text.split()) >= 3 for text in told.values())


@pytest.mark.parametrize("picture", _PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_can_be_seen_on_a_light_and_on_a_dark_page(picture: Path):
    root = _root(picture)
    _, _, width, height = (root.get("viewBox") or "").split()
    assert (root.get("width"), root.get("height")) == (width, height)
    ground = next(each for each in root if each.tag == f"{_SVG}rect")
    assert (ground.get("width"), ground.get("height"), ground.get("fill")) == (width, height, "#ffffff")


@pytest.mark.parametrize("picture", _PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_needs_nothing_else(picture: Path):
    root = _root(picture)
    used = {each.tag.removeprefix(_SVG) for each in root.iter()}
    assert used <= {"svg", "title", "desc", "defs", "marker", "g", "rect", "path", "circle", "text"}
    assert "href" not in picture.read_text()


@pytest.mark.parametrize("picture", _PICTURES, ids=lambda picture: picture.stem)
def test_no_text_of_a_picture_leaves_it(picture: Path):
    root = _root(picture)
    left, _, width, _ = (float(part) for part in (root.get("viewBox") or "").split())
    assert [text for text, begins, ends in _texts(root) if begins < left or ends > left + width] == []


def _texts(element: ET.Element, inherited: dict[str, str] | None = None) -> list[tuple[str, float, float]]:
    """Give each text, and about where it begins and ends."""
    given = {**(inherited or {}), **element.attrib}
    found = [each for child in element for each in _texts(child, given)]
    if element.tag == f"{_SVG}text":
        text = element.text or ""
        wide = _WIDE if given.get("font-weight") == "bold" else _NARROW
        length = len(text) * float(given["font-size"]) * wide
        before = {"start": 0.0, "middle": 0.5, "end": 1.0}[given.get("text-anchor", "start")]
        begins = float(given["x"]) - length * before
        found.append((text, begins, begins + length))
    return found


@pytest.mark.parametrize("picture", _PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_shown_with_words_for_those_who_cannot_see_it(picture: Path):
    assert len(_shown()[picture.resolve()].split()) >= 4


@pytest.mark.parametrize("kind", _KINDS)
def test_every_kind_has_a_picture_and_a_table_of_parts_with_what_was_tested(kind: str):
    text = _sections()[kind]
    assert re.search(_SHOWN, text)
    assert re.search(r"^\|.*\| (tested here|tried with) \|$", text, re.MULTILINE)


def test_every_scheme_of_the_catalogue_stands_on_the_page():
    page = _PAGE.read_text()
    assert [each.scheme for each in describe() if f"`{each.scheme}:" not in page] == []


def test_the_texts_of_displays_are_those_of_the_page():
    page = _PAGE.read_text()
    rows = [f"| `{feedback.value}` | {' | '.join(rows)} |" for feedback, rows in TEXTS.items()]
    assert [row for row in rows if row not in page] == []
