"""Frames as shown: orientation, pixels that are not square, colours, transparency, and sizes from 1 x 1."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from media.video.film import read_film
from media.video.messages import Request, VideoFrame

QUADRANTS = ((220, 20, 20), (20, 180, 40)), ((20, 40, 220), (230, 220, 30))  # red, green; blue, yellow


def write(path, pixels, *, codec="libx264", pix_fmt="yuv420p", **context):
    """A film of five equal frames. `context`: attributes of the codec's context, set before it is opened."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


def first(path):
    """The size in the metadata, and the first frame as a picture."""
    metadata, frame, *_ = read_film(Request(str(path)))
    assert isinstance(frame, VideoFrame)
    return (metadata["width"], metadata["height"]), Image.fromarray(frame.pixels)


def quadrants(size=(96, 64)):
    width, height = size
    return np.repeat(np.repeat(np.array(QUADRANTS, np.uint8), height // 2, 0), width // 2, 1)


def colour_at(picture, x, y):
    """The mean of the pixels near a point, whose coordinates are parts of the width and height."""
    column, row = round(x * picture.width), round(y * picture.height)
    return np.asarray(picture)[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4].reshape(-1, 3).mean(0)


def corners(picture):
    return [colour_at(picture, x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]


TURNS = {  # the matrix of the display (a, b, c, d), and what it does with the stored frame
    (1, 0, 0, 1): None,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,  # clockwise, as phones write it
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
}


def set_display_matrix(path, a, b, c, d):
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # version 0 of the track header
    assert data[at : at + 4] == (0x10000).to_bytes(4, "big")
    data[at : at + 20] = b"".join((value * 0x10000).to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d))
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("matrix", TURNS)
@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_turned_and_mirrored_films_are_upright(tmp_path, matrix, codec):
    film = write(tmp_path / "film.mp4", quadrants(), codec=codec, pix_fmt="yuv420p" if codec == "libx264" else "yuvj420p")
    set_display_matrix(film, *matrix)
    size, picture = first(film)
    stored = Image.fromarray(quadrants())
    wanted = stored.transpose(TURNS[matrix]) if TURNS[matrix] is not None else stored
    assert size == picture.size == wanted.size
    assert np.abs(np.array(corners(picture)) - np.array(corners(wanted))).max() < 12


@pytest.mark.parametrize(
    ("stored", "ratio", "shown"),
    [
        ((720, 576), (64, 45), (1024, 576)),
        ((1440, 1080), (4, 3), (1920, 1080)),
        ((720, 480), (8, 9), (720, 540)),
        ((64, 48), (1, 1000), (64, 48)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(tmp_path, stored, ratio, shown):
    film = write(tmp_path / "film.mp4", quadrants(stored), sample_aspect_ratio=Fraction(*ratio))
    size, picture = first(film)
    assert size == shown
    assert picture.width / picture.height == pytest.approx(shown[0] / shown[1], rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (17, 1), (1, 300), (641, 359)])
@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray"])
def test_films_of_any_size_can_be_read(tmp_path, size, pix_fmt):
    film = write(tmp_path / "film.mov", np.full((size[1], size[0], 3), 200, np.uint8), codec="png", pix_fmt=pix_fmt)
    shown, picture = first(film)
    assert shown == size
    assert min(picture.size) == min(256, *size)
    assert np.abs(np.asarray(picture).astype(int) - 200).max() <= 2


def in_yuv(colour, red, blue, *, full):
    """8-bit Y'CbCr of an RGB colour by ITU-R BT.601, 709 and 2020, which differ in the weights of red and blue."""
    r, g, b = (value / 255 for value in colour)
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    return [round(v) for v in ((255 * y, 255 * cb + 128, 255 * cr + 128) if full else (219 * y + 16, 224 * cb + 128, 224 * cr + 128))]


WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def write_yuv(path, colour, matrix, *, full=False, size=(64, 48), **context):
    planes = np.stack([np.full(size[::-1], value, np.uint8) for value in in_yuv(colour, *WEIGHTS[matrix], full=full)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_the_matrix_and_the_range_of_a_film_are_respected(tmp_path, matrix, full):
    film = write_yuv(tmp_path / "film.mkv", (200, 40, 90), matrix, full=full, colorspace=matrix, color_range=2 if full else 1)
    assert np.abs(corners(first(film)[1])[0] - (200, 40, 90)).max() <= 3


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((1280, 720), 1)])
def test_an_unknown_matrix_is_that_of_the_size_of_the_frame(tmp_path, size, matrix):
    film = write_yuv(tmp_path / "film.mkv", (200, 40, 90), matrix, size=size)
    assert np.abs(corners(first(film)[1])[0] - (200, 40, 90)).max() <= 3


def test_transparent_parts_are_white(tmp_path):
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[..., 0] = pixels[:, 32:, 3] = 200
    film = tmp_path / "film.mov"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("qtrle", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[..., [3, 0, 1, 2]]), format="argb")))
        container.mux(stream.encode())
    picture = np.asarray(first(film)[1])
    assert picture[24, 10].tolist() == [255, 255, 255]
    assert np.abs(picture[24, 50].astype(int) - (212, 55, 55)).max() <= 1  # 200 of 255 parts red


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_the_transparency_of_webm_is_applied(tmp_path, codec):
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[..., 0] = pixels[:, 32:, 3] = 255
    film = tmp_path / "sticker.webm"
    with av.open(str(film), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"auto-alt-ref": "0", "deadline": "realtime"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="yuva420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = [reply for reply in read_film(Request(str(film))) if isinstance(reply, VideoFrame)]
    assert [round(10 * frame.pts_seconds) for frame in frames] == [0, 1, 2, 3, 4]
    assert np.abs(frames[0].pixels[24, 10].astype(int) - 255).max() <= 3
    assert np.abs(frames[0].pixels[24, 50].astype(int) - (255, 0, 0)).max() <= 6


def pq(nits):
    """SMPTE ST 2084: nits to code values of 0 to 1."""
    y = (np.maximum(nits, 0) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(nits):
    """ITU-R BT.2100 HLG on a display of 1000 nits, with the gamma of 1.2 in each channel."""
    scene = (np.maximum(nits, 0) / 1000) ** (1 / 1.2)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


TO_BT2020 = np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)])


