"""The command line in a separate process: output for pipes, and one line with exit code 2 for user errors."""

import codecs
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer

from coca_search import cli as coca_search_cli
from search.schema import Row, columns_of
from tests.fakes import write_film, write_picture


def coca_search(*arguments, env=None):
    command = [sys.executable, "-m", "coca_search", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}, check=False)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    for colour in ("red", "green", "blue"):
        write_picture(folder / "library" / f"{colour} one.png", colour)
    write_film(folder / "library" / "film.mp4", [("red", 3.0), ("blue", 3.0)])
    (folder / "library" / "broken.jpg").write_bytes(b"x")
    result = coca_search("index", folder / "library", "--collection", folder / "collection")
    assert result.returncode == 3, result.stderr
    assert "5 new" in result.stdout
    assert "broken.jpg: decode: not a picture that can be read." in result.stderr
    return folder / "collection"


def test_search_prints_one_existing_path_a_line(collection):
    result = coca_search("search", "something red", "-c", collection, "-t", 2, "-f")
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(os.path.exists(line) for line in lines)


def test_json_output_is_one_document_a_line(collection):
    result = coca_search("search", "a film", "-c", collection, "--json", "--where", "kind = 'shot'")
    (hit,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert hit["uri"].endswith("film.mp4")
    assert 0 <= hit["start_seconds"] < hit["end_seconds"] <= 6.2


def test_a_search_without_hits_prints_nothing_and_explains_on_stderr(collection):
    result = coca_search("search", "red", "-c", collection, "--where", "width > 100000")
    assert (result.returncode, result.stdout) == (0, "")
    assert "the collection has no image or shot that matches --where. Other kinds: --kind." in result.stderr


def test_whole_videos_are_found_on_request(collection):
    result = coca_search("search", "red", "-c", collection, "--kind", "clip", "--json")
    assert [json.loads(line)["kind"] for line in result.stdout.splitlines()] == ["clip"]


def test_the_collection_can_be_set_in_the_environment(collection):
    assert coca_search("search", "red", "-f", env={"COCA_SEARCH_COLLECTION": str(collection)}).returncode == 0


def test_list_prints_every_column_of_each_segment_and_its_thumbnail(collection):
    result = coca_search("list", "-c", collection, "--json", "--where", "kind = 'shot'")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows
    for row in rows:
        assert set(row) == {each.name for each in columns_of(Row)} | {"thumbnail"}
        assert (row["kind"], Path(row["thumbnail"]).is_file()) == ("shot", True)
    everything = coca_search("list", "-c", collection)
    assert len(everything.stdout.splitlines()) > len(rows)


def test_commands_without_a_filter_do_not_import_lancedb(collection):
    script = "import sys; from coca_search.cli import main\ntry: main()\nexcept SystemExit: pass\nprint('lancedb' in sys.modules)"
    for command in (["list", "-c", str(collection)], ["roots", "-c", str(collection)], ["search", "red", "-c", str(collection)]):
        done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout.splitlines()[-1] == "False", command


def test_roots_can_be_listed_and_moved(tmp_path, collection):
    library = collection.parent / "library"
    copy, moved = shutil.copytree(collection, tmp_path / "c"), shutil.copytree(library, tmp_path / "moved")
    (root,) = [json.loads(line) for line in coca_search("roots", "-c", copy, "--json").stdout.splitlines()]
    assert (root["path"], root["exists"]) == (str(library), True)
    done = coca_search("roots", "move", root["id"], moved, "-c", copy)
    assert (done.returncode, str(moved) in done.stdout) == (0, True), done.stderr
    assert coca_search("search", "red", "-c", copy, "-f").stdout.startswith(str(moved))
    assert coca_search("roots", "move", "nonsense", moved, "-c", copy).returncode == 2


def test_verify_exits_with_1_on_damage_and_repairs_it(tmp_path, collection):
    copy = shutil.copytree(collection, tmp_path / "c")
    assert coca_search("verify", "-c", copy).returncode == 0
    shutil.rmtree(copy / "snapshots")
    found = coca_search("verify", "-c", copy)
    assert (found.returncode, "--repair" in found.stderr) == (1, True)
    assert "The snapshot was rebuilt" in coca_search("verify", "--repair", "-c", copy).stdout
    assert coca_search("verify", "-c", copy).returncode == 0


def test_status_counts_files_and_names_failures(collection):
    result = coca_search("status", "-c", collection, "--json")
    status = json.loads(result.stdout)
    assert (status["image"], status["clip"], status["failed"]) == (3, 1, 1)
    assert status["failures"][0]["uri"].endswith("broken.jpg")


def test_caption_prints_one_line_a_picture(collection):
    library = collection.parent / "library"
    result = coca_search("caption", library / "red one.png", library / "blue one.png")
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [str(library / "red one.png"), str(library / "blue one.png")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "{tmp}/nowhere"], "nowhere: no such file or folder. Give a folder"),
        (["index", "{tmp}/empty"], "no pictures or videos found. Nothing was changed"),
        (["search", "x", "-c", "{tmp}/none"], "no collection here. Make one with: coca-search index"),
        (["status", "-c", "{tmp}/none"], "no collection here"),
        (["serve", "-c", "{tmp}/none"], "no collection here"),
        (["search", " ", "-c", "{collection}"], "The query is empty"),
        (
            ["search", "x", "-c", "{collection}", "--where", "nonsense = 1"],
            "The filter cannot be used at character 1 (nonsense = 1)",
        ),
        (["search", "x", "-c", "{other}"], "made with another model"),
        (["index", "{library}", "-c", "{other}"], "made with another model"),
        (["caption", "{tmp}/nothing.jpg"], "nothing.jpg"),
        (["caption", "--model", "{tmp}/none", "x.jpg"], "no such checkpoint"),
    ],
)
def test_user_errors_give_one_line_and_exit_code_2(collection, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("segments.lance", "failures.lance"):
        (other / name).symlink_to(collection / name)
    identity = json.loads((collection / "collection.json").read_text())
    (other / "collection.json").write_text(json.dumps(identity | {"model_id": "another@1"}))
    paths = {"tmp": tmp_path, "collection": collection, "other": other, "library": collection.parent / "library"}
    result = coca_search(*[argument.format(**paths) for argument in arguments])
    assert result.returncode == 2
    assert message in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.strip()]) == 1, result.stderr
    assert result.stdout == ""


