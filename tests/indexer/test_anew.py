"""A collection is made anew with another model: a new generation is built beside the old one and replaces it in one step."""

import json
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import indexer.anew
import indexer.cli
import indexer.run
from coca_search.cli import app
from indexer import IndexOptions, index
from indexer.forecast import forecast
from media import MediaError
from search import IncompatibleError, open_collection, search
from search.collection import CollectionWriter, read_identity
from search.collection.bucket.place import shown
from search.collection.generations.folders import home_of, newest_generation
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.optimize import optimize
from search.collection.roots import remove_root
from search.collection.thumbnails import thumbnail_of
from search.collection.verify import verify
from search.collection.writer_lock import WriterLock
from search.errors import CollectionError, LockedError, NoCollectionError, OtherModelError, QueryError, StorageError
from search.service import make_app
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

COLOURS = ("red", "green", "blue", "yellow", "black")


class Newer(FakeEncoder):
    """Another version of the fake model, of the same width."""

    def __init__(self):
        super().__init__(model_id="fake@2")

    def encode_pixels(self, pixels):
        return np.roll(super().encode_pixels(pixels), 7, axis=1)


class Library:
    """Two folders of pictures, one with a film, and their collection."""

    def __init__(self, folder):
        self.home, self.one, self.two = folder / "collection", folder / "one", folder / "two"
        for colour in COLOURS:
            write_picture(self.one / f"{colour}.png", colour)
        write_picture(self.two / "white.png", "white")
        write_film(self.two / "film.mp4", [("red", 2.0), ("blue", 2.0)])
        (self.one / "broken.jpg").write_bytes(b"broken")
        self.index(self.one, self.two, encoder=FakeEncoder(), leave_out=("Exports",))

    def index(self, *paths, encoder=None, listed=(), should_stop=lambda: False, new_model=False, manifest=None, **options):
        chosen = IndexOptions(workers=1, batch=1, settle_seconds=0.0, **options)
        how = {"listed": listed, "manifest": manifest, "collection": self.home, "options": chosen, "should_stop": should_stop}
        return index(list(paths), encoder=encoder or Newer(), new_model=new_model, **how)

    def anew(self, *paths, **named):
        return self.index(*paths, new_model=True, **named)

    def open(self, encoder=None):
        return open_collection(self.home, encoder=encoder or Newer())

    def ids(self, encoder=None):
        snapshot = self.open(encoder).snapshot
        return {row["uri"]: row["media_id"] for row in snapshot.rows(snapshot.segment_ids)}

    def stopped(self, after):
        """Make it anew, but stop after some files."""
        asked = iter(range(1000))
        return self.anew(should_stop=lambda: next(asked) >= after)


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """What was written to the disk, in order. Other programs may have much to write, so nothing is."""
    calls, fsync = [], os.fsync

    def note(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "sync", lambda: calls.append("all"))
    monkeypatch.setattr(os, "fsync", note)
    return calls


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path)


def make_fresh(library, home):
    """What an ordinary run would make."""
    options = IndexOptions(workers=1, batch=1, settle_seconds=0.0)
    index([library.one, library.two], collection=home, encoder=Newer(), options=options)
    return open_collection(home, encoder=Newer())


def test_the_new_generation_has_the_rows_of_an_ordinary_run_and_the_ids_and_settings_of_the_old_one(library, tmp_path):
    ids, before = library.ids(FakeEncoder()), library.open(FakeEncoder()).identity
    report = library.anew()
    assert (report.num_changed, report.num_rows, [failure.uri for failure in report.failures]) == (7, 9, [str(library.one / "broken.jpg")])
    assert report.notes == ("The collection was made anew with fake@2: 7 files. The old vectors were removed.",)
    opened = library.open()
    assert rows_of(opened) == rows_of(make_fresh(library, tmp_path / "fresh"))
    assert library.ids() == ids
    now = opened.identity
    assert (now.model_id, now.roots, now.leave_out, now.root_inodes) == ("fake@2", before.roots, before.leave_out, before.root_inodes)
    assert verify(library.home).problems == []
    assert opened.failures()["uri"].to_pylist() == [str(library.one / "broken.jpg")]


def test_nothing_but_the_new_generation_stays_on_the_disk(library):
    library.anew()
    assert sorted(os.listdir(library.home)) == ["collection.json", "generation-2", "writer.lock"]
    assert json.loads((library.home / "collection.json").read_text()) == {"format_version": 3, "generation": "generation-2"}
    assert not (library.home / "generation-2" / "writer.json").exists()


