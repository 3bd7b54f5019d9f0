"""Folders and files to the list of media in them, in a fixed order."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from indexer.errors import SourceError
from indexer.files.find_files import Finder, Seen, looks_like_media
from indexer.files.inputs import Inputs, Selection, StrPath, read_inputs
from indexer.files.leave_out import LeaveOut
from media.formats import format_of
from media.sources.addresses import is_address
from media.sources.choose import source_of
from media.sources.folders import Folders
from media.sources.source import SourceFile, with_part


@dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes:
        selections: the folders and patterns that were scanned, with the folders that links led to.
        files: pictures and films by uri, in order.
        roots: the folders that become roots of a collection, unless they are below one.
        mounts: folders below them that are on another drive. They become roots of their own, as they may be absent alone.
        unreadable: folders and files that could not be looked at, with the reason.
        missing: folders and files that the user named, that were indexed before, and that are not there.
        seen: what is told at the end of a run.
    """

    selections: tuple[Selection, ...] = ()
    files: Mapping[str, SourceFile] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    seen: Seen = field(default_factory=Seen)

    def covers(self, uri: str) -> bool:
        """Whether the scan would have found a file: it is in what was scanned, and not unreadable or below an unreadable folder."""
        is_in = uri in self._folders or any(each.has(uri) for each in self._patterns if uri.startswith(each.folder.rstrip("/") + "/"))
        return is_in and uri not in self._unreadable

    @cached_property
    def _folders(self) -> Folders:
        return Folders(each.folder for each in self.selections if not each.names)

    @cached_property
    def _patterns(self) -> list[Selection]:
        return [each for each in self.selections if each.names]

    @cached_property
    def _unreadable(self) -> Folders:
        return Folders(self.unreadable)


def scan(
    inputs: Inputs | Sequence[StrPath],
    *,
    rules: LeaveOut | None = None,
    roots: Collection[str] = (),
    known: Collection[str] = (),
) -> Scan:
    """Find the pictures and films of the inputs.

    Args:
        inputs: what to look through.
        rules: what is left out; by default the list of `indexer.files.leave_out`.
        roots: the folders that were indexed before. One that is missing is no error.
        known: the files that are indexed, by path.

    Raises:
        SourceError: a path does not exist and was never indexed, or there is nothing to index and nothing was indexed there before.
    """
    inputs = inputs if isinstance(inputs, Inputs) else read_inputs(inputs, roots=roots)
    _check_missing(inputs.missing, roots, known)
    finder = Finder(rules or LeaveOut(), known)
    finder.unreadable |= inputs.unreadable
    for selection in inputs.folders:
        finder.walk(selection)
    finder.add(_media_among(inputs, finder))
    finder.follow_links_to_folders()
    finder.add_hidden()
    finder.look_into_unknown()
    finder.add_linked_files()
    finder.unreadable |= {uri: "A link to nothing" for uri in finder.seen.broken_links if uri in known}
    finder.seen.missing = inputs.missing_of_list
    files = {uri: _with_manifest(finder.files[uri], inputs) for uri in sorted(finder.files)}
    followed = tuple(link.target for link in finder.seen.followed)
    found = Scan(
        selections=tuple(finder.selections),
        files=files,
        roots=(*inputs.roots, *followed),
        mounts=tuple(finder.mounts),
        unreadable=finder.unreadable,
        missing=(*inputs.missing, *_behind_links(finder.seen.broken_links, roots)),
        seen=finder.seen,
    )
    apart = Folders([*inputs.missing, *finder.unreadable])
    if not files and not any(found.covers(uri) or uri in apart for uri in known):
        raise SourceError(_nothing(inputs, finder))
    return found


def _check_missing(missing: Sequence[str], roots: Collection[str], known: Collection[str]) -> None:
    """Raises SourceError for a missing path of which nothing was indexed. In a folder that is not mounted, it may be anything."""
    below, above = Folders(roots), Folders(missing)
    were_indexed = {above.innermost(uri) or "" for uri in (*roots, *known)} if missing else set()
    for uri in missing:
        root = below.innermost(uri)
        may_be_absent = root is not None and not is_address(root) and not os.path.exists(root)
        if not may_be_absent and not any(found == uri or found.startswith(f"{uri}/") for found in were_indexed):
            advice = "Give a folder of pictures and videos, a file, or a pattern. If an indexed folder was moved, give its new path."
            raise SourceError(f"{uri}: no such file or folder. {advice}")


def _behind_links(links: Sequence[str], roots: Collection[str]) -> list[str]:
    """The targets of links to nothing that were indexed, or contain what was: drives that are not mounted."""
    targets = dict.fromkeys(source_of(link).resolve(link) for link in links)
    above = Folders(targets)
    with_roots = {above.innermost(root) for root in roots}
    return [target for target in targets if target in with_roots]


def _media_among(inputs: Inputs, finder: Finder) -> list[str]:
    """The pictures and films among single files. Raises SourceError if the user named another file; one of a list is skipped."""
    for uri in inputs.files:
        if not _is_media(uri):
            raise SourceError(f"{uri}: neither a picture nor a video. docs/formats.md lists what can be read.")
    for uri in inputs.listed:
        if not _is_media(uri):
            finder.note_unwanted(uri)
    return [*inputs.files, *filter(_is_media, inputs.listed)]


def _is_media(uri: str) -> bool:
    return format_of(uri) is not None or looks_like_media(uri)


def _with_manifest(file: SourceFile, inputs: Inputs) -> SourceFile:
    values = inputs.columns.get(file.uri)
    return with_part(file, "m", sorted(values.items())) if values else file


def _nothing(inputs: Inputs, finder: Finder) -> str:
    """Why nothing was found, in a sentence."""
    named = ", ".join([*map(str, inputs.folders), *inputs.files, *inputs.listed, *inputs.missing, *inputs.missing_of_list])
    if finder.unreadable:
        reasons = "; ".join(f"{uri}: {reason}" for uri, reason in list(finder.unreadable.items())[:3])
        return f"Nothing could be read ({reasons}). Nothing was changed."
    unread = ", ".join(f"{count} {suffix}" for suffix, count in finder.seen.unread.most_common(5))
    hint = f" Not read: {unread}." if unread else ""
    return f"{named}: no pictures or videos found. Nothing was changed. Give a folder that contains some.{hint}"
