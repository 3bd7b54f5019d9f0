"""`index()` over real files with a fake encoder: new, changed, moved, removed and broken files."""

import datetime
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from coca_model import CheckpointError, open_picture
from indexer import IndexOptions, index
from search import open_collection, search
from search.collection.thumbnails import thumbnail_of
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

OPTIONS = IndexOptions(workers=2, batch=5, settle_seconds=0)


@pytest.fixture
def library(tmp_path):
    """Eleven pictures (so the last batch is smaller), a video of three shots, and a broken picture."""
    folder = tmp_path / "library"
    for number, colour in enumerate(["red", "green", "blue", "yellow", "black"] * 2 + ["white"]):
        write_picture(folder / f"{number:02}-{colour}.png", colour, size=(96 + number, 64))
    write_film(folder / "film.mp4", [("red", 6.0), ("green", 6.0), ("blue", 6.0)])
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    return folder


@pytest.fixture
def run(tmp_path, library):
    def run(*paths, **options):
        chosen = IndexOptions(workers=2, batch=5, settle_seconds=0, **options)
        return index(list(paths) or [library], collection=tmp_path / "collection", encoder=FakeEncoder(), options=chosen)

    return run


def opened(tmp_path):
    return open_collection(tmp_path / "collection", encoder=FakeEncoder())


def uris(collection, where=None):
    return sorted({os.path.basename(row["uri"]) for row in rows_of(collection, where=where)})


def test_each_picture_gets_its_own_vector_and_metadata_when_one_fails_to_load(tmp_path, library, run):
    report = run()
    assert (report.num_new, report.num_rows, [os.path.basename(f.uri) for f in report.failures]) == (13, 15, ["broken.jpg"])
    collection = opened(tmp_path)
    for number, colour in enumerate(["red", "green", "blue", "yellow", "black"] * 2 + ["white"]):
        (row,) = rows_of(collection, ["width"], f"uri LIKE '%/{number:02}-{colour}.png'")
        wanted = FakeEncoder().encode_texts([colour])[0]
        assert row["width"] == 96 + number
        assert abs(sum(a * b for a, b in zip(row["vector"], wanted, strict=True)) - 1) < 1e-5


def test_a_video_has_a_row_for_each_shot_and_one_for_the_clip(tmp_path, run):
    run()
    columns = ["kind", "start_seconds", "end_seconds", "frame_seconds", "media_id"]
    rows = sorted(rows_of(opened(tmp_path), columns, "uri LIKE '%film.mp4'"), key=lambda row: row["start_seconds"])
    shots = [row for row in rows if row["kind"] == "shot"]
    assert [row["kind"] for row in rows].count("clip") == 1
    assert [(row["start_seconds"], row["end_seconds"]) for row in shots] == [
        (0.0, pytest.approx(6.0, abs=0.6)),
        (pytest.approx(6.0, abs=0.6), pytest.approx(12.0, abs=0.6)),
        (pytest.approx(12.0, abs=0.6), pytest.approx(18.0, abs=0.11)),
    ]
    assert all(row["start_seconds"] <= row["frame_seconds"] < row["end_seconds"] for row in shots)


def test_every_row_has_a_thumbnail(tmp_path, run):
    run()
    collection = opened(tmp_path)
    for row in collection.snapshot.rows(collection.snapshot.segment_ids):
        with Image.open(thumbnail_of(collection.path, row)) as picture:
            assert picture.format == "WEBP"


def test_a_second_run_writes_nothing(tmp_path, run):
    run()
    before = opened(tmp_path).snapshot.version
    report = run()
    assert (report.num_unchanged, report.num_failed_before, report.num_new, report.num_rows) == (12, 1, 0, 0)
    assert opened(tmp_path).snapshot.version == before


def test_only_a_new_file_is_added(tmp_path, library, run):
    run()
    write_picture(library / "new.png", "white")
    report = run()
    assert (report.num_new, report.num_rows, report.num_unchanged) == (1, 1, 12)
    assert "new.png" in uris(opened(tmp_path))


def test_a_changed_file_gets_a_new_vector_under_its_old_id(tmp_path, library, run):
    run()
    where = "uri LIKE '%00-red.png'"
    (before,) = rows_of(opened(tmp_path), ["media_id"], where)
    write_picture(library / "00-red.png", "blue", size=(50, 50))
    assert run().num_changed == 1
    (row,) = rows_of(opened(tmp_path), ["media_id", "width"], where)
    assert row["media_id"] == before["media_id"]
    assert row["width"] == 50
    np.testing.assert_allclose(row["vector"], FakeEncoder().encode_texts(["blue"])[0], atol=1e-6)


def test_a_shortened_video_keeps_no_old_shots(tmp_path, library, run):
    run()
    write_film(library / "film.mp4", [("red", 5.0)])
    run()
    assert sorted(row["kind"] for row in rows_of(opened(tmp_path), ["kind"], "uri LIKE '%film.mp4'")) == ["clip", "shot"]


