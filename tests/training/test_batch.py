import dataclasses

import pytest
import torch
from torch import nn

from training.batches import Batch
from training.prepare.corpus import Texts


def texts(lengths, *, first=100, meaning=True):
    """Texts with recognisable rows: every token and the vector of text i equal first + i. Every third text is decoded."""
    ids = nn.utils.rnn.pad_sequence([torch.full((length,), first + row) for row, length in enumerate(lengths)], batch_first=True)
    numbers = torch.arange(first, first + len(lengths))
    return Texts(ids, ids != 0, numbers % 3 == 0, numbers[:, None].float() if meaning else None)


def batch(pictures, sentences):
    """A batch in which every value of row i is derived from i."""
    numbers = torch.arange(pictures)
    return Batch(
        pictures=numbers[:, None, None, None].expand(-1, 2, 2, 3).to(torch.uint8),
        texts=texts([2 + number % 5 for number in range(pictures)], first=1),
        picture=numbers,
        patches=torch.tensor([1, 3]),
        sentences=texts([2 + number // 4 for number in range(sentences)]) if sentences else None,
        answers={"probabilities": numbers[:, None].float()},
    )


def written_out(texts):
    """The rows of texts as plain values, without padding."""
    ids = [row[valid].tolist() for row, valid in zip(texts.token_ids, texts.valid, strict=True)]
    return list(zip(ids, texts.decoded.tolist(), texts.meaning[:, 0].tolist(), strict=True))


def pictures_of(batch):
    columns = (batch.pictures[:, 0, 0, 0].tolist(), batch.picture.tolist(), batch.answers["probabilities"][:, 0].tolist())
    return list(zip(*columns, written_out(batch.texts), strict=True))


SIZES = pytest.mark.parametrize(
    ("pictures", "sentences", "size"), [(8, 6, 2), (7, 5, 3), (5, 9, 2), (7, 2, 1), (4, 3, 9), (6, 8, 0), (1, 1, 1)]
)


@SIZES
def test_micro_batches_contain_every_row_once_in_order(pictures, sentences, size):
    whole = batch(pictures, sentences)
    parts = whole.split(size)
    assert [row for part in parts for row in pictures_of(part)] == pictures_of(whole)
    assert [row for part in parts if part.sentences for row in written_out(part.sentences)] == written_out(whole.sentences)
    assert all(torch.equal(part.patches, whole.patches) for part in parts)


@SIZES
def test_micro_batches_have_nearly_equal_sizes_and_none_is_empty(pictures, sentences, size):
    parts = batch(pictures, sentences).split(size)
    assert min(map(len, parts)) > 0
    for sizes in ([len(part) for part in parts], [len(part.sentences or ()) for part in parts]):
        assert max(sizes) - min(sizes) <= 1
    assert not any(part.sentences is not None and len(part.sentences) == 0 for part in parts)


@pytest.mark.parametrize(("pictures", "size", "count"), [(8, 2, 4), (7, 2, 4), (7, 3, 3), (7, 7, 1), (7, 8, 1), (7, 0, 1)])
def test_no_micro_batch_is_larger_than_requested(pictures, size, count):
    parts = batch(pictures, 0).split(size)
    assert len(parts) == count
    assert max(map(len, parts)) <= (size or pictures)
    assert len(batch(pictures, 2).split(size)) == count


@pytest.mark.parametrize(("sentences", "size", "count"), [(7, 3, 3), (7, 0, 1), (2, 1, 2)])
def test_a_batch_of_sentences_only_is_split_like_pictures(sentences, size, count):
    whole = Batch(sentences=texts([3] * sentences))
    parts = whole.split(size)
    assert len(whole) == sentences
    assert len(parts) == count
    assert [row for part in parts for row in written_out(part.sentences)] == written_out(whole.sentences)
    assert {part.texts for part in parts} == {None}


def test_an_empty_batch_gives_one_part_without_rows():
    assert [len(part) for part in Batch().split(4)] == [0]


@pytest.mark.parametrize(("part", "width"), [(slice(0, 2), 2), (slice(1, 3), 6), (slice(0, 0), 0), (slice(3, 4), 4)])
def test_a_slice_of_texts_is_trimmed_to_its_longest_text(part, width):
    whole = texts([2, 2, 6, 4])
    some = whole[part]
    assert some.token_ids.shape == some.valid.shape == (part.stop - part.start, width)
    assert written_out(some) == written_out(whole)[part]


def test_a_slice_of_texts_without_teacher_vectors_has_none():
    assert texts([2, 3], meaning=False)[:1].meaning is None


@pytest.mark.parametrize("whole", [batch(3, 2), Batch(sentences=texts([2])), Batch()], ids=["all", "sentences", "none"])
def test_to_moves_every_tensor_to_the_device_and_keeps_none(whole):
    moved = whole.to(torch.device("meta"))
    for field in dataclasses.fields(Batch):
        before, after = getattr(whole, field.name), getattr(moved, field.name)
        assert type(after) is type(before)
        if isinstance(after, torch.Tensor):
            assert (after.device.type, after.shape, after.dtype) == ("meta", before.shape, before.dtype)
        elif isinstance(after, dict):
            assert {name: part.device.type for name, part in after.items()} == dict.fromkeys(before, "meta")
        elif after is not None:
            assert {getattr(after, name).device.type for name in ("token_ids", "valid", "decoded", "meaning")} == {"meta"}
