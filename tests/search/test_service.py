"""The service over real HTTP: answers, range requests, refusals, and no access outside the collection."""

import http.client
import io
import json
import math
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import httpx
import pytest
from PIL import Image

from indexer import index
from media.formats import format_of
from search import Hits, open_collection
from search.service import make_app
from tests.fakes import COLOURS, FakeEncoder, a_hit, write_film, write_picture
from tests.serving import serving

NUM_FILES = len(COLOURS) + 2
SECRET = b"not for the world"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a library, its collection, and a secret file that is not indexed."""
    folder = tmp_path_factory.mktemp("service")
    for number, colour in enumerate(COLOURS):
        write_picture(folder / "library" / f"{colour}.png", colour, size=(100 + number, 50))
    write_picture(folder / "library" / "rot & grün's.webp", "red", size=(64, 96))
    write_film(folder / "library" / "film.mp4", [("red", 3.0), ("blue", 3.0)])
    (folder / "secret.png").write_bytes(SECRET)
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    return folder


@pytest.fixture(scope="module")
def url(folder):
    with serving(make_app(open_collection(folder / "collection", encoder=FakeEncoder()))) as url:
        yield url


@pytest.fixture(scope="module")
def http_client():
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def ask(url, http_client):
    """Return a function that posts a search and returns its hits."""

    def ask(text, **more):
        answer = http_client.post(f"{url}/search", json={"text": text, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()["hits"]

    return ask


@pytest.fixture(scope="module")
def film(ask):
    return ask("blue", kinds=["shot"])[0]


def raw(url, target, method="GET", host=None):
    """Status and body of a request with an unchanged target. httpx would normalise the target."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest(method, target, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_the_media_and_the_thumbnail_of_each_hit_can_be_fetched(ask, http_client):
    hits = ask("red", k=100)
    assert len(hits) == NUM_FILES
    for hit in hits:
        media, thumbnail = http_client.get(hit["media_url"]), http_client.get(hit["thumbnail_url"])
        assert (media.status_code, thumbnail.status_code) == (200, 200)
        assert thumbnail.headers["content-type"] == "image/webp"
        assert Image.open(io.BytesIO(thumbnail.content)).format == "WEBP"


def test_a_video_hit_has_the_times_and_the_thumbnail_of_its_moment(film, http_client):
    assert film["start_seconds"] == pytest.approx(3.0, abs=0.7)
    assert film["start_seconds"] <= film["frame_seconds"] < film["end_seconds"]
    picture = Image.open(io.BytesIO(http_client.get(film["thumbnail_url"]).content)).convert("RGB")
    assert picture.getpixel((picture.width // 2, picture.height // 2)) == pytest.approx(COLOURS["blue"], abs=40)


def test_health_names_the_collection_and_counts_its_files(url, folder, http_client):
    health = http_client.get(f"{url}/healthz").json()
    assert health["collection"] == str((folder / "collection").resolve())
    assert (health["image"], health["shot"], health["clip"], health["failed"]) == (NUM_FILES - 1, 2, 1, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"text": ""}, "The query is empty"),
        ({"text": " \n"}, "The query is empty"),
        ({}, "Give text or vector"),
        ({"text": "red", "vector": [1.0]}, "Give text or vector, and not both"),
        ({"vector": [1.0, 2.0]}, "The vector cannot be used (shape (2,)"),
        ([], "request: Input should be a valid dictionary"),
        ({"text": 5}, "text: Input should be a valid string (5)"),
        ({"text": "x" * 20_000}, "text: String should have at most 10000 characters"),
        ({"text": "\ud800"}, "text: Input should be a valid string"),
        ({"text": "red", "k": 0}, "k is out of range (0). Allowed: 1 to 10000."),
        ({"text": "red", "k": 10_001}, "k is out of range (10001)"),
        ({"text": "red", "k": "many"}, "k: Input should be a valid integer"),
        ({"text": "red", "kinds": ["movie"]}, "kinds: Input should be 'image', 'shot' or 'clip' (movie)"),
        ({"text": "red", "where": "widht > 5"}, "The filter cannot be used"),
        ({"text": "red", "where": "width > 5 --"}, "The filter cannot be used"),
        ({"text": "red", "where": "true; DROP TABLE segments"}, "The filter cannot be used"),
        ({"text": "red", "where": "width > \ud800"}, "where: Input should be a valid string"),
        ({"text": "red", "filter": "width > 5"}, "filter: Extra inputs are not permitted"),
    ],
)
def test_a_bad_request_is_answered_with_a_short_reason(url, http_client, body, expected):
    answer = http_client.post(f"{url}/search", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert expected in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 1000


def test_a_body_that_is_not_json_is_refused(url, http_client):
    answer = http_client.post(f"{url}/search", content="{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"][:26]) == (422, "request: JSON decode error")


