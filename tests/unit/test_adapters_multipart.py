"""The images of an MJPEG stream: however it is cut, with and without lengths, and what is no stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.multipart import MOST_HEADER_BYTES, Multipart, StreamError, boundary_of

MOST = 1000


def part(image: bytes, *, length: bool) -> bytes:
    size = b"Content-Length: %d\r\n" % len(image) if length else b""
    return b"--frame\r\nContent-Type: image/jpeg\r\n" + size + b"\r\n" + image + b"\r\n"


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/x-mixed-replace; boundary=frame",
        'multipart/x-mixed-replace;boundary="frame"',
        "Multipart/X-Mixed-Replace; BOUNDARY=--frame",
    ],
)
def test_the_boundary_is_found_as_cameras_write_it(content_type: str):
    assert boundary_of(content_type) == b"--frame"


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "multipart/x-mixed-replace", "text/html; boundary=x"])
def test_what_is_no_stream_is_refused(content_type: str):
    with pytest.raises(StreamError):
        boundary_of(content_type)


@given(
    images=st.lists(st.binary(min_size=1, max_size=200).filter(lambda image: b"--frame" not in image), max_size=5),
    cuts=st.lists(st.integers(0, 2000)),
    length=st.booleans(),
)
def test_images_do_not_depend_on_how_the_stream_was_cut(images: list[bytes], cuts: list[int], length: bool):  # noqa: FBT001
    stream = b"".join(part(image, length=length) for image in images) + b"--frame"
    parts = Multipart(b"--frame", most_bytes=MOST)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert [image for start, end in pairwise(edges) for image in parts.feed(stream[start:end])] == images


def test_a_length_counts_also_when_the_image_has_the_boundary_in_it():
    image = b"\xff\xd8--frame\r\n\r\n\xff\xd9"
    assert Multipart(b"--frame", most_bytes=MOST).feed(part(image, length=True)) == [image]


def test_the_largest_image_is_taken_and_a_larger_one_ends_the_stream():
    assert Multipart(b"--frame", most_bytes=MOST).feed(part(b"x" * MOST, length=True)) == [b"x" * MOST]
    with pytest.raises(StreamError):
        Multipart(b"--frame", most_bytes=MOST).feed(part(b"x" * (MOST + 1), length=True))


@pytest.mark.parametrize("data", [b"x", b"--frame\r\n", b"--frame\r\nA: b\r\n\r\n"])
def test_a_stream_that_never_completes_an_image_is_bounded(data: bytes):
    parts = Multipart(b"--frame", most_bytes=MOST)
    parts.feed(data)
    with pytest.raises(StreamError):
        parts.feed(b"y" * (MOST + MOST_HEADER_BYTES))


@given(st.binary(max_size=2000))
def test_any_bytes_are_images_or_a_fault(data: bytes):
    try:
        assert all(len(image) <= MOST for image in Multipart(b"--frame", most_bytes=MOST).feed(data))
    except StreamError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
