"""Options that several commands of the command line share."""

from pathlib import Path
from typing import Annotated

import typer

CollectionOption = Annotated[
    Path | None,
    typer.Option(
        "--collection", "-c", envvar="COCA_SEARCH_COLLECTION", help="The folder of the collection. Default: one in your data directory."
    ),
]
WhereOption = Annotated[str | None, typer.Option(help="Only what matches an SQL condition, such as: width >= 1000 AND kind = 'image'.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
