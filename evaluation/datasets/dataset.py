"""What the readers of data sets return: media with texts, labels or moments. `MediaFolder` finds the media that annotations name."""

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from evaluation.datasets.files import check_text, is_unicode
from evaluation.errors import DatasetError
from media import formats
from media.formats import Kind, suffixes

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Medium:
    """One picture or video."""

    name: str  # unique in the data set
    path: Path
    kind: Kind
    record: str  # where the data set names the medium: file and record, for messages
    data: bytes | None = field(default=None, repr=False)  # the bytes, if the file of the data set holds them (Parquet)
    seconds: float | None = None  # the moment of a video to show to people; None is the middle

    def read(self) -> bytes:
        """The bytes of the file. Raises OSError."""
        return self.data if self.data is not None else self.path.read_bytes()


@dataclass(frozen=True)
class CaptionedMedia:
    """Media and the texts that describe them. A medium without a text is a distractor."""

    title: str  # data set and split, for people
    media: tuple[Medium, ...]
    texts: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]  # owners[t]: the indices of the media that text t describes, at least one
    missing: tuple[str, ...] = ()  # the records that were left out, each with the reason, for people

    def __post_init__(self) -> None:
        if not self.media or not self.texts:
            raise DatasetError(f"{self.title}: holds {len(self.media)} media and {len(self.texts)} texts. At least one of each is needed.")

    @property
    def texts_of(self) -> list[list[int]]:
        """The indices of each medium's texts, in order."""
        texts: list[list[int]] = [[] for _ in self.media]
        for text, owners in enumerate(self.owners):
            for owner in owners:
                texts[owner].append(text)
        return texts

    def without(self, gone: Mapping[int, str]) -> "CaptionedMedia":
        """A copy without the media `gone` (index to reason) and their texts. `missing` gets the reasons that are not empty."""
        kept = [index for index in range(len(self.media)) if index not in gone]
        new_index = {old: new for new, old in enumerate(kept)}
        owners = [tuple(new_index[owner] for owner in owners if owner in new_index) for owners in self.owners]
        texts = tuple(text for text, owner in zip(self.texts, owners, strict=True) if owner)
        missing = (*self.missing, *filter(None, gone.values()))
        return CaptionedMedia(self.title, tuple(self.media[index] for index in kept), texts, tuple(filter(None, owners)), missing)


@dataclass(frozen=True)
class LabelledMedia:
    """Media with their classes."""

    title: str
    media: tuple[Medium, ...]
    classes: tuple[tuple[str, ...], ...]  # the names of each of C classes; prompts use all, reports the first
    right: tuple[tuple[int, ...], ...]  # right[n]: the classes, 0..C-1, of medium n: one, or several (ObjectNet's overlap with ImageNet)
    missing: tuple[str, ...] = ()  # the records and classes that were left out, each with the reason, for people

    def __post_init__(self) -> None:
        if wrong := [name for names in self.classes for name in names if not is_unicode(name)]:
            raise DatasetError(f"{self.title}: the class name {wrong[0]!r} is not valid Unicode. Rename it.")
        if not self.media or len(self.classes) < 2:
            raise DatasetError(f"{self.title}: holds {len(self.media)} media and {len(self.classes)} classes. At least 1 and 2 are needed.")
        if not all(right and min(right) >= 0 and max(right) < len(self.classes) for right in self.right):
            raise ValueError(f"{self.title}: a medium has no class of the set.")

    def without(self, gone: Mapping[int, str]) -> "LabelledMedia":
        """A copy without the media `gone` (index to reason). The classes stay. The reasons are added to `missing`."""
        kept = [index for index in range(len(self.media)) if index not in gone]
        media, right = tuple(self.media[index] for index in kept), tuple(self.right[index] for index in kept)
        return replace(self, media=media, right=right, missing=(*self.missing, *gone.values()))


@dataclass(frozen=True)
class MomentQuery:
    """A sentence and where in a video it happens: `spans` are [start, stop) in seconds, one for each annotator."""

    medium: int
    text: str
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class MomentSet:
    """Videos and the moments that sentences describe. `segment_seconds` is the grid of the answers (DiDeMo: 5), or None."""

    title: str
    media: tuple[Medium, ...]
    queries: tuple[MomentQuery, ...]
    segment_seconds: float | None = None
    missing: tuple[str, ...] = ()


def present(media: Mapping[Key, Medium | None]) -> tuple[tuple[Medium, ...], dict[Key, int]]:
    """The media that were found (not None), and the index of each by its key."""
    found = {key: medium for key, medium in media.items() if medium is not None}
    return tuple(found.values()), {key: index for index, key in enumerate(found)}


def join_captions(
    title: str, media: Mapping[Key, Medium | None], captions: Iterable[tuple[Key, str, str]], missing: Iterable[str] = ()
) -> CaptionedMedia:
    """Joins media by key (None: left out) with captions (key, text, record). An empty text is left out and counted; its medium stays."""
    found, index_of = present(media)
    texts, owners, left_out = list[str](), list[tuple[int, ...]](), list(missing)
    for key, text, record in captions:
        if key in index_of and text.strip():
            texts.append(check_text(text, record))
            owners.append((index_of[key],))
        elif key in index_of:
            left_out.append(f"{record}: an empty text")
    return CaptionedMedia(title, found, tuple(texts), tuple(owners), tuple(left_out))


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
        raise DatasetError(f"{record}: {wrong} ({path!r:.80}). docs/formats.md lists what can be read.")
    return kind
