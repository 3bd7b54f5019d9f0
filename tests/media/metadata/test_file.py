import datetime
import json
import subprocess
import sys

import pytest

from media.metadata import file_metadata
from tests.media.metadata.builders import columns, metadata_of, with_tags, xmp, xmp_list

UTC = datetime.UTC
MTIME = datetime.datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp()
EXIF = with_tags(
    {0x010E: "in the file", 0x4746: 1, 0x0110: "X-1"}, {0x9003: "2018:01:01 00:00:00"}, {1: "N", 2: (10.0, 30.0), 3: "E", 4: (20.0, 30.0)}
)
XMP = xmp(
    'xmp:Rating="5" exif:DateTimeOriginal="2019-01-01T00:00:00" exif:GPSLatitude="48.8584" exif:GPSLongitude="2.2945" tiff:Model="X-2"',
    xmp_list("dc:description", "in XMP", kind="Alt") + xmp_list("dc:subject", "lake"),
)
TAKEOUT = json.dumps(
    {
        "description": "in Takeout",
        "photoTakenTime": {"timestamp": "1577836800"},  # 2020-01-01 in Greenwich, the evening before at `geoData`
        "geoData": {"latitude": 40.7128, "longitude": -74.006},
        "people": [{"name": "Ada"}],
        "favorited": True,
    }
).encode()
SOURCES = {"xmp": {"/a/IMG.jpg.xmp": XMP}, "takeout": {"/a/IMG.jpg.json": TAKEOUT}}


def described(*, exif=None, name="IMG.jpg", mtime=MTIME, sidecars=()):
    embedded = metadata_of(exif=exif) if exif is not None else metadata_of()
    return file_metadata(embedded, name=name, mtime=mtime, sidecars={uri: data for kind in sidecars for uri, data in SOURCES[kind].items()})


@pytest.mark.parametrize(
    ("exif", "sidecars", "name", "year", "source"),
    [
        (EXIF, ("takeout", "xmp"), "IMG_20210101_000000.jpg", 2018, "Exif.Photo.DateTimeOriginal"),
        (None, ("takeout", "xmp"), "IMG_20210101_000000.jpg", 2019, "sidecar IMG.jpg.xmp"),
        (None, ("takeout",), "IMG_20210101_000000.jpg", 2019, "sidecar IMG.jpg.json"),
        (None, (), "IMG_20210101_000000.jpg", 2021, "file name"),
        (None, (), "IMG.jpg", 2024, "file time"),
        (with_tags(photo={0x9003: "0001:01:01 00:00:00"}), (), "IMG.jpg", 2024, "file time"),
        (with_tags(photo={0x9003: "0000:00:00 00:00:00"}), ("xmp",), "IMG.jpg", 2019, "sidecar IMG.jpg.xmp"),
    ],
)
def test_the_time_comes_from_the_file_then_its_sidecars_its_name_and_its_time(exif, sidecars, name, year, source):
    found = described(exif=exif, name=name, sidecars=sidecars)
    assert (found["taken_at"].year, found["taken_at_source"]) == (year, source)


@pytest.mark.parametrize(
    ("sidecars", "wanted"),
    [
        ((), {"description": "in the file", "rating": 1, "latitude": 10.5, "camera": "X-1"}),
        (("xmp",), {"description": "in XMP", "rating": 5, "latitude": 48.8584, "camera": "X-1", "keywords": ("lake",)}),
        (("takeout",), {"description": "in Takeout", "rating": 1, "latitude": 10.5, "camera": "X-1", "people": ("Ada",)}),
        (("takeout", "xmp"), {"description": "in XMP", "rating": 5, "latitude": 48.8584, "people": ("Ada",)}),
    ],
)
def test_words_come_from_the_sidecars_first(sidecars, wanted):
    found = described(exif=EXIF, sidecars=sidecars)
    assert {column: found.get(column) for column in wanted} == wanted


