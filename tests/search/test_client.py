"""The client with the real service, without a service, and with servers that give invalid answers."""

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI, Response
from typer.testing import CliRunner

from coca_search.cli import app
from indexer import index
from search import Hit, IncompatibleError, QueryError, open_collection, search
from search.client import Client
from search.errors import NoServiceError, ServiceError
from search.hits import RemoteHit
from search.service import make_app
from tests.fakes import FakeEncoder, write_film, write_picture
from tests.serving import free_port, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    for colour in ("red", "green", "blue"):
        write_picture(folder / "library" / f"{colour}.png", colour)
    write_film(folder / "library" / "film.mp4", [("black", 2.0), ("white", 2.0)])
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(folder / "collection", encoder=FakeEncoder()))) as url, Client(url + "/") as client:
        yield client


@pytest.fixture(scope="module")
def nonsense():
    """The URL of a server of another program."""
    app = FastAPI()
    app.get("/web/healthz")(lambda: Response("<h1>Welcome</h1>", media_type="text/html"))
    app.get("/list/healthz")(lambda: [1])
    app.get("/other/healthz")(lambda: {"status": "ok"})
    app.get("/moved/healthz")(lambda: Response(status_code=307, headers={"Location": "/web/healthz"}))
    app.get("/broken/healthz")(lambda: Response("Internal Server Error", 500))
    app.get("/busy/healthz")(lambda: Response('{"detail": "the collection is gone"}', 503, media_type="application/json"))
    app.get("/strict/healthz")(lambda: Response("no", 422))
    app.post("/old/search")(lambda: {"hits": [{"uri": "/a.png"}]})
    app.post("/odd/search")(lambda: {"hits": 5})
    with serving(app) as url:
        yield url


def test_hits_are_sorted_and_have_addresses(client):
    hits = client.search("green")
    assert isinstance(hits[0], RemoteHit)
    assert hits[0].uri.endswith("green.png")
    assert hits[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert hits[0].start_seconds is None
    assert hits[0].media_url.startswith(f"{client.url}/media/")
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)


def test_k_kinds_and_filters_are_passed_on(client):
    assert len(client.search("red", k=2)) == 2
    (shot,) = client.search("white", kinds=["shot"])
    assert shot.start_seconds == pytest.approx(2.0, abs=0.7)
    assert [hit.uri[-8:] for hit in client.search("red", where="uri LIKE '%blue%'")] == ["blue.png"]


def test_health_counts_the_files_of_the_collection(client):
    assert client.health()["image"] == 3


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        (" ", {}, "The query is empty. Type what you remember"),
        ("red", {"k": 0}, r"k is out of range \(0\)"),
        ("red", {"where": "nonsense > 1"}, "The filter cannot be used"),
        ("red", {"kinds": ["movie"]}, r"Unknown kind \(movie\)"),
        ("red \ud800", {}, r"The query is not text \('.ud800'\)"),
    ],
)
def test_a_bad_query_is_a_query_error_and_not_a_service_error(client, text, more, expected):
    with pytest.raises(QueryError, match=expected):
        client.search(text, **more)


def test_threads_may_share_a_client(client):
    with ThreadPoolExecutor(8) as pool:
        assert all(hits == client.search("red") for hits in pool.map(client.search, ["red"] * 40))


def test_a_missing_service_is_reported_with_its_address_and_how_to_start_it():
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(NoServiceError, match=f"{url}: no answer .*refused.*coca-search serve"):
        client.health()


@pytest.mark.parametrize("url", ["127.0.0.1:8460", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:99999999", ""])
def test_an_invalid_address_is_a_service_error(url):
    with Client(url) as client, pytest.raises(ServiceError, match="no answer"):
        client.health()


def test_a_service_that_does_not_answer_in_time_is_a_service_error():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout_seconds=0.2) as client, pytest.raises(ServiceError, match=r"no answer .*timed out"):
            client.health()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("web", "not an answer of coca-search .*Welcome"),
        ("list", "not an answer of coca-search"),
        ("other", "the program that answers there is not coca-search"),
        ("moved", "307"),
        ("broken", "500 Internal Server Error"),
        ("busy", "503 the collection is gone"),
        ("strict", "422 no"),
        ("missing", "404 Not Found"),
    ],
)
def test_another_server_or_a_failing_one_is_a_service_error(nonsense, path, expected):
    with Client(f"{nonsense}/{path}") as client, pytest.raises(ServiceError, match=expected):
        client.health()


@pytest.mark.parametrize("path", ["old", "odd"])
def test_hits_of_another_version_are_a_service_error(nonsense, path):
    with Client(f"{nonsense}/{path}") as client, pytest.raises(ServiceError, match="same version"):
        client.search("red")


@pytest.mark.parametrize("module", ["search.client", "search.errors", "ui", "ui.page", "ui.cli"])
def test_the_client_and_the_page_do_not_import_the_engine(module):
    heavy = "{'torch', 'faiss', 'lancedb', 'decord', 'av', 'fastapi'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("serves_it", [True, False])
def test_the_command_line_asks_a_service_if_the_model_needs_torch(client, tmp_path, monkeypatch, serves_it):
    collection = client.health()["collection"]
    other = tmp_path / "other"
    index(write_picture(tmp_path / "red.png", "red"), collection=other, encoder=FakeEncoder())
    monkeypatch.setattr("coca_model.text_encoder.needs_torch", lambda model: True)
    monkeypatch.setattr("search.client.Client", lambda: Client(client.url))
    asked = CliRunner().invoke(app, ["search", "green", "-c", collection if serves_it else str(other), "--json"])
    if serves_it:
        hits = [json.loads(line) for line in asked.stdout.splitlines()]
        assert hits[0]["uri"].endswith("green.png")
        assert hits[0].keys() == Hit.to_wire(search(FakeEncoder().encode_texts(["red"])[0], collection=collection)[0]).keys()
    else:
        assert isinstance(asked.exception, IncompatibleError)  # the model is loaded here, and is not that of the fakes