def test_help_does_not_import_torch_or_lancedb():
    script = "import sys, coca_search.cli; sys.exit('torch' in sys.modules or 'lancedb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_query_longer_than_the_context_is_answered_with_one_warning(collection):
    result = coca_search("search", "dog " * 500, "-c", collection, "-f")
    assert result.returncode == 0
    assert re.fullmatch(r"coca-search: A text of \d+ tokens is cut to the model's context of 48\.\n", result.stderr)


@pytest.mark.parametrize(("given", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_idle_threads_sleep_unless_the_environment_says_otherwise(given, expected):
    script = "import os, sys, coca_search.cli; sys.argv = ['', '--help']"
    script += "\ntry: coca_search.cli.main()\nexcept SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == expected


def test_version_option_prints_the_version():
    assert re.fullmatch(r"coca-search \d+\.\d+\.\d+\n", coca_search("--version").stdout)


def test_a_full_disk_gives_one_line_and_exit_code_2(monkeypatch, capsys):
    app = typer.Typer()

    @app.command()
    def write():
        raise OSError(28, "No space left on device", "curves.png")

    monkeypatch.setattr(coca_search_cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["coca-search"])
    with pytest.raises(SystemExit) as done:
        coca_search_cli.main()
    assert (done.value.code, capsys.readouterr().err) == (2, "coca-search: curves.png: No space left on device.\n")


def test_characters_the_terminal_cannot_show_are_escaped(tmp_path):
    pictures = [write_picture(tmp_path / name, "red") for name in ("é.png", "e.png")]
    done = coca_search("caption", *pictures, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xe9.png: " in done.stdout


def test_ctrl_c_gives_one_line_and_exit_code_130(monkeypatch, capsys):
    app = typer.Typer()

    @app.command()
    def busy():
        raise KeyboardInterrupt

    monkeypatch.setattr(coca_search_cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["coca-search"])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit) as done:
        coca_search_cli.main()
    assert done.value.code == 130
    assert capsys.readouterr().err == "coca-search: stopped. What was written so far is kept. Run the command again to continue.\n"


def test_serve_reports_a_taken_port_in_one_line(collection):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = coca_search("serve", "--collection", collection, "--port", port)
    assert result.returncode == 2
    assert result.stderr == (
        f"coca-search: http://127.0.0.1:{port}: the service cannot use this port (Address already in use). "
        "Open or stop what answers there, or give another --port.\n"
    )


def test_names_that_are_not_utf8_are_printed_as_they_are():
    codecs.register_error("test-names", coca_search_cli._write_name)
    assert "é\udcff ❄".encode("latin-1", "test-names") == b"\xe9\xff \\u2744"