def test_filters_and_kinds_are_applied(ask):
    assert {hit["width"] for hit in ask("red", where="width >= 103 AND kind = 'image'")} == {103, 104, 105}
    assert [hit["kind"] for hit in ask("red", kinds=["clip"])] == ["clip"]
    assert ask("red", where="width > 100000") == []


@pytest.mark.parametrize(
    "where",
    [
        "array_length(array_repeat(1, 20000000000000)) > 0",
        "CAST(" * 47 + "true" + " AS boolean)" * 47,
        "1+" * 498 + "1>0",
        "(" * 400 + "true" + ")" * 400,
    ],
)
def test_a_filter_that_could_crash_or_freeze_the_service_is_refused(url, ask, http_client, where):
    answer = http_client.post(f"{url}/search", json={"text": "red", "where": where})
    assert answer.status_code == 422
    assert "The filter cannot be used" in answer.json()["detail"]
    assert len(ask("red", k=100)) == NUM_FILES


def test_a_long_filter_is_refused(url, http_client):
    longer = http_client.post(f"{url}/search", json={"text": "red", "where": "1+" * 120_000 + "1>0"})
    assert "where: String should have at most 200000 characters" in longer.json()["detail"]


def test_media_is_served_byte_for_byte_with_its_file_name(folder, ask, http_client):
    for hit in ask("red", k=100):
        answer = http_client.get(hit["media_url"])
        assert answer.content == (folder / "library" / hit["uri"].rsplit("/", 1)[-1]).read_bytes()
        assert answer.headers["accept-ranges"] == "bytes"
    webp = next(hit for hit in ask("red", k=100) if hit["uri"].endswith(".webp"))
    disposition = http_client.get(webp["media_url"]).headers["content-disposition"]
    assert disposition == f"inline; filename*=utf-8''{quote(webp['uri'].rsplit('/', 1)[-1])}"


@pytest.mark.parametrize(
    ("requested", "start", "stop"),
    [
        ("0-99", 0, 100),
        ("100-199", 100, 200),
        ("-50", -50, None),
        ("200-", 200, None),
        ("0-", 0, None),
        ("0-99999999", 0, None),
        ("5-5", 5, 6),
    ],
)
def test_a_byte_range_of_a_video_is_served(folder, film, http_client, requested, start, stop):
    whole = (folder / "library" / "film.mp4").read_bytes()
    first, end, _ = slice(start, stop).indices(len(whole))
    answer = http_client.get(film["media_url"], headers={"Range": f"bytes={requested}"})
    assert (answer.status_code, answer.content) == (206, whole[start:stop])
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{len(whole)}"
    assert answer.headers["content-length"] == str(end - first)
    assert answer.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize("requested", ["99999999-", "99999999-100000000", "-0"])
