"""Processing one file into rows, without an executor or a collection."""

import numpy as np
import pytest

from indexer.plan import Task
from indexer.processing.process import ProcessOptions
from indexer.processing.process import process as steps_of
from media import VideoDecoder
from media.hashing import sha256_of_file
from media.sources.source import SourceFile
from search.collection import Failure, FileRows
from tests.fakes import FakeEncoder, write_film, write_picture


@pytest.fixture
def options():
    encoder = FakeEncoder()
    with VideoDecoder() as videos:
        yield ProcessOptions(encoder.preprocess, videos, encoder.min_side)


def process(task, options):
    """Run a file alone."""
    steps = steps_of(task, options)
    try:
        pixels = next(steps)
        while True:
            pixels = steps.send(FakeEncoder().encode_pixels(pixels))
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
