"""A date in a filter is an interval on the photographer's clock, or an instant if it has a zone."""

from datetime import datetime

import pyarrow as pa
import pytest

from search import QueryError
from search.filters.evaluate import FilterRows

UTC, LOCAL = pa.timestamp("us", "UTC"), pa.timestamp("us")
# 11 Sep 2025 08:59 +09:00; the same on a clock without a zone; 30 Sep 23:30 -04:00; nothing
INSTANTS = [datetime(2025, 9, 10, 23, 59), datetime(2025, 9, 11, 8, 59), datetime(2025, 10, 1, 3, 30), None]
LOCALS = [datetime(2025, 9, 11, 8, 59), datetime(2025, 9, 11, 8, 59), datetime(2025, 9, 30, 23, 30), None]
OFFSETS = pa.array([540, None, -240, None], pa.int32())
NEW = pa.record_batch({"taken_at": pa.array(INSTANTS, UTC), "taken_local": pa.array(LOCALS, LOCAL), "utc_offset_minutes": OFFSETS})
OLD = pa.record_batch({"taken_at": pa.array(INSTANTS, UTC), "utc_offset_minutes": OFFSETS})


@pytest.mark.parametrize("rows", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("taken_at = '2025-09-11'", [True, True, False, False]),
        ("taken_at = '2025-09-10'", [False, False, False, False]),
        ("taken_at = '2025-09-10 23:59Z'", [True, False, False, False]),
        ("taken_at >= timestamp '2025-09-11 00:00:00' AND taken_at < '2025-09-12'", [True, True, False, False]),
        ("taken_at = '2025-09'", [True, True, True, False]),
        ("taken_at > '2025-09'", [False, False, False, False]),
        ("taken_at != '2025-09-11'", [False, False, True, False]),
        ("taken_at BETWEEN '2025-09-12' AND '2025-09'", [False, False, True, False]),
        ("taken_at IN ('2024', '2025-09-30T23:30:00-04:00')", [False, False, True, False]),
    ],
)
def test_a_date_is_an_interval_on_the_clock_of_the_photographer(rows, where, expected):
    assert FilterRows([rows], {}).keep(where).tolist() == expected


@pytest.mark.parametrize("date", ["2025-13", "2025-02-30", "0000", "2025-09-11 24:00", "11.9.2025", "", "2025-09-11 08:59+25:00"])
def test_a_date_that_does_not_exist_is_refused_with_its_place(date):
    with pytest.raises(QueryError, match=r"at character 12 .*no date"):
        FilterRows([NEW], {}).keep(f"taken_at = '{date}'")
