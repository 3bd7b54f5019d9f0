"""A folder of files of all kinds: formats, wrong suffixes, orientations, cut files, odd sizes, colour modes, animations, motion photos,
films, and things that are none. Each has its expected row, or the reason of its failure. One run indexes them all.

Each picture shows red at the top and black below, or what `colour` says, so that a thumbnail shows whether it was read and turned rightly.
"""

import gzip
import io
import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

import av
import numpy as np
import pytest
from PIL import Image

from indexer import IndexOptions, index
from search import open_collection
from search.collection.thumbnails import thumbnail_of
from tests.fakes import FakeEncoder
from tests.rare_pictures import encoded, photoshop, raw_of_camera

SIZE = (64, 40)
RED_ON_TOP = "red on top"
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="64" height="40">
    <path d="M0 0h64v10H0z" fill="red"/><path d="M0 10h64v30H0z"/>
</svg>"""
PICTURE, FILM, BOTH = ["image"], ["clip", "shot"], ["clip", "image", "shot"]


@dataclass
class File:
    """The bytes of a file, and what is expected of it: a row, or a failure whose reason contains `fails`."""

    data: bytes
    format: str = ""
    size: tuple[int, int] = SIZE
    kinds: list[str] | None = None
    damaged: bool | None = None
    colour: object = RED_ON_TOP  # of the thumbnail; None: not checked
    seconds: float | None = None
    fails: str | None = None


def flag(size=SIZE):
    picture = Image.new("RGB", size, "black")
    picture.paste("red", (0, 0, size[0], max(1, size[1] // 4)))
    return picture


def noisy(size=(160, 120)):
    """Red on top, with enough details that half of the bytes are half of the picture."""
    noise = np.random.default_rng(0).integers(0, 40, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(np.maximum(noise, np.asarray(flag(size))))


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@cache
def plain():
    """{suffix: our name of the format, and the bytes of the flag}"""
    return {
        "jpg": ("JPEG", encoded(flag(), "JPEG")),
        "png": ("PNG", encoded(flag(), "PNG")),
        "webp": ("WebP", encoded(flag(), "WEBP")),
        "gif": ("GIF", encoded(flag(), "GIF")),
        "bmp": ("BMP", encoded(flag(), "BMP")),
        "tiff": ("TIFF", encoded(flag(), "TIFF")),
        "avif": ("AVIF", encoded(flag(), "AVIF")),
        "heic": ("HEIC", encoded(flag(), "HEIF")),
        "jxl": ("JPEG XL", encoded(flag(), "JXL")),
        "jp2": ("JPEG 2000", encoded(flag(), "JPEG2000")),
        "j2k": ("JPEG 2000", encoded(flag(), "JPEG2000", no_jp2=True)),
        "psd": ("Photoshop", photoshop(flag())),
        "psb": ("Photoshop", photoshop(flag(), big=True, packed=True)),
        "ico": ("Icon", encoded(flag(), "ICO", sizes=[SIZE, (16, 10)])),
        "ppm": ("Netpbm", encoded(flag(), "PPM")),
        "qoi": ("QOI", encoded(flag(), "QOI")),
        "pcx": ("PCX", encoded(flag(), "PCX")),
        "sgi": ("SGI", encoded(flag(), "SGI")),
        "dds": ("DirectDraw", encoded(flag(), "DDS")),
        "svg": ("SVG", SVG),
    }  # fmt: skip


@cache
def film(container, codec):
    """The bytes of a film of two seconds that shows the flag."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(50):
            frame = av.VideoFrame.from_image(flag((64, 48)))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


def mp4():
    return film("mp4", "libx264")


CONTAINERS = {
    "mp4": ("MPEG-4", "mp4", "libx264"),
    "m4v": ("MPEG-4", "mp4", "mpeg4"),
    "mov": ("QuickTime", "mov", "libx264"),
    "3gp": ("3GPP", "3gp", "libx264"),
    "mkv": ("Matroska", "matroska", "libx264"),
    "webm": ("WebM", "webm", "libvpx"),
    "ogv": ("Ogg", "ogg", "libvpx"),
    "avi": ("AVI", "avi", "mpeg4"),
    "m2ts": ("MPEG transport stream", "mpegts", "mpeg2video"),
    "ts": ("MPEG transport stream", "mpegts", "libx264"),
    "wmv": ("Windows Media", "asf", "wmv2"),
    "flv": ("Flash Video", "flv", "flv"),
    "vob": ("MPEG", "vob", "mpeg2video"),
    "mxf": ("MXF", "mxf", "mpeg2video"),
    "y4m": ("YUV4MPEG2", "yuv4mpegpipe", "rawvideo"),
    "ivf": ("IVF", "ivf", "libvpx"),
}


