"""The telemetry of a GoPro: entries as its format describes them, checked by hand against ExifTool on GoPro's own sample films."""

import datetime
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from media.metadata import file_metadata
from media.video import VideoDecoder
from media.video.reading.gpmf import telemetry_tags

SCALES = struct.pack(">5i", 10_000_000, 10_000_000, 1000, 1000, 100)
SCALES_9 = struct.pack(">9i", 10_000_000, 10_000_000, 1000, 1000, 100, 1, 1000, 100, 1)
PLACE = {"gpmf.location": "+33.1267700-117.3273436/", "gpmf.time": "2019-11-18 23:45:14"}


def entry(name, kind, size, content):
    head = struct.pack(">4sBBH", name, kind if isinstance(kind, int) else ord(kind), size, len(content) // size)
    return head + content + bytes(-len(content) % 4)


def nested(name, *entries):
    return entry(name, 0, 1, b"".join(entries))


def gps5(fix=3, dilution=154, time=b"191118234514.000", latitude=331267700, longitude=-1173273436):
    return nested(
        b"STRM",
        entry(b"GPSF", "L", 4, struct.pack(">I", fix)),
        entry(b"GPSU", "U", 16, time),
        entry(b"GPSP", "S", 2, struct.pack(">H", dilution)),
        entry(b"SCAL", "l", 4, SCALES),
        entry(b"GPS5", "l", 20, struct.pack(">5i", latitude, longitude, -22959, 1046, 100) * 18),
    )


def gps9(fix=3):
    values = struct.pack(">7iHH", 331267700, -1173273436, 0, 0, 0, 7261, 85_514_000, 154, fix)
    return nested(b"STRM", entry(b"TYPE", "c", 1, b"lllllllSS"), entry(b"SCAL", "l", 4, SCALES_9), entry(b"GPS9", "?", 32, values * 10))


def device(*streams, name=b"GoPro Max"):
    return nested(b"DEVC", entry(b"DVID", "L", 4, bytes(4)), entry(b"DVNM", "c", 1, name), *streams)


@pytest.mark.parametrize(
    ("payload", "tags"),
    [
        (device(nested(b"STRM", entry(b"ACCL", "s", 6, bytes(60))), gps5()), PLACE | {"gpmf.camera": "GoPro Max"}),
        (device(gps9(), name=b"Hero11 Black"), PLACE | {"gpmf.camera": "GoPro Hero11 Black"}),
        (device(gps5(), name=b"Camera"), PLACE),
        (device(gps5(fix=0)), {}),
        (device(gps9(fix=0)), {}),
        (device(gps5(dilution=9999)), {}),
        (device(gps5(time=b"not a time at al")), {}),
        (device(), {}),
        (b"", {}),
    ],
)
def test_the_first_position_with_a_fix_is_read(payload, tags):
    assert telemetry_tags(payload) == tags


def test_damaged_telemetry_gives_nothing_or_what_is_whole():
    whole = device(gps5())
    for length in range(0, len(whole), 5):
        assert telemetry_tags(whole[:length]) in ({}, PLACE, PLACE | {"gpmf.camera": "GoPro Max"})
        telemetry_tags(whole[:length] + b"\xff" * 9 + whole[length + 9 :])


def write_gopro(path, payloads):
    """A film of two seconds by a camera whose clock shows the time at the Pacific, written as if it were UTC."""
    with av.open(str(path), "w") as container:
        container.metadata["creation_time"] = "2019-11-18T15:45:32Z"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["handler_name"] = "\tGoPro AVC"
        telemetry = container.add_data_stream("bin_data")
        telemetry.metadata["handler_name"] = "\tGoPro MET"
        telemetry.time_base = Fraction(1, 1000)
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for number, payload in enumerate(payloads):
            packet = av.Packet(payload)
            packet.stream, packet.time_base, packet.duration = telemetry, Fraction(1, 1000), 1000
            packet.pts = packet.dts = 1000 * number
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("payloads", "taken_at", "offset", "place", "camera"),
    [
        ([device(gps5(fix=0)), device(gps5())], (2019, 11, 18, 23, 45, 32), -480, "Carlsbad, California, United States", "GoPro Max"),
        ([device(gps5(fix=0))], (2019, 11, 18, 15, 45, 32), None, None, None),
    ],
)
def test_a_film_of_a_gopro_has_local_time_and_its_position_tells_the_zone(tmp_path, payloads, taken_at, offset, place, camera):
    with VideoDecoder() as decoder, decoder.open(str(write_gopro(tmp_path / "GX010001.MP4", payloads))) as video:
        assert len(list(video.frames)) >= 2
    found = file_metadata(video.metadata, name="GX010001.MP4", mtime=1.7e9, sidecars={})
    assert found["taken_local"] == datetime.datetime(2019, 11, 18, 15, 45, 32)
    assert found["taken_at"] == datetime.datetime(*taken_at, tzinfo=datetime.UTC)
    assert (found.get("utc_offset_minutes"), found.get("place"), found.get("camera")) == (offset, place, camera)
    assert (found["width"], found["duration_seconds"]) == (64, pytest.approx(2.0, abs=0.1))
