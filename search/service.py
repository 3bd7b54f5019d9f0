"""The HTTP service over one collection: the only file that imports fastapi.

It answers only for files that are rows of the collection: a media id, never a path, names a file, so that no request can
reach beyond what was indexed. It is meant for the loopback interface and refuses other host names (DNS rebinding).
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from media.formats import format_of
from search.collection import Collection
from search.engine import DEFAULT_KINDS, search
from search.errors import QueryError, SearchError
from search.hits import Hit
from search.schema import Kind
from search.thumbnails import thumbnail_path

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

_MAX_TEXT = 10_000
_MAX_FILTER = 1_000  # Lance plans a filter recursively: some 2,000 characters of 1+1+1+... overflow its stack and end the process
_MAX_ECHO = 60


class SearchRequest(BaseModel):
    """The body of `POST /search`. What is empty or out of range, `search()` refuses, in its own words."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=_MAX_TEXT)
    k: int = 20
    kinds: list[Kind] = list(DEFAULT_KINDS)
    where: str | None = Field(None, max_length=_MAX_FILTER)


def make_app(collection: Collection, *, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The ASGI application. `hosts` are the names under which it may be asked, an IPv6 address with or without brackets."""
    app = FastAPI(title="coca-search", docs_url=None, redoc_url=None)  # those pages load scripts from the network
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[_as_in_header(host) for host in hosts], www_redirect=False)
    app.add_exception_handler(RequestValidationError, _explain)
    newest = _refresher(collection)

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        with _errors_as_http():
            newest()
            served = {"collection": str(collection.path.resolve()), "model": collection.identity.model_id}
            return {"status": "ok", **served, "version": collection.snapshot.version, **collection.counts()}

    @app.post("/search")
    def search_collection(body: SearchRequest, request: Request) -> dict[str, Any]:
        with _errors_as_http():
            hits = search(body.text, collection=newest(), k=body.k, kinds=body.kinds, where=body.where)
        return {"hits": [_hit_json(hit, request) for hit in hits]}

    @app.head("/media/{media_id}", include_in_schema=False)
    @app.get("/media/{media_id}", name="media")
    def media(media_id: int) -> FileResponse:
        path = _path_of(newest(), media_id)
        known = format_of(path)
        media_type = known.media_type if known else "application/octet-stream"
        headers = {"X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type=media_type, headers=headers, filename=path.name, content_disposition_type="inline")

    @app.head("/thumbnail/{media_id}", include_in_schema=False)
    @app.get("/thumbnail/{media_id}", name="thumbnail")
    def thumbnail(media_id: int, seconds: Annotated[float | None, Query(ge=0, le=1e7)] = None) -> FileResponse:
        _path_of(newest(), media_id)
        path = thumbnail_path(collection.path, media_id, seconds)
        if not path.is_file():
            raise HTTPException(404, f"No thumbnail of media {media_id}" + ("." if seconds is None else f" at {seconds} seconds."))
        return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "private, max-age=60"})

    return app


def _refresher(collection: Collection) -> Callable[[], Collection]:
    """The collection, moved to its newest version first; one request at a time builds the index of a new version."""
    lock = threading.Lock()

    def newest() -> Collection:
        with lock:
            collection.refresh()
        return collection

    return newest


def _as_in_header(host: str) -> str:
    """A host as a `Host` header spells it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _path_of(collection: Collection, media_id: int) -> Path:
    """The file of a row, or 404 where there is no such row or the file is gone."""
    if not 0 <= media_id < 1 << 43:
        raise HTTPException(404, f"No media {media_id} in this collection.")
    rows = collection.snapshot.table.read(["uri"], f"media_id = {media_id}")
    if not rows.num_rows:
        raise HTTPException(404, f"No media {media_id} in this collection.")
    path = Path(rows["uri"][0].as_py())
    if not path.is_file():
        raise HTTPException(404, f"The file of media {media_id} is no longer there; index again.")
    return path


def _hit_json(hit: Hit, request: Request) -> dict[str, Any]:
    thumbnail = request.url_for("thumbnail", media_id=str(hit.media_id))
    if hit.frame_seconds is not None:
        thumbnail = thumbnail.include_query_params(seconds=hit.frame_seconds)
    # JSON has no NaN and no infinity, and browsers refuse an answer that holds one.
    finite = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in vars(hit).items()}
    return {
        **finite,
        "segment_id": str(hit.segment_id),  # 63 bits: more than a JavaScript number holds
        "media_url": str(request.url_for("media", media_id=str(hit.media_id))),
        "thumbnail_url": str(thumbnail),
    }


@contextmanager
def _errors_as_http() -> Iterator[None]:
    try:
        yield
    except QueryError as error:
        raise HTTPException(422, _printable(str(error))) from error
    except SearchError as error:
        raise HTTPException(503, _printable(str(error))) from error


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """A request of the wrong shape, as a sentence: `k: Input should be a valid integer (many).`"""
    assert isinstance(error, RequestValidationError)
    sentences = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"][1:] if not isinstance(part, int)) or "request"
        given = problem["input"]
        echo = f" ({_shortened(str(given))})" if isinstance(given, str | int | float) else ""
        sentences.append(f"{where}: {problem['msg']}{echo}.")
    return JSONResponse({"detail": _printable(" ".join(sentences))}, 422)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_ECHO else text[: _MAX_ECHO - 1] + "…"


def _printable(text: str) -> str:
    """What JSON can carry: half of a surrogate pair cannot be encoded."""
    return text.encode(errors="backslashreplace").decode()
