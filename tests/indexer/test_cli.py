"""`coca-search index`: what it takes, what it tells, and its exit codes."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from coca_search.cli import app
from search.collection.writer_lock import WriterLock
from tests.fakes import FakeEncoder, write_picture

COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    monkeypatch.setattr("indexer.run._load", lambda _: FakeEncoder())
    monkeypatch.setattr("search.collection.identity.Identity.check_weights", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def library(tmp_path, monkeypatch):
    for number, colour in enumerate(COLOURS):
        write_picture(tmp_path / "library" / f"{number}.png", colour, size=(40 + number, 40))
    monkeypatch.setenv("COCA_SEARCH_COLLECTION", str(tmp_path / "collection"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "library"


def coca_search(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def indexed():
    return [os.path.basename(json.loads(line)["uri"]) for line in coca_search("list", "--json").stdout.splitlines()]


def test_a_run_without_trouble_ends_with_0(library):
    done = coca_search("index", library)
    assert (done.exit_code, done.stdout.splitlines()[0][:45], done.stderr) == (0, "4 new, 0 changed, 0 moved, 0 gone, 0 unchange", "")


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("broken", "broken.jpg: decode: not a picture"),
        ("closed", "closed: cannot be read (Input/output error). What was indexed of it stays."),
        ("missing", "second: not there. What was indexed of it stays in the collection."),
        ("empty", "second: absent. Its 1 files stay in the collection. If they are gone for good, remove them with: --forget"),
    ],
)
def test_a_run_that_met_trouble_names_it_and_ends_with_3(library, monkeypatch, trouble, told):
    second = write_picture(library.parent / "second" / "x.png").parent
    coca_search("index", library, second)
    if trouble == "broken":
        (library / "broken.jpg").write_bytes(b"broken")
        os.utime(library / "broken.jpg", (5, 5))
    elif trouble == "closed":
        (library / "closed").mkdir()
        scandir = os.scandir

        def refuse(path):
            if str(path).endswith("closed"):
                raise OSError(5, "Input/output error")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
    else:
        shutil.rmtree(second)
        if trouble == "empty":
            second.mkdir()
    done = coca_search("index", library, second)
    assert (done.exit_code, told in done.stderr) == (3, True), done.stderr
    again = coca_search("index", library, second)
    assert again.exit_code == (0 if trouble == "broken" else 3)
    if trouble == "broken":
        assert "Failed before and not changed: 1. Retry with --retry-failed." in again.stderr
        assert coca_search("index", library, "--retry-failed").exit_code == 3


def test_broken_links_and_files_of_unknown_kind_are_told_without_an_exit_code(library):
    (library / "broken.png").symlink_to("nowhere")
    (library / "up").symlink_to("..")
    (library / "x.braw").write_bytes(b"raw")
    write_picture(library / ".hidden.png")
    write_picture(library / "@eaDir" / "x.png")
    done = coca_search("index", library)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        f"  Links to nothing: 1 ({library}/broken.png).",
        f"  Links to a folder above them, not followed: 1 ({library}/up).",
        "  Left out: 1 files and folders of other programs (@eaDir/). Change this with --leave-out.",
        "  Hidden, and left out: 1 files and folders.",
        "  Pictures or films that cannot be read: 1 .braw.",
    ]


def test_errors_end_with_2(library):
    coca_search("index", library)
    with WriterLock(library.parent / "collection"):
        done = subprocess_main("index", library)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is writing to it" in done.stderr


def subprocess_main(*arguments):
    command = [sys.executable, "-m", "coca_search", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_nothing_to_index_is_a_usage_error(library):
    assert coca_search("index").exit_code == 2
    assert coca_search("index", "-", stdin="").exit_code == 2


@pytest.mark.parametrize(("option", "separator"), [("-", "\n"), ("-", "\r\n"), ("-0", "\0")])
def test_a_list_on_standard_input_is_indexed(library, option, separator):
    (library / "a\nb.png" if separator == "\0" else library / "a b.png").write_bytes((library / "3.png").read_bytes())
    names = ["library/0.png", "library/1.png", "library/a\nb.png" if separator == "\0" else "library/a b.png", "library/gone.png"]
    done = coca_search("index", option, stdin=separator.join(names))
    assert (done.exit_code, "Not there: 1 files of the list" in done.stderr) == (3, True), done.stderr
    assert sorted(indexed()) == sorted(os.path.basename(name) for name in names[:3])


def test_a_list_may_have_names_that_are_not_utf8(library):
    os.rename(library / "0.png", os.fsencode(library) + b"/\xff.png")
    assert coca_search("index", "-0", stdin=os.fsencode(library) + b"/\xff.png").exit_code == 0
    assert indexed() == ["\uefff.png"]


def test_patterns_and_manifests_are_indexed(library):
    (library / "rows.csv").write_text("path,title\n1.png,Green\n")
    assert coca_search("index", "library/0.*", "--manifest", "library/rows.csv").exit_code == 0
    assert sorted(indexed()) == ["0.png", "1.png"]


def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(library, monkeypatch):
    monkeypatch.setattr("indexer.run._load", lambda _: pytest.fail("the model was loaded"))
    done = coca_search("index", library, "--dry-run")
    assert done.stdout == "Dry run, nothing was written: 4 new, 0 changed, 0 moved, 0 gone, 0 unchanged, 0 failed.\n"
    assert sorted(os.listdir(library.parent)) == ["library"]
    monkeypatch.setattr("indexer.run._load", lambda _: FakeEncoder())
    coca_search("index", library)
    collection = library.parent / "collection"
    before = {path: path.stat().st_mtime_ns for path in collection.rglob("*")}
    (library / "0.png").unlink()
    (library / "1.png").rename(library / "renamed.png")
    write_picture(library / "2.png", "white", size=(77, 77))
    write_picture(library / "new.png", "white", size=(78, 78))
    monkeypatch.setattr("indexer.run._load", lambda _: pytest.fail("the model was loaded"))
    done = coca_search("index", library, "--dry-run", "--verbose")
    assert done.stdout.splitlines() == [
        "Dry run, nothing was written: 1 new, 1 changed, 1 moved, 1 gone, 1 unchanged, 0 failed.",
        f"new      {library}/new.png",
        f"changed  {library}/2.png",
        f"moved    {library}/renamed.png",
        f"gone     {library}/0.png",
    ]
    answer = json.loads(coca_search("index", library, "--dry-run", "--json").stdout)
    assert (answer["new"], answer["unchanged"], answer["planned"]["gone"]) == (1, 1, [f"{library}/0.png"])
    assert {path: path.stat().st_mtime_ns for path in collection.rglob("*")} == before


def test_a_dry_run_knows_of_forgotten_absent_and_moved_roots(library):
    second = write_picture(library.parent / "second" / "x.png").parent
    coca_search("index", library, second)
    second.rename(library.parent / "third")
    assert "0 new, 0 changed, 1 moved, 0 gone, 4 unchanged" in coca_search("index", library, "third", "--dry-run").stdout
    done = coca_search("index", library, second, "--dry-run")
    assert (done.exit_code, "second: not there" in done.stderr) == (3, True)
    done = coca_search("index", library, "--forget", second, "--dry-run")
    assert (done.exit_code, "second: forgotten, with 1 files" in done.stderr) == (0, True)
    assert len(indexed()) == 5


def test_roots_are_shown_forgotten_and_moved_by_their_path(library):
    second = write_picture(library.parent / "second" / "x.png").parent
    coca_search("index", library, second)
    second.rename(library.parent / "third")
    shown = {root["path"]: root for root in map(json.loads, coca_search("roots", "--json").stdout.splitlines())}
    assert {path: (root["files"], root["exists"]) for path, root in shown.items()} == {str(library): (4, True), str(second): (1, False)}
    assert f"{second}  1 files  (absent)" in coca_search("roots").stdout
    assert "absent" in coca_search("status").stdout
    assert coca_search("roots", "move", second, "third").exit_code == 0
    assert "absent" not in coca_search("roots").stdout
    assert coca_search("index", "--forget", "third").exit_code == 0
    assert coca_search("roots", "remove", library).exit_code == 0
    assert indexed() == []


def test_what_is_left_out_is_shown(library):
    coca_search("index", library, "--leave-out", "0.png", "--leave-out", "exports")
    assert sorted(indexed()) == ["1.png", "2.png", "3.png"]
    assert "left out           default, 0.png, exports" in coca_search("status").stdout
    assert json.loads(coca_search("status", "--json").stdout)["leave_out"] == ["default", "0.png", "exports"]


def test_failures_are_listed_with_the_reason_in_words(library):
    assert coca_search("index", library).exit_code == 0
    assert coca_search("failures").stdout == "No file failed.\n"
    (library / "broken.jpg").write_bytes(b"broken")
    os.utime(library / "broken.jpg", (5, 5))
    coca_search("index", library)
    coca_search("index", library, "--retry-failed")
    lines = coca_search("failures").stdout.splitlines()
    assert (lines[0], lines[3]) == (f"{library}/broken.jpg", "1 files failed.")
    assert lines[1].startswith("    It could not be decoded: not a picture")
    assert lines[2].startswith("    tried 2 times, last 20")
    (failure,) = json.loads(coca_search("failures", "--json").stdout)
    assert (failure["path"], failure["stage"], failure["attempts"]) == (f"{library}/broken.jpg", "decode", 2)
    assert set(failure) == {"path", "stage", "reason", "attempts", "last_tried_at"}


SLOW = """
import signal, sys, time
import indexer.run
from tests.fakes import FakeEncoder

