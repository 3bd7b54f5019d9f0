"""The table of media formats, and how the first bytes of a file tell its format.

It imports only the standard library, so the page can use it.
"""

import os
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "video"]
HEAD_BYTES = 4096  # `sniff` needs this many of the first bytes of a file


@dataclass(frozen=True)
class Format:
    """A format of pictures or videos.

    Attributes:
        suffixes: of file names, in lower case and with the dot.
        media_type: for HTTP. `mimetypes` differs between machines: it may lack WebP, or take .mts for a 3-D model.
        browsers_show: whether browsers can show or play it.
        magic: the first bytes of such a file, where they are always the same.
        animated: whether such a picture can move. Then it is indexed as a film.
    """

    name: str
    suffixes: tuple[str, ...]
    media_type: str
    kind: Kind
    browsers_show: bool
    magic: tuple[bytes, ...] = ()
    animated: bool = False


# fmt: off
_RAW = (".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".rwl", ".pef", ".srw", ".raw",
        ".3fr", ".fff", ".iiq", ".mef", ".mos", ".mrw", ".x3f", ".erf", ".kdc", ".dcr", ".gpr")
_RAW_MAGIC = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb", b"II\x1a\0\0\0HEAPCCDR")
FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo", ".insp"), "image/jpeg", "image", True, (b"\xff\xd8\xff",)),
    Format("PNG", (".png", ".apng"), "image/png", "image", True, (b"\x89PNG\r\n\x1a\n",), animated=True),
    Format("WebP", (".webp",), "image/webp", "image", True, animated=True),
    Format("GIF", (".gif",), "image/gif", "image", True, (b"GIF87a", b"GIF89a"), animated=True),
    Format("BMP", (".bmp", ".dib"), "image/bmp", "image", True),
    Format("TIFF", (".tif", ".tiff"), "image/tiff", "image", False),
    Format("AVIF", (".avif", ".avifs"), "image/avif", "image", True, animated=True),
    Format("HEIC", (".heic", ".heif", ".hif", ".heics", ".heifs"), "image/heic", "image", False),
    Format("JPEG XL", (".jxl",), "image/jxl", "image", False, (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    Format("JPEG 2000", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "image/jp2", "image", False,
           (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    Format("Photoshop", (".psd", ".psb"), "image/vnd.adobe.photoshop", "image", False, (b"8BPS\0\x01", b"8BPS\0\x02")),
    Format("Camera raw", _RAW, "image/x-dcraw", "image", False, _RAW_MAGIC),
    Format("SVG", (".svg", ".svgz"), "image/svg+xml", "image", True),
    Format("Icon", (".ico", ".cur"), "image/x-icon", "image", True),
    Format("Apple icon", (".icns",), "image/icns", "image", False, (b"icns",)),
    Format("Netpbm", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "image/x-portable-anymap", "image", False),
    Format("Targa", (".tga",), "image/x-tga", "image", False),
    Format("QOI", (".qoi",), "image/qoi", "image", False, (b"qoif",)),
    Format("PCX", (".pcx",), "image/x-pcx", "image", False),
    Format("SGI", (".sgi", ".rgb", ".bw"), "image/x-sgi", "image", False, (b"\x01\xda\0", b"\x01\xda\x01")),
    Format("DirectDraw", (".dds",), "image/x-dds", "image", False, (b"DDS ",)),
    Format("MPEG-4", (".mp4", ".m4v", ".mp4v", ".f4v", ".mp", ".insv", ".360"), "video/mp4", "video", True),
    Format("QuickTime", (".mov", ".qt"), "video/quicktime", "video", True),
    Format("Matroska", (".mkv", ".mk3d"), "video/x-matroska", "video", True),
    Format("WebM", (".webm",), "video/webm", "video", True),
    Format("Ogg", (".ogv", ".ogg", ".ogm"), "video/ogg", "video", True),
    Format("3GPP", (".3gp", ".3gpp", ".3g2", ".3gp2"), "video/3gpp", "video", True),
    Format("AVI", (".avi", ".divx"), "video/x-msvideo", "video", False),
    Format("MPEG", (".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob", ".mod"), "video/mpeg", "video", False,
           (b"\0\0\x01\xba", b"\0\0\x01\xb3")),
    Format("MPEG transport stream", (".ts", ".mts", ".m2ts", ".m2t", ".tod"), "video/mp2t", "video", False),
    Format("Windows Media", (".wmv", ".asf"), "video/x-ms-wmv", "video", False, (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",)),
    Format("Flash Video", (".flv",), "video/x-flv", "video", False, (b"FLV\x01",)),
    Format("MXF", (".mxf",), "application/mxf", "video", False, (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",)),
    Format("DV", (".dv",), "video/x-dv", "video", False, (b"\x1f\x07\0\x3f", b"\x1f\x07\0\xbf")),
    Format("RealMedia", (".rm", ".rmvb"), "video/vnd.rn-realvideo", "video", False, (b".RMF",)),
    Format("Motion JPEG", (".mjpg", ".mjpeg"), "video/x-motion-jpeg", "video", False),
    Format("H.264 or H.265 stream", (".h264", ".264", ".h265", ".265", ".hevc"), "video/h264", "video", False),
    Format("IVF", (".ivf",), "video/x-ivf", "video", False, (b"DKIF\0\0",)),
    Format("YUV4MPEG2", (".y4m",), "video/x-yuv4mpeg2", "video", False, (b"YUV4MPEG2 ",)),
    Format("FLIC", (".flc", ".fli"), "video/x-flic", "video", False),
    Format("NUT", (".nut",), "video/x-nut", "video", False, (b"nut/multimedia container\0",)),
    Format("Windows TV", (".wtv",), "video/x-wtv", "video", False, (b"\xb7\xd8\x00\x20\x37\x49\xda\x11",)),
)
# Pictures and films that no library here can read, and projects that hold some. A run counts them and names them.
KNOWN_UNREADABLE = frozenset((
    ".ai", ".eps", ".indd", ".cdr", ".xcf", ".kra", ".ora", ".clip", ".afphoto", ".afdesign", ".sketch", ".exr", ".hdr", ".djvu",
    ".djv", ".jxr", ".wdp", ".hdp", ".wmf", ".emf", ".mng", ".jng", ".bpg", ".flif", ".fits", ".dcm", ".pcd", ".eip", ".braw", ".r3d",
    ".ari", ".crm", ".swf", ".dvr-ms", ".dpx", ".cin",
))
# Files of other programs share these suffixes: TypeScript, music, texts. Such a file counts only if `sniff` knows its bytes.
AMBIGUOUS = frozenset((
    ".ts", ".mod", ".ogg", ".mp", ".raw", ".360", ".rgb", ".bw", ".mos", ".rm", ".dv", ".264", ".265", ".nut", ".asf", ".mpv", ".cur",
    ".pfm",
))
# fmt: on
_BY_NAME = {known.name: known for known in FORMATS}
_BY_SUFFIX = {suffix: known for known in FORMATS for suffix in known.suffixes}
_BY_MAGIC = tuple((magic, known) for known in FORMATS for magic in known.magic)
# The first element is `svg`, after the XML declaration, comments and the document type. The groups are atomic: no text takes long.
_SVG_START = re.compile(rb"(\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?>\[.*?\]\s*)?>)*+<(\w+:)?svg[\s>/]", re.DOTALL)
_OTHER_MAGIC = {
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript program",
    b"PK\3\4": "a ZIP archive or an office document",
    b"Rar!": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"\x1f\x8b": "an archive",
    b"SQLite format 3": "a database",
    b"MZ": "a program",
    b"\x7fELF": "a program",
    b"bplist": "a list of settings",
}
_REFINES = {("TIFF", "Camera raw"), ("JPEG", "Motion JPEG")}  # what the bytes look like, and what the suffix may add


def format_of(path: str | os.PathLike[str]) -> Format | None:
    """The format of a path or URI by its suffix; None if the suffix is unknown. ExifTool keeps originals as `.jpg_original`."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 the indexer asks for millions of names
    return _BY_SUFFIX.get(suffix.removesuffix("_original"))


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """Picture or video, by the suffix of a path; None if the suffix is unknown."""
    return known.kind if (known := format_of(path)) else None


def suffixes(kind: Kind | None = None) -> frozenset[str]:
    """All suffixes, or those of one kind."""
    return frozenset(suffix for suffix, known in _BY_SUFFIX.items() if kind in {None, known.kind})


def format_named(name: str | None) -> Format | None:
    """The format with a name, such as the column `format` has; None if there is none."""
    return _BY_NAME.get(name or "")


def true_format(path: str | os.PathLike[str], head: bytes) -> Format | None:
    """The format of a file by its first `HEAD_BYTES` bytes, or by its suffix where the bytes do not tell."""
    told, named = sniff(head), format_of(path)
    if told and named and (told.name, named.name) in _REFINES:
        return named
    return told or named


def sniff(head: bytes) -> Format | None:
    """The format of a file by its first `HEAD_BYTES` bytes; None if they do not tell. Sound without pictures gives None."""
    for magic, known in _BY_MAGIC:
        if head.startswith(magic):
            return known
    for look in (_iso_media, _riff, _tiff, _matroska, _ogg, _small_headers, _streams, _svg):
        if name := look(head):
            return _BY_NAME[name]
    return None


def other_content(head: bytes) -> str:
    """What a file is that is neither picture nor film, by its first bytes, as a sentence; empty if they do not tell."""
    if not any(head):
        return "It consists of zeros: the copy or download was not finished." if head else "It is empty."
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", head, re.IGNORECASE):
        return "It is a web page: the download was refused, or the link is wrong."
    return next((f"It is {other}." for magic, other in _OTHER_MAGIC.items() if head.startswith(magic)), "")


def _iso_media(head: bytes) -> str | None:
    """The brands of an ISO base media file (ISO 14496-12, 4.3). QuickTime files from before 2005 have none."""
    kind, size = head[4:8], int.from_bytes(head[:4], "big")
    if kind in {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}:
        return "QuickTime" if size in {0, 1} or size >= 8 else None
    if kind != b"ftyp":
        return None
    brand, others = head[8:12], [head[at : at + 4] for at in range(16, min(size, len(head)), 4)]
    if re.match(rb"mi|ms|he|av", brand) and not brand.startswith(b"avc"):
        has_av1 = b"av01" in head and b"hvc1" not in head
        return "AVIF" if brand.startswith(b"avi") or b"avif" in others or b"avis" in others or has_av1 else "HEIC"
    for start, name in ((b"crx ", "Camera raw"), (b"qt  ", "QuickTime"), (b"3g", "3GPP"), (b"M4A", None), (b"M4B", None), (b"F4A", None)):
        if brand.startswith(start):
            return name
    return "MPEG-4"


def _riff(head: bytes) -> str | None:
    forms = {b"WEBP": "WebP", b"AVI ": "AVI", b"CDXA": "MPEG"}
    return forms.get(head[8:12]) if head[:4] == b"RIFF" else None


def _tiff(head: bytes) -> str | None:
    """TIFF, or a raw file of a camera: it says so, or its first picture is small and the large one hidden, or compressed as raw."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or head[2:4] not in {struct.pack(order + "H", 42), struct.pack(order + "H", 43)}:
        return None
    if head[8:11] == b"CR\x02":
        return "Camera raw"
    start = int.from_bytes(head[4:8], "little" if order == "<" else "big")
    count = struct.unpack(order + "H", head[start : start + 2])[0] if start + 2 <= len(head) else 0
    fields = range(start + 2, min(start + 2 + 12 * count, len(head) - 12), 12)
    tags = dict(struct.unpack(order + "H6xH", head[at : at + 10]) for at in fields)
    dng_version, sub_ifds, is_reduced, compression = 50706 in tags, 330 in tags, tags.get(254) == 1, tags.get(259)
    return "Camera raw" if dng_version or (sub_ifds and is_reduced) or compression in {32767, 32770, 34713, 65535} else "TIFF"


def _matroska(head: bytes) -> str | None:
    if not head.startswith(b"\x1aE\xdf\xa3"):
        return None
    return "WebM" if b"\x42\x82" in head[:64] and b"webm" in head[:64] else "Matroska"


def _ogg(head: bytes) -> str | None:
    """The pages at the start name the codecs: Theora, VP8, Dirac, or OGM's video."""
    films = (b"\x80theora", b"OVP80", b"BBCD\0", b"\x01video")
    return "Ogg" if head.startswith(b"OggS") and any(film in head for film in films) else None


def _small_headers(head: bytes) -> str | None:
    """Formats whose first bytes are too short to be sure of, so that more of the header is checked."""
    if head[:2] == b"BM" and head[14:18] in {bytes((size, 0, 0, 0)) for size in (12, 16, 40, 52, 56, 64, 108, 124)}:
        return "BMP"
    if head[:4] in {b"\0\0\1\0", b"\0\0\2\0"} and head[4:5] != b"\0" and head[5:6] == b"\0" == head[9:10]:
        return "Icon"
    if re.match(rb"P([1-6]|F|f)[ \t\r\n]+(#[^\n]*\n\s*)*\d+", head):
        return "Netpbm"
    if re.match(rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]", head):
        return "PCX"
    if head[4:6] in {b"\x11\xaf", b"\x12\xaf"} and head[12:14] == b"\x08\0":
        return "FLIC"
    return None


def _streams(head: bytes) -> str | None:
    """Films without a container: packets of 188 bytes that each begin with G, or NAL units (H.264 and H.265, annex B)."""
    for first, size in ((0, 188), (4, 192), (0, 204)):
        if head[first::size][:5] == b"G" * 5 and head[:16] != b"G" * 16:
            return "MPEG transport stream"
    if re.match(rb"\0?\0\0\x01([\x07\x27\x47\x67]|[\x09\x29]|\x40\x01|\x42\x01|\x46\x01|\x06[\x01\x05])", head):
        return "H.264 or H.265 stream"
    return None


def _svg(head: bytes) -> str | None:
    """Text in UTF-8 or UTF-16, or compressed by gzip."""
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, HEAD_BYTES)
        except zlib.error:
            return None
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        head = head[: len(head) & ~1].decode("utf-16", errors="ignore").encode()
    return "SVG" if _SVG_START.match(head) else None
