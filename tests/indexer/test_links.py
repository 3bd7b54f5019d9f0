"""Links: each file comes once, under its real name where it is found there."""

import os

import pytest

from indexer.scan import scan
from tests.fakes import write_picture


@pytest.fixture
def root(tmp_path):
    write_picture(tmp_path / "root" / "real" / "a.png", "red")
    write_picture(tmp_path / "outside" / "o.png", "blue")
    write_picture(tmp_path / "outside" / "deep" / "p.png", "green")
    return tmp_path / "root"


def found(root, **options):
    scanned = scan([root], **options)
    return sorted(os.path.relpath(uri, root) for uri in scanned.files), scanned.seen


@pytest.mark.parametrize("target", ["real/a.png", "../root/real/a.png", "{root}/real/a.png"])
def test_a_link_to_a_picture_that_is_found_anyway_is_the_same_picture(root, target):
    (root / "link.png").symlink_to(target.format(root=root))
    (root / "chain.png").symlink_to("link.png")
    assert found(root)[0] == ["real/a.png"]


def test_a_link_to_a_folder_that_is_found_anyway_is_the_same_folder(root):
    (root / "again").symlink_to("real")
    assert found(root)[0] == ["real/a.png"]


def test_two_links_to_a_picture_outside_give_it_once_under_the_first_name(root):
    for name in ("1.png", "2.png"):
        (root / name).symlink_to("../outside/o.png")
    assert found(root)[0] == ["1.png", "real/a.png"]


def test_two_links_to_a_folder_outside_give_it_once_under_its_real_name(root):
    for name in ("one", "two"):
        (root / name).symlink_to("../outside")
    (root / "three").symlink_to("../outside/deep")
    files, seen = found(root)
    assert files == ["../outside/deep/p.png", "../outside/o.png", "real/a.png"]
    assert [link.uri for link in seen.followed] == [str(root / "one")]


def test_links_in_a_linked_folder_are_followed_too(root, tmp_path):
    (root / "out").symlink_to("../outside")
    write_picture(tmp_path / "third" / "t.png")
    (tmp_path / "outside" / "on").symlink_to("../third")
    (tmp_path / "outside" / "back").symlink_to("../root")
    (tmp_path / "outside" / "back.png").symlink_to("../root/real/a.png")
    assert found(root)[0] == ["../outside/deep/p.png", "../outside/o.png", "../third/t.png", "real/a.png"]


@pytest.mark.parametrize("links", [{"up": ".."}, {"here": "."}, {"real/up": "../.."}, {"top": "/"}])
def test_a_link_to_a_folder_above_is_told_and_not_followed(root, links):
    for name, target in links.items():
        (root / name).symlink_to(target)
    files, seen = found(root)
    assert (files, seen.loops) == (["real/a.png"], [str(root / name) for name in links])


@pytest.mark.parametrize(
    "links",
    [
        {"broken.png": "nowhere.png"},
        {"self.png": "self.png"},
        {"a.png": "b.png", "b.png": "a.png"},
        {"folder": "nowhere"},
        {"through.png": "real/a.png/x.png"},
    ],
)
def test_links_to_nothing_are_named(root, links):
    for name, target in links.items():
        (root / name).symlink_to(target)
    files, seen = found(root)
    assert (files, seen.broken_links) == (["real/a.png"], [str(root / name) for name in sorted(links)])


def test_a_link_into_a_hidden_folder_is_a_picture_of_its_own(root):
    """As git-annex keeps pictures."""
    write_picture(root / ".git" / "annex" / "objects" / "x.png", "white")
    (root / "photo.png").symlink_to(".git/annex/objects/x.png")
    assert found(root)[0] == ["photo.png", "real/a.png"]


def test_links_to_what_is_left_out_are_left_out(root):
    write_picture(root / "@eaDir" / "a.png" / "x.png")
    (root / "thumb.png").symlink_to("@eaDir/a.png/x.png")
    (root / "thumbs").symlink_to("@eaDir")
    (root / "more").symlink_to("@eaDir/a.png")
    assert found(root)[0] == ["real/a.png"]


def test_hard_links_are_two_pictures(root):
    os.link(root / "real" / "a.png", root / "b.png")
    assert found(root)[0] == ["b.png", "real/a.png"]


def test_a_linked_picture_that_is_indexed_under_its_real_name_is_not_indexed_again(root, tmp_path):
    (root / "o.png").symlink_to("../outside/o.png")
    assert found(root, known={str(tmp_path / "outside" / "o.png")})[0] == ["real/a.png"]


def test_a_linked_picture_moves_to_its_real_name_when_its_folder_is_indexed(indexed, counted, root, tmp_path):
    (root / "o.png").symlink_to("../outside/o.png")
    (root / "out.png").symlink_to("../outside/deep/p.png")
    assert counted(indexed.run(root)) == (3, 0, 0, 0, 0)
    assert counted(indexed.run(tmp_path / "outside")) == (0, 0, 2, 0, 0)
    assert indexed.paths() == ["outside/deep/p.png", "outside/o.png", "root/real/a.png"]
    assert counted(indexed.run(root)) == (0, 0, 0, 0, 1)
    assert counted(indexed.run(root, tmp_path / "outside")) == (0, 0, 0, 0, 3)


def test_a_linked_folder_is_a_root_of_its_own(indexed, counted, root, tmp_path):
    """So its pictures stay if its drive is not mounted, and the link leads to nothing."""
    (root / "nas").symlink_to("../outside")
    assert counted(indexed.run(root)) == (3, 0, 0, 0, 0)
    assert counted(indexed.run(root / "nas")) == (0, 0, 0, 0, 2)
    (tmp_path / "outside").rename(tmp_path / "unmounted")
    report = indexed.run(root)
    assert (counted(report), report.seen.broken_links) == ((0, 0, 0, 0, 1), [str(root / "nas")])
    assert (report.missing, report.is_complete, len(indexed.paths())) == ((str(tmp_path / "outside"),), False, 3)


def test_a_picture_behind_a_link_that_leads_to_nothing_now_stays(indexed, counted, root, tmp_path):
    (root / "o.png").symlink_to("../outside/o.png")
    indexed.run(root)
    (tmp_path / "outside").rename(tmp_path / "unmounted")
    report = indexed.run(root)
    assert (counted(report), report.is_complete) == ((0, 0, 0, 0, 1), False)
    assert indexed.paths() == ["root/o.png", "root/real/a.png"]
    (root / "o.png").unlink()
    assert counted(indexed.run(root)) == (0, 0, 0, 1, 1)


def test_a_changed_picture_behind_a_link_is_indexed_again(indexed, counted, root, tmp_path):
    (root / "o.png").symlink_to("../outside/o.png")
    indexed.run(root)
    write_picture(tmp_path / "outside" / "o.png", "white", size=(33, 33))
    assert counted(indexed.run(root)) == (0, 1, 0, 0, 1)