def test_later_runs_and_commands_use_the_new_generation(library):
    library.anew()
    write_picture(library.one / "new.png", "white", size=(33, 44))
    report = library.index(library.one)
    assert (report.num_new, report.num_unchanged, report.num_failed_before) == (1, 5, 1)
    assert str(library.home) + "\n" in report.summary() + "\n"
    assert "generation" not in report.summary()
    optimize(library.home, kind="auto")
    remove_root(library.home, next(iter(library.open().identity.roots)))
    assert {os.path.dirname(uri) for uri in library.ids()} == {str(library.two)}
    assert verify(library.home, repair=True).problems == []


def test_it_can_be_made_anew_again(library):
    library.anew()
    ids = library.ids()
    library.anew(encoder=FakeEncoder())
    assert library.ids(FakeEncoder()) == ids
    assert sorted(os.listdir(library.home)) == ["collection.json", "generation-3", "writer.lock"]


def test_without_new_model_it_is_refused_with_the_command_that_mends_it(library):
    advice = rf"another version of the model default \(fake@1, not fake@2\). .*: coca-search index --new-model --collection {library.home}$"
    with pytest.raises(OtherModelError, match=advice):
        library.index(library.one)
    with pytest.raises(OtherModelError, match=r"made with another model \(fake@1, not other@9\).* --new-model --model other --collection"):
        index(library.one, collection=library.home, model="other", encoder=FakeEncoder(model_id="other@9"))
    assert len(library.ids(FakeEncoder())) == 7


def test_paths_are_indexed_when_it_is_done(library):
    write_picture(library.two / "new.png", "green", size=(20, 30))
    report = library.anew(library.two)
    assert (report.num_new, report.num_changed, report.num_unchanged) == (2, 7, 2)  # broken.jpg counts as new
    assert str(library.two / "new.png") in library.ids()


def test_a_wrong_path_is_told_before_anything_is_done(library):
    with pytest.raises(Exception, match="no such file or folder"):
        library.anew(library.one / "nothing")
    assert not (library.home / "generation-2").exists()


def test_a_collection_of_the_wanted_model_does_not_change(library):
    library.anew()
    assert library.anew().notes == ("The collection is of this model already. Nothing was changed.",)
    assert library.anew(library.one).num_unchanged == 5


def test_new_model_makes_an_ordinary_collection_if_there_is_none(library, tmp_path):
    report = index(library.one, collection=tmp_path / "none", encoder=Newer(), new_model=True)
    assert report.num_new == 6
    assert (tmp_path / "none" / "segments.lance").exists()


def test_only_the_files_of_the_collection_are_embedded_also_hidden_ones(library, tmp_path):
    library.home = tmp_path / "chosen"
    hidden = write_picture(library.one / ".hidden.png", "red")
    library.index(library.two / "white.png", hidden, listed=[library.one / "red.png"], encoder=FakeEncoder())
    chosen = set(library.ids(FakeEncoder()))
    library.anew()
    assert set(library.ids()) == chosen == {str(library.two / "white.png"), str(hidden), str(library.one / "red.png")}


def test_what_a_manifest_said_stays(library, tmp_path):
    (tmp_path / "rows.csv").write_text(f"path,title\n{library.one}/red.png,Rouge\n")
    library.index(manifest=tmp_path / "rows.csv", encoder=FakeEncoder())
    library.anew()
    assert [row["title"] for row in rows_of(library.open(), ["title"], "title IS NOT NULL")] == ["Rouge"]


def test_a_collection_from_before_a_column_was_known_is_made_anew(library):
    for table, column in ((SEGMENTS, "from_manifest"), (SEGMENTS, "revision"), (FAILURES, "attempts")):
        LanceTable(library.home, table)._table.drop_columns([column])
    library.anew()
    assert len(library.ids()) == 7


def test_a_run_that_was_stopped_goes_on_and_the_old_generation_stays_until_then(library):
    reader = library.open(FakeEncoder())
    report = library.stopped(after=3)
    assert report.is_stopped
    assert "is not complete (" in report.notes[0]
    assert len(rows_of(library.open(FakeEncoder()))) == 9
    assert not reader.refresh()
    done = report.num_changed
    assert 0 < done < 7
    report = library.anew()
    assert report.num_changed == 7 - done
    assert verify(library.home).problems == []


def test_an_unfinished_generation_of_yet_another_model_is_discarded(library):
    library.stopped(after=3)
    report = library.anew(encoder=FakeEncoder(model_id="fake@3"))
    assert (report.num_changed, library.open(FakeEncoder(model_id="fake@3")).identity.model_id) == (7, "fake@3")


