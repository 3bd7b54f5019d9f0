"""Manifests: CSV and Parquet files that name files and describe them."""

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import SourceError
from indexer.files.manifest import read_manifest


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_describes_files_relative_to_it(tmp_path):
    manifest = read_manifest(
        write(
            tmp_path / "rows.csv",
            "path,title,keywords,people,rating,latitude,longitude,taken_at\n"
            'a.jpg,00123,"dog; beach ;;",Anna,5,47.5,-8,2020-05-06T07:08:09+02:00\n'
            'sub/b.jpg,"two\nlines",,,,,,2020:05:06 07:08:09\n'
            "/elsewhere/c.jpg,,,,,,,\n"
            "s3://bucket/d.jpg,x,,,,,,\n",
        )
    )
    assert manifest.columns == {
        f"{tmp_path}/a.jpg": {
            "title": "00123",
            "keywords": ("dog", "beach"),
            "people": ("Anna",),
            "rating": 5,
            "latitude": 47.5,
            "longitude": -8.0,
            "taken_at": datetime(2020, 5, 6, 5, 8, 9, tzinfo=UTC),
            "taken_local": datetime(2020, 5, 6, 7, 8, 9),
            "utc_offset_minutes": 120,
            "taken_at_source": "manifest",
        },
        f"{tmp_path}/sub/b.jpg": {
            "title": "two\nlines",
            "taken_at": datetime(2020, 5, 6, 7, 8, 9, tzinfo=UTC),
            "taken_local": datetime(2020, 5, 6, 7, 8, 9),
            "utc_offset_minutes": None,
            "taken_at_source": "manifest",
        },
        "/elsewhere/c.jpg": {},
        "s3://bucket/d.jpg": {"title": "x"},
    }
    assert manifest.notes == ()


def test_a_parquet_file_has_lists_numbers_and_times(tmp_path):
    zone = timezone(timedelta(hours=2))
    table = pa.table(
        {
            "file_name": ["a.jpg", "b.jpg"],
            "keywords": [["dog", "beach"], None],
            "rating": [3, None],
            "taken_at": pa.array([datetime(2020, 5, 6, tzinfo=zone), None], pa.timestamp("ns", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    columns = read_manifest(tmp_path / "rows.parquet").columns
    assert columns[f"{tmp_path}/a.jpg"] == {
        "keywords": ("dog", "beach"),
        "rating": 3,
        "taken_at": datetime(2020, 5, 5, 22, tzinfo=UTC),
        "taken_local": datetime(2020, 5, 5, 22),
        "utc_offset_minutes": 0,
        "taken_at_source": "manifest",
    }
    assert columns[f"{tmp_path}/b.jpg"] == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rating", "6"),
        ("rating", "2.5"),
        ("rating", "many"),
        ("latitude", "91"),
        ("latitude", "nan"),
        ("longitude", "1e400"),
        ("longitude", "2.5"),  # half a position
        ("taken_at", "yesterday"),
        ("taken_at", "0001-01-01"),
        ("taken_at", "9999-12-31T23:59:59-05:00"),
    ],
)
def test_a_value_that_cannot_be_is_dropped_and_told(tmp_path, column, value):
    manifest = read_manifest(write(tmp_path / "rows.csv", f"path,title,{column}\na.jpg,good,\nb.jpg,good,{value}\n"))
    assert manifest.columns[f"{tmp_path}/b.jpg"] == {"title": "good"}
    assert manifest.notes == (f"rows.csv: 1 values of {column} were not used (first in row 2).",)


def test_unknown_columns_are_told(tmp_path):
    (note,) = read_manifest(write(tmp_path / "rows.csv", "uri,licence,title\na.jpg,CC0,x\n")).notes
    assert note.startswith("rows.csv: columns that were not used: licence. Used are ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "title,keywords\nx,y\n", "no column path or uri or file_name"),
        ("rows.csv", "", "cannot be read"),
        ("rows.csv", "path,title\n", "names no files"),
        ("rows.csv", "path,title\n,x\n", "names no files"),
        ("rows.csv", 'path,title\na.jpg,"' + 200_000 * "x", "cannot be read"),
        ("rows.parquet", "no parquet", "cannot be read"),
        ("rows.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path, name, content, message):
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(SourceError, match=message):
        read_manifest(tmp_path / name)


def test_names_that_are_not_utf8_come_back_from_a_list_of_ours(tmp_path):
    manifest = read_manifest(write(tmp_path / "rows.csv", "uri\nbad\uefff.jpg\n"))
    assert list(manifest.columns) == [f"{tmp_path}/bad\udcff.jpg"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_of_a_spreadsheet_is_read(tmp_path, separator, mark):
    lines = (" Path ", "Title", "keywords"), ("a.jpg", "A, b", '"dog; beach"'), (), ("b.jpg",), ("c.jpg", "C", "")
    text = mark + "\r\n".join(
        separator.join(f'"{each}"' if separator in each and '"' not in each else each for each in line) for line in lines
    )
    manifest = read_manifest(write(tmp_path / "rows.csv", text))
    assert manifest.columns == {
        f"{tmp_path}/a.jpg": {"title": "A, b", "keywords": ("dog", "beach")},
        f"{tmp_path}/b.jpg": {},
        f"{tmp_path}/c.jpg": {"title": "C"},
    }
    assert manifest.notes == ()


def test_a_row_with_too_many_values_is_dropped_and_told(tmp_path):
    manifest = read_manifest(write(tmp_path / "rows.csv", "path,title\na.jpg,good\nb.jpg,with a comma, not quoted\n"))
    assert manifest.columns == {f"{tmp_path}/a.jpg": {"title": "good"}}
    assert manifest.notes == ("rows.csv: 1 values of path were not used (first in row 2).",)


def test_values_of_a_parquet_file_that_python_cannot_hold_are_dropped_and_told(tmp_path):
    far = pa.array([2**62, 0], pa.timestamp("us"))
    pq.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "taken_at": far, "seen": far}), tmp_path / "rows.parquet")
    manifest = read_manifest(tmp_path / "rows.parquet")
    assert manifest.columns[f"{tmp_path}/a.jpg"] == {}
    assert manifest.columns[f"{tmp_path}/b.jpg"]["taken_local"] == datetime(1970, 1, 1)
    assert manifest.notes[0] == "rows.parquet: 1 values of taken_at were not used (first in row 1)."