def all_formats():
    for suffix, (name, data) in plain().items():
        yield f"plain.{suffix}", File(data, name)
        yield f"UPPER.{suffix.upper()}", File(data, name)
    for suffix in ("jpe", "jpeg", "jfif", "jif", "mpo"):
        yield f"plain.{suffix}", File(plain()["jpg"][1], "JPEG")
    yield "zipped.svgz", File(gzip.compress(plain()["svg"][1]), "SVG")
    yield "stereo.mpo", File(encoded(flag(), "MPO", save_all=True, append_images=[flag().rotate(180)]), "JPEG")
    yield "plain.tga", File(encoded(flag(), "TGA"), "Targa")
    yield "plain.icns", File(encoded(flag((128, 128)), "ICNS"), "Apple icon", (1024, 1024), colour=None)
    yield "plain.pgm", File(encoded(flag().convert("L"), "PPM"), "Netpbm", colour=None)
    for orientation in (1, 3, 6, 8):
        stored = flag().transpose(BACK[orientation]) if orientation in BACK else flag()
        yield f"camera{orientation}.dng", File(raw_of_camera(stored, orientation=orientation), "Camera raw")
    yield "no_preview.dng", File(raw_of_camera(flag(), preview=False), "Camera raw", colour=None)
    yield "plain_tiff.dng", File(plain()["tiff"][1], "Camera raw")