def test_a_file_that_went_is_not_in_the_new_generation(library):
    (library.one / "red.png").unlink()
    report = library.anew()
    assert (report.num_gone, report.files["gone"]) == (1, (str(library.one / "red.png"),))
    assert len(library.ids()) == 6


def test_an_absent_folder_holds_it_up_until_it_is_there_again(library, tmp_path):
    library.two.rename(tmp_path / "unplugged")
    report = library.anew()
    assert (report.absent, report.is_complete) == ({str(library.two): 2}, False)
    assert any("remove them with: --forget" in line for line in report.remarks())
    assert len(library.ids(FakeEncoder())) == 7
    (tmp_path / "unplugged").rename(library.two)
    report = library.anew()
    assert (report.num_changed, report.absent, len(library.ids())) == (2, {}, 7)


def test_an_absent_folder_can_be_forgotten(library):
    shutil.rmtree(library.two)
    report = library.anew(forget=(str(library.two),))
    assert report.notes[0] == f"{library.two}: forgotten, with 2 files."
    assert set(library.ids()) == {str(library.one / f"{colour}.png") for colour in COLOURS}
    assert list(library.open().identity.roots.values()) == [str(library.one)]


def test_a_folder_that_is_unplugged_while_it_is_read_holds_it_up(library, tmp_path, monkeypatch):
    process = indexer.run._Run._process

    def unplug(self, *arguments):
        library.two.rename(tmp_path / "unplugged")
        process(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(indexer.run._Run, "_process", unplug)
        assert library.anew().absent == {str(library.two): 2}
    (tmp_path / "unplugged").rename(library.two)
    library.anew()
    assert len(library.ids()) == 7
    assert library.open().failures()["uri"].to_pylist() == [str(library.one / "broken.jpg")]


def unreadable(monkeypatch, *names):
    """Files of these names exist, and cannot be looked at."""
    look = os.stat

    def refuse(path, *arguments, **named):
        if os.path.basename(str(path)) in names:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *arguments, **named)

    monkeypatch.setattr(os, "stat", refuse)


def test_a_single_file_that_cannot_be_read_is_listed_as_failed_and_tried_again(library, monkeypatch):
    with monkeypatch.context() as patched:
        unreadable(patched, "red.png")
        report = library.anew()
    assert {os.path.basename(failure.uri): failure.stage for failure in report.failures} == {"broken.jpg": "decode", "red.png": "read"}
    assert report.num_gone == 0
    assert library.index(library.one).num_new == 1


def test_a_folder_of_which_no_file_can_be_read_holds_it_up(library, monkeypatch):
    with monkeypatch.context() as patched:
        unreadable(patched, "white.png", "film.mp4")
        report = library.anew()
    assert f"{library.two}: 2 files cannot be read" in report.notes[0]
    assert len(library.ids(FakeEncoder())) == 7
    library.anew()
    assert len(library.ids()) == 7


def test_a_file_that_the_old_generation_got_meanwhile_is_embedded_too(library):
    library.stopped(after=3)
    write_picture(library.one / "late.png", "white", size=(77, 11))
    library.index(library.one, encoder=FakeEncoder())
    (library.one / "green.png").unlink()
    library.index(library.one, encoder=FakeEncoder())
    ids = library.ids(FakeEncoder())
    library.anew()
    assert library.ids() == ids


@pytest.mark.parametrize("moment", ["finish", "switch_to", "remove_older"])
def test_a_run_that_dies_at_the_switch_leaves_one_whole_generation(library, monkeypatch, moment):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CollectionWriter if moment == "finish" else indexer.anew, moment, die)
        with pytest.raises(KeyboardInterrupt):
            library.anew()
    was_switched = moment == "remove_older"
    assert library.open(Newer() if was_switched else FakeEncoder()).identity.model_id == ("fake@2" if was_switched else "fake@1")
    library.anew(library.one)
    assert len(library.ids()) == 7
    assert sorted(os.listdir(library.home)) == ["collection.json", "generation-2", "writer.lock"]
    assert verify(library.home).problems == []


def test_thumbnails_of_an_old_generation_are_never_taken_for_pictures(library, monkeypatch):
    library.anew()
    library.home.rename(library.one / "collection")
    library.home, rmtree = library.one / "collection", shutil.rmtree

    def die_after_the_first(path, **named):
        rmtree(path, **named)
        if "generation-2" in (path.name, path.parent.name):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", die_after_the_first)
        with pytest.raises(KeyboardInterrupt):
            library.anew(encoder=FakeEncoder())
    assert (library.home / "generation-2").exists()
    assert library.index(library.one, encoder=FakeEncoder()).num_new == 0
    assert not (library.home / "generation-2").exists()


