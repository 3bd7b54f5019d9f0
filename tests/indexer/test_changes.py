"""Changes that leave size and time as they were, sidecars, manifests, and files of an older version."""

import os
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from search.collection.lance_tables import SEGMENTS, LanceTable
from tests.fakes import write_picture


@pytest.fixture
def library(tmp_path):
    for number, colour in enumerate(["red", "green", "blue"]):
        write_picture(tmp_path / "library" / f"{number}.bmp", colour)
    return tmp_path / "library"


def edit(picture, colour, *, by_replacing):
    """Change a picture, and keep its size and time, as `exiftool -P` does."""
    status = picture.stat()
    target = picture.with_suffix(".tmp.bmp") if by_replacing else picture
    write_picture(target, colour)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    target.replace(picture)
    assert (picture.stat().st_size, picture.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("by_replacing", [True, False])
@pytest.mark.parametrize("num_edited", [1, 3])
def test_an_edit_under_the_same_size_and_time_is_noticed(indexed, counted, library, by_replacing, num_edited):
    indexed.run(library)
    before = indexed.rows()
    for number in range(num_edited):
        edit(library / f"{number}.bmp", "white", by_replacing=by_replacing)
    assert counted(indexed.run(library)) == (0, num_edited, 0, 0, 3 - num_edited)
    after = indexed.rows()
    changed = [name for name in before if before[name]["sha256"] != after[name]["sha256"]]
    assert sorted(changed) == [f"library/{number}.bmp" for number in range(num_edited)]
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)


def test_another_change_time_alone_is_no_change_and_is_remembered(indexed, counted, library):
    indexed.run(library)
    before = indexed.rows()["library/0.bmp"]
    (library / "0.bmp").chmod(0o600)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)
    after = indexed.rows()["library/0.bmp"]
    assert after["revision"] != before["revision"]
    assert {**after, "revision": ""} == {**before, "revision": ""}
    version = indexed.open().snapshot.version
    indexed.run(library)
    assert indexed.open().snapshot.version == version


def test_check_content_finds_what_no_time_tells(indexed, counted, library, monkeypatch):
    """As on a disk that keeps no change times."""
    indexed.run(library)
    edit(library / "0.bmp", "white", by_replacing=False)
    table = LanceTable(indexed.folder, SEGMENTS)
    rows = table.read(["segment_id"])
    table.update(rows.append_column("revision", pa.nulls(rows.num_rows, pa.string())), key="segment_id")
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)
    assert counted(indexed.run(library, check_content=True)) == (0, 1, 0, 0, 2)
    assert counted(indexed.run(library, check_content=True)) == (0, 0, 0, 0, 3)


def test_rows_of_an_older_version_are_accepted_and_get_a_revision(indexed, counted, library, monkeypatch):
    indexed.run(library)
    revisions = {name: row["revision"] for name, row in indexed.rows().items()}
    table = LanceTable(indexed.folder, SEGMENTS)
    rows = table.read(["segment_id"])
    table.update(rows.append_column("revision", pa.nulls(rows.num_rows, pa.string())), key="segment_id")
    monkeypatch.setattr("media.sources.local.LocalFolders.open", lambda *_: pytest.fail("a file was read"))
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)
    assert {name: row["revision"] for name, row in indexed.rows().items()} == revisions


@pytest.mark.parametrize("change", ["add", "edit", "remove"])
def test_a_changed_sidecar_is_a_change_of_its_picture(indexed, counted, library, change):
    sidecar = library / "0.bmp.xmp"
    if change != "add":
        sidecar.write_text("one")
    indexed.run(library)
    if change == "remove":
        sidecar.unlink()
    else:
        sidecar.write_text("another")
    assert counted(indexed.run(library)) == (0, 1, 0, 0, 2)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)


def test_a_sidecar_edited_under_the_same_size_and_time_is_noticed(indexed, counted, library):
    sidecar = library / "0.bmp.xmp"
    sidecar.write_text("one")
    times = sidecar.stat().st_atime_ns, sidecar.stat().st_mtime_ns
    indexed.run(library)
    sidecar.write_text("two")
    os.utime(sidecar, ns=times)
    assert counted(indexed.run(library)) == (0, 1, 0, 0, 2)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)


