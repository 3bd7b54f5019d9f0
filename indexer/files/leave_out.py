"""What is left out of folders: copies that other programs keep, and their bins.

A pattern without `/` matches the name of a file or folder anywhere. A pattern with `/` matches the end of a path, or a whole path if it
starts with `/`. `*` and `?` stay within a name, `**` stands for any folders, and `/` at the end matches folders only. Case does not matter.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from indexer.files.patterns import PathPattern, expression

DEFAULT, NONE = "default", "none"  # the two words that `--leave-out` takes in place of a pattern

# Each line: the pattern, and whose copies these are. Hidden files and folders are always left out; those are not listed here.
PATTERNS = {
    "@eaDir/": "Synology: thumbnails",
    "#recycle/": "Synology: bin",
    "#snapshot/": "Synology: snapshots",
    "@Recycle/": "QNAP: bin",
    "@Recently-Snapshot/": "QNAP: snapshots",
    "~snapshot/": "NetApp: snapshots",
    "$RECYCLE.BIN/": "Windows: bin",
    "RECYCLER/": "Windows: bin",
    "RECYCLED/": "Windows: bin",
    "FOUND.[0-9][0-9][0-9]/": "Windows: pieces of damaged files",
    "System Volume Information/": "Windows: restore points",
    "__MACOSX/": "macOS: resource forks in unpacked archives",
    "Backups.backupdb/": "macOS: Time Machine",
    "lost+found/": "Linux: pieces of damaged files",
    "LOST.DIR/": "Android: pieces of damaged files",
    "*.photoslibrary/resources/": "Apple Photos: previews; the pictures are in originals and Masters",
    "*.photoslibrary/private/": "Apple Photos",
    "*.photoslibrary/scopes/": "Apple Photos: shared albums and previews",
    "*.photoslibrary/database/": "Apple Photos",
    "*.photoslibrary/Thumbnails/": "Apple Photos",
    "*.photolibrary/Previews/": "iPhoto",
    "*.photolibrary/Thumbnails/": "iPhoto",
    "*.photolibrary/Data/": "iPhoto: thumbnails",
    "*.photolibrary/Data.noindex/": "iPhoto: thumbnails",
    "*.photolibrary/resources/": "iPhoto",
    "iPhoto Library/Previews/": "iPhoto",
    "iPhoto Library/Thumbnails/": "iPhoto",
    "iPhoto Library/Data/": "iPhoto: thumbnails",
    "iPhoto Library/Data.noindex/": "iPhoto: thumbnails",
    "PhotoData/Thumbnails/": "iPhone",
    "*.aplibrary/Previews/": "Aperture",
    "*.aplibrary/Thumbnails/": "Aperture",
    "*.lrdata/": "Lightroom Classic: previews",
    "*.lrcat-data/": "Lightroom Classic",
    "*.lrlibrary/**/previews/": "Lightroom: previews",
    "*.cocatalogdb/": "Capture One",
    "CaptureOne/Cache/": "Capture One: thumbnails and proxies",
    "*.fcpbundle/**/Render Files/": "Final Cut Pro",
    "*.fcpbundle/**/Transcoded Media/": "Final Cut Pro: proxies",
    "*.imovielibrary/**/Render Files/": "iMovie",
    "Adobe Premiere Pro Video Previews/": "Premiere",
    "CacheClip/": "DaVinci Resolve",
    "Generated Images.bundle/": "Mylio",
    "Plex Versions/": "Plex: copies of films",
    "*.trickplay/": "Jellyfin: previews of films",
    "appdata_*/preview/": "Nextcloud: previews",
    "files_trashbin/": "Nextcloud, ownCloud: bin",
    "files_versions/": "Nextcloud, ownCloud: old versions",
    "Android/data/": "Android: caches of programs",
    "node_modules/": "JavaScript packages",
    "*.*_original": "exiftool: the file before a change",
    "*.lrv": "GoPro, Insta360: small copies of films",
    "*.lrf": "DJI: small copies of films",
    "*.thm": "cameras: thumbnails of films",
    "M4ROOT/THMBNL/": "Sony: thumbnails of films",
    "M4ROOT/SUB/": "Sony: small copies of films",
    "AVCHDTN/": "Panasonic: thumbnails of films",
    "MISC/THM/": "DJI: thumbnails",
}
# Folders are left out if they contain one of these files. A name before the file restricts it to folders of that name.
MARKERS = {
    ("", "CACHEDIR.TAG"): "caches of many programs (https://bford.info/cachedir)",
    ("", ".ppstorage"): "PhotoPrism: caches",
    ("thumbs", ".immich"): "Immich: thumbnails",
    ("encoded-video", ".immich"): "Immich: copies of films",
    ("profile", ".immich"): "Immich: pictures of users",
}


class LeaveOut:
    """Decides what is left out.

    Args:
        choices: patterns, and `DEFAULT` for the list above.
    """

    def __init__(self, choices: Sequence[str] = (DEFAULT,)) -> None:
        self._markers = MARKERS if DEFAULT in choices else {}
        patterns = [pattern for each in choices for pattern in (PATTERNS if each == DEFAULT else (each,))]
        self._of_any = _Patterns(pattern for pattern in patterns if not pattern.endswith("/"))
        self._of_folders = _Patterns(pattern for pattern in patterns if pattern.endswith("/"))

    def file(self, path: str) -> str | None:
        """The pattern that matches a file; None if it is indexed."""
        return self._of_any.match(path)

    def folder(self, path: str) -> str | None:
        """The pattern that matches a folder."""
        return self._of_any.match(path) or self._of_folders.match(path)

    def marker(self, path: str, names: Collection[str]) -> str | None:
        """The file among `names` that leaves out the folder that contains it."""
        own = path.rpartition("/")[2]
        return next((marker for name, marker in self._markers if marker in names and name in {"", own}), None)

    def below(self, path: str, folder: str) -> bool:
        """Whether a file is left out of a folder, by its name or that of a folder between them. Markers are not looked for."""
        if self.file(path):
            return True
        while (path := path.rpartition("/")[0]) and path != folder:
            if self.folder(path):
                return True
        return False


def choose(remembered: Sequence[str], given: Iterable[str]) -> tuple[str, ...]:
    """The choices after the user gave more: `none` drops all before it, `default` goes back to the list above."""
    choices = list(remembered)
    for each in filter(str.strip, given):
        if each in {NONE, DEFAULT}:
            choices = [DEFAULT] if each == DEFAULT else []
        elif each not in choices:
            choices.append(each)
    return tuple(choices)


class _Patterns:
    """Several patterns. Those of names are one expression, because each file is compared with all of them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        own = list(dict.fromkeys(patterns))
        self._names = [pattern for pattern in own if "/" not in pattern.rstrip("/")]
        self._name = re.compile("|".join(f"({expression(pattern.rstrip('/'))})" for pattern in self._names) or r"(?!)")
        self._paths = [(pattern, _path_pattern(pattern)) for pattern in own if "/" in pattern.rstrip("/")]

    def match(self, path: str) -> str | None:
        """The pattern that matches a path; None if none does."""
        path = path.lower()
        if found := self._name.match(path, path.rfind("/") + 1):
            return self._names[(found.lastindex or 1) - 1]
        names = path.split("/") if self._paths else []
        return next((text for text, pattern in self._paths if pattern.fits(names)), None)


def _path_pattern(text: str) -> PathPattern:
    names = text.rstrip("/").split("/")
    return PathPattern(names if text.startswith("/") else ["**", *names])
