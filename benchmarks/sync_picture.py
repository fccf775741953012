"""Draw how synchronisation grows with the number of doors.

It writes docs/pictures/sync-growth.svg from the figures on its input, and from nothing else:
`script/bench sync --json | .venv/bin/python -m benchmarks.sync_picture`.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PICTURE: Final = Path(__file__).parent.parent / "docs" / "pictures" / "sync-growth.svg"
_PANELS: Final = (
    ("sync-durable-", "event to durable, ms", ("p50", "p95", "p99")),
    ("sync-revocation-", "revocation to in force, ms", ("p50", "p95", "p99")),
    ("sync-service-cpu-", "service, µs of a processor an event", ("value",)),
    ("sync-service-rss-", "service's memory, MB", ("value",)),
)
_DESCRIPTION: Final = (
    "Four panels over the number of doors: the time until an event is durable, the time until a revocation is in force,"
    " the service's processor time an event, and its memory."
)
_WIDTH, _HEIGHT = 330, 200
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 34, 16, 30
_WORD_APART = 12
_COLOURS: Final = {"p50": "#1b6ca8", "p95": "#c77700", "p99": "#b3261e", "value": "#1b6ca8"}

Point = tuple[float, float]


def draw(figures: Iterable[Mapping[str, Any]]) -> str:
    """Give the picture of the figures, as SVG.

    Raises:
        ValueError: they do not tell of at least two numbers of doors.
    """
    known = {str(figure["name"]): figure for figure in figures}
    panels = [_panel(known, *panel) for panel in _PANELS]
    rows = -(-len(panels) // 2)
    width, height = 2 * _WIDTH, rows * _HEIGHT
    body = "\n".join(
        f'<g transform="translate({place % 2 * _WIDTH},{place // 2 * _HEIGHT})">\n{panel}\n</g>'
        for place, panel in enumerate(panels)
    )
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    role = 'role="img" aria-labelledby="title what" font-family="DejaVu Sans, sans-serif" font-size="11"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {role}>',
            '<title id="title">How synchronisation grows with the number of doors</title>',
            f'<desc id="what">{_DESCRIPTION}</desc>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f"{body}\n</svg>\n",
        ]
    )


def _panel(known: Mapping[str, Mapping[str, Any]], prefix: str, title: str, members: Sequence[str]) -> str:
    sizes = sorted(int(size) for name in known if (size := name.removeprefix(prefix)) != name and size.isdigit())
    if len(sizes) < 2:  # noqa: PLR2004 - a line has two ends
        message = f"there are no figures {prefix}N for at least two numbers of doors; run: script/bench sync --json"
        raise ValueError(message)
    lines = {member: [float(known[f"{prefix}{size}"][member]) for size in sizes] for member in members}
    top = _ceiling(max(value for values in lines.values() for value in values))
    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{title}</text>', *_axes(sizes, top)]
    word_y = float(_HEIGHT)
    for member, values in lines.items():  # from the lowest line to the highest
        points = [_place(size, value, sizes, top) for size, value in zip(sizes, values, strict=True)]
        parts += _line(points, values, _COLOURS[member])
        if len(lines) > 1:
            x, y = points[-1]
            word_y = min(y - 6, word_y - _WORD_APART)
            parts.append(
                f'<text x="{x - 6:.1f}" y="{word_y:.1f}" text-anchor="end" fill="{_COLOURS[member]}">{member}</text>'
            )
    return "\n".join(parts)


def _axes(sizes: Sequence[int], top: float) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * (bottom - _TOP)
        parts.append(f'<path d="M{_LEFT} {y:.1f} H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{part * top:,.0f}</text>')
    for size in sizes:
        x, _ = _place(size, 0, sizes, top)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{size:,}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 28}" text-anchor="end" fill="#555555">doors</text>')
    return parts


def _line(points: Sequence[Point], values: Sequence[float], colour: str) -> list[str]:
    path = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    parts = [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    parts += [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{value:,.1f}</title></circle>'
        for (x, y), value in zip(points, values, strict=True)
    ]
    return parts


def _place(size: int, value: float, sizes: Sequence[int], top: float) -> Point:
    """Give where a value stands; doors grow to the right by their logarithm."""
    right, bottom = _WIDTH - _RIGHT - 12, _HEIGHT - _BOTTOM
    part = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
    return _LEFT + 12 + part * (right - _LEFT - 12), bottom - value / top * (bottom - _TOP)


def _ceiling(value: float) -> float:
    """Give the next round number."""
    step: float = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value)


if __name__ == "__main__":
    PICTURE.write_text(draw(json.loads(line) for line in sys.stdin if line.strip()), encoding="utf-8")
    print(f"wrote {PICTURE}")
