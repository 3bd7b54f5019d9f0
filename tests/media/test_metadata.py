"""Metadata of pictures and videos. Pillow and PyAV write the files; tests build by hand what these refuse to write."""

import datetime
import io
import struct

import av
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from media.metadata import video_metadata
from media.pictures.picture import read_picture
from tests.fakes import write_film

UTC = datetime.UTC
EXIF, GPS = 0x8769, 0x8825


def encoded(exif=None, file_format="JPEG", size=(80, 40), **options):
    stream = io.BytesIO()
    Image.new("RGB", size, "green").save(stream, file_format, **({} if exif is None else {"exif": exif}), **options)
    return stream.getvalue()


def metadata_of(exif=None, file_format="JPEG", **options):
    return read_picture(encoded(exif, file_format, **options)).metadata


def with_tags(image=(), photo=(), gps=()):
    exif = Image.Exif()
    exif.update(dict(image))
    for pointer, tags in ((EXIF, photo), (GPS, gps)):
        if tags:  # libtiff cannot write an empty group
            exif.get_ifd(pointer).update(dict(tags))
    return exif


PHOTOGRAPH = with_tags(
    {0x010F: "Maker", 0x0110: "Model 1", 0x0112: 6},
    {0x9003: "2021:07:03 10:11:12", 0x9011: "+02:00", 0xA434: "50mm F1.8", 0x829A: IFDRational(1, 250), 0x9000: b"0230"},
    {1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 36.0), 6: 12.5},
)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_date_position_and_camera_of_a_photograph_are_read(file_format):
    found = metadata_of(PHOTOGRAPH.tobytes(), file_format)
    assert (found["width"], found["height"], found["camera"]) == (40, 80, "Maker Model 1")
    assert found["taken_at"] == datetime.datetime(2021, 7, 3, 8, 11, 12, tzinfo=UTC)
    assert (found["latitude"], found["longitude"]) == (pytest.approx(-33.5), pytest.approx(151.26))
    raw = {
        "Exif.Image.Make": "Maker",
        "Exif.Photo.LensModel": "50mm F1.8",
        "Exif.Photo.ExposureTime": pytest.approx(1 / 250),
        "Exif.Photo.ExifVersion": "0230",
        "Exif.GPSInfo.GPSLatitudeRef": "S",
        "Exif.GPSInfo.GPSLatitude": (33.0, 30.0, 0.0),
        "Exif.GPSInfo.GPSAltitude": 12.5,
    }
    assert {name: found[name] for name in raw} == raw


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_picture_without_exif_has_its_size_only(file_format):
    found = metadata_of(file_format=file_format)
    assert {name: value for name, value in found.items() if "." not in name} == {"width": 80, "height": 40}


def test_the_size_is_the_full_size_even_at_a_reduced_scale():
    picture = read_picture(encoded(with_tags({0x0112: 8}), size=(800, 400)), min_side=50)
    assert picture.image.size == (50, 100)
    assert (picture.metadata["width"], picture.metadata["height"]) == (400, 800)


@pytest.mark.parametrize(
    ("tag", "value", "name", "wanted"),
    [
        (0x9290, "12", "Exif.Photo.SubSecTime", "12"),
        (0xA002, 80, "Exif.Photo.PixelXDimension", 80),
        (0x9286, b"ASCII\0\0\0at the lake\0", "Exif.Photo.UserComment", "at the lake"),
        (0x9286, bytes(8) + "am See, schön".encode(), "Exif.Photo.UserComment", "am See, schön"),
        (0x9286, b"UNICODE\0\xff\xfe", "Exif.Photo.UserComment", None),
        (0x927C, b"\x01\x02\x03\x04\x05\x06", "Exif.Photo.MakerNote", None),
        (0x920A, IFDRational(5, 0), "Exif.Photo.FocalLength", None),
        (0xA432, (IFDRational(24), IFDRational(70), IFDRational(28, 10), IFDRational(4)), "Exif.Photo.LensSpecification", (24, 70, 2.8, 4)),
        (0xA432, (IFDRational(24), IFDRational(0, 0)), "Exif.Photo.LensSpecification", None),
        (0xEA7D, 7, "Exif.Photo.0xea7d", 7),
    ],
)
def test_raw_tags_have_exiv2_names_and_plain_values_or_are_left_out(tag, value, name, wanted):
    assert metadata_of(with_tags(photo={tag: value})).get(name) == wanted


@pytest.mark.parametrize(
    ("tag", "value", "name", "wanted"),
    [
        (0x010E, " a dog \0", "Exif.Image.ImageDescription", "a dog"),
        (0x010E, "  ", "Exif.Image.ImageDescription", None),
        (0x010E, "Café".encode(), "Exif.Image.ImageDescription", "Café"),
        (0x010E, b"Caf\xe9", "Exif.Image.ImageDescription", "Café"),
        (0x9C9B, "зима".encode("utf-16-le") + b"\0\0", "Exif.Image.XPTitle", "зима"),
        (0x9C9B, b"\x00\xd8\x00", "Exif.Image.XPTitle", None),
    ],
)
def test_text_is_read_in_all_common_encodings(tag, value, name, wanted):
    assert metadata_of(with_tags({tag: value})).get(name) == wanted


