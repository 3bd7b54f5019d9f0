"""A collection in a bucket: other machines read it, writers are kept apart, and one that dies leaves the old version or the new."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys

import httpx
import pytest

from indexer import IndexOptions, index
from search import IncompatibleError, NoCollectionError, open_collection, search
from search.collection import writer_lock
from search.collection.bucket import place, working_copy
from search.collection.bucket.contents import POINTER
from search.collection.bucket.lease import LEASE, Lease
from search.collection.bucket.objects import Objects
from search.collection.bucket.state import read_state
from search.collection.roots import remove_root
from search.collection.verify import verify
from search.errors import CollectionError, LockedError, StorageError
from search.service import make_app
from tests.fakes import FakeEncoder, rows_of, write_picture
from tests.serving import serving

COLOURS = ["red", "green", "blue", "yellow"]


@pytest.fixture
def address(bucket):
    return bucket.uri("my/coll")


@pytest.fixture
def library(tmp_path):
    for number, colour in enumerate(COLOURS):
        write_picture(tmp_path / "library" / f"{colour}.png", colour, size=(96 + number, 64))
    return tmp_path / "library"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes this process another machine, by another cache."""

    def be(name):
        place._opened.cache_clear()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machines" / name))

    be("first")
    return be


def run(library, address, **options):
    return index(library, collection=address, encoder=FakeEncoder(), options=IndexOptions(workers=2, **options))


def opened(address):
    return open_collection(address, encoder=FakeEncoder())


def names(address):
    return {os.path.basename(row["uri"]) for row in rows_of(opened(address))}


def test_another_machine_finds_what_was_indexed(bucket, address, library, machine):
    report = run(library, address)
    assert report.num_new == 4
    machine("second")
    bucket.traffic.reset()
    collection = opened(address)
    assert search("green", collection=collection, k=1)[0].uri == str(library / "green.png")
    assert len(search("green", collection=collection, where="width >= 98")) == 2
    assert bucket.traffic.of("GET", "thumbnails/") == []
    with serving(make_app(collection)) as url, httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/healthz").json()["collection"] == address
        hit = client.post(f"{url}/search", json={"text": "red"}).json()["hits"][0]
        assert client.get(hit["thumbnail_url"]).content[:4] == b"RIFF"
        assert client.get(hit["thumbnail_url"]).status_code == 200
        assert client.get(hit["thumbnail_url"] + "&seconds=5").status_code == 404
    assert len(bucket.traffic.of("GET", "thumbnails/")) == 2
    assert verify(address).problems == []


def test_a_second_machine_adds_and_the_first_one_sees_it(bucket, address, library, machine, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "_SECONDS_BETWEEN_PULLS", 0.0)
    run(library, address)
    first = opened(address)
    machine("second")
    write_picture(tmp_path / "other" / "white.png", "white")
    (library / "red.png").unlink()
    assert run([tmp_path / "other", library], address).num_unchanged == 3
    machine("first")
    assert first.refresh()
    assert {os.path.basename(row["uri"]) for row in rows_of(first)} == {"green.png", "blue.png", "yellow.png", "white.png"}
    assert len(bucket.all_keys("my/coll/thumbnails/")) == 4
    assert not first.refresh()


def test_an_unchanged_library_uploads_nothing_and_a_small_change_little(bucket, address, library, machine):
    run(library, address)
    bucket.traffic.reset()
    run(library, address)
    assert {path.rpartition("/")[2] for _, path, _ in bucket.traffic.of("PUT")} <= {LEASE}
    assert bucket.traffic.of("GET", "/files/") == []
    (library / "red.png").unlink()
    run(library, address)
    assert len(bucket.all_keys("my/coll/thumbnails/")) == 3


def test_two_writers_are_kept_apart_by_name(bucket, address, library, machine):
    run(library, address)
    copy = place._working_copy(place.local_folder(address))
    copy.begin()
    machine("second")
    with pytest.raises(LockedError, match=rf"{address}: process {os.getpid()} on .* is writing to it. Wait for it to finish"):
        run(library, address)
    assert names(address) == {f"{colour}.png" for colour in COLOURS}  # readers are not kept out
    machine("first")
    copy.end()
    machine("second")
    assert run(library, address).num_unchanged == 4
    assert LEASE not in str(bucket.all_keys())


def test_a_writer_that_cannot_write_on_this_machine_gives_its_claim_back(bucket, address, library, machine, monkeypatch):
    run(library, address)
    with monkeypatch.context() as patch:
        patch.setattr(writer_lock, "atomic_write", raise_no_space)
        with pytest.raises(StorageError, match="No space left"):
            run(library, address)
    machine("second")
    assert run(library, address).num_unchanged == 4


