"""What the user named stays in the collection when a later run names the folder above it."""

import shutil

from tests.fakes import write_picture


def test_hidden_files_and_folders_that_were_named_are_kept_up_to_date(indexed, counted, tmp_path):
    library = write_picture(tmp_path / "library" / "a.png").parent
    hidden, single = write_picture(library / ".private" / "b.png", "red").parent, write_picture(library / ".c.png", "blue")
    indexed.run(hidden, single)
    assert counted(indexed.run(library)) == (1, 0, 0, 0, 2)
    write_picture(hidden / "b.png", "green", size=(50, 40))
    single.unlink()
    report = indexed.run(library)
    assert (counted(report), report.is_complete) == ((0, 1, 0, 1, 1), True)
    assert indexed.paths() == ["library/.private/b.png", "library/a.png"]
    hidden.rename(library / "public")
    assert counted(indexed.run(library)) == (0, 0, 1, 0, 1)


def test_a_hidden_file_is_not_indexed_because_another_one_was(indexed, counted, tmp_path):
    named = write_picture(tmp_path / "library" / ".a.png")
    write_picture(tmp_path / "library" / ".b.png", "red")
    write_picture(tmp_path / "library" / "c.png", "blue")
    indexed.run(named)
    assert counted(indexed.run(named.parent)) == (1, 0, 0, 0, 1)


def test_a_folder_that_was_named_and_is_left_out_of_the_folder_above_it_is_neither_removed_nor_absent(indexed, counted, tmp_path):
    library = write_picture(tmp_path / "library" / "a.png").parent
    exports = write_picture(library / "Exports" / "b.png", "red").parent
    indexed.run(exports)
    report = indexed.run(library, leave_out=("Exports",))
    assert (counted(report), report.absent, report.is_complete) == ((1, 0, 0, 0, 0), {}, True)
    assert len(indexed.paths()) == 2
    shutil.rmtree(exports)
    assert indexed.run(library, exports).missing == (str(exports),)
