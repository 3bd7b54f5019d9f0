"""Folders that are not mounted: their rows stay until the user forgets them."""

import os
import shutil
import stat

import pytest

from indexer import SourceError
from search import QueryError
from search.collection.roots import list_roots
from tests.fakes import write_picture

COLOURS = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture
def library(tmp_path):
    """Two folders with three pictures each, all different."""
    for number, colour in enumerate(COLOURS):
        write_picture(tmp_path / ("nas" if number % 2 else "pictures") / f"{number}.png", colour, size=(40 + number, 40))
    return tmp_path


def unmount(folder, *, leaves_mount_point):
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    if leaves_mount_point:
        folder.mkdir()
    return elsewhere


def mount(elsewhere, folder):
    if folder.exists():
        folder.rmdir()
    elsewhere.rename(folder)


@pytest.mark.parametrize("leaves_mount_point", [True, False])
@pytest.mark.parametrize("named", [("pictures", "nas"), (".",), ("pictures", "nas", ".")])
def test_a_root_that_is_not_mounted_keeps_its_rows(indexed, counted, library, leaves_mount_point, named):
    indexed.run(library / "pictures", library / "nas")
    before = indexed.paths()
    elsewhere = unmount(library / "nas", leaves_mount_point=leaves_mount_point)
    report = indexed.run(*(library / name for name in named), leave_out=("elsewhere",))
    assert counted(report) == (0, 0, 0, 0, 3)
    assert not report.is_complete
    assert any(str(library / "nas") in line and " in the collection." in line for line in report.remarks())
    assert indexed.paths() == before
    mount(elsewhere, library / "nas")
    report = indexed.run(*(library / name for name in named))
    assert (counted(report), report.is_complete) == ((0, 0, 0, 0, 6), True)


def test_a_stray_picture_where_a_drive_is_mounted_does_not_replace_what_is_on_the_drive(indexed, counted, library):
    indexed.run(library / "pictures", library / "nas")
    before = indexed.paths()
    elsewhere = unmount(library / "nas", leaves_mount_point=True)
    write_picture(library / "nas" / "stray.png", "red", size=(50, 30))
    for num_new in (1, 0):
        report = indexed.run(library / "pictures", library / "nas")
        assert (report.num_new, report.num_gone, report.absent) == (num_new, 0, {str(library / "nas"): 3})
        assert indexed.paths() == sorted([*before, "nas/stray.png"])
    assert [os.path.basename(root.folder) for root in list_roots(indexed.open().snapshot) if root.is_absent] == ["nas"]
    (library / "nas" / "stray.png").rename(library / "stray.png")
    mount(elsewhere, library / "nas")
    assert counted(indexed.run(library / "pictures", library / "nas")) == (0, 0, 0, 1, 6)


def test_a_folder_whose_pictures_were_all_replaced_is_not_absent(indexed, counted, library):
    indexed.run(library / "pictures", library / "nas")
    for name in ("1.png", "3.png", "5.png"):
        (library / "nas" / name).unlink()
    write_picture(library / "nas" / "new.png", "red", size=(50, 30))
    assert counted(indexed.run(library / "pictures", library / "nas")) == (1, 0, 0, 3, 3)


def test_failures_of_an_absent_root_stay(indexed, library):
    (library / "nas" / "broken.jpg").write_bytes(b"broken")
    indexed.run(library / "pictures", library / "nas")
    unmount(library / "nas", leaves_mount_point=True)
    indexed.run(library / "pictures", library / "nas")
    assert list(indexed.failures()) == ["nas/broken.jpg"]


def test_a_root_of_which_pictures_were_deleted_is_not_absent(indexed, counted, library):
    indexed.run(library / "pictures", library / "nas")
    for name in ("1.png", "3.png"):
        (library / "nas" / name).unlink()
    assert counted(indexed.run(library / "pictures", library / "nas")) == (0, 0, 0, 2, 4)


def test_an_emptied_folder_that_is_no_root_is_empty(indexed, counted, library):
    indexed.run(library, leave_out=("collection",))
    unmount(library / "nas", leaves_mount_point=True)
    shutil.rmtree(library / "elsewhere")
    assert counted(indexed.run(library)) == (0, 0, 0, 3, 3)


def test_an_absent_root_is_shown(indexed, library):
    indexed.run(library / "pictures", library / "nas")
    unmount(library / "nas", leaves_mount_point=True)
    states = {os.path.basename(root.folder): (root.num_files, root.is_absent) for root in list_roots(indexed.open().snapshot)}
    assert states == {"pictures": (3, False), "nas": (3, True)}


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize("leaves_mount_point", [True, False])
def test_a_root_is_forgotten_when_the_user_says_so(indexed, counted, library, by_id, leaves_mount_point):
    indexed.run(library / "pictures", library / "nas")
    shutil.rmtree(unmount(library / "nas", leaves_mount_point=leaves_mount_point))
    root = indexed.open().identity.find_root(str(library / "nas")) if by_id else str(library / "nas")
    report = indexed.run(library / "pictures", library / "nas", forget=(root,))
    assert (counted(report), report.is_complete) == ((0, 0, 0, 0, 3), True)
    assert indexed.paths() == ["pictures/0.png", "pictures/2.png", "pictures/4.png"]
    assert str(library / "nas") not in indexed.open().identity.roots.values() or leaves_mount_point


