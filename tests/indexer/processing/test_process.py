"""Processing one file into rows, without an executor or a collection."""

import errno
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from indexer.plan import Task
from indexer.processing import process as process_module
from indexer.processing.process import ProcessOptions
from indexer.processing.process import process as steps_of
from media import VideoDecoder
from media.hashing import sha256_of_file
from media.sources.source import SourceFile
from search.collection import Failure, FileRows
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture


@pytest.fixture
def options():
    encoder = FakeEncoder()
    with VideoDecoder() as videos:
        yield ProcessOptions(encoder.preprocess, videos, encoder.min_side)


def process(task, options):
    """Run a file alone."""
    steps = steps_of(task, options)
    try:
        step = next(steps)
        while True:
            step = steps.send(FakeEncoder().encode_pixels(step.pixels))
    except StopIteration as end:
        return end.value


def task(path):
    status = path.stat()
    return Task(5, "root", path.name, SourceFile(str(path), status.st_size, status.st_mtime))


def test_a_picture_gives_one_segment_with_columns_and_thumbnail(tmp_path, options):
    path = write_picture(tmp_path / "a.png", "red", size=(90, 60))
    rows = process(task(path), options)
    assert isinstance(rows, FileRows)
    assert (rows.file.media_id, rows.file.path, rows.file.width, rows.file.height) == (5, "a.png", 90, 60)
    assert rows.file.sha256 == sha256_of_file(path)
    (segment,) = rows.segments
    np.testing.assert_allclose(segment.vector, FakeEncoder().encode_texts(["red"])[0], atol=1e-6)
    assert [seconds for seconds, webp in rows.thumbnails.items() if webp[8:12] == b"WEBP"] == [None]


def test_a_video_gives_a_clip_and_shots_with_a_thumbnail_for_each(tmp_path, options):
    rows = process(task(write_film(tmp_path / "a.mp4", [("red", 3.0), ("green", 20.0), ("blue", 3.0)])), options)
    assert [segment.kind for segment in rows.segments] == ["clip", "shot", "shot", "shot"]
    assert set(rows.thumbnails) == {segment.frame_seconds for segment in rows.segments}
    assert rows.file.duration_seconds == pytest.approx(26.0, abs=0.2)


@pytest.mark.parametrize(("name", "stage"), [("a.jpg", "decode"), ("a.mp4", "probe")])
def test_a_broken_file_gives_a_failure(tmp_path, options, name, stage):
    (tmp_path / name).write_bytes(b"not a picture and not a film")
    failure = process(task(tmp_path / name), options)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.uri, failure.path) == (stage, str(tmp_path / name), name)


@pytest.mark.parametrize("name", ["a.jpg", "a.mp4"])
def test_a_deleted_file_gives_a_failure(tmp_path, options, name):
    (tmp_path / name).write_bytes(b"x")
    gone = task(tmp_path / name)
    (tmp_path / name).unlink()
    failure = process(gone, options)
    assert (failure.stage, failure.reason) == ("read", "No such file or directory")


def animated(path, colours, size=(96, 64)):
    """An animated GIF; each frame of 100 ms has a white corner, so that none is blank."""
    frames = []
    for colour in colours:
        frames.append(Image.new("RGB", size, COLOURS[colour]))
        frames[-1].paste("white", (0, 0, 8, 8))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    return path


