"""Opens a film with PyAV, whole or as a part of another file, and chooses its video stream. All `av.open` calls of `media` are here.

A film is one file. Playlists, image sequences and network addresses are refused, because a hostile file could name other files with them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
from av.stream import Disposition

from media.boxes import top_boxes
from media.errors import MediaError
from media.formats import HEAD_BYTES, other_content, sniff
from media.sources.addresses import is_address
from media.sources.choose import source_of
from media.video.reading import asf
from media.video.reading.part_of_file import PartOfFile

READ_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError, OverflowError)  # what PyAV raises for a damaged file
_NOT_FILMS = Disposition.attached_pic | Disposition.timed_thumbnails
_ELSEWHERE = {"concat", "dash", "dvdvideo", "ffmetadata", "hls", "image2", "image2pipe", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp"}
_BUFFER_BYTES = 1 << 18
_PATH = "file:"
_WITH_MOOV = {"MPEG-4", "QuickTime", "3GPP"}


@contextmanager
def read_by_us(uri: str, *, always: bool = False) -> Iterator[BinaryIO | None]:
    """The open file, if FFmpeg cannot open it by its path: it is in a bucket or on a web server. Raises MediaError (read)."""
    if not (always or is_address(uri)):
        yield None
        return
    try:
        file = source_of(uri).open(uri)
    except OSError as error:
        raise MediaError("read", reason_of(error)) from error
    with file:
        yield file


@contextmanager
def opened(uri: str, *, start: int = 0, length: int | None = None, file: BinaryIO | None = None) -> Iterator[Any]:
    """A PyAV container of a film: a path or address. `start` and `length` choose bytes of the file, which may be open already.

    Raises MediaError (probe, or read). Tags that are not UTF-8 have lone surrogates.
    """
    with ExitStack() as open_now:
        file = file or open_now.enter_context(read_by_us(uri, always=start > 0 or length is not None))
        try:
            # the prefix keeps FFmpeg from reading "concat:..." in a name
            film: Any = f"{_PATH}{uri}" if file is None else PartOfFile(file, start, length)
            options = {"protocol_whitelist": "file", "format_whitelist": _formats(), "export_xmp": "1"}
            container = open_now.enter_context(
                av.open(film, metadata_errors="surrogateescape", container_options=options, buffer_size=_BUFFER_BYTES)
            )
        except READ_ERRORS as error:
            raise MediaError("probe", _why(film, error)) from error
        if container.format.name == "asf":
            with suppress(OSError), _bytes_of(film) as stream:
                if time := asf.creation_time(stream.read(asf.HEAD_BYTES)):
                    container.metadata.setdefault("creation_time", time)
        yield container


def video_stream(container: Any) -> Any:
    """The stream that a player shows: never a cover or thumbnails; a default one, rather with many frames, and the largest of these.

    Raises MediaError (probe).
    """
    films = [stream for stream in container.streams.video if not stream.disposition & _NOT_FILMS.value]
    if not films:
        raise MediaError("probe", "the file holds no video stream")
    known = [stream for stream in films if stream.codec_context is not None]
    if not known:
        raise MediaError("probe", "the codec of the video is unknown")
    return max(known, key=_rank)  # the first of equals


def reason_of(error: Exception) -> str:
    """What FFmpeg or the operating system says, without the name of the file."""
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def _bytes_of(film: str | PartOfFile) -> Iterator[BinaryIO]:
    """The bytes of a film from their start. FFmpeg finds its position again."""
    if isinstance(film, PartOfFile):
        position = film.tell()
        film.seek(0)
        yield cast("BinaryIO", film)
        film.seek(position)
    else:
        with Path(film.removeprefix(_PATH)).open("rb") as stream:
            yield stream


def _why(film: str | PartOfFile, error: Exception) -> str:
    """Why FFmpeg cannot open a film: from its bytes if they tell, otherwise what FFmpeg says."""
    with suppress(OSError), _bytes_of(film) as stream:
        head = stream.read(HEAD_BYTES)
        if not head:
            return "the file is empty"
        if other := other_content(head):
            return f"not a video that can be read. {other}"
        known = sniff(head)
        if known and known.name in _WITH_MOOV and not {b"moov", b"moof"} & {box.kind for box in top_boxes(stream)}:
            return "its table of contents (moov) is missing. The recording, copy or download was not finished."
    return f"not a video that can be read ({reason_of(error)})"


def _rank(stream: Any) -> tuple[bool, bool, bool, int]:
    flags = stream.disposition
    size = (stream.codec_context.width or 0) * (stream.codec_context.height or 0)
    return not flags & Disposition.still_image.value, stream.frames != 1, bool(flags & Disposition.default.value), size


@cache
def _formats() -> str:
    return ",".join(sorted(av.formats_available - _ELSEWHERE))