def test_a_byte_range_beyond_the_end_is_refused(folder, film, http_client, requested):
    answer = http_client.get(film["media_url"], headers={"Range": f"bytes={requested}"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{(folder / 'library' / 'film.mp4').stat().st_size}"


def test_head_gives_length_and_type_without_a_body(folder, film, http_client):
    answer = http_client.head(film["media_url"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str((folder / "library" / "film.mp4").stat().st_size)
    part = http_client.head(film["media_url"], headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"], part.content) == (206, "10", b"")
    assert http_client.head(film["thumbnail_url"]).headers["content-type"] == "image/webp"


def test_media_types_do_not_depend_on_the_machine(ask, http_client, monkeypatch):
    monkeypatch.setattr("mimetypes.guess_type", lambda *_: ("text/html", None))
    for hit in ask("red", k=100):
        answer = http_client.head(hit["media_url"])
        assert answer.headers["content-type"] == format_of(hit["uri"]).media_type
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """The hits of a motion photo, an animated picture, a drawing and a picture with a wrong suffix, by name and kind; and their bytes."""
    folder = tmp_path_factory.mktemp("rare")
    library = folder / "library"
    film = write_film(folder / "film.mp4", [("red", 2.0)]).read_bytes()
    photo = write_picture(library / "motion.jpg", "blue", size=(90, 60))
    photo.write_bytes(photo.read_bytes() + film)
    first, second = (Image.linear_gradient("L").rotate(angle) for angle in (0, 90))
    first.save(library / "moving.gif", save_all=True, append_images=[second], duration=500)
    (library / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    write_picture(library / "png.png", "green").rename(library / "png_called.jpg")
    index(library, collection=folder / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(folder / "collection", encoder=FakeEncoder()))) as url, httpx.Client(trust_env=False) as client:
        hits = {}
        for kind in ("image", "shot"):  # one hit of each file
            for hit in client.post(f"{url}/search", json={"text": "red", "k": 100, "kinds": [kind]}).json()["hits"]:
                hits[hit["uri"].rsplit("/", 1)[-1], kind] = hit
        yield hits, film, photo.read_bytes(), client


def test_the_film_of_a_motion_photo_can_be_played_from_any_byte(rare, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests use the common folder at the same time
    hits, film, photo, client = rare
    picture, shot = hits["motion.jpg", "image"], hits["motion.jpg", "shot"]
    assert shot["media_url"] == picture["media_url"] + "?part=film"
    assert client.get(picture["media_url"]).content == photo
    answer = client.get(shot["media_url"])
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, film, "video/mp4")
    part = client.get(shot["media_url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, film[100:200])
    assert part.headers["etag"] == answer.headers["etag"]
    assert client.get(shot["media_url"], headers={"Range": "bytes=99999999-"}).status_code == 416
    until = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < until:  # the copy is removed after the answer is sent
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_a_film_has_no_film_to_play(rare):
    hits, _, _, client = rare
    answer = client.get(hits["moving.gif", "shot"]["media_url"] + "?part=film")
    assert (answer.status_code, answer.json()["detail"]) == (404, "moving.gif holds no film.")
    assert client.get(hits["moving.gif", "shot"]["media_url"] + "?part=other").status_code == 422


def test_media_types_follow_the_bytes(rare):
    hits, _, _, client = rare
    types = {name: client.head(hit["media_url"]).headers["content-type"] for (name, _), hit in hits.items() if name != "motion.jpg"}
    assert types["png_called.jpg"] == "image/png"
    assert types["moving.gif"] == "image/gif"


def test_scripts_in_a_drawing_do_not_run(rare):
    hits, _, _, client = rare
    answer = client.get(hits["drawing.svg", "image"]["media_url"])
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"] == "script-src 'none'"


@pytest.mark.parametrize("media_id", ["1", "0", "-1", str(1 << 43), str(1 << 64), "9" * 1000])
@pytest.mark.parametrize("route", ["media", "thumbnail"])
def test_an_unknown_id_is_not_found(url, http_client, route, media_id):
    answer = http_client.get(f"{url}/{route}/{media_id}")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"No media {media_id} in this collection.")


@pytest.mark.parametrize("media_id", ["0 OR 1=1", "1) OR (1=1", "1; DROP TABLE segments", "1 UNION SELECT 1", "0x1", "1'--", "nan", "1.5"])
def test_an_id_that_is_not_a_number_is_refused(url, ask, http_client, media_id):
    answer = http_client.get(f"{url}/media/{quote(media_id, safe='')}")
    assert answer.status_code == 422
    assert "media_id: Input should be a valid integer" in answer.json()["detail"]
    assert len(ask("red", k=100)) == NUM_FILES


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e9", "x"])
def test_an_invalid_time_of_a_thumbnail_is_refused(film, http_client, seconds):
    address = film["thumbnail_url"].split("?")[0]
    assert http_client.get(address, params={"seconds": seconds}).status_code == 422


def test_a_time_without_a_thumbnail_is_not_found(film, http_client):
    address = film["thumbnail_url"].split("?")[0]
    answer = http_client.get(address, params={"seconds": "5.4321"})
    assert (answer.status_code, answer.json()["detail"][-18:]) == (404, "at 5.4321 seconds.")


@pytest.mark.parametrize(
    "target",
    [
        "/media/../secret.png",
        "/media/..%2fsecret.png",
        "/media/%2e%2e/%2e%2e/secret.png",
        "/media/%252e%252e%252fsecret.png",
        "/media/..\\..\\secret.png",
        "/media/{folder}/secret.png",
        "/media/{encoded}%2Fsecret.png",
        "/media/file:%2F%2F{encoded}%2Fsecret.png",
        "/media/1%00.png",
        "/media/",
        "/media",
        "//secret.png",
        "/../secret.png",
        "/thumbnail/..%2f..%2f..%2fsecret.png",
        "/thumbnail/../../collection.json",
        "/thumbnail/1?seconds=../../secret.png",
        "/collection.json",
        "/docs",
    ],
)
def test_nothing_outside_the_collection_can_be_reached(url, folder, target):
    status, body = raw(url, target.format(folder=folder, encoded=quote(str(folder), safe="")))
    assert status in (404, 422)
    assert SECRET not in body
    assert b"format_version" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8460", "127.0.0.1", "127.0.0.1:8460", "[::1]", "[::1]:8460"])
def test_local_host_names_are_answered(url, host):
    assert raw(url, "/healthz", host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8460", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]", "192.168.1.5", ""]
)
def test_a_foreign_host_name_is_refused(url, host):
    assert raw(url, "/healthz", host=host)[0] == 400
    assert raw(url, "/media/1", host=host)[0] == 400


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example", "https://localhost@evil.example"])
def test_a_foreign_origin_is_refused(url, http_client, origin):
    body = json.dumps({"text": "red"})
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        assert http_client.post(f"{url}/search", content=body, headers={"Origin": origin, **headers}).status_code == 403
    assert http_client.get(f"{url}/healthz", headers={"Origin": origin}).status_code == 403


def test_a_local_origin_is_answered_on_any_port(url, http_client):
    for origin in ("http://localhost:8501", "http://127.0.0.1", "https://[::1]:9"):
        assert http_client.get(f"{url}/healthz", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_a_body_that_needs_no_cors_preflight_is_refused(url, http_client, headers):
    answer = http_client.post(f"{url}/search", content=json.dumps({"text": "red"}).encode(), headers=headers)
    assert answer.status_code == 422


def test_additional_host_names_can_be_allowed(folder):
    collection = open_collection(folder / "collection", encoder=FakeEncoder())
    with serving(make_app(collection, hosts=("pictures.home", "fe80::1"))) as url:
        assert [raw(url, "/healthz", host=host)[0] for host in ("pictures.home:80", "[fe80::1]:80", "localhost")] == [200, 200, 400]


def test_addresses_use_the_host_name_of_the_request(url, http_client):
    for host in ("localhost:1234", "[::1]:1234"):
        hit = http_client.post(f"{url}/search", json={"text": "red"}, headers={"Host": host}).json()["hits"][0]
        assert hit["media_url"] == f"http://{host}/media/{hit['media_id']}"


def test_concurrent_searches_give_the_answers_of_serial_ones(ask):
    queries = [*COLOURS, "a dog", "a rocket", "two words"] * 5
    serial = [ask(query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, queries)) == serial


def test_a_running_service_sees_newly_indexed_files(tmp_path, http_client):
    write_picture(tmp_path / "library" / "red.png", "red")
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(tmp_path / "collection", encoder=FakeEncoder()))) as url, ThreadPoolExecutor(4) as pool:

        def names(_=None):
            answer = http_client.post(f"{url}/search", json={"text": "blue"})
            assert answer.status_code == 200, answer.text
            return sorted(hit["uri"].rsplit("/", 1)[-1] for hit in answer.json()["hits"])

        assert names() == ["red.png"]
        write_picture(tmp_path / "library" / "blue.png", "blue")
        meanwhile = pool.map(names, range(40))
        index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
        assert all(seen in (["red.png"], ["blue.png", "red.png"]) for seen in meanwhile)
        assert names() == ["blue.png", "red.png"]


def test_a_deleted_file_is_not_found_but_its_thumbnail_is(tmp_path, http_client):
    picture = write_picture(tmp_path / "library" / "red.png", "red")
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(tmp_path / "collection", encoder=FakeEncoder()))) as url:
        hit = http_client.post(f"{url}/search", json={"text": "red"}).json()["hits"][0]
        picture.unlink()
        answer = http_client.get(hit["media_url"])
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"The file of media {hit['media_id']} is no longer there. Index again."
        assert http_client.get(hit["thumbnail_url"]).status_code == 200  # the thumbnail is stored in the collection


def test_numbers_that_json_cannot_hold_become_null(url, http_client, monkeypatch):
    nan, inf = math.nan, math.inf
    hit = a_hit(uri="/a.mp4", kind="shot", similarity=nan, start_seconds=0.0, end_seconds=inf, frame_seconds=nan, duration_seconds=-inf)
    monkeypatch.setattr("search.service.answer", lambda *_, **__: Hits([hit]))
    text = http_client.post(f"{url}/search", json={"text": "red"}).text
    answer = json.loads(text, parse_constant=pytest.fail)["hits"][0]
    assert [answer[name] for name in ("similarity", "start_seconds", "end_seconds", "duration_seconds")] == [None, 0.0, None, None]
