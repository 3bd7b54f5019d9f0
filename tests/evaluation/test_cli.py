"""`coca-search eval` with the embedded model, on files in the real formats."""

import csv
import json
import os
import re
import subprocess
import sys
import warnings

import pytest

from coca_search import cli as coca_search_cli
from evaluation import cli
from tests.fakes import COLOURS, write_film, write_picture


def evaluate(*arguments, cwd):
    """Run the command in a separate process."""
    command = [sys.executable, "-m", "coca_search", "eval", *map(str, arguments)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), "XDG_DATA_HOME": str(cwd / "data"), "PYTHONPATH": os.getcwd()}
    return subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=cwd, env=environment, check=False)


@pytest.fixture
def evaluate_here(karpathy, monkeypatch, capsys):
    """Run a command in this process, which has torch loaded. Returns exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.chdir(karpathy)
        monkeypatch.setenv("XDG_CACHE_HOME", str(karpathy / "cache"))
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        monkeypatch.setattr(sys, "argv", ["coca-search", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            coca_search_cli.main()
        written = capsys.readouterr()
        return done.value.code or 0, written.out, written.err

    return run


@pytest.fixture(scope="module")
def karpathy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flickr")
    images = []
    for number, colour in enumerate(COLOURS):
        write_picture(folder / "images" / f"{number}.jpg", colour)
        split = "test" if number else "train"
        images.append({"imgid": number, "filename": f"{number}.jpg", "split": split, "sentences": [{"raw": f"a plain {colour} wall"}]})
    (folder / "dataset.json").write_text(json.dumps({"dataset": "flickr8k", "images": images}))
    return folder


@pytest.fixture(scope="module")
def first(karpathy):
    return evaluate("retrieval", "flickr30k", "dataset.json", "--media", "images", cwd=karpathy)


def test_retrieval_prints_published_figures_and_writes_its_files(first, karpathy):
    assert first.returncode == 0, first.stderr
    assert "text to picture" in first.stdout
    assert "CoCa, zero-shot" in first.stdout
    assert "80.4" in first.stdout
    assert "Yu et al. 2022, arXiv 2205.01917" in first.stdout
    out = karpathy / "data" / "coca-search" / "eval" / "retrieval-on-flickr8k-test-coca-embedded"
    assert sorted(path.name for path in out.iterdir()) == ["records.csv", "report.html", "report.json", "report.md", "report.png"]
    document = json.loads((out / "report.json").read_text())
    assert document["facts"]["pictures"] == 5
    assert document["title"] == "Retrieval on flickr8k test"
    assert first.stdout.splitlines()[0] == "Retrieval on flickr8k test: 5 pictures, 5 texts"
    assert len((out / "records.csv").read_text().splitlines()) == 1 + 5 + 5
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_gives_the_same_report_from_the_cache(first, karpathy):
    cache = karpathy / "cache" / "coca-search" / "evaluation.sqlite"
    before = cache.stat().st_mtime_ns
    again = evaluate("retrieval", "flickr30k", "dataset.json", "--media", "images", "--out", "again", cwd=karpathy)
    assert again.stdout.splitlines()[:-1] == first.stdout.splitlines()[:-1]
    assert cache.stat().st_mtime_ns == before
    reports = [karpathy / folder / "report.json" for folder in ("again", "data/coca-search/eval/retrieval-on-flickr8k-test-coca-embedded")]
    assert reports[0].read_text() == reports[1].read_text()


def test_captions_of_a_folder_are_scored(karpathy, evaluate_here):
    code, _, error = evaluate_here("eval", "caption", "own", "dataset.json", "--media", "images", "--method", "greedy", "--out", "captions")
    assert code == 0, error
    row = json.loads((karpathy / "captions/report.json").read_text())["tables"][0]["rows"][0]["values"]
    assert "self-retrieval R@1" in row


def class_folders(folder, colours=("red", "green", "blue")):
    for colour in colours:
        write_picture(folder / colour / "1.png", colour)
        write_picture(folder / colour / "2.png", colour, size=(50, 50))
    return folder


def test_zero_shot_classification_reads_class_folders(karpathy, evaluate_here):
    class_folders(karpathy / "classes")
    (karpathy / "templates.txt").write_text("a plain {} wall\n")
    code, printed, error = evaluate_here("eval", "classify", "classes", "--templates", "templates.txt", "--out", "classes-out")
    assert code == 0, error
    assert "top-1" in printed


@pytest.mark.parametrize("probe", ["linear", "pooler"])
def test_a_probe_learns_the_classes_of_folders(karpathy, evaluate_here, probe):
    class_folders(karpathy / "classes")
    options = ("--train", "classes", "--probe", probe, "--protocol", "kinetics-400", "--out", f"probe-{probe}")
    code, printed, error = evaluate_here("eval", "classify", "classes", *options)
    assert code == 0, error
    assert "88.0" in printed  # CoCa's
    row = json.loads((karpathy / f"probe-{probe}/report.json").read_text())["tables"][0]["rows"][0]["values"]
    assert row["top-1"]["value"] == 100


def test_a_probe_trains_on_the_lines_of_its_split(karpathy, evaluate_here):
    rows = [("label", "youtube_id", "time_start", "time_end", "split")]
    for n, colour in enumerate(("red", "blue", "red", "blue", "red", "blue")):
        write_film(karpathy / "kinetics" / f"id{n}_000000_000001.mp4", [(colour, 0.5 + n / 10)], fps=8)
        rows.append((colour, f"id{n}", 0, 1, "train" if n < 4 else "validate"))
    with (karpathy / "kinetics.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    splits = ("--split", "validate", "--train", "kinetics.csv", "--train-split", "train")
    code, _, error = evaluate_here(
        "eval", "classify", "kinetics.csv", "--media", "kinetics", *splits, "--probe", "linear", "--out", "kinetics-out"
    )
    assert code == 0, error
    metadata = json.loads((karpathy / "kinetics-out" / "report.json").read_text())["facts"]
    assert (metadata["training media"], metadata["media"], metadata["same files in both sets"]) == (4, 2, 0)


def test_moments_are_evaluated(karpathy, evaluate_here):
    write_film(karpathy / "films" / "AAAAA.mp4", [("red", 3.0), ("blue", 3.0)])
    (karpathy / "charades_sta_test.txt").write_text("AAAAA 0.0 3.0##a plain red wall.\nAAAAA 3.0 6.0##a plain blue wall.\n")
    code, printed, error = evaluate_here("eval", "moments", "charades_sta_test.txt", "--media", "films", "--out", "moments")
    assert code == 0, error
    assert "mean IoU" in printed


def test_a_collection_is_evaluated_with_own_queries(karpathy, evaluate_here):
    code, _, error = evaluate_here("index", "images", "--collection", "collection")
    assert code == 0, error
    with (karpathy / "queries.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("query", "path"), ("a plain red wall", "images/0.jpg"), ("the sea", "")])
    code, printed, error = evaluate_here("eval", "collection", "queries.csv", "--collection", "collection", "--out", "own")
    assert code == 0, error
    assert "gain of reranking" in printed
    assert "p99" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retrieval", "coco", "nothing.json"], "nothing.json: no such file. Pass the annotations"),
        (["retrieval", "coco", "dataset.json", "--media", "nowhere"], "nowhere: no such folder"),
        (
            ["retrieval", "flickr8k", "dataset.json", "--media", "images", "--split", "val"],
            "no such split ('val'). Splits in this file: test, train",
        ),
        (["retrieval", "flickr8k", "dataset.json"], "dataset.json: images[1]: the picture '1.jpg' is not in"),
        (["retrieval", "flickr8k", "malformed.json"], "malformed.json: malformed JSON at line 1, column 12"),
        (["classify", "images", "--split", "val"], "images: a folder of classes holds its media and has no splits"),
        (["moments", "nothing.json"], "nothing.json: no such file"),
        (["classify", "nowhere"], "nowhere: no such folder"),
        (["retrieval", "flickr8k", "dataset.json", "--media", "images", "--model", "nowhere"], "no such checkpoint"),
        (
            ["retrieval", "flickr8k", "dataset.json", "--media", "images", "--cache", "dataset.json"],
            "dataset.json: cannot be used as a cache",
        ),
        (["collection", "queries.csv", "--collection", "nowhere"], "no collection here"),
    ],
)
def test_user_errors_give_one_line_and_exit_code_2(karpathy, evaluate_here, arguments, message):
    (karpathy / "malformed.json").write_text('{"images": ]')
    nowhere = karpathy / "elsewhere"
    nowhere.mkdir(exist_ok=True)
    if arguments[1:] == ["flickr8k", "dataset.json"]:
        (nowhere / "dataset.json").write_text((karpathy / "dataset.json").read_text())
        arguments = [*arguments[:2], "elsewhere/dataset.json"]
    (karpathy / "queries.csv").touch()
    code, printed, error = evaluate_here("eval", *arguments)
    assert code == 2
    assert message in error
    assert len([line for line in error.splitlines() if line.strip()]) == 1, error
    assert printed == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "classes", "--probe", "linear"], "--probe needs a training set"),
        (["classify", "classes", "--train", "classes", "--templates", "templates.txt"], "--templates is only for zero-shot classification"),
        (["retrieval", "coco", "dataset.json", "--videos", "list.txt"], "--videos is only for msvd, not for coco"),
        (["caption", "own", "dataset.json", "--beams", "100000"], "should be less than or equal to 64"),
    ],
)
def test_an_option_without_effect_or_out_of_range_is_refused(evaluate_here, arguments, message):
    code, printed, error = evaluate_here("eval", *arguments)
    assert code == 2
    assert message in re.sub(r"[\s│]+", " ", error)
    assert printed == ""


def test_progress_without_a_terminal_prints_lines_at_intervals(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_SECONDS_A_LINE", 0.0)
    with cli.progress_bars() as note:
        note("pictures", 3, 20)
    assert capsys.readouterr().err == "coca-search: pictures: 3 of 20\n"
    monkeypatch.setattr(cli, "_SECONDS_A_LINE", 1e9)
    with cli.progress_bars() as note:
        note("pictures", 4, 20)
    assert capsys.readouterr().err == ""
