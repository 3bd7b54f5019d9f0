"""The pointer of a collection in a bucket: the one object that says which files its newest version has."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from search.errors import IncompatibleError

POINTER = "coca-search-collection.json"
FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Contents:
    """The files of one version of a collection, by their paths in its folder: SHA-256 and size in bytes.

    `written_by` is random, so that no two writes have the same bytes.
    """

    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    written_by: str = ""

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, "written_by": self.written_by, "files": self.files}, sort_keys=True).encode()

    @staticmethod
    def from_json(data: bytes, address: str) -> "Contents":
        """Raises IncompatibleError for a newer format, or for paths that lead out of the folder."""
        try:
            raw = json.loads(data)
            number, files = raw["format"], {path: (sha256, size) for path, (sha256, size) in raw["files"].items()}
            if number > FORMAT:
                raise IncompatibleError(f"{address}: format {number} is newer than this program's ({FORMAT}). Upgrade coca-search.")
            if not all(_is_safe(path) and _SHA256.fullmatch(sha256) for path, (sha256, _) in files.items()):
                raise ValueError("a path or checksum that no collection has")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise IncompatibleError(f"{address}/{POINTER}: unexpected content ({error}). Restore it, or index into a new place.") from error
        return Contents(files, str(raw.get("written_by", "")))


def _is_safe(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and not parts[0].startswith(".") and "\\" not in path
