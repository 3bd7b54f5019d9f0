"""`index()` over a bucket: versions, faults, secrets, and the service that shows its files."""

import io
import os

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from indexer import IndexOptions, index
from search import open_collection, search
from search.collection.roots import move_root
from search.collection.verify import verify
from search.service import make_app
from tests.bucket_server import SECRET
from tests.fakes import COLOURS, FakeEncoder, rows_of
from tests.serving import serving


def picture(colour, size=(96, 64)):
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def run(tmp_path, bucket):
    def run(*keys, **options):
        paths = [bucket.uri(key) for key in keys or [""]]
        return index(paths, collection=tmp_path / "c", encoder=FakeEncoder(), options=IndexOptions(workers=2, **options))

    return run


@pytest.fixture
def library(bucket):
    for key, colour in {"p/red.png": "red", "p/x y/blue #1?.png": "blue", "p//green.png": "green", "q/white.png": "white"}.items():
        bucket.put(key, picture(colour))
    return bucket


def opened(tmp_path):
    return open_collection(tmp_path / "c", encoder=FakeEncoder())


def uris(tmp_path):
    return {row["uri"] for row in rows_of(opened(tmp_path))}


def counts(report):
    return {name: value for name in ("new", "changed", "moved", "gone", "unchanged") if (value := getattr(report, f"num_{name}"))}


def test_a_bucket_is_indexed_once_and_then_only_listed(tmp_path, library, run):
    assert counts(run()) == {"new": 4}
    assert uris(tmp_path) == {library.uri(key) for key in library.all_keys()}
    (row,) = rows_of(opened(tmp_path), ["uri", "revision", "size_bytes"], f"uri = '{library.uri('p//green.png')}'")
    head = library.client.head_object(Bucket=library.name, Key="p//green.png")
    assert (row["revision"], row["size_bytes"]) == (head["ETag"].strip('"'), head["ContentLength"])
    assert search("green", collection=opened(tmp_path), k=1)[0].uri == library.uri("p//green.png")
    library.traffic.reset()
    assert counts(run()) == {"unchanged": 4}
    assert library.traffic.of("GET", ".png") == library.traffic.of("HEAD") == []


def test_changes_are_told_by_the_etag_and_moves_by_the_bytes(tmp_path, library, run):
    run()
    library.put("p/red.png", picture("yellow"))  # as long, and in the same second
    library.put("q/moved.png", library.get("q/white.png"))
    library.delete("q/white.png")
    library.delete("p//green.png")
    assert counts(run()) == {"changed": 1, "moved": 1, "gone": 1, "unchanged": 1}
    assert search("yellow", collection=opened(tmp_path), k=1)[0].uri == library.uri("p/red.png")


def test_the_same_bytes_put_again_are_not_embedded_again(tmp_path, library, run):
    run()
    (row,) = rows_of(opened(tmp_path), ["media_id", "indexed_at"], "path = 'p/red.png'")
    library.put("p/red.png", picture("red"))
    assert counts(run()) == {"unchanged": 4}
    assert rows_of(opened(tmp_path), ["media_id", "indexed_at"], "path = 'p/red.png'") == [row]


def test_faults_in_the_middle_of_a_run_are_retried_or_named_and_tried_by_the_next(tmp_path, library, run):
    library.traffic.fault("GET", "red.png", times=2, status=503, code="SlowDown")
    library.traffic.fault("GET", "blue", times=2, keep=20)
    library.traffic.fault("GET", "green", times=5, status=503, code="SlowDown")
    library.traffic.fault("GET", "white", times=1, status=403, code="AccessDenied")
    report = run()
    assert counts(report) == {"new": 4}
    reasons = {os.path.basename(failure.uri): failure.reason for failure in report.failures}
    assert reasons == {
        "green.png": "No complete answer in 5 attempts (SlowDown). Run the command again later",
        "white.png": "No permission (AccessDenied). Check what the credentials allow",
    }
    assert counts(run()) == {"new": 2, "unchanged": 2}
    assert len(uris(tmp_path)) == 4


def test_a_picture_that_is_replaced_or_removed_meanwhile_is_left_for_the_next_run(tmp_path, library, run):
    library.traffic.fault("GET", "red.png", before=lambda: library.put("p/red.png", picture("black")))
    library.traffic.fault("GET", "white.png", before=lambda: library.delete("q/white.png"))
    report = run()
    assert sorted(report.unfinished) == [library.uri("p/red.png"), library.uri("q/white.png")]
    assert report.failures == ()
    assert counts(run()) == {"new": 1, "unchanged": 2}
    assert search("black", collection=opened(tmp_path), k=1)[0].uri == library.uri("p/red.png")
    assert opened(tmp_path).counts()["failed"] == 0


def test_rows_below_a_prefix_that_cannot_be_listed_stay(tmp_path, library, run):
    run()
    library.traffic.fault("GET", "prefix=p/x y/", times=9, status=403, code="AccessDenied")
    library.delete("q/white.png")
    assert counts(run()) == {"gone": 1, "unchanged": 2}
    assert library.uri("p/x y/blue #1?.png") in uris(tmp_path)


