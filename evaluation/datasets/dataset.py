"""What the readers of data sets give, whatever the files look like: media, with texts, labels or moments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.errors import DatasetError
from indexer.scan import MediaType


@dataclass(frozen=True)
class Medium:
    """One picture or video.

    Attributes:
        name: what the data set calls it, unique in the set.
        record: the file and record that speak of it, for messages.
        data: its bytes where they lie in the data set's own file (Parquet); else they are read from `path`.
        seconds: of a video, the moment to show of it to people; by default its middle.
    """

    name: str
    path: Path
    kind: MediaType
    record: str
    data: bytes | None = field(default=None, repr=False)
    seconds: float | None = None

    def read(self) -> bytes:
        """The bytes of the file. Raises OSError."""
        return self.data if self.data is not None else self.path.read_bytes()


@dataclass(frozen=True)
class CaptionedMedia:
    """Media and the texts that describe them.

    Attributes:
        title: data set and split, for people.
        owners: owners[t] are the indices of the media that text t describes, at least one. A medium without a text is a distractor.
        missing: what was left out, for people: the record, and why.
    """

    title: str
    media: tuple[Medium, ...]
    texts: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.media or not self.texts:
            raise DatasetError(f"{self.title}: holds {len(self.media)} media and {len(self.texts)} texts. At least one of each is needed.")
        if len(self.owners) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts have {len(self.owners)} owners. Each text needs its own.")
        if not all(owner and min(owner) >= 0 and max(owner) < len(self.media) for owner in self.owners):
            raise ValueError(f"{self.title}: a text describes no medium of the set.")

    @property
    def texts_of(self) -> list[list[int]]:
        """For each medium the indices of its texts, in order."""
        texts: list[list[int]] = [[] for _ in self.media]
        for text, owners in enumerate(self.owners):
            for owner in owners:
                texts[owner].append(text)
        return texts

    def without(self, gone: Mapping[int, str]) -> "CaptionedMedia":
        """The same without some media, by index, and without the texts that describe nothing else.

        The reasons count as missing, where there is one.
        """
        if not gone:
            return self
        kept = [index for index in range(len(self.media)) if index not in gone]
        place = {old: new for new, old in enumerate(kept)}
        pairs = [(text, tuple(place[o] for o in owner if o in place)) for text, owner in zip(self.texts, self.owners, strict=True)]
        pairs = [(text, owner) for text, owner in pairs if owner]
        return CaptionedMedia(
            self.title,
            tuple(self.media[index] for index in kept),
            tuple(text for text, _ in pairs),
            tuple(owner for _, owner in pairs),
            (*self.missing, *filter(None, gone.values())),
        )


@dataclass(frozen=True)
class LabelledMedia:
    """Media and the class of each, among classes that are the only possible answers.

    Attributes:
        classes: the names of each class, the first for people; a prompt is made of every one. C classes.
        right: right[n] are the classes, 0..C-1, that are right for medium n: one, or several (ObjectNet's overlaps with ImageNet).
        missing: what was left out, for people: the record, and why; and classes without media.
    """

    title: str
    media: tuple[Medium, ...]
    classes: tuple[tuple[str, ...], ...]
    right: tuple[tuple[int, ...], ...]
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (name for names in self.classes for name in names):
            if not is_unicode(name):
                raise DatasetError(f"{self.title}: the class name {name!r} is not valid Unicode. Rename it.")
        if not self.media or len(self.classes) < 2:
            raise DatasetError(f"{self.title}: holds {len(self.media)} media and {len(self.classes)} classes. At least 1 and 2 are needed.")
        if len(self.right) != len(self.media):
            raise ValueError(f"{len(self.media)} media have {len(self.right)} answers. Each medium needs its own.")
        if not all(right and min(right) >= 0 and max(right) < len(self.classes) for right in self.right):
            raise ValueError(f"{self.title}: a medium is of no class of the set.")

    def without(self, gone: Mapping[int, str]) -> "LabelledMedia":
        """The same without some media, by index; the reasons count as missing. The classes stay."""
        kept = [index for index in range(len(self.media)) if index not in gone]
        media, right = tuple(self.media[index] for index in kept), tuple(self.right[index] for index in kept)
        return LabelledMedia(self.title, media, self.classes, right, (*self.missing, *gone.values()))


@dataclass(frozen=True)
class MomentQuery:
    """A sentence and where in a video it happens: `spans` are [start, stop) in seconds, one for each person who was asked."""

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


def is_unicode(text: str) -> bool:
    """Whether the text holds no half characters, as JSON and names of files may."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