def test_a_time_that_only_the_name_or_the_disk_tells_changes_with_them(indexed, counted, library):
    written = datetime(2019, 5, 4, 3, 2, 1, tzinfo=UTC)

    def taken(name):
        row = indexed.rows()[f"library/{name}"]
        return row["taken_at_source"], row["taken_at"], row["taken_local"].year

    indexed.run(library)
    os.utime(library / "0.bmp", (written.timestamp(),) * 2)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)
    assert taken("0.bmp") == ("file time", written, 2019)
    (library / "0.bmp").rename(library / "IMG_20180203_040506.bmp")
    assert counted(indexed.run(library)) == (0, 0, 1, 0, 2)
    assert taken("IMG_20180203_040506.bmp") == ("file name", datetime(2018, 2, 3, 4, 5, 6, tzinfo=UTC), 2018)
    (library / "IMG_20180203_040506.bmp").rename(library / "holiday.bmp")
    indexed.run(library)
    assert taken("holiday.bmp") == ("file time", written, 2019)


def test_a_manifest_fills_columns_and_its_changes_are_seen(indexed, counted, library):
    manifest = library / "rows.csv"
    manifest.write_text("path,title,keywords,licence\n0.bmp,A red one,red;one,CC0\ngone.bmp,x,,\n")
    report = indexed.run(manifest=manifest)
    assert (counted(report), report.seen.missing) == ((1, 0, 0, 0, 0), (str(library / "gone.bmp"),))
    assert report.notes[0].startswith("rows.csv: columns that were not used: licence.")
    row = indexed.rows()["library/0.bmp"]
    assert (row["title"], row["keywords"], row["width"]) == ("A red one", ("red", "one"), 96)
    assert counted(indexed.run(library)) == (2, 0, 0, 0, 1)
    assert indexed.rows()["library/0.bmp"]["title"] == "A red one"
    assert counted(indexed.run(manifest=manifest)) == (0, 0, 0, 0, 1)
    manifest.write_text("path,title\n0.bmp,Another title\n")
    assert counted(indexed.run(library, manifest=manifest)) == (0, 1, 0, 0, 2)
    assert indexed.rows()["library/0.bmp"]["title"] == "Another title"


def test_what_a_manifest_said_stays_when_the_file_changes(indexed, counted, library):
    manifest = library / "rows.csv"
    manifest.write_text("path,title,keywords,taken_at,latitude,longitude\n0.bmp,A red one,red;one,2019-05-04 03:02:01,48.8584,2.2945\n")
    indexed.run(library, manifest=manifest)
    before = indexed.rows()["library/0.bmp"]
    assert (before["taken_at_source"], before["place"]) == ("manifest", "Paris, Île-de-France, France")
    write_picture(library / "0.bmp", "yellow", size=(50, 30))
    assert counted(indexed.run(library)) == (0, 1, 0, 0, 2)
    after = indexed.rows()["library/0.bmp"]
    assert (after["width"], before["width"]) == (50, 96)
    assert {name: after[name] for name in before["from_manifest"]} == {name: before[name] for name in before["from_manifest"]}
    assert (after["from_manifest"], after["place"]) == (before["from_manifest"], before["place"])


@pytest.mark.parametrize("name", [b"\xff.bmp", b"\xe9t\xe9.bmp", "\uef80.bmp".encode(), b"folder \xc3/x.bmp", b"cut \xe2\x82.bmp"])
def test_a_name_that_is_not_utf8_is_the_same_file_at_every_run(indexed, counted, library, name):
    path = os.path.join(os.fsencode(library), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.rename(os.fsencode(library / "0.bmp"), path)
    assert counted(indexed.run(library)) == (3, 0, 0, 0, 0)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)
    assert os.fsdecode(path) in {row["uri"] for row in indexed.rows().values()}
    with open(path, "wb") as file:
        file.write(b"broken")
    assert len(indexed.run(library).failures) == 1
    assert indexed.run(library).num_failed_before == 1
    os.unlink(path)
    indexed.run(library)
    assert indexed.failures() == {}


def test_names_that_differ_only_in_their_unicode_form_are_two_files(indexed, counted, library):
    write_picture(library / "\u00e9.bmp", "white")
    write_picture(library / "e\u0301.bmp", "black")
    assert counted(indexed.run(library)) == (5, 0, 0, 0, 0)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 5)


def test_a_choice_of_what_is_left_out_is_remembered(indexed, counted, library):
    write_picture(library / "exports" / "x.bmp")
    write_picture(library / "@eaDir" / "y.bmp")
    assert counted(indexed.run(library)) == (4, 0, 0, 0, 0)
    assert indexed.open().identity.leave_out is None
    assert counted(indexed.run(library, leave_out=("exports",))) == (0, 0, 0, 1, 3)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)
    assert indexed.open().identity.leave_out == ("default", "exports")
    assert counted(indexed.run(library, leave_out=("none",))) == (2, 0, 0, 0, 3)
    assert counted(indexed.run(library, leave_out=("default",))) == (0, 0, 0, 1, 4)
    assert indexed.open().identity.leave_out is None


