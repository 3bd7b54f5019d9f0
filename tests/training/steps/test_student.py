import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.checkpoints.find import find_checkpoint
from coca_model.checkpoints.read_write import read_checkpoint
from training.batches import Batch
from training.prepare.corpus import Texts
from training.steps.student import Student

PIXELS = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TEXTS = Texts(
    torch.tensor([[1, 9, 8, 2], [1, 7, 2, 0], [1, 6, 5, 2]]), torch.arange(4) < torch.tensor([[4], [3], [4]]), torch.ones(3).bool()
)


@pytest.fixture
def model(tiny_checkpoint):
    return read_checkpoint(find_checkpoint(tiny_checkpoint))[0].requires_grad_(True)


@pytest.mark.parametrize("units", [0, 1, 2, 3])
@pytest.mark.parametrize("fresh", [True, False])
def test_cached_and_fresh_pictures_have_the_embeddings_of_the_encoder(model, tiny_encoder, units, fresh):
    pictures = PIXELS if fresh else model.image_tower.begin(PIXELS, units)
    seen = Student(model, frozen_units=units, fresh=fresh, objectives=frozenset())(Batch(pictures, TEXTS))
    assert_close(seen["whole"]["image"].detach().numpy(), tiny_encoder.encode_pixels(PIXELS.numpy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("units", [1, 2, 3])
def test_no_gradient_reaches_the_frozen_units_of_fresh_pictures(model, units):
    Student(model, frozen_units=units, fresh=True, objectives=frozenset())(Batch(PIXELS, TEXTS))["whole"]["image"][:, 0].sum().backward()
    for number, unit in enumerate(model.image_tower.units()):
        assert all((parameter.grad is None) == (number < units) for parameter in unit.parameters())


def test_only_decoded_rows_are_summed(model):
    student = Student(model, frozen_units=0, fresh=True, objectives=frozenset({"captioning"}))
    decoded = [torch.tensor(rows) for rows in ([True, False, True], [False, True, False], [True] * 3)]
    one, other, both = (student(Batch(PIXELS, Texts(TEXTS.token_ids, TEXTS.valid, rows))) for rows in decoded)
    assert_close(one["sums"]["captioning"] + other["sums"]["captioning"], both["sums"]["captioning"])
    assert [int(seen["counts"]["captioning"]) for seen in (one, other, both)] == [6, 2, 8]


def test_without_rows_to_decode_the_loss_is_zero_and_differentiable(model):
    student = Student(model, frozen_units=0, fresh=True, objectives=frozenset({"captioning"}))
    seen = student(Batch(PIXELS, Texts(TEXTS.token_ids, TEXTS.valid, torch.zeros(3).bool())))
    assert seen["sums"]["captioning"].item() == 0
    seen["sums"]["captioning"].backward()


def test_sentences_without_pictures_have_the_embeddings_of_the_text_tower(model):
    seen = Student(model, frozen_units=0, fresh=True, objectives=frozenset({"language"}))(Batch(sentences=TEXTS))
    assert seen["whole"].keys() == {"sentence", "scale"}
    assert_close(seen["whole"]["sentence"], F.normalize(model.unimodal(TEXTS.token_ids, TEXTS.valid)[0], dim=-1))
