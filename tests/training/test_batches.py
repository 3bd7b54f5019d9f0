import dataclasses
import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from coca_model.architecture.config import ImageConfig
from training.batches import Batches, PictureOrder
from training.cache.features import FeatureCache
from training.cache.views import view
from training.errors import TrainingError
from training.prepare.corpus import Corpus
from training.ranks import Ranks
from training.recipe import Phase, Recipe, Source, fit

IMAGE = ImageConfig(32, 8, "patch", width=12, layers=1, heads=2, mlp_width=16)
PHASE = Phase(steps=6, batch=8, sentences=6, patches=0.5)
RECIPE = Recipe(sources={"products": Source(captions=False)}, max_tokens=5, seed=3)
TEXTS = 2  # texts of each picture
VIEWS = [3, 1, 4, 2, 3, 2, 1, 3, 2, 4, 3, 2]


@pytest.fixture
def examples(make_examples):
    """Eight pictures with captions, two with labels, and two products whose titles are not sentences."""
    labels = make_examples(2, source="labels", kind="label")
    return [*make_examples(8), *labels, *make_examples(2, source="products")]


@pytest.fixture
def features():
    """A feature cache in which every value is the number of the view."""
    rows = torch.arange(sum(VIEWS)).bfloat16()[:, None, None].expand(-1, 4, 12).contiguous()
    first = np.concatenate([[0], np.cumsum(VIEWS)]).astype(np.int64)
    return FeatureCache("key", rows.view(torch.int16).numpy(), first, frozenset())


