"""Pictures of passes as a door's camera meets them: turned, small, blurred, pale, striped, grainy, shaded, inverted.

Drawn by this program from a table and a seed, so that tests and benchmarks see the same pictures everywhere; they
stand in for photographs where none are at hand, and are no harder or easier than the table says.

Invariant: a picture depends on its kind and number alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import segno

Gray: TypeAlias = npt.NDArray[np.uint8]
_Light: TypeAlias = npt.NDArray[np.float32]

WIDTH: Final = 1280
HEIGHT: Final = 720
PAYLOAD_CHARACTERS: Final = 400
"""What a rotating pass has; a code of version 11, 61 modules."""
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_SHARPER: Final = 4
"""Codes are drawn so many times larger and averaged down, as a lens does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a picture is spoilt.

    Attributes:
        module_px: of one module in the picture.
        turned_deg: the code is turned by up to so much either way.
        dark, light: grey of the modules.
        blur_px: standard deviation of what the lens smears.
        grain: standard deviation of the sensor's noise.
        stripe_px: distance of a screen's stripes; 0 for none.
        stripe_depth: share of the light that a stripe takes.
        shade: share of the light that is lost behind the edge of a shadow across the code.
    """

    module_px: float = 4.0
    turned_deg: float = 180.0
    dark: int = 0
    light: int = 255
    blur_px: float = 0.0
    grain: float = 3.0
    stripe_px: float = 0.0
    stripe_depth: float = 0.5
    shade: float = 0.0


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "turned": Kind(),
        "small": Kind(module_px=2.5),
        "small and grainy": Kind(module_px=3.0, grain=40),
        "inverted": Kind(module_px=3.0, dark=230, light=20, grain=5),
        "blurred": Kind(blur_px=1.9, grain=2),
        "pale": Kind(dark=120, light=140, grain=4),
        "grainy": Kind(grain=60),
        "very grainy": Kind(grain=80),
        "shaded": Kind(module_px=3.0, shade=0.93, grain=1),
        "striped": Kind(turned_deg=4, stripe_px=6.3),
        "small and striped": Kind(module_px=2.5, turned_deg=4, stripe_px=9.0, stripe_depth=0.6, grain=2),
    }
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what its code says."""

    kind: str
    payload: bytes
    gray: Gray


def pictures(each: int, kinds: Mapping[str, Kind] = KINDS) -> Iterator[Picture]:
    """Draw `each` pictures of every kind."""
    for name, kind in kinds.items():
        for number in range(each):
            yield draw(name, kind, number)


def draw(name: str, kind: Kind, number: int) -> Picture:
    """Draw picture `number` of a kind."""
    random = np.random.default_rng([number, *name.encode()])
    text = "DW1:" + "".join(_ALPHABET[place] for place in random.integers(0, len(_ALPHABET), PAYLOAD_CHARACTERS))
    scene = _wall(random)
    _place(scene, _code(text, kind), kind, random)
    scene *= _lighting(kind, random)
    if kind.blur_px:
        scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), kind.blur_px), dtype=np.float32)
    scene += random.normal(0, kind.grain, scene.shape).astype(np.float32)
    return Picture(name, text.encode(), np.clip(scene, 0, 255).astype(np.uint8))


def _wall(random: np.random.Generator) -> _Light:
    """Paint soft blotches: a wall, a face, a coat."""
    rough = random.random((HEIGHT // 8, WIDTH // 8), dtype=np.float32)
    soft = cv2.resize(cv2.GaussianBlur(rough, (0, 0), 4), (WIDTH, HEIGHT))
    return np.asarray(40 + 160 * (soft - np.min(soft)) / np.ptp(soft), dtype=np.float32)


def _code(text: str, kind: Kind) -> _Light:
    rows = segno.make(text, error="l", micro=False).matrix_iter(scale=1, border=4)
    return np.asarray([[kind.dark if dark else kind.light for dark in row] for row in rows], dtype=np.float32)


def _place(scene: _Light, code: _Light, kind: Kind, random: np.random.Generator) -> None:
    """Lay the code into the scene near its middle, turned, each pixel the mean of what it covers."""
    size = code.shape[0] * kind.module_px
    side = int(size * 1.5) + 2
    left = int((WIDTH - side) / 2 + random.uniform(-150, 150))
    top = max(0, min(HEIGHT - side, int((HEIGHT - side) / 2 + random.uniform(-40, 40))))
    turn = cv2.getRotationMatrix2D((0, 0), random.uniform(-kind.turned_deg, kind.turned_deg), 1.0)[:, :2]
    # From the code's modules to the sharper drawing's pixels, middle onto middle (and a little off, as in life).
    matrix = np.zeros((2, 3))
    matrix[:, :2] = turn * kind.module_px * _SHARPER
    middle = (np.asarray(code.shape) - 1) / 2
    matrix[:, 2] = _SHARPER * (side / 2 + random.uniform(-0.5, 0.5, 2)) - matrix[:, :2] @ middle
    large = (side * _SHARPER, side * _SHARPER)
    drawn = cv2.warpAffine(code, matrix, large, flags=cv2.INTER_NEAREST)
    covered = cv2.warpAffine(np.ones_like(code), matrix, large, flags=cv2.INTER_NEAREST)
    drawn, covered = (cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) for each in (drawn, covered))
    part = scene[top : top + side, left : left + side]
    part[:] = part * (1 - covered) + drawn


def _lighting(kind: Kind, random: np.random.Generator) -> _Light:
    """Give the share of the light that reaches each column."""
    columns = np.arange(WIDTH, dtype=np.float32)
    light = np.ones(WIDTH, dtype=np.float32)
    if kind.stripe_px:
        period = kind.stripe_px * random.uniform(0.97, 1.03)
        light *= 1 - kind.stripe_depth * (1 - np.abs(np.sin(np.pi * columns / period)))
    if kind.shade:
        light -= kind.shade * (columns > WIDTH / 2 + random.uniform(-100, 100))
    return np.asarray(light[np.newaxis, :], dtype=np.float32)
