"""A collection of a test, and the run that brings it up to date."""

import os
from collections import Counter

import pytest

from indexer import IndexOptions, index
from search import open_collection
from search.collection.verify import verify
from tests.fakes import FakeEncoder


class Indexed:
    """The collection of a test."""

    def __init__(self, folder, base):
        self.folder, self.base, self.encoder = folder, base, FakeEncoder()

    def run(self, *paths, encoder=None, listed=(), manifest=None, **options):
        """Index, as the user would. Every run must leave a collection that is sound, with each file once."""
        chosen = IndexOptions(workers=2, batch=5, **{"settle_seconds": 0.0, **options})
        encoder = encoder or self.encoder
        report = index(list(paths), listed=listed, manifest=manifest, collection=self.folder, encoder=encoder, options=chosen)
        if not chosen.dry_run:
            assert verify(self.folder).problems == []
            assert max(Counter(self.paths()).values(), default=1) == 1
        return report

    def open(self):
        return open_collection(self.folder, encoder=self.encoder)

    def rows(self):
        """The row of each picture by its path below the folder of the test."""
        snapshot = self.open().snapshot
        return {os.path.relpath(row["uri"], self.base): row for row in snapshot.rows(snapshot.segment_ids)}

    def paths(self):
        """Each file once for each media id that has it."""
        snapshot = self.open().snapshot
        files = {(row["media_id"], row["uri"]) for row in snapshot.rows(snapshot.segment_ids)}
        return sorted(os.path.relpath(uri, self.base) for _, uri in files)

    def failures(self):
        return {os.path.relpath(row["uri"], self.base): row for row in self.open().failures().to_pylist()}


@pytest.fixture
def indexed(tmp_path):
    return Indexed(tmp_path / "collection", tmp_path)


def counts(report):
    """new, changed, moved, gone, unchanged"""
    return report.num_new, report.num_changed, report.num_moved, report.num_gone, report.num_unchanged


@pytest.fixture
def counted():
    return counts
