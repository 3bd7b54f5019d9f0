"""Options that several commands of the command line share."""

from pathlib import Path
from typing import Annotated

import typer

CollectionOption = Annotated[
    Path | None,
    typer.Option(
        "--collection", "-c", envvar="COCA_SEARCH_COLLECTION", help="The directory of the collection; by default in your data directory."
    ),
]
WhereOption = Annotated[str | None, typer.Option(help="A filter: SQL over the columns, such as: width >= 1000 AND kind = 'image'.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