def test_a_moved_file_keeps_id_and_vector_and_is_not_embedded_again(tmp_path, library, run):
    run()
    before = rows_of(opened(tmp_path), ("media_id", "sha256"))
    (library / "sub").mkdir()
    shutil.move(library / "film.mp4", library / "sub" / "renamed.mp4")
    report = run()
    assert (report.num_moved, report.num_rows, report.num_gone) == (1, 0, 0)
    assert rows_of(opened(tmp_path), ("media_id", "sha256")) == before
    assert "renamed.mp4" in uris(opened(tmp_path))
    assert "film.mp4" not in uris(opened(tmp_path))


def test_a_touched_file_is_not_embedded_again(tmp_path, library, run):
    run()
    os.utime(library / "00-red.png", (1, 1))
    report = run()
    assert (report.num_changed, report.num_unchanged, report.num_rows) == (0, 12, 0)
    assert run().num_unchanged == 12


def test_two_files_with_the_same_bytes_have_separate_rows(tmp_path, library, run):
    shutil.copy(library / "00-red.png", library / "copy.png")
    run()
    assert {"00-red.png", "copy.png"} <= set(uris(opened(tmp_path)))


def test_a_deleted_file_is_removed_from_the_collection(tmp_path, library, run):
    run()
    (library / "00-red.png").unlink()
    (library / "broken.jpg").unlink()
    assert run().num_gone == 1
    assert "00-red.png" not in uris(opened(tmp_path))
    assert opened(tmp_path).counts()["failed"] == 0


def test_indexing_one_folder_keeps_the_files_of_other_folders(tmp_path, library, run):
    other = write_picture(tmp_path / "other" / "x.png").parent
    run()
    assert run(other).num_gone == 0
    assert {"x.png", "00-red.png"} <= set(uris(opened(tmp_path)))


def test_an_emptied_folder_is_absent_and_keeps_its_rows(tmp_path, library, run):
    run()
    for file in library.iterdir():
        file.unlink()
    report = run()
    assert (dict(report.absent), report.num_gone, report.is_complete) == ({str(library): 13}, 0, False)  # one of them failed
    assert len(uris(opened(tmp_path))) == 12


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_keeps_its_rows(tmp_path, library, run):
    write_picture(library / "private" / "x.png")
    run()
    (library / "private").chmod(0)
    try:
        assert run().num_gone == 0
    finally:
        (library / "private").chmod(0o700)


def test_a_failed_file_is_retried_only_on_request_or_after_a_change(tmp_path, library, run):
    run()
    assert opened(tmp_path).failures().select(["stage", "attempts"]).to_pylist() == [{"stage": "decode", "attempts": 1}]
    assert len(run().failures) == 0
    assert len(run(retry_failed=True).failures) == 1
    assert opened(tmp_path).failures()["attempts"].to_pylist() == [2]
    write_picture(library / "broken.jpg", "green")
    assert run().num_new == 1
    assert opened(tmp_path).counts()["failed"] == 0


def test_a_file_that_became_broken_loses_its_rows_and_thumbnails(tmp_path, library, run):
    run()
    (row,) = opened(tmp_path).snapshot.rows(opened(tmp_path).snapshot.filtered("uri LIKE '%00-red.png'"))
    (library / "00-red.png").write_bytes(b"broken now")
    assert [os.path.basename(f.uri) for f in run().failures] == ["00-red.png"]
    assert "00-red.png" not in uris(opened(tmp_path))
    assert not thumbnail_of(tmp_path / "collection", row).exists()
    assert run().num_failed_before == 2
    write_picture(library / "00-red.png", "red")
    assert run().num_new == 1
    assert opened(tmp_path).counts()["failed"] == 1


def test_metadata_of_a_photograph_is_stored_in_columns(tmp_path, library, run):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Model 1", 6
    exif.get_ifd(0x8769)[0x9003] = "2021:07:03 10:11:12"
    exif.get_ifd(0x8769)[0x9011] = "+02:00"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (33.0, 30.0, 0.0), "E", (151.0, 15.0, 36.0)
    write_picture(library / "photo.jpg", "green", size=(80, 40), exif=exif)
    run()
    columns = ["width", "height", "taken_at", "latitude", "longitude", "camera"]
    (row,) = rows_of(opened(tmp_path), columns, "uri LIKE '%photo.jpg'")
    assert (row["width"], row["height"], row["camera"]) == (40, 80, "Maker Model 1")
    assert row["taken_at"].isoformat() == "2021-07-03T08:11:12+00:00"
    assert (row["latitude"], row["longitude"]) == (pytest.approx(-33.5), pytest.approx(151.26))