class Slow(FakeEncoder):
    def preprocess(self, picture):
        print("working", flush=True)
        time.sleep(0.3)
        return super().preprocess(picture)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a process that was started in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
indexer.run._load = lambda _: Slow()
sys.argv = ["coca-search", "index", *sys.argv[1:]]
from coca_search.cli import main
main()
"""


def start_slowly(library):
    """A run of one lane over many pictures, in a process. It prints a line for each, and has begun."""
    for number in range(60):
        write_picture(library / f"more{number}.png", COLOURS[number % 4], size=(60 + number, 40))
    command = [sys.executable, "-c", SLOW, str(library), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "working\n"
    return process


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_finishes_the_files_in_progress_and_twice_stops_at_once(library, times):
    with start_slowly(library) as process:
        process.send_signal(signal.SIGINT)
        if times == 2:
            assert "Press Ctrl-C again" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Run the command again to continue." in err
    assert len(indexed()) == (out.count("working") + 1 if times == 1 else 0)
    assert len(indexed()) < 64
    assert coca_search("index", library).exit_code == 0
    assert len(indexed()) == 64
    assert ", 0 problems" in coca_search("verify").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_closed_terminal_keep_what_is_done(library, number):
    with start_slowly(library) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert 0 < len(indexed()) == out.count("working") + 1


def test_output_goes_nowhere_after_the_terminal_is_closed(library):
    leader, terminal = pty.openpty()
    command = [sys.executable, "-c", SLOW, str(library), "--workers", "1"]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, start_new_session=True) as process:
        os.close(terminal)
        while b"working" not in os.read(leader, 1000):  # the bar comes first
            pass
        os.close(leader)  # now each write to the terminal is an error
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) in {0, 130}
    assert len(indexed()) > 0


def test_failed_files_are_tried_again_without_naming_them(library):
    (library / "broken.jpg").write_bytes(b"broken")
    assert coca_search("index", library).exit_code == 3
    assert coca_search("index", "--retry-failed").exit_code == 3
    write_picture(library / "new.png", "red", size=(99, 99))
    write_picture(library / "broken.jpg", "red", size=(98, 98))
    done = coca_search("index", "--retry-failed")
    assert (done.exit_code, done.stdout[:5]) == (0, "1 new")
    assert sorted(indexed()) == ["0.png", "1.png", "2.png", "3.png", "broken.jpg"]
    assert coca_search("index", "--retry-failed").stdout.startswith("0 new, 0 changed, 0 moved, 0 gone, 0 unchanged, 0 failed")


def test_what_is_left_out_is_told_when_there_is_news_and_on_request(library):
    write_picture(library / "@eaDir" / "x.png")
    assert "Left out: 1 files" in coca_search("index", library).stderr
    assert coca_search("index", library).stderr == ""
    assert "Left out: 1 files" in coca_search("index", library, "--verbose").stderr
    write_picture(library / "new.png", "red", size=(99, 99))
    done = coca_search("index", library, "--verbose")
    assert f"new      {library}/new.png" in done.stdout
    assert "Left out: 1 files" in done.stderr


def test_a_mistyped_name_in_an_indexed_folder_is_an_error(library):
    coca_search("index", library)
    done = coca_search("index", library, library / "2091")
    assert done.exit_code != 0
    assert "2091: no such file or folder" in str(done.exception)


def test_a_blank_pattern_leaves_nothing_out(library):
    assert coca_search("index", library, "--leave-out", "").exit_code == 0
    assert len(indexed()) == 4


def test_files_are_listed_by_their_paths_and_all_conditions_must_match(library):
    coca_search("index", library)
    assert indexed() == ["0.png", "1.png", "2.png", "3.png"]
    done = coca_search("list", "--json", "--where", "width > 40", "--where", "width < 42 OR width > 90")
    assert [json.loads(line)["width"] for line in done.stdout.splitlines()] == [41]


def test_help_names_the_exit_codes():
    text = " ".join(coca_search("index", "--help").stdout.split())
    assert all(part in text for part in ("Exit codes: 0,", "2, an error", "3, done, but", "130, stopped"))
