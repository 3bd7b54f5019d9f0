"""Finds the pictures and films in folders: what is left out, which links lead where, and files whose name does not say what they are."""

import mimetypes
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from indexer.files.inputs import Selection
from indexer.files.leave_out import LeaveOut
from media.formats import AMBIGUOUS, KNOWN_UNREADABLE, format_of, sniff
from media.sources.addresses import is_address
from media.sources.choose import source_of
from media.sources.folders import Folders
from media.sources.sidecars import is_sidecar, sidecars_of
from media.sources.source import Link, SourceFile, Visit, with_sidecars

_HEAD_BYTES = 4096  # what `sniff` needs
_SAMPLES = 3  # files of an unknown suffix that are looked into
_MOST_SUFFIXES = 500  # unknown ones that are looked into: names of mails and logs end with numbers
_TYPES = mimetypes.MimeTypes(filenames=()).types_map[True]  # Python's own table: that of the machine may know anything


@dataclass
class Seen:
    """What was met beside the files, to be told at the end of a run.

    Attributes:
        left_out: the number of files and folders that each pattern left out.
        unread: the number of files by suffix that are pictures or films, but cannot be read.
        followed: links out of the folders to other folders, which were looked into.
        loops: links to a folder that contains the link.
        broken_links: links to nothing.
        missing: files of a list that do not exist.
    """

    left_out: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    followed: list[Link] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    broken_links: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    num_hidden: int = 0
    num_special: int = 0