def test_sidecars_describe_a_file_that_says_nothing():
    found = described(sidecars=("takeout",))
    assert columns(found) == {
        "taken_at": datetime.datetime(2020, 1, 1, tzinfo=UTC),
        "taken_local": datetime.datetime(2019, 12, 31, 19),
        "utc_offset_minutes": -300,
        "taken_at_source": "sidecar IMG.jpg.json",
        "description": "in Takeout",
        "latitude": 40.7128,
        "longitude": -74.006,
        "place": "New York City, New York, United States",
        "people": ("Ada",),
        "rating": 5,
    }


def test_the_place_follows_the_position_of_the_sidecar():
    assert described(exif=EXIF, sidecars=("xmp",))["place"] == "Paris, Île-de-France, France"


@pytest.mark.parametrize("mtime", [0.0, -1.0, 315532800.0, float("nan"), float("inf"), -1e300, 1e18, 253402300799.0])
def test_an_impossible_file_time_gives_no_time(mtime):
    assert columns(described(mtime=mtime)) == {}


def test_a_time_that_someone_else_found_in_the_file_is_kept():
    time = datetime.datetime(2015, 1, 1, tzinfo=UTC)
    found = file_metadata({"taken_at": time, "width": 5}, name="IMG_20210101_000000.jpg", mtime=MTIME, sidecars={})
    assert found == {"taken_at": time, "width": 5}


def test_a_day_in_the_name_is_not_made_more_exact_by_the_file_time():
    day = datetime.datetime(2024, 2, 3)
    assert described(name="VID-20240203-WA0001.mp4")["taken_local"] == day


def test_numpy_and_scipy_are_loaded_for_the_first_position_only():
    program = """
import sys
from media.metadata import file_metadata

file_metadata({}, name="IMG_20190704_123456.jpg", mtime=1e9, sidecars={})
assert not {"numpy", "scipy"} & set(sys.modules)
assert "place" in file_metadata({"latitude": 48.85, "longitude": 2.35}, name="", mtime=0.0, sidecars={})
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("embedded", "sidecars", "local", "offset"),
    [
        ({"QuickTime.creation_time": "2022-07-24T21:10:56Z", "latitude": 47.538, "longitude": -2.892}, {}, (2022, 7, 24, 23, 10, 56), 120),
        ({"QuickTime.creation_time": "2022-01-24T13:10:56Z", "latitude": -36.85, "longitude": 174.76}, {}, (2022, 1, 25, 2, 10, 56), 780),
        ({"QuickTime.creation_time": "2022-01-24T20:10:56Z", "latitude": 27.7, "longitude": 85.3}, {}, (2022, 1, 25, 1, 55, 56), 345),
        ({"QuickTime.creation_time": "2022-01-24T20:10:56Z"}, {}, (2022, 1, 24, 20, 10, 56), None),
        ({}, SOURCES["takeout"], (2019, 12, 31, 19, 0, 0), -300),
        ({"Exif.Photo.DateTimeOriginal": "2022:07:24 21:10:56", "latitude": 47.5, "longitude": -2.9}, {}, (2022, 7, 24, 21, 10, 56), None),
        ({"latitude": -36.85, "longitude": 174.76}, {}, (2024, 2, 3, 4, 5, 6), None),  # the time of the file says nothing of the place
    ],
)
def test_a_time_in_utc_has_the_local_day_of_its_position(embedded, sidecars, local, offset):
    found = file_metadata(embedded, name="a.mp4", mtime=MTIME, sidecars=sidecars)
    assert (found["taken_local"], found.get("utc_offset_minutes")) == (datetime.datetime(*local), offset)
    assert found["taken_at"] == (datetime.datetime(*local) - datetime.timedelta(minutes=offset or 0)).replace(tzinfo=UTC)


def test_a_zone_that_the_machine_does_not_know_is_unknown(monkeypatch):
    from media.metadata.place import zone_at

    monkeypatch.setattr("tzfpy.get_tz", lambda longitude, latitude: "")
    assert zone_at(1.5, 2.5, datetime.datetime(2020, 1, 1)) is None
