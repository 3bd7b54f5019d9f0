"""Metadata of anyone's making: random bytes and damaged blocks never raise, never warn, and give plain values."""

import datetime
import json
import math
import random

import pytest
from PIL import Image

from media.metadata import file_metadata, orientation_of, picture_metadata, video_metadata
from tests.media.metadata.builders import block, iim, text, with_tags, xmp, xmp_list

EXIF = with_tags(
    {0x010F: "Maker", 0x0110: "X-1", 0x0112: 6, 0x9C9B: "зима".encode("utf-16-le"), 0x4746: 3},
    {0x9003: "2021:07:03 10:11:12", 0x9011: "+02:00", 0x9286: b"UNICODE\0a\0", 0xA432: (24.0, 70.0, 2.8, 4.0)},
    {1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 36.0), 7: (10.0, 11.0, 12.0), 29: "2021:07:03"},
).tobytes()
XMP = xmp('xmp:Rating="4" xmp:CreateDate="2020-05-06T07:08:09+02:00"', xmp_list("dc:subject", "one", "two"))
IPTC = iim((5, "Title"), (25, "one"), (55, "20190704"), (60, "123456+0200"), (120, b"Caf\xe9"))
JSON = b'{"photoTakenTime": {"timestamp": "1562236496"}, "geoData": {"latitude": 1.5, "longitude": 2}, "people": [{"name": "A"}]}'
NAMES = (
    "creation_time",
    "date",
    "location",
    "title",
    "make",
    "com.apple.quicktime.creationdate",
    "xmp",
    "keywords",
    "location-eng",
    "\udc81",
)
TEXTS = ("2019-07-04T12:34:56Z", "+47.5-2.9/", "\ud800x", "9" * 5000, "-" * 300, "+99999-99999/", "1e400", "\0", "٣")
RUNS = 400


def damaged(data, random_):
    data = bytearray(data)
    for _ in range(random_.choice((1, 3, 10, 50))):
        at = random_.randrange(len(data) + 1)
        match random_.randrange(4):
            case 0:
                data[at : at + 1] = random_.randbytes(1)
            case 1:
                del data[at : at + random_.randrange(20)]
            case 2:
                data[at:at] = random_.randbytes(random_.randrange(8))
            case 3:
                data[at : at + 4] = random_.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
    return bytes(data)


def check(metadata):
    for value in metadata.values():
        for part in value if isinstance(value, tuple) else (value,):
            assert isinstance(part, str | int | float | datetime.datetime)
            assert not isinstance(part, float) or math.isfinite(part)
            assert not isinstance(part, str) or part.encode()
    if "taken_at" in metadata:
        assert metadata["taken_at"].astimezone(datetime.UTC).year >= 1825
        assert metadata["taken_local"].tzinfo is None
    assert abs(metadata.get("latitude", 0)) <= 90
    assert json.dumps({name: str(value) for name, value in metadata.items()}).encode()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_pictures(seed):
    random_ = random.Random(seed)
    for _ in range(RUNS):
        picture = Image.new("RGB", (8, 4))
        picture.format = random_.choice(("PNG", "JPEG"))
        random_block = b"Exif\0\0" + random_.choice((b"II*\0", b"MM\0*", b"II+\0", b"")) + random_.randbytes(random_.randrange(200))
        picture.info = {
            "exif": random_.choice((damaged(EXIF, random_), random_block)),
            "xmp": damaged(XMP, random_),
            "photoshop": {0x0404: damaged(IPTC, random_)},
            random_.choice(("Raw profile type exif", "Raw profile type iptc", "Creation Time", "Title")): random_.randbytes(40).decode(
                "latin-1"
            ),
        }
        found = picture_metadata(picture, (8, 4))
        check(found)
        assert {found["width"], found["height"]} == {8, 4}
        assert 1 <= orientation_of(picture) <= 8
        sidecars = {"/a/x.xmp": damaged(XMP, random_), "/a/x.json": damaged(JSON, random_)}
        check(
            file_metadata(
                found, name=random_.randbytes(20).decode("latin-1"), mtime=random_.choice((0.0, 1e9, math.nan)), sidecars=sidecars
            )
        )


@pytest.mark.parametrize("seed", range(2))
def test_damaged_films(seed):
    random_ = random.Random(seed)
    for _ in range(RUNS):
        texts = [random_.choice((*TEXTS, random_.randbytes(30).decode(errors="surrogateescape"))) for _ in range(4)]
        tags = {random_.choice(NAMES) + random_.choice(("", "-eng", "x")): text_ for text_ in texts}
        check(video_metadata(tags, width=1, height=1, duration_seconds=1.0))


@pytest.mark.parametrize("kind", range(20))
@pytest.mark.parametrize("tag", [0x0112, 0x010F, 0x9003, 0x9011, 0x882A, 0x4746, 0xA432, 0x8769, 0x8825, 0x9286, 0x9C9B, 0x83BB, 0x02BC])
def test_a_tag_of_any_type(tag, kind):
    for data in (bytes(16), b"\xff" * 16, b"2021:07:03 10:11"):
        for count in (0, 1, 2, 3, 16, 1 << 30, (1 << 32) - 1):
            picture = Image.new("RGB", (8, 4))
            picture.info = {"exif": block((tag, kind, count, data), text(0x0110, b"X-1\0"))}
            found = picture_metadata(picture, (8, 4))
            check(found)
            assert found["camera"].endswith("X-1")