@pytest.mark.parametrize(
    ("taken", "offset", "wanted"),
    [
        ("2021:07:03 10:11:12", None, "2021-07-03T10:11:12+00:00"),
        ("2021:07:03 10:11:12\0", "-05:30", "2021-07-03T10:11:12-05:30"),
        ("2021:07:03 10:11:12", "   ", "2021-07-03T10:11:12+00:00"),  # EXIF 2.32 writes an unknown zone like this
        ("2021:07:03 10:11:12", "CEST", "2021-07-03T10:11:12+00:00"),
        ("0000:00:00 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("yesterday", None, None),
    ],
)
def test_a_time_without_a_zone_counts_as_utc_and_an_invalid_time_is_left_out(taken, offset, wanted):
    found = metadata_of(with_tags(photo={0x9003: taken} | ({} if offset is None else {0x9011: offset})))
    assert (found["taken_at"].isoformat() if "taken_at" in found else None) == wanted


@pytest.mark.parametrize(
    ("latitude", "wanted"),
    [
        ((33.0, 30.0, 0.0), 33.5),
        ((IFDRational(33, 1), IFDRational(0, 0), IFDRational(0, 0)), None),
        ((91.0, 0.0, 0.0), None),
        ((33.0, 30.0), None),
    ],
)
def test_impossible_coordinates_are_left_out(latitude, wanted):
    found = metadata_of(with_tags(gps={1: "n", 2: latitude}))
    assert found.get("latitude") == (wanted if wanted is None else pytest.approx(wanted))


def test_a_damaged_tag_and_a_damaged_group_do_not_hide_the_others():
    entries = struct.pack("<HHI4s", 0x0110, 2, 4, b"X-1\0") + struct.pack("<HHI4s", 0x011A, 2, 4, b"abc\0")
    entries += struct.pack("<HHII", EXIF, 4, 1, 0xFFFFFF) + struct.pack("<HHI4s", GPS, 2, 4, b"abc\0")  # an offset beyond the end, and text
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 4) + entries + bytes(4)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        found = metadata_of(block, "PNG")
    assert (found["camera"], found["width"], found["height"]) == ("X-1", 80, 40)
    assert "taken_at" not in found


@pytest.mark.parametrize("block", [b"garbage that is no EXIF", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_picture_with_invalid_exif_has_its_size(block):
    assert metadata_of(block, "WEBP") == {"width": 80, "height": 40}


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_the_size_of_a_tiff_that_pillow_rotates_is_upright(compression, orientation):
    picture = read_picture(encoded(with_tags({0x0112: orientation}).tobytes(), "TIFF", compression=compression))
    size = (40, 80) if orientation == 6 else (80, 40)
    assert (picture.image.size, picture.metadata["width"], picture.metadata["height"]) == (size, *size)


def test_an_orientation_in_xmp_rotates_the_size():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    picture = read_picture(encoded(xmp=xmp))
    assert (picture.image.size, picture.metadata["width"], picture.metadata["height"]) == ((40, 80), 40, 80)


def test_reading_a_picture_with_metadata_decodes_it_once(monkeypatch):
    decoded = []
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", lambda picture: decoded.append(picture))  # noqa: PLW0108
    assert metadata_of(file_format="PNG")["width"] == 80
    assert len(decoded) == 1


def test_date_and_camera_of_a_video_are_read():
    tags = {"creation_time": "2021-07-03T08:11:12.000000Z", "com.apple.quicktime.make": "Apple", "model": "Phone", "title": "At the lake"}
    found = video_metadata(tags | {"comment": ""}, width=64, height=48, duration_seconds=2.5)
    assert (found["width"], found["height"], found["duration_seconds"], found["camera"]) == (64, 48, 2.5, "Apple Phone")
    assert found["taken_at"] == datetime.datetime(2021, 7, 3, 8, 11, 12, tzinfo=UTC)
    assert found["QuickTime.title"] == "At the lake"
    assert found["QuickTime.com.apple.quicktime.make"] == "Apple"
    assert "QuickTime.comment" not in found


@pytest.mark.parametrize(("created", "wanted"), [("2021-07-03T08:11:12", "2021-07-03T08:11:12+00:00"), ("soon", None), ("", None)])
def test_the_time_of_a_video_without_a_zone_counts_as_utc(created, wanted):
    found = video_metadata({"creation_time": created}, width=1, height=1, duration_seconds=1.0)
    assert (found["taken_at"].isoformat() if "taken_at" in found else None) == wanted


def test_the_worker_process_passes_on_the_tags_of_a_file(tmp_path):
    from media import VideoDecoder

    plain, tagged = write_film(tmp_path / "plain.mp4", [("red", 1.0)]), tmp_path / "tagged.mp4"
    with av.open(str(plain)) as source, av.open(str(tagged), "w") as target:
        target.metadata.update(title="At the lake", creation_time="2021-07-03T08:11:12Z")
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with VideoDecoder() as decoder, decoder.open(tagged) as video:
        assert (video.metadata["QuickTime.title"], video.metadata["taken_at"].year) == ("At the lake", 2021)
        assert np.isclose(video.metadata["duration_seconds"], 1.0, atol=0.11)
