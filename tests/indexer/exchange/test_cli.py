"""`coca-search export`, `import` and `merge`: their options, what they print, and their exit codes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from coca_search.cli import app
from indexer import index
from search import open_collection
from tests.fakes import FakeEncoder, rows_of, write_picture


@pytest.fixture
def made(tmp_path):
    for colour in ("red", "green", "blue"):
        write_picture(tmp_path / "library" / f"{colour}.png", colour)
    index(tmp_path / "library", collection=tmp_path / "c", encoder=FakeEncoder())
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_export_import_and_merge(made):
    assert run("export", made / "out", "--format", "clip-retrieval", "--kinds", "image, shot", "-c", made / "c") == (
        0,
        f"3 rows were written to {made / 'out'}, in 2 files.\n",
        "",
    )
    taken = "3 new, 0 replaced by a later version, 0 here already, 0 left out\n"
    assert run("import", made / "out", "-c", made / "d") == (0, taken, "")
    assert run("merge", made / "c", "-c", made / "e") == (0, taken, "")
    assert run("merge", made / "c", "-c", made / "d") == (0, "0 new, 0 replaced by a later version, 3 here already, 0 left out\n", "")


def test_a_filter(made):
    run("export", made / "rows.parquet", "-c", made / "c", "--where", "path = 'red.png'")
    assert pq.read_table(made / "rows.parquet")["path"].to_pylist() == ["red.png"]


def test_moved_folders_and_thumbnails(made, monkeypatch):
    monkeypatch.chdir(made)
    run("export", "rows.parquet", "-c", "c")
    (made / "library").rename(made / "here")
    code, printed, _ = run("import", "rows.parquet", "-c", "d", "--moved", "library=here/", "--no-thumbnails")
    assert code == 0
    assert "3 files lack thumbnails. If the files are here, make them with: coca-search verify --repair" in printed
    uris = {row["uri"] for row in rows_of(open_collection("d", encoder=FakeEncoder()))}
    assert uris == {str(made / "here" / f"{colour}.png") for colour in ("red", "green", "blue")}
    code, _, error = run("import", "rows.parquet", "-c", "d", "--moved", "library")
    assert code == 2
    assert "expected OLD=NEW" in error


def test_rows_that_are_left_out_are_told_and_the_exit_code_is_3(made, tiny_checkpoint):
    table = pa.table({"image_path": [str(made / "library" / "red.png"), "/gone/a.png", "/gone/b.png"], "vector": np.eye(3, 16).tolist()})
    pq.write_table(table, made / "rows.parquet")
    code, printed, error = run("import", made / "rows.parquet", "-c", made / "d", "--model", tiny_checkpoint)
    assert (code, printed) == (3, "1 new, 0 replaced by a later version, 0 here already, 2 left out\n")
    assert error == "  left out: 2 not on this machine, such as /gone/a.png\n"
    code, printed, _ = run("import", made / "rows.parquet", "-c", made / "d", "--model", tiny_checkpoint, "--keep-missing")
    assert (code, printed.splitlines()[0]) == (0, "2 new, 0 replaced by a later version, 1 here already, 0 left out")
    assert open_collection(made / "d").identity.model == str(tiny_checkpoint)
