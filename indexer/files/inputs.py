"""What a run indexes: folders, files, patterns such as `~/Pictures/**/*.heic`, and lists of files."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile

from indexer.files.patterns import PathPattern
from media.sources.addresses import is_address, parse_address, without_secrets
from media.sources.choose import source_of

StrPath = str | os.PathLike[str]
_MISSING = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class Selection:
    """A folder with all that is in it, or only what matches a pattern. `names` is the pattern below the folder, name by name."""

    folder: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join([self.folder.rstrip("/"), *self.names]) or "/"

    def has(self, uri: str) -> bool:
        """Whether a path below the folder is selected: it or a folder above it matches the pattern."""
        return not self.names or self._pattern.fits(self._below(uri))

    def enters(self, folder: str) -> bool:
        """Whether something in a folder below can be selected."""
        return not self.names or self._pattern.can_fit_below(self._below(folder))

    @cached_property
    def _pattern(self) -> PathPattern:
        return PathPattern([*self.names, "**"])

    def _below(self, uri: str) -> list[str]:
        return uri[len(self.folder) :].strip("/").lower().split("/")


@dataclass(frozen=True)
class Inputs:
    """What a run indexes. All paths are absolute and without links.

    Attributes:
        folders: folders, and patterns.
        files: single files that the user named.
        listed: single files of a list or manifest.
        missing: what the user named and does not exist.
        missing_of_list: what a list or manifest names and does not exist.
        unreadable: paths that cannot be looked at, with the reason.
        roots: the folders that contain everything.
        columns: what a manifest says of files, by their path.
    """

    folders: tuple[Selection, ...] = ()
    files: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    missing_of_list: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    columns: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def is_named(self) -> bool:
        """Whether anything was named."""
        return bool(self.folders or self.files or self.listed or self.missing or self.missing_of_list or self.unreadable)


def read_inputs(
    paths: Sequence[StrPath] | StrPath,
    *,
    listed: Iterable[StrPath] = (),
    columns: Mapping[str, Mapping[str, object]] | None = None,
    roots: Collection[str] = (),
) -> Inputs:
    """Look what the paths are.

    Args:
        paths: folders, files and patterns that the user named.
        listed: folders and files of a list. A missing one does not stop the run.
        columns: what a manifest says of its files, by their path. They are listed files, too.
        roots: folders that were indexed before. Their names are no patterns.
    """
    columns = columns or {}
    named, of_list = _Paths(roots), _Paths()
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        named.add_named(path)
    for path in (*listed, *columns):
        of_list.add_listed(path)
    parents = dict.fromkeys(os.path.dirname(file) for file in named.files)  # noqa: PTH120 - or an address
    folders = [each.folder for each in (*named.folders, *of_list.folders)]
    return Inputs(
        folders=tuple(dict.fromkeys(named.folders + of_list.folders)),
        files=tuple(dict.fromkeys(named.files)),
        listed=tuple(dict.fromkeys(of_list.files)),
        missing=tuple(dict.fromkeys(named.missing)),
        missing_of_list=tuple(dict.fromkeys(of_list.missing)),
        unreadable=named.unreadable | of_list.unreadable,
        roots=tuple(dict.fromkeys([*folders, *parents, *common_folders(of_list.files)])),
        columns={of_list.uris[path]: values for path, values in columns.items() if path in of_list.uris},
    )


def common_folders(files: Sequence[str]) -> list[str]:
    """The deepest folder that contains all files; one for each bucket and each folder of `/` if they have none in common."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for file in files:
        names = file.split("/")[:-1]
        groups.setdefault(tuple(names[: 3 if is_address(file) else 2]), []).append(names)
    return ["/".join(_shared(group)) or "/" for _, group in sorted(groups.items())]


def _shared(folders: Sequence[Sequence[str]]) -> list[str]:
    """The names with which all folders begin."""
    return [names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))]


def _text(path: StrPath) -> str:
    """A path as it is written. `pathlib` damages the slashes of an address."""
    return parse_address(path) if is_address(path) else os.fspath(path)


class _Paths:
    """Paths, sorted by what they are. `uris` holds each as an absolute path or address without links."""

    def __init__(self, roots: Collection[str] = ()) -> None:
        self._roots = roots
        self.folders: list[Selection] = []
        self.files: list[str] = []
        self.missing: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.uris: dict[str, str] = {}

    def add_listed(self, path: StrPath) -> None:
        """Add a path of a list. An address that cannot be used is told, and does not stop the run."""
        try:
            self.add(_text(path))
        except OSError as error:
            self.unreadable[without_secrets(os.fspath(path))] = error.strerror or str(error)

    def add_named(self, path: StrPath) -> None:
        """Add a path as a user writes it: it may start with `~`, or be a pattern."""
        is_elsewhere, text = is_address(path), os.path.expanduser(_text(path))  # noqa: PTH111 - or an address
        is_wild = re.compile(r"\*" if is_elsewhere else r"[*?[]").search
        if not is_wild(text) or (not is_elsewhere and os.path.lexists(text)) or source_of(text).resolve(text) in self._roots:
            self.add(text)
            return
        names = text.split("/")
        first = next(position for position, name in enumerate(names) if is_wild(name))
        self.add("/".join(names[:first]) or text[: text.startswith("/")] or ".", tuple(name for name in names[first:] if name))

    def add(self, path: str, pattern: tuple[str, ...] = ()) -> None:
        if "\0" in path:
            self.missing.append(path.replace("\0", "?"))
            return
        if not path:  # such as a variable of the shell that is not set: not the folder here
            self.missing.append("''")
            return
        source = source_of(path)
        uri = self.uris[path] = source.resolve(path)
        try:
            if source.is_folder(uri):
                self.folders.append(Selection(uri, pattern))
            elif pattern:
                self.missing.append(uri)
            else:
                self.files.append(uri)
        except _MISSING:
            self.missing.append(uri)
        except OSError as error:
            self.unreadable[uri] = error.strerror or str(error)