class Finder:
    """Collects the files of a run.

    Args:
        rules: what is left out.
        known: the files that are indexed already, by path.
    """

    def __init__(self, rules: LeaveOut, known: Collection[str]) -> None:
        self._rules, self._known = rules, known
        self.files: dict[str, SourceFile] = {}
        self.selections: list[Selection] = []
        self.mounts: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.seen = Seen()
        self._is_known_suffix: dict[str, bool] = {}
        self._walked: set[str] = set()  # folders of which all files were taken
        self._folder_links: list[Link] = []
        self._file_links: list[Link] = []
        self._nameless: list[str] = []
        self._unknown: Counter[str] = Counter()  # files by suffix
        self._samples: dict[str, list[str]] = {}  # of them

    def walk(self, selection: Selection) -> None:
        """Add what is in a folder."""
        if selection.folder in self._walked:
            return
        self.selections.append(selection)
        visit = Visit(
            wants=lambda uri: self._has_known_suffix(uri) and self._rules.file(uri) is None and selection.has(uri),
            enters=lambda folder: selection.enters(folder) and not self._leaves_out(self._rules.folder(folder)),
            stays=lambda folder, names: folder not in self._walked and not self._leaves_out(self._rules.marker(folder, names)),
            on_unwanted=lambda uri: self.note_unwanted(uri) if selection.has(uri) else None,
        )
        for file in source_of(selection.folder).walk(selection.folder, visit):
            self.files[file.uri] = file
        if not selection.names:
            self._walked |= visit.walked
        for link in visit.links:
            if selection.has(link.uri):
                (self._folder_links if link.file is None else self._file_links).append(link)
        self.mounts += visit.mounts
        self.unreadable |= visit.unreadable
        self.seen.broken_links += visit.broken_links
        self.seen.num_hidden += visit.num_hidden
        self.seen.num_special += visit.num_special

    def add(self, uris: Iterable[str]) -> None:
        """Add single files, with the sidecars beside them."""
        by_folder: dict[str, list[str]] = defaultdict(list)
        for uri in (uri for uri in uris if uri not in self.files):
            by_folder[os.path.dirname(uri)].append(uri)  # noqa: PTH120 - or an address
        for folder, files in by_folder.items():
            beside = self._beside(folder, files)
            for uri in files:
                try:
                    self.files[uri] = with_sidecars(source_of(uri).stat(uri), beside.get(uri, ()))
                except OSError as error:
                    self.unreadable[uri] = error.strerror or str(error)

    def follow_links_to_folders(self) -> None:
        """Walk the folders that links lead to and that were not looked into."""
        while self._folder_links:
            link = self._folder_links.pop(0)
            if (link.uri + "/").startswith(link.target.rstrip("/") + "/"):
                self.seen.loops.append(link.uri)
            elif link.target not in self._walked and not self._is_left_out(link.target):
                self.seen.followed.append(link)
                self.walk(Selection(link.target))

    def add_linked_files(self) -> None:
        """Add links to files that were not found, and are not indexed, under their real name. Each file comes once."""
        targets: set[str] = set()
        for link in self._file_links:
            is_found = link.target in self.files or link.target in self._known or link.target in targets
            if link.file is not None and not is_found and not self._is_left_out(link.target):
                self.files[link.uri] = link.file
                targets.add(link.target)

    def add_hidden(self) -> None:
        """Add hidden files that are indexed: the user named them, or a folder that holds them, in an earlier run."""
        folders = Folders(each.folder for each in self.selections)
        hidden = [uri for uri in self._known if "/." in uri and uri not in self.files and _is_hidden(uri, folders.innermost(uri))]
        self.add(uri for uri in hidden if not self._is_left_out(uri) and not is_gone(uri))

    def look_into_unknown(self) -> None:
        """Add pictures and films without a suffix, or with an ambiguous one. Count unknown suffixes of which a sample is one."""
        self.add([uri for uri in self._nameless if uri in self._known or looks_like_media(uri)])
        for suffix, samples in self._samples.items():
            if any(looks_like_media(uri) for uri in samples):
                self.seen.unread[suffix] += self._unknown[suffix]

    def _has_known_suffix(self, uri: str) -> bool:
        """Whether a name is that of a picture or film. Most names end like one that was asked for before."""
        end = uri[uri.rfind(".") :]
        if end not in self._is_known_suffix:
            self._is_known_suffix[end] = format_of(uri) is not None
        return self._is_known_suffix[end] and (end.lower() not in AMBIGUOUS or is_address(uri))

    def _is_left_out(self, target: str) -> bool:
        folder = Folders(each.folder for each in self.selections).innermost(target)
        return folder is not None and folder != target and (self._rules.below(target, folder) or self._rules.folder(target) is not None)

    def _leaves_out(self, pattern: str | None) -> bool:
        if pattern is not None:
            self.seen.left_out[pattern] += 1
        return pattern is not None

    def note_unwanted(self, uri: str) -> None:
        """Count a file that is no picture or film by its name, or is left out."""
        suffix = os.path.splitext(uri)[1].lower()  # noqa: PTH122
        if self._leaves_out(self._rules.file(uri)) or is_sidecar(uri):
            return
        if suffix in AMBIGUOUS:
            self._nameless.append(uri)
        elif suffix in KNOWN_UNREADABLE or _TYPES.get(suffix, "").startswith(("image/", "video/")):
            self.seen.unread[suffix] += 1
        elif is_address(uri) and uri not in self._known:
            return  # to look into it would download a part of it
        elif not suffix:
            self._nameless.append(uri)
        elif suffix not in _TYPES:
            self._unknown[suffix] += 1
            samples = self._samples.setdefault(suffix, []) if len(self._samples) < _MOST_SUFFIXES else self._samples.get(suffix, [])
            samples += [uri] if len(samples) < _SAMPLES else []

    def _beside(self, folder: str, files: Sequence[str]) -> dict[str, list[SourceFile]]:
        source = source_of(folder)
        stems = {os.path.splitext(uri)[0] for uri in files}  # noqa: PTH122
        try:
            uris = [f"{folder.rstrip('/')}/{name}" for name in source.names(folder)]
            names = [os.path.basename(uri) for uri in uris if is_sidecar(uri) or os.path.splitext(uri)[0] in stems]  # noqa: PTH119, PTH122
            found = sidecars_of(names)
        except OSError:
            return {}
        beside: dict[str, list[SourceFile]] = defaultdict(list)
        for uri in files:
            for name in found.get(os.path.basename(uri), ()):  # noqa: PTH119
                with suppress(OSError):  # no file, or gone
                    beside[uri].append(source.stat(f"{folder.rstrip('/')}/{name}"))
        return beside


def _is_hidden(uri: str, folder: str | None) -> bool:
    """Whether a file is hidden in a folder, by its name or that of a folder between them."""
    return folder is not None and "/." in uri[len(folder.rstrip("/")) :]


def is_gone(uri: str) -> bool:
    """Whether a file is no longer there. False if that cannot be found out."""
    try:
        source_of(uri).stat(uri)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def looks_like_media(uri: str) -> bool:
    """Whether the first bytes of a file are those of a picture or film."""
    try:
        with source_of(uri).open(uri) as file:
            return sniff(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
