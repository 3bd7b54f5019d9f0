"""An indexed folder that was renamed or mounted elsewhere is recognised by what is in it."""

import os
import shutil

import pytest

from search import search
from tests.fakes import write_film, write_picture

COLOURS = ("red", "green", "blue", "yellow", "black", "white")


def fill(folder, count=6):
    for number in range(count):
        write_picture(folder / ("2020" if number % 2 else "2021") / f"{number}.png", COLOURS[number % 6], size=(40 + number, 40))
    return folder


def copy(source, target, *, keep_times=True):
    """A copy has other inodes, as a drive may have on another machine."""
    shutil.copytree(source, target, copy_function=shutil.copy2 if keep_times else shutil.copyfile)


class Forbidden:
    """An encoder that must not be used."""

    def __init__(self, encoder):
        self._encoder = encoder

    def __getattr__(self, name):
        assert name not in {"encode_pixels", "preprocess"}, "a file was embedded again"
        return getattr(self._encoder, name)


@pytest.mark.parametrize("new", ["usb2", "deep/er/usb1", "usb1 (copy) ❄", b"usb\xff"])
def test_a_renamed_root_is_moved_and_not_embedded_again(indexed, counted, tmp_path, new):
    new = tmp_path / os.fsdecode(new)
    fill(tmp_path / "usb1")
    write_film(tmp_path / "usb1" / "film.mp4", [("red", 3.0)])
    indexed.run(tmp_path / "usb1")
    ids = {row["media_id"] for row in indexed.rows().values()}
    new.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "usb1").rename(new)
    report = indexed.run(new, encoder=Forbidden(indexed.encoder))
    assert (counted(report), report.is_complete) == ((0, 0, 7, 0, 0), True)
    assert [(move.old, move.new) for move in report.moved_roots] == [(str(tmp_path / "usb1"), str(new))]
    assert {row["media_id"] for row in indexed.rows().values()} == ids
    assert all(os.path.exists(hit.uri) for hit in search("red", collection=indexed.open()))
    assert counted(indexed.run(new)) == (0, 0, 0, 0, 7)


@pytest.mark.parametrize("on_the_drive", [True, False])
def test_a_drive_is_used_on_two_machines_in_turn(indexed, counted, tmp_path, on_the_drive):
    """Other mount points, inodes and change times."""
    fill(tmp_path / "a" / "drive" / "pictures")
    if on_the_drive:
        indexed.folder = tmp_path / "a" / "drive" / "collection"
    indexed.run(tmp_path / "a" / "drive" / "pictures")
    for here, there in (("a", "b"), ("b", "a"), ("a", "b")):
        copy(tmp_path / here, tmp_path / there)
        shutil.rmtree(tmp_path / here)
        if on_the_drive:
            indexed.folder = tmp_path / there / "drive" / "collection"
            assert all(path.startswith(there) for path in indexed.paths())  # before it is indexed there
        report = indexed.run(tmp_path / there / "drive" / "pictures", encoder=Forbidden(indexed.encoder))
        assert counted(report) == ((0, 0, 0, 0, 6) if on_the_drive else (0, 0, 6, 0, 0))
        assert all(path.startswith(there) for path in indexed.paths())


def test_the_mount_point_may_be_there_still(indexed, counted, tmp_path):
    fill(tmp_path / "usb1")
    indexed.run(tmp_path / "usb1")
    (tmp_path / "usb1").rename(tmp_path / "usb2")
    (tmp_path / "usb1").mkdir()
    assert counted(indexed.run(tmp_path / "usb2", tmp_path / "usb1")) == (0, 0, 6, 0, 0)


def test_a_root_is_found_below_the_folder_that_is_named(indexed, counted, tmp_path):
    fill(tmp_path / "old" / "pictures")
    indexed.run(tmp_path / "old" / "pictures")
    shutil.move(tmp_path / "old", tmp_path / "drive" / "old")
    write_picture(tmp_path / "drive" / "new.png", "red")
    assert counted(indexed.run(tmp_path / "drive")) == (1, 0, 6, 0, 0)