def test_a_reader_answers_from_the_old_generation_until_it_is_refreshed(library, monkeypatch):
    reader = library.open(FakeEncoder())
    before, thumbnails = rows_of(reader), []
    process = indexer.run._Run._process

    def look(self, *arguments):
        process(self, *arguments)
        assert not reader.refresh()
        assert search("red", collection=reader)[0].uri.endswith("red.png")
        thumbnails.extend(thumbnail_of(reader.path, row).exists() for row in reader.snapshot.rows(reader.snapshot.segment_ids))

    monkeypatch.setattr(indexer.run._Run, "_process", look)
    monkeypatch.setattr("coca_model.text_encoder.text_encoder", lambda _: Newer())
    library.anew()
    assert all(thumbnails)
    assert rows_of(reader) == before
    assert len(search("red", collection=reader, where="width > 0")) == 7
    assert reader.refresh()
    assert (reader.identity.model_id, reader.path, shown(reader.path)) == ("fake@2", library.home / "generation-2", str(library.home))
    assert search("red", collection=reader)[0].uri.endswith("red.png")
    assert reader.failures().num_rows == 1
    assert not reader.refresh()


def test_a_collection_that_is_switched_while_it_is_opened_is_opened(library, monkeypatch):
    library.stopped(after=3)
    old = newest_generation(library.home)
    library.anew()
    folders = iter([old])
    place = "search.collection.bucket.place.newest_folder"
    monkeypatch.setattr(place, lambda path: next(folders, newest_generation(path)))
    assert library.open().identity.model_id == "fake@2"


def test_no_other_process_writes_meanwhile(library, monkeypatch):
    refused = []

    def write(self, tasks, *_):
        for run in (library.anew, lambda: library.index(library.one, encoder=FakeEncoder()), lambda: verify(library.home)):
            with pytest.raises(LockedError, match=r"is writing to it. Wait"):
                run()
            refused.append(len(tasks))

    monkeypatch.setattr(indexer.run._Run, "_process", write)
    library.anew()
    assert refused == [8, 8, 8]


def test_a_writer_that_waited_does_not_write_to_the_old_generation(library):
    lock = WriterLock(library.home)
    library.anew()
    with pytest.raises(LockedError, match=r"it was just made anew with another model. Run the command again"), lock:
        pass


