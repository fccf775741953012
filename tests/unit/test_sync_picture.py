"""The picture of the growth shows the figures it was given."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from benchmarks.sync_picture import draw

NAMES = ("sync-durable", "sync-revocation", "sync-service-cpu", "sync-service-rss")


def figures(*sizes: int) -> list[dict[str, object]]:
    return [
        {"name": f"{name}-{size}", "value": size * 2.0, "p50": size / 2, "p95": size * 1.0, "p99": size * 1.5}
        for name in NAMES
        for size in sizes
    ]


def test_every_figure_is_a_point():
    root = ET.fromstring(draw(figures(100, 300, 1_000)))  # noqa: S314 - our own words
    told = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert len(told) == 1 + 3 * (3 + 3 + 1 + 1)  # with the picture's own
    assert {"50.0", "150.0", "500.0", "2,000.0"} <= set(told)


def test_a_larger_value_stands_higher_and_more_doors_further_right():
    root = ET.fromstring(draw(figures(100, 1_000)))  # noqa: S314 - as above
    first, second = [element for element in root.iter() if element.tag.endswith("circle")][:2]
    assert float(first.attrib["cy"]) > float(second.attrib["cy"])
    assert float(first.attrib["cx"]) < float(second.attrib["cx"])


@pytest.mark.parametrize("sizes", [(), (100,)])
def test_one_number_of_doors_is_no_growth(sizes: tuple[int, ...]):
    with pytest.raises(ValueError, match="script/bench sync"):
        draw(figures(*sizes))
