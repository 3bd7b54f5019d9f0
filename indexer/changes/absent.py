"""Folders that are probably not mounted: they were indexed, and nothing of them is there."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from indexer.files.leave_out import LeaveOut
from indexer.scan import Scan
from media.sources.folders import Folders
from search.collection import Identity
from search.collection.roots import is_another_folder


class Absent:
    """The folders, among those that were scanned and the roots in them, that had files and in which not one was found.

    But if the folder is another one than before, half of its files must be there: a stray picture may lie where a drive is mounted.

    Args:
        scan: what was found.
        indexed: the files in the collection, also those that failed.
        identity: that of the collection, with the folders that were indexed.
        rules: what is left out. A file that is left out now is not absent.
    """

    def __init__(self, scan: Scan, indexed: Collection[str], identity: Identity, rules: LeaveOut) -> None:
        scanned = Folders(each.folder for each in scan.selections)
        folders = {*(each.folder for each in scan.selections), *(root for root in identity.roots.values() if root in scanned)}
        self._folders, self._rules = Folders(folders), rules
        # Folders that were indexed by their names, and that a folder above them leaves out: nobody looked into them.
        self._apart = {
            each for each in folders if (outer := scanned.innermost(each)) not in {None, each} and rules.below(f"{each}/", outer)
        }
        self.counts: dict[str, int] = {}
        lost = [uri for uri in indexed if uri not in scan.files and scan.covers(uri) and not self._is_left_out(uri)]
        if lost:
            counts = Counter(self._folders.innermost(uri) for uri in lost)
            present = self._present(scan, indexed, identity, counts)
            present |= {folder for folder in folders for found in present if found in Folders([folder])}
            self.counts = {folder: count for folder, count in counts.items() if folder is not None and folder not in present | self._apart}

    def _present(self, scan: Scan, indexed: Collection[str], identity: Identity, lost: Mapping[str | None, int]) -> set[str]:
        """The folders in which files were found; of a folder that is another one than before, at least half of its files."""
        roots = Folders(identity.roots.values())
        others = {folder for root_id, folder in identity.roots.items() if is_another_folder(root_id, identity)}
        found: Counter[str] = Counter()  # indexed files; 0 where only new ones were found
        for uri in scan.files:
            if (folder := self._folders.innermost(uri)) is not None:
                found[folder] += uri in indexed
        return {folder for folder, count in found.items() if roots.innermost(folder) not in others or count >= lost.get(folder, 0)}

    def keeps(self, uri: str) -> bool:
        """Whether a file stays in the collection because its folder is absent."""
        folder = self._folders.innermost(uri)
        return folder in self._apart or (folder in self.counts and not self._is_left_out(uri))

    def counts_without(self, moved: Iterable[str]) -> dict[str, int]:
        """`counts` without files that were found at another place."""
        left = Counter(self._folders.innermost(uri) for uri in moved)
        return {folder: count - left[folder] for folder, count in self.counts.items() if count > left[folder]}

    def _is_left_out(self, uri: str) -> bool:
        folder = self._folders.innermost(uri)
        return folder is not None and self._rules.below(uri, folder)
