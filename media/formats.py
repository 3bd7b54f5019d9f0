"""The table of media formats. It imports only the standard library, so the page can use it."""

import os
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Format:
    """A format of pictures or videos."""

    name: str
    suffixes: tuple[str, ...]  # of file names, in lower case and with the dot
    media_type: str  # for HTTP; `mimetypes` differs between machines: it may lack WebP, or take .mts for a 3-D model
    kind: Kind
    browsers_show: bool  # whether browsers can show or play it


FORMATS = (
    Format("JPEG", (".jpg", ".jpeg"), "image/jpeg", "image", True),
    Format("PNG", (".png",), "image/png", "image", True),
    Format("WebP", (".webp",), "image/webp", "image", True),
    Format("GIF", (".gif",), "image/gif", "image", True),
    Format("BMP", (".bmp",), "image/bmp", "image", True),
    Format("TIFF", (".tif", ".tiff"), "image/tiff", "image", False),
    Format("MPEG-4", (".mp4", ".m4v"), "video/mp4", "video", True),
    Format("QuickTime", (".mov",), "video/quicktime", "video", True),
    Format("Matroska", (".mkv",), "video/x-matroska", "video", True),
    Format("WebM", (".webm",), "video/webm", "video", True),
    Format("Ogg", (".ogv",), "video/ogg", "video", True),
    Format("3GPP", (".3gp",), "video/3gpp", "video", True),
    Format("AVI", (".avi",), "video/x-msvideo", "video", False),
    Format("MPEG", (".mpg", ".mpeg"), "video/mpeg", "video", False),
    Format("MPEG transport stream", (".mts",), "video/mp2t", "video", False),
    Format("Windows Media", (".wmv",), "video/x-ms-wmv", "video", False),
    Format("Flash Video", (".flv",), "video/x-flv", "video", False),
)
_BY_SUFFIX = {suffix: known for known in FORMATS for suffix in known.suffixes}


def format_of(path: str | os.PathLike[str]) -> Format | None:
    """The format of a path or URI by its suffix; None if the suffix is unknown."""
    return _BY_SUFFIX.get(os.path.splitext(path)[1].lower())  # noqa: PTH122 the indexer asks for millions of names


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """Picture or video, by the suffix of a path; None if the suffix is unknown."""
    return known.kind if (known := format_of(path)) else None


def suffixes(kind: Kind | None = None) -> frozenset[str]:
    """All suffixes, or those of one kind."""
    return frozenset(suffix for suffix, known in _BY_SUFFIX.items() if kind in {None, known.kind})


# Suffixes of pictures and films that cannot be read.
KNOWN_UNREADABLE = frozenset(
    [
        ".3g2",
        ".arw",
        ".avif",
        ".cr2",
        ".cr3",
        ".divx",
        ".dng",
        ".heic",
        ".heif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jxl",
        ".m2ts",
        ".mpo",
        ".mxf",
        ".nef",
        ".orf",
        ".psd",
        ".raf",
        ".rw2",
        ".svg",
        ".tga",
        ".ts",
        ".vob",
        ".asf",
        ".f4v",
        ".dv",
        ".mod",
        ".tod",
        ".m2v",
        ".ogg",
        ".ico",
    ]
)
_SIGNATURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n", "PNG"), (b"GIF8", "GIF"), (b"\x1aE\xdf\xa3", "Matroska"), (b"II*\0", "TIFF"))


def sniff(head: bytes) -> Format | None:
    """The format by the first bytes of a file; None if they tell nothing."""
    name = next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)
    name = "MPEG-4" if head[4:8] == b"ftyp" else name
    return next((known for known in FORMATS if known.name == name), None)
