"""Pictures with a curve of HDR, in HEIC and AVIF: the container says so, and no ICC profile does."""

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from media.pictures.boxes import colours_of, content_of, top_boxes
from media.pictures.picture import read_picture

COLOURS = np.array([(255, 255, 255), (200, 60, 50), (60, 160, 80), (50, 70, 180), (128, 128, 128), (30, 30, 30)])
TO_BT2020 = np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)])
PQ, HLG, SRGB, BT709, BT2020 = 16, 18, 13, 1, 9


def pq(nits):
    """SMPTE ST 2084."""
    y = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(nits):
    """ITU-R BT.2100 on a display of 1000 nits."""
    scene = (nits / 1000) ** (1 / 1.2)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


def stripes(code):
    """The colours as stripes, with a white of 203 nits."""
    values = code(((COLOURS / 255.0) ** 2.4 * 203) @ TO_BT2020.T)
    return Image.fromarray(np.repeat(np.repeat((values * 255).round().astype(np.uint8)[None], 64, 0), 32, 1))


def encoded(picture, suffix, curve, primaries):
    """A file whose container says another curve and other primaries than the encoder wrote."""
    buffer = io.BytesIO()
    if suffix == "avif":
        picture.save(buffer, format="AVIF", quality=100, subsampling="4:4:4")
    else:
        pillow_heif.from_pillow(picture).save(buffer, quality=-1, chroma=444)
    data = buffer.getvalue()
    start = data.index(b"colrnclx") + 8
    return data[:start] + struct.pack(">HH", primaries, curve) + data[start + 4 :]


@pytest.mark.parametrize("suffix", ["avif", "heic"])
@pytest.mark.parametrize(("curve", "code"), [(PQ, pq), (HLG, hlg)], ids=["PQ", "HLG"])
def test_an_hdr_picture_looks_like_sdr(suffix, curve, code):
    picture = read_picture(encoded(stripes(code), suffix, curve, BT2020)).image
    shown = np.asarray(picture)[32, 16::32].astype(int)
    assert np.abs(shown - COLOURS).max() <= 24
    assert shown[0].min() >= 235


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_a_usual_picture_is_not_changed(suffix):
    colours = Image.fromarray(np.repeat(np.repeat(COLOURS.astype(np.uint8)[None], 64, 0), 32, 1))
    shown = np.asarray(read_picture(encoded(colours, suffix, SRGB, BT709)).image)[32, 16::32].astype(int)
    assert np.abs(shown - COLOURS).max() <= 6


def test_a_large_hdr_picture_is_reduced_and_keeps_its_size_in_the_metadata():
    found = read_picture(encoded(Image.new("RGB", (2400, 1800), (100, 100, 100)), "avif", PQ, BT2020))
    assert (found.metadata["width"], found.metadata["height"], found.image.size) == (2400, 1800, (1200, 900))


def test_damaged_boxes_tell_no_colours():
    data = encoded(stripes(pq), "avif", PQ, BT2020)
    stream = io.BytesIO(data)
    about = content_of(stream, next(box for box in top_boxes(stream) if box.kind == b"meta"))
    assert colours_of(about) == (PQ, BT2020)
    for length in range(0, len(about), 3):
        assert colours_of(about[:length]) in {None, (PQ, BT2020)}
        colours_of(about[:length] + b"\xff" * 8 + about[length + 8 :])
