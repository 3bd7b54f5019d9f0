"""`coca-search train` on CUDA: losses equal to the CPU's, a resumed run, every objective, torchrun and NCCL."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

pytestmark = pytest.mark.gpu
pytest.importorskip("pydantic", reason="pydantic, which recipes need, is not installed")
ROOT = Path(__file__).parents[2]
COLOURS = {"red": (220, 20, 20), "green": (20, 180, 40), "blue": (20, 40, 220), "white": (250, 250, 250), "black": (5, 5, 5)}


@pytest.fixture
def colours(tmp_path):
    """A folder of pictures with captions.csv: four of each colour, and the first of each is held out."""
    folder = tmp_path / "colours"
    folder.mkdir()
    rows = [["path", "caption", "split"]]
    for colour, rgb in COLOURS.items():
        for number in range(4):
            name, split = f"{colour}{number}.png", "train" if number else "val"
            noise = np.random.default_rng(number).normal(rgb, 6, (32, 32, 3))
            Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(folder / name)
            rows += [[name, f"a {colour} car", split], [name, f"the {colour} house", split]]
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture
def recipe(tmp_path):
    def write(steps=12, views=0, extra="", objectives="contrastive = 1.0\ncaptioning = 2.0"):
        path = tmp_path / f"recipe-{steps}-{views}.toml"
        path.write_text(
            f"validate_every = 6\n{extra}\n[other_sources]\nviews = {views}\n[[phases]]\nsteps = {steps}\nbatch = 8\n"
            f"learning_rate = 0.003\naverage = 0.5\n[phases.objectives]\n{objectives}\n"
        )
        return path

    return write


def run(pictures, output, recipe, checkpoint, *, device="cuda", micro_batch=None, note=lambda *_: None):
    """Train like `coca-search train`, but in this process."""
    from training.examples.read import read_examples
    from training.ranks import join_ranks
    from training.recipe import changed, read_recipe
    from training.run import train

    settings = changed(read_recipe(recipe), {"start": str(checkpoint)}, {"micro_batch": micro_batch})
    ranks, sentences = join_ranks(device), pictures / "sentences.txt"
    assert ranks.device.type == device
    alone = sentences.read_text().splitlines() if settings.sentences else []
    return train(read_examples([pictures]), alone, settings, output, ranks=ranks, note=note, snapshot_seconds=0)


def lines(output, kind):
    found = [json.loads(line) for line in (output / "training" / "log.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def test_the_first_losses_agree_with_the_cpu_and_the_last_are_lower(tmp_path, colours, tiny_checkpoint, recipe):
    losses = {}
    for device in ("cpu", "cuda"):
        run(colours, tmp_path / device, recipe(steps=30), tiny_checkpoint, device=device)
        losses[device] = lines(tmp_path / device, "step")
    for name in ("contrastive", "captioning"):
        assert losses["cuda"][0][name] == pytest.approx(losses["cpu"][0][name], rel=0.03)
        assert losses["cuda"][-1][name] < losses["cuda"][0][name]
    assert lines(tmp_path / "cuda", "validation")[-1]["text to picture R@10"] == 100.0


def test_micro_batches_give_the_losses_of_one_batch(tmp_path, colours, tiny_checkpoint, recipe):
    losses = []
    for size in (8, 3):
        run(colours, tmp_path / str(size), recipe(), tiny_checkpoint, micro_batch=size)
        losses.append([line["contrastive"] + line["captioning"] for line in lines(tmp_path / str(size), "step")])
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


def test_the_command_trains_under_torchrun_with_one_process(tmp_path, colours, tiny_checkpoint, recipe):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "-m", "coca_search", "train"]
    arguments = [colours, "-o", tmp_path / "out", "--model", tiny_checkpoint, "--recipe", recipe(views=2)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*launcher, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("text to picture R@5") == 1
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("views", [0, 2], ids=["new views", "cached features"])
def test_a_resumed_run_reaches_nearly_the_weights_of_an_uninterrupted_run(tmp_path, colours, tiny_checkpoint, recipe, views):
    """The order of sums varies on CUDA, so the weights are close but not equal."""

    def stop(work, done, _total):
        if work.endswith("steps") and done == 5:
            raise KeyboardInterrupt

    path = recipe(views=views, extra="frozen_units = 1")
    with pytest.raises(KeyboardInterrupt):
        run(colours, tmp_path / "stopped", path, tiny_checkpoint, note=stop)
    resumed, whole = (run(colours, tmp_path / name, path, tiny_checkpoint) for name in ("stopped", "whole"))
    assert (resumed.steps, whole.steps) == (7, 12)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "whole"))
    for name, value in one.items():
        torch.testing.assert_close(value.float(), other[name].float(), rtol=0.05, atol=0.02)


def test_momentum_and_masked_objectives_run_on_the_device(tmp_path, colours, tiny_checkpoint, recipe):
    pytest.importorskip("faiss", reason="faiss, which learns the codes of patches, is not installed")
    objectives = "momentum_contrast = 1.0\nkl_alignment = 1.0\nmasked_words = 1.0\nmasked_patches = 1.0\npainted_patches = 1.0"
    new = ("attraction_repulsion", "group_ordering", "mixed_contrastive", "swapped_prototypes", "captioning", "self_retrieval")
    objectives = "\n".join([objectives, *(f"{name} = 1.0" for name in new)])
    path = recipe(steps=4, views=4, extra="frozen_units = 1", objectives=objectives)
    run(colours, tmp_path / "out", path, tiny_checkpoint)
    assert all(np.isfinite(line["gradient_norm"]) for line in lines(tmp_path / "out", "step"))


def test_distillation_and_language_objectives_run_on_the_device(tmp_path, colours, tiny_checkpoint, recipe):
    pytest.importorskip("faiss", reason="faiss, which finds the clusters of texts, is not installed")
    (colours / "sentences.txt").write_text("a dog jumping into a lake\ntwo dogs play with a red ball\n" * 3)
    names = (
        "soft_contrastive",
        "contrastive_to_teacher",
        "sentence_distillation",
        "image_distillation",
        "relational_distillation",
        "arbitrary_pairs",
        "clustered_prototypes",
        "language",
    )
    teachers = f'sentence_teacher = "{tiny_checkpoint}"\nimage_teacher = "{tiny_checkpoint}"\nsentences = "sentences.txt"'
    path = recipe(steps=4, extra=teachers, objectives="\n".join(f"{name} = 1.0" for name in names))
    path.write_text(path.read_text().replace("batch = 8", "batch = 8\nsentences = 4"))
    run(colours, tmp_path / "out", path, tiny_checkpoint)
    assert {*names} <= lines(tmp_path / "out", "step")[0].keys()


class Several(int):
    """A rank count that never equals 1, so that one process runs the distributed code. NCCL needs one GPU per rank."""

    def __eq__(self, other):
        return False

    def __gt__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.fixture
def joined(tmp_path):
    """The ranks of an NCCL group with one member."""
    from training.ranks import Ranks, leave_ranks

    torch.cuda.set_device(0)
    torch.distributed.init_process_group("nccl", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield Ranks(0, Several(1), torch.device("cuda", 0))
    leave_ranks()


def gradients(checkpoint, ranks, micro_batch):
    """Losses and gradients of one step on the device of `ranks`, in float64."""
    from contextlib import nullcontext

    from coca_model.checkpoints.find import find_checkpoint
    from coca_model.checkpoints.read_write import read_checkpoint
    from training.batches import Batch
    from training.prepare.corpus import Texts
    from training.steps.gradients import StepGradients
    from training.steps.student import Student

    random = torch.Generator().manual_seed(0)
    valid = torch.arange(9) < torch.arange(2, 10)[:, None]
    texts = Texts(torch.randint(3, 400, (8, 9), generator=random) * valid, valid, torch.arange(8) % 2 == 0)
    pictures = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8, generator=random)
    batch = Batch(pictures, texts, torch.tensor([0, 1, 2, 3, 0, 5, 6, 7])).to(ranks.device)
    model = read_checkpoint(find_checkpoint(checkpoint))[0].requires_grad_(True).double().to(ranks.device)
    student = ranks.wrap(Student(model, frozen_units=0, fresh=True, objectives=frozenset({"captioning"})))
    step = StepGradients(student, {"contrastive": 1.0, "captioning": 2.0}, ranks=ranks, precision=nullcontext)
    return step(batch, micro_batch), {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.filterwarnings("default")  # NCCL warns about the device of a barrier
@pytest.mark.parametrize("micro_batch", [0, 3])
def test_a_step_through_nccl_has_the_gradient_of_a_single_process(tiny_checkpoint, joined, micro_batch):
    from training.ranks import Ranks

    assert joined.first(lambda: ["hash"]) == ["hash"]
    joined.wait()
    losses, found = gradients(tiny_checkpoint, joined, micro_batch)
    wanted_losses, wanted = gradients(tiny_checkpoint, Ranks(device=joined.device), micro_batch)
    assert losses == pytest.approx(wanted_losses, rel=1e-6)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)
