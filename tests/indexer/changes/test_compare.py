"""Whether a file changed: size, time, revision, and the hash where these leave doubt."""

import hashlib
from pathlib import Path

import pytest

from indexer.changes.compare import compare, inode_of, new_revision, unchanged_among
from media.sources.local import LocalFolders
from media.sources.source import SourceFile, with_part, with_sidecars
from search.collection import KnownFile

SIDECAR = [SourceFile("/a.xmp", 1, 1.0)]
OTHER_SIDECAR = [SourceFile("/a.xmp", 1, 2.0)]
EDITED_SIDECAR = [SourceFile("/a.xmp", 1, 1.0, "9-9")]


def known(revision, size=5, mtime=1.0, path="a", sha256="0" * 64):
    return KnownFile(uri=path, media_id=1, root_id="r", path=path, size_bytes=size, mtime=mtime, sha256=sha256, revision=revision)


def found(revision="10-7", size=5, mtime=1.0, sidecars=(), manifest=None):
    file = with_sidecars(SourceFile("/a.jpg", size, mtime, revision), sidecars)
    return with_part(file, "m", manifest) if manifest else file


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (known("10-7"), found("10-7"), "same"),
        (known("10-7"), found("11-7"), "doubtful"),
        (known("10-7"), found("10-8"), "doubtful"),
        (known("10-7"), found("10-7", mtime=2.0), "doubtful"),
        (known("10-7"), found("10-7", size=6), "changed"),
        (known(None), found("10-7"), "same"),
        (known(None), found("10-7", sidecars=SIDECAR), "same"),
        (known(None), found("10-7", mtime=2.0), "doubtful"),
        (known("10-7"), found("10-7", sidecars=SIDECAR), "changed"),
        (known(found(sidecars=SIDECAR).revision), found(sidecars=SIDECAR), "same"),
        (known(found(sidecars=SIDECAR).revision), found("11-7", sidecars=SIDECAR), "doubtful"),
        (known(found(sidecars=SIDECAR).revision), found(sidecars=OTHER_SIDECAR), "changed"),
        (known(found(sidecars=SIDECAR).revision), found(sidecars=EDITED_SIDECAR), "changed"),
        (known(found(sidecars=SIDECAR).revision), found("11-8", sidecars=EDITED_SIDECAR), "doubtful"),  # a copy of the folder
        (known(found(sidecars=SIDECAR).revision), found(), "changed"),
        (known("10-7"), found(manifest="m"), "changed"),
        (known(found(manifest="m").revision), found(manifest="m"), "same"),
        (known(found(manifest="m").revision), found(manifest="n"), "changed"),
        (known(found(manifest="m").revision), found(), "same"),  # a run without the manifest
        (known("CJ+x/+s="), found("CJ+x/+s="), "same"),  # a bucket's ETag
        (known("CJ+x/+s="), found("CJ+y/+s="), "doubtful"),
        (known("10-7"), found(""), "same"),  # a source without revisions
        (known(""), found("10-7"), "same"),
    ],
)
def test_a_file_is_compared_with_what_was_indexed(before, now, verdict):
    assert compare(before, now) == verdict


def test_what_a_manifest_said_stays_in_the_revision_of_an_unchanged_file():
    before = known(found(sidecars=SIDECAR, manifest="m").revision)
    assert new_revision(before, found("11-8", sidecars=SIDECAR)) == found("11-8", sidecars=SIDECAR, manifest="m").revision


def test_only_local_files_have_inodes():
    assert inode_of(found("10-7", sidecars=SIDECAR).revision) == "7"
    assert [inode_of(each) for each in (None, "", "d41d8cd98f00b204e9800998ecf8427e-5")] == [None, None, None]


class Library:
    """Files that all differ from how they were indexed."""

    def __init__(self, folder, count, monkeypatch):
        self.read = []
        self.pairs = []
        for number in range(count):
            file = folder / f"{number:04}.jpg"
            file.write_bytes(b"%d" % number)
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            self.pairs.append((known("1-1", path=str(file), sha256=sha256), SourceFile(str(file), 5, 1.0, "2-2")))
        opened = LocalFolders.open
        monkeypatch.setattr(LocalFolders, "open", lambda source, uri: self.read.append(uri) or opened(source, uri))

    def edit(self, positions):
        for position in positions:
            Path(self.pairs[position][1].uri).write_bytes(b"other")

    def unchanged(self, num_files, **options):
        same = unchanged_among(self.pairs, {"r": num_files}, **{"check_all": False, **options})
        return [position for position, (_, now) in enumerate(self.pairs) if now.uri in same]


def test_a_drive_that_was_mounted_again_is_not_read(tmp_path, monkeypatch):
    library = Library(tmp_path, 1000, monkeypatch)
    assert library.unchanged(1000) == list(range(1000))
    assert len(library.read) < 100


@pytest.mark.parametrize("hours", [1, -1, 5.5, 9])
def test_a_drive_that_stores_local_time_is_not_read_in_another_zone(tmp_path, monkeypatch, hours):
    library = Library(tmp_path, 300, monkeypatch)
    library.pairs = [(before, SourceFile(now.uri, 5, now.mtime + hours * 3600, now.revision)) for before, now in library.pairs]
    assert library.unchanged(300) == list(range(300))
    assert len(library.read) < 100


def test_files_touched_at_any_time_are_read(tmp_path, monkeypatch):
    library = Library(tmp_path, 100, monkeypatch)
    library.pairs = [(before, SourceFile(now.uri, 5, now.mtime + 77, now.revision)) for before, now in library.pairs]
    assert len(library.unchanged(100)) == len(library.read) == 100


def test_a_tool_that_edited_a_whole_library_under_its_times_is_noticed(tmp_path, monkeypatch):
    library = Library(tmp_path, 300, monkeypatch)
    library.edit(range(300))
    assert library.unchanged(300) == []


def test_a_few_edits_are_found_by_their_hash(tmp_path, monkeypatch):
    library = Library(tmp_path, 100, monkeypatch)
    library.edit([3, 50])
    assert library.unchanged(10_000) == [position for position in range(100) if position not in {3, 50}]
    assert len(library.read) == 100


def test_a_small_library_is_read_whole(tmp_path, monkeypatch):
    library = Library(tmp_path, 60, monkeypatch)
    library.edit([59])
    assert library.unchanged(60) == list(range(59))


def test_check_content_reads_everything(tmp_path, monkeypatch):
    library = Library(tmp_path, 300, monkeypatch)
    library.edit([123])
    seen = []
    assert len(library.unchanged(300, check_all=True, on_check=lambda *state: seen.append(state))) == 299
    assert seen == [(done, 300) for done in range(1, 301)]


def test_a_file_that_cannot_be_read_counts_as_changed(tmp_path, monkeypatch):
    library = Library(tmp_path, 3, monkeypatch)
    Path(library.pairs[1][1].uri).unlink()
    assert library.unchanged(3) == [0, 2]
