import datetime

import pytest

from media.metadata.taken import DATES, candidates, taken_columns
from tests.media.metadata.builders import columns, metadata_of, with_tags

ORIGINAL, DIGITIZED, CHANGED = "Exif.Photo.DateTimeOriginal", "Exif.Photo.DateTimeDigitized", "Exif.Image.DateTime"
LOCAL = datetime.datetime(2019, 7, 4, 12, 34, 56)


def taken(tags):
    return taken_columns(candidates(tags))


def test_the_tags_count_in_the_order_of_trust():
    dates = [date.tag for date in DATES]
    for number, tag in enumerate(dates):
        tags = {each: f"20{place + 10}-07-04T12:34:56Z" for place, each in enumerate(dates) if place >= number}
        found = taken(tags)
        assert (found["taken_at_source"], found["taken_at"].year) == (tag, 2010 + number)


@pytest.mark.parametrize("number", range(len(DATES) - 1))
@pytest.mark.parametrize(
    "impossible", ["0001:01:01 00:00:00", "9999:12:31 23:59:59", "2019:00:04 12:34:56", "2019:07:04 24:60:00", "soon 1"]
)
def test_an_impossible_time_is_noted_and_the_next_tag_counts(number, impossible):
    first, second = DATES[number].tag, DATES[number + 1].tag
    found = taken({first: impossible, second: "2019-07-04T12:34:56Z"})
    assert (found["taken_at_source"], found["taken_local"]) == (second, LOCAL)
    assert found["notes"] == (f"{first} has no possible time ({impossible!r}). It was ignored.",)


@pytest.mark.parametrize("unknown", ["", "    :  :     :  :  ", "0000:00:00 00:00:00"])
def test_an_unknown_time_is_not_noted(unknown):
    assert taken({ORIGINAL: unknown}) == {}


@pytest.mark.parametrize(
    ("tags", "microsecond"),
    [
        ({"Exif.Photo.SubSecTimeOriginal": "5"}, 500000),
        ({"Exif.Photo.SubSecTimeOriginal": "05"}, 50000),
        ({"Exif.Photo.SubSecTimeOriginal": "123456789"}, 123456),
        ({"Exif.Photo.SubSecTimeOriginal": "   "}, 0),
        ({"Exif.Photo.SubSecTimeOriginal": "x"}, 0),
        ({"Exif.Photo.SubSecTimeOriginal": 5}, 0),
        ({"Exif.Photo.SubSecTimeDigitized": "5"}, 0),
    ],
)
def test_fractions_of_a_second_come_from_their_own_tag(tags, microsecond):
    assert taken({ORIGINAL: "2019:07:04 12:34:56", **tags})["taken_local"] == LOCAL.replace(microsecond=microsecond)


@pytest.mark.parametrize(
    ("tags", "zone"),
    [
        ({"Exif.Photo.OffsetTimeOriginal": "+02:00"}, 120),
        ({"Exif.Photo.OffsetTimeOriginal": "   :  ", "Exif.Image.TimeZoneOffset": 2}, 120),
        ({"Exif.Image.TimeZoneOffset": (-5, -5)}, -300),
        ({"Exif.Photo.TimeZoneOffset": -8}, -480),  # where ExifTool writes it
        ({"Exif.Photo.OffsetTime": "+02:00"}, None),
        ({"Exif.Photo.OffsetTime": "+02:00", CHANGED: "2019:07:04 12:34:56"}, 120),
        ({"Exif.Photo.OffsetTime": "+02:00", CHANGED: "2020:01:01 00:00:00"}, None),
        ({"Xmp.exif.DateTimeOriginal": "2019-07-04T12:34:56+02:00"}, 120),
        ({"Xmp.exif.DateTimeOriginal": "2019-07-04T13:34:56+02:00"}, None),
        ({"Iptc.Application2.DateCreated": "20190704", "Iptc.Application2.TimeCreated": "123456+0200"}, 120),
        ({"Iptc.Application2.DateCreated": "20190704", "Iptc.Application2.TimeCreated": "123456+0000"}, None),
        ({"Exif.GPSInfo.GPSDateStamp": "2019:07:04", "Exif.GPSInfo.GPSTimeStamp": (10.0, 34.0, 50.5)}, 120),
        ({"Exif.GPSInfo.GPSDateStamp": "2019:07:04", "Exif.GPSInfo.GPSTimeStamp": (6.0, 49.0, 56.0)}, 345),
        ({"Exif.GPSInfo.GPSDateStamp": "2019:07:03", "Exif.GPSInfo.GPSTimeStamp": (22.0, 34.0, 56.0)}, 840),
        ({"Exif.GPSInfo.GPSDateStamp": "2019:07:05", "Exif.GPSInfo.GPSTimeStamp": (0.0, 34.0, 56.0)}, -720),
        ({"Exif.GPSInfo.GPSDateStamp": "2019:07:04", "Exif.GPSInfo.GPSTimeStamp": (10.0, 49.0, 56.0)}, None),
        ({"Exif.GPSInfo.GPSDateStamp": "2018:07:04", "Exif.GPSInfo.GPSTimeStamp": (10.0, 34.0, 56.0)}, None),
        ({"Exif.GPSInfo.GPSDateStamp": "2019:07:04"}, None),
        ({"Xmp.exif.GPSTimeStamp": "2019-07-04T10:34:56Z"}, 120),
    ],
)
def test_the_zone_comes_from_its_tag_or_from_another_time(tags, zone):
    found = taken({ORIGINAL: "2019:07:04 12:34:56", **tags})
    assert (found["taken_local"], found.get("utc_offset_minutes")) == (LOCAL, zone)
    assert found["taken_at"] == LOCAL.replace(tzinfo=datetime.UTC) - datetime.timedelta(minutes=zone or 0)


