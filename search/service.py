"""The HTTP service over one collection: the only file that imports fastapi.

Requests name files by media id, never by path, so they can reach only indexed files. The service is meant for the loopback
interface. It rejects other host names and foreign origins (DNS rebinding).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from coca_model import CocaModelError
from media.file_names import escape
from media.formats import HEAD_BYTES, true_format
from media.pictures.motion_photo import find_film, may_hold_film
from media.sources.addresses import is_address
from search.collection import Collection
from search.collection.bucket.place import fetch_thumbnails, shown
from search.collection.thumbnails import thumbnail_path
from search.elsewhere import SAFE, answer_from_elsewhere
from search.engine import answer
from search.errors import QueryError, SearchError
from search.hits import FileState, Hit
from search.local_only import LOOPBACK, LocalOnly
from search.request import SearchRequest, sentence
from search.schema import MAX_MEDIA_ID


def make_app(collection: Collection, *, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The ASGI application. `hosts` are its allowed host names, IPv6 addresses with or without brackets."""
    app = FastAPI(title="coca-search", docs_url=None, redoc_url=None)  # those pages load scripts from the network
    app.add_middleware(LocalOnly, hosts=hosts)
    app.add_exception_handler(RequestValidationError, _explain)

    def newest() -> Collection:
        collection.refresh()
        return collection

    def find(media_id: int, sha256: str, seconds: float | None) -> Path:
        path = thumbnail_path(collection.path, media_id, sha256, seconds)
        fetch_thumbnails(collection.path, [path])
        return path

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        with _errors_as_http():
            snapshot = newest().snapshot
        counts = snapshot.statistics.counts | {"failed": snapshot.current.num_failed}
        served = {"collection": shown(collection.path.resolve()), "model": snapshot.identity.model_id}
        return {"status": "ok", **served, "version": snapshot.version, **counts}

    @app.post("/search")
    def search_collection(body: Annotated[dict[str, Any], Body()], request: Request) -> dict[str, Any]:
        with _errors_as_http():
            hits = answer(SearchRequest.from_wire(body), newest())
        return {"hits": [_hit_json(hit, request) for hit in hits]}

    @app.head("/media/{media_id}", include_in_schema=False)
    @app.get("/media/{media_id}", name="media")
    def media(media_id: int, request: Request, part: Annotated[Literal["film"] | None, Query()] = None) -> Response:
        with _errors_as_http():
            uri = _row_of_file(newest(), media_id)["uri"]
        if is_address(uri):
            return answer_from_elsewhere(uri, request, part)
        path = Path(uri)
        if not path.is_file():
            raise HTTPException(404, f"The file of media {media_id} is no longer there. Index again.")
        response, sent = (_TemporaryResponse, _copy_of_film(path)) if part == "film" else (FileResponse, path)
        with sent.open("rb") as file:
            known = true_format(path, file.read(HEAD_BYTES))
        return response(
            sent,
            media_type=known.media_type if known else "application/octet-stream",
            headers=SAFE,
            filename=escape(path.name),
            content_disposition_type="inline",
        )

    @app.head("/thumbnail/{media_id}", include_in_schema=False)
    @app.get("/thumbnail/{media_id}", name="thumbnail")
    def thumbnail(
        media_id: int,
        seconds: Annotated[float | None, Query(ge=0, le=1e7)] = None,
        version: Annotated[str | None, Query(pattern="^[0-9a-f]{12}$")] = None,
    ) -> FileResponse:
        with _errors_as_http():
            sha256 = version or _row_of_file(newest(), media_id)["sha256"]
            before, path = collection.path, find(media_id, sha256, seconds)
            if not path.is_file() and newest().path != before:  # it was made anew meanwhile, in another folder
                path = find(media_id, sha256, seconds)
        if not path.is_file():
            raise HTTPException(404, f"No thumbnail of media {media_id}" + ("." if seconds is None else f" at {seconds} seconds."))
        return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})

    return app


class _TemporaryResponse(FileResponse):
    """Sends a file, or a part of it, and removes it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink()


def _copy_of_film(path: Path) -> Path:
    """The film of a motion photo, in a temporary file of the same time, so that a browser can ask for parts of it.

    Raises HTTPException (404) if there is none.
    """
    with path.open("rb") as photo:
        place = find_film(photo)
        if place is None:
            raise HTTPException(404, f"{_printable(path.name)} holds no film.")
        photo.seek(place[0])
        with NamedTemporaryFile(suffix=".film", delete=False) as film:
            film.write(photo.read(place[1]))
    times = path.stat()
    os.utime(film.name, (times.st_atime, times.st_mtime))
    return Path(film.name)


def _row_of_file(collection: Collection, media_id: int) -> dict[str, Any]:
    """The first row of a file. Raises HTTPException (404) if the collection does not have it."""
    rows = collection.snapshot.rows_of_file(media_id) if 0 <= media_id < MAX_MEDIA_ID else []
    if not rows:
        raise HTTPException(404, f"No media {media_id} in this collection.")
    return rows[0]


def _hit_json(hit: Hit, request: Request) -> dict[str, Any]:
    shown = {"version": hit.sha256[:12]} | ({} if hit.frame_seconds is None else {"seconds": hit.frame_seconds})
    thumbnail = request.url_for("thumbnail", media_id=str(hit.media_id)).include_query_params(**shown)
    media = request.url_for("media", media_id=str(hit.media_id))
    if hit.kind != "image" and may_hold_film(hit.format):
        media = media.include_query_params(part="film")
    return {**hit.to_wire(), "file": _state(hit), "media_url": str(media), "thumbnail_url": str(thumbnail)}


def _state(hit: Hit) -> FileState:
    """Whether the file is still the one that was indexed. Files elsewhere are not asked for: it would take longer than the search."""
    if is_address(hit.uri):
        return "elsewhere"
    try:
        status = Path(hit.uri).stat()
    except OSError:
        return "missing"
    return "unchanged" if (status.st_size, status.st_mtime) == (hit.size_bytes, hit.mtime) else "changed"


@contextmanager
def _errors_as_http() -> Iterator[None]:
    try:
        yield
    except QueryError as error:
        raise HTTPException(422, _printable(str(error))) from error
    except (SearchError, CocaModelError, OSError) as error:
        raise HTTPException(503, _printable(str(error))) from error


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """A request of the wrong shape, in sentences."""
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": _printable(" ".join(sentence(problem) for problem in error.errors()))}, 422)


def _printable(text: str) -> str:
    """Text without lone surrogates, which JSON cannot encode."""
    return text.encode(errors="backslashreplace").decode()
