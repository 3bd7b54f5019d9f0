"""The folder of pictures and videos that annotations refer to by name."""

import os
from collections.abc import Iterator
from pathlib import Path

from evaluation.datasets.dataset import Medium
from evaluation.errors import DatasetError
from media import formats
from media.formats import Kind, suffixes


class MediaFolder:
    """Finds media below a folder, by name, with or without a suffix. `missing` names the records that were left out."""

    def __init__(self, folder: Path, *, allow_missing: bool = False) -> None:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder. Pass the folder of the pictures or videos with --media.")
        self.folder, self.missing = folder, list[str]()
        self._allow_missing = allow_missing
        self._by_stem: dict[str, list[tuple[Path, Kind]]] | None = None

    @classmethod
    def of(cls, annotations: Path, folder: Path | None, *, allow_missing: bool = False) -> "MediaFolder":
        """`folder`, or the folder of the annotations. Raises DatasetError."""
        if not annotations.exists():  # otherwise the error for a mistyped path would name the folder
            raise DatasetError(f"{annotations}: no such file. Pass the annotations of the data set.")
        return cls(annotations.parent if folder is None else folder, allow_missing=allow_missing)

    def find(self, name: str, kind: Kind, record: str, *, inside: str = "", exact: bool = False) -> Medium | None:
        """The medium called `name`, in the subfolder `inside` or in this folder; None if it is missing and that is allowed.

        Unless `exact`, a name without a folder is searched for in all subfolders. A video may have another suffix, because
        published videos are often re-encoded. Raises DatasetError that names the record.
        """
        for candidate in (self.folder / inside / name, self.folder / name):
            if os.path.isfile(candidate):  # noqa: PTH113 Path.is_file raises if a name is too long
                return Medium(name, candidate, kind, record)
        found = [] if exact or Path(name).name != name else self._below(name, kind)
        if len(found) > 1:
            some = ", ".join(str(path.relative_to(self.folder)) for path in found[:3])
            raise DatasetError(f"{record}: {name!r} may be any of {len(found)} files ({some}). Keep one of them below {self.folder}.")
        if found:
            return Medium(name, found[0], kind, record)
        if not self._allow_missing:
            raise DatasetError(
                f"{record}: the {'picture' if kind == 'image' else 'video'} {name!r} is not in {self.folder}. "
                "Pass its folder with --media, or --allow-missing to leave such records out."
            )
        self.missing.append(f"{record}: {name!r} is missing.")
        return None

    def _below(self, name: str, kind: Kind) -> list[Path]:
        if self._by_stem is None:
            self._by_stem = {}
            for path, found_kind in media_below(self.folder, self.folder):
                self._by_stem.setdefault(path.stem, []).append((path, found_kind))
        suffix = Path(name).suffix.lower()
        stem = Path(name).stem if suffix in suffixes() else name
        found = [path for path, found_kind in self._by_stem.get(stem, []) if found_kind == kind]
        same_name = [path for path in found if path.name == name]
        return same_name if same_name or suffix in suffixes("image") else found


def media_below(folder: Path, root: Path) -> Iterator[tuple[Path, Kind]]:
    """The pictures and videos below `folder`, sorted. Skips hidden files and folders below `root`, as the indexer does."""
    for path in sorted(folder.rglob("*")):
        kind = formats.kind_of(path)
        if kind and path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
            yield path, kind


def kind_of(path: str, record: str, *, videos_only: bool = False) -> Kind:
    """Picture or video, by suffix. Raises DatasetError if the path is neither, or no video although only videos are allowed."""
    kind = formats.kind_of(path)
    if kind is None or (videos_only and kind != "video"):
        wrong = "not a video" if videos_only else "neither a picture nor a video"
        known = suffixes("video" if videos_only else None)
        raise DatasetError(f"{record}: {wrong} ({path!r:.80}). Known suffixes: {' '.join(sorted(known))}.")
    return kind
