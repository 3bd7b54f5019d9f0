"""Several processes under `torchrun` on one machine take the same step as one process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from training.prepare.corpus import Texts
from training.ranks import ALONE, Ranks

ROOT = Path(__file__).parents[2]
SCRIPT = textwrap.dedent(
    """
    import sys, torch
    from contextlib import nullcontext
    from pathlib import Path
    from coca_model.checkpoints.read_write import read_checkpoint
    from coca_model.checkpoints.find import find_checkpoint
    from coca_model.tokenizer import SpecialTokens
    from training.batches import Batch
    from training.objectives.heads import WITH_HEADS, Heads
    from training.prepare.corpus import Texts
    from training.steps.gradients import StepGradients
    from training.ranks import join_ranks, leave_ranks
    from training.steps.student import Student

    torch.set_num_threads(1)
    ranks = join_ranks("cpu")
    model = read_checkpoint(find_checkpoint(sys.argv[1]))[0].requires_grad_(True).double()
    batch = Batch(*torch.load(sys.argv[2], weights_only=False))
    own = batch.split(len(batch) // ranks.count)[ranks.number]
    torch.manual_seed(0)
    heads = Heads(WITH_HEADS, model.config.embedding_width, batch.texts.meaning, seed=0).double()
    more = sys.argv[5:]  # objectives of rows that differ between ranks; then the last rank decodes nothing
    if more and ranks.number == ranks.count - 1:
        own.texts.decoded[:] = False
    names, special = frozenset({"captioning", "language", *more}), SpecialTokens(0, 1, 2)
    student = ranks.wrap(Student(model, frozen_units=0, fresh=True, objectives=names, heads=heads, special=special))
    weights = {"contrastive": 1.0, "captioning": 2.0, "sentence_distillation": 0.5, "language": 0.3, "group_ordering": 0.5}
    weights |= dict.fromkeys(WITH_HEADS, 0.5) | dict.fromkeys(more, 0.1)
    losses = StepGradients(student, weights, ranks=ranks, precision=nullcontext)(own, int(sys.argv[3]))
    if ranks.leads:
        learned = dict(model.named_parameters()) | {f"heads.{name}": p for name, p in heads.named_parameters()}
        torch.save([losses, {name: p.grad for name, p in learned.items() if p.grad is not None}], sys.argv[4])
    del student
    ranks.wait()
    leave_ranks()
    threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    assert not any("gloo" in name for name in threads), threads  # leftover gloo threads sometimes end the process with SIGABRT
    """
)


def step(folder, checkpoint, *more, count, micro_batch=0):
    """Losses and gradients of one step with `count` processes."""
    script, out = folder / "step.py", folder / f"{count}-{micro_batch}.pt"
    script.write_text(SCRIPT)
    arguments = [str(script), str(checkpoint), str(folder / "batch.pt"), str(micro_batch), str(out), *more]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", f"--log-dir={folder}"] if count > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launcher, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config):
    folder = tmp_path_factory.mktemp("ranks")
    random = torch.Generator().manual_seed(1)
    vocabulary = tiny_config.text.vocabulary_size
    pictures = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8, generator=random)
    texts, sentences = (texts_of_many_lengths(count, vocabulary, random) for count in (8, 6))
    torch.save([pictures, texts, torch.tensor([0, 1, 2, 3, 0, 5, 6, 7]), torch.tensor([1, 4, 6]), sentences], folder / "batch.pt")
    return folder


def texts_of_many_lengths(count, vocabulary, random):
    """Texts of different lengths, so the ranks have different numbers of words. Every second text is decoded."""
    valid = torch.arange(9) < torch.arange(2, 2 + count)[:, None]
    ids = torch.randint(3, vocabulary, (count, 9), generator=random) * valid
    meaning = torch.nn.functional.normalize(torch.randn(count, 16, generator=random), dim=-1)
    return Texts(ids, valid, torch.arange(count) % 2 == 0, meaning)


def test_two_ranks_take_the_step_of_one_process(folder, tiny_checkpoint):
    losses, gradients = step(folder, tiny_checkpoint, count=1)
    other_losses, other_gradients = step(folder, tiny_checkpoint, count=2, micro_batch=2)
    assert other_losses == pytest.approx(losses, rel=1e-6)
    assert other_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-5, atol=1e-7)


def test_a_rank_without_captions_to_draw_does_not_stop_the_others(folder, tiny_checkpoint):
    losses, gradients = step(folder, tiny_checkpoint, "self_retrieval", count=2, micro_batch=2)
    assert "self_retrieval" in losses
    assert gradients


def test_a_single_process_is_the_leader_and_gathers_only_its_rows():
    rows = torch.randn(3, 2, requires_grad=True)
    gathered = ALONE.gather(rows)
    assert ALONE.leads
    assert torch.equal(gathered, rows)
    assert not gathered.requires_grad


def test_each_rank_selects_its_rows_from_those_of_all():
    rows = torch.arange(12).reshape(6, 2)
    assert [Ranks(number, 3).own(rows).tolist() for number in range(3)] == [rows[:2].tolist(), rows[2:4].tolist(), rows[4:].tolist()]
