"""The recipe of the larger model, which is not trained here."""

import dataclasses
import io
import json
import tarfile

import pytest
from PIL import Image

from coca_model import load
from training import run
from training.examples.read import read_examples
from training.objectives.registry import check_objectives
from training.recipe import changed, read_recipe


def large_recipe(pytestconfig):
    return read_recipe(pytestconfig.rootpath / "data" / "recipes" / "large.toml")


def test_the_large_recipe_has_objectives_that_exist(pytestconfig):
    chosen = large_recipe(pytestconfig)
    check_objectives(chosen)
    assert chosen.start == "scratch:base"
    assert all(phase.batch % phase.micro_batch == 0 for phase in chosen.phases)


@pytest.mark.slow  # five minutes and 9 GB
def test_the_large_recipe_trains_for_twenty_steps_on_shards(pytestconfig, tmp_path):
    with tarfile.open(tmp_path / "000.tar", "w") as shard:
        for number, colour in enumerate(("red", "green", "blue", "white") * 3):
            picture = io.BytesIO()
            Image.new("RGB", (96, 64), colour).save(picture, "JPEG")
            for name, data in ((f"{number:03}.jpg", picture.getvalue()), (f"{number:03}.txt", f"a {colour} wall".encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    chosen = changed(large_recipe(pytestconfig), {"vocabulary_size": 300}, {"batch": 4, "micro_batch": 2})
    phases = tuple(dataclasses.replace(phase, steps=steps) for phase, steps in zip(chosen.phases, (20, 2), strict=True))
    chosen = dataclasses.replace(chosen, phases=phases)
    trained = run.train(read_examples([tmp_path / "000.tar"]), [], chosen, tmp_path / "out", snapshot_seconds=1e9)
    assert trained.steps == 22
    log = [json.loads(line) for line in (tmp_path / "out" / "training" / "log.jsonl").read_text().splitlines()]
    log = [line for line in log if line["kind"] == "step" and line["phase"] == chosen.phases[0].name]
    assert log[-1]["captioning"] < log[0]["captioning"]
    assert load(tmp_path / "out").encode_texts(["a red wall"]).shape == (1, 768)