BACK = {  # how a camera stores an upright picture, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
TURNED = {"jpg": ("JPEG", "JPEG"), "png": ("PNG", "PNG"), "webp": ("WebP", "WEBP"), "tif": ("TIFF", "TIFF")}
TURNED |= {"avif": ("AVIF", "AVIF"), "heic": ("HEIC", "HEIF"), "jxl": ("JPEG XL", "JXL")}


def wrong_suffixes():
    for (suffix, (name, data)), lie in product(plain().items(), ("jpg", "heic", "mov")):
        if suffix != lie:
            yield f"{suffix}_called.{lie}", File(data, name)
    for lie in ("png", "gif", "dng", "psd", "svg", "avi", "jp2"):
        yield f"jpg_called.{lie}", File(plain()["jpg"][1], "JPEG")
        yield f"mp4_called.{lie}", File(mp4(), "MPEG-4", (64, 48), FILM, seconds=2.0)


def orientations():
    for (suffix, (name, file_format)), orientation in product(TURNED.items(), range(1, 9)):
        stored = flag().transpose(BACK[orientation]) if orientation in BACK else flag()
        exif = exif_of(orientation) if suffix != "heic" else exif_of(orientation).tobytes()  # then pillow_heif tells the container
        yield f"turned{orientation}.{suffix}", File(encoded(stored, file_format, exif=exif), name)
    for (suffix, (name, file_format)), orientation in product(TURNED.items(), (0, 9, 1000)):
        if suffix not in {"avif", "heic"}:  # the encoders refuse these
            yield f"turned{orientation}.{suffix}", File(encoded(flag(), file_format, exif=exif_of(orientation)), name)
    yield "only_in_exif.heic", File(encoded(flag().transpose(BACK[6]), "HEIF", exif=exif_of(6)), "HEIC")
    two = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHIHxx", 0x0112, 3, 1, 3) * 2 + bytes(4)
    yield "turned_twice.jpg", File(encoded(flag().rotate(180), "JPEG", exif=two), "JPEG")


def cut_files():
    whole = {name: (format_, encoded(noisy(), *args, **options)) for name, format_, args, options in [
        ("jpg", "JPEG", ["JPEG"], {}), ("progressive.jpg", "JPEG", ["JPEG"], {"progressive": True}), ("png", "PNG", ["PNG"], {}),
        ("webp", "WebP", ["WEBP"], {}), ("lossless.webp", "WebP", ["WEBP"], {"lossless": True}), ("bmp", "BMP", ["BMP"], {}),
        ("tif", "TIFF", ["TIFF"], {}), ("heic", "HEIC", ["HEIF"], {}), ("avif", "AVIF", ["AVIF"], {}), ("ppm", "Netpbm", ["PPM"], {}),
        ("qoi", "QOI", ["QOI"], {}), ("pcx", "PCX", ["PCX"], {}), ("tga", "Targa", ["TGA"], {}), ("gif", "GIF", ["GIF"], {}),
    ]}  # fmt: skip
    coarse = {"bmp", "tga", "gif"}  # these begin with the last row, or have few colours
    for name, (format_, data) in whole.items():
        suffix = name.rpartition(".")[2]
        yield f"whole.{name}", File(data, format_, (160, 120))
        yield f"rubbish_after.{name}", File(data + bytes(500), format_, (160, 120))
        for share in (0.9, 0.5) if suffix == "avif" else (0.995, 0.9, 0.5):  # a small AVIF that is nearly whole may be refused
            colour = None if suffix in coarse else RED_ON_TOP
            last = int(len(data) * share)
            yield f"cut_{share}.{name}", File(data[:last], format_, (160, 120), damaged=True, colour=colour)
        yield f"cut_0.02.{name}", File(data[: int(len(data) * 0.02)], fails="")
    yield "cut_2_bytes.jpg", File(plain()["jpg"][1][:-2], "JPEG", damaged=True)
    yield "cut_2_bytes.png", File(plain()["png"][1][:-2], "PNG", damaged=True)
    yield "cut.jp2", File(plain()["jp2"][1][:-200], fails="damaged or incomplete")
    yield "cut.jxl", File(plain()["jxl"][1][:-20], fails="damaged or incomplete")


def sizes_and_modes():
    for (width, height), (suffix, name, file_format) in product(
        [(1, 1), (1, 5000), (5000, 1), (3, 2), (17, 19)],
        [("jpg", "JPEG", "JPEG"), ("png", "PNG", "PNG"), ("webp", "WebP", "WEBP"), ("tif", "TIFF", "TIFF"), ("gif", "GIF", "GIF")],
    ):
        picture = Image.new("RGB", (width, height), (220, 20, 20))
        yield f"{width}x{height}.{suffix}", File(encoded(picture, file_format), name, (width, height), colour=(220, 20, 20))
    for mode, value, file_format, suffix, colour in [
        ("L", 90, "JPEG", "jpg", (90, 90, 90)),
        ("CMYK", (0, 255, 255, 0), "JPEG", "jpg", (255, 0, 0)),
        ("1", 1, "PNG", "png", (255, 255, 255)),
        ("LA", (100, 51), "PNG", "png", (224, 224, 224)),
        ("RGBA", (200, 100, 0, 51), "PNG", "png", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 51), "WEBP", "webp", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 51), "AVIF", "avif", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 51), "HEIF", "heic", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 51), "JXL", "jxl", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 51), "ICO", "ico", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 51), "JPEG2000", "jp2", (244, 224, 204)),
        ("I;16", 40_000, "PNG", "png", (156, 156, 156)),
        ("I;16", 40_000, "TIFF", "tif", (156, 156, 156)),
        ("F", 0.5, "TIFF", "tif", (128, 128, 128)),
        ("LAB", (136, 128, 128), "TIFF", "tif", (128, 128, 128)),
        ("CMYK", (255, 0, 0, 0), "TIFF", "tif", (0, 255, 255)),
    ]:
        name = {"jpg": "JPEG", "png": "PNG", "webp": "WebP", "avif": "AVIF", "heic": "HEIC", "jxl": "JPEG XL"}
        name |= {"ico": "Icon", "jp2": "JPEG 2000", "tif": "TIFF"}
        data = encoded(Image.new(mode, SIZE, value), file_format, **({"sizes": [SIZE]} if file_format == "ICO" else {}))
        yield f"mode_{mode.replace(';', '')}.{suffix}", File(data, name[suffix], colour=colour)
    thumbnail_first = encoded(Image.new("RGB", (16, 10), "blue"), "TIFF", save_all=True, append_images=[flag()])
    yield "small_page_first.tif", File(thumbnail_first, "TIFF")
    two_pages = encoded(flag(), "TIFF", save_all=True, append_images=[Image.new("RGB", SIZE, "blue")])
    yield "two_pages.tif", File(two_pages, "TIFF")


