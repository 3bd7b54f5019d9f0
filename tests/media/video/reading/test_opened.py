"""Which stream of a film is read, and parts of files."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from media.errors import MediaError
from media.video.film import read_film
from media.video.messages import Request
from media.video.reading.opened import opened, video_stream
from media.video.reading.part_of_file import PartOfFile
from tests.clock_films import write_clock
from tests.media.metadata.builders import xmp, xmp_list


def write(path, *streams, cover=False):
    """A film with several streams of pictures: (width, number of frames, disposition). A cover is larger than they are."""
    with av.open(str(path), "w") as container:
        made = []
        if cover:
            picture = io.BytesIO()
            Image.new("RGB", (500, 500)).save(picture, "JPEG")
            container.add_attachment("cover.jpg", "image/jpeg", picture.getvalue())
        for width, count, disposition in streams:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuvj420p"
            stream.disposition = disposition
            made.append((stream, count))
        for stream, count in made:
            for number in range(count):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, stream.width, 3), np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(frame.reformat(format="yuvj420p")))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("streams", "width"),
    [
        ([(64, 20, 0), (128, 20, 0)], 128),
        ([(64, 20, Disposition.default), (128, 20, 0)], 64),
    ],
)
def test_the_stream_that_a_player_shows_is_read(tmp_path, streams, width):
    with opened(str(write(tmp_path / "film.mkv", *streams))) as container:
        assert video_stream(container).codec_context.width == width


def test_a_stream_of_many_frames_is_preferred_to_a_single_picture(tmp_path):
    with opened(str(write(tmp_path / "film.mov", (128, 1, 0), (64, 20, 0)))) as container:
        assert video_stream(container).codec_context.width == 64


def test_a_cover_is_not_read(tmp_path):
    film = write(tmp_path / "film.mkv", (64, 20, 0), cover=True)
    with opened(str(film)) as container:
        assert len(container.streams.video) == 2
        assert video_stream(container).codec_context.width == 64


def test_tags_that_are_not_utf_8_do_not_hide_the_film(tmp_path):
    film = write_clock(tmp_path / "film.avi", "mpeg4", frames=5)
    with av.open(str(film)) as old, av.open(str(tmp_path / "tagged.avi"), "w") as new:
        new.metadata["title"] = "vXdeo"
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    film.write_bytes((tmp_path / "tagged.avi").read_bytes().replace(b"vXdeo", b"v\xeddeo"))
    with opened(str(film)) as container:
        assert container.metadata["title"] == "v\udceddeo"


def test_a_missing_file_is_an_error_without_its_name():
    with pytest.raises(MediaError, match=r"^not a video that can be read \(No such file or directory\)$"), opened("/no/film.mp4"):
        pass


def test_a_part_of_a_file_reads_seeks_and_ends_like_a_file():
    part = PartOfFile(io.BytesIO(b"0123456789"), 2, 5)
    assert (part.read(2), part.tell(), part.read(), part.read()) == (b"23", 2, b"456", b"")
    assert (part.seek(-1, io.SEEK_END), part.read(9)) == (4, b"6")
    assert (part.seek(1), part.seek(1, io.SEEK_CUR), part.read(1)) == (1, 2, b"4")


@pytest.mark.parametrize(("start", "length", "wanted"), [(0, None, b"0123"), (3, None, b"3"), (9, None, b""), (1, 99, b"123"), (2, 0, b"")])
def test_a_part_never_reaches_beyond_its_file(start, length, wanted):
    assert PartOfFile(io.BytesIO(b"0123"), start, length).read() == wanted


def test_the_xmp_of_a_film_is_read(tmp_path):
    film = write_clock(tmp_path / "film.mp4", frames=3)
    packet = xmp('exif:DateTimeOriginal="2019-07-04T12:34:56+13:00" xmp:Rating="4"', xmp_list("dc:subject", "lake"))
    content = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet  # where ExifTool and Premiere write it
    film.write_bytes(film.read_bytes() + (8 + len(content)).to_bytes(4, "big") + b"uuid" + content)
    found = next(read_film(Request(str(film))))
    assert (found["rating"], found["keywords"], found["utc_offset_minutes"]) == (4, ("lake",), 780)


@pytest.mark.parametrize("in_file", [False, True])
def test_the_date_of_windows_media_is_read(tmp_path, in_file):
    film = write_clock(tmp_path / "film.wmv", "wmv2", frames=30)
    data = bytearray(film.read_bytes())
    at = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 48
    data[at : at + 8] = (132_067_172_960_000_000).to_bytes(8, "little")  # 2019-07-04 12:34:56
    film.write_bytes(b"x" * 10 + data if in_file else data)
    metadata, *frames, _ = read_film(Request(str(film), start=10 if in_file else 0))
    assert (metadata["taken_at_source"], str(metadata["taken_at"])) == ("QuickTime.creation_time", "2019-07-04 12:34:56+00:00")
    assert len(frames) >= 10
