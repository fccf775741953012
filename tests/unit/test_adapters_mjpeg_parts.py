"""A multipart stream is cut into its images however it is written, and no stream makes it hold more than one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.mjpeg_parts import (
    MAX_BOUNDARY_CHARS,
    MAX_HEAD_BYTES,
    MAX_PART_BYTES,
    PartCutter,
    PartError,
    boundary_of,
)

ONE, TWO = b"\xff\xd8one\r\n\r\n--\xff\xd9", b"\xff\xd8two\xff\xd9"


def part(body: bytes, *, length: int | None = None, line: bytes = b"\r\n") -> bytes:
    told = b"" if length is None else b"content-LENGTH: %d" % length + line
    return b"--edge" + line + b"Content-Type: image/jpeg" + line + told + line + body + line


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=edge", "edge"),
        ('Multipart/X-Mixed-Replace;charset=x; Boundary="--edge"', "--edge"),
        (f"multipart/x-mixed-replace; boundary={'b' * MAX_BOUNDARY_CHARS}", "b" * MAX_BOUNDARY_CHARS),
        (f"multipart/x-mixed-replace; boundary={'b' * (MAX_BOUNDARY_CHARS + 1)}", None),
        ("multipart/x-mixed-replace", None),
        ("multipart/x-mixed-replace; boundary=", None),
        ("multipart/x-mixed-replace; boundary=é", None),
        ("image/jpeg; boundary=edge", None),
        ("", None),
    ],
)
def test_a_boundary_is_taken_from_the_content_type(content_type: str, boundary: str | None):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("declared", ["edge", "--edge"])
@pytest.mark.parametrize("line", [b"\r\n", b"\n"])
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_parts_are_cut_however_they_are_written_and_arrive(declared: str, line: bytes, sized: bool, step: int):  # noqa: FBT001
    bodies = [ONE, TWO, ONE]
    stream = b"preamble" + b"".join(part(each, length=len(each) if sized else None, line=line) for each in bodies)
    stream += b"--edge--" + line
    cutter = PartCutter(declared)
    cut = [body for at in range(0, len(stream), step) for body in cutter.feed(stream[at : at + step])]
    assert cut == bodies


def test_a_part_with_a_length_is_whole_at_its_last_byte_and_one_without_at_the_next_delimiter():
    sized, unsized = PartCutter("edge"), PartCutter("edge")
    written = part(TWO, length=len(TWO)).removesuffix(b"\r\n")
    assert list(sized.feed(written[:-1])) == []
    assert list(sized.feed(written[-1:])) == [TWO]
    assert list(unsized.feed(part(TWO))) == []
    assert list(unsized.feed(b"--edge")) == [TWO]


@pytest.mark.parametrize("told", [3, 200])
def test_after_a_length_that_was_a_lie_the_stream_is_followed_again(told: int):
    cutter = PartCutter("edge")
    stream = part(ONE * 5, length=told) + part(TWO, length=len(TWO)) + part(ONE, length=len(ONE)) * 3
    assert list(cutter.feed(stream))[-1] == ONE


def test_a_length_that_is_no_number_does_not_count():
    cutter = PartCutter("edge")
    stream = b"--edge\r\nContent-Length: -5\r\n\r\n" + TWO + b"\r\n--edge\r\nContent-Length: " + b"9" * 10 + b"\r\n\r\n"
    assert list(cutter.feed(stream + ONE + b"\r\n--edge")) == [TWO, ONE]


def test_an_empty_part_is_none():
    assert list(PartCutter("edge").feed(part(b"", length=0) + part(TWO, length=len(TWO)))) == [TWO]


def test_a_part_may_have_its_bound_and_no_byte_more():
    head = b"--edge\r\nContent-Length: %d\r\n\r\n"
    assert list(PartCutter("edge").feed(head % MAX_PART_BYTES)) == []
    with pytest.raises(PartError, match="more than 8000000 bytes"):
        list(PartCutter("edge").feed(head % (MAX_PART_BYTES + 1)))
    unsized = PartCutter("edge")
    assert list(unsized.feed(b"--edge\r\n\r\n" + bytes(MAX_PART_BYTES))) == []
    with pytest.raises(PartError, match="more than 8000000 bytes"):
        list(unsized.feed(b"x"))


def test_a_head_may_have_its_bound_and_no_byte_more():
    head = b"--edge\r\n"
    cutter = PartCutter("edge")
    assert list(cutter.feed(head + bytes(MAX_HEAD_BYTES - len(head)))) == []
    with pytest.raises(PartError, match="head has more than 4096 bytes"):
        list(cutter.feed(b"x"))


def test_babble_without_a_delimiter_is_not_kept():
    cutter = PartCutter("edge")
    for _ in range(3):
        assert list(cutter.feed(bytes(MAX_PART_BYTES))) == []
    assert list(cutter.feed(part(TWO, length=len(TWO)))) == [TWO]


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"--edge", b"\r\n\r\n", b"Content-Length: 4"]), max_size=12))
def test_any_bytes_are_parts_or_none(chunks: list[bytes]):
    cutter = PartCutter("edge")
    for chunk in chunks:
        assert all(cutter.feed(chunk))
