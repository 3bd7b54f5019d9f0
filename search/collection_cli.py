"""`coca-search status`, `list`, `roots`, `verify` and `optimize`: show what a collection holds, check it, and rebuild its index."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from search.errors import OtherModelError, QueryError
from search.options import CollectionOption, JsonOption, WhereOption, all_of
from search.vectors.kinds import LEAST_FOR_CODES, IndexChoice

if TYPE_CHECKING:
    from search.collection.reader import Collection

_LINES_AT_ONCE = 10_000
_STAGES = {
    "scan": "It was not found",
    "read": "It could not be read",
    "probe": "It is not a picture or film",
    "decode": "It could not be decoded",
}
_NAMES = {"image": "pictures", "shot": "moments of videos", "clip": "videos", "failed": "failed files"}


def status(collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """Show what is in the collection, and what could not be indexed."""
    from media.file_names import escape, unescape
    from search.collection.bucket.place import shown
    from search.collection.reader import open_collection
    from search.collection.roots import list_roots

    opened = open_collection(collection)
    values = {
        "collection": shown(opened.path),
        "version": opened.snapshot.version,
        "model": opened.identity.model_id,
        **opened.counts(),
    }
    index = opened.snapshot.statistics.index
    failures = opened.failures().to_pylist() if opened.counts()["failed"] else []  # imports lancedb
    roots = list_roots(opened.snapshot)
    leave_out = opened.identity.leave_out
    if as_json:
        folders = {root.root_id: escape(root.folder) for root in roots}
        absent = [root.root_id for root in roots if root.is_absent]
        more = {"index": asdict(index), "roots": folders, "absent": absent, "leave_out": leave_out, "failures": failures}
        print(json.dumps({**values, **more}, default=str, ensure_ascii=False))
        return
    for name, value in values.items():
        print(f"{_NAMES.get(name, name):18} {value}")
    print(f"{'index':18} {index.in_words()}")
    if remark := _on_other_version(opened):
        print(f"{'model now':18} {remark}")
    if leave_out is not None:
        print(f"{'left out':18} {', '.join(leave_out) or 'nothing'}")
    for root in roots:
        if root.is_absent:
            print(f"{'absent':18} {root.folder} ({root.num_files} files)")
    for failure in failures:
        print(f"  {unescape(failure['uri'])}: {failure['stage']}: {failure['reason']} (tried {failure['attempts']}x)", file=sys.stderr)


def _on_other_version(opened: "Collection") -> str | None:
    """What to do if the model that ships is another version now. Other models may be large, and are not looked at."""
    from coca_model.errors import CheckpointError

    if opened.identity.model != "default":
        return None
    try:
        opened.identity.check_weights(opened.path)
    except OtherModelError as error:
        return str(error)
    except (CheckpointError, OSError):  # said by what needs the model
        return None
    return None


def list_segments(
    collection: CollectionOption = None,
    where: WhereOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, with every column.")] = False,
) -> None:
    """List what is indexed: one line for each picture, moment of a video, and video."""
    from search.collection.reader import open_collection
    from search.collection.thumbnails import thumbnail_of
    from search.hits import to_wire

    opened = open_collection(collection)
    snapshot = opened.snapshot
    condition = all_of(where)
    ids = snapshot.sorted_by_path(snapshot.segment_ids if condition is None else snapshot.filtered(condition))
    for start in range(0, len(ids), _LINES_AT_ONCE):
        for row in snapshot.rows(ids[start : start + _LINES_AT_ONCE]):
            if as_json:
                print(json.dumps({**to_wire(row), "thumbnail": str(thumbnail_of(opened.path, row))}, ensure_ascii=False))
            else:
                moment = "" if row["start_seconds"] is None else f"  {clock(row['start_seconds'])}-{clock(row['end_seconds'])}"
                print(f"{row['kind']:5}  {row['uri']}{moment}")


def list_roots(context: typer.Context, collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """List the folders that were indexed, with their ids. An absent one is not mounted, or empty."""
    from media.file_names import escape
    from search.collection.reader import open_collection
    from search.collection.roots import list_roots

    context.obj = collection
    if context.invoked_subcommand is not None:
        return
    for root in list_roots(open_collection(collection).snapshot):
        if as_json:
            shown = {"id": root.root_id, "path": escape(root.folder), "files": root.num_files, "exists": not root.is_absent}
            print(json.dumps(shown, ensure_ascii=False))
        else:
            print(f"{root.root_id}  {root.folder}  {root.num_files} files{'  (absent)' if root.is_absent else ''}")


def list_failures(collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """List the files that could not be indexed, with the reason. Try them again with: coca-search index --retry-failed"""
    from media.file_names import unescape
    from search.collection.reader import open_collection

    opened = open_collection(collection)
    rows = opened.failures().sort_by("uri").to_pylist() if opened.counts()["failed"] else []
    if as_json:
        names = ("stage", "reason", "attempts", "last_tried_at")
        print(json.dumps([{"path": row["uri"], **{name: row[name] for name in names}} for row in rows], default=str, ensure_ascii=False))
        return
    for row in rows:
        when = f"{row['last_tried_at']:%Y-%m-%d %H:%M} UTC" if row["last_tried_at"] else "before"
        print(f"{unescape(row['uri'])}\n    {_STAGES.get(row['stage'], row['stage'])}: {row['reason']}")
        print(f"    tried {row['attempts']} times, last {when}")
    print(f"{len(rows)} files failed." if rows else "No file failed.")


def move_root(
    context: typer.Context,
    root: Annotated[str, typer.Argument(metavar="ROOT", help="The id of the folder, from `coca-search roots`, or its old path.")],
    new_path: Annotated[str, typer.Argument(help="The path or address of the folder now.")],
    collection: CollectionOption = None,
) -> None:
    """Give an indexed folder its new path after you moved it. Nothing is indexed again."""
    from media.sources.choose import source_of
    from search.collection.identity import default_path
    from search.collection.reader import open_collection
    from search.collection.roots import move_root

    path = collection or context.obj or default_path()
    root_id = open_collection(path).identity.find_root(root)
    num_found, num_files = move_root(path, root_id, new_path)
    print(f"Root {root_id} is now {source_of(new_path).resolve(new_path)}. {num_found} of {num_files} files were found there.")


def remove_root(
    context: typer.Context,
    root: Annotated[str, typer.Argument(metavar="ROOT", help="The id of the folder, from `coca-search roots`, or its path.")],
    collection: CollectionOption = None,
) -> None:
    """Forget a folder that was indexed. Its files are not touched."""
    from search.collection.identity import default_path
    from search.collection.reader import open_collection
    from search.collection.roots import remove_root

    path = collection or context.obj or default_path()
    root_id = open_collection(path).identity.find_root(root)
    print(f"Root {root_id} was removed, with {remove_root(path, root_id)} files.")


def optimize(
    collection: CollectionOption = None,
    recall: Annotated[
        float | None, typer.Option(help="The least recall@10 against exact search; 1 for exact search. At first 0.98.", show_default=False)
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="The most private memory of a reader for the index, such as 500MB. At first 2GiB.", show_default=False),
    ] = None,
    kind: Annotated[
        IndexChoice | None,
        typer.Option(
            help="auto chooses by the number of vectors: exact below 20,000, lists from 10 million, else flat.", show_default=False
        ),
    ] = None,
) -> None:
    """Rebuild the search index as you want it, and keep to that later. Searches use the old one meanwhile."""
    from search.collection.identity import default_path
    from search.collection.optimize import optimize as rebuild

    num_bytes = None if memory is None else _bytes_of(memory)
    snapshot = rebuild(collection or default_path(), recall=recall, memory=num_bytes, kind=kind)
    index = snapshot.statistics.index
    print(f"{len(snapshot)} vectors, index: {index.in_words()}")
    if index.settings.kind not in {None, index.kind}:
        reason = "the recall is 1" if index.settings.recall == 1 else f"fewer than {LEAST_FOR_CODES:,} vectors are searched exactly"
        print(f"Not {index.settings.kind}: {reason}.", file=sys.stderr)


def verify(
    collection: CollectionOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild the search index and the thumbnails, without the model.")] = False,
) -> None:
    """Check the collection for damage. The exit code is 1 if a problem remains."""
    from search.collection.identity import default_path
    from search.collection.verify import verify as check

    findings = check(collection or default_path(), repair=repair)
    for sentence in findings.repaired:
        print(sentence)
    for sentence in findings.problems:
        print(f"problem: {sentence}", file=sys.stderr)
    print(f"{findings.num_rows} rows of {findings.num_files} files checked, {len(findings.problems)} problems.")
    if findings.problems:
        if not repair:
            print("Repair what can be rebuilt with the same command and --repair.", file=sys.stderr)
        raise typer.Exit(1)


def clock(seconds: float) -> str:
    """1:02:03.4, or 2:03.4 below an hour."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def _bytes_of(text: str) -> int:
    """The bytes of a size, such as 2GiB or 500 MB. Raises QueryError."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise QueryError(f"This is no size ({text}). Write it as 2GiB or 500MB.") from None


def add_commands(app: typer.Typer) -> None:
    app.command()(status)
    app.command("list")(list_segments)
    app.command("failures")(list_failures)
    app.command()(verify)
    app.command()(optimize)
    roots = typer.Typer(invoke_without_command=True, callback=list_roots)
    roots.command("move")(move_root)
    roots.command("remove")(remove_root)
    app.add_typer(roots, name="roots")
