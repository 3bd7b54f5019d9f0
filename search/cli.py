"""`coca-search search`, `status` and `serve`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

CollectionOption = Annotated[
    Path | None,
    typer.Option("--collection", "-c", envvar="COCA_SEARCH_COLLECTION", help="Its directory; by default in your data directory."),
]


def search(
    query: Annotated[str, typer.Argument(help="What you remember of the picture.")],
    collection: CollectionOption = None,
    top: Annotated[int, typer.Option("--top", "-t", min=1, max=10_000, help="How many hits.")] = 10,
    where: Annotated[str | None, typer.Option(help="SQL over the columns, such as: width >= 1000 AND kind = 'image'.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
    only_paths: Annotated[bool, typer.Option("--filepath-only", "-f", help="Only the paths, one a line.")] = False,
) -> None:
    """Find pictures and moments of videos by a sentence."""
    from search.engine import search as find

    hits = find(query, collection=collection, k=top, where=where)
    if not hits:
        print("Nothing found: the collection is empty" + (", or nothing in it fulfils --where." if where else "."), file=sys.stderr)
    for hit in hits:
        if only_paths:
            print(hit.uri)
        elif as_json:
            print(json.dumps(asdict(hit), default=str, ensure_ascii=False))
        else:
            moment = "" if hit.start_seconds is None else f"  {clock(hit.start_seconds)}-{clock(hit.end_seconds or 0.0)}"
            print(f"{hit.similarity:.3f}  {hit.uri}{moment}")


def status(collection: CollectionOption = None, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """What is in the collection, and what could not be indexed."""
    from coca_model.machine import fast_dtype
    from search.collection import open_collection

    opened = open_collection(collection)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = {
        "collection": str(opened.path),
        "version": opened.snapshot.version,
        "model": opened.identity.model_id,
        "device": f"{device}, {str(fast_dtype(torch.device(device))).removeprefix('torch.')}",
        **opened.counts(),
    }
    failures = opened.failures().to_pylist()
    if as_json:
        print(json.dumps({**facts, "failures": failures}, default=str, ensure_ascii=False))
        return
    names = {"image": "pictures", "shot": "moments of videos", "clip": "videos", "failed": "failed files"}
    for name, value in facts.items():
        print(f"{names.get(name, name):18} {value}")
    for failure in failures:
        print(f"  {failure['uri']}: {failure['stage']}: {failure['reason']} (tried {failure['attempts']}x)", file=sys.stderr)


def serve(
    collection: CollectionOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8460,
) -> None:
    """Answer searches over HTTP, on this machine only: POST /search, /media/ID, /thumbnail/ID, /healthz."""
    import uvicorn

    from search.collection import open_collection
    from search.service import make_app

    opened = open_collection(collection)
    opened.encoder.encode_texts(["ready"])  # the first request should not wait for the model
    # A paused video holds its connection open: Ctrl-C must not wait for it.
    uvicorn.run(make_app(opened), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


def clock(seconds: float) -> str:
    """1:02:03.4, or 2:03.4 below an hour."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def add_commands(app: typer.Typer) -> None:
    for command in (search, status, serve):
        app.command()(command)