def test_an_unreachable_bucket_changes_nothing(tmp_path, library, run):
    run()
    library.traffic.fault("GET", "", times=99, status=503, code="SlowDown")
    report = run()
    assert (counts(report), report.is_complete) == ({}, False)
    assert "No complete answer in 5 attempts (SlowDown)" in next(iter(report.unreadable.values()))
    library.traffic.reset()
    assert len(uris(tmp_path)) == 4


def test_no_secret_is_stored_or_shown(tmp_path, library, run, caplog):
    library.traffic.fault("GET", "red.png", times=9, status=403, code="SignatureDoesNotMatch")
    report = run()
    stored = b"".join(file.read_bytes() for file in (tmp_path / "c").rglob("*") if file.is_file())
    for secret in (SECRET, "AKIDTEST"):
        assert secret.encode() not in stored
        assert secret not in caplog.text + repr(report)
    with pytest.raises(OSError, match="address holds a name or password"):
        index(f"s3://AKID:{SECRET}@bucket/x", collection=tmp_path / "d", encoder=FakeEncoder())
    assert not (tmp_path / "d").exists()


def test_the_service_streams_files_of_a_bucket_by_ranges(tmp_path, library, run):
    run()
    data = picture("red")
    with serving(make_app(opened(tmp_path))) as url, httpx.Client(trust_env=False) as client:
        library.traffic.reset()
        hits = client.post(f"{url}/search", json={"text": "red"}).json()["hits"]
        assert {hit["file"] for hit in hits} == {"elsewhere"}
        assert library.traffic.requests == []
        media = hits[0]["media_url"]
        whole, part, last = (client.get(media, headers=ranges) for ranges in ({}, {"Range": "bytes=5-9"}, {"Range": "bytes=-7"}))
        assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, data, "image/png")
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, data[5:10], f"bytes 5-9/{len(data)}")
        assert (last.status_code, last.content) == (206, data[-7:])
        assert client.get(media, headers={"Range": "bytes=99999-"}).status_code == 416
        head = client.head(media)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))
        library.traffic.fault("GET", "red.png", times=9, status=403)
        assert client.get(media).status_code == 502
        library.traffic.reset()
        library.delete("p/red.png")
        assert client.get(media).status_code == 404


def test_roots_move_between_a_bucket_and_another_prefix(tmp_path, library, run):
    run("p", "q")
    roots = {folder: root_id for root_id, folder in opened(tmp_path).identity.roots.items()}
    assert set(roots) == {library.uri("p"), library.uri("q")}
    for key in library.all_keys("p/"):
        library.put("new/" + key, library.get(key))
    assert move_root(tmp_path / "c", roots[library.uri("p")], library.uri("new/p/")) == (3, 3)
    assert library.uri("new/p//green.png") in uris(tmp_path)
    assert counts(run("new/p")) == {"unchanged": 3}


def test_verify_makes_a_thumbnail_again_from_the_bucket(tmp_path, library, run):
    run()
    for file in (tmp_path / "c" / "thumbnails").rglob("*.webp"):
        file.unlink()
    assert verify(tmp_path / "c", repair=True).repaired == ["4 thumbnails were rebuilt."]


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A film of 3 MB with two shots."""
    path, rng = tmp_path_factory.mktemp("film") / "film.mp4", np.random.default_rng(0)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 192, 144, "yuv420p", 4_000_000
        for number in range(80):
            low, high = (0, 80) if number < 40 else (180, 256)
            frame = av.VideoFrame.from_ndarray(rng.integers(low, high, (144, 192, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert path.stat().st_size > 1_000_000
    return path.read_bytes()


def test_a_film_in_a_bucket_has_its_shots_and_is_recognised_when_it_moves(tmp_path, bucket, run, noise):
    bucket.put("films/a.mp4", noise)
    run()
    shots = rows_of(opened(tmp_path), ["start_seconds", "end_seconds", "duration_seconds"], "kind = 'shot'")
    assert [(shot["start_seconds"], shot["end_seconds"]) for shot in shots] == [
        (0.0, pytest.approx(4.0, abs=0.1)),
        (pytest.approx(4.0, abs=0.1), 8.0),
    ]
    bucket.put("other/b.mp4", noise)
    bucket.delete("films/a.mp4")
    bucket.traffic.reset()
    assert counts(run()) == {"moved": 1}
    assert bucket.traffic.num_bytes < len(noise) / 2
    assert counts(run()) == {"unchanged": 1}


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_film_that_cannot_be_read_to_its_end_keeps_its_older_rows(tmp_path, bucket, run, noise, is_replaced):
    bucket.put("a.mp4", noise)
    run()
    before = rows_of(opened(tmp_path))
    bucket.put("a.mp4", noise + bytes(1000))
    if is_replaced:
        bucket.traffic.fault("GET", "a.mp4 bytes=[1-9]", before=lambda: bucket.put("a.mp4", noise + bytes(2000)))
    else:
        bucket.traffic.fault("GET", "a.mp4 bytes=[1-9]", times=99, status=403, code="AccessDenied")
    report = run()
    if is_replaced:
        assert report.unfinished == (bucket.uri("a.mp4"),)
    else:
        assert [(each.stage, each.reason) for each in report.failures] == [
            ("read", "No permission (AccessDenied). Check what the credentials allow")
        ]
    assert rows_of(opened(tmp_path)) == before
    bucket.traffic.reset()
    assert counts(run()) == {"changed": 1}