def test_gps_is_trusted_more_than_the_zone_that_a_program_wrote():
    gps = {"Exif.GPSInfo.GPSDateStamp": "2019:07:04", "Exif.GPSInfo.GPSTimeStamp": (10.0, 34.0, 56.0)}
    assert (
        taken({ORIGINAL: "2019:07:04 12:34:56", "Xmp.exif.DateTimeOriginal": "2019-07-04T12:34:56-07:00", **gps})["utc_offset_minutes"]
        == 120
    )


def test_a_time_of_gps_alone_is_utc():
    found = taken({"Exif.GPSInfo.GPSDateStamp": "2019:07:04", "Exif.GPSInfo.GPSTimeStamp": (10.0, 34.0, 50.5)})
    wanted = datetime.datetime(2019, 7, 4, 10, 34, 50)
    assert found == {"taken_at": wanted.replace(tzinfo=datetime.UTC), "taken_local": wanted, "taken_at_source": "Exif.GPSInfo.GPSDateStamp"}


@pytest.mark.parametrize(
    ("tags", "source", "local"),
    [
        ({"Xmp.photoshop.DateCreated": "1985"}, "Xmp.photoshop.DateCreated", datetime.datetime(1985, 1, 1)),
        ({"Xmp.photoshop.DateCreated": "1985-07"}, "Xmp.photoshop.DateCreated", datetime.datetime(1985, 7, 1)),
        ({"Iptc.Application2.DateCreated": "19850000"}, "Iptc.Application2.DateCreated", datetime.datetime(1985, 1, 1)),
        (
            {"Xmp.photoshop.DateCreated": "1985", "Xmp.xmp.CreateDate": "2019-07-04T12:34:56"},
            "Xmp.photoshop.DateCreated",
            datetime.datetime(1985, 1, 1),
        ),
        ({"Xmp.photoshop.DateCreated": "2019", "Xmp.xmp.CreateDate": "2019-07-04T12:34:56"}, "Xmp.xmp.CreateDate", LOCAL),
        ({"Xmp.photoshop.DateCreated": "2019-07-04", "Xmp.xmp.CreateDate": "2019-07-04T12:34:56"}, "Xmp.xmp.CreateDate", LOCAL),
        ({"Iptc.Application2.DateCreated": "20190704", "PNG.Creation Time": "2019:07:04 12:34:56"}, "PNG.Creation Time", LOCAL),
    ],
)
def test_a_year_counts_and_a_time_within_it_says_more(tags, source, local):
    found = taken(tags)
    assert (found["taken_at_source"], found["taken_local"]) == (source, local)


@pytest.mark.parametrize("offset", ["+14:00", "-12:00", "+01:00", "-05:00"])
@pytest.mark.parametrize("text", ["0001:01:01 00:00:00", "9999:12:31 23:59:59", "1826:01:01 00:00:00", "2100:12:31 23:59:59"])
def test_no_time_leaves_the_range_of_python_with_any_zone(text, offset):
    found = metadata_of(exif=with_tags(photo={0x9003: text, 0x9011: offset}))
    if text[:4] in {"0001", "9999"}:
        assert set(columns(found)) == {"notes"}
    else:
        assert isinstance(found["taken_at"].astimezone(datetime.UTC), datetime.datetime)
