"""What is left out of folders."""

from pathlib import Path

import pytest

from indexer.files.leave_out import PATTERNS, LeaveOut, choose
from indexer.scan import scan
from tests.fakes import write_picture

COPIES = [
    "@eaDir/holiday.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "2020/@EADIR/x.jpg/SYNOFILE_THUMB_M.jpg",
    "#recycle/gone.jpg",
    "@Recycle/gone.jpg",
    "$RECYCLE.BIN/S-1-5-21/$RABC.jpg",
    "$Recycle.Bin/S-1-5-21/$RABC.jpg",
    "System Volume Information/y.jpg",
    "lost+found/x.jpg",
    "__MACOSX/x.jpg",
    "Lightroom Catalog Previews.lrdata/A/x.jpg",
    "Lightroom Catalog Smart Previews.lrdata/A/x.jpg",
    "Lightroom Library.lrlibrary/0123/previews/x.jpg",
    "Photos Library.photoslibrary/resources/derivatives/0/a_1_105_c.jpeg",
    "Photos Library.photoslibrary/scopes/cloudsharing/x.jpg",
    "Photos Library.photoslibrary/Thumbnails/2020/x.jpg",
    "Aperture Library.aplibrary/Previews/x.jpg",
    "iPhoto Library.photolibrary/Thumbnails/x.jpg",
    "CaptureOne/Cache/Thumbnails/x.jpg",
    "film.trickplay/320 - 10x10/0.jpg",
    "appdata_oc123/preview/a/b/256-256.jpg",
    "files_trashbin/files/x.jpg",
    "Android/data/com.example/cache/x.jpg",
    "node_modules/package/icon.png",
    "x.jpg_original",
    "GX010001.LRV",
    "iPhoto Library/Data.noindex/x.jpg",
    "PRIVATE/M4ROOT/THMBNL/C0001T01.JPG",
    "FOUND.000/x.jpg",
]
PICTURES = [
    "holiday.jpg",
    "Photos Library.photoslibrary/originals/0/a.jpeg",
    "Photos Library.photoslibrary/Masters/2012/a.jpg",
    "Lightroom Library.lrlibrary/0123/originals/x.jpg",
    "Thumbs/holiday.jpg",
    "resources/a.jpg",
    "Android/media/com.example/x.jpg",
    "CaptureOne/x.jpg",
    "eaDir/x.jpg",
    "my recycle/x.jpg",
    "the_original.jpg",
    "previews/x.jpg",
]


def names(tmp_path, *choices):
    found = scan([tmp_path], rules=LeaveOut(choices or ("default",)))
    return {uri.removeprefix(f"{tmp_path}/") for uri in found.files}, found.seen


def test_copies_of_other_programs_are_left_out_and_the_users_pictures_are_not(tmp_path):
    for name in COPIES + PICTURES:
        write_picture(tmp_path / name, format="JPEG")
    found, seen = names(tmp_path)
    assert found == set(PICTURES)
    assert seen.left_out.total() >= len(COPIES) - 1  # one folder holds two of them


def test_the_list_can_be_emptied(tmp_path):
    write_picture(tmp_path / "@eaDir" / "x.jpg")
    write_picture(tmp_path / "y.jpg")
    assert names(tmp_path, *choose(("default",), ["none", "*.tmp.jpg"]))[0] == {"@eaDir/x.jpg", "y.jpg"}
    assert LeaveOut(choose(("default",), ["none"])).folder("/a/@eaDir") is None


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("private", {"a.jpg", "2020/private.jpg", "2020/exports/b.jpg"}),
        ("private/", {"a.jpg", "2020/private.jpg", "2020/exports/b.jpg"}),
        ("private*", {"a.jpg", "2020/exports/b.jpg"}),
        ("*.jpg", set()),
        ("?.jpg", {"2020/private.jpg"}),
        ("exports/*", {"a.jpg", "private/c.jpg", "2020/private.jpg"}),
        ("2020/**/b.jpg", {"a.jpg", "private/c.jpg", "2020/private.jpg"}),
        ("20[12]0/", {"a.jpg", "private/c.jpg"}),
        ("nothing like it", {"a.jpg", "private/c.jpg", "2020/private.jpg", "2020/exports/b.jpg"}),
    ],
)
def test_patterns_of_the_user_match_names_and_paths(tmp_path, pattern, left):
    for name in ("a.jpg", "private/c.jpg", "2020/private.jpg", "2020/exports/b.jpg"):
        write_picture(tmp_path / "pictures" / name)
    write_picture(tmp_path / "z.png")  # so that something is found
    found, _ = names(tmp_path, "default", pattern)
    assert {name.removeprefix("pictures/") for name in found - {"z.png"}} == left


def test_a_whole_path_can_be_left_out(tmp_path):
    for name in ("a/x.jpg", "b/a/x.jpg"):
        write_picture(tmp_path / name)
    assert names(tmp_path, str(tmp_path / "a"))[0] == {"b/a/x.jpg"}


@pytest.mark.parametrize(
    ("folder", "marker"), [("cache", "CACHEDIR.TAG"), ("storage", ".ppstorage"), ("thumbs", ".immich"), ("encoded-video", ".immich")]
)
def test_folders_with_a_marker_are_left_out(tmp_path, folder, marker):
    for name in (f"{folder}/sub/x.jpg", f"other/{folder}/y.jpg", "library/z.jpg"):
        write_picture(tmp_path / name)
    (tmp_path / folder / marker).touch()
    if marker == ".immich":
        (tmp_path / "library" / marker).touch()
    assert names(tmp_path)[0] == {f"other/{folder}/y.jpg", "library/z.jpg"}


@pytest.mark.parametrize("named", ["@eaDir", "@eaDir/x.jpg"])
def test_what_the_user_names_is_not_left_out(tmp_path, named):
    write_picture(tmp_path / "@eaDir" / "x.jpg")
    assert list(scan([tmp_path / named]).files) == [str(tmp_path / "@eaDir" / "x.jpg")]


def test_the_docs_show_the_list():
    pages = "".join(page.read_text(encoding="utf-8") for page in (Path(__file__).parents[3] / "docs").glob("indexing*.md"))
    assert [pattern for pattern in PATTERNS if f"`{pattern}`" not in pages] == []


def test_choices_are_remembered_and_changed():
    assert choose(("default",), []) == ("default",)
    assert choose(("default",), ["a", "a"]) == ("default", "a")
    assert choose(("default", "a"), ["none", "b"]) == ("b",)
    assert choose(("b",), ["default"]) == ("default",)