def raise_no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_claim_without_a_sign_of_life_ends(bucket, address, library, machine, monkeypatch):
    run(library, address)
    copy = place._working_copy(place.local_folder(address))
    copy.begin()
    machine("second")
    monkeypatch.setattr("search.collection.bucket.lease.EXPIRES_SECONDS", -1.0)
    write_picture(library / "white.png", "white")
    assert run(library, address).num_new == 1
    machine("first")
    (copy.folder / "new file").write_text("x")
    with pytest.raises(LockedError, match="another writer took over"):
        copy.push()
    copy.end()
    machine("third")
    assert len(names(address)) == 5
    assert verify(address).problems == []


def test_a_lease_is_renewed_and_notices_that_it_was_lost(bucket, address, monkeypatch):
    monkeypatch.setattr("search.collection.bucket.lease._RENEWED_SECONDS", 0.02)
    objects = Objects(address)
    lease = Lease(objects, "a")
    lease.take()
    first = objects.read(LEASE).etag
    while objects.read(LEASE).etag == first:
        pass
    bucket.put("my/coll/" + LEASE, b"{}")
    lease._thread.join(timeout=20)
    assert lease.is_lost
    lease.give_back()
    assert bucket.get("my/coll/" + LEASE) == b"{}"


def test_a_claim_of_this_very_copy_is_of_a_dead_process(address, machine, library):
    run(library, address)
    folder = place.local_folder(address)
    lease = Lease(Objects(address), read_state(folder).copy_id)
    lease.take()
    assert run(library, address).num_unchanged == 4
    lease.give_back()


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("method", "step"), [("upload", 0), ("upload", 3), ("upload", 6), ("write", 0), ("delete", 0), ("delete", 1)])
def test_a_writer_that_dies_between_two_writes_leaves_the_old_version_or_the_new_one(
    bucket, address, library, machine, monkeypatch, method, step
):
    run(library, address)
    write_picture(library / "white.png", "white")
    (library / "red.png").unlink()
    calls, unharmed = [], getattr(Objects, method)

    def die(self, name, *arguments, **named):
        calls.append(name) if name != LEASE else None
        if len(calls) > step:
            raise Killed
        return unharmed(self, name, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(working_copy, "for_each", lambda call, items: [call(item) for item in items])
        patched.setattr(Objects, method, die)
        with pytest.raises(Killed):
            run(library, address)
    old, new = {f"{colour}.png" for colour in COLOURS}, {"green.png", "blue.png", "yellow.png", "white.png"}
    bucket.delete("my/coll/" + LEASE)  # nobody waits until it expires
    machine("second")
    assert names(address) == (new if method == "delete" else old)
    machine("first")
    run(library, address)
    machine("second")
    assert names(address) == new
    assert verify(address).problems == []


def test_a_killed_process_and_a_run_on_another_machine(bucket, address, library, machine, tmp_path):
    """SIGKILL while the pointer is written for the second time. The other machine does not wait for the dead one's claim."""
    run(library, address)
    for number in range(3):
        write_picture(library / f"new{number}.png", "white", size=(50 + number, 50))
    program = (
        "import sys\nfrom indexer import index\nfrom tests.fakes import FakeEncoder\n"
        "index(sys.argv[1], collection=sys.argv[2], encoder=FakeEncoder())"
    )
    started = []
    bucket.traffic.fault("PUT", POINTER, before=lambda: (started[0].send_signal(signal.SIGKILL), started[0].wait()))
    started.append(subprocess.Popen([sys.executable, "-c", program, str(library), address]))
    assert started[0].wait(timeout=120) == -signal.SIGKILL
    machine("second")
    assert len(names(address)) in {4, 7}
    bucket.delete("my/coll/" + LEASE)
    run(library, address)
    machine("first")
    assert run(library, address).num_unchanged == 7
    assert verify(address).problems == []


def test_what_could_not_be_pushed_is_pushed_by_the_next_run(bucket, address, library, machine):
    run(library, address)
    write_picture(library / "white.png", "white")
    bucket.traffic.fault("PUT", "coll/files/", times=999, status=503, code="SlowDown")
    with pytest.raises(StorageError, match=r"No complete answer in 5 attempts"):
        run(library, address)
    bucket.traffic.reset()
    assert run(library, address).num_unchanged == 5
    machine("second")
    assert len(names(address)) == 5


def test_faults_of_the_network_are_survived(bucket, address, library, machine):
    bucket.traffic.fault("(PUT|GET|DELETE|POST)", "my/coll", times=4, status=503, code="SlowDown")
    run(library, address)
    machine("second")
    bucket.traffic.fault("GET", "/files/", times=4, keep=10)
    assert len(names(address)) == 4


def test_without_a_network_the_last_version_is_searched(bucket, address, library, machine, caplog):
    run(library, address)
    machine("second")
    with pytest.raises(NoCollectionError, match=rf"{address}2: no collection here.*--collection {address}2"):
        opened(address + "2")
    opened(address)
    bucket.traffic.fault(".*", "", times=999, status=503, code="SlowDown")
    with caplog.at_level(logging.WARNING):
        assert search("green", collection=opened(address), k=1)[0].path == "green.png"
    assert "The version of this machine is used" in caplog.text
    machine("third")
    with pytest.raises(OSError, match="No complete answer"):
        opened(address)


def test_a_reader_starts_again_when_a_newer_version_replaces_what_it_downloads(bucket, address, library, machine, monkeypatch):
    run(library, address)
    write_picture(library / "white.png", "white")

    def replace_version():
        machine("second")
        monkeypatch.setattr(working_copy, "_KEPT_SECONDS", -1.0)
        run(library, address)
        machine("reader")

    machine("reader")
    bucket.traffic.fault("GET", "/files/", before=replace_version)
    assert len(names(address)) == 5
    assert verify(address).problems == []


def test_unnamed_files_are_deleted_after_a_while(bucket, address, library, machine, monkeypatch):
    run(library, address)
    before = set(bucket.all_keys("my/coll/files/"))
    write_picture(library / "white.png", "white")
    run(library, address)
    assert before <= set(bucket.all_keys("my/coll/files/"))
    monkeypatch.setattr(working_copy, "_KEPT_SECONDS", -1.0)
    write_picture(library / "black.png", "black")
    run(library, address)
    named = {sha256 for sha256, _ in json.loads(bucket.get("my/coll/" + POINTER))["files"].values()}
    assert {os.path.basename(key) for key in bucket.all_keys("my/coll/files/")} == named


def test_a_deleted_collection_is_noticed_and_made_anew(bucket, address, library, machine):
    run(library, address)
    for key in bucket.all_keys():
        bucket.delete(key)
    with pytest.raises(NoCollectionError, match="no collection here"):
        opened(address)
    assert run(library, address).num_new == 4
    machine("second")
    assert len(names(address)) == 4


def test_roots_are_removed_in_the_bucket(bucket, address, library, machine):
    run(library, address)
    (root_id,) = opened(address).identity.roots
    assert remove_root(address, root_id) == 4
    machine("second")
    assert names(address) == set()
    assert bucket.all_keys("my/coll/thumbnails/") == []


def test_a_damaged_or_hostile_pointer_is_refused(bucket, address, library, machine, tmp_path):
    run(library, address)
    good = json.loads(bucket.get("my/coll/" + POINTER))
    sha256, size = next(iter(good["files"].values()))
    machine("second")
    hostile = [{path: [sha256, size]} for path in ("../x", "/x", ".bucket.json", "a/../../x")] + [{"x": ["../../x", 1]}]
    texts = ["{", "[]", *(json.dumps({**good, "files": files}) for files in hostile), json.dumps({**good, "format": 9})]
    for text in texts:
        bucket.put("my/coll/" + POINTER, text.encode())
        with pytest.raises(IncompatibleError, match=r"Upgrade coca-search" if '"format": 9' in text else r"unexpected content"):
            opened(address)
    assert not list(tmp_path.glob("**/x"))


def test_a_damaged_file_is_downloaded_again(bucket, address, library, machine):
    run(library, address)
    machine("second")
    key = next(iter(bucket.all_keys("my/coll/files/")))
    data = bucket.get(key)
    bucket.traffic.fault("GET", key, before=lambda: bucket.put(key, b"x" * len(data)))
    bucket.traffic.fault("GET", key, before=lambda: bucket.put(key, data))
    assert len(names(address)) == 4


def test_storage_that_ignores_conditions_is_refused(bucket, address, library, machine, monkeypatch):
    put = Objects._put
    monkeypatch.setattr(Objects, "_put", lambda self, name, data, condition: put(self, name, data, {}))
    with pytest.raises(CollectionError, match="ignores conditional writes"):
        run(library, address)


@pytest.mark.parametrize("address", ["gs://bucket/coll", "az://container/coll", "https://example.org/coll"])
def test_other_places_are_refused_with_a_reason(address):
    with pytest.raises(CollectionError, match="a collection can be in a folder, or in a bucket at s3://"):
        open_collection(address)


def test_a_collection_in_a_bucket_of_pictures_is_not_indexed(bucket, library, machine, tmp_path):
    bucket.put("red.png", (library / "red.png").read_bytes())
    run(library, bucket.uri("coll"))
    assert index(bucket.uri(), collection=tmp_path / "c", encoder=FakeEncoder()).num_new == 1


def test_a_lost_or_damaged_cache_is_filled_again(bucket, address, library, machine):
    run(library, address)
    folder = place.local_folder(address)
    (folder / ".bucket.json").write_text("{")
    assert len(names(address)) == 4
    shutil.rmtree(folder)
    place._opened.cache_clear()
    assert len(names(address)) == 4
    assert run(library, address).num_unchanged == 4
