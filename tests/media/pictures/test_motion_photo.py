"""The film behind a picture."""

import io
import struct

import av
import numpy as np
import pytest
from PIL import Image

from media.pictures import motion_photo
from media.pictures.motion_photo import find_film
from tests.fakes import write_film
from tests.rare_pictures import encoded


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "a.mp4", [("red", 1.0)]).read_bytes()


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


def box(kind, data):
    return struct.pack(">I4s", len(data) + 8, kind) + data


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"", b""),
        (b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data", b"SEFH" + bytes(20) + b"SEFT"),  # Samsung
        (b"an ftyp of other bytes, ftypisom, ", b""),
        (b"", b"\0" * 1000),
        (b"", b"\0\0\0\x20abcd" + bytes(24)),
    ],
)
def test_the_bytes_of_the_film_are_found(photo, film, before, behind):
    start, length = find_film(io.BytesIO(photo + before + film + behind))
    assert (start, length) == (len(photo + before), len(film))


def test_the_film_in_a_box_of_a_heic_is_found(film):
    heic = encoded(Image.new("RGB", (64, 64), "red"), "HEIF")
    assert find_film(io.BytesIO(heic)) is None
    assert find_film(io.BytesIO(heic + box(b"mpvd", film))) == (len(heic) + 8, len(film))


def test_the_found_bytes_can_be_played(photo, film):
    data = photo + film + b"SEFH" + bytes(40)
    start, length = find_film(io.BytesIO(data))
    with av.open(io.BytesIO(data[start : start + length])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_film_that_lacks_its_end_is_found_if_its_index_is_there(photo, film, cut):
    moov = film.index(b"moov") - 4
    found = find_film(io.BytesIO(photo + film[: int(len(film) * cut)]))
    assert (found is not None) == (moov < len(film) * cut)


def test_a_picture_without_a_film_has_none(photo):
    for data in (photo, photo + b"ftyp", photo + box(b"ftyp", b"heic" + bytes(4)) + box(b"moov", b"") + box(b"mdat", b""), b""):
        assert find_film(io.BytesIO(data)) is None


def test_a_film_at_the_border_of_two_reads_is_found(monkeypatch, photo, film):
    for size in range(len(photo) - 2, len(photo) + 12):
        monkeypatch.setattr(motion_photo, "_CHUNK", size)
        assert find_film(io.BytesIO(photo + film)) == (len(photo), len(film))
