"""The code as people and cameras see it; read back with the decoder that the door's camera uses."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import zxingcpp

from doorward.qr import FRAME_HEIGHT, FRAME_WIDTH, Level, Matrix, code_png, frame_png, make_matrix, terminal_lines

TEXT = b"DW1:" + b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:" * 8
MODULES_OF_390_CHARACTERS = 57
"""Version 10 at level L, as the presentation's specification promises."""


def read(png: bytes) -> list[bytes]:
    gray = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    found = zxingcpp.read_barcodes(gray, try_invert=False)
    return [bytes(code.bytes) for code in found]


def test_a_png_reads_back():
    assert read(code_png(make_matrix(TEXT))) == [TEXT]


def test_a_presentation_takes_57_modules_at_level_l():
    matrix = make_matrix(TEXT.ljust(390, b"0"))
    assert len(matrix) == len(matrix[0]) == MODULES_OF_390_CHARACTERS + 2 * 4


def test_paper_bears_more_damage_than_screens():
    assert len(make_matrix(TEXT, Level.PAPER)) > len(make_matrix(TEXT))


def test_modules_are_whole_pixels_of_black_and_white():
    gray = cv2.imdecode(np.frombuffer(code_png(make_matrix(TEXT), module_px=3), np.uint8), cv2.IMREAD_UNCHANGED)
    assert gray is not None
    assert set(np.unique(gray)) == {0, 255}
    blocks = gray.reshape(gray.shape[0] // 3, 3, gray.shape[1] // 3, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_a_frame_is_a_720p_picture_in_which_the_code_reads():
    frame = frame_png(make_matrix(TEXT))
    gray = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_UNCHANGED)
    assert gray is not None
    assert gray.shape == (FRAME_HEIGHT, FRAME_WIDTH)
    assert read(frame) == [TEXT]


def test_a_frame_without_a_code_shows_the_wall():
    assert read(frame_png(None)) == []


def dark_of(character: str) -> tuple[int, int]:
    return {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}[character]


def seen_on_terminal(lines: list[str]) -> Matrix:
    """Give the modules that a terminal shows: its glyphs, in the colours that the text sets itself."""
    rows: list[bytes] = []
    for line in lines:
        match = re.fullmatch(r"\x1b\[38;5;16;48;5;231m([ ▀▄█]+)\x1b\[0m", line)
        assert match, "each line sets black on white itself and resets it"
        cells = [dark_of(character) for character in match[1]]
        rows += [bytes(upper for upper, _ in cells), bytes(lower for _, lower in cells)]
    return rows


def test_the_terminal_shows_the_code_in_explicit_colours_with_its_quiet_zone():
    matrix = make_matrix(TEXT)
    seen = seen_on_terminal(terminal_lines(matrix))
    assert seen[: len(matrix)] == matrix
    assert not any(map(any, seen[len(matrix) :]))
    assert not any(map(any, matrix[:4]))
    assert not any(any(row[:4]) or any(row[-4:]) for row in matrix)
    assert read(code_png(seen)) == [TEXT]


def test_text_outside_the_alphanumeric_alphabet_is_refused():
    with pytest.raises(ValueError, match="alphanumeric"):
        make_matrix(b"dw1:small letters")
