"""Files whose names are not valid UTF-8: found, shown, served and repaired like others."""

import json
import os
import shutil
import sys

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from coca_search.cli import app
from indexer import IndexOptions, index
from search import open_collection, search
from search.collection.verify import verify
from search.service import make_app
from tests.fakes import FakeEncoder, write_film, write_picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")


@pytest.fixture
def library(tmp_path):
    folder = os.fsencode(tmp_path / "library") + b" \xff"
    picture = write_picture(tmp_path / "red.png", "red")
    film = write_film(tmp_path / "film.mp4", [("green", 3.0)])
    os.makedirs(folder + b"/\xe9t\xe9")
    os.rename(picture, folder + b"/\xe9t\xe9/red \xf6.png")
    os.rename(film, folder + b"/\xe9t\xe9/film \xf6.mp4")
    report = index([os.fsdecode(folder)], collection=tmp_path / "c", encoder=FakeEncoder(), options=IndexOptions(settle_seconds=0))
    assert (report.num_new, report.failures) == (2, ())
    return os.fsdecode(folder)


@pytest.fixture
def collection(tmp_path, library):
    return open_collection(tmp_path / "c", encoder=FakeEncoder())


def test_hits_lead_to_the_files(collection, library):
    hits = search("red", collection=collection, k=1)
    assert hits[0].uri == f"{library}/\udce9t\udce9/red \udcf6.png"
    assert os.path.exists(hits[0].uri)
    assert hits.to_arrow()["uri"].to_pylist()[0].endswith("red \ueff6.png")


def test_filters_find_them(collection, library):
    assert len(search("red", collection=collection, where="uri LIKE '%/library %.png'")) == 1
    assert len(search("red", collection=collection, where="path = '\uefe9t\uefe9/red \ueff6.png'")) == 1
    assert len(search("red", collection=collection, where="path = '\udce9t\udce9/red \udcf6.png'")) == 1  # as typed in a terminal
    assert len(search("red", collection=collection, where="path LIKE '_t_/red _.png'")) == 1
    assert len(search("red", collection=collection, where="path LIKE '_t_/red _.png'")) == 1
    (hit,) = search("red", collection=collection, k=1)
    assert [each.uri for each in search("red", collection=collection, where=f"uri = '{hit.uri}'")] == [hit.uri]


def test_the_service_answers_and_sends_them(collection, library):
    client = TestClient(make_app(collection, hosts=("testserver",)))
    (hit,) = client.post("/search", json={"text": "red", "k": 1}).json()["hits"]
    assert (hit["uri"].endswith("red \ueff6.png"), hit["file"]) == (True, "unchanged")
    with open(f"{library}/\udce9t\udce9/red \udcf6.png", "rb") as file:
        assert client.get(hit["media_url"]).content == file.read()
    assert client.get(hit["thumbnail_url"]).status_code == 200


def test_the_command_line_lists_them_as_json_and_as_the_bytes_they_are(collection):
    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "-c", str(collection.path)])

    rows = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert {os.path.basename(row["uri"]) for row in rows} == {"red \ueff6.png", "film \ueff6.mp4"}
    assert json.loads(run("roots", "--json").stdout)["path"].endswith("library \uefff")


def test_their_thumbnails_are_repaired(collection):
    shutil.rmtree(collection.path / "thumbnails")
    assert verify(collection.path, repair=True).problems == []
