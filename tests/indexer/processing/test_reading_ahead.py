"""Pictures that are elsewhere are opened before they are needed; nothing else is, and nothing stays open."""

import io
import threading

import pytest

from indexer.plan import Task
from indexer.processing import reading_ahead
from indexer.processing.reading_ahead import ReadingAhead
from media.sources.source import SourceFile


class Source:
    def __init__(self):
        self.opened, self.is_open = {}, threading.Event()

    def open(self, uri):
        if "broken" in uri:
            raise PermissionError(13, "No permission", uri)
        self.opened[uri] = io.BytesIO(uri.encode())
        self.is_open.set()
        return self.opened[uri]


@pytest.fixture
def source(monkeypatch):
    source = Source()
    monkeypatch.setattr(reading_ahead, "source_of", lambda uri: source)
    return source


def tasks(*uris):
    return [Task(number, "", uri, SourceFile(uri, 1, 0.0)) for number, uri in enumerate(uris)]


def test_the_next_pictures_elsewhere_are_opened_and_the_order_stays(source):
    given = tasks(*(f"s3://b/{number}.jpg" for number in range(40)))
    ahead = ReadingAhead()
    taken = ahead.tasks(given)
    first = next(taken)
    assert source.is_open.wait(timeout=20)
    assert ahead.open(first.file.uri).read() == b"s3://b/0.jpg"
    assert [first, *taken] == given
    ahead.close()
    assert set(source.opened) <= {task.file.uri for task in given}
    assert all(file.closed for uri, file in source.opened.items() if uri != first.file.uri)


def test_files_of_this_machine_and_films_are_opened_when_they_are_needed(source):
    ahead = ReadingAhead()
    assert len(list(ahead.tasks(tasks("/a.jpg", "s3://b/film.mp4", "s3://b/nameless")))) == 3
    assert source.opened == {}
    assert ahead.open("/a.jpg").read() == b"/a.jpg"
    ahead.close()


def test_a_fault_comes_when_the_file_is_asked_for(source):
    ahead = ReadingAhead()
    assert len(list(ahead.tasks(tasks("s3://b/broken.jpg", "s3://b/other-broken.jpg")))) == 2
    with pytest.raises(PermissionError, match="No permission"):
        ahead.open("s3://b/broken.jpg")
    ahead.close()