def test_a_root_is_found_if_only_a_folder_in_it_is_named(indexed, counted, tmp_path):
    fill(tmp_path / "old")
    indexed.run(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert counted(indexed.run(tmp_path / "new" / "2020")) == (0, 0, 3, 0, 0)
    assert all(path.startswith("new/") for path in indexed.paths())
    assert counted(indexed.run(tmp_path / "new")) == (0, 0, 0, 0, 6)


def test_a_root_renamed_in_a_folder_that_is_indexed_too_is_moved(indexed, counted, tmp_path):
    fill(tmp_path / "library" / "old")
    write_picture(tmp_path / "library" / "x.png")
    indexed.run(tmp_path / "library" / "old")
    indexed.run(tmp_path / "library")
    (tmp_path / "library" / "old").rename(tmp_path / "library" / "new")
    report = indexed.run(tmp_path / "library")
    assert (counted(report), len(report.moved_roots)) == ((0, 0, 6, 0, 1), 1)


@pytest.mark.parametrize("inner_moves", [True, False])
def test_roots_in_a_moved_root_move_with_it_or_alone(indexed, counted, tmp_path, inner_moves):
    fill(tmp_path / "old" / "inner", 3)
    indexed.run(tmp_path / "old" / "inner")
    fill(tmp_path / "old" / "other", 5)
    indexed.run(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    named = [tmp_path / "new"]
    if inner_moves:
        (tmp_path / "new" / "inner").rename(tmp_path / "drive")
        named.append(tmp_path / "drive")
    report = indexed.run(*named)
    assert (counted(report), len(report.moved_roots)) == ((0, 0, 8, 0, 0), 1 + inner_moves)
    assert sum(path.startswith("drive/" if inner_moves else "new/inner/") for path in indexed.paths()) == 3


def test_files_that_changed_with_the_move_are_seen(indexed, counted, tmp_path):
    fill(tmp_path / "old", 20)
    (tmp_path / "old" / "broken.jpg").write_bytes(b"broken")
    indexed.run(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "2021" / "0.png").unlink()
    write_picture(tmp_path / "new" / "2020" / "1.png", "white", size=(99, 99))
    write_picture(tmp_path / "new" / "another.png", "white", size=(98, 98))
    report = indexed.run(tmp_path / "new")
    assert counted(report) == (1, 1, 18, 1, 0)
    assert (report.num_failed_before, list(indexed.failures())) == (1, ["new/broken.jpg"])


def test_a_small_root_is_recognised_by_its_inodes_though_a_picture_is_gone(indexed, counted, tmp_path):
    fill(tmp_path / "old", 3)
    indexed.run(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "2021" / "0.png").unlink()
    assert counted(indexed.run(tmp_path / "new")) == (0, 0, 2, 1, 0)


def test_a_copy_is_new_and_the_root_stays(indexed, counted, tmp_path):
    fill(tmp_path / "old")
    indexed.run(tmp_path / "old")
    copy(tmp_path / "old", tmp_path / "copy")
    assert counted(indexed.run(tmp_path / "copy")) == (6, 0, 0, 0, 0)
    assert counted(indexed.run(tmp_path / "old", tmp_path / "copy")) == (0, 0, 0, 0, 12)


@pytest.mark.parametrize("num_copied", [1, 3, 5])
def test_a_part_of_a_copy_of_an_absent_root_is_no_move(indexed, counted, tmp_path, num_copied):
    fill(tmp_path / "old")
    indexed.run(tmp_path / "old")
    copy(tmp_path / "old", tmp_path / "copy")
    shutil.move(tmp_path / "old", tmp_path / "elsewhere")
    for picture in sorted((tmp_path / "copy").rglob("*.png"), key=lambda each: each.name)[num_copied:]:
        picture.unlink()
    assert counted(indexed.run(tmp_path / "copy")) == (num_copied, 0, 0, 0, 0)
    assert sum(path.startswith("old/") for path in indexed.paths()) == 6


def test_files_of_the_same_names_and_sizes_but_other_bytes_are_not_taken_for_a_moved_root(indexed, counted, tmp_path):
    for number in range(6):
        write_picture(tmp_path / "card1" / "DCIM" / f"IMG_{number}.bmp", "red")
        write_picture(tmp_path / "card2" / "DCIM" / f"IMG_{number}.bmp", "blue")
    indexed.run(tmp_path / "card1")
    shutil.move(tmp_path / "card1", tmp_path / "away")
    report = indexed.run(tmp_path / "card2")
    assert (counted(report), report.moved_roots) == ((6, 0, 0, 0, 0), ())


def test_of_two_absent_roots_the_one_that_fits_better_is_moved(indexed, counted, tmp_path):
    fill(tmp_path / "first", 20)
    copy(tmp_path / "first", tmp_path / "second")
    (tmp_path / "first" / "2021" / "0.png").unlink()
    write_picture(tmp_path / "first" / "other.png", "red", size=(77, 77))
    indexed.run(tmp_path / "first", tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "second").rename(tmp_path / "third")
    report = indexed.run(tmp_path / "third")
    assert [(move.old, move.new) for move in report.moved_roots] == [(str(tmp_path / "second"), str(tmp_path / "third"))]
    assert counted(report) == (0, 0, 20, 0, 0)


def test_of_two_places_one_is_the_root_and_the_other_a_copy(indexed, counted, tmp_path):
    fill(tmp_path / "old")
    indexed.run(tmp_path / "old")
    copy(tmp_path / "old", tmp_path / "b")
    (tmp_path / "old").rename(tmp_path / "a")
    assert counted(indexed.run(tmp_path / "b", tmp_path / "a")) == (6, 0, 6, 0, 0)
    assert counted(indexed.run(tmp_path / "a", tmp_path / "b")) == (0, 0, 0, 0, 12)


def test_a_root_whose_folder_cannot_be_looked_into_has_not_moved(indexed, counted, tmp_path, monkeypatch):
    fill(tmp_path / "old")
    indexed.run(tmp_path / "old")
    copy(tmp_path / "old", tmp_path / "copy")
    status = os.stat

    def refuse(path, **options):
        if str(path).startswith(str(tmp_path / "old")):
            raise PermissionError(13, "Permission denied", path)
        return status(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert counted(indexed.run(tmp_path / "copy")) == (6, 0, 0, 0, 0)


def test_roots_that_take_the_place_of_one_another_are_moved(indexed, counted, tmp_path):
    fill(tmp_path / "a", 3)
    for number in range(4):
        write_picture(tmp_path / "b" / f"other{number}.png", COLOURS[number], size=(90 + number, 40))
    indexed.run(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").rename(tmp_path / "c")
    (tmp_path / "a").rename(tmp_path / "b")
    report = indexed.run(tmp_path / "b", tmp_path / "c")
    assert (counted(report), len(report.moved_roots)) == ((0, 0, 7, 0, 0), 2)
    assert sum(path.startswith("c/other") for path in indexed.paths()) == 4


@pytest.mark.parametrize("named", ["old", "new", "above"])
def test_a_root_that_a_link_replaces_is_moved_to_its_real_place(indexed, counted, tmp_path, named):
    """The library went to a larger disk, and a link stays at the old place."""
    fill(tmp_path / "above" / "old")
    indexed.run(tmp_path / "above" / "old")
    copy(tmp_path / "above" / "old", tmp_path / "new")
    shutil.rmtree(tmp_path / "above" / "old")
    (tmp_path / "above" / "old").symlink_to("../new")
    write_picture(tmp_path / "above" / "x.png")
    report = indexed.run({"old": tmp_path / "above" / "old"}.get(named, tmp_path / named))
    assert counted(report) == (int(named == "above"), 0, 6, 0, 0)
    assert sum(path.startswith("new/") for path in indexed.paths()) == 6


def test_a_root_moved_into_itself_is_moved(indexed, counted, tmp_path):
    fill(tmp_path / "library")
    indexed.run(tmp_path / "library")
    (tmp_path / "library").rename(tmp_path / "archive")
    (tmp_path / "library").mkdir()
    (tmp_path / "archive").rename(tmp_path / "library" / "archive")
    write_picture(tmp_path / "library" / "new.png")
    assert counted(indexed.run(tmp_path / "library")) == (1, 0, 6, 0, 0)
    assert counted(indexed.run(tmp_path / "library")) == (0, 0, 0, 0, 7)
