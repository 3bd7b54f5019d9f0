"""Columns are declared once; storage, results, filters and docs follow from the declaration."""

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from search.schema import FailureColumns, FileColumns, Row, columns_as_markdown, columns_from_metadata, columns_of, datetime_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "collection.md"

# Indexes a picture with a tag, and prints the new column as seen by search(), HTTP and the docs.
PROBE = """
import json, sys
from pathlib import Path
import httpx
from PIL import Image
from indexer import index
from search import open_collection, search
from search.schema import Row, columns_as_markdown
from search.service import make_app
from tests.fakes import FakeEncoder, write_picture
from tests.serving import serving

folder = Path(sys.argv[1])
exif = Image.Exif()
exif[0x0131] = "EF 50mm"
write_picture(folder / "library" / "a.jpg", "red", exif=exif)
write_picture(folder / "library" / "b.png", "blue")
index(folder / "library", collection=folder / "c", encoder=FakeEncoder())
collection = open_collection(folder / "c", encoder=FakeEncoder())
with serving(make_app(collection)) as url, httpx.Client(trust_env=False) as client:
    hits = client.post(url + "/search", json={"text": "red", "where": "software = 'EF 50mm'"}).json()["hits"]
print(json.dumps({
    "python": [hit.software for hit in search("red", collection=collection)],
    "table": search("red", collection=collection).to_arrow()["software"].to_pylist(),
    "http": [hit["software"] for hit in hits],
    "docs": "`software`" in columns_as_markdown(Row),
}))
"""
COLUMN = '    software: Annotated[str | None, Column("the program", source="Exif.Image.Software")] = None\n'


@pytest.fixture
def with_software(tmp_path):
    """A copy of the program with one added line in search/schema.py."""
    copy = tmp_path / "program"
    for package in ("coca_model", "indexer", "media", "search", "tests"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.zip"))
    schema = copy / "search" / "schema.py"
    before, after = schema.read_text().split("    camera: ", 1)
    schema.write_text(f"{before}{COLUMN}    camera: {after}")
    return copy


def test_one_line_adds_a_column_that_is_stored_returned_filtered_and_documented(tmp_path, with_software):
    command = [sys.executable, "-c", PROBE, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(with_software)}
    done = subprocess.run(command, cwd=with_software, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {"python": ["EF 50mm", None], "table": ["EF 50mm", None], "http": ["EF 50mm"], "docs": True}


def test_the_docs_show_every_column():
    text = DOCS.read_text()
    for record in (Row, FailureColumns):
        assert columns_as_markdown(record) in text, "run: make docs"


def test_metadata_of_another_type_is_left_out():
    found = columns_from_metadata({"width": 5, "latitude": 1, "camera": 7, "taken_at": "2020", "unknown": 1})
    assert found == {"width": 5, "latitude": 1.0}


def test_no_required_column_is_added_so_older_rows_stay_readable():
    required = {each.name for each in columns_of(FileColumns) if each.required}
    assert required == {"media_id", "root_id", "path", "size_bytes", "mtime", "sha256", "indexed_at", "width", "height"}


@pytest.mark.parametrize("micros", [-62_135_600_400_000_000, 253_402_318_799_000_000, 2**62, -(2**62), None])
def test_a_date_outside_the_range_of_python_is_none(micros):
    assert datetime_of(None if micros is None else timedelta(microseconds=micros)) is None