def test_what_is_left_out_from_now_on_goes_also_if_nothing_else_is_there(indexed, counted, library):
    write_picture(library.parent / "other" / "x.bmp", "black")
    indexed.run(library, library.parent / "other")
    assert counted(indexed.run(library, library.parent / "other", leave_out=("?.bmp", "none", "[0-2].bmp"))) == (0, 0, 0, 3, 1)


@pytest.mark.parametrize("same", [True, False])
def test_the_collection_among_the_pictures_is_not_indexed(indexed, counted, library, same):
    indexed.folder = library if same else library / "collection"
    assert counted(indexed.run(library)) == (3, 0, 0, 0, 0)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 3)


def test_a_model_is_not_loaded_if_there_is_nothing_to_embed(indexed, library, monkeypatch, tiny_checkpoint):
    from indexer import index

    index(library, collection=indexed.folder, model=str(tiny_checkpoint))
    monkeypatch.setattr("indexer.run._load", lambda _: pytest.fail("the model was loaded"))
    (library / "0.bmp").unlink()
    report = index(library, collection=indexed.folder)
    assert (report.num_gone, report.num_unchanged) == (1, 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize(
    "make",
    [
        getattr(os, "mkfifo", None),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: (path.touch(), os.truncate(path, 1 << 31)),
    ],
    ids=["a pipe", "a folder", "a device", "huge"],
)
def test_what_is_no_sidecar_but_has_the_name_of_one_is_not_read(indexed, counted, tmp_path, make):
    pictures = [write_picture(tmp_path / "library" / name) for name in ("a.png", "b.png")]
    (tmp_path / "library" / "b.png.xmp").write_text(STARS.format(3))
    make(tmp_path / "library" / "a.png.xmp")
    assert counted(indexed.run(tmp_path / "library")) == (2, 0, 0, 0, 0)
    assert counted(indexed.run(*pictures)) == (0, 0, 0, 0, 2)
    assert indexed.rows()["library/b.png"]["rating"] == 3


STARS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{}"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("sidecar", ["{}.xmp", "{}.png.xmp"])
def test_sidecars_that_are_renamed_with_their_picture_are_not_read_again(indexed, counted, tmp_path, sidecar):
    picture = write_picture(tmp_path / "library" / "a.png")
    beside = picture.with_name(sidecar.format("a"))
    beside.write_text(STARS.format(3))
    indexed.run(picture.parent)
    picture.rename(picture.with_name("b.png"))
    beside.rename(picture.with_name(sidecar.format("b")))
    assert counted(indexed.run(picture.parent)) == (0, 0, 1, 0, 0)
    assert counted(indexed.run(picture.parent)) == (0, 0, 0, 0, 1)
    assert indexed.rows()["library/b.png"]["rating"] == 3


@pytest.mark.parametrize("before", [None, 3])
@pytest.mark.parametrize("after", [None, 4])
def test_what_sidecars_say_of_a_picture_that_moved_meanwhile_is_read(indexed, counted, tmp_path, before, after):
    picture = write_picture(tmp_path / "library" / "a.png")
    if before:
        (picture.parent / "a.xmp").write_text(STARS.format(before))
    indexed.run(picture.parent)
    media_id = indexed.rows()["library/a.png"]["media_id"]
    picture.rename(picture.with_name("b.png"))
    if after:
        (picture.parent / "b.xmp").write_text(STARS.format(after))
    assert counted(indexed.run(picture.parent)) == ((0, 1, 0, 0, 0) if before or after else (0, 0, 1, 0, 0))
    assert (indexed.rows()["library/b.png"]["rating"], indexed.rows()["library/b.png"]["media_id"]) == (after, media_id)
    assert counted(indexed.run(picture.parent)) == (0, 0, 0, 0, 1)


def test_what_a_manifest_says_of_a_picture_that_moved_meanwhile_is_read(indexed, counted, tmp_path):
    picture, manifest = write_picture(tmp_path / "library" / "a.png"), tmp_path / "rows.csv"
    indexed.run(picture.parent)
    picture.rename(picture.with_name("b.png"))
    manifest.write_text("path,title\nlibrary/b.png,Dog\n")
    assert counted(indexed.run(picture.parent, manifest=manifest)) == (0, 1, 0, 0, 0)
    assert indexed.rows()["library/b.png"]["title"] == "Dog"
    picture.with_name("b.png").rename(picture)
    assert counted(indexed.run(picture.parent)) == (0, 0, 1, 0, 0)
    assert indexed.rows()["library/a.png"]["title"] == "Dog"
