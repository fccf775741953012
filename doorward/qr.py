"""A presentation as a QR code: on a terminal, as a PNG, and as the frame that a door's camera sees.

Invariant: modules are whole pixels, dark on light, inside a quiet zone of four modules; never inverted, whatever
the terminal's colours are.
Must not: know what the text means.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, TypeAlias

import segno

QUIET_MODULES: Final = 4
"""ISO/IEC 18004 §6.3.8."""
FRAME_WIDTH: Final = 1280
FRAME_HEIGHT: Final = 720
FRAME_MODULE_PX: Final = 5
"""A phone about 15 cm before a 720p camera; 2.5 px a module is what decoders need at least."""

_DARK, _LIGHT, _BACKGROUND = 0, 255, 112
_EXPLICIT_COLOURS: Final = "\x1b[38;5;16;48;5;231m"
"""Black on white from the fixed part of the 256-colour palette, which themes leave alone."""
_RESET: Final = "\x1b[0m"
_BLOCKS: Final = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}

Matrix: TypeAlias = Sequence[bytes]
"""Rows of modules, 1 for dark, the quiet zone included."""


class Level(Enum):
    """How much damage a code bears: L on screens, Q on paper (docs/spec/presentation.md §5)."""

    SCREEN = "l"
    PAPER = "q"


def make_matrix(text: bytes, level: Level = Level.SCREEN) -> Matrix:
    """Encode a text of the alphanumeric alphabet, in that mode."""
    code = segno.make(text.decode("ascii"), error=level.value, mode="alphanumeric", boost_error=False, micro=False)
    return [bytes(row) for row in code.matrix_iter(scale=1, border=QUIET_MODULES)]


def terminal_lines(matrix: Matrix) -> list[str]:
    """Draw two rows of modules a line with half blocks, black on white whatever the theme."""
    light = bytes(len(matrix[0]))
    rows = [*matrix, light] if len(matrix) % 2 else list(matrix)
    return [
        _EXPLICIT_COLOURS + "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True)) + _RESET
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def code_png(matrix: Matrix, module_px: int = 8) -> bytes:
    """Draw the code alone."""
    return _gray_png(_scaled(matrix, module_px))


def frame_png(matrix: Matrix | None, module_px: int = FRAME_MODULE_PX) -> bytes:
    """Draw what a 1280x720 camera sees: the code on a lit screen before a grey wall, or the wall alone for None."""
    rows = [bytes([_BACKGROUND]) * FRAME_WIDTH] * FRAME_HEIGHT
    if matrix is not None:
        code = list(_scaled(matrix, module_px))
        left, top = (FRAME_WIDTH - len(code[0])) // 2, (FRAME_HEIGHT - len(code)) // 2
        wall = rows[0]
        rows[top : top + len(code)] = [wall[:left] + row + wall[left + len(row) :] for row in code]
    return _gray_png(rows)


def _scaled(matrix: Matrix, module_px: int) -> Iterable[bytes]:
    for row in matrix:
        line = b"".join(bytes([_DARK if module else _LIGHT]) * module_px for module in row)
        yield from [line] * module_px


def _gray_png(rows: Iterable[bytes]) -> bytes:
    """Write an 8-bit grayscale PNG (ISO/IEC 15948): signature, IHDR, one IDAT of unfiltered rows, IEND."""
    lines = list(rows)
    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + line for line in lines), 6)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
