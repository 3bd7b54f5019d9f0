"""Options that several commands of the command line share, and the check of a port."""

import os
import socket
from typing import Annotated

import typer

from search.errors import ServiceError

CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection",
        "-c",
        envvar="COCA_SEARCH_COLLECTION",
        help="The folder of the collection, or its address such as s3://bucket/folder. Default: a folder in your data directory.",
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(help="Only what matches a condition, such as: place LIKE '%Paris%' AND kind = 'image'. If repeated, all must match."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def all_of(where: list[str] | None) -> str | None:
    """One condition from those of `WhereOption`. Raises QueryError if one of several is no whole condition."""
    if not where or len(where) == 1:
        return where[0] if where else None
    from search.filters.check import joined

    return joined(where)


def check_port(port: int, who: str) -> None:
    """Raises ServiceError if the port is taken. The servers themselves would say so only after everything is loaded."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ServiceError(
            f"http://127.0.0.1:{port}: {who} cannot use this port ({os.strerror(error.errno or 0)}). "
            "Open or stop what answers there, or give another --port."
        ) from error
