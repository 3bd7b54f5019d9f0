"""Answers with a file in a bucket or on a web server, by ranges. The browser never gets credentials or a signed link."""

import re
from collections.abc import Iterator
from typing import BinaryIO, Literal
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from media.formats import HEAD_BYTES, true_format
from media.pictures.motion_photo import find_film
from media.sources.addresses import name_of
from media.sources.choose import source_of

SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "script-src 'none'"}  # an SVG may hold scripts
_PART = 1 << 18  # bytes that are sent at once
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def answer_from_elsewhere(uri: str, request: Request, part: Literal["film"] | None = None) -> Response:
    """The file or the film in it, or the range of it that the request asks for. Raises HTTPException (404, 416, 502)."""
    try:
        file = source_of(uri).open(uri)
        first, size = (0, file.seek(0, 2)) if part is None else find_film(file) or (0, 0)
        file.seek(first)
        known = true_format(uri, file.read(HEAD_BYTES))
    except FileNotFoundError as error:
        raise HTTPException(404, f"{uri}: {error.strerror}. Index again.") from error
    except OSError as error:
        raise HTTPException(502, f"{uri}: {error.strerror or error}.") from error
    if not size and part:
        file.close()
        raise HTTPException(404, f"{name_of(uri)} holds no film.")
    asked = _range(request.headers.get("Range", ""), size) if "If-Range" not in request.headers else None
    start, stop = asked or (0, size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(stop - start),
        "Content-Disposition": f"inline; filename*=utf-8''{quote(name_of(uri), safe='')}",
        **SAFE,
    }
    if asked is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if asked is not None and start >= stop:
        file.close()
        raise HTTPException(416, f"The file has {size} bytes.", {"Content-Range": f"bytes */{size}"})
    status, media_type = 200 if asked is None else 206, known.media_type if known else "application/octet-stream"
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(_parts(file, first + start, first + stop), status, headers, media_type)


def _parts(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < stop and (part := file.read(min(_PART, stop - start))):
            start += len(part)
            yield part


def _range(header: str, size: int) -> tuple[int, int] | None:
    """The range `[start, stop)` of a request; None for the whole file. Several ranges at once are answered with the whole file."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    start = int(found[1])
    return start, min(size, int(found[2]) + 1 if found[2] else size)