def corpus_of(examples):
    """Text t of picture n repeats token 10 + 2 n + t, n + 1 times. Ten sentences without pictures follow, with tokens from 100."""
    owned = [(1, *[10 + TEXTS * number + text] * (1 + number), 2) for number in range(len(examples)) for text in range(TEXTS)]
    alone = [(1, *[100 + number] * (1 + number // 2), 2) for number in range(10)]
    of_example = tuple(tuple(range(TEXTS * number, TEXTS * (number + 1))) for number in range(len(examples)))
    total = len(owned) + len(alone)
    written = np.arange(total) % 2 == 0
    return Corpus((*owned, *alone), of_example, np.arange(len(owned), total), written, torch.eye(total).half(), pad=0)


def batches(examples, *, phase=PHASE, features=None, number=0, ranks=None, recipe=RECIPE, answers=None, draws=None):
    model = SimpleNamespace(config=SimpleNamespace(image=IMAGE), image_tower=SimpleNamespace(position=range(16)))
    materials = SimpleNamespace(examples=examples, corpus=corpus_of(examples), features=features, answers=answers or {}, model=model)
    phases = tuple(dataclasses.replace(phase, name=str(row)) for row in range(number + 1))
    found = Batches(number, dataclasses.replace(recipe, phases=phases), materials, ranks or Ranks(), noise=False, draws=draws or {})
    found.order = PictureOrder({"all": range(len(examples))}, {"all": 1.0}, seed=recipe.seed)
    return found


def plain(value):
    """A batch or a part of it as plain values that can be compared."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value if value is None else value.float().tolist()


def picture_numbers(texts):
    """For each text, the number of its picture."""
    return ((texts.token_ids[:, 1] - 10) // TEXTS).tolist()


def texts_of(texts):
    """Tokens without padding, and vectors. The padding differs between parts of a batch."""
    ids = [row[valid].tolist() for row, valid in zip(texts.token_ids, texts.valid, strict=True)]
    return list(zip(ids, texts.meaning.tolist(), strict=True))


@pytest.mark.parametrize("fresh", [True, False])
def test_each_picture_comes_with_one_of_its_texts_and_views(examples, features, fresh):
    found = batches(examples, features=None if fresh else features)
    for step in range(4):
        batch = found.batch(step)
        assert (len(batch), len(batch.sentences)) == (8, 6)
        assert picture_numbers(batch.texts) == batch.picture.tolist()
        if not fresh:
            shown = batch.pictures[:, 0, 0].long().numpy()
            assert (np.searchsorted(features.first, shown, side="right") - 1).tolist() == batch.picture.tolist()


def test_all_pictures_texts_and_cached_views_are_used_during_a_phase(examples, features):
    found = batches(examples, features=features)
    seen = [found.batch(step) for step in range(60)]
    assert {int(value) for batch in seen for value in batch.pictures.flatten()} == set(range(sum(VIEWS)))
    assert {int(token) for batch in seen for token in batch.texts.token_ids[:, 1]} == set(range(10, 10 + TEXTS * len(examples)))


def test_fresh_views_are_random_and_differ_between_steps(examples):
    found = batches(examples, phase=dataclasses.replace(PHASE, batch=12))
    one, other = found.batch(0), found.batch(1)
    assert one.pictures.shape == (12, 32, 32, 3)
    assert one.pictures.dtype == torch.uint8
    for row, picture in enumerate(one.picture.tolist()):
        unchanged = torch.from_numpy(view(examples[picture].read(), 0, IMAGE, seed=(0,)))
        again = other.pictures[other.picture.tolist().index(picture)]
        assert not torch.equal(one.pictures[row], unchanged)
        assert not torch.equal(one.pictures[row], again)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_batch_depends_only_on_seed_phase_and_step(examples, features, fresh):
    features = None if fresh else features
    expected = [plain(batch) for batch in batches(examples, features=features).from_step(0)]
    assert len(expected) == PHASE.steps
    assert [plain(batch) for batch in batches(examples, features=features).from_step(4)] == expected[4:]
    assert plain(batches(examples, features=features).batch(2)) == expected[2]
    for change in ({"number": 1}, {"recipe": dataclasses.replace(RECIPE, seed=4)}):
        assert plain(batches(examples, features=features, **change).batch(2)) != expected[2]


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("count", [2, 4])
def test_the_batches_of_all_ranks_together_are_the_whole_batch(examples, features, count, fresh):
    phase = dataclasses.replace(PHASE, sentences=8)
    options = {"phase": phase, "features": None if fresh else features, "answers": {"probabilities": torch.rand(12, 3)}}
    whole = batches(examples, **options).batch(1)
    parts = [batches(examples, ranks=Ranks(number, count), **options).batch(1) for number in range(count)]
    assert {len(part) for part in parts} == {8 // count}
    for name in ("pictures", "picture"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert torch.equal(torch.cat([part.answers["probabilities"] for part in parts]), whole.answers["probabilities"])
    for name in ("texts", "sentences"):
        assert [row for part in parts for row in texts_of(getattr(part, name))] == texts_of(getattr(whole, name))
    assert all(torch.equal(part.patches, whole.patches) for part in parts)


@pytest.mark.parametrize(("share", "count"), [(0.5, 8), (0.01, 1), (0.99, 16), (1.0, None)])
def test_each_step_uses_a_different_random_share_of_the_patches(examples, features, share, count):
    found = batches(examples, features=features, phase=dataclasses.replace(PHASE, patches=share))
    seen = [found.batch(step).patches for step in range(150)]
    if count is None:
        assert set(seen) == {None}
        return
    assert {tuple(sorted(set(patches.tolist()))) for patches in seen} == {tuple(patches.tolist()) for patches in seen}
    assert {len(patches) for patches in seen} == {count}
    assert set(torch.cat(seen).tolist()) == set(range(16))


@pytest.mark.parametrize("decoded", [0, 1, 3, 100])
@pytest.mark.parametrize("count", [1, 2])
def test_the_decoder_learns_only_from_a_limited_number_of_human_sentences(examples, features, decoded, count):
    """Labels, product titles and texts for imitation are not decoded. The limit is divided among the ranks."""
    phase = dataclasses.replace(PHASE, batch=12, sentences=8, decoded=decoded)
    most = -(-decoded // count) or 12
    for step, rank in itertools.product(range(3), range(count)):
        batch = batches(examples, features=features, phase=phase, ranks=Ranks(rank, count)).batch(step)
        of_pictures = [row for row, picture in enumerate(batch.picture.tolist()) if picture < 8]
        assert batch.texts.decoded.nonzero()[:, 0].tolist() == of_pictures[:most]
        of_sentences = [row for row, token in enumerate(batch.sentences.token_ids[:, 1].tolist()) if token % 2 == 0]
        assert batch.sentences.decoded.nonzero()[:, 0].tolist() == of_sentences[:most]


def test_sentences_have_no_picture_and_texts_are_cut_to_max_tokens(examples, features):
    batch = batches(examples, features=features).batch(0)
    assert (batch.sentences.token_ids[:, 1] >= 100).all()
    assert batch.texts.token_ids.shape == (8, RECIPE.max_tokens)
    assert batch.sentences.token_ids.shape[1] <= RECIPE.max_tokens


@pytest.mark.parametrize("fresh", [True, False])
def test_teacher_outputs_stay_aligned_with_pictures_and_texts(examples, features, fresh):
    probabilities = torch.arange(12)[:, None].expand(-1, 3).half()
    batch = batches(examples, features=None if fresh else features, answers={"probabilities": probabilities}).batch(0)
    assert batch.answers["probabilities"].dtype == torch.float32
    assert batch.answers["probabilities"][:, 0].tolist() == batch.picture.tolist()
    assert (batch.texts.meaning.argmax(1) + 10).tolist() == batch.texts.token_ids[:, 1].tolist()


def test_a_phase_without_pictures_reads_no_picture(examples):
    found = batches([dataclasses.replace(one, read=None) for one in examples], phase=dataclasses.replace(PHASE, batch=0))
    batch = found.batch(0)
    assert (batch.pictures, batch.texts, batch.picture, len(batch), len(batch.sentences)) == (None, None, None, 6, 6)


def test_a_phase_without_sentences_has_no_sentences(examples, features):
    assert batches(examples, features=features, phase=dataclasses.replace(PHASE, sentences=0)).batch(0).sentences is None


# --- pictures that cannot be read -----------------------------------------------------------------------------------------


def gone():
    raise OSError("the disk is gone")


def damaged(examples, numbers, read):
    return [dataclasses.replace(one, read=read) if number in numbers else one for number, one in enumerate(examples)]


@pytest.mark.parametrize(("read", "reason"), [(gone, "the disk is gone"), (lambda: b"Dear Sir", "not a picture")])
def test_an_unreadable_picture_is_reported_and_replaced_with_aligned_texts(examples, read, reason):
    phase = dataclasses.replace(PHASE, batch=12)
    found = batches(damaged(examples, {2, 5}, read), phase=phase)
    whole, batch = batches(examples, phase=phase).batch(0), found.batch(0)
    assert len(batch) == len(batch.pictures) == 12
    assert picture_numbers(batch.texts) == batch.picture.tolist()
    assert set(batch.picture.tolist()) == set(range(12)) - {2, 5}
    assert sorted(found.skipped) == ["pictures/2.jpg", "pictures/5.jpg"]
    assert all(skip.name == name and reason in skip.reason for name, skip in found.skipped.items())
    good = [row for row, picture in enumerate(whole.picture.tolist()) if picture not in {2, 5}]
    assert torch.equal(batch.pictures[good], whole.pictures[good])


def test_the_replacement_of_an_unreadable_picture_has_its_own_number_and_text(examples):
    batch = batches(damaged(examples, {2, 5}, gone), phase=dataclasses.replace(PHASE, batch=12)).batch(0)
    assert not {2, 5} & set(batch.picture.tolist())
    assert picture_numbers(batch.texts) == batch.picture.tolist()


def test_a_step_without_a_readable_picture_uses_others(examples):
    batch = batches(damaged(examples, set(range(11)), gone), phase=dataclasses.replace(PHASE, batch=1)).batch(0)
    assert batch.picture.tolist() == [11]


def test_data_without_a_readable_picture_is_refused_with_the_reason(examples):
    with pytest.raises(TrainingError, match=re.escape("None of 50 pictures in a row can be read (the disk is gone).")):
        batches(damaged(examples, set(range(12)), gone)).batch(0)


@pytest.mark.parametrize(
    ("phase", "count", "message"),
    [
        (Phase(batch=9), 2, "phase.batch cannot be divided by 2 ranks (9). Choose a multiple of 2."),
        (Phase(batch=8, sentences=6), 4, "phase.sentences cannot be divided by 4 ranks (6). Choose a multiple of 4."),
    ],
)
def test_a_batch_that_the_ranks_cannot_divide_is_refused(phase, count, message):
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        fit(Recipe(phases=(phase,)), 100, count)


def test_a_batch_that_the_ranks_can_divide_is_accepted():
    fit(Recipe(phases=(Phase(batch=8, sentences=12),)), 100, 4)


def numbered_and_random(count, random):
    return np.stack([np.arange(count), random.random(count)], axis=1).astype(np.float32)


def test_draws_belong_to_rows_of_all_ranks_and_change_nothing_else(examples, features):
    draws = {"shares": numbered_and_random}
    whole = batches(examples, features=features, draws=draws).batch(2)
    parts = [batches(examples, features=features, draws=draws, ranks=Ranks(number, 2)).batch(2) for number in range(2)]
    shares = whole.answers["shares"]
    assert shares[:, 0].tolist() == list(range(8))
    assert torch.equal(torch.cat([part.answers["shares"] for part in parts]), shares)
    assert not torch.equal(batches(examples, features=features, draws=draws).batch(3).answers["shares"], shares)
    without = batches(examples, features=features).batch(2)
    assert torch.equal(without.pictures, whole.pictures)
    assert torch.equal(without.patches, whole.patches)
    assert torch.equal(without.sentences.token_ids, whole.sentences.token_ids)
