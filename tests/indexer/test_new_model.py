"""The checkpoint of a collection was replaced by a newer one of the same name: what still works, what is refused, and what mends it."""

import os
import pty
import re
import shutil
import subprocess
import sys
import threading

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from coca_search.cli import app
from indexer import index
from search import open_collection, search
from search.collection.verify import verify
from search.errors import OtherModelError
from search.service import make_app
from tests.fakes import rows_of, write_picture
from tests.serving import free_port, serving

COLOURS = ("red", "green", "blue", "yellow")
REFUSED = re.compile(
    r"c: made with another version of the model \S+/model \(model@\w+, not model@\w+\)\. "
    r"Make the collection anew with: coca-search index --new-model --collection \S+/c\b"
)


@pytest.fixture
def upgraded(tmp_path, tiny_checkpoint):
    """A folder with a library, its collection `c`, and the newer model under the name of the old one."""
    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    for number, colour in enumerate(COLOURS):
        write_picture(tmp_path / "library" / f"{colour}.png", colour, size=(40 + number, 40))
    index(tmp_path / "library", collection=tmp_path / "c", model=str(tmp_path / "model"))
    replace_weights(tmp_path / "model")
    return tmp_path


def replace_weights(model):
    weights = load_file(model / "model.safetensors")
    for name in ("poolers.project.weight", "unimodal.project.weight"):
        weights[name] = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(1)).to(weights[name].dtype)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def coca_search(folder, *arguments):
    command = [sys.executable, "-m", "coca_search", *map(str, arguments), "--collection", str(folder / "c")]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def on_a_terminal(folder, *arguments, answer):
    """Run a command on a terminal. Returns its exit code and what it showed."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "coca_search", *map(str, arguments), "--collection", str(folder / "c")]
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=os.environ | {"COLUMNS": "1000", "TERM": "dumb"})
    os.close(other)
    shown = bytearray()

    def read():
        try:
            while part := os.read(main, 4096):
                shown.extend(part)
                if b"[y/N]" in part:
                    os.write(main, answer)
        except OSError:  # the process ended
            pass

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(timeout=120)
    reader.join()
    os.close(main)
    return code, shown.decode()


@pytest.mark.parametrize("command", [["status"], ["list"], ["roots"], ["failures"], ["verify"], ["optimize"], ["export", "{}/out.parquet"]])
def test_what_needs_no_model_works(upgraded, command):
    done = coca_search(upgraded, *[part.format(upgraded) for part in command])
    assert (done.returncode, done.stderr) == (0, "")


def test_filters_and_searches_by_a_stored_vector_work(upgraded):
    opened = open_collection(upgraded / "c")
    assert len(rows_of(opened, where="width > 41")) == 2
    (red,) = opened.snapshot.filtered("path LIKE '%red.png'")
    hits = search(opened.snapshot.vectors_of(opened.snapshot.segment_ids[opened.snapshot.segment_ids == red])[0], collection=opened)
    assert hits[0].path == "red.png"


def test_searches_by_words_and_pictures_are_refused_with_what_mends_it(upgraded):
    for query in ("a dog", upgraded / "library" / "red.png"):
        with pytest.raises(OtherModelError, match=REFUSED) as refused:
            search(query, collection=open_collection(upgraded / "c"))
        assert str(refused.value).endswith(" Until then, it cannot be searched by words or pictures.")


def test_the_service_shows_the_collection_and_refuses_words(upgraded):
    opened = open_collection(upgraded / "c")
    media_id = opened.snapshot.rows(opened.snapshot.segment_ids)[0]["media_id"]
    with serving(make_app(opened)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/healthz").json()["image"] == 4
        assert [client.get(f"/{what}/{media_id}").status_code for what in ("media", "thumbnail")] == [200, 200]
        answer = client.post("/search", json={"text": "red"})
        assert (answer.status_code, bool(REFUSED.search(answer.json()["detail"]))) == (503, True)
        index([], collection=upgraded / "c", new_model=True)
        assert len(client.post("/search", json={"text": "red"}).json()["hits"]) == 4
        assert client.get("/healthz").json()["collection"] == str(upgraded / "c")
        assert [client.get(f"/{what}/{media_id}").status_code for what in ("media", "thumbnail")] == [200, 200]


def test_the_service_starts_and_says_what_it_cannot_do(upgraded, monkeypatch):
    served = []
    monkeypatch.setattr("uvicorn.run", lambda app, **_: served.append(app))
    done = CliRunner().invoke(app, ["serve", "--port", str(free_port()), "--collection", str(upgraded / "c")])
    assert (done.exit_code, len(served), bool(REFUSED.search(done.stderr))) == (0, 1, True)


def test_a_run_without_a_terminal_fails_with_the_advice(upgraded):
    done = coca_search(upgraded, "index", upgraded / "library")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert REFUSED.search(done.stderr)


def test_the_command_of_the_advice_mends_it(upgraded):
    command = re.search(r"coca-search (index --new-model) --coll", coca_search(upgraded, "search", "a dog").stderr)[1]
    done = coca_search(upgraded, *command.split())
    assert (done.returncode, "The collection was made anew with model@" in done.stderr) == (0, True), done.stderr
    assert len(coca_search(upgraded, "search", "a dog", "-f").stdout.splitlines()) == 4
    assert coca_search(upgraded, "verify").returncode == 0
    assert str(upgraded / "c") in coca_search(upgraded, "status").stdout
    assert "generation" not in coca_search(upgraded, "status").stdout


def test_on_a_terminal_it_asks_and_says_what_it_takes(upgraded):
    code, shown = on_a_terminal(upgraded, "index", upgraded / "library", answer=b"y\n")
    assert code == 0, shown
    assert REFUSED.search(shown)
    assert re.search(r"4 files are embedded again\. That takes about \d+ s and 1 MB on the disk\. The old collection stays until", shown)
    assert re.search(r"Make the collection anew with model@\w+\? \[y/N\]", shown)
    assert "0 new, 4 changed, 0 moved, 0 gone, 4 unchanged" in shown
    assert verify(upgraded / "c").problems == []


def test_the_answer_no_changes_nothing(upgraded):
    code, shown = on_a_terminal(upgraded, "index", upgraded / "library", answer=b"\n")
    assert (code, len(REFUSED.findall(shown)), "Nothing was changed." in shown) == (2, 1, True)
    assert not (upgraded / "c" / "generation-2").exists()


def test_a_collection_moves_to_a_model_of_another_name(upgraded, tiny_checkpoint):
    done = coca_search(upgraded, "index", upgraded / "library", "--model", tiny_checkpoint)
    assert done.returncode == 0  # the same weights as those that made it
    shutil.copytree(upgraded / "model", upgraded / "other")
    done = coca_search(upgraded, "index", upgraded / "library", "--model", upgraded / "other")
    assert f"coca-search index --new-model --model {upgraded}/other --collection" in done.stderr
    assert coca_search(upgraded, "index", "--new-model", "--model", upgraded / "other").returncode == 0
    assert open_collection(upgraded / "c").identity.model == str(upgraded / "other")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["index", "--new-model", "--dry-run"], "--new-model does not go with --dry-run"),
        (["index", "--new-model", "--watch"], "Name a folder, a picture or a video."),
    ],
)
def test_what_makes_no_sense_is_refused(upgraded, arguments, told):
    done = coca_search(upgraded, *arguments)
    assert (done.returncode, told in " ".join(done.stderr.replace("│", " ").split())) == (2, True), done.stderr