@pytest.mark.parametrize(("curve", "code"), [(16, pq), (18, hlg)], ids=["PQ", "HLG"])
@pytest.mark.parametrize("white", [100, 203])
def test_hdr_films_look_like_sdr(tmp_path, curve, code, white):
    """Colours are those of the same picture in SDR, whether its white has 100 or 203 nits."""
    colours = quadrants().astype(np.float64) / 255
    colours[:8] = 1.0  # something white, at the top
    values = code((colours**2.4 * white) @ TO_BT2020.T)
    pixels = (values * 65535).round().astype(np.uint16)
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gbrp10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.color_range = curve, 9, 2
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le").reformat(format="gbrp10le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    _, picture = first(film)
    assert np.asarray(picture)[2].min() >= 235
    assert np.abs(np.array(corners(picture)) - np.array(QUADRANTS).reshape(4, 3)).max() <= 20


def test_highlights_of_hdr_films_are_compressed_not_clipped(tmp_path):
    ramp = np.repeat(np.repeat(np.linspace(0, 1000, 96)[None], 64, 0)[..., None], 3, 2)
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gbrp10le"
        stream.codec_context.color_trc, stream.codec_context.color_primaries = 16, 9
        frame = av.VideoFrame.from_ndarray((pq(ramp) * 65535).astype(np.uint16), format="rgb48le")
        container.mux(stream.encode(frame.reformat(format="gbrp10le")))
        container.mux(stream.encode())
    row = np.asarray(first(film)[1])[32, :, 0].astype(int)
    assert (np.diff(row) >= -1).all()
    assert row[20] > 200  # 210 nits are white enough
    assert row[48] < row[90]
    assert row[90] > 245
