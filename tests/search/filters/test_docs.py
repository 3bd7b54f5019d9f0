"""Every filter in docs/filters.md can be used, and keeps what the page says."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from search.filters.evaluate import FilterRows
from search.schema import Row, arrow_fields, stored_columns

PAGE = (Path(__file__).parents[3] / "docs" / "filters.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\| `([^`]+)` \| [^|]+ \|$", PAGE, re.MULTILINE)
JULY = {"taken_at": "2019-07-04T16:30:00Z", "taken_local": "2019-07-04T18:30:00", "place": "Paris, Île-de-France, FR", "kind": "image"}


def rows(values):
    schema = pa.schema(arrow_fields(stored_columns(Row)))
    columns = [pa.array([values.get(field.name)]).cast(field.type) for field in schema]
    return FilterRows([pa.record_batch(columns, schema=schema.with_metadata(None))], {})


@pytest.mark.parametrize("where", EXAMPLES)
def test_an_example_is_a_filter(where):
    assert rows({}).keep(where).shape == (1,)


def test_the_examples_of_dates_and_places_keep_what_the_page_says():
    kept = [where for where in EXAMPLES if rows(JULY).keep(where)[0]]
    assert kept == [EXAMPLES[0], EXAMPLES[1], EXAMPLES[2], EXAMPLES[4]]
    assert len(EXAMPLES) >= 15