@pytest.mark.parametrize(
    ("date", "offset", "year"),
    [
        ("0001:01:01 00:00:00", "+01:00", None),
        ("9999:12:31 23:59:59", "-05:00", None),
        ("1800:01:01 00:00:00", None, None),
        ("2107:01:01 00:00:00", None, None),
        ("0000:00:00 00:00:00", "+00:00", None),
        ("2020:05:06 07:08:09", "   :  ", 2020),
        ("2020:05:06 07:08:09", "+2", 2020),
        ("1900:05:06 07:08:09", "+02:00", 1900),
    ],
)
def test_an_impossible_date_is_dropped_and_a_bad_offset_does_not_lose_a_good_one(tmp_path, date, offset, year):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({36867: date} | ({36881: offset} if offset else {}))
    write_picture(tmp_path / "library" / "a.jpg", "red", exif=exif)
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
    (hit,) = search("red", collection=opened(tmp_path))
    assert hit.taken_at_source == ("Exif.Photo.DateTimeOriginal" if year else "file time")
    assert hit.taken_at.year == (year or datetime.datetime.now(datetime.UTC).year)


def test_names_with_quotes_and_other_scripts_are_indexed_and_moved(tmp_path, library, run):
    write_picture(library / 'it\'s "quoted"; DROP.png', "white", size=(31, 31))
    write_picture(library / "зима 雪 🐈.png", "black", size=(32, 32))
    run()
    shutil.move(library / "зима 雪 🐈.png", library / "l'été.png")
    assert run().num_moved == 1
    assert {'it\'s "quoted"; DROP.png', "l'été.png"} <= set(uris(opened(tmp_path)))


def test_progress_counts_every_file_once(tmp_path, library):
    seen = []
    index(library, collection=tmp_path / "c", encoder=FakeEncoder(), options=OPTIONS, on_progress=seen.append)
    assert sorted({progress.num_done for progress in seen}) == list(range(14))
    assert (seen[-1].num_files, seen[-1].num_failed) == (13, 1)


def test_segment_ids_are_unique_and_contain_the_media_id(tmp_path, run):
    run()
    rows = rows_of(opened(tmp_path))
    assert len({row["segment_id"] for row in rows}) == len(rows)
    assert [row["segment_id"] >> 20 for row in rows] == [row["media_id"] for row in rows]


def test_a_model_given_by_a_relative_path_is_found_from_another_folder(tmp_path, monkeypatch, tiny_checkpoint):
    (tmp_path / "models").mkdir()
    shutil.copytree(tiny_checkpoint, tmp_path / "models" / "mine")
    write_picture(tmp_path / "library" / "red.png", "red")
    monkeypatch.chdir(tmp_path)
    index(["library"], collection=tmp_path / "collection", model="models/mine", options=OPTIONS)
    monkeypatch.chdir(tmp_path / "library")
    assert open_collection(tmp_path / "collection").encoder.encode_texts(["red"]).shape == (1, 16)
    assert index([tmp_path / "library"], collection=tmp_path / "collection", options=OPTIONS).num_unchanged == 1


def test_a_photograph_turned_by_its_exif_is_indexed_upright(tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    picture = Image.new("RGB", (64, 96), "blue")
    picture.paste("red", (0, 0, 64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side; orientation 6 turns it clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "phone.jpg", exif=exif, quality=95)
    seen = []

    class Watched(FakeEncoder):
        def preprocess(self, picture):
            seen.append(open_picture(picture))  # a real encoder opens the indexer's picture again
            return super().preprocess(picture)

    index([folder], collection=tmp_path / "collection", encoder=Watched(), options=OPTIONS)
    (picture,) = seen
    assert picture.height > picture.width
    assert (picture.getpixel((10, 5))[0] > 200, picture.getpixel((10, picture.height - 5))[2] > 200) == (True, True)


def test_a_renamed_model_is_found_after_indexing_with_its_new_path(tmp_path, tiny_checkpoint):
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(tiny_checkpoint, old)
    write_picture(tmp_path / "library" / "red.png", "red")
    index([tmp_path / "library"], collection=tmp_path / "collection", model=str(old), options=OPTIONS)
    old.rename(new)
    with pytest.raises(CheckpointError, match=r"the model of this collection was not found\. Run coca-search index again, with --model"):
        _ = open_collection(tmp_path / "collection").encoder
    report = index([tmp_path / "library"], collection=tmp_path / "collection", model=str(new), options=OPTIONS)
    assert report.num_unchanged == 1
    assert open_collection(tmp_path / "collection").encoder.encode_texts(["red"]).shape == (1, 16)


def test_a_model_given_as_symbolic_links_can_be_loaded_again(tmp_path, monkeypatch, tiny_checkpoint):
    (tmp_path / "blob").mkdir()
    for file in tiny_checkpoint.iterdir():
        shutil.copy(file, tmp_path / "blob" / file.name.replace(".", ""))
    (tmp_path / "snapshot").mkdir()
    for file in tiny_checkpoint.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(tmp_path / "blob" / file.name.replace(".", ""))
    write_picture(tmp_path / "library" / "red.png", "red")
    monkeypatch.chdir(tmp_path)
    index(["library"], collection="collection", model="snapshot/model.safetensors", options=OPTIONS)
    assert open_collection("collection").encoder.encode_texts(["red"]).shape == (1, 16)