def test_forgetting_needs_no_other_path_and_a_known_root(indexed, library):
    indexed.run(library / "pictures", library / "nas")
    indexed.run(forget=(str(library / "nas"),))
    assert len(indexed.paths()) == 3
    with pytest.raises(QueryError, match="Unknown root"):
        indexed.run(library / "pictures", forget=("nonsense",))


def test_a_folder_inside_a_forgotten_one_that_was_indexed_by_itself_is_told(indexed, library):
    inner = write_picture(library / "nas" / "2020" / "x.png").parent
    indexed.run(inner)
    indexed.run(library / "nas")
    notes = indexed.run(forget=(str(library / "nas"),)).notes
    assert notes[0] == f"{library / 'nas'}: forgotten, with 3 files."
    assert notes[1].startswith(f"{inner}: not forgotten. It lies inside")
    assert indexed.paths() == ["nas/2020/x.png"]


def test_nothing_is_forgotten_if_another_path_is_wrong(indexed, library):
    indexed.run(library / "pictures", library / "nas")
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        indexed.run(library / "nowhere", forget=(str(library / "nas"),))
    assert len(indexed.paths()) == 6


@pytest.mark.parametrize("named", [(), ("pictures",), ("pictures", "nas")])
def test_a_dry_run_of_forgetting_says_what_the_run_then_does(indexed, counted, library, named):
    indexed.run(library / "pictures", library / "nas")
    paths, forget = [library / name for name in named], (str(library / "nas"), f"{library}/nas/")
    dry = indexed.run(*paths, forget=forget, dry_run=True)
    assert (len(indexed.paths()), dry.notes) == (6, (f"{library / 'nas'}: forgotten, with 3 files.",))
    report = indexed.run(*paths, forget=forget)
    assert (counted(report), report.notes) == (counted(dry), dry.notes)
    assert len(indexed.paths()) == (6 if "nas" in named else 3)


def test_a_path_that_was_never_indexed_is_an_error(indexed, library):
    indexed.run(library / "pictures")
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        indexed.run(library / "pictures", library / "nowhere")


@pytest.mark.parametrize("missing", ["nas", "nas/1.png", "nas/2020"])
def test_a_missing_path_in_a_root_is_told_and_the_others_are_indexed(indexed, library, missing):
    indexed.run(library / "pictures", library / "nas")
    shutil.rmtree(library / "nas")
    write_picture(library / "pictures" / "new.png")
    report = indexed.run(library / "pictures", library / missing)
    assert (report.num_new, report.missing, report.is_complete) == (1, (str(library / missing),), False)
    assert len(indexed.paths()) == 7


def test_pictures_moved_from_one_root_to_another_move_also_if_the_first_is_empty_now(indexed, counted, library):
    """The inbox of a camera: an empty folder looks like one that is not mounted, but the inodes tell that the files moved."""
    indexed.run(library / "pictures", library / "nas")
    before = indexed.rows()
    for picture in list((library / "nas").iterdir()):
        picture.rename(library / "pictures" / picture.name)
    report = indexed.run(library / "pictures", library / "nas")
    assert (counted(report), report.absent, report.is_complete) == ((0, 0, 3, 0, 3), {}, True)
    assert indexed.rows()["pictures/1.png"]["media_id"] == before["nas/1.png"]["media_id"]


def test_a_copy_of_a_root_that_is_not_mounted_does_not_take_its_rows(indexed, counted, library):
    indexed.run(library / "pictures", library / "nas")
    elsewhere = unmount(library / "nas", leaves_mount_point=True)
    shutil.copy2(elsewhere / "1.png", library / "pictures")
    assert counted(indexed.run(library / "pictures", library / "nas")) == (1, 0, 0, 0, 3)
    assert {"nas/1.png", "pictures/1.png"} <= set(indexed.paths())


def test_a_picture_moved_to_the_only_folder_that_is_indexed_now_moves(indexed, counted, library):
    indexed.run(library / "pictures", library / "nas")
    (library / "nas" / "1.png").rename(library / "pictures" / "renamed.png")
    assert counted(indexed.run(library / "pictures")) == (0, 0, 1, 0, 3)
    assert "nas/1.png" not in indexed.paths()


def test_a_mount_below_an_indexed_folder_is_a_root_of_its_own(indexed, counted, library, monkeypatch):
    status = os.stat

    def nas_on_another_device(path, **options):
        found = status(path, **options)
        is_on_it = str(path).startswith(str(library / "nas"))
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:10]]) if is_on_it and stat.S_ISDIR(found.st_mode) else found

    indexed.run(library)
    monkeypatch.setattr(os, "stat", nas_on_another_device)
    assert counted(indexed.run(library)) == (0, 0, 0, 0, 6)
    assert sorted(indexed.open().identity.roots.values()) == [str(library), str(library / "nas")]
    assert len({row["root_id"] for row in indexed.rows().values()}) == 2
    monkeypatch.undo()
    unmount(library / "nas", leaves_mount_point=True).rename(library.parent / f"{library.name}-elsewhere")
    report = indexed.run(library)
    assert (counted(report), report.absent) == ((0, 0, 0, 0, 3), {str(library / "nas"): 3})
    shutil.rmtree(library.parent / f"{library.name}-elsewhere")