def motion_photo(path, film):
    """A JPEG of noise with a film behind it."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path)
    with path.open("ab") as file:
        file.write(film)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.jpg"])
def test_an_animated_picture_is_a_film_whatever_its_suffix(tmp_path, options, name):
    animated(tmp_path / "b.gif", ["red"] * 20 + ["blue"] * 20).rename(tmp_path / name)
    rows = process(task(tmp_path / name), options)
    assert {segment.kind for segment in rows.segments} == {"clip", "shot"}
    assert (rows.file.format, rows.file.duration_seconds, rows.file.perceptual_hash) == ("GIF", pytest.approx(4.0), None)
    assert set(rows.thumbnails) == {segment.frame_seconds for segment in rows.segments}


def test_a_motion_photo_gives_its_picture_and_its_film(tmp_path, options):
    film = write_film(tmp_path / "a.mp4", [("red", 2.0)]).read_bytes()
    rows = process(task(motion_photo(tmp_path / "a.jpg", film)), options)
    assert [segment.kind for segment in rows.segments] == ["image", "clip", "shot"]
    assert (rows.file.format, rows.file.width, rows.file.height) == ("JPEG", 90, 60)
    assert rows.file.duration_seconds == pytest.approx(2.0, abs=0.2)
    assert set(rows.thumbnails) == {segment.frame_seconds for segment in rows.segments}
    assert None in rows.thumbnails
    assert rows.file.damaged is None


def test_a_motion_photo_keeps_its_picture_if_the_film_cannot_be_read(tmp_path, options):
    film = write_film(tmp_path / "a.mp4", [("red", 2.0)]).read_bytes()
    broken = film.replace(b"stsd", b"free")
    rows = process(task(motion_photo(tmp_path / "a.jpg", broken)), options)
    assert ([segment.kind for segment in rows.segments], rows.file.damaged) == (["image"], True)


def test_a_picture_that_lacks_bytes_is_marked(tmp_path, options):
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(whole)
    cut.write_bytes(whole.read_bytes()[:-2000])
    assert [process(task(path), options).file.damaged for path in (whole, cut)] == [None, True]


def test_a_large_picture_is_not_read_into_memory_at_once(tmp_path, options, monkeypatch):
    monkeypatch.setattr(process_module, "_BYTES_AT_ONCE", 1000)
    path = write_picture(tmp_path / "a.tif", "red", size=(90, 60))
    rows = process(task(path), options)
    assert (rows.file.format, rows.file.sha256) == ("TIFF", sha256_of_file(path))


def test_a_large_picture_elsewhere_is_copied_before_it_is_decoded(tmp_path, options, monkeypatch):
    monkeypatch.setattr(process_module, "_BYTES_AT_ONCE", 1000)
    monkeypatch.setattr(process_module, "is_address", lambda uri: True)
    path = write_picture(tmp_path / "a.tif", "red", size=(90, 60))

    class CutOff(io.FileIO):
        def read(self, size=-1):
            if size > 0 and self.tell() + size > 4096:
                raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            return super().read(size)

    assert process(task(path), options).file.sha256 == sha256_of_file(path)
    cut_off = replace(options, open=CutOff)
    assert process(task(path), cut_off) == task(path).failure("read", "Connection reset by peer")


def test_a_time_that_cannot_be_true_is_noted(tmp_path, options):
    exif = Image.Exif()
    exif[306] = "9999:99:99 99:99:99"
    file = process(task(write_picture(tmp_path / "a.jpg", "red", exif=exif)), options).file
    assert file.taken_at_source == "file time"
    assert file.notes == ("Exif.Image.DateTime has no possible time ('9999:99:99 99:99:99'). It was ignored.",)


def test_sidecars_and_the_name_are_passed_to_the_metadata(tmp_path, options, monkeypatch):
    path = write_picture(tmp_path / "a b.jpg", "red")
    sidecar = tmp_path / "a b.jpg.xmp"
    sidecar.write_bytes(b"<x/>")
    passed = {}
    monkeypatch.setattr(process_module, "file_metadata", lambda embedded, **more: passed.update(more) or {**embedded, "camera": "Beside"})
    missing = str(tmp_path / "gone.json")
    file = SourceFile(str(path), 1, 12.0, sidecars=(str(sidecar), missing))
    rows = process(Task(5, "root", path.name, file), options)
    assert passed == {"name": "a b.jpg", "mtime": 12.0, "sidecars": {str(sidecar): b"<x/>"}}
    assert rows.file.camera == "Beside"
