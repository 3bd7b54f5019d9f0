"""Whether a file changed since it was indexed: by size, time and revision, and by its hash where these leave doubt."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from indexer.changes.hashes import OnCheck, hash_files
from media.sources.addresses import is_address
from media.sources.source import SourceFile, with_sidecars
from search.collection import KnownFile

Verdict = Literal["same", "doubtful", "changed"]
_REVISION = re.compile(
    r"(?P<bytes>.*?)(?P<sidecars>\+s[0-9a-f]{16})?(?P<revisions>\+r[0-9a-f]{16})?(?P<manifest>\+m[0-9a-f]{16})?", re.DOTALL
)
_OF_LOCAL_FILE = re.compile(r"\d+-(\d+)")
_SAMPLE = 64  # files that are hashed where all files of a root seem to differ in the same way
_QUARTER_HOUR, _MOST_SHIFT = 900, 26 * 3600


def compare(before: KnownFile, found: SourceFile) -> Verdict:
    """`doubtful` means that only the hash can tell."""
    if before.size_bytes != found.size_bytes:
        return "changed"
    is_same_time = before.mtime == found.mtime
    if is_same_time and (not before.revision or not found.revision or before.revision == found.revision):
        return "same"
    if is_described_anew(before.revision, found.revision):
        return "changed"
    then, now = _parts(before.revision), _parts(found.revision)
    if not is_same_time or then["bytes"] != now["bytes"]:
        return "doubtful"  # after a copy of the folder, all revisions differ
    return "changed" if then["revisions"] and then["revisions"] != now["revisions"] else "same"


def is_described_anew(before: str | None, now: str) -> bool:
    """Whether sidecars or a manifest differ, by the revisions of a file. Without a manifest, what it said before stays."""
    then, parts = _parts(before), _parts(now)
    has_other_sidecars = before is not None and then["sidecars"] != parts["sidecars"]
    return has_other_sidecars or bool(parts["manifest"] and then["manifest"] != parts["manifest"])


def with_other_sidecars(file: SourceFile, sidecars: Sequence[SourceFile]) -> SourceFile:
    """The same file and manifest with other sidecars."""
    parts = _parts(file.revision)
    described = with_sidecars(replace(file, revision=parts["bytes"], sidecars=()), sidecars)
    return replace(described, revision=described.revision + parts["manifest"])


def new_revision(before: KnownFile, found: SourceFile) -> str | None:
    """The revision of a file whose bytes did not change. What a manifest said of it stays."""
    if not found.revision or before.revision == found.revision:
        return before.revision
    kept = "" if _parts(found.revision)["manifest"] else _parts(before.revision)["manifest"]
    return found.revision + kept


def inode_of(revision: str | None) -> str | None:
    """The inode in the revision of a local file."""
    found = _OF_LOCAL_FILE.fullmatch(_parts(revision)["bytes"])
    return found[1] if found else None


def unchanged_among(
    doubtful: Sequence[tuple[KnownFile, SourceFile]], num_files: Mapping[str, int], *, check_all: bool, on_check: OnCheck | None = None
) -> set[str]:
    """The uris of files whose bytes are as indexed.

    Files are hashed. But if most files of a root differ in the same way, such as by new inodes after a drive was mounted again, or by
    whole hours on a drive that stores local time, a sample decides for all of them.

    Args:
        doubtful: files as they were indexed, and as they are now.
        num_files: the number of files that were found in each root.
        check_all: hash all of them.
    """
    pairs = {found.uri: (before, found) for before, found in doubtful}
    groups: dict[tuple[str, float], list[str]] = defaultdict(list)
    for uri, (before, found) in pairs.items():
        groups[before.root_id, round(found.mtime - before.mtime, 3)].append(uri)
    same: set[str] = set()
    for (root_id, shift), uris in groups.items():
        sample = uris
        is_local = not any(map(is_address, uris))  # ETags are not renumbered
        if not check_all and is_local and _is_renumbered(shift) and len(uris) > max(_SAMPLE, num_files.get(root_id, 0) / 2):
            sample = uris[:: len(uris) // _SAMPLE]
        same_in_sample = _same_bytes(sample, pairs, on_check)
        if len(sample) < len(uris) and len(same_in_sample) < len(sample):
            same_in_sample |= _same_bytes([uri for uri in uris if uri not in set(sample)], pairs, on_check)
        same.update(uris if len(same_in_sample) == len(sample) < len(uris) else same_in_sample)
    return same


def count_by_root(files: Mapping[str, object], known: Mapping[str, KnownFile]) -> Counter[str]:
    """The number of indexed files that were found, by root."""
    return Counter(known[uri].root_id for uri in files if uri in known)


def _same_bytes(uris: Sequence[str], pairs: Mapping[str, tuple[KnownFile, SourceFile]], on_check: OnCheck | None) -> set[str]:
    hashes = hash_files(uris, on_check)
    return {uri for uri, sha256 in hashes.items() if sha256 == pairs[uri][0].sha256}


def _is_renumbered(shift: float) -> bool:
    return abs(shift) <= _MOST_SHIFT and shift % _QUARTER_HOUR == 0


def _parts(revision: str | None) -> dict[str, str]:
    found = _REVISION.fullmatch(revision or "")
    assert found is not None
    return found.groupdict("")