def animations():
    frames = [flag(), flag()]
    blank = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    for suffix, name, file_format in [("gif", "GIF", "GIF"), ("webp", "WebP", "WEBP"), ("png", "PNG", "PNG"), ("avif", "AVIF", "AVIF")]:
        more = {"lossless": True} if suffix == "webp" else {}
        moving = [Image.blend(flag(), Image.new("RGB", SIZE, "red"), step / 60) for step in range(30)]

        def animated(pictures, duration, file_format=file_format, more=more):
            return encoded(pictures[0], file_format, save_all=True, append_images=pictures[1:], duration=duration, **more)

        yield f"moving.{suffix}", File(animated(moving, 100), name, kinds=FILM, seconds=3.0)
        yield f"slow.{suffix}", File(animated(moving[:3], [1000, 2000, 3000]), name, kinds=FILM, seconds=6.0, colour=None)
        yield f"two.{suffix}", File(animated([flag(), moving[20]], 500), name, kinds=FILM, seconds=1.0, colour=None)
        yield f"one.{suffix}", File(animated([flag()], 500), name)
        yield f"moving_{suffix}_called.mp4", File(animated(moving, 100), name, kinds=FILM, seconds=3.0)
        if suffix != "avif":  # its encoder gives each frame some time
            yield f"no_times.{suffix}", File(animated(moving, 0), name, kinds=FILM, seconds=3.0)
            blank_first = [blank, *(frame.convert("RGBA") for frame in moving[:3])]
            yield f"blank_first.{suffix}", File(animated(blank_first, 100), name, kinds=FILM, seconds=0.4)
    default = encoded(Image.new("RGB", SIZE, "blue"), "PNG", save_all=True, append_images=[*frames, flag().rotate(1)], default_image=True)
    yield "default_image.png", File(default, "PNG", kinds=FILM, seconds=0.3)


def motion_photos():
    photo, heic = encoded(noisy(), "JPEG"), encoded(noisy(), "HEIF")
    big, samsung = (160, 120), b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data"
    mpvd = struct.pack(">I4s", len(mp4()) + 8, b"mpvd") + mp4()
    yield "appended.jpg", File(photo + mp4(), "JPEG", big, BOTH, seconds=2.0)
    yield "appended.MP.jpg", File(photo + mp4(), "JPEG", big, BOTH, seconds=2.0)
    yield "samsung.jpg", File(photo + samsung + mp4() + b"SEFH" + bytes(40) + b"SEFT", "JPEG", big, BOTH, seconds=2.0)
    yield "quicktime.jpg", File(photo + film("mov", "libx264"), "JPEG", big, BOTH, seconds=2.0)
    yield "box.heic", File(heic + mpvd, "HEIC", big, BOTH, seconds=2.0)
    yield "film_without_pictures.jpg", File(photo + mp4()[:32] + bytes(64), "JPEG", big)
    broken = bytearray(mp4())
    broken[broken.index(b"avcC") : broken.index(b"avcC") + 60] = bytes(60)
    yield "broken_film.jpg", File(photo + bytes(broken), "JPEG", big, damaged=True)
    yield "word_ftyp.jpg", File(encoded(noisy(), "JPEG", comment=b"an ftyp is a box"), "JPEG", big)


def films():
    for suffix, (name, container, codec) in CONTAINERS.items():
        data = film(container, codec)
        yield f"film.{suffix}", File(data, name, (64, 48), FILM, colour=None)
        if suffix != "vob":  # FFmpeg needs the suffix of a program stream this short
            yield f"film_{suffix}_called.jpg", File(data, name, (64, 48), FILM, colour=None)


