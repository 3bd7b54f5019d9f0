"""A search by words, and the commands that show a collection, import neither torch nor lancedb."""

import shutil
import subprocess
import sys

import pytest

from indexer import index
from search import IncompatibleError, open_collection, search
from tests.fakes import write_picture

HEAVY = "heavy = {'torch', 'lancedb'} & {*sys.modules}; sys.exit(str(heavy) if heavy else 0)"


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_checkpoint):
    """A collection of one picture, made with a copy of the tiny model."""
    folder = tmp_path_factory.mktemp("words")
    shutil.copytree(tiny_checkpoint, folder / "model")
    write_picture(folder / "library" / "red.png")
    index(folder / "library", collection=folder / "c", model=str(folder / "model"))
    return folder


def run(script):
    return subprocess.run([sys.executable, "-c", f"import sys; {script}; {HEAVY}"], capture_output=True, text=True, check=False)


def test_a_search_by_words_in_python(made):
    done = run(f"from coca_search import search; assert len(search('a dog', collection={str(made / 'c')!r})) == 1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["search", "a dog"], ["status"], ["list"], ["roots"], ["failures"]])
def test_commands(made, command):
    arguments = ["coca-search", *command, "--collection", str(made / "c")]
    done = run(f"sys.argv = {arguments}; from coca_search.cli import app; app(standalone_mode=False)")
    assert (done.returncode, done.stderr) == (0, "")


def test_another_model_at_the_same_place_is_refused(made):
    weights = made / "model" / "model.safetensors"
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # one bit
        with pytest.raises(IncompatibleError, match="made with another version of the model"):
            search("a dog", collection=open_collection(made / "c"))
    finally:
        weights.write_bytes(before)