def test_a_model_that_fails_is_not_taken_for_the_disk(library, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Newer, "encode_pixels", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        library.anew()


def test_a_collection_that_may_not_be_written_is_told(library, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(indexer.anew, "switch_to", refuse)
    with pytest.raises(StorageError, match=r"cannot be written .Permission denied"):
        library.anew()
    assert len(library.ids(FakeEncoder())) == 7


def test_too_little_room_is_told_with_numbers(library, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1500))
    with pytest.raises(StorageError, match=r"takes 1 MB beside the old one, and 1 MB are free. Make room, or"):
        library.anew()
    assert len(library.ids(FakeEncoder())) == 7


def test_a_collection_in_a_bucket_is_refused(bucket, library):
    library.home = f"s3://{bucket.name}/collection"
    library.index(library.one, encoder=FakeEncoder())
    with pytest.raises(CollectionError, match=r"in a bucket cannot be made anew in its place. Index into a new --collection address"):
        library.anew()
    with pytest.raises(OtherModelError, match="Use the same model, or index into a new --collection"):
        library.index(library.one)


def test_a_copy_of_it_elsewhere_is_the_same_collection(library, tmp_path):
    library.anew()
    before = rows_of(library.open())
    shutil.move(library.home, tmp_path / "moved")
    assert rows_of(open_collection(tmp_path / "moved", encoder=Newer())) == before


def test_an_older_program_says_that_it_is_too_old(library):
    library.anew()
    with pytest.raises(IncompatibleError, match="format 3 is newer than this program's"):
        read_identity(library.home)


def test_a_pointer_out_of_the_collection_is_not_followed(tmp_path):
    for name in ("../elsewhere", "/generation-2", "generation-2/..", "generation-", 2, None):
        (tmp_path / "collection.json").write_text(json.dumps({"format_version": 3, "generation": name}))
        assert newest_generation(tmp_path) == tmp_path
    assert home_of(tmp_path / "generation-7") == tmp_path


def listed(library, *files):
    """A collection of a list of files, in a library of its own."""
    library.home = library.home.with_name("listed")
    library.index(listed=files, encoder=FakeEncoder())
    (root,) = library.open(FakeEncoder()).identity.roots.values()
    assert root == str(library.one.parent)
    return library.one.parent


def test_an_absent_drive_of_a_list_holds_it_up_or_is_forgotten(library, tmp_path):
    listed(library, library.one / "red.png", library.two / "white.png")
    library.two.rename(tmp_path / "unplugged")
    report = library.anew()
    assert (report.absent, report.num_gone, len(library.ids(FakeEncoder()))) == ({str(library.two): 1}, 0, 2)
    library.two.mkdir()  # as a mount point without its drive
    report = library.anew()
    assert report.absent == {str(library.two): 1}
    assert any(f"remove them with: --forget {library.two}" in line for line in report.remarks())
    assert library.anew(forget=(str(library.two),)).notes[0] == f"{library.two}: forgotten, with 1 files."
    assert list(library.ids()) == [str(library.one / "red.png")]
    with pytest.raises(QueryError, match="Unknown root"):
        library.anew(forget=(str(library.two),))


def test_a_file_of_a_list_whose_folder_is_there_is_gone(library):
    listed(library, library.one / "red.png", library.two / "white.png")
    (library.two / "white.png").unlink()
    assert (library.anew().num_gone, len(library.ids())) == (1, 1)


def test_an_absent_folder_that_no_snapshot_knows_yet_holds_it_up(library, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    write_picture(tmp_path / "three" / "late.png", "white", size=(33, 44))
    with monkeypatch.context() as patched:
        patched.setattr(CollectionWriter, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            library.index(tmp_path / "three", encoder=FakeEncoder())
    (tmp_path / "three").rename(tmp_path / "unplugged")
    assert library.anew().absent == {str(tmp_path / "three"): 1}
    assert read_identity(library.home).model_id == "fake@1"


def test_a_folder_that_is_back_at_the_end_is_not_gone(library, tmp_path, monkeypatch):
    library.two.rename(tmp_path / "unplugged")
    with monkeypatch.context() as patched:
        patched.setattr(indexer.anew, "_discard_another", lambda *_: (tmp_path / "unplugged").rename(library.two))
        report = library.anew()
    assert (report.num_gone, report.absent) == (0, {str(library.two): 2})
    library.anew()
    assert len(library.ids()) == 7


def test_a_file_that_is_back_at_the_end_is_not_gone(library, tmp_path, monkeypatch):
    process = indexer.run._Run._process

    def bring_back(self, *arguments):
        (tmp_path / "red.png").rename(library.one / "red.png")
        process(self, *arguments)

    (library.one / "red.png").rename(tmp_path / "red.png")
    with monkeypatch.context() as patched:
        patched.setattr(indexer.run._Run, "_process", bring_back)
        report = library.anew()
    assert (report.num_gone, read_identity(library.home).model_id) == (0, "fake@1")


def test_a_folder_of_a_generation_is_the_collection(library, monkeypatch):
    assert library.anew(library.one).collection == library.home
    library.anew(encoder=FakeEncoder())
    home, library.home = library.home, library.home / "generation-2"
    assert library.index(library.one, encoder=FakeEncoder()).collection == home
    assert len(library.ids(FakeEncoder())) == 7
    assert not library.home.exists()
    monkeypatch.chdir(home / "generation-3")
    assert newest_generation(home_of(Path())) == home / "generation-3"
    shutil.rmtree(home / "generation-3")
    with pytest.raises(NoCollectionError):
        open_collection(home / "generation-2")


def test_a_broken_codec_does_not_cost_the_files(library, monkeypatch):
    def fail(*_):
        raise MediaError("decode", "no decoder")

    with monkeypatch.context() as patched:
        patched.setattr("indexer.processing.process._read", fail)
        report = library.anew()
    assert f"{library.two}: 2 files that were indexed before can no longer be decoded: " in "".join(report.notes)
    assert f"{library.two}/film.mp4 (no decoder)" in "".join(report.notes)
    assert read_identity(library.home).model_id == "fake@1"
    library.anew(forget=(str(library.two / "film.mp4"),))
    assert len(library.ids()) == 6


def test_one_file_that_can_no_longer_be_decoded_is_listed_as_failed(library):
    (library.one / "red.png").write_bytes(b"broken")
    assert sorted(os.path.basename(failure.uri) for failure in library.anew().failures) == ["broken.jpg", "red.png"]
    assert len(library.ids()) == 6


def test_the_disk_has_the_new_generation_before_the_old_one_is_removed(library, synced, monkeypatch):
    remove_older = indexer.anew.remove_older

    def remove(folder):
        synced.append("remove")
        remove_older(folder)

    monkeypatch.setattr(indexer.anew, "remove_older", remove)
    library.anew()
    end = synced[synced.index("all") :]
    assert end[: end.index("remove") + 1] == ["all", "file", "folder", "remove"]


def test_a_thumbnail_is_served_as_the_first_request_after_the_switch(library):
    opened = library.open(FakeEncoder())
    row = opened.snapshot.rows(opened.snapshot.segment_ids)[0]
    client = TestClient(make_app(opened, hosts=("testserver",)))
    library.anew()
    seconds = {} if row["frame_seconds"] is None else {"seconds": row["frame_seconds"]}
    answer = client.get(f"/thumbnail/{row['media_id']}", params={"version": row["sha256"][:12], **seconds})
    assert answer.status_code == 200


def test_a_folder_is_forgotten_if_the_collection_is_of_this_model_already(library):
    library.anew()
    library.anew(forget=(str(library.two),))
    assert set(library.ids()) == {str(library.one / f"{colour}.png") for colour in COLOURS}


def test_an_unfinished_generation_that_cannot_be_opened_stays(library):
    library.stopped(after=3)
    identity = library.home / "generation-2" / "collection.json"
    content = identity.read_text()
    identity.write_text(json.dumps({**json.loads(content), "format_version": 9}))
    with pytest.raises(CollectionError, match=r"an unfinished generation cannot be opened \(.*format 9 is newer.* Remove this folder"):
        library.anew()
    identity.write_text(content)
    assert library.anew().num_changed < 7


def test_files_that_exchanged_their_names_are_embedded_again(library, tmp_path):
    library.stopped(after=4)
    with CollectionWriter(library.home / "generation-2", Newer(), model="default") as writer:
        made = [uri for uri in writer.known_files() if uri.endswith(".png") and uri.startswith(str(library.one))]
    one, two = made[:2]
    for old, new in ((one, tmp_path / "apart.png"), (two, one), (tmp_path / "apart.png", two)):
        os.rename(old, new)
    library.index(library.one, encoder=FakeEncoder())
    ids = library.ids(FakeEncoder())
    library.anew()
    assert library.ids() == ids
    assert [row["sha256"] for row in rows_of(library.open())] == [row["sha256"] for row in rows_of(make_fresh(library, tmp_path / "fresh"))]
    assert verify(library.home).problems == []


def test_files_that_failed_before_stay_listed_if_a_run_did_not_come_to_them(library, monkeypatch):
    process = indexer.run._Run._process

    def without_failures(self, tasks, *arguments):
        process(self, [task for task in tasks if task.was_indexed], *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(indexer.run._Run, "_process", without_failures)
        assert library.anew().failures == ()
    assert library.open().failures()["uri"].to_pylist() == [str(library.one / "broken.jpg")]
    assert library.index(library.one).num_failed_before == 1


def test_the_forecast_of_the_room_is_what_is_checked(library, monkeypatch):
    needed = forecast(library.open(FakeEncoder()), Newer()).size_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(StorageError, match="too little room"):
        library.anew()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed + 1000))  # with the note of the writer
    library.anew()


def test_on_a_terminal_a_collection_in_a_bucket_is_not_offered_what_is_refused(monkeypatch):
    def refuse(*_, **__):
        raise OtherModelError("another model")

    monkeypatch.setattr(indexer.run, "index", refuse)
    monkeypatch.setattr(indexer.cli, "ask_for_new_model", lambda *_: pytest.fail("it asked"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with pytest.raises(OtherModelError):
        indexer.cli.index(["x"], "s3://bucket/collection")


def test_status_says_if_the_model_that_ships_is_another_now(library, monkeypatch, tiny_checkpoint):
    monkeypatch.setattr("coca_model.checkpoints.find.shipped", lambda _: tiny_checkpoint)
    advice = f"Make the collection anew with: coca-search index --new-model --collection {library.home}"
    assert advice in CliRunner().invoke(app, ["status", "--collection", str(library.home)]).stdout
    monkeypatch.setattr("coca_model.checkpoints.find.shipped", lambda _: library.home / "nothing")
    assert "model now" not in CliRunner().invoke(app, ["status", "--collection", str(library.home)]).stdout
