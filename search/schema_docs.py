"""Writes the tables of docs/collection.md from the columns that `search.schema` declares: `make docs`."""

import re
import sys
from pathlib import Path

from search.schema import FailureColumns, Row, columns_as_markdown

_TABLE = re.compile(r"(<!-- columns of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RECORDS = {"segments": Row, "failures": FailureColumns}


def with_tables(text: str) -> str:
    """The page with each table between its markers made anew."""
    return _TABLE.sub(lambda match: match[1] + columns_as_markdown(_RECORDS[match[2]]) + match[3], text)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_tables(page.read_text()))
