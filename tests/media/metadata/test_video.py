import datetime

import av
import numpy as np
import pytest

from media.metadata import file_metadata, video_metadata
from tests.fakes import write_film
from tests.media.metadata.builders import columns, xmp, xmp_list

UTC = datetime.UTC
NOON = datetime.datetime(2019, 7, 4, 12, 34, 56)


def film(**tags):
    return columns(video_metadata(tags, width=64, height=48, duration_seconds=2.5))


def test_time_camera_and_title_of_a_film_are_read():
    tags = {"creation_time": "2021-07-03T08:11:12.000000Z", "com.apple.quicktime.make": "Apple", "model": "Phone", "title": "At the lake"}
    found = video_metadata(tags | {"comment": ""}, width=64, height=48, duration_seconds=2.5)
    assert (found["width"], found["height"], found["duration_seconds"], found["camera"]) == (64, 48, 2.5, "Apple Phone")
    assert found["taken_at"] == datetime.datetime(2021, 7, 3, 8, 11, 12, tzinfo=UTC)
    assert (found["title"], found["QuickTime.title"]) == ("At the lake", "At the lake")
    assert found["QuickTime.com.apple.quicktime.make"] == "Apple"
    assert "QuickTime.comment" not in found


@pytest.mark.parametrize(
    ("tags", "source", "taken_at", "zone"),
    [
        ({"creation_time": "2019-07-04T12:34:56Z"}, "creation_time", NOON, None),
        ({"creation_time": "2019-07-04T12:34:56"}, "creation_time", NOON, None),
        ({"creation_time": "2019-07-04 12:34:56"}, "creation_time", NOON, None),  # AVI's IDIT
        ({"date": "2019-07-04T12:34:56Z"}, "date", NOON, None),
        ({"DATE": "2019-07-04 12:34:56"}, "date", NOON, None),
        ({"date": "2019"}, "date", datetime.datetime(2019, 1, 1), None),
        ({"date": "1970"}, "date", datetime.datetime(1970, 1, 1), None),  # a film of that year, and no unset clock
        ({"date": "2019-07-04T14:34:56+0200"}, "date", NOON, 120),
        ({"creation_time": "2019-07-04T12:34:56Z", "date": "2019-07-04T14:34:56+0200"}, "creation_time", NOON, 120),
        ({"creation_time": "2019-07-04T12:34:56Z", "date": "2001"}, "creation_time", NOON, None),
        ({"creation_time": "2024-01-01T00:00:00Z", "DATE_RECORDED": "2019-07-04 12:34:56"}, "DATE_RECORDED", NOON, None),
        (
            {"creation_time": "2024-01-01T00:00:00Z", "com.apple.quicktime.creationdate": "2019-07-04T04:34:56-0800"},
            "com.apple.quicktime.creationdate",
            NOON,
            -480,
        ),
    ],
)
def test_the_time_of_a_film_and_its_zone(tags, source, taken_at, zone):
    found = film(**tags)
    assert (found["taken_at_source"], found["taken_at"], found.get("utc_offset_minutes")) == (
        f"QuickTime.{source}",
        taken_at.replace(tzinfo=UTC),
        zone,
    )
    assert found["taken_local"] == taken_at + datetime.timedelta(minutes=zone or 0)


@pytest.mark.parametrize(
    "created",
    [
        "1904-01-01T00:00:00Z",
        "1904-01-01T05:00:00Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01T01:00:00.000000Z",
        "1969-12-31T23:00:00Z",
        "soon",
        "",
    ],
)
def test_a_clock_that_was_never_set_gives_no_time(created):
    assert film(creation_time=created) == {}
    assert film(creation_time=created, date="2019-07-04T12:34:56Z")["taken_at_source"] == "QuickTime.date"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("VID_20190704_143450.mp4", 120),
        ("VID_20190704_053456.mp4", -420),
        ("VID_20190704_144956.mp4", None),
        ("VID_20180704_143450.mp4", None),
        ("PXL_20190704_123456000.mp4", None),
        ("VID-20190704-WA0001.mp4", None),
    ],
)
def test_the_local_time_in_the_name_of_a_film_tells_the_zone(name, zone):
    embedded = video_metadata({"creation_time": "2019-07-04T12:34:56Z"}, width=1, height=1, duration_seconds=1.0)
    found = file_metadata(embedded, name=name, mtime=0.0, sidecars={})
    assert (found["taken_at"], found.get("utc_offset_minutes")) == (NOON.replace(tzinfo=UTC), zone)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"v\xeddeo", "vídeo"),
        ("зима".encode(), "зима"),
        (b"a\0b", "a"),
        (b"\x81\x8d", ""),
        ("日本の夏 2019".encode("cp932"), "日本の夏 2019"),
        ("Отпуск в Крыму 2019".encode("cp1251"), "Отпуск в Крыму 2019"),
        *((text.encode("cp1252"), text) for text in ("été à Paris", "Größe", "ÄÖÜ", "Ó", "ŠKODA", "Åse Ødegård", "© “Müller”", "ƒ/2.8")),
    ],
)
def test_text_that_is_not_utf_8_is_repaired(raw, text):
    found = film(title=raw.decode(errors="surrogateescape"))
    assert found.get("title", "") == text


def test_no_surrogate_leaves():
    found = video_metadata({"title": "a\ud800b", "\udcff": "\udc81", "comment": "\ud83d\ude00"}, width=1, height=1, duration_seconds=1.0)
    assert "\n".join(map(str, [*found, *found.values()])).encode()
    assert found["description"] == "😀"


@pytest.mark.parametrize(
    ("tags", "column", "value"),
    [
        ({"com.apple.quicktime.location.ISO6709": "+36.1318-115.1517+621.989/"}, "latitude", 36.1318),
        ({"location": "+47.5383-002.8919/"}, "longitude", -2.8919),
        ({"location-eng": "+47.5383-002.8919/"}, "longitude", -2.8919),
        ({"com.android.manufacturer": "Google", "com.android.model": "Pixel 6"}, "camera", "Google Pixel 6"),
        (
            {"com.apple.quicktime.camera.lens_model": "iPhone 13 Pro back camera 5.7mm f/1.5"},
            "lens",
            "iPhone 13 Pro back camera 5.7mm f/1.5",
        ),
        ({"DESCRIPTION": "a dog"}, "description", "a dog"),
        ({"comment": "a dog"}, "description", "a dog"),
        ({"com.apple.quicktime.keywords": "dog, lake"}, "keywords", ("dog", "lake")),
        ({"com.apple.quicktime.rating.user": "4.000"}, "rating", 4),
        ({"xmp": xmp(inner=xmp_list("dc:subject", "dog", "lake")).decode()}, "keywords", ("dog", "lake")),
    ],
)
def test_tags_of_films_fill_their_columns(tags, column, value):
    assert film(**tags)[column] == value


def test_the_worker_process_passes_on_the_tags_of_a_file(tmp_path):
    from media import VideoDecoder

    plain, tagged = write_film(tmp_path / "plain.mp4", [("red", 1.0)]), tmp_path / "tagged.mp4"
    with av.open(str(plain)) as source, av.open(str(tagged), "w") as target:
        target.metadata.update(title="At the lake", creation_time="2021-07-03T08:11:12Z", location="+47.5383-002.8919/")
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with VideoDecoder() as decoder, decoder.open(tagged) as video:
        assert (video.metadata["title"], video.metadata["taken_at"].year) == ("At the lake", 2021)
        assert (video.metadata["latitude"], video.metadata["longitude"]) == (47.5383, -2.8919)
        assert np.isclose(video.metadata["duration_seconds"], 1.0, atol=0.11)