def neither():
    text = b"Dear Sir or Madam,\nno picture is enclosed.\n" * 20
    for suffix in ("jpg", "png", "gif", "webp", "tiff", "svg", "psd", "heic", "ico", "tga", "dng"):
        yield f"empty.{suffix}", File(b"", fails="the file is empty" if suffix not in {"svg", "dng"} else "")
        yield f"text.{suffix}", File(text, fails="")
    for suffix in ("mp4", "mkv", "avi"):
        yield f"empty.{suffix}", File(b"", fails="")
        yield f"text.{suffix}", File(text, fails="")
    yield "page.jpg", File(b"<!DOCTYPE html><html><svg></svg></html>", fails="not a picture")
    yield "archive.png", File(b"PK\x03\x04" + bytes(200), fails="not a picture")
    yield "program.jpg", File(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", fails="not a picture")
    yield "sound.mp4", File(sound(), fails="video")
    yield "not_merged.psd", File(photoshop(flag(), merged=False), fails="Maximize compatibility")
    yield "huge.png", File(huge_png(), fails="too many pixels (60000x60000)")


def sound():
    buffer = io.BytesIO()
    with av.open(buffer, "w", "mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


def huge_png():
    """A PNG whose header states a size that no memory holds."""
    data = bytearray(plain()["png"][1])
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


GROUPS = (all_formats, wrong_suffixes, orientations, cut_files, sizes_and_modes, animations, motion_photos, films, neither)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What is expected of each file, the collection, its rows, and the reasons of failures: by group, name, path and path."""
    folder = tmp_path_factory.mktemp("torture")
    wanted = {group.__name__: dict(group()) for group in GROUPS}
    for group, files in wanted.items():
        for name, file in files.items():
            path = folder / "library" / group / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
    report = index(folder / "library", collection=folder / "collection", encoder=FakeEncoder(), options=IndexOptions(workers=1, batch=64))
    collection = open_collection(folder / "collection", encoder=FakeEncoder())
    rows = defaultdict(list)
    for row in collection.snapshot.rows(collection.snapshot.segment_ids):
        rows[row["path"]].append(row)
    return wanted, collection, rows, {failure.path: failure.reason for failure in report.failures}


def test_there_are_many_files(found):
    assert sum(map(len, found[0].values())) >= 250


@pytest.mark.parametrize("group", [group.__name__ for group in GROUPS])
def test_each_file_gives_its_row_or_its_failure(found, group):
    wanted, collection, rows, failures = found
    wrong = {}
    for name, file in wanted[group].items():
        path = f"{group}/{name}"
        if problem := problem_of(file, rows[path], failures.get(path), collection):
            wrong[name] = problem
    assert wrong == {}


def problem_of(wanted, rows, failure, collection):
    """What differs from the expectation; an empty text if nothing does."""
    if wanted.fails is not None:
        return "" if failure is not None and wanted.fails in failure else f"{failure or rows}"
    if not rows:
        return failure or "not found"
    first = next(row for row in rows if row["kind"] != "clip")
    seconds = None if wanted.seconds is None else round(first["duration_seconds"] or 0, 1)
    got = first["format"], (first["width"], first["height"]), sorted({row["kind"] for row in rows}), first["damaged"], seconds
    if got != (expected := (wanted.format, wanted.size, wanted.kinds or PICTURE, wanted.damaged, wanted.seconds)):
        return f"{got} instead of {expected}"
    if ("image" in expected[2]) != (first["perceptual_hash"] is not None):
        return f"perceptual hash {first['perceptual_hash']}"
    with Image.open(thumbnail_of(collection.path, first)) as picture:
        shown = np.asarray(picture.convert("RGB")).astype(int)
    return problem_of_colour(shown, wanted)


def problem_of_colour(shown, wanted):
    if wanted.colour == RED_ON_TOP:
        tenth = max(1, len(shown) // 10)
        top, bottom = shown[:tenth].mean((0, 1)), shown[-2 * tenth : -tenth].mean((0, 1))
        is_right = top[0] > 150 and top[1:].max() < 110 and (wanted.damaged or bottom.max() < 90)
        return "" if is_right else f"{top.round()} on top, {bottom.round()} below"
    mean = shown.mean((0, 1))
    return "" if wanted.colour is None or np.abs(mean - wanted.colour).max() < 6 else f"{mean.round()} instead of {wanted.colour}"
