"""What a run tells at its end."""

from pathlib import Path

from indexer.report import Report


def report(**values):
    return Report(Path("/c"), 0, 0, 0, 0, 0, **{"num_failed_before": 0, **values})


def test_an_absent_folder_says_how_to_remove_it():
    root, folder = report(absent={"/m/a b": 3}, roots=frozenset(["/m/a b"])), report(absent={"/m/x": 1})
    assert list(root.remarks()) == [
        "/m/a b: absent. Its 3 files stay in the collection. If they are gone for good, remove them with: --forget '/m/a b'"
    ]
    assert list(folder.remarks()) == [
        "/m/x: absent. Its 1 files stay in the collection. If they are gone for good, index the folder above it."
    ]


def test_long_lists_are_cut():
    unreadable = {f"/{number}": "Permission denied" for number in range(12)}
    assert list(report(unreadable=unreadable).remarks())[-1] == "7 more files and folders cannot be read."
    lines = list(report(unfinished=tuple(f"/{number}.jpg" for number in range(7))).remarks())
    assert lines == ["Still being written: 7 files, left for the next run (/0.jpg, /1.jpg, /2.jpg, /3.jpg, /4.jpg, ...)."]


def test_only_trouble_of_this_run_makes_it_incomplete():
    assert report(num_failed_before=3).is_complete
    assert not any(
        report(**trouble).is_complete
        for trouble in ({"unreadable": {"/a": "x"}}, {"absent": {"/a": 1}}, {"missing": ("/a",)}, {"unfinished": ("/a",)})
    )
