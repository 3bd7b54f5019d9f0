"""Compares with exiftool, which most programs trust. The right values are also written out in the other tests."""

import json
import shutil
import subprocess

import pytest
from PIL import PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from media import read_picture
from tests.media.metadata.builders import iim, picture, with_tags, xmp, xmp_list

pytestmark = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")

PHOTOGRAPH = with_tags(
    {0x010F: "Maker", 0x0110: "Model 1", 0x0112: 6, 0x010E: "Café am See".encode(), 0x4746: 4},
    {0x9003: "2021:07:03 10:11:12", 0x9291: "25", 0x9011: "+02:00", 0xA434: "50mm F1.8"},
    {1: "S", 2: (33.0, 30.0, IFDRational(15, 2)), 3: "E", 4: (151.0, 15.0, 36.0)},
).tobytes()
PACKET = xmp(
    'xmp:Rating="3" photoshop:DateCreated="2020-05-06T07:08:09+02:00" exif:GPSLatitude="48,51.4934N" exif:GPSLongitude="2,17.670W"',
    xmp_list("dc:title", "Lake", kind="Alt") + xmp_list("dc:description", "a dog", kind="Alt") + xmp_list("dc:subject", "one", "two"),
)
IPTC = iim((5, "Lake"), (25, "one"), (25, "two"), (55, "20190704"), (60, "123456+0200"), (120, "a dog"))
TEXTS = PngImagePlugin.PngInfo()
TEXTS.add_text("Title", "Lake")
TEXTS.add_text("Creation Time", "2020:05:06 07:08:09")
FILES = {
    "exif.jpg": picture(exif=PHOTOGRAPH),
    "exif.webp": picture("WEBP", exif=PHOTOGRAPH),
    "exif.png": picture("PNG", exif=PHOTOGRAPH),
    "exif.tiff": picture("TIFF", exif=PHOTOGRAPH),
    "xmp.jpg": picture(xmp=PACKET),
    "xmp.webp": picture("WEBP", xmp=PACKET),
    "iptc.jpg": picture(iptc=IPTC),
    "iptc.tiff": picture("TIFF", tiffinfo={33723: IPTC}),
    "text.png": picture("PNG", pnginfo=TEXTS),
}
TAGS = {  # exiftool's names, in the order of trust
    "time": ("SubSecDateTimeOriginal", "DateTimeCreated", "DateCreated", "CreationTime"),
    "latitude": ("GPSLatitude",),
    "longitude": ("GPSLongitude",),
    "lens": ("LensModel",),
    "title": ("Title", "ObjectName"),
    "description": ("Description", "Caption-Abstract", "ImageDescription"),
    "keywords": ("Subject", "Keywords"),
    "rating": ("Rating",),
}


def by_exiftool(path):
    done = subprocess.run(["exiftool", "-j", "-n", str(path)], capture_output=True, text=True, check=True)
    tags = json.loads(done.stdout)[0]
    found = {column: next((tags[name] for name in names if name in tags), None) for column, names in TAGS.items()}
    return found | {"camera": " ".join(tags[name] for name in ("Make", "Model") if name in tags) or None}


def by_us(data):
    found = read_picture(data).metadata
    time, zone = found["taken_local"], found.get("utc_offset_minutes")
    text = f"{time:%Y:%m:%d %H:%M:%S}" + (f".{time.microsecond // 10_000:02}" if time.microsecond else "")
    columns = {name: found.get(name) for name in (*TAGS, "camera")}
    columns["keywords"] = list(found["keywords"]) if "keywords" in found else None
    return columns | {"time": text + (f"+{zone // 60:02}:{zone % 60:02}" if zone is not None else "")}


@pytest.mark.parametrize("name", FILES)
def test_exiftool_reads_the_same(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(FILES[name])
    wanted, found = by_exiftool(file), by_us(FILES[name])
    for axis in ("latitude", "longitude"):
        found[axis], wanted[axis] = found[axis] and pytest.approx(found[axis], abs=1e-6), wanted[axis]
    assert wanted == found
