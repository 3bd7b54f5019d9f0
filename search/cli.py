"""`coca-search search` and `serve`."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, cast

import typer

from search import collection_cli
from search.collection_cli import clock
from search.errors import OtherModelError, ServiceError
from search.options import CollectionOption, WhereOption, all_of, check_port
from search.schema import DEFAULT_KINDS, Kind
from search.vectors.kinds import GpuKind

if TYPE_CHECKING:
    from search.hits import Hit


def search(
    words: Annotated[list[str], typer.Argument(help="What you remember of the picture.")],
    collection: CollectionOption = None,
    top: Annotated[
        int, typer.Option("--top", "-t", min=1, max=10_000, help="The number of hits. A low similarity means that nothing fits.")
    ] = 10,
    where: WhereOption = None,
    kinds: Annotated[
        list[str], typer.Option("--kind", help="What to find: image, shot (a moment of a video), clip (a whole video). May be repeated.")
    ] = list(DEFAULT_KINDS),  # noqa: B006 typer copies it
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    only_paths: Annotated[bool, typer.Option("--filepath-only", "-f", help="Print only the paths, one per line.")] = False,
) -> None:
    """Find pictures and moments of videos by a description."""
    hits = _find(" ".join(words), collection, top, [cast("Kind", kind) for kind in kinds], all_of(where))
    if not hits:
        asked = f"Nothing found: the collection has no {' or '.join(kinds)}"
        print(asked + (" that matches --where. Other kinds: --kind." if where else "."), file=sys.stderr)
    for hit in hits:
        if only_paths:
            print(hit.uri)
        elif as_json:
            print(json.dumps(hit.to_wire(), ensure_ascii=False))
        else:
            moment = "" if hit.start_seconds is None else f"  {clock(hit.start_seconds)}-{clock(hit.end_seconds or 0.0)}"
            print(f"{hit.similarity:.3f}  {hit.uri}{moment}")


def _find(words: str, collection: str | None, k: int, kinds: "list[Kind]", where: str | None) -> "Sequence[Hit]":
    """The hits, from a service that runs over the same collection if only torch can read the model: to load it takes seconds."""
    from coca_model.errors import CheckpointError
    from coca_model.text_encoder import needs_torch
    from search.collection import open_collection
    from search.collection.bucket.place import shown
    from search.engine import search as find

    opened = open_collection(collection)
    with suppress(ServiceError, CheckpointError):
        if needs_torch(opened.identity.model):
            from search.client import Client

            with Client() as client:
                if client.health()["collection"] == shown(opened.path.resolve()):
                    return [hit.without_addresses() for hit in client.search(words, k=k, kinds=kinds, where=where)]
    return find(words, collection=opened, k=k, kinds=kinds, where=where)


def serve(
    collection: CollectionOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of the service.")] = 8460,
    gpu: Annotated[GpuKind | None, typer.Option(help="Search on a GPU, by this kind of index. Needs the extra `gpu`.")] = None,
) -> None:
    """Answer searches over HTTP, on this machine only: POST /search, /media/ID, /thumbnail/ID, /healthz."""
    check_port(port, "the service")
    import uvicorn

    from search.collection import open_collection
    from search.service import make_app

    opened = open_collection(collection, gpu=gpu)
    try:
        opened.text_encoder_for(opened.snapshot).encode_texts(["ready"])  # the first request should not wait for the model
    except OtherModelError as error:
        print(f"coca-search: {error}", file=sys.stderr)  # what is indexed can be shown
    if port:
        print(f"The service is at http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    # A paused video holds its connection open: Ctrl-C must not wait for it.
    uvicorn.run(make_app(opened), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


def add_commands(app: typer.Typer) -> None:
    app.command()(search)
    app.command()(serve)
    collection_cli.add_commands(app)
