import dataclasses

import pytest
import torch
from torch.testing import assert_close

from coca_model.config import TextConfig
from coca_model.text_tower import MultimodalDecoder, UnimodalDecoder

CONFIG = TextConfig(32, 2, 2, heads=2, mlp_width=64, context_length=12, vocabulary_size=50)
ROWS = ([1, 7, 2], [1, 9, 9, 30, 4, 2], [1, 2], [1, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 2])


def padded(rows):
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return ids, ids != 0


@pytest.fixture
def unimodal():
    return UnimodalDecoder(CONFIG, embedding_width=16).double().eval()


@pytest.fixture
def multimodal(unimodal):
    return MultimodalDecoder(CONFIG, unimodal.token_embedding).double().eval()


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_padding_does_not_change_the_embedding_or_the_tokens_of_a_text(unimodal, row):
    embedding, tokens = unimodal(*padded(ROWS))
    alone_embedding, alone_tokens = unimodal(*padded([ROWS[row]]))
    assert_close(embedding[row], alone_embedding[0])
    assert_close(tokens[row, : len(ROWS[row])], alone_tokens[0])


def test_what_stands_on_padding_is_not_read(unimodal):
    ids, valid = padded(ROWS)
    embedding, _ = unimodal(ids, valid)
    rubbish = torch.where(valid, ids, 33)
    assert torch.equal(unimodal(rubbish, valid)[0], embedding)


@pytest.mark.parametrize("changed", range(5))
def test_a_later_word_never_changes_an_earlier_token(unimodal, changed):
    ids, valid = padded([[1, 5, 6, 7, 8, 2]])
    other = ids.clone()
    other[0, changed] = 40
    _, before = unimodal(ids, valid)
    _, after = unimodal(other, valid)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before[:, changed:] != after[:, changed:]).any(-1).all()


@pytest.mark.parametrize("changed", range(6))
def test_cls_sees_every_word(unimodal, changed):
    ids, valid = padded([[1, 5, 6, 7, 8, 2]])
    other = ids.clone()
    other[0, changed] = 40
    assert not torch.allclose(unimodal(ids, valid)[0], unimodal(other, valid)[0], rtol=1e-6, atol=1e-6)


def test_no_word_sees_cls(unimodal):
    embedding, tokens = unimodal(*padded(ROWS))
    torch.nn.init.normal_(unimodal.cls)
    other_embedding, other_tokens = unimodal(*padded(ROWS))
    assert torch.equal(tokens, other_tokens)
    assert not torch.allclose(embedding, other_embedding)


def test_embedding_and_tokens_equal_causal_blocks_over_words_positions_and_cls(unimodal):
    row = ROWS[1]
    x = torch.cat([unimodal.token_embedding.weight[row] + unimodal.position[: len(row)], unimodal.cls[None]])[None]
    for block in unimodal.blocks:
        x = block(x, causal=True)
    embedding, tokens = unimodal(*padded([row]))
    assert_close(tokens, x[:, :-1])
    assert_close(embedding, unimodal.cls_norm(x[:, -1]) @ unimodal.project.weight.T)


def test_logits_change_with_the_image(multimodal):
    text_tokens, images = torch.randn(1, 6, 32).double(), torch.randn(2, 4, 32).double()
    one, other = multimodal(text_tokens.expand(2, -1, -1), images)
    assert (one - other).abs().amin() > 0
    assert_close(multimodal(text_tokens, images[1:])[0], other)


def test_logits_without_an_image_do_not_depend_on_the_cross_attention(multimodal):
    text_tokens, image = torch.randn(2, 6, 32).double(), torch.randn(2, 4, 32).double()
    alone, seeing = multimodal(text_tokens, None), multimodal(text_tokens, image)
    for block in multimodal.blocks:
        torch.nn.init.normal_(block.cross_attention.key_value.weight)
    assert torch.equal(multimodal(text_tokens, None), alone)
    assert not torch.allclose(multimodal(text_tokens, image), seeing)


@pytest.mark.parametrize("with_image", [False, True])
def test_a_later_token_never_changes_an_earlier_prediction(multimodal, with_image):
    text_tokens, image = torch.randn(1, 6, 32).double(), torch.randn(1, 4, 32).double() if with_image else None
    other = text_tokens.clone()
    other[0, 3] += 1
    before, after = multimodal(text_tokens, image), multimodal(other, image)
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(-1).all()


def test_logits_are_the_hidden_states_through_the_output_weights(multimodal):
    text_tokens, image = torch.randn(2, 6, 32).double(), torch.randn(2, 4, 32).double()
    assert_close(multimodal(text_tokens, image), multimodal.hidden(text_tokens, image) @ multimodal.output.weight.T)


@pytest.mark.parametrize("tied", [True, False])
def test_output_shares_the_storage_of_the_word_embedding_only_when_tied(tied):
    config = dataclasses.replace(CONFIG, tied_output=tied)
    unimodal = UnimodalDecoder(config, embedding_width=16)
    multimodal = MultimodalDecoder(config, unimodal.token_embedding)
    assert (multimodal.output.weight.data_ptr() == unimodal.token_embedding.weight.data_ptr()) is tied
